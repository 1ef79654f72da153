//! Tells the cluster which program this manager runs: its release, for people, and the format that it understands. While managers
//! run different versions the cluster uses the highest format that all of them understand; with the last upgrade it begins to
//! use the new one.

use std::sync::Arc;
use std::time::Duration;

use festoon_control::registry::{AnnounceProgram, Command, FORMAT, State};
use festoon_proto::ManagerId;

use super::{Cluster, ProposeError};

/// How long after a failure it is told again.
const AGAIN: Duration = Duration::from_secs(5);

/// The release of this program.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Announces this program for as long as the registry says that manager `me` runs another. May be cancelled at any time. Ends
/// with the registry.
pub async fn announce_program(cluster: Cluster, me: ManagerId) {
    let mut states = cluster.watch();
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        let is_told = !is_news(&state, me) || announce(&cluster, me).await;
        let pause = async { if is_told { std::future::pending().await } else { tokio::time::sleep(AGAIN).await } };
        tokio::select! {
            changed = states.changed() => if changed.is_err() { return },
            () = pause => {}
        }
    }
}

fn is_news(state: &State, me: ManagerId) -> bool {
    state.manager(me).is_some_and(|me| me.format != FORMAT || me.release.as_deref() != Some(RELEASE))
}

/// Whether that needs no other try.
async fn announce(cluster: &Cluster, me: ManagerId) -> bool {
    let program = AnnounceProgram { manager: me, format: FORMAT, release: RELEASE.to_owned() };
    match cluster.propose(Command::AnnounceProgram(program)).await {
        Ok(_) => tracing::info!(format = FORMAT, release = RELEASE, "the cluster knows what this manager runs"),
        Err(ProposeError::Refused(refusal)) => tracing::error!(%refusal, "this program does not fit the cluster's"),
        Err(error) => {
            tracing::debug!(%error, "the cluster does not know yet what this manager runs");
            return false;
        }
    }
    true
}
