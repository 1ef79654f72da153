//! `ca.crt` and `tls.pem` that are gone: made again, before anything needs them, of what the registry on this disk says.

use std::path::PathBuf;

use festoon_control::registry::{State, UnixMs};
use festoon_proto::ManagerId;

use crate::cluster::{BuildError, introductions, stored_state};
use crate::data_dir::{DataDir, TLS_IDENTITY, TRUSTED};
use crate::pki::{Credentials, CredentialsError, PkiError, SigningRequest, TlsKey};
use crate::vault::{Vault, VaultError, trusted_pem};

/// A file is gone and stays so.
#[derive(Debug, thiserror::Error)]
pub enum LostError {
    /// The registry does not tell what was in it.
    #[error(
        "{path} is missing and can't be made again here: {reason}. Put it back from a backup of the directory, or remove this manager with `festoon-manager managers remove` on another and join it again with another --data-dir; if it is the only one, restore a snapshot with `festoon-manager snapshots restore`"
    )]
    NotMade {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// The registry can't be read.
    #[error(transparent)]
    Registry(#[from] BuildError),
    /// This manager can't sign its certificate.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// No certificate can be made.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// The file can't be written.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Makes whichever of the files is missing again. Both come from the registry alone: a full manager has the CA's key in it.
pub async fn make_lost_again(data: &DataDir, me: ManagerId, now: UnixMs) -> Result<(), LostError> {
    for name in [TRUSTED, TLS_IDENTITY].into_iter().filter(|name| !data.has(name)) {
        let not_made = |reason| LostError::NotMade { path: data.root().join(name), reason };
        let state = stored_state(data).await?;
        if state.cluster().is_none() {
            return Err(not_made("there is no copy of the registry beside it"));
        }
        match name {
            TRUSTED => data.write(TRUSTED, &trusted_pem(&state)).map_err(CredentialsError::from)?,
            _ => match sign(data, &state, me, now) {
                Err(LostError::Vault(VaultError::Witness)) => {
                    return Err(not_made("a witness can't sign its own certificate"));
                }
                signed => signed?,
            },
        }
        tracing::warn!(file = name, "a file was missing from the data directory and was made again");
    }
    Ok(())
}

fn sign(data: &DataDir, state: &State, me: ManagerId, now: UnixMs) -> Result<(), LostError> {
    let key = TlsKey::generate()?;
    let signer = data.signing_key().map_err(CredentialsError::from)?;
    let introductions = introductions(data).map_err(CredentialsError::from)?;
    let request = SigningRequest::from_pem(&key.signing_request(&signer, &introductions)?)?;
    let chain = Vault::load(data, me).map_err(CredentialsError::from)?.certify(state, me, request, now)?;
    Ok(Credentials::create_identity(data, &key, &chain)?)
}
