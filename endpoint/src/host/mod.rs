//! The host's side of the overlay: the device's addresses and routes.
//!
//! A reconciler: [`Host::set`] compares what is there with what should be and changes the difference, so it may be
//! called as often as anything might have changed. The resolver has its place here; there is no DNS yet.

mod conflict;
mod netlink;
mod watch;

use std::net::IpAddr;

use festoon_proto::map::EndpointMap;
use ipnet::IpNet;

pub use conflict::{Problem, UnderlayRoute};
pub use netlink::NetlinkError;
pub use watch::{Change, Watch};

use netlink::Netlink;

/// What the device should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The largest overlay packet, in bytes.
    pub mtu: u16,
    /// The endpoint's own overlay addresses.
    pub addresses: Vec<IpAddr>,
    /// The prefixes of the network, and what is reached through others of it.
    pub routes: Vec<IpNet>,
    /// Where managers are reached: no route may lead there through the overlay, which needs them itself.
    pub managers: Vec<IpAddr>,
}

impl From<&EndpointMap> for Desired {
    fn from(map: &EndpointMap) -> Self {
        let managers = map.managers.iter().flat_map(|manager| manager.underlay.iter().chain(&manager.https));
        let mut managers: Vec<IpAddr> = managers.map(|address| address.ip()).collect();
        managers.sort_unstable();
        managers.dedup();
        Self {
            mtu: map.network.mtu,
            addresses: map.addresses.clone(),
            routes: map.network.prefixes.iter().chain(&map.routes).map(IpNet::trunc).collect(),
            managers,
        }
    }
}

/// The overlay's device on this host.
#[derive(Debug)]
pub struct Host {
    netlink: Netlink,
}

impl Host {
    /// The device called `interface`, which exists.
    pub async fn open(interface: &str) -> Result<Self, NetlinkError> {
        Ok(Self { netlink: Netlink::open(interface).await? })
    }

    /// The device's interface index.
    pub fn index(&self) -> u32 {
        self.netlink.index()
    }

    /// Brings the device into the desired state. What could not be done, and does not stop the rest, is returned.
    pub async fn set(&self, desired: &Desired) -> Result<Vec<Problem>, NetlinkError> {
        self.netlink.bring_up(desired.mtu).await?;
        let mut problems = self.set_addresses(&desired.addresses).await?;
        problems.extend(self.set_routes(desired).await?);
        Ok(problems)
    }

    /// Takes back all addresses and routes.
    pub async fn restore(&self) -> Result<(), NetlinkError> {
        for route in self.netlink.own_routes().await? {
            self.netlink.remove_route(route).await?;
        }
        for address in self.netlink.addresses().await? {
            self.netlink.remove_address(address).await?;
        }
        Ok(())
    }

    async fn set_addresses(&self, desired: &[IpAddr]) -> Result<Vec<Problem>, NetlinkError> {
        let present = self.netlink.addresses().await?;
        let mut problems = Vec::new();
        for &address in desired.iter().filter(|address| !present.contains(address)) {
            problems.extend(self.netlink.add_address(address).await.err().map(Problem::Refused));
        }
        for address in present.into_iter().filter(|address| !desired.contains(address)) {
            problems.extend(self.netlink.remove_address(address).await.err().map(Problem::Refused));
        }
        Ok(problems)
    }

    async fn set_routes(&self, desired: &Desired) -> Result<Vec<Problem>, NetlinkError> {
        let underlay = self.netlink.underlay_routes().await?;
        let (routes, conflicts) = conflict::split(&desired.routes, &desired.managers, &underlay);
        let mut problems: Vec<Problem> = conflicts;
        let present = self.netlink.own_routes().await?;
        for &route in present.iter().filter(|route| !routes.contains(route)) {
            problems.extend(self.netlink.remove_route(route).await.err().map(Problem::Refused));
        }
        for &route in routes.iter().filter(|route| !present.contains(route)) {
            let source = desired.addresses.iter().find(|address| address.is_ipv4() == route.addr().is_ipv4());
            problems.extend(self.netlink.add_route(route, source.copied()).await.err().map(Problem::Refused));
        }
        Ok(problems)
    }
}
