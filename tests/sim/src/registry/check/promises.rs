//! What was promised to clients, call by call.

use std::collections::{BTreeMap, BTreeSet};

use festoon_control::registry::{Addresses, Command, Outcome, State};
use festoon_proto::{EndpointId, ManagerId, NetworkId, PublicKey};

use super::super::history::{Answer, Call, Said};
use super::super::sightings::Sightings;
use super::Verdict;

/// Addresses that were given to an endpoint while another had them: one that nobody had begun to remove.
pub(super) fn twice(calls: &[Call]) -> Vec<String> {
    let removals: BTreeMap<EndpointId, usize> =
        calls.iter().filter_map(|call| Some((removed(call)?, call.invoked))).collect();
    let given: Vec<_> = calls.iter().filter_map(given).collect();
    let mut twice = Vec::new();
    for (index, first) in given.iter().enumerate() {
        for second in &given[index + 1..] {
            let both = first.addresses.iter().any(|address| second.addresses.iter().any(|other| other == address));
            let (earlier, later) = if first.id < second.id { (first, second) } else { (second, first) };
            let was_free = removals.get(&earlier.id).is_some_and(|&removal| removal < later.told);
            if both && first.network == second.network && !was_free {
                twice.push(format!("{:?} for {} and {}", first.addresses, first.id, second.id));
            }
        }
    }
    twice
}

/// What was said of an endpoint that was added.
struct Given {
    id: EndpointId,
    network: NetworkId,
    addresses: Addresses,
    told: usize,
}

fn given(call: &Call) -> Option<Given> {
    let Command::AddClient(command) = &call.command else { return None };
    match &call.returned {
        Some((told, Answer::Said(Said { result: Ok(Outcome::Endpoint(id)), addresses: Some(addresses), .. }))) => {
            Some(Given { id: *id, network: command.network, addresses: *addresses, told: *told })
        }
        _ => None,
    }
}

fn removed(call: &Call) -> Option<EndpointId> {
    match &call.command {
        Command::RemoveEndpoint(command) => Some(command.endpoint),
        _ => None,
    }
}

/// Changes that were acknowledged and are not there.
pub(super) fn lost(calls: &[Call], last: &State, verdict: &mut Verdict) {
    let tried: BTreeSet<EndpointId> = calls.iter().filter_map(removed).collect();
    for call in calls.iter().filter(|call| call.is_acknowledged()) {
        let is_there = match (&call.command, call.said().map(|said| &said.result)) {
            (Command::AddClient(command), Some(Ok(Outcome::Endpoint(id)))) if !tried.contains(id) => {
                last.endpoint(*id).is_some_and(|it| {
                    it.public_key == command.public_key
                        && given(call).is_none_or(|given| given.addresses == it.addresses)
                })
            }
            (Command::JoinEndpoint(command), Some(Ok(Outcome::Endpoint(id)))) if !tried.contains(id) => {
                last.endpoint(*id).is_some_and(|it| it.public_key == command.public_key)
            }
            (Command::RemoveEndpoint(command), _) => last.endpoint(command.endpoint).is_none(),
            (Command::RemoveManager(id), _) => last.manager(*id).is_none(),
            (Command::RenewManager(command), _) => {
                last.manager(command.manager).is_none_or(|it| it.incarnation >= command.incarnation)
            }
            _ => true,
        };
        if !is_there {
            verdict.lost.push(call.to_string());
        }
    }
    lost_names(calls, last, verdict);
}

/// A manager has the name of the last renaming, or of one that may have come after it.
fn lost_names(calls: &[Call], last: &State, verdict: &mut Verdict) {
    let mut renamings: BTreeMap<ManagerId, Vec<(&Call, &str)>> = BTreeMap::new();
    for call in calls {
        if let Command::UpdateManager(command) = &call.command
            && let Some(name) = &command.name
        {
            renamings.entry(command.manager).or_default().push((call, name));
        }
    }
    for (id, renamings) in renamings {
        let Some(manager) = last.manager(id) else { continue };
        let named = renamings.iter().find(|(_, name)| *name == manager.name);
        let end = named.map_or(0, |(call, _)| call.end());
        if let Some((later, _)) = renamings.iter().find(|(call, _)| call.is_acknowledged() && call.invoked > end) {
            verdict.lost.push(format!("{id} is called {}, but later: {:?}", manager.name, later.command));
        }
    }
}

/// Changes that were made though somebody was told that they were not, or before anybody asked, and endpoints that nobody
/// asked for.
pub(super) fn untrue(calls: &[Call], sightings: &Sightings, last: &State, verdict: &mut Verdict) {
    let mut asked: BTreeSet<PublicKey> = BTreeSet::new();
    for call in calls {
        let is_unchanged =
            matches!(call.returned, Some((_, Answer::Unchanged) | (_, Answer::Said(Said { result: Err(_), .. }))));
        let key = newcomer(&call.command);
        asked.extend(key);
        // What is asked for here is asked for once.
        let (is_made, seen) = match (&call.command, key.and_then(|key| sightings.endpoint(&key))) {
            (Command::RemoveEndpoint(command), _) => {
                (last.endpoint(command.endpoint).is_none(), sightings.gone(command.endpoint))
            }
            (_, seen) => (seen.is_some(), seen.map(|seen| seen.since)),
        };
        let is_too_early = seen.is_some_and(|seen| seen < call.invoked);
        if (is_unchanged && is_made) || is_too_early {
            verdict.untrue.push(call.to_string());
        }
    }
    let unasked = last.endpoints().filter(|endpoint| !asked.contains(&endpoint.public_key));
    verdict.untrue.extend(unasked.map(|endpoint| format!("nobody asked for {}", endpoint.id)));
}

/// The key of the endpoint that a command adds.
const fn newcomer(command: &Command) -> Option<PublicKey> {
    match command {
        Command::AddClient(command) => Some(command.public_key),
        Command::JoinEndpoint(command) => Some(command.public_key),
        _ => None,
    }
}
