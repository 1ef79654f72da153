//! A registry from a snapshot: of one manager, in the next epoch.
//!
//! All managers of before are taken for lost, and what was decided since the snapshot with them. Their keys are worth
//! nothing from here on; they come back by joining. Endpoints keep addresses, keys and credentials, and trust the same CA.
//!
//! The new manager has an id that none of before has, even under the name and at the address of one. So if some of them live
//! on after all, none takes it for the one it knew, and nothing that it says for its own removal.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use festoon_cluster::MemberId;
use festoon_cluster::storage::next_index;
use festoon_control::registry::audit::Entry;
use festoon_control::registry::{
    Addresses, BeginEpoch, Carried, Change, Command, CreateToken, FORMAT, JoinManager, ManagerRole, ManagerSpec,
    Outcome, Refusal, State, TokenPreset, UnixMs, UpdateManager, carry_out,
};
use festoon_proto::epoch::{EpochProof, EpochSigner};
use festoon_proto::map::MapVersion;
use festoon_proto::token::{SecretHash, TokenKind};
use festoon_proto::{Fingerprint, ManagerId, PublicKey, SigningKey, VerifyingKey};

use super::Content;
use crate::vault::{SealKey, Vault, VaultError, new_keyring};

/// Packets to it are thrown away everywhere (RFC 6666), so no manager is there.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x100, 0, 0, 0, 0, 0, 0, 0)), 1);

/// The manager that the cluster goes on with.
#[derive(Debug, Clone)]
pub struct NewManager {
    /// Its name, which may be that of a lost one.
    pub name: String,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The key that secrets are sealed to for it.
    pub seal_key: SealKey,
    /// The key that it signs with what it vouches for.
    pub signing_key: VerifyingKey,
    /// The SHA-256 of the public key of its first certificate.
    pub tls_key: Fingerprint,
    /// Where its tunnels are reached.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
    /// Declared preference.
    pub priority: u8,
}

/// A registry to begin with.
#[derive(Debug)]
pub struct Restored {
    /// The registry.
    pub state: State,
    /// What was written of the restoration.
    pub written: Vec<Entry>,
    /// Its only member.
    pub member: MemberId,
    /// Its way to the secrets, the CA of before above all.
    pub vault: Vault,
    /// The names of the managers that are no longer in it.
    pub lost: Vec<String>,
}

/// A snapshot is not restored, and nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The registry does not take the new manager.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The secrets in the snapshot can't be used.
    #[error("the secrets in this snapshot can't be used: {0}")]
    Vault(#[from] VaultError),
    /// There is nobody to take over from.
    #[error("the registry in this snapshot has no manager: use another one, and please report this")]
    NoManager,
}

/// The registry of `content`, with `new` as its only manager.
///
/// Agents whose maps name none of its managers believe it by `recovery`, the key that the snapshot was read with.
pub fn restore(
    content: Content,
    new: &NewManager,
    recovery: &SigningKey,
    now: UnixMs,
) -> Result<Restored, RestoreError> {
    let lost = content.state.managers().map(|manager| manager.name.clone()).filter(|name| *name != new.name).collect();
    let mut log = Log::new(content, now);
    let manager = log.replace_managers(new, recovery)?;
    let vault = Vault::new(manager, Some(new.seal_key.clone()));
    // Managers of before know the data key of now.
    let keyring = new_keyring(&log.content.state, &vault)?;
    log.add(&Command::SetKeyring(keyring))?;
    let (state, written) = (log.content.state, log.written);
    // Without it no agent would take this manager for one of the cluster.
    vault.authority(&state)?;
    Ok(Restored { state, written, member: MemberId { manager, incarnation: 0 }, vault, lost })
}

/// The commands that make one registry of another.
struct Log {
    content: Content,
    written: Vec<Entry>,
    index: u64,
    now: UnixMs,
}

impl Log {
    fn new(content: Content, now: UnixMs) -> Self {
        let index = next_index(&content.state, now);
        Self { content, written: Vec::new(), index, now }
    }

    fn add(&mut self, command: &Command) -> Result<Outcome, Refusal> {
        let change = Change { at: self.now, ..command.clone().into() };
        let Carried { state, outcome, entries } = carry_out(&self.content.state, self.index, &change)?;
        self.content.state = state;
        self.written.extend(entries);
        self.index += 1;
        Ok(outcome)
    }

    /// Makes `new` the only manager.
    fn replace_managers(&mut self, new: &NewManager, recovery: &SigningKey) -> Result<ManagerId, RestoreError> {
        let from = self.content.state.version();
        // One must be there while another comes.
        let last = self.author().ok_or(RestoreError::NoManager)?;
        self.remove_all_but(last)?;
        // First, for it passes over the ids that were given since.
        let proof = self.prove((last, from), new.signing_key, recovery)?;
        self.add(&Command::BeginEpoch(BeginEpoch { proof }))?;
        self.make_room(last, new)?;
        let manager = self.join(new)?;
        self.add(&Command::RemoveManager(last))?;
        Ok(manager)
    }

