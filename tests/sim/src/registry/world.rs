//! What all parts of a simulated cluster share.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_cluster::Signer;
use festoon_control::registry::{CLOCK_TOLERANCE_MS, Command, Outcome, UnixMs};
use festoon_proto::ManagerId;
use tokio::time::Instant;

use super::history::{Answer, History, Said};
use super::log::Log;
use super::machine::{Machine, signing_key};
use super::net::{Conditions, Net, Process};
use super::sightings::Sightings;
use crate::random::Random;

/// When it is at the beginning of a world.
const BEGIN_MS: u64 = 1_800_000_000_000;
/// How often clients look for a manager that runs.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// A simulated cluster.
pub(super) struct World {
    pub(super) net: Arc<Net>,
    pub(super) history: History,
    pub(super) log: Log,
    pub(super) sightings: Sightings,
    /// When a snapshot takes the place of the log, and how much is kept.
    pub(super) snapshots: (u64, u64),
    machines: Mutex<BTreeMap<ManagerId, Arc<Machine>>>,
    notes: Mutex<Vec<String>>,
    wrong: Mutex<Vec<String>>,
    power_cuts: AtomicU64,
    is_over: AtomicBool,
    is_one_less: AtomicBool,
    begin: Instant,
}

impl World {
    /// Must run inside tokio.
    pub(super) fn new(random: Random, conditions: Conditions, snapshots: (u64, u64)) -> Self {
        Self {
            net: Arc::new(Net::new(random, conditions)),
            history: History::default(),
            log: Log::default(),
            sightings: Sightings::default(),
            snapshots,
            machines: Mutex::default(),
            notes: Mutex::default(),
            wrong: Mutex::default(),
            power_cuts: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            is_one_less: AtomicBool::new(false),
            begin: Instant::now(),
        }
    }

    /// Time since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.begin.elapsed()
    }

    /// What the clock of a machine shows that is `skew_ms` ahead.
    pub(super) fn clock(&self, skew_ms: i64) -> UnixMs {
        let elapsed = u64::try_from(self.elapsed().as_millis()).unwrap_or(u64::MAX);
        UnixMs((BEGIN_MS + elapsed).saturating_add_signed(skew_ms))
    }

    /// Whether a clock that shows this is one that a majority may agree with.
    pub(super) fn is_right(&self, date: UnixMs) -> bool {
        date.0.abs_diff(self.clock(0).0) <= 2 * CLOCK_TOLERANCE_MS
    }

    /// Clients and faults end.
    pub(super) fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// A manager is to be removed, or its disk lost, unless there is one less already: of those that remain then a majority must
    /// be well.
    pub(super) fn begin_one_less(&self) -> bool {
        !self.is_one_less.swap(true, Ordering::Relaxed)
    }

    /// That is over.
    pub(super) fn end_one_less(&self) {
        self.is_one_less.store(false, Ordering::Relaxed);
    }

    /// The power of machines went so often.
    pub(super) fn count_power_cuts(&self, cuts: u64) {
        self.power_cuts.fetch_add(cuts, Ordering::Relaxed);
    }

    pub(super) fn power_cuts(&self) -> u64 {
        self.power_cuts.load(Ordering::Relaxed)
    }

    /// Writes down what happened, for a person who looks for the cause.
    pub(super) fn note(&self, text: &str) {
        let line = format!("{:>9.3} {text}", self.elapsed().as_secs_f64());
        lock(&self.notes).push(line);
    }

    /// Writes down what must not be.
    pub(super) fn wrong(&self, text: String) {
        self.note(&format!("WRONG: {text}"));
        lock(&self.wrong).push(text);
    }

    pub(super) fn all_wrong(&self) -> Vec<String> {
        let mut wrong = lock(&self.wrong).clone();
        wrong.extend(self.log.wrong());
        wrong.extend(self.sightings.wrong());
        wrong
    }

    pub(super) fn notes(&self) -> Vec<String> {
        lock(&self.notes).clone()
    }

    /// A number that is another if anything went differently.
    pub(super) fn digest(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        lock(&self.notes).hash(&mut digest);
        digest.finish()
    }

    pub(super) fn add(&self, machine: &Arc<Machine>) {
        lock(&self.machines).insert(machine.id, Arc::clone(machine));
    }

    pub(super) fn remove(&self, id: ManagerId) {
        lock(&self.machines).remove(&id);
    }

    /// All machines that belong to the cluster, by id.
    pub(super) fn machines(&self) -> Vec<Arc<Machine>> {
        lock(&self.machines).values().cloned().collect()
    }

    /// Some machine whose program runs, and that program.
    pub(super) fn some_running(&self, random: &mut Random) -> Option<(Arc<Machine>, Process)> {
        let running = |machine: Arc<Machine>| self.net.process(machine.id).map(|process| (machine, process));
        let all: Vec<_> = self.machines().into_iter().filter_map(running).collect();
        random.pick(&all).cloned()
    }

    /// A client proposes through this program, and is told something at last: that the program died, if nothing else.
    pub(super) async fn propose(&self, client: u64, through: ManagerId, process: &Process, command: Command) -> Answer {
        let call = self.history.invoke(client, through, command.clone());
        let signer = signer(&command, through);
        let answer = tokio::select! {
            biased;
            () = process.ended() => Answer::Unknown,
            answer = process.cluster.submit_for(&signer, command.into()) => with_addresses(answer.into(), process),
        };
        self.note(&format!("client {client} through {through}: call {call} {answer:?}"));
        self.history.answer(call, answer.clone());
        answer
    }

    /// Proposes through one manager after the other until it is carried out or refused.
    pub(super) async fn insist(&self, client: u64, random: &mut Random, command: Command) -> Answer {
        loop {
            if let Some((machine, process)) = self.some_running(random) {
                let answer = self.propose(client, machine.id, &process, command.clone()).await;
                if matches!(answer, Answer::Said(..)) {
                    return answer;
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// Who stands for a command: the manager that is asked, unless it is about what only another knows of itself.
fn signer(command: &Command, through: ManagerId) -> Signer {
    let manager = if let Command::RenewManager(command) = command { command.manager } else { through };
    Signer::new(manager, signing_key(manager))
}

/// What an API answers: the addresses stand in the copy of the manager that was asked.
fn with_addresses(mut answer: Answer, process: &Process) -> Answer {
    if let Answer::Said(Said { result: Ok(Outcome::Endpoint(id)), addresses, .. }) = &mut answer {
        *addresses = process.cluster.snapshot().endpoint(*id).map(|endpoint| endpoint.addresses);
    }
    answer
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
