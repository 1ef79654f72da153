//! The network between managers: it loses, delays, doubles, overtakes, and can be cut in one direction.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use festoon_cluster::{CallError, Cluster, Lane, Transport};
use festoon_proto::ManagerId;
use festoon_proto::epoch::Roster;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use crate::random::Random;

/// How good the network is.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    /// Time one way, drawn for each message.
    pub(super) latency: Range<Duration>,
    /// Messages lost, of a thousand.
    pub(super) loss: u32,
    /// Requests delivered twice, of a thousand.
    pub(super) duplicates: u32,
    /// Messages that take up to [`LATE`] longer, of a thousand.
    pub(super) late: u32,
}

/// What holds up a message that is late: longer than an election takes, and longer than a client waits.
const LATE: Duration = Duration::from_secs(4);

impl Conditions {
    /// A good network.
    pub(super) fn good() -> Self {
        Self { latency: Duration::from_millis(1)..Duration::from_millis(8), loss: 0, duplicates: 0, late: 0 }
    }
}

/// The program of a manager while it runs.
#[derive(Clone)]
pub(super) struct Process {
    /// Tells it from those of the same manager before and after.
    pub(super) life: u64,
    pub(super) cluster: Cluster<Wire>,
    /// True once it has ended.
    pub(super) ended: watch::Receiver<bool>,
}

impl Process {
    /// Waits until it has ended.
    pub(super) async fn ended(&self) {
        // An error means that whoever would have said so is gone too.
        drop(self.ended.clone().wait_for(|ended| *ended).await);
    }
}

/// The network.
pub(super) struct Net(Mutex<State>);

struct State {
    random: Random,
    conditions: Conditions,
    /// How many faults cut this direction now.
    cuts: BTreeMap<(ManagerId, ManagerId), u32>,
    processes: BTreeMap<ManagerId, Process>,
}

/// What becomes of a message.
struct Fate {
    is_lost: bool,
    delay: Duration,
    /// After which time it arrives again, if it does.
    again: Option<Duration>,
}

impl Net {
    pub(super) fn new(random: Random, conditions: Conditions) -> Self {
        Self(Mutex::new(State { random, conditions, cuts: BTreeMap::new(), processes: BTreeMap::new() }))
    }

    pub(super) fn set_conditions(&self, conditions: Conditions) {
        self.state().conditions = conditions;
    }

    /// From now on nothing passes in this direction. As often as it is cut it has to be mended.
    pub(super) fn cut(&self, from: ManagerId, to: ManagerId) {
        *self.state().cuts.entry((from, to)).or_default() += 1;
    }

    pub(super) fn mend(&self, from: ManagerId, to: ManagerId) {
        if let Some(cuts) = self.state().cuts.get_mut(&(from, to)) {
            *cuts = cuts.saturating_sub(1);
        }
    }

    /// A program begins to answer, or none does any more.
    pub(super) fn put(&self, manager: ManagerId, process: Option<Process>) {
        let mut state = self.state();
        match process {
            Some(process) => drop(state.processes.insert(manager, process)),
            None => drop(state.processes.remove(&manager)),
        }
    }

    /// All programs end. Each of them holds the network, which would keep itself otherwise.
    pub(super) fn end(&self) {
        let processes = std::mem::take(&mut self.state().processes);
        drop(processes);
    }

    pub(super) fn process(&self, manager: ManagerId) -> Option<Process> {
        self.state().processes.get(&manager).cloned()
    }

    /// Every program that runs, by manager.
    pub(super) fn processes(&self) -> Vec<(ManagerId, Process)> {
        self.state().processes.iter().map(|(id, process)| (*id, process.clone())).collect()
    }

    /// Who the managers are, as the newest copy of those that run says.
    pub(super) fn roster(&self) -> Option<Roster> {
        let states = self.processes().into_iter().map(|(_, process)| process.cluster.snapshot());
        states.max_by_key(|state| state.version()).and_then(|state| state.roster())
    }

    fn passes(&self, from: ManagerId, to: ManagerId) -> bool {
        self.state().cuts.get(&(from, to)).is_none_or(|cuts| *cuts == 0)
    }

    fn fate(&self) -> Fate {
        let mut state = self.state();
        let State { random, conditions, .. } = &mut *state;
        let mut delay = random.duration(conditions.latency.clone());
        if random.chance(conditions.late) {
            delay += random.duration(Duration::ZERO..LATE);
        }
        let again = random.chance(conditions.duplicates).then(|| random.duration(Duration::ZERO..LATE));
        Fate { is_lost: random.chance(conditions.loss), delay, again }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One program's way into the network.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) me: ManagerId,
    pub(super) life: u64,
    pub(super) net: Arc<Net>,
}

impl Transport for Wire {
    async fn call(&self, to: ManagerId, _: Lane, request: Vec<u8>, limit: Duration) -> Result<Vec<u8>, CallError> {
        if self.net.process(self.me).is_none_or(|process| process.life != self.life) {
            return Err(CallError::NotSent("this program was killed".to_owned()));
        }
        let deadline = Instant::now() + limit;
        let (tell, told) = oneshot::channel();
        let wire = self.clone();
        // On its own: what is on its way arrives, though nobody waits for the answer any more.
        tokio::spawn(async move {
            if let Some(answer) = wire.exchange(to, request).await {
                // Whoever waited may have given up.
                let _ = tell.send(answer);
            }
        });
        if let Ok(Ok(answer)) = timeout_at(deadline, told).await {
            return answer;
        }
        sleep_until(deadline).await;
        Err(CallError::NoAnswer("too late".to_owned()))
    }
}

impl Wire {
    /// There and back; `None` if something is lost on the way.
    async fn exchange(&self, to: ManagerId, request: Vec<u8>) -> Option<Result<Vec<u8>, CallError>> {
        let forth = self.net.fate();
        sleep(forth.delay).await;
        if forth.is_lost || !self.net.passes(self.me, to) {
            return None;
        }
        let Some(process) = self.net.process(to) else {
            sleep(self.net.fate().delay).await;
            return Some(Err(CallError::NotSent("nobody listens there".to_owned())));
        };
        if let Some(after) = forth.again {
            self.repeat(to, request.clone(), after);
        }
        let answer = tokio::select! {
            biased;
            () = process.ended() => return None,
            answer = process.cluster.answer(self.me, &request) => answer,
        };
        let back = self.net.fate();
        sleep(back.delay).await;
        (!back.is_lost && self.net.passes(to, self.me)).then_some(Ok(answer))
    }

    /// The request arrives once more, perhaps at the next program of that manager. Nobody waits for its answer.
    fn repeat(&self, to: ManagerId, request: Vec<u8>, after: Duration) {
        let wire = self.clone();
        tokio::spawn(async move {
            sleep(after).await;
            if let Some(process) = wire.net.process(to).filter(|_| wire.net.passes(wire.me, to)) {
                drop(process.cluster.answer(wire.me, &request).await);
            }
        });
    }
}
