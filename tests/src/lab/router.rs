//! A namespace that forwards: the internet itself, or a NAT box. Where cables end and faults are made.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, PoisonError};

use super::{Host, Namespace, Site};

/// The gateway of every host for IPv6. Each cable is a link of its own, so they may all use it.
const GATEWAY_V6: &str = "fe80::1";

#[derive(Debug)]
pub(super) struct Router {
    pub(super) site: Arc<Site>,
    pub(super) namespace: Arc<Namespace>,
    /// For a NAT box, the host that it is on its outside.
    pub(super) uplink: Option<Host>,
}

/// One address of each family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses {
    pub(super) v4: Ipv4Addr,
    pub(super) v6: Ipv6Addr,
}

impl Router {
    pub(super) fn new(site: &Arc<Site>, namespace: Arc<Namespace>, uplink: Option<Host>) -> anyhow::Result<Arc<Self>> {
        namespace.set(&[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ])?;
        let router = Self { site: Arc::clone(site), namespace, uplink };
        if router.uplink.is_some() {
            router.masquerade()?;
        }
        Ok(Arc::new(router))
    }

    /// Linux's usual NAT: ports are kept where they are free, and a mapping serves one remote address and port only.
    fn masquerade(&self) -> anyhow::Result<()> {
        self.namespace.nft(
            "add table inet nat\n\
             add chain inet nat out { type nat hook postrouting priority 100; }\n\
             add rule inet nat out oifname \"eth0\" masquerade\n",
        )
    }

    /// As some boxes do: every mapping gets a port of its own.
    pub(super) fn masquerade_at_random(&self) -> anyhow::Result<()> {
        self.namespace.nft("flush chain inet nat out\nadd rule inet nat out oifname \"eth0\" masquerade fully-random\n")
    }

    /// Lays a cable to `host` and gives its end here. The host's end is `eth0`.
    pub(super) fn lay_cable(&self, host: &Namespace, own: Addresses, gateway: Ipv4Addr) -> anyhow::Result<String> {
        let cable = format!("c{}", self.site.next_serial());
        self.namespace.ip(&format!(
            "link add {cable} type veth peer name eth0 netns {}\n\
             addr add {gateway}/32 dev {cable}\n\
             addr add {GATEWAY_V6}/64 dev {cable} nodad\n\
             link set {cable} up\n",
            host.name()
        ))?;
        host.ip(&format!(
            "addr add {}/32 dev eth0\n\
             addr add {}/128 dev eth0 nodad\n\
             link set eth0 up\n\
             route add {gateway}/32 dev eth0\n\
             route add default via {gateway} dev eth0\n\
             route add default via {GATEWAY_V6} dev eth0\n",
            own.v4, own.v6
        ))?;
        self.set_routes("add", &cable, own)?;
        Ok(cable)
    }

    /// `add` or `del` the routes to a host at the end of `cable`.
    pub(super) fn set_routes(&self, verb: &str, cable: &str, own: Addresses) -> anyhow::Result<()> {
        let Addresses { v4, v6 } = own;
        self.namespace.ip(&format!("route {verb} {v4}/32 dev {cable}\nroute {verb} {v6}/128 dev {cable}\n"))
    }

    /// Makes every host send single packets instead of leaving it to the cable to split large ones (which it never does:
    /// they would be lost, or pass, whole). Stays so for the rest of the lab.
    pub(super) fn split_large_packets(&self) -> anyhow::Result<()> {
        let cabled = self.site.cabled.lock().unwrap_or_else(PoisonError::into_inner).clone();
        cabled.iter().try_for_each(|namespace| namespace.ip("link set eth0 gso_max_segs 1"))
    }
}
