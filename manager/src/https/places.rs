//! Which connections are held, and which one gives way when there is no room for another.
//!
//! Connections are held in pools that do not take room from each other. Before TLS they are told apart by their source
//! address: one from which a member, an agent or a user of the API proved who it is lately, or another. After TLS they are told
//! apart by who they are. In a pool that is full, the host that holds most loses its oldest connection that has proved
//! nothing. So a host that opens thousands of connections pushes out its own, and a newcomer always gets in.

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use festoon_control::registry::site_of;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lately::Lately;

/// A kind of connection. Each has room of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Pool {
    /// TLS is under way, with a host from which nobody proved anything lately.
    ShakingStrangers,
    /// TLS is under way, with a host from which somebody did.
    ShakingKnown,
    /// After TLS, without a certificate, from a host from which nobody proved anything lately.
    Strangers,
    /// After TLS, without a certificate, from a host from which somebody did, or on which a request showed who it is.
    Known,
    /// With a certificate of the cluster's CA.
    Certified,
}

impl Pool {
    /// How many connections it holds, and how many of them of one host. All pools together hold 4,096.
    const fn room(self) -> (usize, usize) {
        match self {
            Self::ShakingStrangers => (768, 64),
            Self::ShakingKnown => (512, 128),
            Self::Strangers => (1024, 256),
            Self::Known => (1280, 512),
            Self::Certified => (512, 128),
        }
    }

    const fn shaking(is_known: bool) -> Self {
        if is_known { Self::ShakingKnown } else { Self::ShakingStrangers }
    }

    const fn open(is_known: bool) -> Self {
        if is_known { Self::Known } else { Self::Strangers }
    }
}

/// One connection as the pool holds it. When it is dropped, the connection ends.
#[derive(Debug)]
struct Held {
    _end: oneshot::Sender<Infallible>,
    /// It proved who it is: it gives way to nobody.
    is_proved: bool,
}

/// The connections of one pool, those of each host the oldest first. A host is an address, of IPv6 a /64.
#[derive(Debug, Default)]
struct Room {
    hosts: HashMap<IpAddr, BTreeMap<u64, Held>>,
    count: usize,
}

impl Room {
    /// Takes in a connection if there is room, or if another gives way. A refused one is dropped, and so ends.
    fn put(&mut self, pool: Pool, host: IpAddr, id: u64, held: Held) -> bool {
        let (all, of_one) = pool.room();
        if self.hosts.get(&host).is_some_and(|own| own.len() >= of_one) && !self.push_out(host) {
            return false;
        }
        if self.count >= all && !self.largest().is_some_and(|largest| self.push_out(largest)) {
            return false;
        }
        self.hosts.entry(host).or_default().insert(id, held);
        self.count += 1;
        true
    }

    fn take(&mut self, host: IpAddr, id: u64) -> Option<Held> {
        let own = self.hosts.get_mut(&host)?;
        let held = own.remove(&id)?;
        if own.is_empty() {
            self.hosts.remove(&host);
        }
        self.count -= 1;
        Some(held)
    }

    /// Of the hosts that hold a connection that can give way, the one that holds most of those.
    fn largest(&self) -> Option<IpAddr> {
        let unproved = |own: &BTreeMap<u64, Held>| own.values().filter(|held| !held.is_proved).count();
        let most = self.hosts.iter().map(|(host, own)| (unproved(own), *host)).max()?;
        (most.0 > 0).then_some(most.1)
    }

    /// Ends the oldest connection of this host that has proved nothing, if there is one.
    fn push_out(&mut self, host: IpAddr) -> bool {
        let own = self.hosts.get(&host);
        let oldest = own.and_then(|own| own.iter().find(|(_, held)| !held.is_proved)).map(|(id, _)| *id);
        oldest.and_then(|id| self.take(host, id)).is_some()
    }
}

/// All connections of a listener. A clone is the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    rooms: HashMap<Pool, Room>,
    lately: Lately,
}

/// The place of one connection, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    host: IpAddr,
    id: u64,
    pool: Mutex<Pool>,
}

/// Resolves when a connection has to end because another needs its place.
pub(super) type Ended = oneshot::Receiver<Infallible>;

impl Places {
    /// A place for a connection that begins TLS, if there is one.
    pub(super) fn enter(&self, from: IpAddr, now: Instant) -> Option<(Place, Ended)> {
        let host = site_of(from);
        let mut inner = self.lock();
        let pool = Pool::shaking(inner.lately.has(host, now));
        inner.next += 1;
        let id = inner.next;
        let (end, ended) = oneshot::channel();
        let held = Held { _end: end, is_proved: false };
        let is_in = inner.rooms.entry(pool).or_default().put(pool, host, id, held);
        drop(inner);
        is_in.then(|| (Place { places: self.clone(), host, id, pool: Mutex::new(pool) }, ended))
    }

