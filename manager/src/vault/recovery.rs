//! The recovery key: backups are encrypted to it, and its secret half is on no manager.

use age::secrecy::ExposeSecret as _;
use festoon_control::registry::SecretName;
use zeroize::Zeroizing;

/// The secret with the public half of the recovery key, an age recipient (`age1...`).
pub fn recovery_recipient() -> SecretName {
    SecretName("recovery-recipient".to_owned())
}

/// A recovery key, whole: only while it is made.
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

    /// The public half, which any program that knows age encrypts to.
    pub fn recipient(&self) -> String {
        self.0.to_public().to_string()
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
        assert!(key.to_secret_text().starts_with("AGE-SECRET-KEY-1"));
        assert_eq!(format!("{key:?}"), "RecoveryKey(redacted)");
    }
}
