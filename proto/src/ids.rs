//! Identifiers. Each is its own type, so that none is passed where another is meant.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::token::SecretHash;

/// A text is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {kind} id: expected {expected}")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    expected: &'static str,
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $kind:literal, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix).unwrap_or(text).parse().map(Self).map_err(|_| ParseIdError {
                    text: text.to_owned(),
                    kind: $kind,
                    expected: concat!("a number, as in ", $prefix, "7"),
                })
            }
        }
    };
}

numeric_id!(
    /// An isolated overlay with the customer's own prefixes. Written `n7`.
    NetworkId(u32), "network", "n"
);
numeric_id!(
    /// A customer host in the overlay. Written `e7`. Never used again after it was removed.
    EndpointId(u64), "endpoint", "e"
);
numeric_id!(
    /// A node that switches and routes. Written `m7`. Never used again after it was removed.
    ManagerId(u16), "manager", "m"
);

numeric_id!(
    /// A person with an account. Written `u7`. Never used again after it was removed.
    UserId(u32), "user", "u"
);
numeric_id!(
    /// A token that a program uses the API with, without its secret. Written `k7`.
    ApiTokenId(u32), "API token", "k"
);
numeric_id!(
    /// A person who is logged in somewhere. Written `s7`.
    SessionId(u64), "session", "s"
);

numeric_id!(
    /// A place that events are sent to. Written `d7`. Never used again after it was removed.
    EventDestinationId(u32), "event destination", "d"
);

/// A join token, without its secret: the first 32 bits of the hash of that. Written `t4f2a9c01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JoinTokenId(pub u32);

impl JoinTokenId {
    /// The id of the token whose secret has this hash.
    pub const fn of(hash: &SecretHash) -> Self {
        let [a, b, c, d, ..] = hash.0;
        Self(u32::from_be_bytes([a, b, c, d]))
    }

    /// The least hash of a token with this id.
    pub fn first_hash(self) -> SecretHash {
        let mut hash = [0; 32];
        hash[..4].copy_from_slice(&self.0.to_be_bytes());
        SecretHash(hash)
    }
}

impl fmt::Display for JoinTokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "t{:08x}", self.0)
    }
}

impl FromStr for JoinTokenId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let digits = text.strip_prefix('t').unwrap_or(text);
        let number = u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8 && !digits.starts_with('+'));
        number.map(Self).ok_or_else(|| ParseIdError {
            text: text.to_owned(),
            kind: "join token",
            expected: "eight hexadecimal digits, as in t4f2a9c01",
        })
    }
}

/// A cluster: the managers that share one registry. 128 random bits, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ClusterId(pub [u8; 16]);

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// An epoch of a cluster: whoever is of an earlier one is refused by those of a later one. Written `2/m3`: the second, begun
/// from the copy of manager 3; the first one is `1`.
///
/// Two managers that are both promoted, each without knowing of the other, begin two epochs of the same number; so do two
/// restores. The one that began later is the later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EpochId {
    // In this order they are compared.
    /// When it began, in milliseconds since 1970; 0 for the first.
    pub began_unix_ms: u64,
    /// Its number. A cluster begins with 1.
    pub number: u32,
    /// Whose copy it began from; nobody's is the first.
    pub by: Option<ManagerId>,
}

impl EpochId {
    /// The epoch that a cluster begins with.
    pub const FIRST: Self = Self { began_unix_ms: 0, number: 1, by: None };
}

impl fmt::Display for EpochId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number)?;
        self.by.map_or(Ok(()), |by| write!(f, "/{by}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_with_their_letter_and_read_with_or_without_it() {
        assert_eq!(EndpointId(42).to_string(), "e42");
        assert_eq!("e42".parse(), Ok(EndpointId(42)));
        assert_eq!("42".parse(), Ok(EndpointId(42)));
        let error = "m99999".parse::<ManagerId>().unwrap_err();
        assert_eq!(error.to_string(), "\"m99999\" is not a manager id: expected a number, as in m7");
    }

    #[test]
    fn of_two_epochs_one_is_later() {
        let epoch = |began_unix_ms, number, by| EpochId { began_unix_ms, number, by: Some(ManagerId(by)) };
        let in_order = [EpochId::FIRST, epoch(5, 3, 9), epoch(6, 2, 1), epoch(6, 2, 3), epoch(7, 2, 1)];
        assert!(in_order.is_sorted_by(|earlier, later| earlier < later), "{in_order:?}");
        assert_eq!((EpochId::FIRST.to_string(), epoch(5, 2, 3).to_string()), ("1".to_owned(), "2/m3".to_owned()));
    }

    #[test]
    fn a_join_token_is_called_by_the_beginning_of_its_hash() {
        let mut hash = SecretHash([7; 32]);
        hash.0[0] = 0;
        let id = JoinTokenId::of(&hash);
        assert_eq!((id.to_string().as_str(), "t00070707".parse()), ("t00070707", Ok(id)));
        assert!(id.first_hash() < hash && JoinTokenId::of(&id.first_hash()) == id);
        for bad in ["t7", "+0070707", "t0007070g", "t000707070"] {
            assert!(bad.parse::<JoinTokenId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cluster_id_is_32_hexadecimal_digits() {
        assert_eq!(ClusterId([0xab; 16]).to_string(), "ab".repeat(16));
    }
}
