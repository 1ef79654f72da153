//! Secrets that a client sends.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use zeroize::Zeroizing;

/// A password, a code, or what else nobody else is to see. Never printed, wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// This text.
    pub const fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }

    /// The text. Secret.
    pub fn into_secret(self) -> Zeroizing<String> {
        self.0
    }

    /// The text. Secret.
    pub fn as_secret(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(redacted)")
    }
}

impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl PartialSchema for SecretText {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Password);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).max_length(Some(1024)).into()
    }
}

impl ToSchema for SecretText {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_sent_and_never_printed() {
        let secret: SecretText = serde_json::from_str("\"correct horse\"").unwrap();
        assert_eq!(secret.as_secret(), "correct horse");
        assert_eq!(serde_json::to_string(&secret).unwrap(), "\"correct horse\"");
        assert_eq!(format!("{secret:?}"), "SecretText(redacted)");
    }
}
