//! What ties the key of a manager's certificate to the manager.
//!
//! The key of the CA is on every full manager, also on one that was removed since. So a certificate of the CA alone proves
//! nothing between managers, nor to an agent that has a map: the manager itself signs the key of its certificate, with the
//! signing key that its record in the registry has. Others who don't have that record yet, because their copy of the registry
//! is older, need an introduction as well: a full manager that they know has signed that this signing key was let in.
//!
//! Both stand in the certificate, as one name of it (a URI in the subject alternative names, RFC 5280, section 4.2.1.6).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::epoch::Roster;
use crate::http::ManagerRole;
use crate::{ClusterId, Fingerprint, ManagerId, Signature, SigningKey, VerifyingKey};

/// In front of what a manager signs of its own certificate.
const KEY_LABEL: &str = "festoon certificate key 1";
/// In front of what a manager signs of one that it lets in.
const INTRODUCTION_LABEL: &str = "festoon introduction 1";
/// What the name in a certificate begins with.
const SCHEME: &str = "festoon-manager:";
/// The most introductions that a certificate has. A longer row loses its first ones.
const MOST_INTRODUCTIONS: usize = 8;

/// A full manager has let another one in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduction {
    /// The newcomer. Its id is never given to another.
    pub manager: ManagerId,
    /// What it signs with.
    pub signing_key: VerifyingKey,
    /// What it does.
    pub role: ManagerRole,
    /// Who let it in.
    pub by: ManagerId,
    /// By the signing key of that one, over the above and the cluster.
    pub signature: Signature,
}

impl Introduction {
    /// Manager `by`, whose signing key is `key`, has let this one into `cluster`.
    pub fn sign((by, key): (ManagerId, &SigningKey), cluster: ClusterId, newcomer: Introduced) -> Self {
        let signature = key.sign(INTRODUCTION_LABEL, &message(cluster, by, newcomer));
        let Introduced { manager, signing_key, role } = newcomer;
        Self { manager, signing_key, role, by, signature }
    }

    /// Whom it is about.
    const fn newcomer(&self) -> Introduced {
        Introduced { manager: self.manager, signing_key: self.signing_key, role: self.role }
    }

    /// The same, behind those of manager `by` itself: how the newcomer came into the cluster.
    pub fn behind(self, own: &[Self]) -> Vec<Self> {
        let first = (own.len() + 1).saturating_sub(MOST_INTRODUCTIONS);
        own.iter().skip(first).copied().chain([self]).collect()
    }

    fn is_signed_by(&self, cluster: ClusterId, key: &VerifyingKey) -> bool {
        key.verifies(INTRODUCTION_LABEL, &message(cluster, self.by, self.newcomer()), &self.signature)
    }
}

fn message(cluster: ClusterId, by: ManagerId, newcomer: Introduced) -> Vec<u8> {
    // It fails only on what has no length, and this has.
    postcard::to_stdvec(&(cluster, by, newcomer)).unwrap_or_default()
}

/// A manager as another one introduces it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Introduced {
    /// Which.
    pub manager: ManagerId,
    /// What it signs with.
    pub signing_key: VerifyingKey,
    /// What it does.
    pub role: ManagerRole,
}

/// A manager's signature on the key of its certificate, and how it came into the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tie {
    signature: Signature,
    /// Each but the first by the one that the introduction before is about; the last is about this manager. Empty for the
    /// first manager of a cluster.
    introductions: Vec<Introduction>,
}

impl Tie {
    /// Ties `tls_key`, the SHA-256 of the public key of a certificate (SubjectPublicKeyInfo in DER), to the holder of `key`.
    pub fn new(key: &SigningKey, tls_key: Fingerprint, introductions: Vec<Introduction>) -> Self {
        Self { signature: key.sign(KEY_LABEL, &tls_key.0), introductions }
    }

    /// The same, of a manager that came into the cluster like this.
    #[must_use]
    pub fn introduced(self, introductions: Vec<Introduction>) -> Self {
        Self { introductions, ..self }
    }

