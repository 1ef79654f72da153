//! The host's side of the overlay: the device's addresses, the routing table with its rules, and the packet filter.
//!
//! A reconciler: [`plan`] says what should be, without looking at the kernel; [`Host::set`] compares that with what is there
//! and changes the difference, so it may be called as often as anything might have changed. The resolver has its place here;
//! there is no DNS yet.

mod bridges;
mod consent;
mod diversion;
mod facts;
mod guard;
mod look;
mod netlink;
mod nft;
mod note;
mod plan;
mod slot;
mod spans;
mod table;
mod watch;

use std::net::IpAddr;

use rtnetlink::packet_route::route::RouteMessage;

pub use bridges::Inner;
pub use consent::Consent;
pub use diversion::Diversion;
pub use facts::{Bridge, Facts, Home, Subnet, UnderlayRoute, resolvers};
pub use netlink::NetlinkError;
pub use nft::GuardError;
pub use note::{Code, Note};
pub use plan::{Choice, Desired, Direct, Plan, Protocol, plan};
pub use slot::{MARK, Slot};
pub use watch::{Change, Watch};

use netlink::Netlink;
use nft::Guard;

/// Whether overlay traffic is kept in the tunnel by a packet filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protection {
    /// It is, and the agent does not start where it cannot be
    #[default]
    Require,
    /// It is where possible; elsewhere the agent reports the problem and runs without it
    Warn,
    /// It is not: overlay traffic may leave this host outside the tunnel, unencrypted
    Off,
}

/// A part of the desired state that cannot be had on this host.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The kernel did not do as it was told.
    #[error(transparent)]
    Refused(#[from] NetlinkError),
    /// Nothing keeps overlay traffic in the tunnel.
    #[error(transparent)]
    Unguarded(#[from] GuardError),
    /// Neighbours can find out which overlay addresses this host has.
    #[error(
        "neighbours can ask by ARP whether this host has an overlay address, because the filter for that cannot be set ({0}): set \
         net.ipv4.conf.all.arp_ignore = 1 with sysctl"
    )]
    Audible(GuardError),
    /// Overlay packets go elsewhere.
    #[error(transparent)]
    Diverted(#[from] Diversion),
}

/// The overlay's device on this host.
#[derive(Debug)]
pub struct Host {
    netlink: Netlink,
    guard: Guard,
    protection: Protection,
}

impl Host {
    /// The device called `interface`, which exists.
    pub async fn open(interface: &str, protection: Protection) -> Result<Self, Problem> {
        let netlink = Netlink::open(interface).await?;
        let guard = Guard::new(netlink.slot, interface)?;
        Ok(Self { netlink, guard, protection })
    }

    /// The device's interface index.
    pub fn index(&self) -> u32 {
        self.netlink.index()
    }

    /// The host beside the overlay, now.
    pub async fn look(&self) -> Result<Sight, NetlinkError> {
        let (facts, routes) = self.netlink.look().await?;
        Ok(Sight { facts, routes })
    }

    /// Brings the device and everything around it into the desired state, on a host that was just looked at. The packet
    /// filter is read back if `look` says so. What could not be done, and does not stop the rest, is returned.
    ///
    /// Where the filter is required and cannot be had, nothing goes into the tunnel: the overlay's addresses are unreachable.
    pub async fn set(&mut self, desired: &Desired, sight: &Sight, look: bool) -> Result<Vec<Problem>, NetlinkError> {
        // First: what comes after never has a moment without it.
        let mut problems = self.set_filter(desired, look).await;
        let is_open = |problem: &Problem| matches!(problem, Problem::Unguarded(_));
        if self.protection == Protection::Require && problems.iter().any(is_open) {
            match self.set_ways(&desired.shut(), sight).await {
                Ok(more) => problems.extend(more),
                // Whoever asks must learn that there is no filter.
                Err(error) => problems.push(Problem::Refused(error)),
            }
            return Ok(problems);
        }
        self.netlink.bring_up(desired.mtu).await?;
        problems.extend(self.set_addresses(&desired.addresses).await?);
        problems.extend(self.set_ways(desired, sight).await?);
        match self.netlink.diversions(desired).await {
            Ok(diversions) => problems.extend(diversions.into_iter().map(Problem::Diverted)),
            Err(error) => problems.push(Problem::Refused(error)),
        }
        Ok(problems)
    }

    async fn set_filter(&mut self, desired: &Desired, look: bool) -> Vec<Problem> {
        if self.protection != Protection::Off {
            let unguarded = self.guard.set(desired, look).await.err().map(Problem::Unguarded);
            // One reason is enough.
            let audible = match unguarded {
                None => self.guard.set_arp(desired, look).await.err().map(Problem::Audible),
                Some(_) => None,
            };
            unguarded.into_iter().chain(audible).collect()
        } else if look {
            // A run before may have left one.
            nft::remove(self.netlink.slot).await.err().filter(is_serious).map(Problem::Unguarded).into_iter().collect()
        } else {
            Vec::new()
        }
    }

    /// Routes and rules.
    async fn set_ways(&self, desired: &Desired, sight: &Sight) -> Result<Vec<Problem>, NetlinkError> {
        let guarded = self.protection != Protection::Off;
        let refused = self.netlink.set_table(desired, guarded, &sight.routes).await;
        Ok(refused.into_iter().chain(self.netlink.set_rules(desired).await?).map(Problem::Refused).collect())
    }

    /// Takes everything back.
    pub async fn restore(&self) -> Result<(), Problem> {
        for address in self.netlink.addresses().await? {
            self.netlink.remove_address(address).await?;
        }
        clear(&self.netlink).await
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
}

/// A look at the host.
#[derive(Debug)]
pub struct Sight {
    /// What the plan is made from.
    pub facts: Facts,
    routes: Vec<RouteMessage>,
}

/// What a host has now that is about to join with a device called `interface`.
pub async fn home(interface: &str) -> Result<Home, NetlinkError> {
    let (facts, _) = Netlink::open_if_there(interface).await?.look().await?;
    Ok(Home::of(&facts, resolvers()))
}

/// Whether this host has the program that keeps overlay traffic in the tunnel. Nothing is changed.
pub fn check_protection() -> Result<(), GuardError> {
    nft::find().map(drop).ok_or(GuardError::Missing)
}

/// Takes back what an agent left that did not end in good order. Whether there was anything.
pub async fn clean(interface: &str) -> Result<bool, Problem> {
    let netlink = Netlink::open_if_there(interface).await?;
    let was_there = netlink.has_rules().await?;
    clear(&netlink).await?;
    Ok(was_there)
}

/// The same, unless the device is there: then another agent may be using it.
pub async fn clean_abandoned(interface: &str) -> Result<bool, Problem> {
    if Netlink::open_if_there(interface).await?.index() == 0 { clean(interface).await } else { Ok(false) }
}

/// The packet filter is the last to go.
async fn clear(netlink: &Netlink) -> Result<(), Problem> {
    netlink.clear_table().await?;
    match nft::remove(netlink.slot).await {
        Err(error) if is_serious(&error) => Err(error.into()),
        _ => Ok(()),
    }
}

/// Where there is no program for it there is no filter to take away.
fn is_serious(error: &GuardError) -> bool {
    !matches!(error, GuardError::Missing)
}
