//! A host: a network namespace with one cable, `eth0`, to the router of its cloud.

use std::ffi::OsStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use super::router::{Addresses, Router};
use super::{Cloud, Namespace, Program, Site, WallClock};

/// A host. Clones are the same host.
#[derive(Debug, Clone)]
pub struct Host {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    site: Arc<Site>,
    name: String,
    namespace: Arc<Namespace>,
    place: Mutex<Place>,
}

/// Where a host is connected now.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) cloud: Cloud,
    /// The router's end of its cable.
    pub(super) cable: String,
    pub(super) addresses: Addresses,
}

impl Host {
    pub(super) fn new(site: &Arc<Site>, name: &str, namespace: Arc<Namespace>, place: Place) -> Self {
        let inner = Inner { site: Arc::clone(site), name: name.to_owned(), namespace, place: Mutex::new(place) };
        Self { inner: Arc::new(inner) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Its own IPv4 address.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        self.v4().into()
    }

    /// Its own IPv4 address.
    #[must_use]
    pub fn v4(&self) -> Ipv4Addr {
        self.place().addresses.v4
    }

    /// Its own IPv6 address.
    #[must_use]
    pub fn v6(&self) -> Ipv6Addr {
        self.place().addresses.v6
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> Arc<Namespace> {
        Arc::clone(&self.inner.namespace)
    }

    /// Runs a command on it to the end and gives its standard output.
    ///
    /// # Errors
    /// When it fails, with its standard error.
    pub fn run<A: AsRef<OsStr>>(&self, program: &str, args: &[A]) -> anyhow::Result<String> {
        self.inner.namespace.run(program, args, "")
    }

    /// As [`Host::run`], with `input` as its standard input.
    ///
    /// # Errors
    /// When it fails, with its standard error.
    pub fn run_with_input<A: AsRef<OsStr>>(&self, program: &str, args: &[A], input: &str) -> anyhow::Result<String> {
        self.inner.namespace.run(program, args, input)
    }

    /// Starts a program on it.
    ///
    /// # Errors
    /// When it cannot be started. One that does not exist shows in its log and its exit status.
    pub fn spawn<A: AsRef<OsStr>>(&self, program: impl AsRef<Path>, args: &[A]) -> anyhow::Result<Program> {
        self.spawn_at(None, program, args)
    }

    /// The same, for a program with a wall clock of its own, if there is one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn_at<A: AsRef<OsStr>>(
        &self,
        clock: Option<&WallClock>,
        program: impl AsRef<Path>,
        args: &[A],
    ) -> anyhow::Result<Program> {
        let environment = clock.map(WallClock::environment).unwrap_or_default();
        let Inner { site, namespace, name, .. } = &*self.inner;
        Program::spawn(site, (namespace, name), environment, program.as_ref(), args)
    }

    /// Gives it new addresses in its own cloud and takes the old ones away, as a provider does to a home line. Its cable
    /// stays up. Faults made before stay with the old addresses.
    ///
    /// # Errors
    /// When the subnet is full or the kernel refuses.
    pub fn change_addresses(&self) -> anyhow::Result<()> {
        let Place { cloud, cable, addresses: old } = self.place();
        let new = cloud.next_addresses()?;
        cloud.router().set_routes("add", &cable, new)?;
        self.inner.namespace.ip(&format!(
            "addr add {}/32 dev eth0\naddr add {}/128 dev eth0 nodad\naddr del {}/32 dev eth0\naddr del {}/128 dev eth0\n",
            new.v4, new.v6, old.v4, old.v6
        ))?;
        cloud.router().set_routes("del", &cable, old)?;
        self.set_place(Place { cloud, cable, addresses: new });
        Ok(())
    }

    /// Gives it so many more addresses of its cloud, beside its own.
    ///
    /// # Errors
    /// When the subnet is full or the kernel refuses.
    pub fn add_addresses(&self, count: usize) -> anyhow::Result<Vec<IpAddr>> {
        let Place { cloud, cable, .. } = self.place();
        let mut added = Vec::with_capacity(count);
        for _ in 0..count {
            let new = cloud.next_addresses()?;
            cloud.router().set_routes("add", &cable, new)?;
            self.inner
                .namespace
                .ip(&format!("addr add {}/32 dev eth0\naddr add {}/128 dev eth0 nodad\n", new.v4, new.v6))?;
            added.push(new.v4.into());
        }
        Ok(added)
    }

    /// Drops what arrives for a UDP port of it, silently, for as long as it exists.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn drop_udp(&self, port: u16) -> anyhow::Result<()> {
        self.inner.namespace.nft(&format!(
            "add table inet drop{port}\nadd chain inet drop{port} input {{ type filter hook input priority 0; }}\n\
             add rule inet drop{port} input udp dport {port} drop\n"
        ))
    }

    /// A new host in its place, with its addresses. This one is cut off for good.
    ///
    /// # Errors
    /// As [`Cloud::host`].
    pub fn replace(&self, name: &str) -> anyhow::Result<Self> {
        self.place().cloud.replace(self, name)
    }

    /// Has a file removed with the lab that a program on this host leaves outside of it.
    pub fn remove_with_lab(&self, path: PathBuf) {
        self.inner.site.litter.lock().unwrap_or_else(PoisonError::into_inner).push(path);
    }

    pub(super) fn site(&self) -> &Arc<Site> {
        &self.inner.site
    }

    pub(super) fn place(&self) -> Place {
        self.inner.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_place(&self, place: Place) {
        *self.inner.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// The addresses by which `router` knows this host: behind a NAT box they are the box's.
    pub(super) fn seen_from(&self, router: &Arc<Router>) -> Addresses {
        let place = self.place();
        match &place.cloud.router().uplink {
            Some(nat_box) if !Arc::ptr_eq(place.cloud.router(), router) => nat_box.seen_from(router),
            _ => place.addresses,
        }
    }
}
