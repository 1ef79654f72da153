//! The way of a change from a handler into the registry.

use festoon_control::registry::{Change, Command, Deed, IdempotencyKey, Outcome, Unchanged};

use super::{Api, Caller};
use crate::cluster::ProposeError;
use crate::https::Refused;

/// A change that a caller wants.
pub(super) struct Wanted<'a> {
    pub(super) caller: &'a Caller,
    pub(super) command: Command,
    pub(super) only_if: Option<Unchanged>,
    pub(super) key: Option<IdempotencyKey>,
}

impl<'a> Wanted<'a> {
    pub(super) const fn new(caller: &'a Caller, command: Command) -> Self {
        Self { caller, command, only_if: None, key: None }
    }

    pub(super) fn only_if(self, only_if: Option<Unchanged>) -> Self {
        Self { only_if, ..self }
    }

    pub(super) fn key(self, key: Option<IdempotencyKey>) -> Self {
        Self { key, ..self }
    }
}

impl Api {
    /// Carries out what a caller wants. When it returns, [`Cluster::snapshot`](crate::cluster::Cluster::snapshot) has it.
    pub(super) async fn change(&self, wanted: Wanted<'_>) -> Result<Outcome, Refused> {
        Ok(self.propose(wanted).await?)
    }

    /// Writes down what was done without the registry. It is done: a registry that can't be changed now makes it no failure.
    pub(super) async fn note(&self, caller: &Caller, deed: Deed) {
        if let Err(error) = self.propose(Wanted::new(caller, Command::Note(deed))).await {
            tracing::warn!(?deed, by = ?caller.author.who, %error, "the audit log does not have what was done");
        }
    }

    /// As [`Api::change`], for whoever can do without.
    pub(super) async fn propose(&self, wanted: Wanted<'_>) -> Result<Outcome, ProposeError> {
        let Wanted { caller, command, only_if, key } = wanted;
        let change = Change { command, by: caller.author, at: self.cluster.now(), only_if, key };
        self.cluster.propose(change).await
    }
}
