//! A packet out of a tunnel: parsed, and changed as a router changes it.
#![no_main]

use festoon_dataplane::packet::ip::{IpHeader, clamp_mss, decrement_hop_limit};
use festoon_dataplane::router::icmp::{IcmpError, echo_reply, error};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(header) = IpHeader::parse(bytes) else { return };
    assert!(header.len <= bytes.len());
    // Nothing behind it, as in a forwarder: what reads too far must be seen.
    let mut packet = bytes[..header.len].to_vec();
    for reason in [IcmpError::HopLimit, IcmpError::NoRoute, IcmpError::TooBig(1280)] {
        for gateway in ["172.31.0.1", "fd00::1"] {
            if let Some(reply) = error(&packet, &header, reason, gateway.parse().expect("an address")) {
                IpHeader::parse(&reply).expect("an ICMP error is a packet");
            }
        }
    }
    clamp_mss(&mut packet, &header, 1360);
    decrement_hop_limit(&mut packet);
    let changed = IpHeader::parse(&packet).expect("still a packet");
    assert_eq!(changed.hop_limit, header.hop_limit.saturating_sub(1));
    if echo_reply(&mut packet, &changed) {
        let reply = IpHeader::parse(&packet).expect("still a packet");
        assert_eq!((reply.source, reply.destination), (header.destination, header.source));
    }
});
