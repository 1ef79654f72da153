//! A node's own keys: the one it uses and, while that is new, the one before beside it.
//!
//! Others find a node by its key. For a while after a change some know the new one and some the old one only, so the node
//! answers handshakes to either, each in a tunnel of its own: both ends of a tunnel make their addresses for signals of the
//! two keys it was made with. Which of them a datagram is for is one bit of its index, so no packet is looked up twice.

use std::net::{IpAddr, Ipv6Addr};

use festoon_proto::address::link_local;
use festoon_proto::{PrivateKey, PublicKey};

use crate::drop_reason::DropReason;
use crate::tunnel::{Identity, Proof};

/// One of the two places for own keys, and for the tunnels made with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place(u32);

impl Place {
    const BOTH: [Self; 2] = [Self(0), Self(1)];

    const fn other(self) -> Self {
        Self(self.0 ^ 1)
    }

    /// Its index in an array of two.
    pub(super) const fn index(self) -> usize {
        (self.0 & 1) as usize
    }

    /// The index on the wire of the tunnel in this place of the peer with this number.
    pub(super) const fn to_wire(self, number: u32) -> u32 {
        number << 1 | self.0
    }

    /// The peer's number and the place that an index on the wire stands for.
    pub(super) const fn from_wire(index: u32) -> (u32, Self) {
        (index >> 1, Self(index & 1))
    }
}

/// An own key.
#[derive(Debug, Clone)]
pub(super) struct OwnKey {
    pub(super) place: Place,
    pub(super) identity: Identity,
    /// Our address for signals in tunnels made with it.
    pub(super) link_local: Ipv6Addr,
}

impl OwnKey {
    fn new(place: Place, key: &PrivateKey) -> Self {
        let identity = Identity::new(key);
        Self { place, link_local: link_local(&identity.public_key()), identity }
    }
}

/// The own keys.
#[derive(Debug)]
pub(super) struct OwnKeys {
    used: OwnKey,
    former: Option<OwnKey>,
}

impl OwnKeys {
    /// With `key` alone.
    pub(super) fn new(key: &PrivateKey) -> Self {
        Self { used: OwnKey::new(Place(0), key), former: None }
    }

    /// The one that handshakes are started with.
    pub(super) const fn used(&self) -> &OwnKey {
        &self.used
    }

    /// The one in a place.
    pub(super) fn get(&self, place: Place) -> Option<&OwnKey> {
        self.all().find(|own| own.place == place)
    }

    fn all(&self) -> impl Iterator<Item = &OwnKey> {
        std::iter::once(&self.used).chain(&self.former)
    }

    fn find(&self, key: &PrivateKey) -> Option<&OwnKey> {
        let key = key.public_key();
        self.all().find(|own| own.identity.public_key() == key)
    }

    /// Starts handshakes with `key` from now on, and answers to those for `former` too. Gives the places whose key is gone.
    pub(super) fn set(&mut self, key: &PrivateKey, former: Option<&PrivateKey>) -> Vec<Place> {
        let former = former.filter(|former| former.public_key() != key.public_key());
        let beside = former.and_then(|former| self.find(former)).map_or(self.used.place, |former| former.place);
        let place = self.find(key).map_or(beside.other(), |own| own.place);
        // One that stays stays the same, or the cookies that were given out for it would be good no more.
        let keep = |key, place| self.find(key).cloned().unwrap_or_else(|| OwnKey::new(place, key));
        let (used, former) = (keep(key, place), former.map(|former| keep(former, place.other())));
        let before = Place::BOTH.map(|place| (place, self.public_key(place)));
        (self.used, self.former) = (used, former);
        before.into_iter().filter(|(place, key)| *key != self.public_key(*place)).map(|(place, _)| place).collect()
    }

    fn public_key(&self, place: Place) -> Option<PublicKey> {
        self.get(place).map(|own| own.identity.public_key())
    }

    /// What the sender of a handshake message has proved, and the place of the key that it was made for. Only one that was
    /// made for neither is looked at twice.
    pub(super) fn check(&self, from: IpAddr, message: &[u8]) -> Result<(Place, Proof), DropReason> {
        match (self.used.identity.check(from, message), &self.former) {
            (Err(DropReason::InvalidMac), Some(former)) => {
                former.identity.check(from, message).map(|proof| (former.place, proof))
            }
            (checked, _) => checked.map(|proof| (self.used.place, proof)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> PrivateKey {
        PrivateKey::from_bytes([byte; 32])
    }

    #[test]
    fn a_key_keeps_its_place_as_long_as_it_is_there() {
        let mut own = OwnKeys::new(&key(1));
        let held =
            |own: &OwnKeys| (own.used.identity.public_key(), own.former.as_ref().map(|it| it.identity.public_key()));
        let first = own.used.place;
        assert_eq!(own.set(&key(1), None), []);
        assert_eq!(own.set(&key(2), Some(&key(1))), [first.other()]);
        assert_eq!(held(&own), (key(2).public_key(), Some(key(1).public_key())));
        assert_eq!((own.find(&key(1)).unwrap().place, own.used.place), (first, first.other()));
        // Back, and forth again: nothing goes.
        assert_eq!(own.set(&key(1), Some(&key(2))), []);
        assert_eq!(own.set(&key(2), Some(&key(1))), []);
        // The next before this one is over.
        assert_eq!(own.set(&key(3), Some(&key(2))), [first]);
        assert_eq!((own.used.place, held(&own).1), (first, Some(key(2).public_key())));
        assert_eq!(own.set(&key(3), None), [first.other()]);
        // One that is no longer to be trusted at all.
        assert_eq!(own.set(&key(4), None).len(), 2);
        assert_eq!(held(&own), (key(4).public_key(), None));
        assert_eq!(own.set(&key(4), Some(&key(4))), [], "the same key twice is one key");
    }

    #[test]
    fn a_place_survives_the_wire() {
        for place in Place::BOTH {
            let index = place.to_wire((1 << 23) - 1);
            assert!(index < 1 << 24);
            assert_eq!(Place::from_wire(index), ((1 << 23) - 1, place));
        }
    }
}
