//! Commands on users.

use std::sync::Arc;

use festoon_proto::UserId;
use festoon_proto::access::{Grant, Role, Scope};
use festoon_proto::token::SecretHash;

use super::super::name;
use super::super::secrets;
use super::super::state::State;
use super::super::vault::SecretName;
use super::super::{AddUser, NewTotp, SetUp, UpdateUser};
use super::{AccountError, OidcIdentity, PasswordHash, Totp, User};
use festoon_proto::harmless::is_harmless;

/// Each may have a second factor, and with that a secret in the vault.
pub(super) const MAX_USERS: usize = 1_000;
const MAX_RECOVERY_CODES: usize = 16;
/// Bytes of an issuer, a subject, a password hash.
const MAX_LEN: usize = 255;

/// From now on, whoever has the secret with this hash becomes the first owner.
pub(in crate::registry) fn set_set_up_secret(state: &mut State, hash: SecretHash) -> Result<(), AccountError> {
    if state.has_owner() {
        return Err(AccountError::IsSetUp);
    }
    state.records.accounts.set_up = Some(hash);
    Ok(())
}

/// Whether the secret with this hash makes the first owner.
pub fn check_set_up(state: &State, secret: &SecretHash) -> Result<(), AccountError> {
    if state.has_owner() {
        return Err(AccountError::IsSetUp);
    }
    if state.records.accounts.set_up == Some(*secret) { Ok(()) } else { Err(AccountError::SetUpSecret) }
}

pub(in crate::registry) fn set_up(state: &mut State, command: &SetUp) -> Result<UserId, AccountError> {
    check_set_up(state, &command.secret)?;
    let SetUp { name, password, now, .. } = command.clone();
    add(state, &AddUser { name, grant: Grant::OWNER, password: Some(password), identity: None, now })
}

pub(in crate::registry) fn add(state: &mut State, command: &AddUser) -> Result<UserId, AccountError> {
    if state.users().count() >= MAX_USERS {
        return Err(AccountError::TooManyUsers);
    }
    check_name(state, &command.name)?;
    check_networks(state, &command.grant.networks)?;
    check_grant(&command.grant)?;
    command.password.as_ref().map_or(Ok(()), check_password)?;
    command.identity.as_ref().map_or(Ok(()), |identity| check_identity(state, None, identity))?;
    let user = User {
        id: state.next_user(),
        name: Arc::from(command.name.as_str()),
        grant: command.grant.clone(),
        password: command.password.clone(),
        totp: None,
        identity: command.identity.clone(),
        is_enabled: true,
        logged_in_from: Vec::new(),
        created: command.now,
        credentials_changed: state.version(),
        changed: state.version(),
    };
    let id = user.id;
    state.put_user(user);
    Ok(id)
}

pub(in crate::registry) fn update(state: &mut State, command: &UpdateUser) -> Result<(), AccountError> {
    let before = state.user(command.user).cloned().ok_or(AccountError::NoUser(command.user))?;
    let mut user = before.clone();
    update_grant(state, command, &mut user)?;
    update_credentials(state, command, &mut user)?;
    user.is_enabled = command.is_enabled.unwrap_or(user.is_enabled);
    check_last_owner(state, &before, Some(&user))?;
    store_totp_secret(state, user.id, command.totp.as_ref(), user.totp.is_some())?;
    if command.changes_credentials() {
        user.credentials_changed = state.version();
    }
    if command.changes_credentials() || !user.is_enabled {
        state.end_sessions_of(user.id);
    }
    user.changed = state.version();
    state.put_user(user);
    Ok(())
}

impl UpdateUser {
    const fn changes_credentials(&self) -> bool {
        self.password.is_some() || self.totp.is_some() || self.identity.is_some()
    }
}

fn update_grant(state: &State, command: &UpdateUser, user: &mut User) -> Result<(), AccountError> {
    if let Some(name) = command.name.as_ref().filter(|name| ***name != *user.name) {
        check_name(state, name)?;
        user.name = Arc::from(name.as_str());
    }
    user.grant.role = command.role.unwrap_or(user.grant.role);
    if let Some(networks) = &command.networks {
        check_networks(state, networks)?;
        user.grant.networks.clone_from(networks);
    }
    check_grant(&user.grant)
}

