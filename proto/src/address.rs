//! Addresses that Festoon derives by itself.

use std::net::Ipv6Addr;

use crate::{ManagerId, PublicKey};

/// UDP port on which a node receives its tunnels and links.
pub const UNDERLAY_PORT: u16 = 51820;

/// TCP port of a manager's HTTPS listener.
pub const HTTPS_PORT: u16 = 8443;

/// The name in the certificate of every full manager, for whoever knows the cluster's CA and no manager yet: with a join
/// token, or a login. Managers are reached by address and this name is checked instead, so that a manager can change its
/// addresses and keep its certificate. A witness does not have it.
pub const MANAGER_TLS_NAME: &str = "manager.festoon.internal";

/// The name that agents check when their map says which manager they talk to. Only that full manager has it.
pub fn agent_tls_name(manager: ManagerId) -> String {
    format!("{manager}.agent.festoon.internal")
}

/// The name that managers check when they talk to one another. Only that manager has it.
pub fn cluster_tls_name(manager: ManagerId) -> String {
    format!("{manager}.cluster.festoon.internal")
}

/// UDP port of signal messages, between the link-local addresses inside a tunnel.
pub const SIGNAL_PORT: u16 = 51821;

/// The link-local address (RFC 4291 section 2.5.6) of the node that owns `key`, inside its tunnels.
///
/// Its interface identifier is the first 64 bits of SHA-256 over a fixed label and the key, so both ends know it
/// without asking and the customer's own addresses are never used up for Festoon's messages.
pub fn link_local(key: &PublicKey) -> Ipv6Addr {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"festoon link-local 1");
    context.update(key.as_bytes());
    let digest = context.finish();
    let mut octets = [0; 16];
    octets[..2].copy_from_slice(&[0xfe, 0x80]);
    octets[8..].copy_from_slice(&digest.as_ref()[..8]);
    Ipv6Addr::from(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_link_local_and_depends_on_the_key_alone() {
        let one = link_local(&PublicKey::from_bytes([1; 32]));
        assert_eq!(one.segments()[..4], [0xfe80, 0, 0, 0]);
        assert_eq!(one, link_local(&PublicKey::from_bytes([1; 32])));
        assert_ne!(one, link_local(&PublicKey::from_bytes([2; 32])));
    }
}