    /// How the manager came into the cluster.
    pub fn introductions(&self) -> &[Introduction] {
        &self.introductions
    }

    /// Whether the holder of `key` has signed `tls_key`.
    pub fn is_by(&self, key: &VerifyingKey, tls_key: Fingerprint) -> bool {
        key.verifies(KEY_LABEL, &tls_key.0, &self.signature)
    }

    /// As it stands in a certificate.
    pub fn to_uri(&self) -> String {
        // It fails only on what has no length, and this has.
        format!("{SCHEME}{}", URL_SAFE_NO_PAD.encode(postcard::to_stdvec(self).unwrap_or_default()))
    }

    /// From a name of a certificate, if that is one.
    pub fn from_uri(uri: &str) -> Option<Self> {
        let tie: Self = postcard::from_bytes(&URL_SAFE_NO_PAD.decode(uri.strip_prefix(SCHEME)?).ok()?).ok()?;
        (tie.introductions.len() <= MOST_INTRODUCTIONS).then_some(tie)
    }
}

/// Whom the last of these introductions is about, if a row of them leads there from a full manager of this roster.
///
/// An introduction outlives the membership of whom it is about. So what the roster says of a manager counts before it: one that
/// was removed is introduced to nobody, and introduces nobody.
pub fn introduced(introductions: &[Introduction], roster: &Roster) -> Option<Introduced> {
    let mut believed: Option<Introduced> = None;
    for introduction in introductions.iter().take(MOST_INTRODUCTIONS) {
        let newcomer = introduction.newcomer();
        let is_possible = newcomer.manager > roster.last_manager || roster.has(newcomer);
        let by_the_last = believed
            .filter(|last| last.role == ManagerRole::Full && last.manager == introduction.by)
            .map(|last| last.signing_key);
        let mut signers = roster.full_manager(introduction.by).into_iter().chain(by_the_last);
        let is_believed = is_possible && signers.any(|key| introduction.is_signed_by(roster.cluster, &key));
        believed = is_believed.then_some(newcomer);
    }
    believed
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::EpochId;
    use crate::epoch::RosterEntry;
    use crate::map::MapVersion;
    use ManagerRole::{Full, Witness};

    const CLUSTER: ClusterId = ClusterId([7; 16]);
    const TLS_KEY: Fingerprint = Fingerprint([3; 32]);

    fn key(number: u16) -> SigningKey {
        SigningKey::from_seed([u8::try_from(number).unwrap(); 32])
    }

    fn newcomer(number: u16, role: ManagerRole) -> Introduced {
        Introduced { manager: ManagerId(number), signing_key: key(number).verifying_key(), role }
    }

    fn introduction(by: u16, of: u16, role: ManagerRole) -> Introduction {
        Introduction::sign((ManagerId(by), &key(by)), CLUSTER, newcomer(of, role))
    }

    /// A full manager and a witness, 1 and 2. The third was removed.
    fn roster() -> Roster {
        let entry = |number: u16, role| {
            (ManagerId(number), RosterEntry { role, signing_key: key(number).verifying_key(), https: Vec::new() })
        };
        Roster {
            cluster: CLUSTER,
            epoch: EpochId::FIRST,
            version: Some(MapVersion(1)),
            managers: BTreeMap::from([entry(1, Full), entry(2, Witness)]),
            last_manager: ManagerId(3),
            recovery_key: None,
            founding: None,
        }
    }

    fn who(introductions: &[Introduction]) -> Option<Introduced> {
        introduced(introductions, &roster())
    }

    #[test]
    fn a_key_is_tied_by_its_manager_alone() {
        let tie = Tie::new(&key(1), TLS_KEY, Vec::new());
        assert!(tie.is_by(&key(1).verifying_key(), TLS_KEY));
        assert!(!tie.is_by(&key(2).verifying_key(), TLS_KEY), "another manager");
        assert!(!tie.is_by(&key(1).verifying_key(), Fingerprint([4; 32])), "another certificate");
    }

    #[test]
    fn an_introduction_needs_a_full_manager_that_is_known_or_was_introduced() {
        let nine = Some(newcomer(9, Full));
        assert_eq!(who(&[introduction(1, 9, Full)]), nine);
        assert_eq!(who(&[introduction(1, 4, Full), introduction(4, 9, Full)]), nine);
        assert_eq!(who(&[introduction(5, 1, Full), introduction(1, 9, Full)]), nine, "the first are older");
        assert_eq!(who(&[introduction(1, 4, Full), introduction(4, 9, Witness)]), Some(newcomer(9, Witness)));
        assert_eq!(who(&[]), None);
        assert_eq!(who(&[introduction(5, 9, Full)]), None, "by nobody who is known");
        assert_eq!(who(&[introduction(9, 9, Full)]), None, "by itself");
        assert_eq!(who(&[introduction(2, 9, Full)]), None, "by a witness");
        assert_eq!(who(&[introduction(1, 4, Witness), introduction(4, 9, Full)]), None, "by a witness that is new");
        assert_eq!(who(&[introduction(1, 9, Full), introduction(5, 8, Full)]), None, "about another in the end");
        let by_another = Introduction { by: ManagerId(5), ..introduction(4, 9, Full) };
        assert_eq!(who(&[introduction(1, 4, Full), by_another]), None);
    }

    #[test]
    fn one_that_was_removed_is_introduced_to_nobody_and_introduces_nobody() {
        assert_eq!(who(&[introduction(1, 3, Full)]), None, "its introduction outlives it");
        assert_eq!(who(&[introduction(1, 3, Full), introduction(3, 9, Full)]), None);
        assert_eq!(who(&[introduction(3, 9, Full)]), None);
        let renamed = Introduction { manager: ManagerId(4), ..introduction(1, 3, Full) };
        assert_eq!(who(&[renamed]), None, "under an id that was never given");
    }

    #[test]
    fn what_a_roster_says_counts_before_introductions() {
        assert_eq!(who(&[introduction(1, 2, Witness)]), Some(newcomer(2, Witness)));
        assert_eq!(who(&[introduction(1, 2, Full)]), None, "a witness with a better introduction");
        let other = Introduced { signing_key: key(9).verifying_key(), ..newcomer(2, Witness) };
        assert_eq!(who(&[Introduction::sign((ManagerId(1), &key(1)), CLUSTER, other)]), None, "another key");
        let elsewhere = Introduction::sign((ManagerId(1), &key(1)), ClusterId([8; 16]), newcomer(9, Full));
        assert_eq!(who(&[elsewhere]), None, "of another cluster");
        let promoted = Introduction { role: Full, ..introduction(1, 9, Witness) };
        assert_eq!(who(&[promoted]), None, "of another role");
    }

    #[test]
    fn a_row_of_introductions_has_an_end() {
        let long: Vec<_> = (1..=20).map(|by| introduction(by, by + 1, Full)).collect();
        let tie = Tie::new(&key(30), TLS_KEY, Vec::new());
        let tie = tie.introduced(introduction(21, 30, Full).behind(&long));
        assert_eq!(tie.introductions().len(), MOST_INTRODUCTIONS);
        assert_eq!(tie.introductions().last(), Some(&introduction(21, 30, Full)));
        assert_eq!(Tie::from_uri(&tie.to_uri()), Some(tie.clone()));
        let longer = Tie { introductions: long, ..tie };
        assert_eq!(Tie::from_uri(&longer.to_uri()), None);
    }

    #[test]
    fn a_tie_survives_text_and_nothing_else_is_one() {
        let tie = Tie::new(&key(1), TLS_KEY, vec![introduction(1, 2, Full)]);
        assert_eq!(Tie::from_uri(&tie.to_uri()), Some(tie));
        for bad in ["", "festoon-manager:", "festoon-manager:AAAA", "https://example.com", "festoon-manager:ä"] {
            assert_eq!(Tie::from_uri(bad), None, "{bad}");
        }
    }
}
