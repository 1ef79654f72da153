//! What a tunnel does by its clock alone.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use festoon_dataplane::tunnel::{Identity, Opened, Tunnel, clock};
use festoon_proto::PrivateKey;

#[test]
fn a_session_is_there_until_it_is_too_old() {
    let from = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let [a_id, b_id] = [1, 2].map(|byte| Identity::new(&PrivateKey::from_bytes([byte; 32])));
    let (mut a, mut b) = (Tunnel::new(&a_id, &b_id.public_key(), 7), Tunnel::new(&b_id, &a_id.public_key(), 9));
    let (mut wire, mut reply) = ([0; 2048], [0; 2048]);
    let len = a.initiate(&mut wire);
    let Opened::Reply(len) = b.open(from, &wire[..len], &mut reply) else { panic!("no response") };
    assert!(matches!(a.open(from, &reply[..len], &mut wire), Opened::Established(_)));
    // A session is rejected after 180 seconds: section 6.1 of the protocol's paper.
    for (seconds, is_there) in [(170, true), (20, false)] {
        clock::advance(Duration::from_secs(seconds));
        a.handle_timeout(&mut wire);
        assert_eq!((a.has_session(), a.session_age().is_some()), (is_there, is_there), "{seconds}");
    }
}
