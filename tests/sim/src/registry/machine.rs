//! A machine: a disk, a clock, and a program that is started whenever it does not run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_cluster::storage::{Execution, Label, Storage, StorageError, Witness};
use festoon_cluster::testing::{FaultyDisk, audit_on};
use festoon_cluster::{Cluster, Identity, MemberId, OwnClock, Role, Settings};
use festoon_control::registry::{Command, RenewManager, State, UnixMs};
use festoon_proto::epoch::Roster;
use festoon_proto::map::MapVersion;
use festoon_proto::{ClusterId, EpochId, ManagerId, SigningKey};
use tokio::sync::watch;
use tokio::time::sleep;

use super::history::{Answer, Said};
use super::net::{Process, Wire};
use super::world::World;
use crate::random::Random;

pub(super) const CLUSTER: ClusterId = ClusterId([1; 16]);
const EPOCH: EpochId = EpochId::FIRST;
/// How soon a machine notices that its program is gone. Until then the program goes on without its disk.
const NOTICE: Duration = Duration::from_millis(2);
/// Clients of the machines themselves have numbers from here on.
const OWN_CLIENT: u64 = 1000;
const CACHE: usize = 1 << 20;
/// How often a program sees whether the others have the same registry.
const COMPARE: Duration = Duration::from_secs(2);

/// What a manager signs with.
pub(super) fn signing_key(manager: ManagerId) -> SigningKey {
    let [high, low] = manager.0.to_be_bytes();
    let mut seed = [7; 32];
    seed[..2].copy_from_slice(&[high, low]);
    SigningKey::from_seed(seed)
}

/// A machine of a manager.
pub(super) struct Machine {
    pub(super) id: ManagerId,
    disk_delay: watch::Sender<Duration>,
    condition: Mutex<Condition>,
}

struct Condition {
    random: Random,
    disk: FaultyDisk,
    /// The one with the audit log.
    audit: FaultyDisk,
    incarnation: u32,
    lives: u64,
    /// How far its clock is ahead.
    skew_ms: i64,
    /// How long it takes from now on until its program runs again.
    downtime: Duration,
    /// Whether the power may go while the program starts.
    is_unsteady: bool,
    /// Whether some fault has hold of it.
    is_busy: bool,
    /// Whether its disk is to be replaced by an empty one.
    is_lost: bool,
    is_retired: bool,
    /// Who the managers are, as it was told when it joined or as its registry said last.
    roster: Option<Roster>,
}

/// How a program dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Death {
    /// The power goes: what was not synced is lost or torn.
    PowerCut,
    /// The power goes within so many writes.
    PowerCutSoon(u64),
    /// Only the program is killed.
    Kill,
    /// The power goes, and the disk comes back empty.
    DiskLost,
}

impl Machine {
    pub(super) fn new(id: ManagerId, random: Random) -> Arc<Self> {
        let condition = Condition {
            random,
            disk: FaultyDisk::default(),
            audit: FaultyDisk::default(),
            incarnation: 0,
            lives: 0,
            skew_ms: 0,
            downtime: Duration::ZERO,
            is_unsteady: false,
            is_busy: false,
            is_lost: false,
            is_retired: false,
            roster: None,
        };
        Arc::new(Self { id, disk_delay: watch::Sender::new(Duration::ZERO), condition: Mutex::new(condition) })
    }

    /// What its clock shows.
    pub(super) fn clock(&self, world: &World) -> UnixMs {
        world.clock(self.condition().skew_ms)
    }

    pub(super) fn set_clock(&self, skew_ms: i64) {
        self.condition().skew_ms = skew_ms;
    }

    /// From now on every use of its disk takes this long.
    pub(super) fn set_disk_delay(&self, delay: Duration) {
        self.disk_delay.send_replace(delay);
    }

    pub(super) fn disk(&self) -> FaultyDisk {
        self.condition().disk.clone()
    }

    /// Which member of the cluster it is.
    pub(super) fn member(&self) -> MemberId {
        MemberId { manager: self.id, incarnation: self.condition().incarnation }
    }

    /// Takes hold of it for a fault; false if another has.
    pub(super) fn take(&self) -> bool {
        !std::mem::replace(&mut self.condition().is_busy, true)
    }

