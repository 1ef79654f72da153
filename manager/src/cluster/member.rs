//! Who asks over the connections of managers, and what may be asked of whom.
//!
//! A certificate says which manager somebody is, if that manager itself stands for it (see [`Tied`](crate::pki::Tied)), and the
//! registry whether that is a member now: on every request, so that a removal works at once. A witness is trusted with its vote; it is answered what it needs to keep its copy, and nothing that
//! acts on others.

use festoon_control::registry::{ManagerRole, UnixMs};
use festoon_proto::ManagerId;
use festoon_proto::epoch::Roster;

use axum::http::StatusCode;

use super::Cluster;
use crate::https::{Peer, Refused};
use crate::pki::Leaf;

/// A manager that is in the cluster now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Which.
    pub(crate) id: ManagerId,
    /// What it does.
    pub(crate) role: ManagerRole,
}

/// The manager at the other end, if it is in the cluster now.
pub(crate) fn member(peer: &Peer, cluster: &Cluster) -> Result<Member, Refused> {
    let member = member_or_expired(peer, cluster)?;
    let until = peer.certificate.as_ref().and_then(Leaf::read).map_or(UnixMs(0), |leaf| leaf.until);
    match until > cluster.now() {
        true => Ok(member),
        false => Err(expired()),
    }
}

/// As [`member`], also if its certificate has expired: for renewing it.
pub(crate) fn member_or_expired(peer: &Peer, cluster: &Cluster) -> Result<Member, Refused> {
    let roster = cluster.roster().ok_or_else(stranger)?;
    let id = claimed(peer, &roster).ok_or_else(stranger)?;
    let entry = roster.managers.get(&id).ok_or_else(stranger)?;
    Ok(Member { id, role: entry.role })
}

/// As [`member`], of one that carries endpoints: a witness may not ask this.
pub(crate) fn full_member(peer: &Peer, cluster: &Cluster) -> Result<ManagerId, Refused> {
    let member = member(peer, cluster)?;
    match member.role {
        ManagerRole::Full => Ok(member.id),
        ManagerRole::Witness => {
            let text = "only full managers of this cluster may ask this, and the one that asks is a witness";
            Err(Refused::new(StatusCode::FORBIDDEN, "is-witness", text))
        }
    }
}

/// The manager at the other end, also if it was removed or has just joined: for consensus, which itself knows who was removed
/// and tells it so, and which one that has just joined needs before others have heard of it.
pub(super) fn claimed_member(peer: &Peer, cluster: &Cluster) -> Result<ManagerId, Refused> {
    let roster = cluster.roster().ok_or_else(stranger)?;
    claimed(peer, &roster).ok_or_else(stranger)
}

fn claimed(peer: &Peer, roster: &Roster) -> Option<ManagerId> {
    peer.tied.as_ref()?.owner(peer.certificate.as_ref()?, roster)
}

fn stranger() -> Refused {
    Refused::new(StatusCode::FORBIDDEN, "not-a-manager", "only managers of this cluster may ask this")
}

fn expired() -> Refused {
    let text = "the certificate of the manager that asks has expired: it is renewed by itself while that manager runs and \
                reaches a full one; see that its clock is right";
    Refused::new(StatusCode::FORBIDDEN, "certificate-expired", text)
}
