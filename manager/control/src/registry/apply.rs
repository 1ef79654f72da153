//! From one state to the next.

use super::{Command, Outcome, Refusal, State, endpoints, managers, networks, tokens};

/// The state after `command`, which stands at `index` in the log, and what the command made.
///
/// Deterministic: the same state, index and command give the same result on every manager, a refusal included. A refused
/// command changes nothing, not even the version.
pub fn apply(state: &State, index: u64, command: &Command) -> Result<(State, Outcome), Refusal> {
    match (state.cluster(), command) {
        (None, Command::Bootstrap(_)) => {}
        (None, _) => return Err(Refusal::NoCluster),
        (Some(_), Command::Bootstrap(_)) => return Err(Refusal::HasCluster),
        (Some(_), _) => {}
    }
    let mut next = state.at(index);
    let outcome = change(&mut next, command)?;
    Ok((next, outcome))
}

fn change(state: &mut State, command: &Command) -> Result<Outcome, Refusal> {
    Ok(match command {
        Command::Bootstrap(command) => Outcome::Manager(managers::bootstrap(state, command)?),
        Command::AddNetwork(command) => Outcome::Network(networks::add(state, command)?),
        Command::CreateToken(command) => tokens::create(state, command).map(|()| Outcome::Done)?,
        Command::JoinEndpoint(command) => Outcome::Endpoint(endpoints::join(state, command)?),
        Command::AddClient(command) => Outcome::Endpoint(endpoints::add_client(state, command)?),
        Command::RemoveEndpoint(id) => endpoints::remove(state, *id).map(|()| Outcome::Done)?,
        Command::JoinManager(command) => Outcome::Manager(managers::join(state, command)?),
        Command::RemoveManager(id) => managers::remove(state, *id).map(|()| Outcome::Done)?,
        Command::UpdateManager(command) => managers::update(state, command).map(|()| Outcome::Done)?,
    })
}
