//! `festoon-manager drain`: the manager on this machine takes no more endpoints. It does so without a quorum too.

use std::path::Path;

use axum::http::Method;

use super::client::Client;
use super::output::print;
use crate::local::{DRAINING, Draining};

pub(super) async fn run(root: &Path, draining: bool) -> anyhow::Result<()> {
    Client::local(root).send::<()>(Method::PUT, DRAINING, &Draining { draining }).await?;
    match draining {
        true => print(
            "Draining: agents move to other managers as they hear of it. `festoon-manager status` shows who is left.\n",
        ),
        false => Ok(()),
    }
}
