//! Certificates from the CAs in the registry. Every full manager has their keys, so any of them certifies.

use festoon_control::registry::{AddAuthority, AuthorityRole, SecretName, State, UnixMs};
use festoon_proto::ManagerId;

use super::{DataKey, Vault, VaultError};
use crate::pki::{Authority, SigningRequest};

impl Vault {
    /// The CA that issues certificates now.
    pub fn authority(&self, state: &State) -> Result<Authority, VaultError> {
        self.authority_of(state, AuthorityRole::Current)?.ok_or(VaultError::NoAuthority)
    }

    /// What `manager` is to show, in PEM: a certificate for the key of the request and for the addresses that the registry
    /// names, and those behind it. While the CA before is still trusted, the way to that one is among them.
    pub fn certify(
        &self,
        state: &State,
        manager: ManagerId,
        request: SigningRequest,
        now: UnixMs,
    ) -> Result<String, VaultError> {
        let current = self.authority(state)?;
        let record = state.manager(manager).ok_or(VaultError::NoManager(manager))?;
        if !request.is_by(&record.signing_key) {
            return Err(VaultError::OtherKey(manager));
        }
        let mut chain = current.issue(request, (manager, record.role), &record.https, now)?;
        chain.push_str(current.certificate_pem());
        if let Some(previous) = self.authority_of(state, AuthorityRole::Previous)? {
            chain.push_str(&previous.certify(&current, now)?);
            chain.push_str(previous.certificate_pem());
        }
        Ok(chain)
    }

    fn authority_of(&self, state: &State, role: AuthorityRole) -> Result<Option<Authority>, VaultError> {
        let Some(authority) = state.vault().authority(role) else { return Ok(None) };
        let name = SecretName::of_authority(&authority.fingerprint);
        let key = self.read(state, &name)?;
        let key = std::str::from_utf8(&key).map_err(|_| VaultError::Damaged(name))?;
        Ok(Some(Authority::from_pem(authority.certificate_pem.clone(), key)?))
    }
}

/// The command that makes `authority` known, its key encrypted under `data_key`.
pub fn add_authority(authority: &Authority, data_key: &DataKey) -> Result<AddAuthority, VaultError> {
    let fingerprint = authority.fingerprint();
    let key = data_key.encrypt(&SecretName::of_authority(&fingerprint), authority.to_secret_pem().as_bytes())?;
    Ok(AddAuthority { fingerprint, certificate_pem: authority.certificate_pem().to_owned(), key })
}

/// The certificates of all CAs that are trusted, in PEM.
pub fn trusted_pem(state: &State) -> String {
    state.vault().authorities().iter().map(|authority| authority.certificate_pem.as_str()).collect()
}
