//! Tells the cluster which format this program understands. While managers run different versions the cluster uses the
//! highest that all of them understand; with the last upgrade it begins to use the new one.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{AnnounceFormat, Command, State};
use festoon_proto::ManagerId;

use super::{Cluster, ProposeError};

/// How long after a failure it is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// Announces `format`, the highest that this program understands, for as long as the registry says another of manager `me`.
/// May be cancelled at any time. Ends with the registry.
pub async fn announce_format(cluster: Cluster, me: ManagerId, format: u16) {
    let mut states = cluster.watch();
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let is_told = !is_news(&state, me, format) || announce(&cluster, AnnounceFormat { manager: me, format }).await;
        let pause = async { if is_told { std::future::pending().await } else { tokio::time::sleep(AGAIN).await } };
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

fn is_news(state: &State, me: ManagerId, format: u16) -> bool {
    state.manager(me).is_some_and(|me| me.format != format)
}

/// Whether that needs no other try.
async fn announce(cluster: &Cluster, command: AnnounceFormat) -> bool {
    match cluster.propose(Command::AnnounceFormat(command)).await {
        Ok(_) => tracing::info!(format = command.format, "the cluster knows what this program understands"),
        Err(ProposeError::Refused(refusal)) => tracing::error!(%refusal, "this program does not fit the cluster's"),
        Err(error) => {
            tracing::debug!(%error, "the cluster does not know yet what this program understands");
            return false;
        }
    }
    true
}
