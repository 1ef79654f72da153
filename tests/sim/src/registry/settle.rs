//! When nothing goes wrong any more: a cluster agrees again, and everybody has everything.

use std::collections::BTreeSet;
use std::time::Duration;

use festoon_cluster::MemberId;
use festoon_control::registry::{Command, State};
use festoon_proto::ManagerId;
use tokio::time::{sleep, timeout};

use super::history::{Answer, Said};
use super::net::Process;
use super::world::{LOOK, World};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(60);
/// How soon all hear of the last change.
const SOON: Duration = Duration::from_secs(2);
/// The client that sees whether changes are taken again.
const CLIENT: u64 = 999;

impl World {
    /// Whether all machines run and vote, and nobody else does, as their leader says.
    pub(super) fn is_whole(&self) -> bool {
        let wanted: BTreeSet<MemberId> = self.machines().iter().map(|machine| machine.member()).collect();
        let processes = self.net.processes();
        // All must know that no change of the voters is under way: what the leader alone has in its log may be lost with it.
        let knows = |(_, process): &(ManagerId, Process)| {
            let health = process.cluster.health();
            let voters: BTreeSet<_> = health.members.iter().filter(|it| it.votes).map(|it| it.id).collect();
            voters == wanted && !health.is_changing && health.members.iter().all(|it| it.votes)
        };
        let hears_all = |(_, process): &(ManagerId, Process)| {
            let health = process.cluster.health();
            health.leader == Some(health.me) && health.members.iter().all(|it| it.is_heard)
        };
        processes.len() == wanted.len() && processes.iter().all(knows) && processes.iter().any(hears_all)
    }

    /// Whether all have carried out the same, soon after the last change.
    async fn agree_soon(&self) -> bool {
        let agree = || {
            let states: Vec<_> = self.net.processes().iter().map(|(_, process)| progress(process)).collect();
            states.windows(2).all(|pair| pair[0] == pair[1])
        };
        let wait = async {
            while !agree() {
                sleep(LOOK).await;
            }
        };
        timeout(SOON, wait).await.is_ok()
    }

    /// Waits until the cluster is in order, and gives the state that all have then.
    pub(super) async fn settle(&self) -> Option<std::sync::Arc<State>> {
        let in_order = async {
            while !(self.is_whole() && self.writes_everywhere().await && self.agree_soon().await) {
                sleep(LOOK).await;
            }
        };
        if timeout(LIMIT, in_order).await.is_err() {
            let processes = self.net.processes();
            let all: Vec<_> = processes.iter().map(|(_, process)| format!("{:?}", process.cluster.health())).collect();
            self.wrong(format!("the cluster is not in order after {LIMIT:?} without faults: {}", all.join("\n")));
        }
        self.net.processes().first().map(|(_, process)| process.cluster.snapshot())
    }

    /// Whether every manager takes a change.
    async fn writes_everywhere(&self) -> bool {
        for (id, process) in self.net.processes() {
            let command = Command::Expire(self.clock(0));
            if !matches!(self.propose(CLIENT, id, &process, command).await, Answer::Said(Said { result: Ok(_), .. })) {
                return false;
            }
        }
        true
    }
}

fn progress(process: &Process) -> (u64, u64) {
    (process.cluster.health().applied, process.cluster.snapshot().version().0)
}
