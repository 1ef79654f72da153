//! A snapshot on its way from a leader to a member that lags far behind.
//!
//! Every change in the log is signed by the manager that stands for it, so a leader can't make changes up. A snapshot has
//! none of these signatures: whoever could send any snapshot could replace the whole registry. So the leader signs it, and
//! only a full manager that the receiver knows, or that was introduced to it, is believed. A witness is believed
//! by a receiver that comes from an earlier epoch, if the one of now began with that witness: then a full manager or the recovery
//! key has signed that the cluster goes on from its copy.
//!
//! Nothing that was not signed for reaches the disk: the signature is checked before the first part is taken, and the bytes
//! before the last one is.

use std::sync::Arc;

use festoon_proto::{ClusterId, EpochId, Introduction, ManagerId, Signature, SigningKey, VerifyingKey};
use openraft::error::{InstallSnapshotError, RaftError, SnapshotMismatch};
use openraft::raft::{InstallSnapshotRequest, InstallSnapshotResponse};
use openraft::{EmptyNode, Raft, SnapshotMeta, SnapshotSegmentId};
use ring::digest::{Context, SHA256, digest};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::message::{Rejection, encode};
use crate::types::{MemberId, TypeConfig};

/// In front of what is signed.
const LABEL: &str = "festoon snapshot 1";
/// No snapshot is larger, in bytes. One of 100,000 endpoints has some 50 MB.
const MAX_LENGTH: u64 = 4 << 30;

type Part = InstallSnapshotRequest<TypeConfig>;

/// What a snapshot is, and who says so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heading {
    /// Who sends it.
    pub(crate) by: ManagerId,
    /// How that one came into the cluster, for a receiver whose copy is older than that.
    pub(crate) introductions: Vec<Introduction>,
    what: What,
    signature: Signature,
}

/// What is signed of a snapshot, together with the cluster and the sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct What {
    epoch: EpochId,
    meta: SnapshotMeta<MemberId, EmptyNode>,
    length: u64,
    sha256: [u8; 32],
}

impl Heading {
    /// Manager `by`, whose signing key is `key`, sends these bytes.
    pub(crate) fn sign(
        (by, key): (ManagerId, &SigningKey),
        introductions: &[Introduction],
        (cluster, epoch): (ClusterId, EpochId),
        meta: SnapshotMeta<MemberId, EmptyNode>,
        bytes: &[u8],
    ) -> Self {
        let mut sha256 = [0; 32];
        sha256.copy_from_slice(digest(&SHA256, bytes).as_ref());
        let what = What { epoch, meta, length: bytes.len() as u64, sha256 };
        let signature = key.sign(LABEL, &encode(&(cluster, by, &what)));
        Self { by, introductions: introductions.to_vec(), what, signature }
    }

    pub(crate) fn is_signed_by(&self, cluster: ClusterId, key: &VerifyingKey) -> bool {
        key.verifies(LABEL, &encode(&(cluster, self.by, &self.what)), &self.signature)
    }

    /// The epoch of its log.
    pub(crate) const fn epoch(&self) -> EpochId {
        self.what.epoch
    }
}

/// The snapshot that comes in parts. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receiving(Arc<Mutex<Option<Partial>>>);

struct Partial {
    heading: Heading,
    received: u64,
    sha256: Context,
}

impl std::fmt::Debug for Partial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partial").field("received", &self.received).finish_non_exhaustive()
    }
}

/// What to do with a part.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Take it.
    Take,
    /// It came before, and its answer was lost. Never of the last part: whether that was installed is not known here.
    Answer,
    /// Have the sender begin again.
    BeginAgain,
    /// Refuse it.
    Refuse,
}

impl Receiving {
    /// Takes the next part of a snapshot whose heading is believed.
    pub(crate) async fn take(
        &self,
        raft: &Raft<TypeConfig>,
        heading: Heading,
        part: Part,
    ) -> Result<Result<InstallSnapshotResponse<MemberId>, InstallSnapshotError>, Rejection> {
        // Held until openraft has the part: two senders must not mix theirs.
        let mut place = self.0.lock().await;
        match next(&mut place, heading, &part) {
            Step::Take => {}
            Step::Answer => return Ok(Ok(InstallSnapshotResponse { vote: raft.metrics().borrow().vote })),
            Step::BeginAgain => return Ok(Err(begin_again(&part))),
            Step::Refuse => {
                *place = None;
                return Err(Rejection::NotUnderstood);
            }
        }
        // What openraft does not take did not come: also if this future is dropped meanwhile.
        let partial = place.take().filter(|_| !part.done);
        let vote = part.vote;
        match raft.install_snapshot(part).await {
            Ok(answer) => {
                // One of an earlier leader is answered, and not taken.
                *place = partial.filter(|_| answer.vote <= vote);
                Ok(Ok(answer))
            }
            Err(RaftError::APIError(error)) => Ok(Err(error)),
            Err(RaftError::Fatal(_)) => Err(Rejection::Stopped),
        }
    }
}

