//! From one state to the next.

use super::change::{Carried, ChangeError, carry_out};
use super::{Command, Outcome, Refusal, State};
use super::{
    accounts, authorities, destinations, endpoints, epoch, format, keys, managers, networks, routes, secrets, tokens,
};

/// As [`carry_out`], of a command that the managers themselves want.
pub fn apply(state: &State, index: u64, command: &Command) -> Result<(State, Outcome), Refusal> {
    carry_out(state, index, &command.clone().into()).map(|Carried { state, outcome, .. }| (state, outcome))
}

#[expect(clippy::cognitive_complexity, reason = "an arm for each command, and nothing else")]
pub(super) fn apply_one(state: &mut State, command: &Command) -> Result<Outcome, Refusal> {
    match command {
        Command::Bootstrap(command) => return Ok(Outcome::Manager(managers::bootstrap(state, command)?)),
        Command::AddNetwork(command) => return Ok(Outcome::Network(networks::add(state, command)?)),
        Command::JoinEndpoint(command) => return Ok(Outcome::Endpoint(endpoints::join(state, command)?)),
        Command::AddClient(command) => return Ok(Outcome::Endpoint(endpoints::add_client(state, command)?)),
        Command::JoinManager(command) => return Ok(Outcome::Manager(managers::join(state, command)?)),
        Command::CreateToken(command) => return Ok(Outcome::JoinToken(tokens::create(state, command)?)),
        Command::SetUp(command) => return Ok(Outcome::User(accounts::set_up(state, command)?)),
        Command::AddUser(command) => return Ok(Outcome::User(accounts::add(state, command)?)),
        Command::CreateApiToken(command) => {
            return Ok(Outcome::ApiToken(accounts::create_api_token(state, command)?));
        }
        Command::LogIn(command) => return Ok(Outcome::Session(accounts::log_in(state, command)?)),
        Command::AddEventDestination(command) => {
            return Ok(Outcome::EventDestination(destinations::add(state, command)?));
        }
        Command::Batch(_) => return Err(ChangeError::BatchPart(0).into()),
        Command::UpdateNetwork(command) => networks::update(state, command)?,
        Command::RemoveNetwork(id) => networks::remove(state, *id)?,
        Command::RemoveToken(id) => tokens::remove(state, *id)?,
        Command::UpdateEndpoint(command) => endpoints::update(state, command)?,
        Command::OfferRoutes(command) => routes::offer(state, command)?,
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
        Command::SetRecoveryKey(key) => epoch::set_recovery_key(state, *key),
        Command::AnnounceProgram(command) => format::announce(state, command)?,
        Command::SetSetUpSecret(hash) => accounts::set_set_up_secret(state, *hash)?,
        Command::UpdateUser(command) => accounts::update(state, command)?,
        Command::RemoveUser(id) => accounts::remove(state, *id)?,
        Command::RemoveApiToken(id) => accounts::remove_api_token(state, *id)?,
        Command::ConfirmSession(command) => accounts::confirm(state, command)?,
        Command::LogOut(id) => accounts::log_out(state, *id)?,
        Command::LogOutAll(id) => accounts::log_out_all(state, *id)?,
        Command::UpdateEventDestination(command) => destinations::update(state, command)?,
        Command::RemoveEventDestination(id) => destinations::remove(state, *id)?,
        Command::NoteDelivery(command) => destinations::note(state, command)?,
        Command::RedeliverDeadLetters(command) => destinations::redeliver(state, command)?,
        Command::Expire(_) | Command::Note(_) => {}
    }
    Ok(Outcome::Done)
}
