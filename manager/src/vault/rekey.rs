//! A new data key, once a manager that was removed knows the one of now.
//!
//! Task: [`keep_data_key_inside`]. It may be cancelled at any point: what it does is one command, and the next leader sees
//! in the registry whether it was carried out.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{Command, SetKeyring, State};

use super::{DataKey, Vault, VaultError};
use crate::cluster::{Cluster, ProposeError};

/// How long after a failure it is tried again, and how soon a new leader sees that it is its turn.
const AGAIN: Duration = Duration::from_secs(2);

/// How often it is looked at before others than the leader do it: that may be a witness, or have lost its seal key. The first
/// new key makes those of all others stale.
const PATIENCE: u32 = 2;

/// Locks managers that were removed out of all secrets that are stored from then on. Runs on every full manager; the one
/// that leads acts; a witness has no data key to keep. Ends with the registry.
pub async fn keep_data_key_inside(cluster: Cluster, vault: Vault) {
    if vault.seal_key.is_none() {
        return std::future::pending().await;
    }
    let mut states = cluster.watch();
    let mut looks = 0;
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        looks = if state.vault().keyring().is_known_outside { looks + 1 } else { 0 };
        let leader = cluster.health().leader.map(|leader| leader.manager);
        if looks > 0 && (leader == Some(vault.me) || looks > PATIENCE) {
            renew(&cluster, &vault, &state).await;
        }
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

async fn renew(cluster: &Cluster, vault: &Vault, state: &State) {
    let command = match new_keyring(state, vault) {
        Ok(command) => command,
        Err(error) => return tracing::error!(%error, "a manager that was removed still reads secrets"),
    };
    let number = command.number;
    match cluster.propose(Command::SetKeyring(command)).await {
        Ok(_) => tracing::info!(number, "a new data key: managers that were removed read no secret from now on"),
        // Something was stored meanwhile, or another manager was first. The next state says what is to be done.
        Err(ProposeError::Refused(refusal)) => tracing::debug!(%refusal, "no new data key"),
        Err(error) => tracing::warn!(%error, "a manager that was removed still reads secrets; trying again"),
    }
}

/// The command that gives the cluster of `state` a new data key and takes every secret along.
pub fn new_keyring(state: &State, vault: &Vault) -> Result<SetKeyring, VaultError> {
    let old = vault.data_key(state)?;
    let new = DataKey::generate(old.number().saturating_add(1));
    let secrets = state.vault().secrets().map(|(name, secret)| {
        let clear = old.decrypt(name, secret)?;
        Ok((name.clone(), new.encrypt(name, &clear)?.bytes))
    });
    let copies = state.full_managers().map(|manager| {
        let seal_key = manager.seal_key.ok_or(VaultError::BadSealKey)?;
        Ok((manager.id, new.seal_to(seal_key)?.sealed))
    });
    Ok(SetKeyring {
        based_on: state.vault().changed(),
        number: new.number(),
        copies: copies.collect::<Result<_, VaultError>>()?,
        secrets: secrets.collect::<Result<_, VaultError>>()?,
    })
}
