//! Users: people who may look at a cluster, or change it.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{NetworkId, Role, SecretText, Time, UserId};

/// A person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// Its id. Never used again.
    pub id: UserId,
    /// The name it logs in with, unique in the cluster.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// In which networks; in all there are and will be, and outside of them, if this is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
    /// Whether it has a password.
    pub password: bool,
    /// Whether it has a second factor.
    pub totp: bool,
    /// How many recovery codes of that were not used yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recovery_codes: Option<u64>,
    /// Who it is for an identity provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whether it may log in and its tokens are good.
    pub enabled: bool,
    /// When it was added.
    pub created: Time,
    /// Its version, which is also its `ETag`.
    pub version: u64,
}

/// Who somebody is for an identity provider (OpenID Connect Core, section 2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The provider: `iss`.
    #[schema(min_length = 1, max_length = 255, example = "https://id.example.com")]
    pub issuer: String,
    /// Whom it means: `sub`.
    #[schema(min_length = 1, max_length = 255)]
    pub subject: String,
}

/// A new user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UserCreate {
    /// The name it logs in with, written like a DNS label.
    #[schema(example = "ann", max_length = 63)]
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// In which networks, at least one; in all, and outside of them, if this is left out. An owner is one of all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub networks: Option<BTreeSet<NetworkId>>,
    /// Its password, 12 characters or more, if it logs in with one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
    /// Who it is for an identity provider, if it logs in there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
}

/// What of a user is to be changed. What is left out stays. A change of what it logs in with, and being disabled, ends all its
/// sessions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct UserUpdate {
    /// Its new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 63)]
    pub name: Option<String>,
    /// Its new role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// The networks it is for; `null` for all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::given")]
    #[schema(value_type = Option<BTreeSet<NetworkId>>)]
    pub networks: Option<Option<BTreeSet<NetworkId>>>,
    /// Its new password; `null` for none, and then no second factor either.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::given")]
    #[schema(value_type = Option<SecretText>)]
    pub password: Option<Option<SecretText>>,
    /// Who it is for an identity provider; `null` for nobody.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "crate::given")]
    #[schema(value_type = Option<Identity>)]
    pub identity: Option<Option<Identity>>,
    /// Whether it may log in and its tokens are good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// A new password for oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The one of now.
    pub current: SecretText,
    /// The new one, 12 characters or more.
    pub new: SecretText,
}

/// What shows that it is the user itself who wants something, and not whoever found its browser open. An owner who does it
/// for somebody else need not show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, Default)]
#[serde(deny_unknown_fields)]
pub struct UserProof {
    /// The password of now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
}

/// The secret of a second factor, for an authenticator app. It counts once a code of it was shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TotpEnrolment {
    /// As a person types it: base32.
    pub secret: String,
    /// As an app takes it.
    #[schema(example = "otpauth://totp/Festoon:ann?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Festoon")]
    pub uri: String,
    /// The same as a picture for its camera, in SVG.
    pub qr_svg: String,
}

impl fmt::Debug for TotpEnrolment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TotpEnrolment(redacted)")
    }
}

/// A second factor is to count from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TotpConfirm {
    /// Its secret, as it was shown.
    pub secret: SecretText,
    /// A code that the app shows.
    pub code: SecretText,
    /// The password of now. An owner who does it for somebody else need not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password: Option<SecretText>,
}

/// What lets a user in that has lost its second factor. Each is good once. Nobody can have them again.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RecoveryCodes {
    /// They.
    #[schema(example = json!(["mzxw-6ytb-oj2w-k4tf"]))]
    pub codes: Vec<String>,
}

impl fmt::Debug for RecoveryCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryCodes(redacted)")
    }
}
