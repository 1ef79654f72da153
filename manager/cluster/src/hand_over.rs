//! A witness leads only while no full manager can: as soon as one has all of the log, the witness gives way.
//!
//! One task, on every member; it acts only on a witness that leads. May be dropped at any time.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::State;
use openraft::{EmptyNode, Raft, RaftMetrics};
use tokio::sync::watch;

use crate::health::SILENT;
use crate::network::Network;
use crate::silence::Silence;
use crate::transport::Transport;
use crate::types::{MemberId, TypeConfig};

/// How long a witness that leads is silent, for a full manager to miss it and be elected.
const LIMIT: Duration = Duration::from_millis(1800);
/// How long after an attempt that came to nothing the next is made. The registry can't be changed during one.
const PAUSE: Duration = Duration::from_secs(15);

/// Gives way whenever there is somebody to give way to.
pub(crate) async fn keep<T: Transport>(
    raft: &Raft<TypeConfig>,
    states: &watch::Receiver<Arc<State>>,
    network: &Network<T>,
    silence: &Silence,
) {
    let (me, mut metrics) = (network.me, raft.metrics());
    loop {
        let is_heard = |id: MemberId| network.reach.silence(id).is_some_and(|silence| silence < SILENT);
        let is_due = metrics.wait_for(|metrics| is_due(&states.borrow(), metrics, me, is_heard)).await.map(drop);
        if is_due.is_err() {
            return std::future::pending().await;
        }
        tracing::info!("this witness leads the registry, and gives way to a full manager");
        if !silence.until_another_leads(raft, me, LIMIT).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Whether this is a witness that leads, and a full manager votes that is heard and lacks nothing.
fn is_due(
    state: &State,
    metrics: &RaftMetrics<MemberId, EmptyNode>,
    me: MemberId,
    is_heard: impl Fn(MemberId) -> bool,
) -> bool {
    let is_full = |id: MemberId| state.manager(id.manager).is_some_and(|manager| manager.is_full());
    let Some(progress) = &metrics.replication else { return false };
    if metrics.current_leader != Some(me) || state.manager(me.manager).is_none_or(|me| me.is_full()) {
        return false;
    }
    let last = metrics.last_log_index;
    let has_all = |id: MemberId| progress.get(&id).copied().flatten().map(|matched| matched.index) >= last;
    metrics.membership_config.voter_ids().any(|id| is_full(id) && is_heard(id) && has_all(id))
}
