//! Handshakes of others: let in, kept waiting until the packets of the moment were served, then answered a few at a time.
//!
//! What a stranger can make this node spend on each message, in this order: two short hashes; then a token of a bounded
//! number (see [`admission`](super::admission)) for one key agreement, or for one cookie, which is smaller than the message
//! it answers; then, if the message names a key that is known here and is newer than all before, an answer. A message that
//! was refused a moment ago costs a comparison. Where a peer is, and that it is there, follows from what comes after the
//! handshake, which nobody can make or keep but the owner of the key.

use std::time::{Duration, Instant};

use super::admission::{Origin, Verdict};
use super::own_keys::Place;
use super::queue::Waiting;
use super::{PeerId, Peers, Received};
use crate::batch::UnderlayBatch;
use crate::drop_reason::{DropCounters, DropReason};
use crate::node::UnderlayPath;
use crate::tunnel::{Kind, MIN_BUFFER};

/// The least time between two handshakes that a peer may begin with one of our keys. Each costs us an answer.
const PAUSE: Duration = Duration::from_millis(20);

impl<R> Peers<R> {
    /// Lets a handshake message in, or not.
    pub(super) fn meet(
        &mut self,
        now: Instant,
        path: UnderlayPath,
        kind: Kind,
        message: &[u8],
        underlay: &mut UnderlayBatch,
    ) -> Result<Received, DropReason> {
        if self.refused.contains(now, message) {
            return Err(DropReason::InvalidHandshake);
        }
        let from = path.remote.ip();
        let (place, proof) = self.own.check(from, message)?;
        match self.admission.admit(now, Origin::of(from), proof) {
            Verdict::Admit(grant) => {
                let waiting = Waiting::new(now, path, (kind, place), grant, message);
                self.queue.push(waiting.ok_or(DropReason::MalformedDatagram)?).map_err(|grant| {
                    self.admission.give_back(grant);
                    DropReason::RateLimited
                })?;
                Ok(Received::Nothing)
            }
            Verdict::Cookie => {
                if let Some(own) = self.own.get(place) {
                    let len = own.identity.cookie(from, message, underlay.reserve(path, MIN_BUFFER));
                    underlay.commit(len);
                }
                Err(DropReason::RateLimited)
            }
            Verdict::Refuse => Err(DropReason::RateLimited),
        }
    }

    /// Handles the next handshake message that waits; `None` if none does. Until then [`Peers::poll_timeout`] gives a time
    /// that has come.
    pub fn handle_handshake(
        &mut self,
        now: Instant,
        underlay: &mut UnderlayBatch,
        drops: &mut DropCounters,
    ) -> Option<Received> {
        let waiting = self.queue.pop()?;
        let mut reply = [0; MIN_BUFFER];
        let handled = match waiting.kind {
            Kind::Initiation => self.answer(now, &waiting, &mut reply, underlay),
            Kind::Response(index) | Kind::Other(index) => {
                let (number, place) = Place::from_wire(index);
                self.open(now, (PeerId(number), place), waiting.path, waiting.message(), &mut reply, underlay)
            }
        };
        Some(handled.map_or_else(
            |reason| {
                if reason != DropReason::RateLimited {
                    self.refused.add(now, waiting.message());
                }
                drops.count(reason);
                Received::Nothing
            },
            |received| {
                self.admission.give_back(waiting.grant);
                received
            },
        ))
    }

    /// Answers an initiation if it is of a peer and newer than all before. Anybody can name a key, and anybody can keep a
    /// message; only its owner, with a new one, wakes a peer.
    fn answer(
        &mut self,
        now: Instant,
        waiting: &Waiting,
        reply: &mut [u8],
        underlay: &mut UnderlayBatch,
    ) -> Result<Received, DropReason> {
        let Waiting { path, place, .. } = *waiting;
        let own = self.own.get(place).ok_or(DropReason::InvalidHandshake)?;
        let initiation = own.identity.read(waiting.message()).ok_or(DropReason::InvalidHandshake)?;
        let id = self.find(&initiation.key).ok_or(DropReason::UnknownKey)?;
        let peer = self.get(id).ok_or(DropReason::UnknownKey)?;
        let answered = peer.lines[place.index()].as_ref().and_then(|line| line.answered);
        if answered.is_some_and(|at| now < at + PAUSE) {
            return Err(DropReason::RateLimited);
        }
        let stamp = own.identity.stamp(&initiation).ok_or(DropReason::InvalidHandshake)?;
        if !peer.newest.is_before(place, stamp) {
            // It may be a copy, or its maker's clock was set back: to a cookie, only its maker knows what to do.
            let len = own.identity.cookie(path.remote.ip(), waiting.message(), underlay.reserve(path, MIN_BUFFER));
            underlay.commit(len);
            return Err(DropReason::StaleHandshake);
        }
        let was_asleep = self.wake(id, place);
        let received = self.open(now, (id, place), path, waiting.message(), reply, underlay);
        match (&received, self.get_mut(id)) {
            (Ok(_), Some(peer)) => {
                peer.newest.note(place, stamp);
                if let Some(line) = &mut peer.lines[place.index()] {
                    line.answered = Some(now);
                }
            }
            _ if was_asleep => self.put_to_sleep(id, place),
            _ => {}
        }
        received
    }
}