    pub(super) fn give_back(&self) {
        self.condition().is_busy = false;
    }

    /// Its program dies, and is started again after `downtime`.
    pub(super) fn die(&self, death: Death, downtime: Duration, is_unsteady: bool) {
        let mut condition = self.condition();
        condition.downtime = downtime;
        condition.is_unsteady = is_unsteady;
        condition.is_lost |= death == Death::DiskLost;
        let seed = condition.random.bits();
        match death {
            Death::PowerCut | Death::DiskLost => condition.disk.cut_power(seed),
            Death::PowerCutSoon(operations) => condition.disk.cut_power_after(operations, seed),
            Death::Kill => condition.disk.kill(),
        }
    }

    /// It knows who the managers are, also after it loses its registry.
    pub(super) fn note_roster(&self, roster: Option<Roster>) {
        let mut condition = self.condition();
        condition.roster = Roster::later(self.id, roster, condition.roster.as_ref());
    }

    /// Its manager was removed: its program ends for good.
    pub(super) fn retire(&self) {
        let mut condition = self.condition();
        condition.is_retired = true;
        condition.disk.kill();
    }

    /// Makes the registry on an empty disk. Nothing goes wrong meanwhile: a program makes it under another name first.
    pub(super) async fn format(&self) -> Result<(), StorageError> {
        let mut storage = self.open().await?;
        let set = storage.labels.set(Label { cluster: CLUSTER, member: self.member(), epoch: EPOCH }).await;
        drop(storage);
        // The task that writes has it open until it hears of that.
        while self.disk().is_open() {
            tokio::task::yield_now().await;
        }
        set
    }

    /// Starts the program, and starts it again whenever it dies.
    pub(super) async fn keep(self: Arc<Self>, world: Arc<World>) {
        while !self.condition().is_retired {
            if std::mem::take(&mut self.condition().is_lost) {
                self.begin_anew(&world).await;
            }
            if self.condition().is_unsteady && !world.is_over() {
                let mut condition = self.condition();
                let (operations, seed) = (condition.random.in_range(0..100), condition.random.bits());
                condition.disk.cut_power_after(operations, seed);
            }
            let (losses, cuts) = (self.disk().losses(), self.disk().power_cuts());
            match self.start(&world, losses).await {
                Ok(process) => self.run(&world, process, losses).await,
                Err(_) if self.disk().losses() > losses => {
                    world.note(&format!("{} lost its disk at the start", self.id));
                }
                Err(error) => return world.wrong(format!("{} does not start: {error}", self.id)),
            }
            // Power cuts count only where a program was running or starting.
            world.count_power_cuts((self.disk().power_cuts() - cuts).min(1));
            let downtime = self.condition().downtime;
            sleep(downtime.max(NOTICE)).await;
        }
    }

    async fn open(&self) -> Result<Storage, StorageError> {
        let backend = self.disk().backend();
        let database = redb::Builder::new().set_cache_size(CACHE).create_with_backend(backend)?;
        let audit = {
            let mut condition = self.condition();
            // Whoever had it is gone, with what was not synced.
            let seed = condition.random.bits();
            condition.audit.cut_power(seed);
            audit_on(&condition.audit)
        };
        Storage::open(database, audit, Execution::Inline(self.disk_delay.subscribe())).await
    }

