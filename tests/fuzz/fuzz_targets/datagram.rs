//! Anything at all on the UDP port of a manager and of an endpoint.
#![no_main]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::time::Instant;

use festoon_dataplane::batch::Coalesce;
use festoon_dataplane::forwarder::{HostForwarder, RouterForwarder};
use festoon_dataplane::{Effects, UnderlayPath};
use festoon_proto::PrivateKey;
use libfuzzer_sys::fuzz_target;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fuzz_target!(|datagram: &[u8]| {
    let remote = SocketAddr::from(([192, 0, 2, 1], 51820));
    let path = UnderlayPath { remote, local: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)) };
    let mut effects = Effects::new(64, Coalesce::TcpAndUdp);
    let key = PrivateKey::from_bytes([1; 32]);
    let (mut router, mut host) = (RouterForwarder::new(&key), HostForwarder::new(&key));
    router.handle_underlay(*START, path, datagram, &mut effects);
    host.handle_underlay(*START, path, datagram, &mut effects);
    router.handle_handshake(*START, &mut effects);
    host.handle_handshake(*START, &mut effects);
    assert_eq!(effects.overlay.packets().count(), 0);
});
