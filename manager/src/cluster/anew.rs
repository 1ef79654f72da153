//! Beginnings of a manager that has been one for long: promoted, fenced off, or with a damaged copy.

use std::path::Path;
use std::time::Duration;

use festoon_cluster::storage::{Execution, Seed, StorageError, next_epoch, seed};
use festoon_cluster::{Logged, Removal, StartError};
use festoon_control::registry::{Author, Refusal, UnixMs};
use festoon_proto::EpochId;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::current::Member;
use super::take_part::{label_of, member_of};
use super::{BuildError, Cluster, DiskError, Https, disk, unix_now};
use crate::data_dir::{DataDir, DataDirError, Identity, UNREPLICATED};

/// The answer needs a change of the registry.
const ASK_LIMIT: Duration = Duration::from_secs(4);

/// `POST`, managers only: a manager is about to begin anew, with a [`RenewRequest`].
pub(super) const RENEW: &str = "/cluster/v1/renew";

/// A manager does not begin anew; it goes on as it was.
#[derive(Debug, thiserror::Error)]
pub enum AnewError {
    /// Nothing is wrong.
    #[error(
        "the managers that answer are enough to change the registry: there is nothing to promote. See `festoon-manager status`"
    )]
    HasQuorum,
    /// The cluster has gone on already.
    #[error(
        "the cluster has gone on in epoch {0} without this manager, and somebody of that answers: run `festoon-manager rejoin` here, or promote a manager of that epoch"
    )]
    Fenced(EpochId),
    /// The cluster has not gone on.
    #[error("this manager is not fenced off: there is nothing to rejoin. See `festoon-manager status`")]
    NotFenced,
    /// The cluster must agree and does not.
    #[error(
        "no manager of the cluster let this one begin anew: {0}. See that a majority of all managers runs without this one; if that can't be, as of two, run `festoon-manager promote` on one that runs, if need be on a witness"
    )]
    NotRenewed(String),
    /// The registry refuses.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A file can't be read or written.
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    /// The disk refuses.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The registry can't be written.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its end can't be read.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The new one can't be opened.
    #[error(transparent)]
    Open(#[from] Box<BuildError>),
    /// The program ends.
    #[error("this manager is stopping")]
    Stopping,
}

impl AnewError {
    /// A stable word for programs.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::HasQuorum => "has-quorum",
            Self::Fenced(_) => "fenced",
            Self::NotFenced => "not-fenced",
            Self::NotRenewed(_) => "not-renewed",
            Self::Refused(refusal) => refusal.kind(),
            Self::Stopping => "stopping",
            Self::DataDir(_) | Self::Disk(_) | Self::Storage(_) | Self::Start(_) | Self::Open(_) => "disk",
        }
    }
}

/// A manager is about to begin anew.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct RenewRequest {
    /// The lowest incarnation that is new to it.
    pub(super) incarnation: u32,
}

/// It may.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct RenewResponse {
    /// The incarnation that it is from now on.
    pub(super) incarnation: u32,
    /// The epoch of the cluster.
    pub(super) epoch: EpochId,
    /// How far the copy went that the epoch began from; 0 in the first.
    pub(super) began_from: u64,
}

/// Makes `copy`, in the next epoch, the registry of this manager alone. The one before is kept aside. If the cluster went on
/// without this manager, in an epoch that is lost, the next one begins after that. The audit log names `by`.
pub(super) async fn promote(
    data: &DataDir,
    identity: &Identity,
    copy: Seed,
    (lost, by): (Option<EpochId>, Author),
) -> Result<Identity, AnewError> {
    let incarnation = identity.incarnation.saturating_add(1);
    let mut next = Identity { incarnation, has_registry: true, fenced_by: None, ..identity.clone() };
    let earliest = lost.map_or(UnixMs(0), |lost| UnixMs(lost.began_unix_ms).after(1));
    let copy = next_epoch(copy, member_of(&next), unix_now().max(earliest), by)?;
    next.epoch = copy.state.epoch().id();
    let new = data.new_registry()?;
    seed(disk::open(&new)?, Execution::Threads, label_of(&next), copy).await?;
    data.replace_registry(&new, &format!("epoch-{}", identity.epoch.number))?;
    data.write_identity(&next)?;
    Ok(next)
}

