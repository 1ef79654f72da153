//! What a leader knows for certain: Raft's read index (Ongaro, "Consensus: Bridging Theory and Practice", section 6.4).
//!
//! openraft has one too, and gives it as long as its heartbeat lasts: between continents it never gets an answer.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse};
use openraft::{EmptyNode, Membership, Vote};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::cluster::Cluster;
use crate::message::{Answer, Request};
use crate::network::Network;
use crate::transport::Transport;
use crate::types::MemberId;

/// How long the others are waited for.
const LIMIT: Duration = Duration::from_secs(1);
/// How soon they are asked again.
const PACE: Duration = Duration::from_millis(20);

/// What the others said last. A clone is the same record. Whoever holds it asks, and those who wait for that meanwhile are
/// answered together: strangers must not have the managers ask each other at their pace.
#[derive(Debug, Clone, Default)]
pub(crate) struct Confirmed(Arc<Mutex<Option<Confirmation>>>);

#[derive(Debug, Clone, Copy)]
struct Confirmation {
    vote: Vote<MemberId>,
    asked: Instant,
    is_followed: bool,
}

impl<T: Transport> Cluster<T> {
    /// Waits until a majority has said that this manager leads, and until all is carried out that was in its log before. `None`
    /// if it does not lead, or too few say so. May be cancelled at any time.
    ///
    /// What is known to be committed would not be enough. A leader that was started again before anybody missed it leads on in
    /// its old term, and of what it acknowledged in that it knows no more than it had noted on disk.
    pub(crate) async fn catch_up(&self) -> Option<()> {
        let since = Instant::now();
        let mut confirmed = Arc::clone(&self.confirmed.0).lock_owned().await;
        let mut metrics = self.raft.metrics();
        let now = metrics.borrow_and_update().clone();
        let last = now.last_log_index.filter(|_| now.current_leader == Some(self.network.me))?;
        let known = (*confirmed).filter(|known| known.vote == now.vote && known.asked > since);
        let confirmation = if let Some(known) = known {
            known
        } else {
            let network = self.network.clone();
            // On its own: those who wait are answered too, though whoever came first may have given up.
            let asking = self.tasks.spawn(async move {
                if let Some(before) = *confirmed {
                    sleep_until(before.asked + PACE).await;
                }
                let asked = Instant::now();
                let is_followed = network.is_followed(now.vote, now.membership_config.membership()).await;
                *confirmed.insert(Confirmation { vote: now.vote, asked, is_followed })
            });
            asking.await.ok()?
        };
        if !confirmation.is_followed {
            return None;
        }
        metrics.wait_for(|metrics| metrics.last_applied.is_some_and(|applied| applied.index >= last)).await.ok()?;
        Some(())
    }
}

impl<T: Transport> Network<T> {
    /// Whether a majority says, asked now, that it knows of no later vote than this one of the leader.
    async fn is_followed(&self, vote: Vote<MemberId>, membership: &Membership<MemberId, EmptyNode>) -> bool {
        let mut asked = JoinSet::new();
        for voter in membership.voter_ids().filter(|voter| *voter != self.me) {
            let network = self.clone();
            asked.spawn(async move { network.follows(voter, vote).await.then_some(voter) });
        }
        let mut followers = BTreeSet::from([self.me]);
        while !is_majority(membership, &followers) {
            let Some(answer) = asked.join_next().await else { return false };
            followers.extend(answer.ok().flatten());
        }
        // The others still hear that this one leads.
        asked.detach_all();
        true
    }

    /// An append without entries, of which nothing is carried out: a heartbeat.
    async fn follows(&self, voter: MemberId, vote: Vote<MemberId>) -> bool {
        let rpc = AppendEntriesRequest { vote, prev_log_id: None, entries: Vec::new(), leader_commit: None };
        let answer = self.ask(voter, Request::Append(rpc), LIMIT).await;
        matches!(answer, Ok(Answer::Append(AppendEntriesResponse::Success)))
    }
}

/// While the voters are being changed, a majority of those before and of those after.
fn is_majority(membership: &Membership<MemberId, EmptyNode>, those: &BTreeSet<MemberId>) -> bool {
    membership.get_joint_config().iter().all(|voters| voters.intersection(those).count() * 2 > voters.len())
}

#[cfg(test)]
mod tests {
    use festoon_proto::ManagerId;

    use super::*;

    fn members(numbers: &[u16]) -> BTreeSet<MemberId> {
        numbers.iter().map(|&number| MemberId { manager: ManagerId(number), incarnation: 0 }).collect()
    }

    #[test]
    fn a_majority_is_one_of_both_while_the_voters_are_changed() {
        let is_one = |configs: &[&[u16]], those: &[u16]| {
            let configs = configs.iter().map(|config| members(config)).collect();
            is_majority(&Membership::new(configs, ()), &members(those))
        };
        assert!(is_one(&[&[1]], &[1]));
        assert!(!is_one(&[&[1, 2]], &[1]));
        assert!(is_one(&[&[1, 2, 3]], &[1, 3]));
        assert!(!is_one(&[&[1, 2, 3]], &[1, 4, 5]));
        assert!(!is_one(&[&[1, 2, 3], &[1, 4, 5]], &[1, 2]));
        assert!(is_one(&[&[1, 2, 3], &[1, 4, 5]], &[1, 2, 5]));
        assert!(!is_one(&[&[1, 2, 3, 4], &[1]], &[1, 2]));
    }
}
