//! What the agent asks of managers over HTTPS.

mod client;
mod managers;
mod trust;

pub use client::{Checked, Client, RequestError};
pub use managers::Managers;
use managers::Place;

use std::fmt::Write as _;

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

    /// Whether the same request may be answered soon.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::NoAnswer(errors) if errors.iter().any(RequestError::may_pass))
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

/// Asks one manager after the other until one gives an answer.
///
/// A refusal is not the end: the manager may be behind the others and not know of the token or endpoint yet.
pub async fn ask_any<T, F>(managers: &Managers, ask: impl Fn(Client) -> F) -> Result<T, AskError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    let mut refused = None;
    let mut unanswered = Vec::new();
    for &place in &managers.places {
        let mut answer = ask_at(managers, place, &ask).await;
        if matches!(answer, Err(RequestError::Untrusted { .. }))
            && let Some(restored) = restored(managers, place).await
        {
            answer = ask_at(managers, restored, &ask).await;
        }
        match answer {
            Ok(answer) => return Ok(answer),
            Err(error @ RequestError::Refused { .. }) => refused = refused.or(Some(error)),
            Err(error) => unanswered.push(error),
        }
    }
    Err(refused.map_or(AskError::NoAnswer(unanswered), AskError::Refused))
}

async fn ask_at<T, F>(managers: &Managers, place: Place, ask: &impl Fn(Client) -> F) -> Result<T, RequestError>
where
    F: Future<Output = Result<T, RequestError>>,
{
    ask(Client::new(place, &managers.authorities)?).await
}

/// The manager that is in the place of another since the cluster was restored, if it proves that. It is told no secret before.
async fn restored(managers: &Managers, place: Place) -> Option<Place> {
    let known = managers.known.as_ref()?;
    let stranger = Place { manager: None, signing_key: None, ..place };
    let proof = Client::new(stranger, &managers.authorities).ok()?.epoch().await.ok()??;
    let (manager, signing_key) = known.restored(&proof)?;
    tracing::warn!(%manager, at = %place.at, epoch = %proof.epoch, "the cluster was restored from a snapshot: this manager is new, and proved it with the recovery key");
    Some(Place { manager: Some(manager), signing_key: Some(signing_key), ..stranger })
}

#[cfg(test)]
pub(crate) mod tests;
