//! Whether a history is linearizable: whether one registry, asked one call after the other in some order, would have said
//! the same, where a call that ended before another began comes first.
//!
//! The registry that is asked is the real [`apply`], so it gives the same addresses and refuses for the same reasons. The
//! search is stateright's. It tries every order, which takes for ever with a hundred calls, so it is told where calls
//! stand in the log, as far as that is known: the order that is looked for must have them in that order. That is more than
//! linearizability asks for, and no less than the log promises. After [`STEPS`] the search gives up, which counts as a
//! failure.
//!
//! Not in the history: reads. They are local and may be old, by design. That what a manager reads is a state of the one
//! history, and never goes back, is checked when it is published.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use festoon_control::registry::{Addresses, Command, Outcome, State, apply};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::super::history::{Answer, Call, Said};

/// Calls that the search may try.
const STEPS: u64 = 3_000_000;
/// Calls whose clients were told nothing are of nobody, and come last in the search.
const UNANSWERED: u64 = 1 << 32;
/// The search goes as deep as the history is long.
const STACK: usize = 256 << 20;

/// No order was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unordered {
    /// How many calls the longest order had that was right so far.
    longest: u64,
    calls: usize,
    gave_up: bool,
}

impl fmt::Display for Unordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { longest, calls, gave_up } = self;
        let found = if *gave_up { format!("no order found in {STEPS} steps") } else { "no order exists".to_owned() };
        write!(f, "{found} for {calls} calls; the longest that was right so far had {longest}")
    }
}

/// Looks for an order.
pub(super) fn check(calls: &[Call]) -> Result<(), Unordered> {
    std::thread::scope(|scope| {
        let searching = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || find(calls));
        let found = searching.map(std::thread::ScopedJoinHandle::join);
        // Without a thread, or if it panicked, there is no order either.
        found.ok().and_then(Result::ok).unwrap_or(Err(Unordered { longest: 0, calls: calls.len(), gave_up: true }))
    })
}

fn find(calls: &[Call]) -> Result<(), Unordered> {
    let mut places: Vec<u64> = calls.iter().filter_map(|call| call.said()?.place).collect();
    places.sort_unstable();
    let search = Rc::new(Search { places, ..Search::default() });
    let registry = Registry { state: State::default(), asked: 0, placed: 0, search: Rc::clone(&search) };
    // It may say that a history makes no sense; ours do, for a client waits for its answer.
    if record(calls, LinearizabilityTester::new(registry)).is_ok_and(|tester| tester.is_consistent()) {
        return Ok(());
    }
    Err(Unordered { longest: search.longest.get(), calls: calls.len(), gave_up: search.steps.get() >= STEPS })
}

/// A registry that is asked one call after the other.
#[derive(Clone)]
struct Registry {
    state: State,
    asked: u64,
    /// How many of the calls asked have a place in the log.
    placed: usize,
    search: Rc<Search>,
}

/// What all tries share.
#[derive(Debug, Default)]
struct Search {
    /// All places in the log that are known, in order.
    places: Vec<u64>,
    steps: Cell<u64>,
    longest: Cell<u64>,
}

/// What is asked, and its place in the log if that is known.
#[derive(Debug, Clone)]
struct Asked {
    command: Arc<Command>,
    place: Option<u64>,
}

impl Registry {
    fn ask(&mut self, command: &Command) -> Said {
        self.asked += 1;
        let (result, addresses) = match apply(&self.state, self.asked, command) {
            Ok((state, outcome)) => {
                self.state = state;
                let addresses = self.addresses(&outcome);
                (Ok(outcome), addresses)
            }
            Err(refusal) => (Err(refusal), None),
        };
        Said { result, addresses, place: None }
    }

    fn addresses(&self, outcome: &Outcome) -> Option<Addresses> {
        let Outcome::Endpoint(id) = outcome else { return None };
        self.state.endpoint(*id).map(|endpoint| endpoint.addresses)
    }

    /// Whether a call may be the next one, by its place in the log.
    fn is_next(&mut self, asked: &Asked) -> bool {
        let is_next = asked.place.is_none_or(|place| self.search.places.get(self.placed) == Some(&place));
        self.placed += usize::from(asked.place.is_some());
        is_next
    }
}

impl SequentialSpec for Registry {
    type Op = Asked;
    type Ret = Arc<Said>;

    fn invoke(&mut self, asked: &Asked) -> Arc<Said> {
        Arc::new(self.ask(&asked.command))
    }

    fn is_valid_step(&mut self, asked: &Asked, said: &Arc<Said>) -> bool {
        let steps = self.search.steps.get() + 1;
        self.search.steps.set(steps);
        if steps > STEPS || !self.is_next(asked) {
            return false;
        }
        let found = self.ask(&asked.command);
        let is_right = found.result == said.result && (said.addresses.is_none() || said.addresses == found.addresses);
        if is_right {
            self.search.longest.set(self.search.longest.get().max(self.asked));
        }
        is_right
    }
}

type Tester = LinearizabilityTester<u64, Registry>;

/// Tells the tester what happened, in the order in which it did.
fn record(calls: &[Call], mut tester: Tester) -> Result<Tester, String> {
    let mut events: Vec<(usize, usize, Option<&Said>)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        events.push((call.invoked, number, None));
        if let Some((at, Answer::Said(said))) = &call.returned {
            events.push((*at, number, Some(said)));
        }
    }
    events.sort_by_key(|(at, number, _)| (*at, *number));
    for (_, number, answer) in events {
        let call = &calls[number];
        let client = if call.was_told { call.client } else { UNANSWERED + number as u64 };
        match answer {
            Some(said) => tester.on_return(client, Arc::new(said.clone()))?,
            None => {
                let place = call.said().and_then(|said| said.place);
                tester.on_invoke(client, Asked { command: Arc::new(call.command.clone()), place })?
            }
        };
    }
    Ok(tester)
}
