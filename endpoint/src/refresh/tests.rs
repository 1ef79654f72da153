//! Maps from real TLS servers, and the pauses between attempts.

use std::net::SocketAddr;

use festoon_proto::Fingerprint;
use festoon_proto::address::agent_tls_name;
use festoon_proto::token::TokenSecret;

use super::*;
use crate::https::tests::Ca;
use crate::sample;
use crate::state::Identity;

/// With a manager whose HTTPS listener is there.
fn map(version: u64, at: SocketAddr, authorities: &[Fingerprint]) -> EndpointMap {
    let mut map = EndpointMap { version: MapVersion(version), authorities: authorities.to_vec(), ..sample::map() };
    map.managers[0].https = vec![at];
    map
}

/// A manager of this CA that gives this map to everybody.
async fn serve(ca: &Ca, map: &EndpointMap) -> SocketAddr {
    let body = serde_json::to_string(map).unwrap();
    let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    ca.serve(&agent_tls_name(map.managers[0].id), &(head + &body)).await
}

#[tokio::test]
async fn an_agent_learns_of_the_next_ca_from_the_one_it_knows() {
    let (before, next) = (Ca::new("before"), Ca::new("next"));
    let both = [before.fingerprint(), next.fingerprint()];
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 9));
    // The last manager is of the next CA alone, and sends a map that would be the end of all trust.
    let last = serve(&next, &map(4, nowhere, &[])).await;
    let second = serve(&next, &map(3, last, &both[1..])).await;
    let first = serve(&before, &map(2, second, &both)).await;
    let directory = tempfile::tempdir().unwrap();
    let state = StateDir::new(directory.path());
    let (_session, want) = watch::channel(Want::default());
    let (maps, mut new_maps) = mpsc::channel(8);
    state.store_identity(&Identity::generate(&TokenSecret::from_bytes([1; 32]))).unwrap();
    let known = Arc::new(map(1, second, &both[..1]));
    let mut agent = Refresher { state: state.clone(), map: known, want, maps };
    assert_eq!(agent.attempt(Want::default(), true).await, Outcome::Failed, "nobody vouches for the next CA");
    agent.map = Arc::new(map(1, first, &both[..1]));
    for version in [2, 3] {
        assert_eq!(agent.attempt(Want::default(), true).await, Outcome::Newer);
        assert_eq!(new_maps.recv().await.unwrap().version, MapVersion(version));
    }
    assert_eq!(agent.map.authorities, both[1..]);
    assert_eq!(agent.attempt(Want::default(), true).await, Outcome::Failed, "nobody would be believed any more");
    assert_eq!(agent.map.version, MapVersion(3));
    let stored = std::fs::read(directory.path().join("map.json")).unwrap();
    assert_eq!(serde_json::from_slice::<EndpointMap>(&stored).unwrap(), *agent.map);
}

#[test]
fn pauses_grow_to_a_limit_and_differ_between_endpoints() {
    assert_eq!(pause(Outcome::Newer, true, 0, 0.5), Duration::ZERO);
    assert_eq!(pause(Outcome::Failed, true, 1, 1.0), FIRST_PAUSE);
    assert_eq!(pause(Outcome::Failed, true, 2, 1.0), FIRST_PAUSE * 2);
    assert_eq!(pause(Outcome::Failed, true, 2, 0.0), FIRST_PAUSE);
    assert_eq!(pause(Outcome::NothingNew, false, u32::MAX, 1.0), LAST_PAUSE);
    assert_eq!(pause(Outcome::Failed, true, u32::MAX, 1.0), LAST_PAUSE_LOST);
    assert_eq!(pause(Outcome::Removed, true, 1, 1.0), FIRST_PAUSE, "who refuses may lag behind");
    assert_eq!(pause(Outcome::Removed, true, ODD + 1, 0.0), REMOVED_PAUSE / 2);
}
