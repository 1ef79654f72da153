//! The internet, the clouds around it, and NAT boxes, which are clouds too.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};

use anyhow::Context;
use ipnet::Ipv4Net;

use super::host::Place;
use super::router::{Addresses, Router};
use super::{Delay, Delayed, Fault, Host, Narrowed, Path, Site, Slowed};

/// A router that joins clouds, and the place where faults are ordered.
#[derive(Debug)]
pub struct Internet {
    router: Arc<Router>,
}

impl Internet {
    pub(super) fn new(site: &Arc<Site>) -> anyhow::Result<Self> {
        let namespace = site.namespace("internet")?;
        Ok(Self { router: Router::new(site, namespace, None)? })
    }

    /// A cloud: a subnet whose hosts get its addresses from the second on (the first is the gateway's), and the same
    /// numbers in an IPv6 subnet: 192.0.2.0/24 goes with 2001:db8:c000:200::/64.
    ///
    /// # Errors
    /// When `subnet` is none.
    pub fn cloud(&self, name: &str, subnet: &str) -> anyhow::Result<Cloud> {
        Cloud::new(&self.router, name, subnet, [0x2001, 0xdb8])
    }

    /// Lets nothing pass between two hosts, both ways, silently: a blackhole.
    ///
    /// # Errors
    /// When the router refuses; so for all faults.
    pub fn cut(&self, a: &Host, b: &Host) -> anyhow::Result<Fault> {
        self.drop(&Path::between(a, b))
    }

    /// Lets nothing pass along `path`, silently.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn drop(&self, path: &Path) -> anyhow::Result<Fault> {
        Fault::make(&self.router, path, &[""])
    }

    /// Loses so many packets in a hundred along `path`, at random. From then on all hosts of the lab send single packets,
    /// so that the loss of one is the loss of one; that costs throughput.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn lose(&self, path: &Path, percent: f64) -> anyhow::Result<Fault> {
        self.router.split_large_packets()?;
        let share = (percent.clamp(0.0, 100.0) * 1000.0).round();
        Fault::make(&self.router, path, &[&format!("numgen random mod 100000 < {share}")])
    }

    /// Lets no UDP from or to `port` pass along `path`, silently; all else does.
    ///
    /// # Errors
    /// When the router refuses.
    pub fn block_udp(&self, path: &Path, port: u16) -> anyhow::Result<Fault> {
        Fault::make(&self.router, path, &[&format!("udp dport {port}"), &format!("udp sport {port}")])
    }

    /// Limits what `host` sends, and what it receives, to so many megabits a second each.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn slow(&self, host: &Host, mbit_per_s: u32) -> anyhow::Result<Slowed> {
        Slowed::make(host, mbit_per_s)
    }

    /// Lets `host`'s cable take only packets of at most `mtu` bytes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn narrow(&self, host: &Host, mtu: u16) -> anyhow::Result<Narrowed> {
        Narrowed::make(host, mtu)
    }

    /// Delays, reorders and duplicates what passes along `path`.
    ///
    /// # Errors
    /// When `festoon-labtool` is not built or the router refuses.
    pub fn delay(&self, path: &Path, delay: Delay) -> anyhow::Result<Delayed> {
        Delayed::make(&self.router, path, delay)
    }
}

/// A subnet whose hosts are each on a cable of their own to its router.
#[derive(Clone)]
pub struct Cloud {
    inner: Arc<Inner>,
}

struct Inner {
    router: Arc<Router>,
    name: String,
    v4: Ipv4Net,
    v6: [u16; 4],
    /// How many addresses were given out. None is given twice.
    given: AtomicU32,
}

