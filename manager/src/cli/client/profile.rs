//! The profile file: clusters that this user logged in to. Whoever reads it can do what this user may.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use axum::http::{HeaderName, HeaderValue, header};
use festoon_proto::Fingerprint;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

use super::Server;
use crate::accounts::CSRF_HEADER;
use crate::data_dir::replace;

const SECRETS_OF_OTHERS: u32 = 0o077;

/// An API token. Secret.
#[derive(Clone, PartialEq, Eq)]
pub(in crate::cli) struct Token(Zeroizing<String>);

impl Serialize for Token {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_str().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Token {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|text| Self(Zeroizing::new(text)))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(redacted)")
    }
}

impl Token {
    /// From what an admin gives; nothing if that is empty.
    pub(in crate::cli) fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(Zeroizing::new(text.to_owned())))
    }

    /// From a file that nobody else may read, or from the standard input if that is named: `-`.
    pub(in crate::cli) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = Zeroizing::new(match path.as_os_str() == "-" {
            true => io::read_to_string(io::stdin().lock()).context("can't read the standard input")?,
            false => read_secret(path)?,
        });
        Self::new(&text).with_context(|| format!("{} holds no API token", path.display()))
    }
}

/// A session that a login made, until it ends. Secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Session {
    /// The cookie, with its name.
    pub(in crate::cli) cookie: String,
    /// What goes with it whenever something is changed.
    pub(in crate::cli) csrf: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cookie.zeroize();
        self.csrf.zeroize();
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(redacted)")
    }
}

/// What is shown with every request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Credential {
    /// A program's.
    Token(Token),
    /// A person's.
    Session(Session),
}

impl Credential {
    /// As headers.
    pub(super) fn headers(&self) -> Option<Vec<(HeaderName, HeaderValue)>> {
        let secret = |text: &str| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Some(match self {
            Self::Token(token) => {
                vec![(header::AUTHORIZATION, secret(&Zeroizing::new(format!("Bearer {}", *token.0)))?)]
            }
            Self::Session(session) => vec![
                (header::COOKIE, secret(&session.cookie)?),
                (HeaderName::from_static(CSRF_HEADER), secret(&session.csrf)?),
            ],
        })
    }
}

/// A cluster that the user logged in to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct Profile {
    /// Its managers, in the order in which they are tried.
    pub(in crate::cli) servers: Vec<Server>,
    /// The CAs that their certificates may come from.
    pub(in crate::cli) ca: Vec<Fingerprint>,
    /// The change of the registry as of which they are.
    #[serde(default)]
    pub(in crate::cli) ca_as_of: u64,
    /// The API token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token: Option<Token>,
    /// A file with the API token instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) token_file: Option<PathBuf>,
    /// The session of the last login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) session: Option<Session>,
}

impl Profile {
    /// What it shows: a token, if it has one.
    pub(in crate::cli) fn credential(&self) -> anyhow::Result<Option<Credential>> {
        Ok(match (&self.token_file, &self.token) {
            (Some(path), _) => Some(Credential::Token(Token::read(path)?)),
            (None, Some(token)) => Some(Credential::Token(token.clone())),
            (None, None) => self.session.clone().map(Credential::Session),
        })
    }

    const fn is_secret(&self) -> bool {
        self.token.is_some() || self.session.is_some()
    }
}

/// The whole file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(in crate::cli) struct Profiles {
    /// The one that is meant if none is named: that of the last login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) current: Option<String>,
    /// All, by name.
    pub(in crate::cli) profiles: BTreeMap<String, Profile>,
}

impl Profiles {
    /// Where the file of this user is.
    pub(in crate::cli) fn path() -> anyhow::Result<PathBuf> {
        let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(path) = from("FESTOON_CONFIG") {
            return Ok(path);
        }
        let directory = from("XDG_CONFIG_HOME").or_else(|| from("HOME").map(|home| home.join(".config")));
        let directory = directory.context("there is no home directory: name the profile file in FESTOON_CONFIG")?;
        Ok(directory.join("festoon/config.toml"))
    }

    /// What is in the file; nothing if there is none.
    pub(in crate::cli) fn load(path: &Path) -> anyhow::Result<Self> {
        let text = match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            read => Zeroizing::new(read.with_context(|| path.display().to_string())?),
        };
        // What the parser shows of a line could be a secret.
        let profiles: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(0, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!("{}: line {line}: {}", path.display(), error.message())
        })?;
        if profiles.profiles.values().any(Profile::is_secret) {
            see_that_it_is_private(path)?;
        }
        Ok(profiles)
    }

    /// Writes the file, for this user alone.
    pub(in crate::cli) fn save(&self, path: &Path) -> anyhow::Result<()> {
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
            made.with_context(|| format!("can't make {}", directory.display()))?;
        }
        let text = Zeroizing::new(toml::to_string_pretty(self)?);
        replace(path, text.as_bytes()).with_context(|| format!("can't write {}", path.display()))
    }

    /// The profile of this name.
    pub(in crate::cli) fn named(&self, name: &str) -> anyhow::Result<&Profile> {
        let all = || self.profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        match self.profiles.get(name) {
            Some(profile) => Ok(profile),
            None if self.profiles.is_empty() => bail!("there is no profile {name}: `festoon-manager login` makes one"),
            None => bail!("there is no profile {name}: there are {}", all()),
        }
    }
}

fn read_secret(path: &Path) -> anyhow::Result<String> {
    see_that_it_is_private(path)?;
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

fn see_that_it_is_private(path: &Path) -> anyhow::Result<()> {
    let about = fs::metadata(path).with_context(|| path.display().to_string())?;
    // Of what is no file, such as a pipe, nobody reads twice.
    if about.is_file() && about.mode() & SECRETS_OF_OTHERS != 0 {
        bail!("{0} holds a secret, and others may read it: run `chmod 600 {0}`", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn profiles() -> Profiles {
        let profile = Profile {
            servers: vec!["192.0.2.1".parse().unwrap(), "https://192.0.2.2:9000".parse().unwrap()],
            ca: vec![Fingerprint([7; 32])],
            ca_as_of: 3,
            token: Token::new("festoon-api-k1-canary\n"),
            token_file: None,
            session: Some(Session { cookie: "canary".to_owned(), csrf: "canary".to_owned() }),
        };
        let profiles = BTreeMap::from([("prod".to_owned(), profile)]);
        Profiles { current: Some("prod".to_owned()), profiles }
    }

    #[test]
    fn a_file_is_its_owners_alone_and_comes_back() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("festoon/config.toml");
        assert_eq!(Profiles::load(&path).unwrap(), Profiles::default());
        profiles().save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
        assert_eq!(Profiles::load(&path).unwrap(), profiles());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Profiles::load(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
        assert!(Token::read(&path).unwrap_err().to_string().contains("chmod 600"));
    }

    #[test]
    fn secrets_are_in_no_text() {
        assert!(!format!("{:?}", profiles()).contains("canary"));
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("config.toml");
        fs::write(&path, "[profiles.prod]\nservers = []\nca = []\ntokens = \"canary\"\n").unwrap();
        let refused = Profiles::load(&path).unwrap_err().to_string();
        assert!(refused.contains("line 4") && !refused.contains("canary"), "{refused}");
    }

    #[test]
    fn a_profile_that_is_not_there_is_told_with_those_that_are() {
        assert!(profiles().named("prod").is_ok());
        assert!(profiles().named("test").unwrap_err().to_string().contains("there are prod"));
    }
}