fn next(partial: &mut Option<Partial>, heading: Heading, part: &Part) -> Step {
    let What { meta, length, sha256, .. } = &heading.what;
    let (length, sha256) = (*length, *sha256);
    if *meta != part.meta || length > MAX_LENGTH {
        return Step::Refuse;
    }
    if part.offset == 0 {
        *partial = Some(Partial { heading, received: 0, sha256: Context::new(&SHA256) });
    } else if partial.as_ref().is_none_or(|partial| partial.heading != heading) {
        return Step::BeginAgain;
    }
    let Some(partial) = partial else { return Step::BeginAgain };
    let end = part.offset.saturating_add(part.data.len() as u64);
    if part.offset != partial.received {
        return if end == partial.received && !part.done { Step::Answer } else { Step::BeginAgain };
    }
    partial.received = end;
    partial.sha256.update(&part.data);
    let is_right = match part.done {
        true => end == length && partial.sha256.clone().finish().as_ref() == sha256,
        false => end <= length,
    };
    if is_right { Step::Take } else { Step::Refuse }
}

fn begin_again(part: &Part) -> InstallSnapshotError {
    let at = |offset| SnapshotSegmentId { id: part.meta.snapshot_id.clone(), offset };
    SnapshotMismatch { expect: at(0), got: at(part.offset) }.into()
}

#[cfg(test)]
mod tests {
    use openraft::Vote;

    use super::*;

    const CLUSTER: ClusterId = ClusterId([7; 16]);
    const BYTES: &[u8] = b"a registry, as bytes";

    fn key(number: u8) -> SigningKey {
        SigningKey::from_seed([number; 32])
    }

    fn meta(id: &str) -> SnapshotMeta<MemberId, EmptyNode> {
        SnapshotMeta { snapshot_id: id.to_owned(), ..SnapshotMeta::default() }
    }

    fn heading(id: &str, bytes: &[u8]) -> Heading {
        Heading::sign((ManagerId(1), &key(1)), &[], (CLUSTER, EpochId::FIRST), meta(id), bytes)
    }

    fn part(id: &str, offset: usize, data: &[u8], done: bool) -> Part {
        let vote = Vote::new_committed(1, MemberId { manager: ManagerId(1), incarnation: 0 });
        Part { vote, meta: meta(id), offset: offset as u64, data: data.to_vec(), done }
    }

    #[test]
    fn a_heading_is_of_one_sender_one_cluster_and_these_bytes() {
        let heading = heading("a", BYTES);
        let by = |key: SigningKey| heading.is_signed_by(CLUSTER, &key.verifying_key());
        assert!(by(key(1)));
        assert!(!by(key(2)));
        assert!(!heading.is_signed_by(ClusterId([8; 16]), &key(1).verifying_key()));
        let as_another = Heading { by: ManagerId(2), ..heading.clone() };
        assert!(!as_another.is_signed_by(CLUSTER, &key(1).verifying_key()));
        for change in [
            (|what| what.length += 1) as fn(&mut What),
            |what| what.sha256[0] ^= 1,
            |what| what.meta.snapshot_id.push('x'),
            |what| what.epoch.number += 1,
        ] {
            let mut changed = heading.clone();
            change(&mut changed.what);
            assert!(!changed.is_signed_by(CLUSTER, &key(1).verifying_key()), "{changed:?}");
        }
    }

    #[test]
    fn only_the_bytes_that_were_signed_are_taken_and_in_their_order() {
        use Step::{Answer, BeginAgain, Refuse, Take};
        let (mut partial, end) = (None, BYTES.len());
        let mut step = |heading: &Heading, part: &Part| next(&mut partial, heading.clone(), part);
        let a = heading("a", BYTES);
        assert_eq!(step(&a, &part("a", 8, &BYTES[8..], true)), BeginAgain, "its beginning did not come");
        assert_eq!(step(&a, &part("a", 0, &BYTES[..8], false)), Take);
        assert_eq!(step(&a, &part("a", 8, &BYTES[8..12], false)), Take);
        assert_eq!(step(&a, &part("a", 8, &BYTES[8..12], false)), Answer, "it came before");
        assert_eq!(step(&a, &part("a", 4, b"other", false)), BeginAgain, "written over what was checked");
        assert_eq!(step(&a, &part("a", 13, &BYTES[13..], true)), BeginAgain, "a hole");
        assert_eq!(step(&a, &part("a", usize::MAX, b"x", false)), BeginAgain);
        assert_eq!(step(&heading("a", b"others"), &part("a", 12, &BYTES[12..], true)), BeginAgain);
        assert_eq!(step(&a, &part("a", 12, &BYTES[12..], true)), Take);
        assert_eq!(step(&a, &part("a", 12, &BYTES[12..], true)), BeginAgain, "whether it was installed is not known");

        assert_eq!(step(&a, &part("b", 0, BYTES, true)), Refuse, "another snapshot than its heading says");
        assert_eq!(step(&a, &part("a", 0, &BYTES[..end - 1], true)), Refuse, "too short");
        assert_eq!(step(&a, &part("a", 0, b"a registry, as BYTES", true)), Refuse, "other bytes");
        assert_eq!(step(&a, &part("a", 0, &[BYTES, b"more"].concat(), false)), Refuse, "too long");
        let mut huge = a;
        huge.what.length = MAX_LENGTH + 1;
        assert_eq!(step(&huge, &part("a", 0, &BYTES[..8], false)), Refuse);
    }
}
