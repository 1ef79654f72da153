//! What agents and managers say to each other over HTTPS, in JSON.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use crate::epoch::Roster;
use crate::map::EndpointMap;
use crate::token::{SecretHash, TokenSecret};
use crate::{ClusterId, EndpointId, EpochId, ManagerId, PublicKey, VerifyingKey};

/// `POST`, without a login: an endpoint joins with a token.
pub const AGENT_JOIN: &str = "/agent/v1/join";
/// `GET`, with a [`Credential`]: an endpoint fetches its map.
pub const AGENT_MAP: &str = "/agent/v1/map";
/// `POST`, with a [`Credential`]: an endpoint leaves for good.
pub const AGENT_LEAVE: &str = "/agent/v1/leave";
/// `POST`, with a [`Credential`]: an endpoint has a new key.
pub const AGENT_ROTATE: &str = "/agent/v1/rotate-key";
/// `PUT`, with a [`Credential`]: an endpoint says which routes it offers, all of them.
pub const AGENT_ROUTES: &str = "/agent/v1/routes";
/// `GET`, without a login: the signed act by which the epoch of the cluster began, as an
/// [`EpochProof`](crate::epoch::EpochProof). An endpoint whose map knows none of the managers that answer asks for it.
pub const AGENT_EPOCH: &str = "/agent/v1/epoch";
/// `POST`, without a login: a manager joins with a token.
pub const MANAGER_JOIN: &str = "/join/v1/manager";

/// An endpoint asks to be let in. Asking again with the same token, key and credential gets the same answer, so an
/// answer that was lost costs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// From the token.
    pub secret: TokenSecret,
    /// Made on the endpoint; its private half stays there.
    pub public_key: PublicKey,
    /// The hash of the credential the endpoint made for itself.
    pub credential_hash: SecretHash,
    /// The name the host gives itself.
    pub name: String,
}

/// The endpoint is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinResponse {
    /// The first map. The CA of the token is among those it names.
    pub map: EndpointMap,
}

/// An endpoint has a new key, and a new credential with it: the one that this request shows is refused from then on. Asking again,
/// with the new credential, changes nothing, so an answer that was lost costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RotateRequest {
    /// The new key. Its private half is on the endpoint's disk already.
    pub public_key: PublicKey,
    /// The hash of the credential that goes with the new key. The endpoint made it, and it is on its disk already.
    pub credential_hash: SecretHash,
    /// For how many seconds the one before is to be good too.
    pub overlap_s: u32,
}

/// All the routes that an endpoint offers. Asking again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OfferRequest {
    /// Prefixes outside the overlay that it would carry packets to.
    pub prefixes: Vec<IpNet>,
}

/// What a manager does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum ManagerRole {
    /// Votes and carries endpoints.
    #[default]
    Full,
    /// Votes only. It has no tunnels and no secrets, and no node but the managers knows of it.
    Witness,
}

/// A manager asks to be let in. Asking again with the same token and keys gets the same answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerJoinRequest {
    /// From the token.
    pub secret: TokenSecret,
    /// The name it should have.
    pub name: String,
    /// What it is to do.
    pub role: ManagerRole,
    /// Its WireGuard identity.
    pub public_key: PublicKey,
    /// The key that secrets are sealed to for it (X25519); none from a witness, which gets none.
    pub seal_key: Option<PublicKey>,
    /// The key that it signs with what it vouches for (Ed25519).
    pub signing_key: VerifyingKey,
    /// A certificate signing request in PEM (RFC 2986). Asking again needs the same key in it.
    pub csr_pem: String,
    /// Where its tunnels are reached; nowhere for a witness.
    pub underlay: Vec<SocketAddr>,
    /// Where its HTTPS listener is reached.
    pub https: Vec<SocketAddr>,
    /// Declared preference.
    pub priority: u8,
    /// The highest format of the registry that its program understands.
    pub format: u16,
}

/// The manager is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManagerJoinResponse {
    /// The cluster.
    pub cluster: ClusterId,
    /// The epoch it is in.
    pub epoch: EpochId,
    /// The id it got.
    pub manager: ManagerId,
    /// The certificates of all CAs that are trusted, in PEM.
    pub ca_pem: String,
    /// What it is to show: its own certificate and those behind it, in PEM.
    pub chain_pem: String,
    /// The managers, whom it believes until it has a copy of the registry.
    pub roster: Roster,
}

/// Why a request was refused (RFC 9457, problem details).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable word for programs, as in `token-expired`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line for people: what is wrong and what to do.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
}

/// How an endpoint proves itself over HTTPS: its id and 32 random bytes that it made itself. `Authorization: Bearer
/// e7.BASE64URL`.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    /// Whose it is.
    pub endpoint: EndpointId,
    secret: [u8; 32],
}

impl Credential {
    /// The credential of `endpoint`.
    pub const fn new(endpoint: EndpointId, secret: [u8; 32]) -> Self {
        Self { endpoint, secret }
    }

    /// What managers store of it.
    pub fn hash(&self) -> SecretHash {
        SecretHash::of(&self.secret)
    }

    /// The text behind `Bearer `. Secret.
    pub fn to_secret_string(&self) -> String {
        format!("{}.{}", self.endpoint, URL_SAFE_NO_PAD.encode(self.secret))
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({}, redacted)", self.endpoint)
    }
}

/// A text is not a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a credential: expected an endpoint id, a dot and 43 characters of base64url")]
pub struct ParseCredentialError;

impl FromStr for Credential {
    type Err = ParseCredentialError;

    fn from_str(text: &str) -> Result<Self, ParseCredentialError> {
        let (endpoint, secret) = text.split_once('.').ok_or(ParseCredentialError)?;
        let endpoint = endpoint.parse().map_err(|_| ParseCredentialError)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self { endpoint, secret: secret.ok_or(ParseCredentialError)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_survives_its_header_and_is_never_printed() {
        let credential = Credential::new(EndpointId(5), [8; 32]);
        assert_eq!(credential.to_secret_string().parse(), Ok(credential.clone()));
        assert_eq!(format!("{credential:?}"), "Credential(e5, redacted)");
        assert!("e5.short".parse::<Credential>().is_err());
        assert!("nonsense".parse::<Credential>().is_err());
    }
}
