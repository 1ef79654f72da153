//! Ids, as the API writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $pattern:literal, $example:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub festoon_proto::$name);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = festoon_proto::ids::ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }

        impl From<festoon_proto::$name> for $name {
            fn from(id: festoon_proto::$name) -> Self {
                Self(id)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
            }
        }

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let schema = ObjectBuilder::new().schema_type(Type::String).pattern(Some($pattern));
                schema.examples([serde_json::Value::from($example)]).into()
            }
        }

        impl ToSchema for $name {}
    )*};
}

ids! {
    /// A network, as in `n1`.
    NetworkId, "^n[0-9]{1,10}$", "n1";
    /// An endpoint, as in `e7`.
    EndpointId, "^e[0-9]{1,20}$", "e7";
    /// A manager, as in `m2`.
    ManagerId, "^m[0-9]{1,5}$", "m2";
    /// A destination of events, as in `d1`.
    EventDestinationId, "^d[0-9]{1,10}$", "d1";
    /// A join token, as in `t4f2a9c01`.
    JoinTokenId, "^t[0-9a-f]{8}$", "t4f2a9c01";
    /// A user, as in `u3`.
    UserId, "^u[0-9]{1,10}$", "u3";
    /// A session of a user, as in `s12`.
    SessionId, "^s[0-9]{1,20}$", "s12";
    /// An API token, as in `k5`.
    ApiTokenId, "^k[0-9]{1,10}$", "k5";
}
