//! Which managers are asked, and who is believed to be one of them.

use std::net::SocketAddr;

use festoon_proto::address::{MANAGER_TLS_NAME, agent_tls_name};
use festoon_proto::epoch::{EpochProof, EpochSigner};
use festoon_proto::map::{EndpointMap, ManagerInfo};
use festoon_proto::token::JoinToken;
use festoon_proto::{ClusterId, EpochId, Fingerprint, ManagerId, VerifyingKey};

/// The managers to ask, in this order.
#[derive(Debug, Clone)]
pub struct Managers {
    pub(super) places: Vec<Place>,
    /// The CAs that are believed.
    pub(super) authorities: Vec<Fingerprint>,
    /// What a map says of the cluster, against which managers that it does not name prove themselves.
    pub(super) known: Option<Known>,
}

/// Where one of them listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) at: SocketAddr,
    /// Which manager is there; with a token alone nobody knows.
    pub(super) manager: Option<ManagerId>,
    /// What that one signs with, if a map says so.
    pub(super) signing_key: Option<VerifyingKey>,
}

#[derive(Debug, Clone)]
pub(super) struct Known {
    cluster: ClusterId,
    epoch: EpochId,
    recovery_key: Option<VerifyingKey>,
    managers: Vec<ManagerId>,
}

impl Managers {
    /// Those of a join token: any full manager whose certificate the token's CA signed.
    pub fn of_token(token: &JoinToken) -> Self {
        let places = token.managers.iter().map(|&at| Place { at, manager: None, signing_key: None }).collect();
        Self { places, authorities: vec![token.ca_fingerprint], known: None }
    }

    /// Those of a map, each under its own name, and `first` before the others.
    pub fn of_map(map: &EndpointMap, first: Option<ManagerId>) -> Self {
        let (active, others): (Vec<_>, Vec<_>) = map.managers.iter().partition(|manager| Some(manager.id) == first);
        let all = active.iter().chain(&others);
        let places = all.flat_map(|manager| manager.https.iter().map(|&at| Place::of(manager, at)));
        let known = Known {
            cluster: map.cluster,
            epoch: map.epoch,
            recovery_key: map.recovery_key,
            managers: map.managers.iter().map(|manager| manager.id).collect(),
        };
        Self { places: places.collect(), authorities: map.authorities.clone(), known: Some(known) }
    }
}

impl Place {
    /// One of the addresses of a manager.
    pub(super) fn of(manager: &ManagerInfo, at: SocketAddr) -> Self {
        Self { at, manager: Some(manager.id), signing_key: Some(manager.signing_key) }
    }

    /// The name that the certificate there must have.
    pub(super) fn tls_name(&self) -> String {
        self.manager.map_or_else(|| MANAGER_TLS_NAME.to_owned(), agent_tls_name)
    }
}

impl Known {
    /// The manager that this proof is for and what it signs with, if the cluster was restored since the map was made. A
    /// certificate alone does not make a manager: who was removed has one too.
    pub(super) fn restored(&self, proof: &EpochProof) -> Option<(ManagerId, VerifyingKey)> {
        let key = self.recovery_key?;
        let is_proved = proof.signer == EpochSigner::Recovery
            && proof.epoch > self.epoch
            && proof.epoch.is_plausible_after(self.epoch)
            && proof.is_signed_by(self.cluster, &key);
        (is_proved && !self.managers.contains(&proof.manager)).then_some((proof.manager, proof.signing_key))
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::SigningKey;
    use festoon_proto::map::MapVersion;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn epoch(number: u32) -> EpochId {
        EpochId { began_unix_ms: 1_700_000_000_000 + u64::from(number), number, by: Some(ManagerId(1)) }
    }

    /// What the restored manager signs with.
    fn own_key() -> VerifyingKey {
        SigningKey::from_seed([12; 32]).verifying_key()
    }

    fn proof(signer: EpochSigner, with: u8, number: u32) -> EpochProof {
        let key = SigningKey::from_seed([with; 32]);
        EpochProof::sign((signer, &key), CLUSTER, epoch(number), MapVersion(3), (ManagerId(12), own_key()))
    }

    #[test]
    fn a_manager_that_no_map_names_is_believed_after_a_restore_alone() {
        let key = SigningKey::from_seed([1; 32]).verifying_key();
        let known = Known {
            cluster: CLUSTER,
            epoch: epoch(2),
            recovery_key: Some(key),
            managers: vec![ManagerId(1), ManagerId(2)],
        };
        let believed = |signer, with, number| known.restored(&proof(signer, with, number));
        assert_eq!(believed(EpochSigner::Recovery, 1, 3), Some((ManagerId(12), own_key())));
        assert_eq!(believed(EpochSigner::Recovery, 1, 2), None, "not later");
        assert_eq!(believed(EpochSigner::Recovery, 2, 3), None, "another key");
        assert_eq!(believed(EpochSigner::Manager(ManagerId(1)), 1, 3), None, "no restore");
        let forged = EpochProof { manager: ManagerId(13), ..proof(EpochSigner::Recovery, 1, 3) };
        assert_eq!(known.restored(&forged), None, "signed for another manager");
        let thief = SigningKey::from_seed([13; 32]).verifying_key();
        let copied = EpochProof { signing_key: thief, ..proof(EpochSigner::Recovery, 1, 3) };
        assert_eq!(known.restored(&copied), None, "shown by another manager");
        let keyless = Known { recovery_key: None, ..known };
        assert_eq!(keyless.restored(&proof(EpochSigner::Recovery, 1, 3)), None);
    }
}
