//! The configuration of a stock WireGuard client, as `wg-quick` reads it.

use std::fmt::Write as _;

use anyhow::Context as _;
use festoon_proto::ManagerId;
use festoon_proto::harmless::harmless;
use festoon_proto::map::{EndpointMap, ManagerInfo};
use ipnet::IpNet;

/// Keeps a NAT's mapping and the manager's idea of where the client is, in seconds.
const KEEPALIVE: u16 = 25;

/// Whether `wanted` is the name or the id of a manager.
pub fn is_named(wanted: &str, id: ManagerId, name: &str) -> bool {
    wanted == name || wanted.parse() == Ok(id)
}

/// What stands in the place of a private key that only the client has.
pub const NO_KEY: &str = "<the private key, which only this client has>";

/// The configuration of the client whose private key is `key`, in base64. Secret, if it is.
pub fn to_conf(map: &EndpointMap, key: &str, manager: Option<&str>) -> anyhow::Result<String> {
    let manager = choose(&map.managers, manager).context("the cluster has no such manager")?;
    let underlay = manager.underlay.first().context("the manager has no underlay address")?;
    let addresses = map.addresses.iter().copied().map(IpNet::from);
    let mut conf = String::new();
    // Writing to a string does not fail.
    let _ = writeln!(
        conf,
        "# {}",
        harmless(&format!("{} in network {}, through manager {}", map.name, map.network.name, manager.name))
    );
    let _ = writeln!(conf, "[Interface]");
    let _ = writeln!(conf, "PrivateKey = {}", key);
    let _ = writeln!(conf, "Address = {}", list(addresses));
    let _ = writeln!(conf, "MTU = {}", map.network.mtu);
    let _ = writeln!(conf, "\n[Peer]");
    let _ = writeln!(conf, "PublicKey = {}", manager.public_key);
    let _ = writeln!(conf, "Endpoint = {underlay}");
    let _ = writeln!(conf, "AllowedIPs = {}", list(map.network.prefixes.iter().chain(&map.routes).copied()));
    let _ = writeln!(conf, "PersistentKeepalive = {KEEPALIVE}");
    Ok(conf)
}

/// The manager that was named, or the one of the highest priority; of equals, the first.
fn choose<'a>(managers: &'a [ManagerInfo], wanted: Option<&str>) -> Option<&'a ManagerInfo> {
    match wanted {
        Some(wanted) => managers.iter().find(|manager| is_named(wanted, manager.id, &manager.name)),
        None => managers.iter().rev().max_by_key(|manager| manager.priority),
    }
}

fn list(prefixes: impl Iterator<Item = IpNet>) -> String {
    prefixes.map(|prefix| prefix.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use festoon_proto::map::{MapVersion, NetworkInfo, Timing};
    use festoon_proto::{ClusterId, EndpointId, EpochId, NetworkId, PrivateKey, PublicKey, VerifyingKey};

    use super::*;

    fn manager(id: u16, priority: u8) -> ManagerInfo {
        ManagerInfo {
            id: ManagerId(id),
            name: format!("cloud-{id}"),
            public_key: PublicKey::from_bytes([id as u8; 32]),
            previous_key: None,
            signing_key: VerifyingKey([id as u8; 32]),
            underlay: vec![([192, 0, 2, id as u8], 51820).into()],
            https: Vec::new(),
            priority,
        }
    }

    fn map() -> EndpointMap {
        EndpointMap {
            version: MapVersion(1),
            cluster: ClusterId([1; 16]),
            endpoint: EndpointId(1),
            name: "laptop".to_owned(),
            network: NetworkInfo {
                id: NetworkId(1),
                name: "default".to_owned(),
                prefixes: vec!["172.31.0.0/16".parse().unwrap(), "fd00:1::/64".parse().unwrap()],
                gateways: Vec::new(),
                mtu: 1360,
                changed: MapVersion(1),
            },
            addresses: vec!["172.31.0.2".parse().unwrap(), "fd00:1::2".parse().unwrap()],
            given: Vec::new(),
            routes: Vec::new(),
            own_routes: Vec::new(),
            is_key_due: false,
            managers: vec![manager(1, 5), manager(2, 9), manager(3, 9)],
            epoch: EpochId::FIRST,
            recovery_key: None,
            authorities: Vec::new(),
            timing: Timing::default(),
        }
    }

    #[test]
    fn the_configuration_is_what_wg_quick_reads() {
        let key = PrivateKey::from_bytes([7; 32]);
        let conf = to_conf(&map(), &key.to_secret_base64(), None).unwrap();
        let expected = format!(
            "# laptop in network default, through manager cloud-2\n[Interface]\nPrivateKey = {}\n\
             Address = 172.31.0.2/32, fd00:1::2/128\nMTU = 1360\n\n[Peer]\nPublicKey = {}\n\
             Endpoint = 192.0.2.2:51820\nAllowedIPs = 172.31.0.0/16, fd00:1::/64\nPersistentKeepalive = 25\n",
            key.to_secret_base64(),
            PublicKey::from_bytes([2; 32])
        );
        assert_eq!(conf, expected);
    }

    #[test]
    fn a_manager_may_be_named() {
        let key = PrivateKey::from_bytes([7; 32]);
        for wanted in ["cloud-3", "m3", "3"] {
            assert!(
                to_conf(&map(), &key.to_secret_base64(), Some(wanted)).unwrap().contains("192.0.2.3:51820"),
                "{wanted}"
            );
        }
        assert!(to_conf(&map(), &key.to_secret_base64(), Some("cloud-4")).is_err());
    }
}
