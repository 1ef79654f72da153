//! What went wrong, and what a script sees of it.

use std::io;
use std::process::ExitCode;

use super::client::ClientError;

/// What a command itself finds wrong.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// There is none of that name.
    #[error("there is no {what} {name}: see `festoon-manager {list}` for those there are")]
    Unknown { what: &'static str, name: String, list: &'static str },
    /// There are several of that name.
    #[error("there are several {what}s {name}: name {ids} instead")]
    Ambiguous { what: &'static str, name: String, ids: String },
    /// Somebody has to say that it is meant.
    #[error("{0}: add --yes if that is meant")]
    Unconfirmed(String),
    /// Somebody said that it is not meant.
    #[error("nothing was changed")]
    Declined,
    /// Nobody is logged in.
    #[error("{0}")]
    NotLoggedIn(String),
}

/// What the program ends with. The numbers are for good: scripts know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Exit {
    /// It was refused, or failed.
    Failed = 1,
    /// The command line makes no sense.
    Usage = 2,
    /// What is named is not there.
    NotFound = 3,
    /// It is there already, is in use, or was changed meanwhile.
    Conflict = 4,
    /// Not with this login, or without one.
    NotAllowed = 5,
    /// No manager answers.
    Unreachable = 6,
}

/// What the program ends with after `error`; nothing if whoever read the output has had enough.
pub fn exit_code(error: &anyhow::Error) -> Option<ExitCode> {
    let exit = error.chain().find_map(|cause| {
        if let Some(fault) = cause.downcast_ref() {
            return Some(Some(of_fault(fault)));
        }
        if let Some(error) = cause.downcast_ref() {
            return Some(Some(of_client(error)));
        }
        let broken = cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
        broken.then_some(None)
    });
    exit.unwrap_or(Some(Exit::Failed)).map(|exit| ExitCode::from(exit as u8))
}

const fn of_fault(fault: &Fault) -> Exit {
    match fault {
        Fault::Usage(_) | Fault::Unconfirmed(_) => Exit::Usage,
        Fault::Unknown { .. } => Exit::NotFound,
        Fault::Ambiguous { .. } => Exit::Conflict,
        Fault::Declined => Exit::Failed,
        Fault::NotLoggedIn(_) => Exit::NotAllowed,
    }
}

fn of_client(error: &ClientError) -> Exit {
    match error {
        ClientError::NotRunning(_) | ClientError::Unreachable(_) | ClientError::NoAnswer => Exit::Unreachable,
        ClientError::NotAllowed(_) | ClientError::BadCredential | ClientError::Unconfirmed(_) => Exit::NotAllowed,
        ClientError::Output(_) | ClientError::Nonsense | ClientError::Busy { .. } => Exit::Failed,
        ClientError::Refused(problem) => match problem.status {
            401 | 403 => Exit::NotAllowed,
            404 => Exit::NotFound,
            409 | 412 | 428 => Exit::Conflict,
            _ => Exit::Failed,
        },
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use festoon_api::Problem;

    use super::*;

    #[test]
    fn scripts_can_tell_failures_apart() {
        let refused = |status| ClientError::Refused(Problem { kind: String::new(), title: String::new(), status });
        let unknown = Fault::Unknown { what: "network", name: "x".to_owned(), list: "networks list" };
        for (error, expected) in [
            (anyhow::anyhow!("x"), 1),
            (refused(422).into(), 1),
            (refused(503).into(), 1),
            (Fault::Unconfirmed(String::new()).into(), 2),
            (unknown.into(), 3),
            (refused(404).into(), 3),
            (refused(409).into(), 4),
            (refused(412).into(), 4),
            (refused(401).into(), 5),
            (refused(403).into(), 5),
            (ClientError::Unconfirmed("X").into(), 5),
            (ClientError::NotRunning("x".into()).into(), 6),
            (Err::<(), _>(ClientError::NoAnswer).context("more").unwrap_err(), 6),
        ] {
            assert_eq!(exit_code(&error), Some(ExitCode::from(expected)), "{error:?}");
        }
        assert_eq!(exit_code(&io::Error::from(io::ErrorKind::BrokenPipe).into()), None);
    }
}
