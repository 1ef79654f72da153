//! The cluster's own CA, and TLS under it.
//!
//! A certificate holds a name that managers check when they talk to one another, and that of a full manager two more: one for
//! agents whose map names it, and [`MANAGER_TLS_NAME`](festoon_proto::address::MANAGER_TLS_NAME) for whoever knows no manager
//! yet. A witness serves neither. The CA's key is on every full manager, so a certificate counts among managers only if the
//! manager itself stands for it (see [`Tied`]). There is no list of certificates that were revoked: who may take part is in
//! the registry and asked on every request, so that a removal works at once.

mod authority;
mod credentials;
mod known;
mod leaf;
mod members;
mod observer;
#[cfg(test)]
mod tests;
mod tied;
mod tls;

use festoon_proto::ManagerId;
use festoon_proto::address::cluster_tls_name;
use rustls::pki_types::ServerName;

pub use authority::{Authority, PkiError, SigningRequest, TlsKey, VALIDITY_MS};
pub use credentials::{Credentials, CredentialsError, Tls};
pub use known::{KnownAuthorities, ParseKnownError};
pub use leaf::Leaf;
pub use observer::{Shown, observer_config};
pub use tied::Tied;
pub use tls::{
    CLUSTER_ALPN, CONSENSUS_ALPN, TlsError, TlsIdentity, certificates, client_config, fingerprints, manager_of,
    of_manager, server_config,
};

/// [`cluster_tls_name`] as rustls wants it.
fn server_name(manager: ManagerId) -> Option<ServerName<'static>> {
    ServerName::try_from(cluster_tls_name(manager)).ok()
}
