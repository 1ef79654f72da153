//! The cluster's own CA, and TLS under it.
//!
//! Every manager's certificate holds [`MANAGER_TLS_NAME`](festoon_proto::address::MANAGER_TLS_NAME), which agents check,
//! and a name of its own, which managers check when they talk to one another. There is no list of certificates that were
//! revoked: who may take part is in the registry and asked on every request, so that a removal works at once.

mod authority;
mod credentials;
mod known;
mod leaf;
mod observer;
#[cfg(test)]
mod tests;
mod tls;

use festoon_proto::ManagerId;
use festoon_proto::address::MANAGER_TLS_NAME;
use rustls::pki_types::ServerName;

pub use authority::{Authority, PkiError, SigningRequest, TlsKey, VALIDITY_MS};
pub use credentials::{Credentials, CredentialsError, Tls};
pub use known::{KnownAuthorities, ParseKnownError};
pub use leaf::Leaf;
pub use observer::{Shown, observer_config};
pub use tls::{TlsError, TlsIdentity, certificates, client_config, fingerprints, manager_of, server_config};

/// The name that only `manager` has in its certificate.
pub fn tls_name(manager: ManagerId) -> String {
    format!("{manager}.{MANAGER_TLS_NAME}")
}

/// [`tls_name`] as rustls wants it.
fn server_name(manager: ManagerId) -> Option<ServerName<'static>> {
    ServerName::try_from(tls_name(manager)).ok()
}
