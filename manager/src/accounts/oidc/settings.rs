//! The identity provider of a cluster. All of it is one secret of the registry, for the client's secret is.

use std::fmt;

use festoon_api::SecretText;
use festoon_control::registry::{Command, PutSecret, SecretName, State};
use openidconnect::url::{Host, Url};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::vault::{Vault, VaultError};

/// Bytes of an issuer, as the registry takes it of an identity, and of a client's id and secret.
const MAX_LEN: usize = 255;
const MAX_SCOPES: usize = 16;

/// An identity provider.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OidcSettings {
    /// Where it is, and what it calls itself: `iss`.
    pub issuer: String,
    /// Who we are for it.
    pub client_id: String,
    /// How we show that, unless it takes us for a public client.
    pub client_secret: Option<SecretText>,
    /// What it is asked for besides `openid`.
    pub scopes: Vec<String>,
}

impl fmt::Debug for OidcSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { issuer, client_id, scopes, .. } = self;
        let mut debug = f.debug_struct("OidcSettings");
        debug.field("issuer", issuer).field("client_id", client_id).field("scopes", scopes).finish_non_exhaustive()
    }
}

/// Settings make no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The issuer is none.
    #[error("an issuer is an https:// URL without a query, or an http:// URL of this machine")]
    Issuer,
    /// Something is empty or too long.
    #[error(
        "a client id and a client secret have 1 to {MAX_LEN} bytes, and there are {MAX_SCOPES} scopes at most, each one word"
    )]
    Client,
}

impl OidcSettings {
    fn name() -> SecretName {
        SecretName("oidc".to_owned())
    }

    /// Whether a cluster has any.
    pub fn is_set(state: &State) -> bool {
        state.vault().secret(&Self::name()).is_some()
    }

    /// Those of the cluster, if there are any.
    pub(super) fn read(vault: &Vault, state: &State) -> Result<Option<Self>, VaultError> {
        if !Self::is_set(state) {
            return Ok(None);
        }
        let bytes = vault.read(state, &Self::name())?;
        serde_json::from_slice(&bytes).map(Some).map_err(|_| VaultError::Damaged(Self::name()))
    }

    /// Whether they make sense.
    pub fn check(&self) -> Result<(), SettingsError> {
        let url = Url::parse(&self.issuer).map_err(|_| SettingsError::Issuer)?;
        let is_here = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
        let is_safe = url.scheme() == "https" || url.scheme() == "http" && is_here;
        if !is_safe || !is_plain || url.host().is_none() || self.issuer.len() > MAX_LEN {
            return Err(SettingsError::Issuer);
        }
        let fits = |text: &str| (1..=MAX_LEN).contains(&text.len());
        let is_word = |scope: &String| fits(scope) && scope.bytes().all(|byte| byte.is_ascii_graphic());
        let secret_fits = self.client_secret.as_ref().is_none_or(|secret| fits(secret.as_secret()));
        let scopes_fit = self.scopes.len() <= MAX_SCOPES && self.scopes.iter().all(is_word);
        if fits(&self.client_id) && secret_fits && scopes_fit { Ok(()) } else { Err(SettingsError::Client) }
    }

    /// The command that has these count from then on.
    pub fn store(&self, vault: &Vault, state: &State) -> Result<Command, VaultError> {
        let bytes = Zeroizing::new(serde_json::to_vec(self).map_err(|_| VaultError::Crypto)?);
        let secret = vault.encrypt(state, &Self::name(), &bytes)?;
        Ok(Command::PutSecret(PutSecret { name: Self::name(), secret }))
    }

    /// The command after which there is no provider.
    pub fn forget() -> Command {
        Command::RemoveSecret(Self::name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(issuer: &str) -> OidcSettings {
        OidcSettings {
            issuer: issuer.to_owned(),
            client_id: "festoon".to_owned(),
            client_secret: Some(SecretText::new(Zeroizing::new("a secret".to_owned()))),
            scopes: vec!["email".to_owned()],
        }
    }

    #[test]
    fn a_provider_is_reached_so_that_nobody_listens() {
        for good in
            ["https://id.example.com", "https://id.example.com/realms/a", "http://127.0.0.1:8080", "http://[::1]/"]
        {
            assert_eq!(settings(good).check(), Ok(()), "{good}");
        }
        for bad in [
            "",
            "id.example.com",
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "https://a/?b",
            "file:///x",
            "https://u@a/",
            "https://a/#b",
        ] {
            assert_eq!(settings(bad).check(), Err(SettingsError::Issuer), "{bad}");
        }
        let good = || settings("https://id.example.com");
        let none = OidcSettings { client_secret: None, ..good() };
        assert_eq!(none.check(), Ok(()));
        for bad in [
            OidcSettings { client_id: String::new(), ..good() },
            OidcSettings { client_secret: Some(SecretText::new(Zeroizing::default())), ..good() },
            OidcSettings { scopes: vec!["two words".to_owned()], ..good() },
            OidcSettings { scopes: vec!["a".to_owned(); MAX_SCOPES + 1], ..good() },
        ] {
            assert_eq!(bad.check(), Err(SettingsError::Client), "{bad:?}");
        }
        assert!(!format!("{:?}", good()).contains("a secret"));
    }
}
