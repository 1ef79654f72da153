//! Beginnings of a manager that has been one for long: promoted, fenced off, or with a damaged copy.

use std::path::Path;
use std::time::Duration;

use festoon_cluster::storage::{Execution, Seed, StorageError, next_epoch, seed};
use festoon_cluster::{CallError, Logged, Removal, StartError};
use festoon_control::registry::{Author, Refusal};
use festoon_proto::epoch::{EpochProof, EpochSigner};
use festoon_proto::{EpochId, ManagerId};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::current::{Member, after};
use super::renewal::{Offer, Question};
use super::take_part::{label_of, member_of};
use super::{BuildError, Cluster, DiskError, Https, disk, peers, unix_now};
use crate::data_dir::{DataDir, DataDirError, Identity, UNREPLICATED};
use crate::https::route;

/// The answer needs a change of the registry.
const ASK_LIMIT: Duration = Duration::from_secs(4);

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
    /// A witness can't begin an epoch by itself.
    #[error(
        "this manager is a witness, which can't be promoted without a key: name a file with the recovery key, or the signing.key of a full manager of this cluster, with --key-file"
    )]
    NoKey,
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
            Self::NoKey => "epoch-not-proved",
            Self::Refused(refusal) => refusal.kind(),
            Self::Stopping => "stopping",
            Self::DataDir(_) | Self::Disk(_) | Self::Storage(_) | Self::Start(_) | Self::Open(_) => "disk",
        }
    }
}

/// A manager may begin anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Renewed {
    /// The incarnation that it is from now on.
    pub(super) incarnation: u32,
    /// The epoch of the cluster.
    pub(super) epoch: EpochId,
    /// How far the copy went that the epoch began from; 0 in the first.
    pub(super) began_from: u64,
}

/// Makes `copy`, in the next epoch, the registry of this manager alone. The one before is kept aside. If the cluster went on
/// without this manager, in an epoch that is lost, the next one begins after that. A full manager signs it; for a witness
/// somebody else has done so. The audit log names `by`.
pub(super) async fn promote(
    data: &DataDir,
    identity: &Identity,
    copy: Seed,
    (lost, signed, by): (Option<EpochId>, Option<EpochProof>, Author),
) -> Result<Identity, AnewError> {
    let incarnation = identity.incarnation.saturating_add(1);
    let mut next = Identity { incarnation, has_registry: true, fenced_by: None, ..identity.clone() };
    let proof = match signed {
        Some(signed) => signed,
        None => sign(data, identity, &copy, lost)?,
    };
    let copy = next_epoch(copy, member_of(&next), proof, by)?;
    next.epoch = copy.state.epoch().id();
    let new = data.new_registry()?;
    seed(disk::open(&new)?, Execution::Threads, label_of(&next), copy).await?;
    data.replace_registry(&new, &format!("epoch-{}", identity.epoch.number))?;
    data.write_identity(&next)?;
    Ok(next)
}

fn sign(data: &DataDir, identity: &Identity, copy: &Seed, lost: Option<EpochId>) -> Result<EpochProof, AnewError> {
    let (me, state) = (identity.manager, &copy.state);
    if state.manager(me).is_none_or(|me| !me.is_full()) {
        return Err(AnewError::NoKey);
    }
    let epoch = after(state, me, lost, unix_now())?;
    let key = data.signing_key()?;
    let manager = (me, key.verifying_key());
    Ok(EpochProof::sign((EpochSigner::Manager(me), &key), identity.cluster, epoch, state.version(), manager))
}

/// Has the cluster let this manager begin anew, through whichever manager answers that is in the epoch `least` or a later
/// one: some may not have heard yet that the cluster went on without them.
pub(super) async fn ask(
    data: &DataDir,
    transport: &Https,
    identity: &Identity,
    least: EpochId,
) -> Result<Renewed, AnewError> {
    let mut failures = Vec::new();
    for manager in transport.known().into_iter().filter(|manager| *manager != identity.manager) {
        match ask_one(data, transport, identity, (manager, least)).await {
            Ok(renewed) => return Ok(renewed),
            Err(NoRenewal::Fatal(error)) => return Err(error),
            Err(NoRenewal::Here(why)) => failures.push(format!("manager {manager}: {why}")),
        }
    }
    let none = "no other manager is known";
    Err(AnewError::NotRenewed(if failures.is_empty() { none.to_owned() } else { failures.join("; ") }))
}

/// A manager does not let this one begin anew.
enum NoRenewal {
    /// Another may.
    Here(String),
    /// No other will.
    Fatal(AnewError),
}

async fn ask_one(
    data: &DataDir,
    transport: &Https,
    identity: &Identity,
    (manager, least): (ManagerId, EpochId),
) -> Result<Renewed, NoRenewal> {
    let version = |_| NoRenewal::Here("it runs another version of Festoon".to_owned());
    let fatal = |error: DataDirError| NoRenewal::Fatal(error.into());
    let failed = |error: CallError| NoRenewal::Here(error.to_string());
    let question = Question { incarnation: identity.incarnation.saturating_add(1) };
    let question = serde_json::to_vec(&question).unwrap_or_default();
    let answer =
        transport.post(manager, route::RENEW_OFFER.path(), question.into(), ASK_LIMIT).await.map_err(failed)?;
    let offer: Offer = serde_json::from_slice(&answer).map_err(version)?;
    if offer.epoch < least {
        return Err(NoRenewal::Here(format!("it is still in epoch {}", offer.epoch)));
    }
    // What a manager says of a later epoch is written to disk here: it has to prove it.
    if offer.epoch > least {
        let roster = peers::load(data).map_err(fatal)?;
        let proof = offer.proof.filter(|proof| proof.epoch == offer.epoch);
        let is_proved = proof.zip(roster).is_some_and(|(proof, roster)| roster.check(&proof).is_ok());
        if !is_proved {
            return Err(NoRenewal::Here(format!("it can't prove that the cluster is in epoch {}", offer.epoch)));
        }
    }
    let key = data.signing_key().map_err(fatal)?;
    let signed = serde_json::to_vec(&offer.sign(&key, identity.manager, identity.cluster)).unwrap_or_default();
    transport.post(manager, route::RENEW.path(), signed.into(), ASK_LIMIT).await.map_err(failed)?;
    let began_from = offer.proof.map_or(0, |proof| proof.from.0);
    Ok(Renewed { incarnation: offer.incarnation, epoch: offer.epoch, began_from })
}

/// Says on disk that this manager is what the cluster renewed it to. Its registry so far is kept aside.
pub(super) fn settle(
    data: &DataDir,
    identity: &Identity,
    renewed: Renewed,
    reason: &str,
) -> Result<Identity, DataDirError> {
    let Renewed { incarnation, epoch, .. } = renewed;
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