    async fn start(
        self: &Arc<Self>,
        world: &Arc<World>,
        losses: u64,
    ) -> Result<(Process, watch::Sender<bool>), String> {
        let mut storage = self.open().await.map_err(|error| error.to_string())?;
        let label = storage.labels.get().ok_or("no label on its disk")?;
        let me = self.member();
        if label != (Label { cluster: CLUSTER, member: me, epoch: EPOCH }) {
            return Err(format!("another label on its disk: {label:?}"));
        }
        let (life, seed) = {
            let mut condition = self.condition();
            condition.lives += 1;
            (condition.lives, seed(&mut condition.random))
        };
        let (snapshot_after, keep) = world.snapshots;
        let (machine, clock_of) = (Arc::clone(self), Arc::clone(world));
        let clock = OwnClock::new(move || machine.clock(&clock_of));
        let settings = Settings { snapshot_after, keep, compare_every: COMPARE, seed, clock, takes_any_date: false };
        storage.machine.tell(witness(Arc::clone(world), self.id));
        let wire = Wire { me: self.id, life, net: Arc::clone(&world.net) };
        let signing_key = signing_key(self.id);
        let (introductions, roster) = (Vec::new(), self.condition().roster.clone());
        let identity = Identity { me, epoch: EPOCH, later: None, signing_key, introductions, roster };
        let started = Cluster::start(settings, identity, storage.log, storage.machine, wire).await;
        let cluster = started.map_err(|error| error.to_string())?;
        if self.disk().losses() > losses {
            return Err("the power went".to_owned());
        }
        let (ending, ended) = watch::channel(false);
        tokio::spawn(observe(Arc::clone(world), Arc::clone(self), cluster.watch()));
        Ok((Process { life, cluster, ended }, ending))
    }

    /// Until it dies.
    async fn run(&self, world: &Arc<World>, (process, ending): (Process, watch::Sender<bool>), losses: u64) {
        let cluster = process.cluster.clone();
        let refusals = self.disk().refusals();
        world.note(&format!("{} runs", process_name(self, &process)));
        world.net.put(self.id, Some(process));
        loop {
            sleep(NOTICE).await;
            let disk = self.disk();
            if disk.losses() > losses {
                break;
            }
            let health = cluster.health();
            if health.members.iter().any(|member| member.differs) {
                world.wrong(format!("{} has another registry than others", self.id));
            }
            if health.role == Role::Stopped {
                // It may notice only when it writes again, and there is room then.
                if disk.refusals() == refusals {
                    world.wrong(format!("{} stopped by itself", self.id));
                }
                // Somebody makes room and starts it again.
                disk.set_limit(None);
                disk.kill();
            }
        }
        world.note(&format!("{} is gone", self.id));
        world.net.put(self.id, None);
        ending.send_replace(true);
        tokio::spawn(async move { cluster.shutdown().await });
    }

    /// The disk was lost: the manager comes back as somebody new, with an empty one.
    async fn begin_anew(&self, world: &Arc<World>) {
        let (incarnation, mut random) = {
            let mut condition = self.condition();
            condition.disk = FaultyDisk::default();
            condition.incarnation += 1;
            (condition.incarnation, condition.random.fork())
        };
        let renew = Command::RenewManager(RenewManager { manager: self.id, incarnation });
        let client = OWN_CLIENT + u64::from(self.id.0);
        let answer = world.insist(client, &mut random, renew).await;
        world.note(&format!("{} begins anew: {answer:?}", self.id));
        if matches!(answer, Answer::Said(Said { result: Err(_), .. })) {
            self.condition().is_retired = true;
        } else if let Err(error) = self.format().await {
            world.wrong(format!("{} can't make a registry: {error}", self.id));
        }
    }

    fn condition(&self) -> MutexGuard<'_, Condition> {
        self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn process_name(machine: &Machine, process: &Process) -> String {
    format!("{} (life {})", machine.member(), process.life)
}

fn seed(random: &mut Random) -> [u8; 32] {
    let mut seed = [0; 32];
    for part in seed.chunks_mut(8) {
        part.copy_from_slice(&random.bits().to_le_bytes());
    }
    seed
}

/// Writes down what a program carries out.
fn witness(world: Arc<World>, manager: ManagerId) -> Witness {
    Box::new(move |place, proposal| {
        if let Some(date) = proposal.and_then(|proposal| proposal.change.dates().find(|date| !world.is_right(*date))) {
            world.wrong(format!("{manager} carries out at {place} what was made by a clock that showed {date:?}"));
        }
        world.log.carry_out(manager, place, proposal, world.history.moment());
    })
}

/// Looks at every state that a program publishes.
async fn observe(world: Arc<World>, machine: Arc<Machine>, mut states: watch::Receiver<Arc<State>>) {
    let mut before = MapVersion(0);
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        if state.cluster().is_some() {
            world.sightings.see(machine.id, before, &state, world.history.moment());
            machine.note_roster(state.roster());
            before = state.version();
        }
        if states.changed().await.is_err() {
            return;
        }
    }
}
