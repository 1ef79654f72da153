//! Whether a history is linearizable: whether one registry, asked one call after the other in some order, would have said
//! the same, where a call that ended before another began comes first.
//!
//! The order need not be looked for: it is that of the log. A call happens when its entry is carried out first, by whichever
//! manager. That must be after it began and before it was answered, and in the order of the log. The real [`carry_out`] then
//! gives each answer again, so the same ids and addresses, and refusals for the same reasons; and each state that a manager
//! published. That is more than linearizability asks for, and no less than the log promises.
//!
//! Not in the history: reads. They are local and may be old, by design, and are states of this one history.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as Slot;

use festoon_control::registry::{Change, Command, Outcome, Refusal, State, VouchError, carry_out};
use festoon_proto::ManagerId;

use super::super::forger::is_forged;
use super::super::history::{Call, Said};
use super::super::log::Entry;
use super::super::sightings::Sightings;

/// Whose call stands at which place of the log.
type Callers<'a> = BTreeMap<u64, &'a Call>;

/// What is wrong with the history, if it happened in the order of the log.
pub(super) fn check(calls: &[Call], log: &[Entry], sightings: &Sightings) -> Vec<String> {
    let mut found = Vec::new();
    let callers = callers(calls, log, &mut found);
    moments(log, &callers, &mut found);
    answers(log, &callers, sightings, &mut found);
    refused(calls, log, &mut found);
    found
}

/// Every answered call must stand in the log, and all that stands there must be somebody's.
///
/// Of calls without an answer that asked for the same, nobody knows which stands where. They are taken in the order in which
/// they were made: such a call never ends, so if it can be any other way, it can be this way.
fn callers<'a>(calls: &'a [Call], log: &[Entry], found: &mut Vec<String>) -> Callers<'a> {
    let changes: BTreeMap<u64, &Change> = log.iter().map(|entry| (entry.place, &entry.proposal.change)).collect();
    let mut callers = Callers::new();
    let mut unanswered: Vec<&Call> = calls.iter().filter(|call| call.is_unknown()).collect();
    for (call, said) in calls.iter().filter_map(|call| Some((call, call.said()?))) {
        let stands = changes.get(&said.place).is_some_and(|change| change.command == call.command);
        if !stands && may_stand_nowhere(call) {
            // It may stand there all the same: what it was told may be the answer to another try.
            unanswered.push(call);
        } else if !stands || callers.insert(said.place, call).is_some() {
            found.push(format!("does not stand in the log where its client was told: {call}"));
        }
    }
    // What the liar brought in may stand in the log, where it comes to nothing: that is checked of every state.
    for entry in log.iter().filter(|entry| !is_forged(&entry.proposal.change.command)) {
        let Slot::Vacant(place) = callers.entry(entry.place) else { continue };
        let found_at = unanswered.iter().position(|call| call.command == entry.proposal.change.command);
        match found_at.map(|at| unanswered.remove(at)) {
            Some(call) if call.is_unknown() => drop(place.insert(call)),
            // It has its answer, which is judged by itself.
            Some(_) => {}
            None => found.push(format!("stands in the log, though nobody asked for it, or was told that: {entry:?}")),
        }
    }
    callers
}

/// Each call happens between its beginning and its end, and each entry after the one before it.
fn moments(log: &[Entry], callers: &Callers<'_>, found: &mut Vec<String>) {
    for pair in log.windows(2).filter(|pair| pair[0].moment >= pair[1].moment) {
        found.push(format!("carried out in another order than that of the log: {pair:?}"));
    }
    for entry in log {
        let moment = entry.moment;
        if let Some(call) = callers.get(&entry.place).filter(|call| !(call.invoked..call.end()).contains(&moment)) {
            found
                .push(format!("carried out at {moment}, before it was asked for or after its client was told: {call}"));
        }
    }
}

/// One registry that carries out the log says what clients were told, and has the states that managers published.
fn answers(log: &[Entry], callers: &Callers<'_>, sightings: &Sightings, found: &mut Vec<String>) {
    let (mut state, mut states) = (State::default(), 0);
    for entry in log {
        let right = ask(&mut state, entry);
        let said = callers.get(&entry.place).and_then(|call| call.said());
        if let Some(said) = said.filter(|said| !is_same(said, &right)) {
            found.push(format!("{said:?}, where one registry says {right:?}: {:?}", entry.proposal.change.command));
        }
        states += usize::from(right.result.is_ok() && sightings.have(&state));
    }
    if states != sightings.count() {
        found.push(format!("{} states were published, of which the log gives {states}", sightings.count()));
    }
}

/// A join that is refused has no place in the log, if it was certain that it is: its answer is that of a read. So is that to
/// whatever came through a manager that had been removed.
fn may_stand_nowhere(call: &Call) -> bool {
    let is_join = matches!(call.command, Command::JoinEndpoint(_) | Command::JoinManager(_));
    let is_refused = call.said().is_some_and(|said| said.result.is_err());
    is_refused && (is_join || removed(call).is_some())
}

/// The manager that was no member when the call came through it, as the client was told.
fn removed(call: &Call) -> Option<ManagerId> {
    match call.said()?.result {
        Err(Refusal::Vouch(VouchError::NotMember(manager))) if manager == call.through => Some(manager),
        _ => None,
    }
}

/// Whoever was refused without a place in the log was told what some state says that was the last one between its call and
/// the answer.
fn refused(calls: &[Call], log: &[Entry], found: &mut Vec<String>) {
    let mut open: Vec<&Call> = calls.iter().filter(|call| may_stand_nowhere(call)).collect();
    let mut state = State::default();
    for next in log.iter().map(Some).chain([None]) {
        let until = next.map_or(usize::MAX, |entry| entry.moment);
        open.retain(|call| !(call.invoked <= until && is_right(call, &state)));
        let Some(entry) = next else { break };
        let (late, rest) = open.into_iter().partition(|call| call.end() < entry.moment);
        open = rest;
        found.extend(Vec::into_iter(late).map(|call: &Call| format!("was refused for no reason: {call}")));
        ask(&mut state, entry);
    }
    found.extend(open.into_iter().map(|call| format!("was refused for no reason: {call}")));
}

fn is_right(call: &Call, state: &State) -> bool {
    if let Some(manager) = removed(call) {
        return state.was_given_to_manager(manager) && state.manager(manager).is_none();
    }
    let right = carry_out(state, state.version().0 + 1, &call.command.clone().into()).map(|carried| carried.outcome);
    call.said().is_some_and(|said| said.result == right)
}

fn ask(state: &mut State, entry: &Entry) -> Said {
    let result = entry.proposal.carry_out(state, entry.place).map(|carried| {
        *state = carried.state;
        carried.outcome
    });
    let addresses = match &result {
        Ok(Outcome::Endpoint(id)) => state.endpoint(*id).map(|endpoint| endpoint.addresses),
        _ => None,
    };
    Said { result, addresses, place: entry.place }
}

/// The client was told no addresses if the endpoint was gone again already.
fn is_same(said: &Said, right: &Said) -> bool {
    said.result == right.result && (said.addresses.is_none() || said.addresses == right.addresses)
}