fn update_credentials(state: &State, command: &UpdateUser, user: &mut User) -> Result<(), AccountError> {
    if let Some(password) = &command.password {
        password.as_ref().map_or(Ok(()), check_password)?;
        user.password.clone_from(password);
        // It goes beside a password.
        user.totp = user.totp.take().filter(|_| password.is_some());
    }
    if let Some(identity) = &command.identity {
        identity.as_ref().map_or(Ok(()), |identity| check_identity(state, Some(user.id), identity))?;
        user.identity.clone_from(identity);
    }
    if let Some(totp) = &command.totp {
        user.totp = totp.as_ref().map(|totp| new_totp(user, totp)).transpose()?;
    }
    Ok(())
}

fn new_totp(user: &User, new: &NewTotp) -> Result<Totp, AccountError> {
    if user.password.is_none() {
        return Err(AccountError::NoPassword(user.id));
    }
    let count = new.recovery.len();
    if !(1..=MAX_RECOVERY_CODES).contains(&count) {
        return Err(AccountError::RecoveryCodes(count));
    }
    Ok(Totp { last_step: new.step, recovery: new.recovery.clone() })
}

/// The vault has the secret of every second factor, and no other.
fn store_totp_secret(
    state: &mut State,
    user: UserId,
    new: Option<&Option<NewTotp>>,
    is_there: bool,
) -> Result<(), AccountError> {
    let name = SecretName::of_totp(user);
    if let Some(Some(totp)) = new {
        secrets::store(state, name, totp.secret.clone())?;
    } else if !is_there {
        forget_totp_secret(state, &name);
    }
    Ok(())
}

fn forget_totp_secret(state: &mut State, name: &SecretName) {
    if state.vault().secret(name).is_some() {
        state.vault_mut().secrets.remove(name);
    }
}

/// Its sessions and tokens go with it.
pub(in crate::registry) fn remove(state: &mut State, id: UserId) -> Result<(), AccountError> {
    let user = state.user(id).cloned().ok_or(AccountError::NoUser(id))?;
    check_last_owner(state, &user, None)?;
    forget_totp_secret(state, &SecretName::of_totp(id));
    state.remove_user(id);
    Ok(())
}

fn check_last_owner(state: &State, before: &User, after: Option<&User>) -> Result<(), AccountError> {
    let stays = after.is_some_and(User::is_acting_owner);
    let is_other = |user: &User| user.id != before.id && user.is_acting_owner();
    if before.is_acting_owner() && !stays && !state.users().any(is_other) {
        return Err(AccountError::LastOwner(before.id));
    }
    Ok(())
}

fn check_name(state: &State, name: &str) -> Result<(), AccountError> {
    name::check(name)?;
    if state.user_named(name).is_some() { Err(AccountError::NameTaken(name.to_owned())) } else { Ok(()) }
}

/// Networks that were removed since may stay in a grant, but nobody gets one anew.
pub(super) fn check_networks(state: &State, networks: &Scope) -> Result<(), AccountError> {
    let Scope::Networks(networks) = networks else { return Ok(()) };
    match networks.iter().find(|id| state.network(**id).is_none()) {
        Some(missing) => Err(AccountError::NoNetwork(*missing)),
        None => Ok(()),
    }
}

/// An owner could give itself the networks it does not have.
pub(super) fn check_grant(grant: &Grant) -> Result<(), AccountError> {
    match &grant.networks {
        Scope::Networks(networks) if grant.role == Role::Owner || networks.is_empty() => Err(AccountError::Grant),
        _ => Ok(()),
    }
}

fn check_password(password: &PasswordHash) -> Result<(), AccountError> {
    let text = password.as_str();
    let is_phc = text.starts_with("$argon2id$") && text.len() <= MAX_LEN && text.is_ascii();
    if is_phc { Ok(()) } else { Err(AccountError::PasswordHash) }
}

fn check_identity(state: &State, of: Option<UserId>, identity: &OidcIdentity) -> Result<(), AccountError> {
    if [&identity.issuer, &identity.subject]
        .iter()
        .any(|text| !(1..=MAX_LEN).contains(&text.len()) || !text.chars().all(is_harmless))
    {
        return Err(AccountError::Identity);
    }
    match state.user_with(identity).filter(|user| Some(user.id) != of) {
        Some(user) => Err(AccountError::IdentityTaken(user.id)),
        None => Ok(()),
    }
}
