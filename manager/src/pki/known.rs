//! The CAs that a cluster trusts, as its managers tell them to whoever already trusts one of them.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderName;
use festoon_control::registry::State;
use festoon_proto::Fingerprint;

/// The most that a cluster ever has: one, and the next or the one before.
const MOST: usize = 4;

/// Which CAs are trusted, and as of which change of the registry. Written as the number of that change, then the fingerprints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownAuthorities {
    /// The last change that the manager which tells it knew of.
    pub version: u64,
    /// All that are trusted.
    pub trusted: Vec<Fingerprint>,
}

impl KnownAuthorities {
    /// The header of an answer that has them.
    pub const HEADER: HeaderName = HeaderName::from_static("festoon-trusted-ca");

    /// Those of this state.
    pub fn of(state: &State) -> Self {
        let trusted = state.vault().authorities().iter().map(|authority| authority.fingerprint).collect();
        Self { version: state.version().0, trusted }
    }
}

impl fmt::Display for KnownAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.version)?;
        self.trusted.iter().try_for_each(|one| write!(f, " {one}"))
    }
}

/// A text does not name any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected a number and 1 to {MOST} fingerprints")]
pub struct ParseKnownError;

impl FromStr for KnownAuthorities {
    type Err = ParseKnownError;

    fn from_str(text: &str) -> Result<Self, ParseKnownError> {
        let (version, rest) = text.split_once(' ').ok_or(ParseKnownError)?;
        let trusted: Result<Vec<_>, _> = rest.split(' ').map(str::parse).collect();
        let trusted = trusted.map_err(|_| ParseKnownError)?;
        if trusted.len() > MOST {
            return Err(ParseKnownError);
        }
        Ok(Self { version: version.parse().map_err(|_| ParseKnownError)?, trusted })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_read_as_they_are_written() {
        let known = KnownAuthorities { version: 7, trusted: vec![Fingerprint([1; 32]), Fingerprint([2; 32])] };
        assert_eq!(known.to_string().parse(), Ok(known.clone()));
        for bad in ["", "7", "7 ", "x 00", "7 00"] {
            assert!(bad.parse::<KnownAuthorities>().is_err(), "{bad}");
        }
        let many = KnownAuthorities { trusted: vec![Fingerprint([1; 32]); MOST + 1], ..known };
        assert!(many.to_string().parse::<KnownAuthorities>().is_err());
    }
}