impl Cloud {
    fn new(router: &Arc<Router>, name: &str, subnet: &str, v6: [u16; 2]) -> anyhow::Result<Self> {
        let v4: Ipv4Net = subnet.parse().with_context(|| format!("cloud {name}: {subnet} is no IPv4 subnet"))?;
        let [a, b, c, d] = v4.network().octets();
        let v6 = [v6[0], v6[1], u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
        let inner = Inner { router: Arc::clone(router), name: name.to_owned(), v4, v6, given: AtomicU32::new(1) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// A new host, connected.
    ///
    /// # Errors
    /// When the subnet is full or the namespace cannot be made, for instance because the name is taken.
    pub fn host(&self, name: &str) -> anyhow::Result<Host> {
        let site = &self.inner.router.site;
        let namespace = site.namespace(name)?;
        let place = self.connect(&namespace)?;
        site.cabled.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&namespace));
        Ok(Host::new(site, name, namespace, place))
    }

    /// A new NAT box. Hosts in the cloud it returns reach the world with its address, and the world cannot reach them.
    /// NAT boxes may use the same subnet inside.
    ///
    /// # Errors
    /// As [`Cloud::host`].
    pub fn nat(&self, name: &str, inside: &str) -> anyhow::Result<Self> {
        let outside = self.host(name)?;
        let namespace = outside.namespace();
        let router = Router::new(&self.inner.router.site, namespace, Some(outside))?;
        Self::new(&router, name, inside, [0xfd00, 0])
    }

    /// For the inside of a NAT box, the host that it is on its outside.
    #[must_use]
    pub fn nat_box(&self) -> Option<&Host> {
        self.inner.router.uplink.as_ref()
    }

    /// For the inside of a NAT box: has it choose a port at random for every destination from now on ("address and
    /// port-dependent mapping", RFC 4787), instead of keeping the host's own.
    ///
    /// # Errors
    /// When this is no NAT box, or it refuses.
    pub fn map_at_random(&self) -> anyhow::Result<()> {
        self.nat_box().context("not the inside of a NAT box")?;
        self.router().masquerade_at_random()
    }

    /// Moves `host` here from wherever it is: a new cable, new addresses. Faults made before stay with the old addresses.
    ///
    /// # Errors
    /// When the subnet is full or the kernel refuses.
    pub fn take_in(&self, host: &Host) -> anyhow::Result<()> {
        host.namespace().ip("link del eth0")?;
        let place = self.connect(&host.namespace())?;
        host.set_place(place);
        Ok(())
    }

    /// A new host with the addresses of one here, which is cut off for good.
    pub(super) fn replace(&self, gone: &Host, name: &str) -> anyhow::Result<Host> {
        let (site, addresses) = (&self.inner.router.site, gone.place().addresses);
        gone.namespace().ip("link del eth0")?;
        let namespace = site.namespace(name)?;
        let place = self.connect_as(&namespace, addresses)?;
        site.cabled.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&namespace));
        Ok(Host::new(site, name, namespace, place))
    }

    fn connect(&self, namespace: &super::Namespace) -> anyhow::Result<Place> {
        self.connect_as(namespace, self.next_addresses()?)
    }

    fn connect_as(&self, namespace: &super::Namespace, addresses: Addresses) -> anyhow::Result<Place> {
        let gateway = self.address(1).context("no address for the gateway")?;
        let cable = self.inner.router.lay_cable(namespace, addresses, gateway)?;
        Ok(Place { cloud: self.clone(), cable, addresses })
    }

    pub(super) fn router(&self) -> &Arc<Router> {
        &self.inner.router
    }

    pub(super) fn next_addresses(&self) -> anyhow::Result<Addresses> {
        let number = self.inner.given.fetch_add(1, Ordering::Relaxed) + 1;
        let v4 = self.address(number).with_context(|| format!("cloud {} has no address left", self.inner.name))?;
        let [a, b, c, d] = self.inner.v6;
        let low = u16::try_from(number).context("no IPv6 address left")?;
        Ok(Addresses { v4, v6: Ipv6Addr::new(a, b, c, d, 0, 0, 0, low) })
    }

    fn address(&self, number: u32) -> Option<Ipv4Addr> {
        let address = Ipv4Addr::from(u32::from(self.inner.v4.network()).checked_add(number)?);
        (self.inner.v4.contains(&address) && address != self.inner.v4.broadcast()).then_some(address)
    }
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cloud({} {})", self.inner.name, self.inner.v4)
    }
}
