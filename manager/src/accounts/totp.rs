//! Second factors: codes from the clock (RFC 6238), and recovery codes for whoever lost what makes them.

use std::fmt;

use data_encoding::BASE32_NOPAD;
use festoon_control::registry::UnixMs;
use festoon_proto::token::SecretHash;
use ring::hmac;
use zeroize::Zeroizing;

/// Milliseconds that a code is shown for. What every authenticator app does without asking: 30 s, 6 digits, SHA-1.
const STEP_MS: u64 = 30_000;
const CODES: u32 = 1_000_000;
/// Steps by which a phone's clock may be wrong, either way.
const DRIFT: u64 = 1;
/// As RFC 4226 section 4 recommends.
const SECRET_LEN: usize = 20;
/// 80 bits: what is stored is a plain hash, so they must not be guessed from that.
const RECOVERY_LEN: usize = 10;
const RECOVERY_CODES: usize = 10;

/// The secret of a second factor.
#[derive(Clone, PartialEq, Eq)]
pub struct TotpSecret(Zeroizing<Vec<u8>>);

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpSecret(redacted)")
    }
}

/// A text is not the secret of a second factor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not the secret of a second factor: use the one that was made for it")]
pub struct ParseTotpError;

impl TotpSecret {
    /// A new one.
    pub fn generate() -> Self {
        let bytes: [u8; SECRET_LEN] = rand::random();
        Self(Zeroizing::new(bytes.to_vec()))
    }

    /// The secret with these bytes.
    pub const fn from_secret_bytes(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }

    /// The secret that was shown as this text.
    pub fn parse(text: &str) -> Result<Self, ParseTotpError> {
        let bytes = BASE32_NOPAD.decode(text.trim().as_bytes()).map_err(|_| ParseTotpError)?;
        if bytes.len() == SECRET_LEN { Ok(Self(Zeroizing::new(bytes))) } else { Err(ParseTotpError) }
    }

    /// Its bytes.
    pub fn secret_bytes(&self) -> &[u8] {
        &self.0
    }

    /// As a person types it into an app: base32.
    pub fn to_secret_text(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE32_NOPAD.encode(&self.0))
    }

    /// As an app reads it from a QR code.
    /// <https://github.com/google/google-authenticator/wiki/Key-Uri-Format>
    pub fn to_secret_uri(&self, user: &str) -> Zeroizing<String> {
        let secret = self.to_secret_text();
        Zeroizing::new(format!("otpauth://totp/Festoon:{user}?secret={}&issuer=Festoon", *secret))
    }

    /// The step that `code` is of, if that is about now.
    pub fn step_of(&self, code: &str, now: UnixMs) -> Option<u64> {
        let digits: u32 = code.parse().ok().filter(|_| is_code(code))?;
        let current = now.0 / STEP_MS;
        // All are computed, whichever it is.
        let steps = current.saturating_sub(DRIFT)..=current + DRIFT;
        steps.fold(None, |found, step| if self.code(step) == digits { Some(step) } else { found })
    }

    #[cfg(test)]
    pub(super) fn code_at(&self, now: UnixMs) -> String {
        format!("{:06}", self.code(now.0 / STEP_MS))
    }

    /// RFC 4226 section 5.3, of a step instead of a counter.
    fn code(&self, step: u64) -> u32 {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.0);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let bytes = tag.as_ref();
        let offset = usize::from(bytes.last().copied().unwrap_or_default() & 0xf);
        let four = bytes.get(offset..offset + 4).and_then(|four| four.try_into().ok()).unwrap_or_default();
        (u32::from_be_bytes(four) & 0x7fff_ffff) % CODES
    }
}

/// Whether it looks like a code from the clock, and not like a recovery code.
pub fn is_code(text: &str) -> bool {
    text.len() == 6 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// New recovery codes, to be shown once: as in `mzxw-6ytb-oj2w-k4tf`.
pub fn recovery_codes() -> Vec<Zeroizing<String>> {
    (0..RECOVERY_CODES).map(|_| recovery_code(rand::random())).collect()
}

fn recovery_code(bytes: [u8; RECOVERY_LEN]) -> Zeroizing<String> {
    let text = Zeroizing::new(BASE32_NOPAD.encode(&bytes).to_lowercase());
    let groups: Vec<_> = (0..text.len()).step_by(4).filter_map(|at| text.get(at..at + 4)).collect();
    Zeroizing::new(groups.join("-"))
}

/// What is stored of a recovery code, however it is typed.
pub fn recovery_hash(code: &str) -> SecretHash {
    let plain = code.chars().filter(|c| c.is_ascii_alphanumeric()).map(|c| c.to_ascii_lowercase());
    let text: Zeroizing<String> = Zeroizing::new("festoon recovery code ".chars().chain(plain).take(64).collect());
    SecretHash::of(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> TotpSecret {
        TotpSecret::from_secret_bytes(Zeroizing::new(b"12345678901234567890".to_vec()))
    }

    #[test]
    fn the_vectors_of_rfc_6238() {
        // Appendix B, the last six of eight digits.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(secret().step_of(code, UnixMs(seconds * 1000)), Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn a_clock_may_be_a_step_off() {
        let now = |step: i64| UnixMs(u64::try_from(1_000 + step).unwrap() * STEP_MS);
        let code = format!("{:06}", secret().code(1_000));
        for (off, found) in [(-2, None), (-1, Some(1_000)), (0, Some(1_000)), (1, Some(1_000)), (2, None)] {
            assert_eq!(secret().step_of(&code, now(off)), found, "{off}");
        }
        for bad in ["", "12345", "1234567", "+12345", " 12345", "12345a", "１２３４５６"] {
            assert_eq!(secret().step_of(bad, now(0)), None, "{bad}");
        }
    }

    #[test]
    fn a_secret_is_typed_or_read_from_a_qr_code_and_never_printed() {
        let text = secret().to_secret_text();
        assert_eq!(*text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
        assert_eq!(TotpSecret::parse(&text), Ok(secret()));
        assert_eq!(TotpSecret::parse("GEZDGNBV"), Err(ParseTotpError));
        let uri = secret().to_secret_uri("ann");
        assert_eq!(*uri, format!("otpauth://totp/Festoon:ann?secret={}&issuer=Festoon", *text));
        assert_eq!(format!("{:?}", secret()), "TotpSecret(redacted)");
        assert_ne!(TotpSecret::generate(), TotpSecret::generate());
    }

    #[test]
    fn a_recovery_code_may_be_typed_in_any_way() {
        let code = recovery_code([0x5a; RECOVERY_LEN]);
        assert_eq!(*code, "ljnf-uws2-ljnf-uws2");
        assert_eq!(recovery_hash(" LJNFUWS2 ljnf uws2\n"), recovery_hash(&code));
        let all = recovery_codes();
        let hashes: std::collections::BTreeSet<_> = all.iter().map(|code| recovery_hash(code)).collect();
        assert_eq!((all.len(), hashes.len()), (RECOVERY_CODES, RECOVERY_CODES));
        assert!(all.iter().all(|code| !is_code(code)));
    }
}
