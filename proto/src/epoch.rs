//! Who may say that a cluster is in a later epoch, and how that is proved.
//!
//! Whoever hears of a later epoch stops taking part, for good. So nobody is believed who only says so: an epoch is begun by a
//! signed act, and whoever was left behind checks the signature with a key that was in its own copy of the registry.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::http::ManagerRole;
use crate::map::MapVersion;
use crate::{ClusterId, EpochId, Fingerprint, Introduced, ManagerId, Signature, SigningKey, VerifyingKey};

/// In front of what is signed.
const LABEL: &str = "festoon epoch 1";
/// The end of the year 2099, in milliseconds since 1970. Epochs are ordered by when they began; one that claims to begin
/// later would leave no room for another after it.
pub const LATEST_BEGINNING_MS: u64 = 4_102_444_800_000;
/// How many epochs one that was left behind may have missed. Each is an act of an admin.
pub const MOST_MISSED: u32 = 1_000;

/// Whose signature is under a proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EpochSigner {
    /// A full manager, with its signing key.
    Manager(ManagerId),
    /// Whoever holds the recovery key of the cluster.
    Recovery,
}

/// The signed act by which an epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochProof {
    /// The epoch.
    pub epoch: EpochId,
    /// The version of the copy that it began from. What others did behind that is not part of it.
    pub from: MapVersion,
    /// The manager that the cluster goes on with.
    pub manager: ManagerId,
    /// What that one signs with, so that nobody else can show this proof as its own.
    pub signing_key: VerifyingKey,
    /// Who signed.
    pub signer: EpochSigner,
    /// Over all the above and the cluster.
    pub signature: Signature,
}

/// A claim of an epoch is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum EpochClaimError {
    /// It can't be: its number or its beginning are out of all proportion.
    #[error("epoch {0} can't be right: its number or the time it began is out of range")]
    Implausible(EpochId),
    /// Nobody signed who could.
    #[error(
        "epoch {0} is signed neither by a full manager that this manager knows nor with the recovery key: if the cluster did go on in that epoch, remove this manager there and join it again"
    )]
    UnknownSigner(EpochId),
    /// The signature is wrong.
    #[error("the signature under epoch {0} is wrong")]
    Signature(EpochId),
}

impl EpochId {
    /// Whether the cluster of a copy in epoch `known` can have come to this one.
    pub fn is_plausible_after(&self, known: Self) -> bool {
        let is_number = (1..=known.number.saturating_add(MOST_MISSED)).contains(&self.number);
        is_number && self.began_unix_ms <= LATEST_BEGINNING_MS
    }
}

impl EpochProof {
    /// Begins `epoch` of `cluster` from the copy of this version: the cluster goes on with `manager`.
    pub fn sign(
        (signer, key): (EpochSigner, &SigningKey),
        cluster: ClusterId,
        epoch: EpochId,
        from: MapVersion,
        (manager, signing_key): (ManagerId, VerifyingKey),
    ) -> Self {
        let signature = key.sign(LABEL, &message(cluster, epoch, from, (manager, signing_key), signer));
        Self { epoch, from, manager, signing_key, signer, signature }
    }

    /// Whether `key` signed it.
    pub fn is_signed_by(&self, cluster: ClusterId, key: &VerifyingKey) -> bool {
        let Self { epoch, from, manager, signing_key, signer, signature } = self;
        key.verifies(LABEL, &message(cluster, *epoch, *from, (*manager, *signing_key), *signer), signature)
    }
}

fn message(
    cluster: ClusterId,
    epoch: EpochId,
    from: MapVersion,
    manager: (ManagerId, VerifyingKey),
    signer: EpochSigner,
) -> Vec<u8> {
    // It fails only on what has no length, and this has.
    postcard::to_stdvec(&(cluster, epoch, from, manager, signer)).unwrap_or_default()
}

/// A manager, as one that has no copy of the registry must know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RosterEntry {
    /// What it does.
    pub role: ManagerRole,
    /// The key that it signs with.
    pub signing_key: VerifyingKey,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
}

