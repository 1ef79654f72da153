//! Which manager delivers: one at a time, without asking anybody.
//!
//! The leader of the registry does, for there is at most one that a majority hears. If that is a witness, which reads no
//! secrets, the first of the full managers that it hears does; all ask the leader for that, so all get the same answer.

use std::time::Duration;

use festoon_cluster::Health;
use festoon_control::registry::State;
use festoon_proto::ManagerId;

use crate::cluster::{Cluster, Role};

/// How long the leader is waited for.
const LEADER_LIMIT: Duration = Duration::from_millis(1000);

/// Who delivers, as far as this manager knows.
pub(super) async fn deliverer(cluster: &Cluster) -> Option<ManagerId> {
    let state = cluster.snapshot();
    let health = cluster.health();
    match chosen(&state, &health) {
        Choice::Manager(manager) => Some(manager),
        Choice::Nobody => None,
        Choice::AskLeader => match chosen(&state, &cluster.health_of_leader(LEADER_LIMIT).await) {
            Choice::Manager(manager) => Some(manager),
            Choice::Nobody | Choice::AskLeader => None,
        },
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Choice {
    Manager(ManagerId),
    Nobody,
    AskLeader,
}

fn chosen(state: &State, health: &Health) -> Choice {
    let is_full = |id: ManagerId| state.manager(id).is_some_and(|manager| manager.is_full());
    let Some(leader) = health.leader.map(|leader| leader.manager).filter(|_| health.later_epoch.is_none()) else {
        return Choice::Nobody;
    };
    let leads = health.role == Role::Leader && health.me.manager == leader;
    match (is_full(leader), leads) {
        // One that the others do not hear any more may have been replaced.
        (_, true) if health.spare().is_none() => Choice::Nobody,
        (true, _) => Choice::Manager(leader),
        (false, false) => Choice::AskLeader,
        (false, true) => {
            let heard = health.members.iter().filter(|member| member.is_heard).map(|member| member.id.manager);
            heard.filter(|id| is_full(*id)).min().map_or(Choice::Nobody, Choice::Manager)
        }
    }
}

#[cfg(test)]
mod tests {
    use festoon_cluster::{MemberHealth, MemberId};
    use festoon_control::registry::{Bootstrap, Command, FORMAT, JoinManager, ManagerRole, ManagerSpec};
    use festoon_control::registry::{CreateToken, TokenPreset, UnixMs, apply};
    use festoon_proto::token::{SecretHash, TokenKind};
    use festoon_proto::{ClusterId, EpochId, PublicKey};

    use super::*;

    fn spec(number: u8, role: ManagerRole) -> ManagerSpec {
        let is_full = role == ManagerRole::Full;
        ManagerSpec {
            name: format!("m{number}"),
            role,
            public_key: PublicKey::from_bytes([number; 32]),
            seal_key: is_full.then_some(PublicKey::from_bytes([100 + number; 32])),
            signing_key: festoon_proto::SigningKey::from_seed([number; 32]).verifying_key(),
            tls_key: festoon_proto::Fingerprint([number; 32]),
            underlay: is_full.then_some(([192, 0, 2, number], 51820).into()).into_iter().collect(),
            https: vec![([192, 0, 2, number], 8443).into()],
            priority: 100,
            format: FORMAT,
        }
    }

    /// Manager 1 and 3 are full, 2 is a witness.
    fn state() -> State {
        let mut commands =
            vec![Command::Bootstrap(Bootstrap { cluster: ClusterId([7; 16]), manager: spec(1, ManagerRole::Full) })];
        for (number, role) in [(2, ManagerRole::Witness), (3, ManagerRole::Full)] {
            let hash = SecretHash([number; 32]);
            commands.push(Command::CreateToken(CreateToken {
                hash,
                kind: TokenKind::Manager,
                network: None,
                addresses: festoon_control::registry::Addresses::NONE,
                preset: TokenPreset { is_for_witness: role == ManagerRole::Witness, ..TokenPreset::default() },
                now: UnixMs(0),
                expires: UnixMs(9_000),
            }));
            let manager = spec(number, role);
            commands.push(Command::JoinManager(JoinManager { token: hash, manager, data_key: None, now: UnixMs(1) }));
        }
        (1..).zip(&commands).fold(State::default(), |state, (index, command)| apply(&state, index, command).unwrap().0)
    }

    fn health(me: u16, role: Role, leader: Option<u16>, heard: &[u16]) -> Health {
        let id = |manager| MemberId { manager: ManagerId(manager), incarnation: 0 };
        let member = |manager| MemberHealth {
            id: id(manager),
            votes: true,
            is_heard: heard.contains(&manager),
            lag: None,
            differs: false,
            clock_ahead_ms: None,
        };
        Health {
            me: id(me),
            role,
            leader: leader.map(id),
            epoch: EpochId::FIRST,
            later_epoch: None,
            term: 1,
            last_log: 1,
            applied: 1,
            is_changing: false,
            members: (1..=3).map(member).collect(),
        }
    }

    #[test]
    fn one_delivers() {
        let state = state();
        let manager = |id| Choice::Manager(ManagerId(id));
        for (health, expected) in [
            (health(1, Role::Leader, Some(1), &[1, 2]), manager(1)),
            (health(1, Role::Leader, Some(1), &[1]), Choice::Nobody),
            (health(3, Role::Follower, Some(1), &[3]), manager(1)),
            (health(3, Role::Candidate, None, &[3]), Choice::Nobody),
            (health(3, Role::Follower, Some(2), &[3]), Choice::AskLeader),
            (health(2, Role::Leader, Some(2), &[2, 3]), manager(3)),
            (health(2, Role::Leader, Some(2), &[1, 2, 3]), manager(1)),
            (health(2, Role::Leader, Some(2), &[2]), Choice::Nobody),
        ] {
            assert_eq!(chosen(&state, &health), expected, "{health:?}");
        }
    }
}
