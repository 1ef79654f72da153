//! Logging in at an identity provider: OpenID Connect, the authorization code flow (Core, section 3.1) with PKCE (RFC 7636).
//!
//! Only who was linked by an owner gets in. Between the two halves nothing is kept here but in the browser: any manager that
//! goes by the same name can finish what another began.

mod http;
mod pending;
mod settings;

use std::net::IpAddr;
use std::time::Duration;

use festoon_control::registry::{LogIn, OidcIdentity, Outcome, Proof, Refusal, State, UnixMs};
use openidconnect::core::{CoreAuthPrompt, CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AuthorizationCode, ClientId, ClientSecret, CsrfToken, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, TokenResponse as _,
};
use zeroize::Zeroizing;

use super::limits::TooMany;
use super::log_in::{Accounts, LoggedIn, SESSION_MS, by_newcomer};
use super::secret::{Secret, SessionSecret};
use crate::cluster::ProposeError;
use crate::vault::VaultError;

pub use http::HttpError;
pub use pending::Pending;
pub use settings::{OidcSettings, SettingsError};

/// For all that a provider is asked in one half of a login: the browser gets an answer before its request ends, even after a
/// change of the registry that takes as long as it may.
const LIMIT: Duration = Duration::from_secs(15);

/// Nobody is let in.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// There is no provider.
    #[error("this cluster has no identity provider: log in with a password, or ask an owner to set one")]
    None,
    /// After too many tries.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The provider does not answer, or not as it should.
    #[error("the identity provider can't be used now: {0}")]
    Provider(String),
    /// It is not the browser that began it, or too late.
    #[error("this login was begun in another browser, or too long ago: begin it again")]
    NotBegun,
    /// The provider lets nobody in.
    #[error("the identity provider refuses: {0}")]
    Refused(String),
    /// Nobody is linked to whom it names.
    #[error("nobody here is {} of {}: ask an owner to link a user to that identity", .0.subject, .0.issuer)]
    Unknown(OidcIdentity),
    /// The settings can't be read here.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// They make no sense.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The registry takes nothing now.
    #[error(transparent)]
    Propose(#[from] ProposeError),
}

/// Where a login leads.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser is to go.
    pub to: String,
    /// What it has to bring back.
    pub pending: Pending,
}

/// What the browser brings back.
#[derive(Debug)]
pub struct Answer {
    /// What it was given when it began.
    pub pending: Option<Pending>,
    /// What the provider gave it.
    pub code: Option<Zeroizing<String>>,
    /// What was given to the provider.
    pub state: Option<String>,
    /// Why the provider refuses, if it does.
    pub error: Option<String>,
    /// Where the provider was to send it: the same as when it began.
    pub callback: String,
    /// From which address it comes.
    pub from: IpAddr,
    /// What it is, as it says.
    pub agent: String,
}

impl Accounts {
    /// The provider, if there is one.
    pub fn oidc(&self, state: &State) -> Result<Option<OidcSettings>, VaultError> {
        OidcSettings::read(&self.vault, state)
    }

    /// Begins a login. The provider will send the browser to `callback`.
    ///
    /// To confirm that it is the user who sits there, the provider has to ask for what it knows the user by, also if that is
    /// logged in there already.
    pub async fn begin_oidc(
        &self,
        callback: &str,
        from: IpAddr,
        is_confirmation: bool,
        now: UnixMs,
    ) -> Result<Begun, OidcError> {
        let settings = self.oidc(&self.cluster.snapshot())?.ok_or(OidcError::None)?;
        // Each costs a question to the provider.
        self.count_nameless(from, now)?;
        let metadata = within_limit(discover(&settings)).await?;
        let client = CoreClient::from_provider_metadata(metadata, ClientId::new(settings.client_id.clone()), None)
            .set_redirect_uri(redirect(callback)?);
        let pending = Pending::generate();
        let (state, nonce) = (pending.state().to_owned(), pending.nonce().to_owned());
        let verifier = PkceCodeVerifier::new(pending.verifier().to_owned());
        let scopes = settings.scopes.iter().filter(|scope| *scope != "openid").cloned().map(Scope::new);
        let request = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || CsrfToken::new(state), || Nonce::new(nonce))
            .add_scopes(scopes)
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier));
        let (to, ..) = match is_confirmation {
            true => request.add_prompt(CoreAuthPrompt::Login).set_max_age(Duration::ZERO).url(),
            false => request.url(),
        };
        Ok(Begun { to: to.to_string(), pending })
    }

    /// Logs in whoever the provider says it is.
    pub async fn finish_oidc(&self, answer: Answer, now: UnixMs) -> Result<LoggedIn, OidcError> {
        let settings = self.oidc(&self.cluster.snapshot())?.ok_or(OidcError::None)?;
        self.count_nameless(answer.from, now)?;
        let pending = answer.pending.filter(|pending| answer.state.as_deref() == Some(pending.state()));
        let pending = pending.ok_or(OidcError::NotBegun)?;
        if let Some(error) = answer.error {
            return Err(OidcError::Refused(error.chars().filter(|c| !c.is_control()).take(100).collect()));
        }
        let code = answer.code.ok_or(OidcError::NotBegun)?;
        let (identity, seen) = within_limit(identify(&settings, &pending, &code, &answer.callback)).await?;
        let logged_in = self.begin_as(identity, (answer.from, answer.agent), seen, now).await?;
        // Both halves were counted.
        self.give_back_nameless(answer.from);
        self.give_back_nameless(answer.from);
        Ok(logged_in)
    }

    async fn begin_as(
        &self,
        identity: OidcIdentity,
        (from, agent): (IpAddr, String),
        seen: UnixMs,
        now: UnixMs,
    ) -> Result<LoggedIn, OidcError> {
        let state = self.cluster.snapshot();
        let user = state.user_with(&identity).filter(|user| user.is_enabled);
        let user = user.ok_or_else(|| OidcError::Unknown(identity.clone()))?;
        let secret = Secret::generate();
        let command = LogIn {
            user: user.id,
            proof: Proof::Identity(identity.clone()),
            checked: user.credentials_changed,
            hash: secret.hash(),
            from,
            agent,
            now,
            confirmed: seen,
            expires: now.after(SESSION_MS),
        };
        let command = festoon_control::registry::Command::LogIn(command);
        match self.cluster.propose(by_newcomer(command, from)).await {
            Ok(Outcome::Session(id)) => {
                let session = SessionSecret { id, secret };
                Ok(LoggedIn { user: user.id, session, lasts_s: SESSION_MS / 1000 })
            }
            Err(ProposeError::Refused(Refusal::Account(_))) | Ok(_) => Err(OidcError::Unknown(identity)),
            Err(error) => Err(error.into()),
        }
    }
}

