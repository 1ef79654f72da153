//! What the agent asks of managers over HTTPS.

mod client;
mod trust;

pub use client::{Checked, Client, RequestError};

use std::fmt::Write as _;
use std::net::SocketAddr;

use festoon_proto::Fingerprint;

/// No manager gave what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// At least one understood and refused.
    #[error("{0}")]
    Refused(RequestError),
    /// None answered.
    #[error("no manager answers ({})", list(.0))]
    NoAnswer(Vec<RequestError>),
}

impl AskError {
    /// Whether a manager does not know the endpoint any more.
    pub fn is_removed(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_removed())
    }

    /// Whether a manager says that the endpoint was removed for good, whatever its credential is.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Refused(error) if error.is_gone())
    }
}

fn list(errors: &[RequestError]) -> String {
    let mut text = String::new();
    for error in errors {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{error}");
    }
    if text.is_empty() { "none is known".into() } else { text }
}

/// Asks one manager after the other until one gives an answer. Believes those of the CAs `authorities`.
///
/// A refusal is not the end: the manager may be behind the others and not know of the token or endpoint yet.
pub async fn ask_any<T, F>(
    managers: &[SocketAddr],
    authorities: &[Fingerprint],
    ask: impl Fn(Client) -> F,
) -> Result<T, AskError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let mut refused = None;
    let mut unanswered = Vec::new();
    for &manager in managers {
        let answer = match Client::new(manager, authorities) {
            Ok(client) => ask(client).await,
            Err(error) => Err(error),
        };
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error @ RequestError::Refused { .. }) => refused = refused.or(Some(error)),
            Err(error) => unanswered.push(error),
        }
    }
    Err(refused.map_or(AskError::NoAnswer(unanswered), AskError::Refused))
}

#[cfg(test)]
pub(crate) mod tests;
