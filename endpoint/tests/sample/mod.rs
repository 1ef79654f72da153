//! The map of some agent, for the tests of this package, inside of it and outside.

use festoon_proto::map::{EndpointMap, ManagerInfo, MapVersion, NetworkInfo, Timing};
use festoon_proto::{ClusterId, EndpointId, EpochId, Fingerprint, ManagerId, NetworkId, PublicKey, SigningKey};

/// Of `web` (e7), with the manager `frankfurt` (m1), which nobody reaches. Its network holds that manager's underlay address.
pub(crate) fn map() -> EndpointMap {
    let manager = ManagerInfo {
        id: ManagerId(1),
        name: "frankfurt".into(),
        public_key: PublicKey::from_bytes([9; 32]),
        previous_key: None,
        signing_key: SigningKey::from_seed([9; 32]).verifying_key(),
        underlay: vec!["192.0.2.1:51820".parse().unwrap()],
        https: vec!["127.0.0.1:9".parse().unwrap()],
        priority: 100,
    };
    EndpointMap {
        version: MapVersion(3),
        cluster: ClusterId([1; 16]),
        endpoint: EndpointId(7),
        name: "web".into(),
        network: NetworkInfo {
            id: NetworkId(1),
            name: "prod".into(),
            prefixes: vec![
                "172.31.0.0/16".parse().unwrap(),
                "fd00::/64".parse().unwrap(),
                "192.0.2.0/24".parse().unwrap(),
            ],
            gateways: vec!["172.31.0.1".parse().unwrap()],
            mtu: 1380,
            changed: MapVersion(1),
        },
        addresses: vec!["172.31.0.5".parse().unwrap(), "fd00::5".parse().unwrap()],
        given: Vec::new(),
        routes: Vec::new(),
        own_routes: Vec::new(),
        is_key_due: false,
        managers: vec![manager],
        epoch: EpochId::FIRST,
        recovery_key: None,
        authorities: vec![Fingerprint([2; 32])],
        timing: Timing::default(),
    }
}
