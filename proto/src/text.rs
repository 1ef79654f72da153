//! 32 bytes that a person reads as text: keys and fingerprints.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Makes a newtype of `[u8; 32]` a value that is text where a person may read it (JSON, logs) and its bytes where none does
/// (postcard). `$write` makes the text of the bytes, `$parse` the bytes of a text or an `$error`.
macro_rules! bytes_as_text {
    ($name:ident, $write:path, $parse:path, $error:ty) => {
        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(&$write(&self.0))
            }
        }

        impl ::std::fmt::Debug for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                $parse(text).map(Self)
            }
        }

        impl ::serde::Serialize for $name {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() { serializer.collect_str(self) } else { self.0.serialize(serializer) }
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    String::deserialize(deserializer)?.parse().map_err(::serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

pub(crate) use bytes_as_text;

/// Standard base64.
pub(crate) fn to_base64(bytes: &[u8; 32]) -> String {
    STANDARD.encode(bytes)
}

/// The bytes of a text in standard base64, if it is one of 32 bytes.
pub(crate) fn from_base64(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}
