//! The newest handshake initiation of each key, so that no older one is taken: not after the tunnel was torn down, and not
//! after the peer was removed and came back.

use std::collections::{HashMap, VecDeque};

use festoon_proto::PublicKey;

use super::own_keys::Place;
use crate::tunnel::Stamp;

/// Removed peers that are remembered.
const MAX_REMOVED: usize = 16_384;

/// The newest initiation of a key, for each of ours. Takes no room until there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Newest(Option<Box<[Stamp; 2]>>);

impl Newest {
    /// Whether an initiation is newer than all before.
    pub(super) fn is_before(&self, place: Place, stamp: Stamp) -> bool {
        self.0.as_ref().is_none_or(|newest| newest[place.index()] < stamp)
    }

    /// An initiation was accepted.
    pub(super) fn note(&mut self, place: Place, stamp: Stamp) {
        self.0.get_or_insert_default()[place.index()] = stamp;
    }

    /// Our key in this place is another now: what was made for the one before can no longer be read.
    pub(super) fn forget(&mut self, place: Place) {
        if let Some(newest) = &mut self.0 {
            newest[place.index()] = Stamp::default();
        }
    }
}

/// Those of peers that were removed.
#[derive(Debug, Default)]
pub(super) struct Removed {
    newest: HashMap<PublicKey, Newest>,
    /// The longest removed first. May name one twice.
    order: VecDeque<PublicKey>,
}

impl Removed {
    /// A peer is removed.
    pub(super) fn keep(&mut self, key: PublicKey, newest: Newest) {
        if newest.0.is_none() {
            return;
        }
        self.newest.insert(key, newest);
        self.order.push_back(key);
        if self.order.len() > MAX_REMOVED
            && let Some(longest) = self.order.pop_front()
        {
            self.newest.remove(&longest);
        }
    }

    /// What is known of a peer that comes, perhaps again.
    pub(super) fn take(&mut self, key: &PublicKey) -> Newest {
        self.newest.remove(key).unwrap_or_default()
    }

    /// As [`Newest::forget`], for all.
    pub(super) fn forget(&mut self, place: Place) {
        self.newest.values_mut().for_each(|newest| newest.forget(place));
    }
}

#[cfg(test)]
mod tests {
    use festoon_proto::PrivateKey;

    use super::*;
    use crate::tunnel::{Identity, Tunnel};

    #[test]
    fn so_many_are_remembered_and_no_more() {
        let [a, b] = [1, 2].map(|byte| Identity::new(&PrivateKey::from_bytes([byte; 32])));
        let mut wire = [0; 148];
        Tunnel::new(&a, &b.public_key(), 1).initiate(&mut wire);
        let stamp = b.stamp(&b.read(&wire).unwrap()).unwrap();
        let (place, mut newest) = (Place::from_wire(1).1, Newest::default());
        newest.note(place, stamp);
        assert!(!newest.is_before(place, stamp) && newest.is_before(Place::from_wire(0).1, stamp));

        let mut removed = Removed::default();
        let key = |number: u32| {
            let mut bytes = [0; 32];
            bytes[..4].copy_from_slice(&number.to_le_bytes());
            PublicKey::from_bytes(bytes)
        };
        removed.keep(key(0), Newest::default());
        assert!(removed.order.is_empty(), "nothing was ever heard of it");
        for number in 0..=MAX_REMOVED as u32 {
            removed.keep(key(number), newest.clone());
        }
        assert_eq!((removed.take(&key(0)), removed.take(&key(1))), (Newest::default(), newest));
        assert_eq!(removed.take(&key(1)), Newest::default());
        removed.forget(place);
        assert!(removed.take(&key(2)).is_before(place, stamp));
    }
}
