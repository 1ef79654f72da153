//! Fingerprints of certificates.

use crate::text::bytes_as_text;
use crate::token::SecretHash;

/// SHA-256 of a certificate in DER. In text 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

/// A text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a fingerprint: expected SHA-256 in 64 hexadecimal digits")]
pub struct ParseFingerprintError;

impl Fingerprint {
    /// Of the certificate in `der`.
    pub fn of(der: &[u8]) -> Self {
        Self(SecretHash::of(der).0)
    }
}

bytes_as_text!(Fingerprint, write, parse, ParseFingerprintError);

fn write(bytes: &[u8; 32]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Result<[u8; 32], ParseFingerprintError> {
    let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digits = std::str::from_utf8(digits).map_err(|_| ParseFingerprintError)?;
        *byte = u8::from_str_radix(digits, 16).map_err(|_| ParseFingerprintError)?;
    }
    if is_hex { Ok(bytes) } else { Err(ParseFingerprintError) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_survives_text_and_bytes() {
        let fingerprint = Fingerprint::of(b"certificate");
        assert_eq!(fingerprint.to_string().parse(), Ok(fingerprint));
        let json = serde_json::to_string(&fingerprint).unwrap();
        assert_eq!(json, "\"03d66dd08835c1ca3f128cceacd1f31ac94163096b20f445ae84285bc0832d72\"");
        assert_eq!(serde_json::from_str::<Fingerprint>(&json).unwrap(), fingerprint);
        assert_eq!(postcard::to_stdvec(&fingerprint).unwrap(), fingerprint.0);
        for bad in ["", "+1", &"0".repeat(63), &"+1".repeat(32), &"ä".repeat(32), &"0".repeat(66)] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(ParseFingerprintError), "{bad}");
        }
    }
}
