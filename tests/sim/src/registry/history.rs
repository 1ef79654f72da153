//! What clients asked for and what they were told.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use festoon_cluster::{Applied, ProposeError};
use festoon_control::registry::{Addresses, Command, Outcome, Refusal};
use festoon_proto::ManagerId;

/// What came of a call that was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) result: Result<Outcome, Refusal>,
    /// The addresses of the endpoint that it made, unless that was gone again already.
    pub(super) addresses: Option<Addresses>,
    /// Its place in the log.
    pub(super) place: u64,
}

/// What a client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was carried out, and this came of it.
    Said(Said),
    /// It failed, and nothing was changed for certain.
    Unchanged,
    /// It failed, and may have been carried out, or may still be.
    Unknown,
}

impl From<Result<Applied, ProposeError>> for Answer {
    fn from(answer: Result<Applied, ProposeError>) -> Self {
        match answer {
            // It was made by a clock that is wrong, and has no place in the log.
            Ok(Applied { result: Some(Err(Refusal::Clock(_))), .. }) => Self::Unchanged,
            Ok(Applied { index, result: Some(result) }) => Self::Said(Said { result, addresses: None, place: index }),
            Err(
                ProposeError::Busy { .. }
                | ProposeError::NoQuorum { is_uncertain: false, .. }
                | ProposeError::StillNeeded { is_uncertain: false, .. },
            ) => Self::Unchanged,
            _ => Self::Unknown,
        }
    }
}

/// A command that a client proposed. Moments are places in the order of everything that all clients did.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// Which client. Each waits for its answer before it goes on.
    pub(super) client: u64,
    /// Through which manager.
    pub(super) through: ManagerId,
    pub(super) command: Command,
    pub(super) invoked: usize,
    /// When it was answered, and what.
    pub(super) returned: Option<(usize, Answer)>,
}

impl Call {
    /// What was said for certain.
    pub(super) fn said(&self) -> Option<&Said> {
        match &self.returned {
            Some((_, Answer::Said(said))) => Some(said),
            _ => None,
        }
    }

    /// Whether it was acknowledged: carried out, and not refused.
    pub(super) fn is_acknowledged(&self) -> bool {
        self.said().is_some_and(|said| said.result.is_ok())
    }

    /// Whether it may have been carried out though nobody said so.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.returned, None | Some((_, Answer::Unknown)))
    }

    /// The moment of its answer; never, if it got none that says anything.
    pub(super) fn end(&self) -> usize {
        match self.returned {
            Some((at, _)) if !self.is_unknown() => at,
            _ => usize::MAX,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { client, through, command, invoked, returned } = self;
        write!(f, "at {invoked} client {client} through {through}: {command:?}: {returned:?}")
    }
}

/// All calls, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Calls>);

#[derive(Debug, Default)]
struct Calls {
    calls: Vec<Call>,
    moments: usize,
}

impl Calls {
    fn moment(&mut self) -> usize {
        self.moments += 1;
        self.moments
    }
}

impl History {
    /// A client proposes. Gives the number of the call.
    pub(super) fn invoke(&self, client: u64, through: ManagerId, command: Command) -> usize {
        let mut calls = self.calls();
        let invoked = calls.moment();
        calls.calls.push(Call { client, through, command, invoked, returned: None });
        calls.calls.len() - 1
    }

    /// It is told something.
    pub(super) fn answer(&self, call: usize, answer: Answer) {
        let mut calls = self.calls();
        let at = calls.moment();
        if let Some(call) = calls.calls.get_mut(call) {
            call.returned = Some((at, answer));
        }
    }

    /// This moment.
    pub(super) fn moment(&self) -> usize {
        self.calls().moment()
    }

    /// How many calls there were.
    pub(super) fn count(&self) -> usize {
        self.calls().calls.len()
    }

    /// All calls so far.
    pub(super) fn all(&self) -> Vec<Call> {
        self.calls().calls.clone()
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