    /// The act by which the epoch begins: from the copy of `last`, and the cluster goes on with the manager that joins first.
    fn prove(
        &self,
        (last, from): (ManagerId, MapVersion),
        signing_key: VerifyingKey,
        recovery: &SigningKey,
    ) -> Result<EpochProof, RestoreError> {
        let state = &self.content.state;
        let cluster = state.cluster().ok_or(RestoreError::NoManager)?;
        let epoch = state.next_epoch(last, self.now).map_err(Refusal::from)?;
        let next = state.first_manager_of_next_epoch().ok_or(RestoreError::NoManager)?;
        Ok(EpochProof::sign((EpochSigner::Recovery, recovery), cluster, epoch, from, (next, signing_key)))
    }

    /// Whose copy the snapshot is.
    fn author(&self) -> Option<ManagerId> {
        let Content { state, header, .. } = &self.content;
        let author = state.full_managers().find(|manager| manager.name == header.manager);
        author.or_else(|| state.full_managers().next()).map(|manager| manager.id)
    }

    fn remove_all_but(&mut self, stays: ManagerId) -> Result<(), Refusal> {
        let all: Vec<_> = self.content.state.managers().map(|manager| manager.id).collect();
        for gone in all.into_iter().filter(|id| *id != stays) {
            self.add(&Command::RemoveManager(gone))?;
        }
        Ok(())
    }

    /// Has a manager that is about to be removed give up its name and its addresses: `new` may want them.
    fn make_room(&mut self, manager: ManagerId, new: &NewManager) -> Result<(), Refusal> {
        let name = if new.name == "lost" { "gone" } else { "lost" };
        let (underlay, https) = (Some(vec![NOWHERE]), Some(vec![NOWHERE]));
        let update = UpdateManager { name: Some(name.to_owned()), underlay, https, ..UpdateManager::of(manager) };
        self.add(&Command::UpdateManager(update)).map(drop)
    }

    /// Lets `new` in.
    fn join(&mut self, new: &NewManager) -> Result<ManagerId, RestoreError> {
        let (hash, now) = (SecretHash::of(&rand::random::<[u8; 32]>()), self.now);
        let token = CreateToken {
            hash,
            kind: TokenKind::Manager,
            network: None,
            addresses: Addresses::NONE,
            preset: TokenPreset::default(),
            now,
            expires: now.after(1),
        };
        self.add(&Command::CreateToken(token))?;
        let seal_key = new.seal_key.public_key();
        let manager = ManagerSpec {
            name: new.name.clone(),
            role: ManagerRole::Full,
            public_key: new.public_key,
            seal_key: Some(seal_key),
            signing_key: new.signing_key,
            tls_key: new.tls_key,
            underlay: new.underlay.clone(),
            https: new.https.clone(),
            priority: new.priority,
            format: FORMAT,
        };
        let data_key = Some(self.content.data_key.seal_to(seal_key)?);
        match self.add(&Command::JoinManager(JoinManager { token: hash, manager, data_key, now }))? {
            Outcome::Manager(id) => Ok(id),
            _ => Err(RestoreError::NoManager),
        }
    }
}

#[cfg(test)]
mod tests {
    use festoon_control::compile::endpoint_map;
    use festoon_control::registry::SecretName;
    use festoon_proto::PrivateKey;

    use super::super::testing::{NOW, authority_pem, cluster, recovery};
    use super::*;

    fn new(name: &str) -> NewManager {
        NewManager {
            name: name.to_owned(),
            public_key: PrivateKey::from_bytes([90; 32]).public_key(),
            seal_key: SealKey::new(PrivateKey::from_bytes([91; 32])),
            signing_key: SigningKey::from_seed([92; 32]).verifying_key(),
            tls_key: Fingerprint([93; 32]),
            underlay: vec![([192, 0, 2, 90], 51820).into()],
            https: vec![([192, 0, 2, 90], 8443).into()],
            priority: 7,
        }
    }

    fn restored(name: &str) -> Restored {
        restore(cluster(3), &new(name), &recovery(), NOW).unwrap()
    }

