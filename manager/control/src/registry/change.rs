//! A change of the registry: a command, who wants it, and on what conditions.

use std::net::IpAddr;

use festoon_proto::map::MapVersion;
use festoon_proto::{ApiTokenId, EndpointId, ManagerId, SessionId, UserId};
use serde::{Deserialize, Serialize};

use super::answers::{self, IdempotencyKey};
use super::apply::apply_one;
use super::audit::{self, Entry, Origin};
use super::format::FormatError;
use super::local_user::LocalUser;
use super::subject::Subject;
use super::{Command, Outcome, Refusal, State, UnixMs, endpoints};

/// Commands that one batch may have.
pub const MAX_BATCH: usize = 1_000;

/// A command on its way into the log, with all that decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// What is to be done.
    pub command: Command,
    /// Who wants it.
    pub by: Author,
    /// When that was.
    pub at: UnixMs,
    /// It is refused if this is no longer so.
    pub only_if: Option<Unchanged>,
    /// Tells it from every other of the same author, so that one which is sent again is carried out once.
    pub key: Option<IdempotencyKey>,
}

/// By the managers themselves, on no condition.
impl From<Command> for Change {
    fn from(command: Command) -> Self {
        let at = command.now().unwrap_or_default();
        Self { command, by: Author::CLUSTER, at, only_if: None, key: None }
    }
}

/// Who wants a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Author {
    /// Who, and with which credential.
    pub who: Who,
    /// From which address, if it came over the network.
    pub from: Option<IpAddr>,
}

impl Author {
    /// The managers, who keep house.
    pub const CLUSTER: Self = Self { who: Who::Cluster, from: None };
}

/// Who wants a change, and how that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Who {
    /// The managers, who keep house.
    Cluster,
    /// A manager, by its certificate.
    Manager(ManagerId),
    /// Somebody who may open the admin socket of a manager.
    Local {
        /// Whose socket.
        manager: ManagerId,
        /// Who.
        user: LocalUser,
    },
    /// A person who is logged in.
    User {
        /// Who.
        user: UserId,
        /// Where.
        session: SessionId,
    },
    /// A program.
    ApiToken {
        /// Its token.
        token: ApiTokenId,
        /// Whose token that is.
        user: UserId,
    },
    /// An agent, by its credential.
    Endpoint(EndpointId),
    /// Somebody who shows a one-time secret: a newcomer, or a person who logs in.
    Newcomer,
}

/// The condition that nobody has changed something meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchanged {
    /// What.
    pub subject: Subject,
    /// The last command that had changed it.
    pub since: MapVersion,
}

/// A condition does not hold, or a batch is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ChangeError {
    /// Somebody was faster.
    #[error("{0} was changed or removed meanwhile: look at it as it is now, then try again")]
    Stale(Subject),
    /// A key came with something else before.
    #[error("this idempotency key was used for another request: use a new one for each request")]
    KeyReused,
    /// It is empty or too long.
    #[error("a batch has 1 to {MAX_BATCH} parts, not {0}")]
    BatchLength(usize),
    /// It has a batch in it, or what stands alone.
    #[error("part {0} can't be part of a batch: send it alone")]
    BatchPart(usize),
    /// One of them is refused, and so none is carried out.
    #[error("part {at} is refused, so nothing was changed: {because}")]
    InBatch {
        /// Which, from 0.
        at: usize,
        /// Why.
        because: Box<Refusal>,
    },
}

impl ChangeError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Stale(_) => "changed-meanwhile",
            Self::KeyReused => "idempotency-key-reused",
            Self::BatchLength(_) | Self::BatchPart(_) => "bad-batch",
            Self::InBatch { because, .. } => because.kind(),
        }
    }
}

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The state after it.
    pub state: State,
    /// What it made.
    pub outcome: Outcome,
    /// What is written of it.
    pub entries: Vec<Entry>,
}

/// The state after `change`, which stands at `index` in the log.
///
/// Deterministic: the same state, index and change give the same result on every manager, a refusal included. A change that
/// is refused changes nothing, not even the version. One whose key was seen before changes nothing either, and is answered as
/// it was then.
///
/// Nobody stands for it: what comes over the network is carried out by
/// [`carry_out_vouched`](super::carry_out_vouched).
pub fn carry_out(state: &State, index: u64, change: &Change) -> Result<Carried, Refusal> {
    carry_out_for(state, index, change, None)
}

/// As [`carry_out`], of a change that this manager stands for.
pub(super) fn carry_out_for(
    state: &State,
    index: u64,
    change: &Change,
    voucher: Option<ManagerId>,
) -> Result<Carried, Refusal> {
    match (state.cluster(), &change.command) {
        (None, Command::Bootstrap(_)) => {}
        (None, _) => return Err(Refusal::NoCluster),
        (Some(_), Command::Bootstrap(_)) => return Err(Refusal::HasCluster),
        (Some(_), _) => {}
    }
    let (needed, cluster) = (change.command.since(), state.format());
    if needed > cluster {
        return Err(FormatError::NotYet { needed, cluster }.into());
    }
    if let Some(key) = &change.key
        && let Some(outcome) = answers::find(state, key, change.at)?
    {
        return Ok(Carried { state: state.clone(), outcome, entries: Vec::new() });
    }
    let mut next = state.at(index);
    let mut entries = Vec::new();
    // An endpoint whose time is over must not act in the moment before that is noticed.
    if let Some(now) = change.command.now().max(change.is_dated().then_some(change.at)) {
        audit::of_expiry(&mut next, now, &mut entries);
    }
    check(&next, change.only_if)?;
    let origin = Origin { by: change.by, at: change.at, voucher };
    if let Who::Endpoint(id) = change.by.who {
        endpoints::check_may_act(&next, id, &change.command)?;
    }
    let outcome = match &change.command {
        Command::Batch(commands) => Outcome::Batch(apply_batch(&mut next, origin, commands, &mut entries)?),
        command => audit::observed(&mut next, origin, command, &mut entries, apply_one)?,
    };
    if let Some(key) = change.key {
        answers::remember(&mut next, key, &outcome, change.at);
    }
    Ok(Carried { state: next, outcome, entries })
}

fn check(state: &State, condition: Option<Unchanged>) -> Result<(), ChangeError> {
    match condition {
        Some(Unchanged { subject, since }) if subject.changed(state) != Some(since) => Err(ChangeError::Stale(subject)),
        _ => Ok(()),
    }
}

/// Carries out all or none.
fn apply_batch(
    state: &mut State,
    origin: Origin,
    commands: &[Command],
    entries: &mut Vec<Entry>,
) -> Result<Vec<Outcome>, Refusal> {
    if !(1..=MAX_BATCH).contains(&commands.len()) {
        return Err(ChangeError::BatchLength(commands.len()).into());
    }
    let stands_alone = |command: &Command| matches!(command, Command::Batch(_) | Command::Bootstrap(_));
    if let Some(at) = commands.iter().position(stands_alone) {
        return Err(ChangeError::BatchPart(at).into());
    }
    let mut outcomes = Vec::with_capacity(commands.len());
    for (at, command) in commands.iter().enumerate() {
        let outcome = audit::observed(state, origin, command, entries, apply_one);
        outcomes.push(outcome.map_err(|refusal| ChangeError::InBatch { at, because: Box::new(refusal) })?);
    }
    Ok(outcomes)
}
