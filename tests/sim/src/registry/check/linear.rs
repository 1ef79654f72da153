//! Whether a history is linearizable: whether one registry, asked one call after the other in some order, would have said
//! the same, where a call that ended before another began comes first.
//!
//! The registry that is asked is the real [`apply`], so it gives the same addresses and refuses for the same reasons. The
//! search is stateright's. What a history of the registry says (ids and addresses above all) leaves it few orders to try;
//! after [`STEPS`] it gives up, which counts as a failure.
//!
//! Not in the history: reads. They are local and may be old, by design. That what a manager reads is a state of the one
//! history, and never goes back, is checked when it is published.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use festoon_control::registry::{Addresses, Command, Outcome, Refusal, State, apply};
use stateright::semantics::{ConsistencyTester as _, LinearizabilityTester, SequentialSpec};

use super::super::history::{Answer, Call};

/// Calls that the search may try.
const STEPS: u64 = 20_000;
/// Calls whose clients were told nothing are of nobody, and come last in the search.
const UNANSWERED: u64 = 1 << 32;

/// No order was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unordered {
    /// How many calls the longest order had that was right so far.
    placed: u64,
    calls: usize,
    gave_up: bool,
}

impl fmt::Display for Unordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { placed, calls, gave_up } = self;
        let found = if *gave_up { format!("no order found in {STEPS} steps") } else { "no order exists".to_owned() };
        write!(f, "{found} for {calls} calls; the longest that was right so far had {placed}")
    }
}

/// A registry that is asked one call after the other.
#[derive(Clone)]
struct Registry {
    state: State,
    asked: u64,
    search: Rc<Search>,
}

#[derive(Debug, Default)]
struct Search {
    steps: Cell<u64>,
    placed: Cell<u64>,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    result: Result<Outcome, Refusal>,
    /// `None` if it was not told.
    addresses: Option<Addresses>,
}

impl SequentialSpec for Registry {
    type Op = Arc<Command>;
    type Ret = Arc<Told>;

    fn invoke(&mut self, command: &Arc<Command>) -> Arc<Told> {
        self.asked += 1;
        let search = &self.search;
        search.steps.set(search.steps.get() + 1);
        search.placed.set(search.placed.get().max(self.asked));
        let (result, addresses) = match apply(&self.state, self.asked, command) {
            Ok((state, outcome)) => {
                self.state = state;
                (Ok(outcome), self.addresses(outcome))
            }
            Err(refusal) => (Err(refusal), None),
        };
        Arc::new(Told { result, addresses })
    }

    fn is_valid_step(&mut self, command: &Arc<Command>, told: &Arc<Told>) -> bool {
        let before = self.search.placed.get();
        let found = self.invoke(command);
        let has_address = told.addresses.is_none() || told.addresses == found.addresses;
        let is_right = found.result == told.result && has_address;
        if !is_right {
            self.search.placed.set(before);
        }
        is_right && self.search.steps.get() < STEPS
    }
}

impl Registry {
    fn addresses(&self, outcome: Outcome) -> Option<Addresses> {
        let Outcome::Endpoint(id) = outcome else { return None };
        self.state.endpoint(id).map(|endpoint| endpoint.addresses)
    }
}

/// Looks for an order.
pub(super) fn check(calls: &[Call]) -> Result<(), Unordered> {
    let search = Rc::new(Search::default());
    let registry = Registry { state: State::default(), asked: 0, search: Rc::clone(&search) };
    let tester = record(calls, LinearizabilityTester::new(registry));
    // It may say that a history makes no sense; ours do, for a client waits for its answer.
    if tester.is_ok_and(|tester| tester.is_consistent()) {
        return Ok(());
    }
    let gave_up = search.steps.get() >= STEPS;
    Err(Unordered { placed: search.placed.get(), calls: calls.len(), gave_up })
}

type Tester = LinearizabilityTester<u64, Registry>;

/// Tells the tester what happened, in the order in which it did.
fn record(calls: &[Call], mut tester: Tester) -> Result<Tester, String> {
    let mut events: Vec<(usize, usize, bool)> = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        events.push((call.invoked, number, false));
        let answered = call.returned.as_ref().filter(|_| !call.is_unknown());
        events.extend(answered.map(|(at, _)| (*at, number, true)));
    }
    events.sort_unstable();
    for (_, number, is_answer) in events {
        let call = &calls[number];
        let client = if call.was_told { call.client } else { UNANSWERED + number as u64 };
        match &call.returned {
            Some((_, Answer::Said(result, addresses))) if is_answer => {
                let told = Told { result: result.clone(), addresses: *addresses };
                tester.on_return(client, Arc::new(told))?;
            }
            _ => drop(tester.on_invoke(client, Arc::new(call.command.clone()))?),
        }
    }
    Ok(tester)
}
