//! The cluster as a whole.

use std::time::Duration;

use axum::Json;
use axum::extract::State as Shared;
use festoon_api::{Cluster, Member, MemberState};
use festoon_cluster::MemberHealth;
use festoon_proto::access::Role;

use super::{Api, Caller};
use crate::cluster::Health;

/// How long it waits for what only the leader of the registry knows.
const LEADER_LIMIT: Duration = Duration::from_millis(500);

/// The cluster, and how its registry is doing.
#[utoipa::path(get, path = "/cluster", tag = "cluster", responses((status = 200, body = Cluster)))]
pub(super) async fn show(Shared(api): Shared<Api>, caller: Caller) -> Json<Cluster> {
    let health = api.cluster.health_of_leader(LEADER_LIMIT).await;
    let state = api.cluster.snapshot();
    let seen: Vec<_> = state.networks().map(|network| network.id).filter(|id| caller.sees(*id)).collect();
    Json(Cluster {
        id: state.cluster().map(|cluster| cluster.to_string()).unwrap_or_default(),
        manager: api.manager.into(),
        epoch: health.epoch.to_string(),
        version: state.version().0,
        leader: health.leader.map(|leader| leader.manager.into()),
        quorum: health.quorum() as u64,
        writable: is_writable(&health),
        members: health.members.iter().map(|one| member(one, &health)).collect(),
        networks: seen.len() as u64,
        endpoints: match caller.may(Role::Viewer, None) {
            true => state.endpoint_count() as u64,
            false => seen.into_iter().map(|id| state.endpoint_count_of(id)).sum(),
        },
    })
}

fn is_writable(health: &Health) -> bool {
    let heard = health.members.iter().filter(|member| member.votes && member.is_heard).count();
    health.leader.is_some() && health.later_epoch.is_none() && heard >= health.quorum()
}

fn member(member: &MemberHealth, health: &Health) -> Member {
    Member {
        manager: member.id.manager.into(),
        state: match member.votes {
            _ if health.leader == Some(member.id) => MemberState::Leader,
            true => MemberState::Voter,
            false => MemberState::Learner,
        },
        heard: member.is_heard,
        lag: member.lag,
    }
}
