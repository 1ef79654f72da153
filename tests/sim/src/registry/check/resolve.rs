//! What became of calls whose clients were told nothing for certain.
//!
//! What managers publish was carried out. So a call whose effect was seen is taken for answered at the moment it was seen,
//! and one whose effect was never seen is taken for not carried out. The search for an order would find the same, but try
//! every call without an answer at every place.

use festoon_control::registry::{Addresses, Command, Outcome};

use super::super::history::{Answer, Call, Said};
use super::super::sightings::Sightings;

/// The history as it is known at last.
pub(super) fn resolve(calls: &[Call], sightings: &Sightings) -> Vec<Call> {
    let known = |(number, call): (usize, &Call)| match &call.returned {
        Some((_, Answer::Said(_))) => Some(call.clone()),
        Some((_, Answer::Unchanged)) => None,
        Some((_, Answer::Unknown)) | None => seen(call, &calls[number + 1..], sightings),
    };
    calls.iter().enumerate().filter_map(known).collect()
}

fn seen(call: &Call, later: &[Call], sightings: &Sightings) -> Option<Call> {
    let returned = match &call.command {
        // A key is never used twice.
        Command::AddClient(command) => {
            let seen = sightings.endpoint(&command.public_key)?;
            (seen.since, carried_out(Outcome::Endpoint(seen.id), Some(seen.addresses), Some(seen.place)))
        }
        // An endpoint is removed by one call at most.
        Command::RemoveEndpoint(command) => (sightings.gone(command.endpoint)?, carried_out(Outcome::Done, None, None)),
        Command::JoinManager(command) => {
            let (id, since) = sightings.manager(&command.manager.public_key)?;
            (since, carried_out(Outcome::Manager(id), None, None))
        }
        // Nobody is told anything else because of these: names are never used twice, and nothing is due.
        Command::UpdateManager(_) | Command::RenewManager(_) | Command::Expire(_) => return None,
        // Asked for again until there was an answer. If it was not refused then, it was not carried out before.
        _ => return is_refused_later(call, later).then(|| call.clone()),
    };
    // What was seen before it was asked for is told apart as untrue.
    let returned = (returned.0.max(call.invoked + 1), returned.1);
    Some(Call { returned: Some(returned), ..call.clone() })
}

fn is_refused_later(call: &Call, later: &[Call]) -> bool {
    let mut same = later.iter().filter(|other| other.command == call.command);
    same.find_map(Call::said).is_none_or(|said| said.result.is_err())
}

fn carried_out(outcome: Outcome, addresses: Option<Addresses>, place: Option<u64>) -> Answer {
    Answer::Said(Said { result: Ok(outcome), addresses, place })
}
