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
    /// What the newcomer signs with.
    pub signing_key: VerifyingKey,
    /// What the newcomer does.
    pub role: ManagerRole,
    /// Who let it in.
    pub by: ManagerId,
    /// By the signing key of that one, over the above and the cluster.
    pub signature: Signature,
}

impl Introduction {
    /// Manager `by`, whose signing key is `key`, lets another one into `cluster`.
    pub fn sign(
        (by, key): (ManagerId, &SigningKey),
        cluster: ClusterId,
        signing_key: VerifyingKey,
        role: ManagerRole,
    ) -> Self {
        let signature = key.sign(INTRODUCTION_LABEL, &message(cluster, by, signing_key, role));
        Self { signing_key, role, by, signature }
    }

    /// The same, behind those of manager `by` itself: how the newcomer came into the cluster.
    pub fn behind(self, own: &[Self]) -> Vec<Self> {
        let first = (own.len() + 1).saturating_sub(MOST_INTRODUCTIONS);
        own.iter().skip(first).copied().chain([self]).collect()
    }

    fn is_signed_by(&self, cluster: ClusterId, key: &VerifyingKey) -> bool {
        let Self { signing_key, role, by, signature } = self;
        key.verifies(INTRODUCTION_LABEL, &message(cluster, *by, *signing_key, *role), signature)
    }
}

fn message(cluster: ClusterId, by: ManagerId, signing_key: VerifyingKey, role: ManagerRole) -> Vec<u8> {
    // It fails only on what has no length, and this has.
    postcard::to_stdvec(&(cluster, by, signing_key, role)).unwrap_or_default()
}

/// A manager that is not in the reader's copy of the registry, as others introduce it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Introduced {
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

    /// As [`introduced`], with its introductions.
    pub fn who(&self, cluster: ClusterId, full: impl Fn(ManagerId) -> Option<VerifyingKey>) -> Option<Introduced> {
        introduced(&self.introductions, cluster, full)
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

/// Whom introductions are about, if a row of them leads there from a full manager of `cluster` that the reader knows. `full`
/// gives the signing key of such a manager.
pub fn introduced(
    introductions: &[Introduction],
    cluster: ClusterId,
    full: impl Fn(ManagerId) -> Option<VerifyingKey>,
) -> Option<Introduced> {
    let mut believed: Option<Introduced> = None;
    for introduction in introductions.iter().take(MOST_INTRODUCTIONS) {
        let Introduction { signing_key, role, by, .. } = *introduction;
        let by_the_last = believed.filter(|last| last.role == ManagerRole::Full).map(|last| last.signing_key);
        let mut signers = full(by).into_iter().chain(by_the_last);
        let is_believed = signers.any(|key| introduction.is_signed_by(cluster, &key));
        believed = is_believed.then_some(Introduced { signing_key, role });
    }
    believed
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);
    const TLS_KEY: Fingerprint = Fingerprint([3; 32]);

    fn key(number: u16) -> SigningKey {
        SigningKey::from_seed([u8::try_from(number).unwrap(); 32])
    }

    fn introduction(by: u16, of: u16, role: ManagerRole) -> Introduction {
        Introduction::sign((ManagerId(by), &key(by)), CLUSTER, key(of).verifying_key(), role)
    }

    /// Of manager 1 alone.
    fn knows_the_first(id: ManagerId) -> Option<VerifyingKey> {
        (id == ManagerId(1)).then(|| key(1).verifying_key())
    }

    fn who(introductions: &[Introduction]) -> Option<VerifyingKey> {
        let tie = Tie::new(&key(9), TLS_KEY, introductions.to_vec());
        tie.who(CLUSTER, knows_the_first).map(|who| who.signing_key)
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
        use ManagerRole::{Full, Witness};
        let nine = Some(key(9).verifying_key());
        assert_eq!(who(&[introduction(1, 9, Full)]), nine);
        assert_eq!(who(&[introduction(1, 4, Full), introduction(4, 9, Witness)]), nine);
        assert_eq!(who(&[introduction(3, 4, Full), introduction(1, 9, Full)]), nine, "the first are older");
        assert_eq!(who(&[]), None);
        assert_eq!(who(&[introduction(2, 9, Full)]), None, "by nobody who is known");
        assert_eq!(who(&[introduction(9, 9, Full)]), None, "by itself");
        assert_eq!(who(&[introduction(1, 4, Witness), introduction(4, 9, Full)]), None, "by a witness");
        assert_eq!(who(&[introduction(1, 9, Full), introduction(2, 8, Full)]), None, "about another in the end");
        let other = Introduction::sign((ManagerId(1), &key(1)), ClusterId([8; 16]), key(9).verifying_key(), Full);
        assert_eq!(who(&[other]), None, "of another cluster");
        let promoted = Introduction { role: Full, ..introduction(1, 9, Witness) };
        assert_eq!(who(&[promoted]), None, "of another role");
    }

    #[test]
    fn a_row_of_introductions_has_an_end() {
        let long: Vec<_> = (1..=20).map(|by| introduction(by, by + 1, ManagerRole::Full)).collect();
        let tie = Tie::new(&key(30), TLS_KEY, Vec::new());
        let tie = tie.introduced(introduction(21, 30, ManagerRole::Full).behind(&long));
        assert_eq!(tie.introductions().len(), MOST_INTRODUCTIONS);
        assert_eq!(tie.introductions().last(), Some(&introduction(21, 30, ManagerRole::Full)));
        assert_eq!(Tie::from_uri(&tie.to_uri()), Some(tie.clone()));
        let longer = Tie { introductions: long, ..tie };
        assert_eq!(Tie::from_uri(&longer.to_uri()), None);
    }

    #[test]
    fn a_tie_survives_text_and_nothing_else_is_one() {
        let tie = Tie::new(&key(1), TLS_KEY, vec![introduction(1, 2, ManagerRole::Full)]);
        assert_eq!(Tie::from_uri(&tie.to_uri()), Some(tie));
        for bad in ["", "festoon-manager:", "festoon-manager:AAAA", "https://example.com", "festoon-manager:ä"] {
            assert_eq!(Tie::from_uri(bad), None, "{bad}");
        }
    }
}
