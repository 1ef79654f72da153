//! What admin commands do to networks.

use axum::Json;
use axum::extract::{Path as UrlPath, State as Shared};
use axum::http::StatusCode;
use festoon_control::registry::{AddNetwork, AddressRange, Command, Network, UpdateNetwork};

use super::api::NetworkRequest;
use super::lookup;
use super::server::Admin;
use crate::https::{ApiJson, Refused};
use crate::status::{self, NetworkRow};

pub(super) async fn list(Shared(admin): Shared<Admin>) -> Json<Vec<NetworkRow>> {
    Json(status::networks(&admin.cluster.snapshot()))
}

pub(super) async fn add(
    Shared(admin): Shared<Admin>,
    ApiJson(request): ApiJson<AddNetwork>,
) -> Result<StatusCode, Refused> {
    admin.cluster.propose(Command::AddNetwork(request)).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn update(
    Shared(admin): Shared<Admin>,
    UrlPath(name): UrlPath<String>,
    ApiJson(request): ApiJson<NetworkRequest>,
) -> Result<StatusCode, Refused> {
    let command = change(lookup::network(&admin.cluster.snapshot(), Some(&name))?, request)?;
    admin.cluster.propose(Command::UpdateNetwork(command)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn change(network: &Network, request: NetworkRequest) -> Result<UpdateNetwork, Refused> {
    let NetworkRequest { name, mtu, add_prefixes, remove_prefixes, reserve, unreserve } = request;
    let reserved = match reserve.is_empty() && unreserve.is_empty() {
        true => None,
        false => Some(reserved(network, &remove_prefixes, reserve, &unreserve)?),
    };
    Ok(UpdateNetwork { network: network.id, name, mtu, add_prefixes, remove_prefixes, reserved })
}

/// All ranges that are to be reserved.
fn reserved(
    network: &Network,
    remove_prefixes: &[ipnet::IpNet],
    reserve: Vec<AddressRange>,
    unreserve: &[AddressRange],
) -> Result<Vec<AddressRange>, Refused> {
    if let Some(range) = unreserve.iter().find(|range| !network.reserved.contains(range)) {
        let text = format!("network {} reserves no {range}: see `festoon-manager network list`", network.name);
        return Err(Refused::new(StatusCode::NOT_FOUND, "range-unknown", &text));
    }
    // Ranges go with the prefix they are in.
    let goes = |range: &AddressRange| remove_prefixes.iter().any(|prefix| prefix.contains(&range.first));
    let mut all = network.reserved.clone();
    all.retain(|range| !unreserve.contains(range) && !goes(range));
    for range in reserve {
        if !all.contains(&range) {
            all.push(range);
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use festoon_control::registry::Prefix;

    use super::*;

    fn range(text: &str) -> AddressRange {
        text.parse().unwrap()
    }

    fn network(reserved: &[&str]) -> Network {
        Network {
            id: festoon_proto::NetworkId(1),
            name: "default".to_owned(),
            prefixes: Vec::<Prefix>::new(),
            reserved: reserved.iter().map(|text| range(text)).collect(),
            mtu: 1360,
            changed: Default::default(),
        }
    }

    #[test]
    fn ranges_are_added_and_taken_away_by_name() {
        let before = network(&["10.0.0.2-10.0.0.9", "10.1.0.0/24"]);
        let after = |remove: &[&str], reserve: &[&str], unreserve: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(|text| range(text)).collect::<Vec<_>>();
            let remove: Vec<_> = remove.iter().map(|text| text.parse().unwrap()).collect();
            let after = reserved(&before, &remove, all(reserve), &all(unreserve));
            after.map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        let kept = "10.0.0.2-10.0.0.9 10.1.0.0-10.1.0.255";
        assert_eq!(after(&[], &["10.0.0.2-10.0.0.9"], &[]).unwrap(), kept, "reserved already");
        assert_eq!(after(&[], &["10.0.0.20"], &["10.1.0.0/24"]).unwrap(), "10.0.0.2-10.0.0.9 10.0.0.20-10.0.0.20");
        assert_eq!(after(&["10.1.0.0/16"], &[], &["10.0.0.2-10.0.0.9"]).unwrap(), "");
        assert!(after(&[], &[], &["10.0.0.2"]).is_err(), "only a part of a range");
    }
}
