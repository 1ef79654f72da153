//! Who asks: what each position holds, and what it may do with that.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use festoon_proto::http::Credential;
use festoon_proto::map::EndpointMap;
use festoon_proto::token::{JoinToken, SecretHash};
use festoon_proto::{EpochId, ManagerId, PrivateKey, PublicKey, SigningKey, VerifyingKey};
use rcgen::KeyPair;
use serde::Deserialize;

use super::cast::signing_request;
use super::routes::Right;
use crate::overlay::{Agent, Manager};

/// Behind a private key in PEM.
const END: &str = "-----END PRIVATE KEY-----";
/// Everything is changed by who shows this and may.
const WHATEVER_IT_IS: &str = "*";
/// Nothing is changed by who shows this.
const NOTHING: &str = "\"0\"";

/// Somebody who holds something.
#[derive(Debug, Clone)]
pub(super) struct Position {
    /// What it is called in the report.
    pub(super) name: &'static str,
    /// What it may do.
    pub(super) rights: Vec<Right>,
    /// A file with a certificate and its key.
    pub(super) identity: Option<PathBuf>,
    /// That certificate is a forgery: TLS ends the connection, whatever is asked.
    pub(super) is_forger: bool,
    /// With every request.
    pub(super) headers: Vec<(String, String)>,
    /// What it joins with.
    pub(super) token: Option<JoinToken>,
    /// As whom it takes part in consensus.
    pub(super) member: Option<Member>,
    /// The keys that it has as an endpoint.
    pub(super) endpoint: Option<Endpoint>,
    /// The private key of its tunnels.
    pub(super) tunnel: Option<PrivateKey>,
    /// What it joined with as a manager.
    pub(super) joined: Option<Joined>,
}

/// What a manager showed when it joined: whoever shows that again with the same token gets the same answer for a while.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) public_key: PublicKey,
    /// None of a witness.
    pub(super) seal_key: Option<PublicKey>,
    pub(super) signing_key: VerifyingKey,
    pub(super) csr: String,
}

/// A manager, as it speaks in consensus.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    pub(super) manager: ManagerId,
    pub(super) incarnation: u32,
    pub(super) epoch: EpochId,
}

/// What the registry has of an endpoint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) public_key: PublicKey,
    pub(super) credential: SecretHash,
}

impl Position {
    /// Somebody who has nothing, and wants to change everything.
    pub(super) fn new(name: &'static str) -> Self {
        let headers = [("content-type", "application/json"), ("if-match", WHATEVER_IT_IS)];
        Self {
            name,
            rights: Vec::new(),
            identity: None,
            is_forger: false,
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            token: None,
            member: None,
            endpoint: None,
            tunnel: None,
            joined: None,
        }
    }

    /// It may do this.
    pub(super) fn may(self, rights: &[Right]) -> Self {
        Self { rights: rights.to_vec(), ..self }
    }

    /// It asks for what it may do in a way that changes nothing.
    pub(super) fn harmless(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if name == "if-match" {
                NOTHING.clone_into(value);
            }
        }
        self
    }

    /// It shows something in a header.
    pub(super) fn showing(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It shows a secret that programs show.
    pub(super) fn bearing(self, secret: &str) -> Self {
        self.showing("authorization", &format!("Bearer {secret}"))
    }

    /// It shows what a browser does that is logged in.
    pub(super) fn with_session(self, cookie: &str, csrf: &str) -> Self {
        self.showing("cookie", cookie).showing("x-festoon-csrf", csrf)
    }

    /// Whether it may use the API with a session, which it could end.
    pub(super) fn is_logged_in(&self) -> bool {
        self.rights.contains(&Right::Viewer) && self.headers.iter().any(|(name, _)| name == "cookie")
    }

    /// It has the token that it once joined with.
    pub(super) fn joined_with(self, token: &str) -> anyhow::Result<Self> {
        Ok(Self { token: Some(token.trim().parse()?), ..self })
    }

    /// It has a join token, and shows that where others show a secret as well.
    pub(super) fn with_token(self, token: &str) -> anyhow::Result<Self> {
        Ok(Self { token: Some(token.trim().parse()?), ..self }.bearing(token.trim()))
    }

    /// It has all files of a manager.
    pub(super) fn with_manager(self, manager: &Manager) -> anyhow::Result<Self> {
        let dir = manager.data_dir();
        let identity = Some(dir.join("tls.pem"));
        // A witness has none.
        let tunnel = fs::read_to_string(dir.join("wireguard.key")).ok();
        let tunnel: Option<PrivateKey> = tunnel.map(|key| key.trim().parse()).transpose()?;
        let joined = tunnel.as_ref().map(|key| Joined::read(dir, key.public_key())).transpose()?;
        Ok(Self { identity, tunnel, joined, member: Some(Member::read(dir)?), ..self })
    }

    /// It has all files of an agent.
    pub(super) fn with_agent(self, agent: &Agent) -> anyhow::Result<Self> {
        self.with_agent_files(agent.state_dir(), &agent.state_dir().join("identity.json"))
    }

    /// The same, of which the keys lie elsewhere.
    pub(super) fn with_agent_files(self, state: &Path, identity: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Identity {
            private_key: String,
            credential_secret: [u8; 32],
        }
        let read = |path: &Path| fs::read(path).with_context(|| path.display().to_string());
        let Identity { private_key, credential_secret } = serde_json::from_slice(&read(identity)?)?;
        let map: EndpointMap = serde_json::from_slice(&read(&state.join("map.json"))?)?;
        let key: PrivateKey = private_key.parse()?;
        let credential = Credential::new(map.endpoint, credential_secret);
        let endpoint = Some(Endpoint { public_key: key.public_key(), credential: credential.hash() });
        Ok(Self { endpoint, tunnel: Some(key), ..self }.bearing(&credential.to_secret_string()))
    }
}

impl Joined {
    fn read(dir: &Path, public_key: PublicKey) -> anyhow::Result<Self> {
        let read =
            |file: &str| fs::read_to_string(dir.join(file)).with_context(|| format!("{} has no {file}", dir.display()));
        let seal_key: Option<PrivateKey> = read("seal.key").ok().map(|key| key.trim().parse()).transpose()?;
        let signing_key: SigningKey = read("signing.key")?.trim().parse()?;
        let pem = read("tls.pem")?;
        let start = pem.find("-----BEGIN PRIVATE KEY-----").context("tls.pem has no key")?;
        let end = pem.find(END).context("tls.pem has no key")? + END.len();
        let key = KeyPair::from_pem(pem.get(start..end).context("tls.pem has no key")?)?;
        let csr = signing_request(&key, &signing_key)?;
        Ok(Self {
            public_key,
            seal_key: seal_key.map(|key| key.public_key()),
            signing_key: signing_key.verifying_key(),
            csr,
        })
    }
}

impl Member {
    /// What a data directory says.
    pub(super) fn read(dir: &Path) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Identity {
            manager: ManagerId,
            incarnation: u32,
            epoch: EpochId,
        }
        let path = ["identity.toml", "identity.left.toml"].map(|file| dir.join(file));
        let text = path.iter().find_map(|path| fs::read_to_string(path).ok());
        let text = text.with_context(|| format!("{} is no manager's", dir.display()))?;
        let Identity { manager, incarnation, epoch } = toml::from_str(&text)?;
        Ok(Self { manager, incarnation, epoch })
    }
}

/// A credential of an endpoint that nobody is.
pub(super) fn made_up_credential() -> String {
    format!("e1.{}", URL_SAFE_NO_PAD.encode([7; 32]))
}
