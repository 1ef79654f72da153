//! The first step by which the CA is replaced.

use festoon_control::registry::{Author, AuthorityError, Change, Command, Refusal, State};
use festoon_proto::Fingerprint;

use super::{Vault, VaultError, add_authority, new_keyring};
use crate::cluster::{Cluster, ProposeError};
use crate::pki::Authority;

/// How often it is tried while other managers change the secrets of the registry.
const TRIES: usize = 5;

/// The next CA is not made.
#[derive(Debug, thiserror::Error)]
pub enum NextAuthorityError {
    /// This manager can't read or store secrets.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The registry refuses it, or can't be changed now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// There is no cluster yet.
    #[error("this registry belongs to no cluster yet: run `festoon-manager init` or `festoon-manager join`")]
    NoCluster,
    /// Other managers were always first.
    #[error("the secrets of the cluster are changed by other managers at this moment: try again")]
    Busy,
}

/// Makes the next CA, and has everybody trust it beside the one of now. `by` is named in the audit log.
///
/// The key of the CA is stored under a data key that no removed manager knows: if the data key of now is known to one, there
/// is a new one first.
pub async fn begin_ca_rotation(
    cluster: &Cluster,
    vault: &Vault,
    by: Author,
) -> Result<Fingerprint, NextAuthorityError> {
    let id = cluster.snapshot().cluster().ok_or(NextAuthorityError::NoCluster)?;
    let authority = Authority::generate(id).map_err(VaultError::from)?;
    for _ in 0..TRIES {
        let state = cluster.snapshot();
        let change = next_change(&state, vault, &authority, by)?;
        let is_last = matches!(change.command, Command::AddAuthority(_));
        match cluster.propose(change).await {
            Ok(_) if is_last => return Ok(authority.fingerprint()),
            Ok(_) | Err(ProposeError::Refused(Refusal::Secret(_))) => {}
            // The data key of now was renewed after this state.
            Err(ProposeError::Refused(Refusal::Authority(AuthorityError::Secret(_)))) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NextAuthorityError::Busy)
}

fn next_change(state: &State, vault: &Vault, authority: &Authority, by: Author) -> Result<Change, VaultError> {
    if state.vault().keyring().is_known_outside {
        return Ok(Command::SetKeyring(new_keyring(state, vault)?).into());
    }
    let command = add_authority(authority, &vault.data_key(state)?)?;
    Ok(Change { by, ..Command::AddAuthority(command).into() })
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::AuthorityRole;
    use festoon_proto::ManagerId;

    use super::super::tests::{founded, joined, then, vault};
    use super::*;

    #[test]
    fn a_removed_manager_is_locked_out_before_the_next_ca_is_stored() {
        let (state, _) = founded();
        let state = then(&joined(&state), &Command::RemoveManager(ManagerId(2)));
        let next = Authority::generate(state.cluster().unwrap()).unwrap();
        let change = |state: &State| next_change(state, &vault(1), &next, Author::CLUSTER).unwrap().command;
        let Command::SetKeyring(renewed) = change(&state) else { panic!("not a new data key") };
        let number = renewed.number;
        let state = then(&state, &Command::SetKeyring(renewed));
        let Command::AddAuthority(added) = change(&state) else { panic!("not the next CA") };
        assert_eq!(added.key.key, number, "its key is stored under the new data key");
        let state = then(&state, &Command::AddAuthority(added));
        assert_eq!(state.vault().authority(AuthorityRole::Next).map(|next| next.fingerprint), Some(next.fingerprint()));
    }
}
