//! How the registry is replicated.

use festoon_metrics::Page;
use festoon_proto::ManagerId;

use crate::cluster::{Cluster, Counts, Health, Role};

const ROLES: [(Role, &str); 6] = [
    (Role::Leader, "leader"),
    (Role::Follower, "follower"),
    (Role::Candidate, "candidate"),
    (Role::Learner, "learner"),
    (Role::Fenced, "fenced"),
    (Role::Stopped, "stopped"),
];

/// Writes what this manager knows of it without asking anybody.
pub(super) fn write(page: &mut Page, cluster: &Cluster, me: ManagerId) {
    let health = cluster.health();
    write_own(page, &health);
    write_members(page, &health, me);
    let Counts { elections, votes_granted, leader_changes } = cluster.counts();
    let mut counter = |name, help, count: u64| {
        page.counter(name, help).add(&[], count);
    };
    counter("festoon_raft_elections_total", "Elections that this manager began.", elections);
    counter("festoon_raft_votes_granted_total", "Votes that this manager gave to others.", votes_granted);
    counter(
        "festoon_raft_leader_changes_total",
        "How often this manager found another leader, or none.",
        leader_changes,
    );
    counter(
        "festoon_raft_stops_total",
        "How often this manager's part stopped by itself: its disk failed, or its copy was damaged.",
        cluster.stops(),
    );
}

fn write_own(page: &mut Page, health: &Health) {
    let mut roles =
        page.gauge("festoon_raft_role", "What this manager is to the registry: 1 for that, 0 for the others.");
    for (role, word) in ROLES {
        roles.add(&[("role", &word)], health.role == role);
    }
    let mut gauge = |name, help, value: u64| {
        page.gauge(name, help).add(&[], value);
    };
    gauge("festoon_raft_has_leader", "Whether this manager knows who leads.", health.leader.is_some().into());
    gauge("festoon_raft_term", "Raft's term.", health.term);
    gauge("festoon_raft_last_log_index", "The last entry of this manager's log.", health.last_log);
    gauge(
        "festoon_raft_applied_index",
        "The last entry that is committed, as far as this manager knows, and carried out.",
        health.applied,
    );
    gauge("festoon_raft_quorum_voters", "Voters that must agree on a change.", health.quorum() as u64);
    if health.role == Role::Leader {
        let heard = health.members.iter().filter(|member| member.votes && member.is_heard).count();
        gauge(
            "festoon_raft_heard_voters",
            "Voters heard lately, itself among them; only the leader hears all.",
            heard as u64,
        );
    }
}

fn write_members(page: &mut Page, health: &Health, me: ManagerId) {
    let others = || health.members.iter().filter(|member| member.id.manager != me);
    let is_leader = health.role == Role::Leader;
    let mut heard =
        page.gauge("festoon_raft_member_heard", "Whether another member was heard lately; only the leader hears all.");
    for member in others().filter(|_| is_leader) {
        heard.add(&[("manager", &member.id.manager)], member.is_heard);
    }
    let mut votes = page.gauge("festoon_raft_member_votes", "Whether another member votes.");
    for member in others() {
        votes.add(&[("manager", &member.id.manager)], member.votes);
    }
    let mut differs =
        page.gauge("festoon_raft_member_differs", "Whether its copy was another than this one when compared last.");
    for member in others() {
        differs.add(&[("manager", &member.id.manager)], member.differs);
    }
    let mut ahead = page.gauge(
        "festoon_raft_member_clock_ahead_seconds",
        "By how much a member's clock is ahead of the time that a majority agrees on.",
    );
    for member in &health.members {
        if let Some(ms) = member.clock_ahead_ms {
            ahead.add(&[("manager", &member.id.manager)], ms as f64 / 1000.0);
        }
    }
    let mut lag = page.gauge("festoon_raft_member_lag_entries", "Entries that a member lacks; only the leader knows.");
    for member in others() {
        if let Some(entries) = member.lag {
            lag.add(&[("manager", &member.id.manager)], entries);
        }
    }
}
