//! From one state to the next.

use super::format::FormatError;
use super::{Command, Outcome, Refusal, State};
use super::{authorities, endpoints, epoch, format, keys, managers, networks, secrets, tokens};

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
    let (needed, cluster) = (command.since(), state.format());
    if needed > cluster {
        return Err(FormatError::NotYet { needed, cluster }.into());
    }
    let mut next = state.at(index);
    if let Some(now) = command.now() {
        next.expire(now);
    }
    let outcome = change(&mut next, command)?;
    Ok((next, outcome))
}

#[expect(clippy::cognitive_complexity, reason = "an arm for each command, and nothing else")]
fn change(state: &mut State, command: &Command) -> Result<Outcome, Refusal> {
    match command {
        Command::Bootstrap(command) => return Ok(Outcome::Manager(managers::bootstrap(state, command)?)),
        Command::AddNetwork(command) => return Ok(Outcome::Network(networks::add(state, command)?)),
        Command::JoinEndpoint(command) => return Ok(Outcome::Endpoint(endpoints::join(state, command)?)),
        Command::AddClient(command) => return Ok(Outcome::Endpoint(endpoints::add_client(state, command)?)),
        Command::JoinManager(command) => return Ok(Outcome::Manager(managers::join(state, command)?)),
        Command::UpdateNetwork(command) => networks::update(state, command)?,
        Command::CreateToken(command) => tokens::create(state, command)?,
        Command::RemoveEndpoint(command) => endpoints::remove(state, command)?,
        Command::RotateEndpointKey(command) => keys::rotate_endpoint(state, command)?,
        Command::UpdateManager(command) => managers::update(state, command)?,
        Command::RenewManager(command) => managers::renew(state, command)?,
        Command::RotateManagerKey(command) => keys::rotate_manager(state, command)?,
        Command::RotateSealKey(command) => managers::rotate_seal_key(state, command)?,
        Command::RemoveManager(id) => managers::remove(state, *id)?,
        Command::SetKeyring(command) => secrets::set_keyring(state, command)?,
        Command::PutSecret(command) => secrets::put(state, command)?,
        Command::RemoveSecret(name) => secrets::remove(state, name)?,
        Command::AddAuthority(command) => authorities::add(state, command)?,
        Command::PromoteAuthority(fingerprint) => authorities::promote(state, *fingerprint)?,
        Command::RetireAuthority(fingerprint) => authorities::retire(state, *fingerprint)?,
        Command::BeginEpoch(command) => epoch::begin(state, command)?,
        Command::AnnounceFormat(command) => format::announce(state, command)?,
        Command::Expire(_) => {}
    }
    Ok(Outcome::Done)
}
