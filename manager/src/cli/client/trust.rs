//! Whom to believe before anything is known of a cluster: what a manager shows of its CA, for a person to compare.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, bail};
use festoon_proto::Fingerprint;

use super::Server;
use crate::pki::observer_config;

/// The fingerprint of the CA that the certificate of this server comes from, as the server says. Nothing is sent to it.
///
/// # Errors
/// When nobody is there, or shows no CA.
pub(in crate::cli) async fn fingerprint_of(server: &Server) -> anyhow::Result<Fingerprint> {
    let shown = Arc::new(Mutex::new(Vec::new()));
    let connected = server.connect(observer_config(Arc::clone(&shown))?).await;
    let chain = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match (chain.get(1), connected) {
        (Some(ca), _) => Ok(Fingerprint::of(ca)),
        (None, Err(error)) if chain.is_empty() => Err(error).with_context(|| server.to_string()),
        (None, _) => bail!("{server} shows no CA of its own: this is no manager of Festoon"),
    }
}