/// The managers of a cluster and whom they believe: what a member keeps beside its copy of the registry, and a newcomer gets
/// with its certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roster {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch it is in.
    pub epoch: EpochId,
    /// How far the copy of the registry went that this manager made it from; none if another one told it, whose word is good
    /// until the own copy has this manager.
    pub version: Option<MapVersion>,
    /// The managers. In this order, for JSON knows keys that are text alone.
    pub managers: BTreeMap<ManagerId, RosterEntry>,
    /// Every id up to this one was given to a manager at some time.
    pub last_manager: ManagerId,
    /// Checks what was signed with the recovery key.
    pub recovery_key: Option<VerifyingKey>,
    /// The SHA-256 of the change that the cluster began with: whoever has no copy yet takes no other for it.
    pub founding: Option<Fingerprint>,
}

impl Roster {
    /// What counts for manager `me`: what its copy says, or what it was told or knew before.
    pub fn later(me: ManagerId, own: Option<Self>, known: Option<&Self>) -> Option<Self> {
        match (own, known) {
            (Some(own), Some(known)) if known.is_ahead_of(&own, me) => Some(known.clone()),
            (None, known) => known.cloned(),
            (own, _) => own,
        }
    }

    /// Whether it says more than the copy that manager `me` has. What somebody else told can't claim to be ahead for ever: who
    /// let a manager in did so at the place of the log where its record is.
    pub fn is_ahead_of(&self, own: &Self, me: ManagerId) -> bool {
        if self.epoch != own.epoch {
            return self.epoch > own.epoch;
        }
        match self.version {
            Some(_) => self.version > own.version,
            None => !own.managers.contains_key(&me),
        }
    }

    /// Whether it differs from `other` in nothing but how far the copy went.
    pub fn says_the_same(&self, other: &Self) -> bool {
        let Self { version, .. } = *other;
        *other == Self { version, ..self.clone() }
    }

    /// Whether it has exactly this manager.
    pub fn has(&self, manager: Introduced) -> bool {
        let entry = self.managers.get(&manager.manager);
        entry.is_some_and(|entry| (entry.signing_key, entry.role) == (manager.signing_key, manager.role))
    }

    /// The signing key of a full manager.
    pub fn full_manager(&self, id: ManagerId) -> Option<VerifyingKey> {
        let entry = self.managers.get(&id)?;
        (entry.role == ManagerRole::Full).then_some(entry.signing_key)
    }

