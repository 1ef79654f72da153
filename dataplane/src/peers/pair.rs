//! A node whose key changes: for a while it is two peers.

use std::time::{Duration, Instant};

use super::{Peer, PeerId, Peers};
use crate::batch::UnderlayBatch;

/// The peer with a node's key, and the one with the key it had before, while that is good too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// With its key of now.
    pub present: PeerId,
    /// With the one before.
    pub former: Option<PeerId>,
}

impl Pair {
    /// Both, or the only one.
    pub fn peers(self) -> impl Iterator<Item = PeerId> {
        std::iter::once(self.present).chain(self.former)
    }
}

impl<R> Peers<R> {
    /// The one of a pair to send to: that with the key of now, unless there is a session with the one before alone.
    pub fn in_use(&self, pair: Pair) -> PeerId {
        pair.former
            .filter(|&former| self.has_session(former) && !self.has_session(pair.present))
            .unwrap_or(pair.present)
    }

    fn has_session(&self, id: PeerId) -> bool {
        self.get(id).is_some_and(Peer::has_session)
    }

    /// Starts a handshake between the keys of now, ours and theirs, if the session that is in use is between others. A pair
    /// without any session is left alone.
    pub fn bring_over(&mut self, pair: Pair, underlay: &mut UnderlayBatch) {
        let id = self.in_use(pair);
        let Some(peer) = self.get(id) else { return };
        if !self.has_session(id) || (id == pair.present && peer.used == self.own.used().place) {
            return;
        }
        let path = peer.contact.path;
        if let Some(present) = self.get_mut(pair.present) {
            // Where it is now, whatever addresses it may have besides.
            present.contact.path = path;
        }
        self.initiate_there(pair.present, underlay);
    }
}

/// When to try to bring sessions over to new keys, and when again. An answer may be lost, and a node that is asked may not
/// have heard of our key yet.
#[derive(Debug, Default)]
pub struct BringOver {
    next: Option<(Instant, Duration)>,
}

impl BringOver {
    /// The other end has heard of our key by then, or never will soon. It may be asked by thousands at once.
    const FIRST_PAUSE: Duration = Duration::from_secs(1);
    const LAST_PAUSE: Duration = Duration::from_secs(16);

    /// Keys have changed.
    pub fn begin(&mut self) {
        self.next = None;
    }

    /// Whether to try now. If so, that has been done.
    pub fn take_turn(&mut self, now: Instant) -> bool {
        let pause = match self.next {
            None => Self::FIRST_PAUSE,
            Some((at, pause)) if now >= at => (pause * 2).min(Self::LAST_PAUSE),
            Some(_) => return false,
        };
        self.next = Some((now + pause, pause));
        true
    }
}