/// Asks the cluster to let this manager begin anew, through whichever manager answers that is in the epoch `least` or a
/// later one: some may not have heard yet that the cluster went on without them.
pub(super) async fn ask(transport: &Https, identity: &Identity, least: EpochId) -> Result<RenewResponse, AnewError> {
    let request = RenewRequest { incarnation: identity.incarnation.saturating_add(1) };
    let mut failures = Vec::new();
    for manager in transport.known().into_iter().filter(|manager| *manager != identity.manager) {
        let question = serde_json::to_vec(&request).unwrap_or_default();
        match transport.post(manager, RENEW, question.into(), ASK_LIMIT).await {
            Ok(answer) => match serde_json::from_slice::<RenewResponse>(&answer) {
                Ok(renewed) if renewed.epoch >= least => return Ok(renewed),
                Ok(renewed) => failures.push(format!("manager {manager} is still in epoch {}", renewed.epoch)),
                Err(_) => failures.push(format!("manager {manager} runs another version of Festoon")),
            },
            Err(error) => failures.push(format!("manager {manager}: {error}")),
        }
    }
    let none = "no other manager is known";
    Err(AnewError::NotRenewed(if failures.is_empty() { none.to_owned() } else { failures.join("; ") }))
}

/// Says on disk that this manager is what the cluster renewed it to. Its registry so far is kept aside.
pub(super) fn settle(
    data: &DataDir,
    identity: &Identity,
    renewed: RenewResponse,
    reason: &str,
) -> Result<Identity, DataDirError> {
    let RenewResponse { incarnation, epoch, .. } = renewed;
    let next = Identity { incarnation, epoch, fenced_by: None, has_registry: false, ..identity.clone() };
    data.write_identity(&next)?;
    data.put_registry_aside(reason)?;
    Ok(next)
}

/// Changes of a copy that was given up, for an admin to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// How many there are.
    pub changes: usize,
    /// Whether those are all that only that copy had, and nothing else. If the manager was away for more than one epoch, or
    /// for many changes, they are the last ones of its copy, whatever the cluster knows of them.
    pub is_exact: bool,
    /// The file that they are in, if there are any.
    pub file: Option<String>,
}

impl Kept {
    /// What an admin is told, if there is anything in `root`.
    pub fn describe(&self, root: &Path) -> Option<String> {
        let (changes, file) = (self.changes, root.join(self.file.as_ref()?));
        let file = file.display();
        Some(match self.is_exact {
            true => {
                format!("The {changes} changes that only it had are in {file}. Make those again that are still wanted.")
            }
            false => format!(
                "The last {changes} changes of its own copy are in {file}; the cluster may know some of them, and older ones are only in its registry beside it. Make those again that are still wanted."
            ),
        })
    }
}

/// Ends the part of a member, which is in epoch `left`, and keeps what only it has: the cluster is in epoch `now`, which began
/// from the version `began_from`.
pub(super) async fn conclude(
    data: &DataDir,
    member: &Member,
    left: EpochId,
    now: EpochId,
    began_from: u64,
) -> Result<Kept, AnewError> {
    // If it missed more than one epoch it can't tell what was new to the first of them.
    let is_next = now.number <= left.number.saturating_add(1);
    let first = if is_next { began_from.saturating_add(1) } else { 0 };
    let (_, tail) = member.conclude(first).await?;
    let file = keep_unreplicated(data, left.number, &tail.commands)?;
    Ok(Kept { changes: tail.commands.len(), is_exact: is_next && tail.is_whole, file })
}

/// Ends the part of a manager that was removed, and keeps what only it has if the cluster has gone on in a later epoch. In
/// its own, all that was acknowledged is known to the others.
pub async fn part(data: &DataDir, cluster: &Cluster, removal: Removal) -> Result<Option<Kept>, AnewError> {
    let member = cluster.member();
    let left = member.health().epoch;
    if removal.epoch <= left {
        return Ok(None);
    }
    conclude(data, &member, left, removal.epoch, removal.began_from.0).await.map(Some)
}

/// Keeps changes that only this manager has for the admin, a line each, and gives the file's name. Nothing reads it. The same
/// again is kept once.
fn keep_unreplicated(data: &DataDir, epoch: u32, changes: &[Logged]) -> Result<Option<String>, DataDirError> {
    if changes.is_empty() {
        return Ok(None);
    }
    let first = format!("{UNREPLICATED}.epoch-{epoch}.jsonl");
    let more = (2..).map(|number| format!("{UNREPLICATED}.epoch-{epoch}-{number}.jsonl"));
    let line = |(index, command): &Logged| format!("{}\n", json!({ "index": index, "command": command }));
    let text: String = changes.iter().map(line).collect();
    let is_free = |name: &String| !data.has(name) || data.read(name).is_ok_and(|kept| kept == text);
    let name = std::iter::once(first.clone()).chain(more).find(is_free).unwrap_or(first);
    data.write(&name, &text)?;
    Ok(Some(name))
}
