//! Which packets a fault hits.

use std::net::IpAddr;
use std::sync::Arc;

use super::Host;
use super::router::Router;

/// Which packets a fault hits, by the addresses that hosts have when the fault is made.
///
/// Between two hosts in the open it is made in the internet's router. With a host behind a NAT box it is made in the box, which
/// knows its hosts apart; of two boxes, in the first host's, and then it hits all behind the second.
#[derive(Debug, Clone)]
pub struct Path {
    from: Option<Host>,
    to: Option<Host>,
    both_ways: bool,
}

/// Packets of one family and direction. `None` is any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    pub(super) v6: bool,
    pub(super) from: Option<IpAddr>,
    pub(super) to: Option<IpAddr>,
}

impl Path {
    /// All between two hosts.
    #[must_use]
    pub fn between(a: &Host, b: &Host) -> Self {
        Self { from: Some(a.clone()), to: Some(b.clone()), both_ways: true }
    }

    /// Only what `from` sends to `to`.
    #[must_use]
    pub fn one_way(from: &Host, to: &Host) -> Self {
        Self { from: Some(from.clone()), to: Some(to.clone()), both_ways: false }
    }

    /// All that `host` sends or receives.
    #[must_use]
    pub fn around(host: &Host) -> Self {
        Self { from: Some(host.clone()), to: None, both_ways: true }
    }

    /// All that `host` sends.
    #[must_use]
    pub fn out_of(host: &Host) -> Self {
        Self { from: Some(host.clone()), to: None, both_ways: false }
    }

    /// All that `host` receives.
    #[must_use]
    pub fn into(host: &Host) -> Self {
        Self { from: None, to: Some(host.clone()), both_ways: false }
    }

    /// All that passes the internet's router.
    #[must_use]
    pub fn everywhere() -> Self {
        Self { from: None, to: None, both_ways: false }
    }

    /// The router that can tell these packets from others.
    pub(super) fn router(&self, internet: &Arc<Router>) -> Arc<Router> {
        let mut routers =
            [&self.from, &self.to].into_iter().flatten().map(|host| Arc::clone(host.place().cloud.router()));
        routers.find(|router| router.uplink.is_some()).unwrap_or_else(|| Arc::clone(internet))
    }

    /// The packets, as `router` sees them.
    pub(super) fn flows(&self, router: &Arc<Router>) -> Vec<Flow> {
        let seen = |host: &Option<Host>| host.as_ref().map(|host| host.seen_from(router));
        let (from, to) = (seen(&self.from), seen(&self.to));
        let directions = if self.both_ways { vec![(from, to), (to, from)] } else { vec![(from, to)] };
        let flow = |(from, to): (Option<super::router::Addresses>, Option<super::router::Addresses>)| {
            [
                Flow { v6: false, from: from.map(|at| at.v4.into()), to: to.map(|at| at.v4.into()) },
                Flow { v6: true, from: from.map(|at| at.v6.into()), to: to.map(|at| at.v6.into()) },
            ]
        };
        directions.into_iter().flat_map(flow).collect()
    }
}
