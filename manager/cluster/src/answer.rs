//! What this member answers to others.

use std::sync::Arc;

use festoon_proto::ManagerId;

use crate::cluster::Cluster;
use crate::guard;
use crate::message::{Answer, Envelope, Rejection, Removal, Request, decode, encode};
use crate::network::Network;
use crate::propose::Attempt;
use crate::transport::Transport;

impl<T: Transport> Cluster<T> {
    /// Answers a request that another manager's [`Transport`] brought. `from` is who that manager is for certain.
    pub async fn answer(&self, from: ManagerId, request: &[u8]) -> Vec<u8> {
        let answer = match decode::<Envelope>(request) {
            Some(envelope) if envelope.from.manager == from => self.answer_to(envelope).await,
            _ => Err(Rejection::NotUnderstood),
        };
        encode(&answer.unwrap_or_else(Answer::Rejected))
    }

    async fn answer_to(&self, envelope: Envelope) -> Result<Answer, Rejection> {
        self.admit(&envelope)?;
        self.network.reach.heard(envelope.from);
        let (from, term) = (envelope.from, self.raft.metrics().borrow().current_term);
        match envelope.request {
            Request::Append(rpc) => {
                guard::check(&rpc.vote, from, term)?;
                self.raft.append_entries(rpc).await.map(Answer::Append).map_err(stopped)
            }
            Request::Vote(rpc) => {
                guard::check(&rpc.vote, from, term)?;
                let answer = self.raft.vote(rpc).await.map_err(stopped)?;
                if answer.vote_granted {
                    self.network.tally.grants_vote();
                }
                Ok(Answer::Vote(answer))
            }
            Request::Snapshot(heading, part) => {
                guard::check(&part.vote, from, term)?;
                self.network.fence.check_snapshot(&heading, from.manager)?;
                self.receiving.take(&self.raft, *heading, part).await.map(Answer::Snapshot)
            }
            Request::Propose { proposal, attempt, .. } if !self.handled.is_first(proposal.id, attempt) => {
                Err(Rejection::Repeated)
            }
            Request::Propose { proposal, is_again, .. } => {
                self.write(*proposal, is_again).await.map(Answer::Applied).map_err(|attempt| match attempt {
                    Attempt::Stopped => Rejection::Stopped,
                    Attempt::StillNeeded(silent) => Rejection::StillNeeded(silent),
                    Attempt::NotTaken => Rejection::NotTaken,
                    Attempt::Unknown => Rejection::NotLeader,
                })
            }
            Request::Health => Ok(Answer::Health(self.health())),
            Request::Digests => Ok(Answer::Digests(self.comparison.digests().await)),
            Request::Clock => Ok(Answer::Clock(self.clock.own_now())),
        }
    }

    /// Whether sender and addressee are in the same epoch, and the addressee is this incarnation of this manager.
    fn admit(&self, envelope: &Envelope) -> Result<(), Rejection> {
        let Network { me, fence, .. } = &self.network;
        if envelope.epoch > fence.epoch() {
            if let Some(proof) = envelope.proof.filter(|proof| proof.epoch == envelope.epoch) {
                fence.close(&proof);
            }
            return Err(Rejection::EarlierEpoch(fence.epoch()));
        }
        if self.is_removed(envelope.from.manager) {
            return Err(self.removal(envelope.from.manager));
        }
        if envelope.epoch < fence.later().unwrap_or(fence.epoch()) {
            let proof = fence.later_proof().or_else(|| self.network.proof());
            return Err(proof.map_or(Rejection::NotReady, |proof| Rejection::LaterEpoch(Box::new(proof))));
        }
        if envelope.to != *me {
            return Err(Rejection::OtherMember(*me));
        }
        Ok(())
    }

    fn removal(&self, removed: ManagerId) -> Rejection {
        let state = self.snapshot();
        let removal = Removal { epoch: self.network.fence.epoch(), began_from: state.epoch().began_from() };
        self.signer.removal(&state, removed, removal).map_or(Rejection::NotMember, Rejection::Removed)
    }

    /// Whether a manager was in the cluster and is not any more, not even to those that vote: one that leaves may lead
    /// until the others know.
    fn is_removed(&self, manager: ManagerId) -> bool {
        let votes = || {
            let metrics = self.raft.metrics();
            let membership = Arc::clone(&metrics.borrow().membership_config);
            membership.nodes().any(|(id, _)| id.manager == manager)
        };
        // A copy that has not come so far yet as what this manager was told when it joined says nothing of who votes now.
        self.network.fence.was_removed(manager) && (self.network.fence.is_copy_behind() || !votes())
    }
}

fn stopped<E>(_: E) -> Rejection {
    Rejection::Stopped
}

#[cfg(test)]
mod tests;
