//! Proving once more who one is, and what that is asked for.

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use festoon_api::{SecretText, SessionConfirm, Whoami};

use super::session::{self, From as Whence};
use super::{Api, Caller};
use crate::accounts::{ConfirmationError, LogInError, Shown, Unconfirmed};
use crate::https::{ApiJson, Refused};

impl Api {
    /// Refuses a caller that has not proved lately who it is. To be asked before what gives power over the whole cluster: whatever
    /// makes owners, changes what owners log in with, lets managers in, or gives out all that the cluster knows.
    pub(super) fn check_confirmed(&self, caller: &Caller) -> Result<(), Refused> {
        Ok(caller.check_confirmed(&self.cluster.snapshot(), self.cluster.now())?)
    }
}

/// Confirms the session that asks, with what a login needs: the password, and a code if there is a second factor. For 10 minutes
/// it may then do what is refused with `confirmation-needed`. Whoever logs in at an identity provider alone logs in there once
/// more, at `/session/oidc?confirm=true`.
#[utoipa::path(post, path = "/session/confirm", tag = "session", request_body = SessionConfirm,
    responses((status = 200, body = Whoami)))]
pub(super) async fn confirm_session(
    Shared(api): Shared<Api>,
    caller: Caller,
    Whence(from): Whence,
    headers: HeaderMap,
    ApiJson(SessionConfirm { password, code }): ApiJson<SessionConfirm>,
) -> Result<Json<Whoami>, Refused> {
    let (password, code) = (password.into_secret(), code.map(SecretText::into_secret));
    api.accounts.confirm(&caller, Shown { password, code, from }, api.cluster.now()).await?;
    Ok(session::show(Shared(api), caller, headers).await)
}

impl From<Unconfirmed> for Refused {
    fn from(error: Unconfirmed) -> Self {
        Self::new(StatusCode::FORBIDDEN, error.kind(), &error.to_string())
    }
}

impl From<ConfirmationError> for Refused {
    fn from(error: ConfirmationError) -> Self {
        let text = error.to_string();
        match error {
            ConfirmationError::NoSession => Self::new(StatusCode::CONFLICT, "no-session", &text),
            ConfirmationError::NoPassword => Self::new(StatusCode::CONFLICT, "no-password", &text),
            ConfirmationError::Wrong => Self::new(StatusCode::FORBIDDEN, "wrong-password", &text),
            // The session is good: 401 would say that it is not.
            ConfirmationError::LogIn(LogInError::CodeNeeded) => Self::new(StatusCode::FORBIDDEN, "code-needed", &text),
            ConfirmationError::LogIn(error) => error.into(),
        }
    }
}
