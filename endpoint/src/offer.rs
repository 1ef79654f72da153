//! Tells the managers which routes the endpoint offers.
//!
//! Task: [`Offerer::run`]. It may be cancelled at any point: what is offered is in the map that comes back, and whatever is
//! not as it should be there is said again.

use std::sync::Arc;
use std::time::Duration;

use festoon_proto::http::OfferRequest;
use festoon_proto::map::EndpointMap;
use ipnet::IpNet;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::https::{Managers, ask_any};
use crate::state::StateDir;

/// How soon what managers could not take is said again.
const AGAIN: Duration = Duration::from_secs(15);

/// Offers routes.
#[derive(Debug)]
pub struct Offerer {
    /// What is to be offered.
    pub routes: Vec<IpNet>,
    /// Where the endpoint keeps how it proves itself.
    pub state: StateDir,
    /// The map in use.
    pub maps: watch::Receiver<Arc<EndpointMap>>,
}

impl Offerer {
    /// Runs until the session is gone.
    pub async fn run(mut self) {
        let mut known_refusal = None;
        loop {
            let map = Arc::clone(&self.maps.borrow_and_update());
            let is_done = is_offered(&self.routes, &map);
            if !is_done {
                let refusal = self.offer(&map).await.err().map(|error| error.to_string());
                if refusal != known_refusal {
                    match &refusal {
                        Some(refusal) => tracing::warn!(%refusal, "the routes of this host are not offered yet"),
                        None => {
                            tracing::info!(routes = ?self.routes, "the routes of this host are offered to an admin");
                        }
                    }
                    known_refusal = refusal;
                }
            }
            let changed =
                if is_done { Ok(self.maps.changed().await) } else { timeout(AGAIN, self.maps.changed()).await };
            if let Ok(Err(_)) = changed {
                return;
            }
        }
    }

    async fn offer(&self, map: &EndpointMap) -> anyhow::Result<()> {
        let (request, managers) = (OfferRequest { prefixes: self.routes.clone() }, Managers::of_map(map, None));
        let credential = self.state.credential(map.endpoint)?;
        Ok(ask_any(&managers, |manager| manager.offer(&credential, &request)).await?)
    }
}

fn is_offered(routes: &[IpNet], map: &EndpointMap) -> bool {
    let mut wanted = routes.to_vec();
    let mut offered: Vec<_> = map.own_routes.iter().map(|route| route.prefix).collect();
    wanted.sort_unstable();
    wanted.dedup();
    offered.sort_unstable();
    wanted == offered
}