    /// Whether a later epoch is believed on this proof.
    pub fn check(&self, proof: &EpochProof) -> Result<(), EpochClaimError> {
        let epoch = proof.epoch;
        if !epoch.is_plausible_after(self.epoch) {
            return Err(EpochClaimError::Implausible(epoch));
        }
        let key = match proof.signer {
            EpochSigner::Manager(id) => self.full_manager(id),
            EpochSigner::Recovery => self.recovery_key,
        };
        let key = key.ok_or(EpochClaimError::UnknownSigner(epoch))?;
        match proof.is_signed_by(self.cluster, &key) {
            true => Ok(()),
            false => Err(EpochClaimError::Signature(epoch)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed([number; 32])
    }

    fn roster() -> Roster {
        let entry = |number, role| {
            let https = vec![([192, 0, 2, number], 8443).into()];
            (ManagerId(number.into()), RosterEntry { role, signing_key: key(number).verifying_key(), https })
        };
        Roster {
            cluster: CLUSTER,
            epoch: EpochId::FIRST,
            version: Some(MapVersion(3)),
            managers: BTreeMap::from([entry(1, ManagerRole::Full), entry(2, ManagerRole::Witness)]),
            last_manager: ManagerId(2),
            recovery_key: Some(key(9).verifying_key()),
            founding: Some(Fingerprint([5; 32])),
        }
    }

    fn epoch(number: u32, began_unix_ms: u64) -> EpochId {
        EpochId { began_unix_ms, number, by: Some(ManagerId(1)) }
    }

    fn proof(signer: EpochSigner, with: u8, cluster: ClusterId, epoch: EpochId) -> EpochProof {
        let manager = (ManagerId(1), key(1).verifying_key());
        EpochProof::sign((signer, &key(with)), cluster, epoch, MapVersion(5), manager)
    }

    #[test]
    fn a_full_manager_and_the_recovery_key_begin_an_epoch_and_nobody_else_does() {
        let (next, id) = (epoch(2, 1_700_000_000_000), |id| EpochSigner::Manager(ManagerId(id)));
        let check = |signer, with| roster().check(&proof(signer, with, CLUSTER, next));
        assert_eq!(check(id(1), 1), Ok(()));
        assert_eq!(check(EpochSigner::Recovery, 9), Ok(()));
        assert_eq!(check(id(1), 2), Err(EpochClaimError::Signature(next)), "a witness in the name of another");
        assert_eq!(check(id(2), 2), Err(EpochClaimError::UnknownSigner(next)), "a witness");
        assert_eq!(check(id(3), 3), Err(EpochClaimError::UnknownSigner(next)), "a stranger");
        assert_eq!(check(EpochSigner::Recovery, 1), Err(EpochClaimError::Signature(next)));
        let other = proof(id(1), 1, ClusterId([8; 16]), next);
        assert_eq!(roster().check(&other), Err(EpochClaimError::Signature(next)), "of another cluster");
        let moved = EpochProof { epoch: epoch(3, 1_700_000_000_000), ..proof(id(1), 1, CLUSTER, next) };
        assert_eq!(roster().check(&moved), Err(EpochClaimError::Signature(moved.epoch)));
    }

    #[test]
    fn no_epoch_is_believed_that_leaves_no_room_for_a_later_one() {
        let signer = EpochSigner::Manager(ManagerId(1));
        for bad in [epoch(2, u64::MAX), epoch(u32::MAX, 5), epoch(0, 5), epoch(MOST_MISSED + 2, 5)] {
            let claim = proof(signer, 1, CLUSTER, bad);
            assert_eq!(roster().check(&claim), Err(EpochClaimError::Implausible(bad)), "{bad:?}");
        }
        assert_eq!(roster().check(&proof(signer, 1, CLUSTER, epoch(MOST_MISSED + 1, LATEST_BEGINNING_MS))), Ok(()));
    }

    #[test]
    fn the_later_roster_counts() {
        let old = roster();
        let new = Roster { version: Some(MapVersion(4)), last_manager: ManagerId(3), ..roster() };
        let next = Roster { epoch: epoch(2, 5), version: Some(MapVersion(1)), ..roster() };
        let later = |me, own: &Roster, known| Roster::later(ManagerId(me), Some(own.clone()), Some(known));
        for (own, known, counts) in [(&old, &new, &new), (&new, &old, &new), (&new, &next, &next), (&next, &new, &next)]
        {
            assert_eq!(later(1, own, known).as_ref(), Some(counts));
        }
        let none = Roster::later(ManagerId(1), None, Some(&old));
        assert_eq!(none, Some(old.clone()));
        assert!(old.says_the_same(&Roster { version: None, ..old.clone() }) && !old.says_the_same(&new));
        // Told by whoever let the third manager in: until its copy has it.
        let told = Roster { version: None, last_manager: ManagerId(9), ..roster() };
        assert_eq!(later(3, &new, &told), Some(told.clone()));
        assert_eq!(later(1, &new, &told), Some(new.clone()), "however far it claims to be");
        assert_eq!(Roster::later(ManagerId(1), Some(old.clone()), None), Some(old));
    }

    #[test]
    fn a_roster_survives_json() {
        let json = serde_json::to_string(&roster()).unwrap();
        assert_eq!(serde_json::from_str::<Roster>(&json).unwrap(), roster());
    }
}
