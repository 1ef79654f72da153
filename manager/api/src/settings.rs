//! What the cluster as a whole has to set.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::SecretText;

/// The settings of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// What snapshots are encrypted to: the public half of the recovery key, an age recipient. None if the manager that
    /// answers can't read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_recipient: Option<String>,
    /// The identity provider that users may log in at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oidc: Option<Oidc>,
    /// Their version, which is also their `ETag`. It also changes with other secrets of the cluster.
    pub version: u64,
}

/// What is to be changed. What is left out stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct SettingsUpdate {
    /// What snapshots are encrypted to from now on: an age recipient. The other half stays where it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 100)]
    pub recovery_recipient: Option<String>,
    /// Checks what is signed with the new recovery key (Ed25519, base64 of 32 bytes). Needed together with
    /// `recovery_recipient`: the key before must not prove anything any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 44)]
    pub recovery_verifying_key: Option<String>,
    /// The identity provider that users may log in at; `null` for none.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::given")]
    #[schema(value_type = Option<OidcUpdate>)]
    pub oidc: Option<Option<OidcUpdate>>,
}

/// An identity provider (OpenID Connect). Users whom an owner has linked to an identity of it log in there. It has to know
/// `https://NAME/api/v1/session/oidc/callback` of every name or address that people call managers by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Oidc {
    /// Where it is, and what it calls itself.
    #[schema(example = "https://id.example.com")]
    pub issuer: String,
    /// Who the cluster is for it.
    pub client_id: String,
    /// Whether the cluster shows it a secret.
    pub client_secret: bool,
    /// What it is asked for besides `openid`.
    pub scopes: Vec<String>,
}

/// An identity provider, in the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OidcUpdate {
    /// Where it is, and what it calls itself: an `https` URL.
    #[schema(min_length = 1, max_length = 255, example = "https://id.example.com")]
    pub issuer: String,
    /// Who the cluster is for it.
    #[schema(min_length = 1, max_length = 255, example = "festoon")]
    pub client_id: String,
    /// What the cluster shows it. Left out, it is that of before, if issuer and client are those of before; otherwise none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<SecretText>,
    /// What it is asked for besides `openid`.
    #[serde(default)]
    #[schema(max_items = 16)]
    pub scopes: Vec<String>,
}
