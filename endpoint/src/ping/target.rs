//! Whom a name means. Pure but for the names that only the host's resolver knows, which are left to the caller.

use std::net::IpAddr;

use festoon_proto::ManagerId;
use festoon_proto::map::EndpointMap;

/// Means the manager that carries this endpoint.
const CARRIER: &str = "manager";
/// Means the address that managers answer for.
const GATEWAY: &str = "gateway";

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A manager, in its tunnel.
    Manager(ManagerId),
    /// Somebody in the overlay.
    Address(IpAddr),
}

/// Nobody can be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// `manager`, but there is none now.
    #[error("no manager carries this endpoint now: name one, as in `festoon ping m1`, or see `festoon status`")]
    NoManager,
    /// The overlay does not lead there.
    #[error("{0} is not in the overlay, so Festoon does not carry packets to it: use `ping {0}`")]
    Outside(IpAddr),
    /// The network has none.
    #[error("this network has no gateway")]
    NoGateway,
    /// The resolver does not know the name, or only addresses outside.
    #[error("{0:?} is no manager, no address, and no name that this host resolves to an address in the overlay")]
    Unknown(String),
}

/// Whom `name` means as far as the map tells; `None` if the resolver must be asked. `active` carries this endpoint.
pub fn find(name: &str, map: &EndpointMap, active: Option<ManagerId>) -> Result<Option<Target>, TargetError> {
    if let Ok(address) = name.parse::<IpAddr>() {
        let inside = is_inside(address, map);
        return if inside { Ok(Some(Target::Address(address))) } else { Err(TargetError::Outside(address)) };
    }
    let known = map.managers.iter().find(|it| it.name == name || it.id.to_string() == name);
    match (known, name) {
        (Some(manager), _) => Ok(Some(Target::Manager(manager.id))),
        (None, CARRIER) => active.map(|id| Some(Target::Manager(id))).ok_or(TargetError::NoManager),
        (None, GATEWAY) => {
            map.network.gateways.first().map(|&gateway| Some(Target::Address(gateway))).ok_or(TargetError::NoGateway)
        }
        (None, _) if name == map.name => Ok(map.addresses.first().map(|&address| Target::Address(address))),
        _ => Ok(None),
    }
}

/// The one to ask of the addresses that the resolver has for `name`.
pub fn choose(name: &str, addresses: &[IpAddr], map: &EndpointMap) -> Result<Target, TargetError> {
    let inside = addresses.iter().copied().find(|&address| is_inside(address, map));
    match (inside, addresses) {
        (Some(address), _) => Ok(Target::Address(address)),
        (None, &[only]) => Err(TargetError::Outside(only)),
        (None, _) => Err(TargetError::Unknown(name.to_owned())),
    }
}

fn is_inside(address: IpAddr, map: &EndpointMap) -> bool {
    map.network.prefixes.iter().chain(&map.routes).any(|prefix| prefix.contains(&address))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::map;

    const M1: Target = Target::Manager(ManagerId(1));

    fn address(text: &str) -> Target {
        Target::Address(text.parse().unwrap())
    }

    #[test]
    fn the_map_is_asked_first() {
        for (name, expected) in [
            ("172.31.0.9", Ok(Some(address("172.31.0.9")))),
            ("fd00::77", Ok(Some(address("fd00::77")))),
            ("8.8.8.8", Err(TargetError::Outside("8.8.8.8".parse().unwrap()))),
            ("gateway", Ok(Some(address("172.31.0.1")))),
            ("web", Ok(Some(address("172.31.0.5")))),
            ("manager", Ok(Some(M1))),
            ("frankfurt", Ok(Some(M1))),
            ("m1", Ok(Some(M1))),
            ("m2", Ok(None)),
            ("db.example", Ok(None)),
        ] {
            assert_eq!(find(name, &map(), Some(ManagerId(1))), expected, "{name}");
        }
        assert_eq!(find("manager", &map(), None), Err(TargetError::NoManager));
    }

    #[test]
    fn a_manager_may_have_any_name() {
        let mut map = map();
        map.managers[0].name = "gateway".into();
        assert_eq!(find("gateway", &map, None), Ok(Some(M1)));
    }

    #[test]
    fn an_address_in_the_overlay_goes_before_others() {
        let parse = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>();
        let both = parse(&["8.8.8.8", "172.31.4.4"]);
        assert_eq!(choose("db", &both, &map()), Ok(address("172.31.4.4")));
        assert_eq!(choose("db", &both[..1], &map()), Err(TargetError::Outside(both[0])));
        assert_eq!(choose("db", &[], &map()), Err(TargetError::Unknown("db".into())));
    }
}
