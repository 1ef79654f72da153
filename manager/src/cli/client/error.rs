//! Why a request got no answer that is of use.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use festoon_api::Problem;

/// A request failed.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ClientError {
    /// No manager runs on this data directory.
    #[error(
        "no manager runs on {0}: start one with `festoon-manager serve`, name its --data-dir, or `festoon-manager login` to one elsewhere"
    )]
    NotRunning(PathBuf),
    /// Not for this user.
    #[error("{0} is for its owner alone: run this as root or as the user that runs the manager")]
    NotAllowed(PathBuf),
    /// The manager refuses.
    #[error("{}", .0.title)]
    Refused(Problem),
    /// The manager has had too much to do for long.
    #[error("{} (tried again for {} s)", .problem.title, .waited.as_secs())]
    Busy {
        /// What it says.
        problem: Problem,
        /// How long.
        waited: Duration,
    },
    /// None of the servers answers.
    #[error("no manager answers: {0}")]
    Unreachable(String),
    /// The connection broke after the request was sent.
    #[error("the manager does not answer, and it is not known whether it did what was asked: look, or see its log")]
    NoAnswer,
    /// A session has to be confirmed, and nobody is there to do it.
    #[error(
        "your session has to be confirmed for this, and there is no terminal to ask for your password at: set {0}, or use an API token that was made with `api-tokens add --sensitive`"
    )]
    Unconfirmed(&'static str),
    /// What was to be shown can't be a header.
    #[error("the API token or session has characters that none has: copy all of it, and nothing else")]
    BadCredential,
    /// What it answers can't be written down.
    #[error("can't write it down: {0}")]
    Output(io::Error),
    /// The manager speaks another version.
    #[error("the manager gives an answer that this program does not understand: run the same version of both")]
    Nonsense,
}
