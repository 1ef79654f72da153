//! `festoon-manager drain`: the manager that is asked takes no more endpoints. It does so without a quorum too.

use festoon_api::{Cluster, Manager};

use super::client::api;
use super::record::{Record as _, Session};

/// Of the manager that is asked.
pub(super) async fn run(session: &Session, is_draining: bool) -> anyhow::Result<()> {
    let cluster: Cluster = session.client.get(&api("/cluster")).await?;
    let me: Manager = session.client.get(&api(&format!("{}/{}", Manager::PATH, cluster.manager))).await?;
    set(session, &me, is_draining).await
}

/// Of any manager.
pub(super) async fn set(session: &Session, manager: &Manager, is_draining: bool) -> anyhow::Result<()> {
    let verb = if is_draining { "drain" } else { "undrain" };
    let path = api(&format!("{}/{verb}", manager.path()));
    let manager: Manager = session.client.send(axum::http::Method::POST, &path, &()).await?;
    session.output.show(&manager, || match is_draining {
        true => format!(
            "{} is draining: agents move to other managers as they hear of it. `festoon-manager status` shows who is left.\n",
            manager.title()
        ),
        false => format!("{} takes endpoints again.\n", manager.title()),
    })
}
