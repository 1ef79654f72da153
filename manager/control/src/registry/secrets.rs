//! Commands on secrets and on the keyring.

use std::collections::BTreeMap;

use festoon_proto::ManagerId;

use super::state::State;
use super::vault::{Ciphertext, EncryptedSecret, Keyring, SecretError, SecretName};
use super::{DataKeyCopy, PutSecret, SetKeyring};

/// Bytes of a secret, and of a sealed data key.
const MAX_LEN: usize = 64 * 1024;
/// Room for the second factor of every user.
const MAX_SECRETS: usize = 2_048;

pub(super) fn put(state: &mut State, command: &PutSecret) -> Result<(), SecretError> {
    store(state, command.name.clone(), command.secret.clone())
}

pub(super) fn store(state: &mut State, name: SecretName, secret: EncryptedSecret) -> Result<(), SecretError> {
    name.check()?;
    let vault = state.vault();
    let is_one_too_many = vault.secrets.len() >= MAX_SECRETS && vault.secret(&name).is_none();
    if is_one_too_many || secret.bytes.as_bytes().len() > MAX_LEN {
        return Err(SecretError::TooMuch { name });
    }
    check_number(state, secret.key)?;
    state.vault_mut().secrets.insert(name, secret);
    Ok(())
}

pub(super) fn remove(state: &mut State, name: &SecretName) -> Result<(), SecretError> {
    let is_of = |fingerprint| SecretName::of_authority(fingerprint) == *name;
    let is_factor = state.users().any(|user| user.totp.is_some() && SecretName::of_totp(user.id) == *name);
    let is_needed = is_factor || super::destinations::uses(state, name);
    if is_needed || state.vault().authorities.iter().any(|authority| is_of(&authority.fingerprint)) {
        return Err(SecretError::InUse(name.clone()));
    }
    if state.vault().secret(name).is_none() {
        return Err(SecretError::Unknown(name.clone()));
    }
    state.vault_mut().secrets.remove(name);
    Ok(())
}

fn check_number(state: &State, given: u32) -> Result<(), SecretError> {
    let current = state.vault().keyring.number;
    // Number 0 is no key at all: nothing may be stored under it.
    if given == current && current != 0 { Ok(()) } else { Err(SecretError::OtherKey { given, current }) }
}

pub(super) fn set_keyring(state: &mut State, command: &SetKeyring) -> Result<(), SecretError> {
    let vault = state.vault();
    if vault.changed != command.based_on {
        return Err(SecretError::Stale);
    }
    let current = vault.keyring.number;
    if current.checked_add(1) != Some(command.number) {
        return Err(SecretError::OtherKey { given: command.number, current });
    }
    let copies = copies(state, command)?;
    let secrets = secrets(state, command)?;
    let vault = state.vault_mut();
    vault.keyring = Keyring { number: command.number, copies, is_known_outside: false };
    vault.secrets = secrets;
    Ok(())
}

/// The copies in a new keyring: one for each full manager.
fn copies(state: &State, command: &SetKeyring) -> Result<BTreeMap<ManagerId, Ciphertext>, SecretError> {
    let mut copies = BTreeMap::new();
    for (id, copy) in &command.copies {
        let is_full = state.manager(*id).is_some_and(|manager| manager.is_full());
        let fits = copy.as_bytes().len() <= MAX_LEN;
        if !is_full || !fits || copies.insert(*id, copy.clone()).is_some() {
            return Err(SecretError::Managers(*id));
        }
    }
    for manager in state.full_managers() {
        if manager.seal_key.is_none() {
            return Err(SecretError::NoSealKey(manager.id));
        }
        if !copies.contains_key(&manager.id) {
            return Err(SecretError::Managers(manager.id));
        }
    }
    Ok(copies)
}

/// The secrets under a new data key: the same as before.
fn secrets(state: &State, command: &SetKeyring) -> Result<BTreeMap<SecretName, EncryptedSecret>, SecretError> {
    let before = &state.vault().secrets;
    let mut secrets = BTreeMap::new();
    for (name, bytes) in &command.secrets {
        let secret = EncryptedSecret { key: command.number, bytes: bytes.clone() };
        let fits = bytes.as_bytes().len() <= MAX_LEN;
        if !before.contains_key(name) || !fits || secrets.insert(name.clone(), secret).is_some() {
            return Err(SecretError::Secrets(name.clone()));
        }
    }
    match before.keys().find(|name| !secrets.contains_key(*name)) {
        Some(missing) => Err(SecretError::Secrets(missing.clone())),
        None => Ok(secrets),
    }
}

/// Whether a manager that gets this copy can read secrets. A cluster without a data key has none to give.
pub(super) fn check_copy(state: &State, copy: Option<&DataKeyCopy>) -> Result<(), SecretError> {
    let current = state.vault().keyring.number;
    let given = copy.map_or(0, |copy| copy.number);
    if given == current { Ok(()) } else { Err(SecretError::OtherKey { given, current }) }
}

/// `manager` can read secrets from now on, if the cluster has any.
pub(super) fn add_copy(state: &mut State, manager: ManagerId, copy: Option<&DataKeyCopy>) {
    if let Some(copy) = copy {
        state.vault_mut().keyring.copies.insert(manager, copy.sealed.clone());
    }
}

/// `manager` gets no new secret any more. It still knows the data key until there is a new one.
pub(super) fn remove_copy(state: &mut State, manager: ManagerId) {
    if state.vault().keyring.copies.contains_key(&manager) {
        let keyring = &mut state.vault_mut().keyring;
        keyring.copies.remove(&manager);
        keyring.is_known_outside = true;
    }
}
