//! The recovery key: snapshots are encrypted to it, and its secret half is on no manager.

use age::secrecy::ExposeSecret as _;
use festoon_control::registry::SecretName;
use festoon_proto::SigningKey;
use ring::digest;
use zeroize::Zeroizing;

/// The secret with the public half of the recovery key, an age recipient (`age1...`).
pub fn recovery_recipient() -> SecretName {
    SecretName("recovery-recipient".to_owned())
}

/// Whether a text is the public half of a recovery key.
pub fn is_recipient(text: &str) -> bool {
    text.parse::<age::x25519::Recipient>().is_ok()
}

/// In front of the secret half, where the signing key is derived from it.
const SIGNING_LABEL: &[u8] = b"festoon recovery signing key 1 ";
/// How the secret half begins.
const SECRET_PREFIX: &str = "AGE-SECRET-KEY-1";

/// A recovery key, whole: only while it is made, and while something is restored.
pub struct RecoveryKey(age::x25519::Identity);

impl std::fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecoveryKey(redacted)")
    }
}

impl RecoveryKey {
    /// A new one.
    pub fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// The key in a text of [`RecoveryKey::to_secret_text`], or in one that has it on a line among others.
    pub fn from_secret_text(text: &str) -> Option<Self> {
        let line = text.lines().map(str::trim).find(|line| line.starts_with(SECRET_PREFIX))?;
        line.parse().ok().map(Self)
    }

    /// The key, for decryption.
    pub(crate) const fn identity(&self) -> &age::x25519::Identity {
        &self.0
    }

    /// The public half, which any program that knows age encrypts to.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
    }

    /// The key that is derived from it for signatures: with it a cluster is proved to go on that lost its full managers.
    pub fn signing_key(&self) -> SigningKey {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(SIGNING_LABEL);
        context.update(self.to_secret_text().as_bytes());
        let mut seed = Zeroizing::new([0; 32]);
        seed.copy_from_slice(context.finish().as_ref());
        SigningKey::from_seed(*seed)
    }

    /// The secret half, as age reads it. To be shown once and stored nowhere.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.to_string().expose_secret().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_halves_belong_together_and_the_secret_one_is_not_printed() {
        let key = RecoveryKey::generate();
        let read: age::x25519::Identity = key.to_secret_text().parse().unwrap();
        assert_eq!(read.to_public().to_string(), key.recipient());
        assert!(is_recipient(&key.recipient()) && !is_recipient("age1") && !is_recipient(&key.to_secret_text()));
        assert!(key.to_secret_text().starts_with("AGE-SECRET-KEY-1"));
        let again = RecoveryKey::from_secret_text(&key.to_secret_text()).unwrap();
        assert_eq!(again.signing_key().verifying_key(), key.signing_key().verifying_key());
        assert_ne!(RecoveryKey::generate().signing_key().verifying_key(), key.signing_key().verifying_key());
        assert_eq!(format!("{key:?}"), "RecoveryKey(redacted)");
        let noted = format!("# of our cluster\n\n    {}\n", *key.to_secret_text());
        assert_eq!(RecoveryKey::from_secret_text(&noted).unwrap().recipient(), key.recipient());
        for bad in ["", "AGE-SECRET-KEY-1", &key.recipient()] {
            assert!(RecoveryKey::from_secret_text(bad).is_none(), "{bad}");
        }
    }
}
