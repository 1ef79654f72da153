//! Whom TLS believes outside the cluster: the CAs that this machine does.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A client for receivers and brokers. What the machine believes is read anew with each, so that a CA which its admin adds
/// counts without a restart.
pub(super) fn client_config() -> Result<ClientConfig, rustls::Error> {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a CA of this machine can't be read");
    }
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        tracing::warn!("this machine trusts no CA, so no receiver of events is believed: install ca-certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
