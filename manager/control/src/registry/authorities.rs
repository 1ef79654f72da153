//! The cluster's CAs.
//!
//! A CA is replaced without anybody losing trust: the next one is added, and every node learns to trust it beside the one
//! of now; it is promoted, and managers get certificates from it; the one before is retired. A node that was away in
//! between needs only have seen the first step.

use festoon_proto::Fingerprint;
use serde::{Deserialize, Serialize};

use super::AddAuthority;
use super::secrets;
use super::state::State;
use super::vault::{SecretError, SecretName};

/// What a CA is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthorityRole {
    /// It will issue certificates. Trusted already.
    Next,
    /// It issues certificates.
    Current,
    /// It issued certificates. Trusted still.
    Previous,
}

/// A CA that is trusted. Its private key is the secret [`SecretName::of_authority`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// SHA-256 of its certificate in DER.
    pub fingerprint: Fingerprint,
    /// Its certificate in PEM (RFC 7468).
    pub certificate_pem: String,
    /// What it is for.
    pub role: AuthorityRole,
}

/// Bytes of a certificate in PEM.
const MAX_PEM: usize = 64 * 1024;

/// The CAs stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AuthorityError {
    /// Its key can't be stored.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// This CA is there already.
    #[error("the cluster trusts CA {0} already")]
    Exists(Fingerprint),
    /// Two CAs are enough, and the one before is still trusted.
    #[error(
        "the CA is being replaced already: the new one is in use and the one before, {0}, is still trusted. Run `festoon-manager ca retire` to end that; `festoon-manager ca show` says who is ready"
    )]
    Rotating(Fingerprint),
    /// Its certificate can't be one.
    #[error("a CA's certificate has 1 to {MAX_PEM} bytes of PEM")]
    Certificate,
    /// There is no such CA.
    #[error("the cluster does not know CA {0}")]
    Unknown(Fingerprint),
    /// It does not come next.
    #[error("CA {0} is not the next one: add a new CA and promote that")]
    NotNext(Fingerprint),
    /// Managers would have no certificates.
    #[error("CA {0} issues the certificates of now: add another and promote that first")]
    Current(Fingerprint),
    /// Two CAs are enough, and nobody uses the next one yet.
    #[error(
        "the CA is being replaced already: the next one, {0}, is trusted and not yet in use. Run `festoon-manager ca promote` to use it, or `festoon-manager ca retire --next` to give it up; `festoon-manager ca show` says who is ready"
    )]
    NextWaits(Fingerprint),
}

impl AuthorityError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Secret(error) => error.kind(),
            Self::Exists(_) => "authority-exists",
            Self::Rotating(_) | Self::NextWaits(_) => "authority-rotating",
            Self::Certificate => "bad-certificate",
            Self::Unknown(_) => "authority-unknown",
            Self::NotNext(_) => "authority-not-next",
            Self::Current(_) => "authority-current",
        }
    }
}

pub(super) fn add(state: &mut State, command: &AddAuthority) -> Result<(), AuthorityError> {
    let fingerprint = command.fingerprint;
    let all = state.vault().authorities();
    if all.iter().any(|authority| authority.fingerprint == fingerprint) {
        return Err(AuthorityError::Exists(fingerprint));
    }
    if let Some(other) = all.iter().find(|authority| authority.role != AuthorityRole::Current) {
        let is_next = other.role == AuthorityRole::Next;
        let error = if is_next { AuthorityError::NextWaits } else { AuthorityError::Rotating };
        return Err(error(other.fingerprint));
    }
    if !(1..=MAX_PEM).contains(&command.certificate_pem.len()) {
        return Err(AuthorityError::Certificate);
    }
    let role = if all.is_empty() { AuthorityRole::Current } else { AuthorityRole::Next };
    secrets::store(state, SecretName::of_authority(&fingerprint), command.key.clone())?;
    let certificate_pem = command.certificate_pem.clone();
    state.authorities_mut().push(Authority { fingerprint, certificate_pem, role });
    Ok(())
}

pub(super) fn promote(state: &mut State, fingerprint: Fingerprint) -> Result<(), AuthorityError> {
    match role_of(state, fingerprint)? {
        AuthorityRole::Next => {}
        // It was promoted, and whoever asked did not get the answer.
        AuthorityRole::Current => return Ok(()),
        AuthorityRole::Previous => return Err(AuthorityError::NotNext(fingerprint)),
    }
    // There are two: the next one and the one of now.
    for authority in state.authorities_mut() {
        let is_next = authority.fingerprint == fingerprint;
        authority.role = if is_next { AuthorityRole::Current } else { AuthorityRole::Previous };
    }
    Ok(())
}

pub(super) fn retire(state: &mut State, fingerprint: Fingerprint) -> Result<(), AuthorityError> {
    if role_of(state, fingerprint)? == AuthorityRole::Current {
        return Err(AuthorityError::Current(fingerprint));
    }
    state.authorities_mut().retain(|authority| authority.fingerprint != fingerprint);
    state.vault_mut().secrets.remove(&SecretName::of_authority(&fingerprint));
    Ok(())
}

fn role_of(state: &State, fingerprint: Fingerprint) -> Result<AuthorityRole, AuthorityError> {
    let found = state.vault().authorities().iter().find(|authority| authority.fingerprint == fingerprint);
    found.map(|authority| authority.role).ok_or(AuthorityError::Unknown(fingerprint))
}