async fn within_limit<T>(asked: impl Future<Output = Result<T, OidcError>>) -> Result<T, OidcError> {
    let too_slow = |_| OidcError::Provider("it takes too long to answer".to_owned());
    tokio::time::timeout(LIMIT, asked).await.map_err(too_slow)?
}

/// Asks the provider who it is. The answer must name the same issuer (Discovery, section 4.3).
async fn discover(settings: &OidcSettings) -> Result<CoreProviderMetadata, OidcError> {
    settings.check()?;
    let issuer = IssuerUrl::new(settings.issuer.clone()).map_err(|_| SettingsError::Issuer)?;
    let http = http::client().await.map_err(provider)?;
    let ask = |request| http::ask(http.clone(), request);
    CoreProviderMetadata::discover_async(issuer, &ask).await.map_err(provider)
}

/// Who it is, by the ID token that the provider gives for this code: signed by it, for us, for this login, of now. And when the user
/// logged in there, as far as the provider says: it may have been long before (OpenID Connect Core, section 2, `auth_time`).
async fn identify(
    settings: &OidcSettings,
    pending: &Pending,
    code: &str,
    callback: &str,
) -> Result<(OidcIdentity, UnixMs), OidcError> {
    let metadata = discover(settings).await?;
    let secret = settings.client_secret.as_ref().map(|secret| ClientSecret::new(secret.as_secret().to_owned()));
    let client = CoreClient::from_provider_metadata(metadata, ClientId::new(settings.client_id.clone()), secret)
        .set_redirect_uri(redirect(callback)?);
    let exchange = client.exchange_code(AuthorizationCode::new(code.to_owned())).map_err(provider)?;
    let http = http::client().await.map_err(provider)?;
    let ask = |request| http::ask(http.clone(), request);
    let verifier = PkceCodeVerifier::new(pending.verifier().to_owned());
    let tokens = exchange.set_pkce_verifier(verifier).request_async(&ask).await.map_err(provider)?;
    let id_token = tokens.id_token().ok_or_else(|| OidcError::Provider("it gives no ID token".to_owned()))?;
    let nonce = Nonce::new(pending.nonce().to_owned());
    let claims = id_token.claims(&client.id_token_verifier(), &nonce).map_err(provider)?;
    let seen = claims.auth_time().map_or(0, |at| u64::try_from(at.timestamp_millis()).unwrap_or_default());
    let identity = OidcIdentity { issuer: claims.issuer().to_string(), subject: claims.subject().to_string() };
    Ok((identity, UnixMs(seen)))
}

fn redirect(callback: &str) -> Result<RedirectUrl, OidcError> {
    RedirectUrl::new(callback.to_owned()).map_err(|_| OidcError::NotBegun)
}

/// The innermost error says what is wrong; those around it, that something is.
fn provider(error: impl std::error::Error) -> OidcError {
    let mut text = error.to_string();
    let mut inner: &dyn std::error::Error = &error;
    while let Some(source) = inner.source() {
        inner = source;
        text = inner.to_string();
    }
    OidcError::Provider(text.lines().collect::<Vec<_>>().join(" ").chars().take(200).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_answered_before_its_request_ends() {
        let change = Duration::from_secs(2);
        assert!(LIMIT + change < crate::https::REQUEST_TIMEOUT);
    }
}