    #[test]
    fn endpoints_find_their_addresses_and_a_newer_map() {
        let before = cluster(3).state;
        for name in ["m1", "m2", "fresh"] {
            let Restored { state, .. } = restored(name);
            for endpoint in before.endpoints() {
                let (old, map) = (endpoint_map(&before, endpoint.id), endpoint_map(&state, endpoint.id));
                let (old, map) = (old.unwrap(), map.unwrap());
                assert_eq!((&map.addresses, &map.name, map.cluster), (&old.addresses, &old.name, old.cluster));
                assert!(map.version.0 >= before.version().0 + (1 << 32), "newer than any map of before");
                assert_eq!(state.endpoint(endpoint.id).unwrap().credential, endpoint.credential);
                assert_eq!(map.managers.len(), 1);
                assert_eq!(map.managers[0].public_key, new(name).public_key);
            }
            assert_eq!(state.networks().collect::<Vec<_>>(), before.networks().collect::<Vec<_>>());
        }
    }

    #[test]
    fn all_managers_are_gone_whatever_the_new_one_is_called() {
        for (name, others) in [
            ("m2", &["m1", "witness"][..]),
            ("witness", &["m1", "m2"]),
            ("lost", &["m1", "m2", "witness"]),
            ("fresh", &["m1", "m2", "witness"]),
        ] {
            let Restored { state, member, lost, .. } = restored(name);
            assert_eq!(lost, others);
            let managers: Vec<_> = state.managers().collect();
            assert_eq!(managers.len(), 1);
            assert_eq!((managers[0].id, managers[0].incarnation), (member.manager, member.incarnation));
            assert_eq!((managers[0].name.as_str(), managers[0].is_full()), (name, true));
            assert_eq!((managers[0].priority, &managers[0].underlay), (7, &new("").underlay));
            assert_eq!(managers[0].previous_key, None);
            assert_eq!(state.epoch().number, cluster(3).state.epoch().number + 1);
            let proof = state.epoch().began.unwrap();
            assert_eq!((proof.manager, proof.signer), (member.manager, EpochSigner::Recovery));
            assert_eq!(cluster(3).state.roster().unwrap().check(&proof), Ok(()), "managers of before believe it too");
        }
    }

    #[test]
    fn nobody_of_before_has_the_id_of_the_new_one() {
        for name in ["m1", "fresh"] {
            let Restored { state, member, .. } = restored(name);
            // Not even one that joined after the snapshot was taken.
            let mut since = (1..=cluster(3).state.managers().count() as u16 + 5).map(ManagerId);
            assert!(
                since.all(|id| id != member.manager && state.was_given_to_manager(id) && state.manager(id).is_none())
            );
        }
    }

    #[test]
    fn it_may_be_where_any_of_the_lost_ones_was() {
        for name in ["m1", "m2", "fresh"] {
            for lost in cluster(1).state.managers().filter(|manager| manager.is_full()) {
                let place = NewManager { underlay: lost.underlay.clone(), https: lost.https.clone(), ..new(name) };
                let state = restore(cluster(1), &place, &recovery(), NOW).unwrap().state;
                let managers: Vec<_> = state.managers().collect();
                assert_eq!((managers.len(), &managers[0].underlay), (1, &lost.underlay), "{name} where {}", lost.name);
            }
        }
    }

    #[test]
    fn the_ca_and_all_secrets_stay_and_managers_of_before_read_none() {
        let old = cluster(3);
        let Restored { state, vault, .. } = restored("m2");
        assert_eq!(*vault.authority(&state).unwrap().to_secret_pem(), authority_pem());
        let name = SecretName("a-secret".to_owned());
        assert_eq!(vault.read(&state, &name).unwrap().as_slice(), b"attack at dawn");
        assert!(old.data_key.decrypt(&name, state.vault().secret(&name).unwrap()).is_err(), "under a new data key");
        assert_eq!(state.vault().keyring().copies.len(), 1);
        assert!(!state.vault().keyring().is_known_outside);
    }

    #[test]
    fn restored_twice_the_later_one_has_the_newer_maps() {
        let first = restored("m1").state.version().0;
        let later = restore(cluster(3), &new("m1"), &recovery(), NOW.after(60_000)).unwrap().state.version().0;
        assert!(later > first + 1_000_000, "even after the first has changed a lot");
    }

    #[test]
    fn another_recovery_key_restores_nothing() {
        let other = SigningKey::from_seed([1; 32]);
        assert!(matches!(restore(cluster(1), &new("m1"), &other, NOW), Err(RestoreError::Refused(_))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let nowhere = NewManager { underlay: Vec::new(), ..new("m1") };
        assert!(matches!(restore(cluster(1), &nowhere, &recovery(), NOW), Err(RestoreError::Refused(_))));
        let mut other_key = cluster(1);
        other_key.data_key = crate::vault::DataKey::generate(other_key.data_key.number());
        assert!(matches!(restore(other_key, &new("m1"), &recovery(), NOW), Err(RestoreError::Vault(_))));
    }
}