    /// Somebody at this address proved who it is.
    pub(super) fn note(&self, from: IpAddr, now: Instant) {
        self.lock().lately.note(site_of(from), now);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// TLS is done: `has_certificate` of the cluster's CA or not. Whether the connection has a place from now on.
    pub(super) fn open(&self, has_certificate: bool, now: Instant) -> bool {
        if has_certificate {
            self.places.note(self.host, now);
            return self.change(Pool::Certified, false);
        }
        let is_known = self.places.lock().lately.has(self.host, now);
        self.change(Pool::open(is_known), false)
    }

    /// Whether TLS is under way, with a host from which nobody proved anything lately.
    pub(super) fn is_of_stranger(&self) -> bool {
        *self.pool.lock().unwrap_or_else(PoisonError::into_inner) == Pool::ShakingStrangers
    }

    /// A request on it showed who it is.
    pub(super) fn prove(&self, now: Instant) {
        self.places.note(self.host, now);
        self.change(Pool::Known, true);
    }

    fn change(&self, to: Pool, is_proved: bool) -> bool {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        // A member's pool is its own already.
        let to = if *pool == Pool::Certified { *pool } else { to };
        let mut inner = self.places.lock();
        let held = inner.rooms.get_mut(&*pool).and_then(|room| room.take(self.host, self.id));
        let Some(held) = held else { return false };
        let held = Held { is_proved: held.is_proved || is_proved, ..held };
        let is_in = inner.rooms.entry(to).or_default().put(to, self.host, self.id, held);
        *pool = to;
        is_in
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let pool = *self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(room) = self.places.lock().rooms.get_mut(&pool) {
            room.take(self.host, self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn v4(host: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + host).into())
    }

    fn is_open(ended: &mut Ended) -> bool {
        ended.try_recv() == Err(TryRecvError::Empty)
    }

    #[test]
    fn a_host_pushes_out_its_own_handshakes_and_no_others() {
        let (places, now) = (Places::default(), Instant::now());
        let (other_place, mut other) = places.enter(ip("192.0.2.1"), now).unwrap();
        let mut all: Vec<_> = (0..65).map(|n| places.enter(ip(&format!("2001:db8::{n:x}")), now).unwrap()).collect();
        assert!(!is_open(&mut all[0].1), "a /64 is one host, and its oldest gives way");
        assert!(all[1..].iter_mut().all(|(_, ended)| is_open(ended)) && is_open(&mut other));
        drop((all, other_place));
        assert!(places.lock().rooms.values().all(|room| room.count == 0 && room.hosts.is_empty()), "nothing is left");
    }

    #[test]
    fn half_open_connections_from_many_hosts_keep_no_newcomer_out() {
        let (places, now) = (Places::default(), Instant::now());
        let flood: Vec<_> = (0..4096).filter_map(|n| places.enter(v4(n % 20), now)).collect();
        assert_eq!(flood.len(), 4096);
        let wide: Vec<_> = (0..4096).filter_map(|n| places.enter(v4(100 + n % 500), now)).collect();
        let (newcomer, mut ended) = places.enter(ip("192.0.2.1"), now).unwrap();
        assert!(newcomer.open(false, now) && is_open(&mut ended));
        assert!(places.lock().rooms[&Pool::ShakingStrangers].count <= 768);
        drop((flood, wide));
    }

    #[test]
    fn who_proved_itself_has_room_of_its_own_and_gives_way_to_nobody() {
        let (places, now) = (Places::default(), Instant::now());
        let (agent, mut ended) = places.enter(ip("192.0.2.1"), now).unwrap();
        assert!(agent.is_of_stranger() && agent.open(false, now) && !agent.is_of_stranger());
        agent.prove(now);
        assert!(!places.enter(ip("192.0.2.1"), now).unwrap().0.is_of_stranger());
        let strangers: Vec<_> = (0..3000).filter_map(|n| places.enter(v4(n % 60), now)).collect();
        assert!(strangers.iter().filter(|(place, _)| place.open(false, now)).count() >= 768);
        assert!(is_open(&mut ended));
        // From its own address neither.
        let neighbours: Vec<_> = (0..600).filter_map(|_| places.enter(ip("192.0.2.1"), now)).collect();
        assert_eq!(neighbours.iter().filter(|(place, _)| place.open(false, now)).count(), 128);
        assert!(is_open(&mut ended));
        assert_eq!(places.lock().rooms[&Pool::Known].hosts[&ip("192.0.2.1")].len(), 129);
        let (member, mut ended) = places.enter(ip("192.0.2.2"), now).unwrap();
        assert!(member.open(true, now) && is_open(&mut ended));
        member.prove(now);
        assert_eq!(places.lock().rooms[&Pool::Certified].count, 1);
        drop((strangers, neighbours));
    }

    #[test]
    fn a_host_full_of_those_who_proved_themselves_takes_no_more() {
        let (places, now) = (Places::default(), Instant::now());
        let mut held = Vec::new();
        for _ in 0..512 {
            let (place, ended) = places.enter(ip("192.0.2.1"), now).unwrap();
            assert!(place.open(false, now));
            place.prove(now);
            held.push((place, ended));
        }
        let (more, mut ended) = places.enter(ip("192.0.2.1"), now).unwrap();
        assert!(!more.open(false, now) && !is_open(&mut ended));
        assert!(held.iter_mut().all(|(_, ended)| is_open(ended)));
    }

    #[test]
    fn all_pools_together_hold_no_more_than_they_say() {
        use Pool::{Certified, Known, ShakingKnown, ShakingStrangers, Strangers};
        let all = [ShakingStrangers, ShakingKnown, Strangers, Known, Certified].map(|pool| pool.room().0);
        assert_eq!(all.iter().sum::<usize>(), 4096);
    }
}
