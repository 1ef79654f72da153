//! Confirming a session when a manager asks for that.

use axum::http::Method;
use festoon_api::{SecretText, SessionConfirm, Whoami};
use zeroize::Zeroizing;

use super::{Ask, Client, ClientError, Credential, api};
use crate::cli::output::{ask_secret, is_interactive};

/// What a manager refuses with until the session is confirmed.
const NEEDED: &str = "confirmation-needed";
/// May have the password, and a code of the second factor.
const VARIABLES: [&str; 2] = ["FESTOON_PASSWORD", "FESTOON_CODE"];

impl Client {
    /// As `exchange` answers. If the session has to be confirmed first, whoever is at the terminal is asked for the password, and it
    /// is done again.
    pub(super) async fn confirmed<T>(
        &self,
        mut exchange: impl AsyncFnMut() -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        match exchange().await {
            Err(ClientError::Refused(problem)) if problem.kind == NEEDED && self.has_session() => {
                self.confirm().await?;
                exchange().await
            }
            answer => answer,
        }
    }

    const fn has_session(&self) -> bool {
        matches!(self.credential, Some(Credential::Session(_)))
    }

    async fn confirm(&self) -> Result<(), ClientError> {
        let [password, code] = VARIABLES;
        let password = secret("This has to be confirmed. Your password: ", password)?;
        let mut shown = SessionConfirm { password: SecretText::new(password), code: None };
        match self.send_confirmation(&shown).await {
            Err(ClientError::Refused(problem)) if problem.kind == "code-needed" => {}
            answer => return answer,
        }
        shown.code = Some(SecretText::new(secret("Code of the second factor, or a recovery code: ", code)?));
        self.send_confirmation(&shown).await
    }

    async fn send_confirmation(&self, shown: &SessionConfirm) -> Result<(), ClientError> {
        let ask = Ask::new(Method::POST, &api("/session/confirm")).json(shown)?;
        let answer = self.bytes_once(&ask).await?;
        serde_json::from_slice::<Whoami>(&answer).map(drop).map_err(|_| ClientError::Nonsense)
    }
}

/// The secret of the environment's `variable`, or from a person.
fn secret(question: &str, variable: &'static str) -> Result<Zeroizing<String>, ClientError> {
    match festoon_secrets::variable(variable) {
        Some(secret) => Ok(secret),
        None if is_interactive() => ask_secret(question).map_err(|_| ClientError::Unconfirmed(variable)),
        None => Err(ClientError::Unconfirmed(variable)),
    }
}
