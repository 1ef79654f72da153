//! Whether a cluster that is to be restored is lost at all: its managers are asked.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use festoon_control::registry::State;
use festoon_proto::ManagerId;
use festoon_proto::address::cluster_tls_name;
use festoon_proto::http::AGENT_MAP;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use crate::pki::{client_config, fingerprints};
use crate::vault::trusted_pem;

/// A manager that runs answers within this; one that is gone may not refuse.
const LIMIT: Duration = Duration::from_secs(3);

/// A manager that answers.
pub(super) struct Survivor {
    name: String,
    at: SocketAddr,
}

impl fmt::Display for Survivor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.at)
    }
}

/// The managers of `state` that answer at one of their addresses, with a certificate of the cluster. May be cancelled at any
/// time.
pub(super) async fn find(state: &State) -> anyhow::Result<Vec<Survivor>> {
    let tls = client_config(&fingerprints(&trusted_pem(state))?, None)?;
    let mut asked = JoinSet::new();
    // All at once: one that is gone may let us wait.
    for manager in state.managers() {
        for &at in &manager.https {
            let (tls, id, name) = (tls.clone(), manager.id, manager.name.clone());
            asked.spawn(async move { serves(tls, id, at).await.then_some(Survivor { name, at }) });
        }
    }
    let mut found: Vec<_> = asked.join_all().await.into_iter().flatten().collect();
    found.sort_by(|one, other| (&one.name, one.at).cmp(&(&other.name, other.at)));
    found.dedup_by(|one, other| one.name == other.name);
    Ok(found)
}

/// Whether it serves there. Any answer says so, a refusal too: only who has its key completes the handshake.
async fn serves(tls: ClientConfig, manager: ManagerId, at: SocketAddr) -> bool {
    let name = cluster_tls_name(manager);
    let client = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .resolve(&name, at)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(LIMIT)
        .build();
    match client {
        Ok(client) => client.get(format!("https://{name}:{}{AGENT_MAP}", at.port())).send().await.is_ok(),
        Err(_) => false,
    }
}
