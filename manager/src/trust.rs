//! Whom TLS believes outside the cluster: the CAs that this machine does.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// The CAs of this machine. They are read anew each time, so that one which its admin adds counts without a restart.
pub(crate) fn authorities() -> RootCertStore {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "a CA of this machine can't be read");
    }
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(found.certs);
    if authorities.is_empty() {
        tracing::warn!("this machine trusts no CA, so nobody outside the cluster is believed: install ca-certificates");
    }
    authorities
}

/// A client for whoever has a certificate of these.
pub(crate) fn client_config(authorities: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(builder.with_root_certificates(authorities).with_no_client_auth())
}
