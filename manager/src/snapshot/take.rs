//! A snapshot of a registry.

use festoon_control::registry::{State, UnixMs};
use festoon_proto::ManagerId;

use super::content::{Content, ContentError, Header};
use super::sealed::{self, SealError};
use crate::vault::{Vault, VaultError, recovery_recipient};

/// No snapshot is taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Nobody could read it.
    #[error("this cluster has no recovery key to encrypt snapshots to: make one with `festoon-manager snapshots key`")]
    NoRecoveryKey,
    /// There is no registry yet.
    #[error("this manager has no copy of the registry yet: wait until it has")]
    Empty,
    /// This manager does not read the secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The recovery key is none, or encryption fails.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The registry can't be written down.
    #[error(transparent)]
    Content(#[from] ContentError),
}

/// `state`, with all that a restore needs, encrypted to the recovery key: the bytes of a file. Takes a second or so when
/// there are 100,000 endpoints.
pub fn take(state: State, me: ManagerId, vault: &Vault, now: UnixMs) -> Result<Vec<u8>, TakeError> {
    let cluster = state.cluster().ok_or(TakeError::Empty)?;
    let data_key = vault.data_key(&state)?;
    let recipient = match vault.read(&state, &recovery_recipient()) {
        Err(VaultError::Unknown(_)) => return Err(TakeError::NoRecoveryKey),
        recipient => recipient?,
    };
    let recipient = std::str::from_utf8(&recipient).map_err(|_| SealError::Recipient)?;
    let header = Header {
        program: env!("CARGO_PKG_VERSION").to_owned(),
        cluster,
        manager: state.manager(me).map(|manager| manager.name.clone()).unwrap_or_default(),
        created: now,
        registry_format: state.format(),
        data_key: data_key.number(),
    };
    let content = Content { header, data_key, state };
    Ok(sealed::seal(&content.to_secret_bytes()?, recipient)?)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NOW, cluster, vault, with_recipient};
    use super::*;
    use crate::vault::RecoveryKey;

    #[test]
    fn any_full_manager_takes_one_and_the_recovery_key_reads_it() {
        let key = RecoveryKey::generate();
        let state = with_recipient(cluster(2), &key.recipient());
        for number in [1, 2] {
            let me = ManagerId(number.into());
            let file = take(state.clone(), me, &vault(number), NOW).unwrap();
            let read = Content::from_secret_bytes(&sealed::open(&file, &key).unwrap()).unwrap();
            assert_eq!(read.state, state);
            assert_eq!((read.header.manager, read.header.created), (format!("m{number}"), NOW));
            let authority = read.state.vault().authorities()[0].fingerprint;
            let name = festoon_control::registry::SecretName::of_authority(&authority);
            assert!(read.data_key.decrypt(&name, state.vault().secret(&name).unwrap()).is_ok());
        }
    }

    #[test]
    fn without_a_recovery_key_there_is_none() {
        let state = cluster(1).state;
        assert!(matches!(take(State::default(), ManagerId(1), &vault(1), NOW), Err(TakeError::Empty)));
        let error = take(state.clone(), ManagerId(1), &vault(1), NOW).unwrap_err();
        assert!(error.to_string().contains("festoon-manager snapshots key"), "{error}");
        let witness = Vault::new(ManagerId(3), None);
        assert!(matches!(take(state, ManagerId(3), &witness, NOW), Err(TakeError::Vault(VaultError::Witness))));
        let bad = take(with_recipient(cluster(2), "age1nobody"), ManagerId(1), &vault(1), NOW);
        assert!(matches!(bad, Err(TakeError::Seal(SealError::Recipient))));
    }
}
