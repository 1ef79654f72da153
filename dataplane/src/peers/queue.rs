//! Handshake messages that were let in and wait until packets were served, and those that were refused a moment ago.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::admission::Grant;
use super::own_keys::Place;
use crate::node::UnderlayPath;
use crate::tunnel::Kind;

/// The longest handshake message: an initiation.
const LONGEST: usize = 148;
/// Messages that wait at once. Honest senders try again.
const MAX_WAITING: usize = 1_024;
/// Messages that are remembered as refused, and for how long.
const SLOTS: usize = 2_048;
const MOMENT: Duration = Duration::from_secs(5);
/// The two proofs at the end of a handshake message.
const MAC: usize = 16;

/// A handshake message that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    /// Since when.
    pub(super) since: Instant,
    /// Where it came from.
    pub(super) path: UnderlayPath,
    /// Which it is.
    pub(super) kind: Kind,
    /// For which of our keys.
    pub(super) place: Place,
    /// What it was let in with.
    pub(super) grant: Grant,
    len: usize,
    bytes: [u8; LONGEST],
}

impl Waiting {
    /// `None` if it is longer than any handshake message.
    pub(super) fn new(
        since: Instant,
        path: UnderlayPath,
        (kind, place): (Kind, Place),
        grant: Grant,
        message: &[u8],
    ) -> Option<Self> {
        let mut bytes = [0; LONGEST];
        bytes.get_mut(..message.len())?.copy_from_slice(message);
        Some(Self { since, path, kind, place, grant, len: message.len(), bytes })
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// What waits. Those with a place of their own go first, but never alone.
#[derive(Debug, Default)]
pub(super) struct Queue {
    known: VecDeque<Waiting>,
    others: VecDeque<Waiting>,
    turn: u32,
}

impl Queue {
    /// Of so many, at least one is of a sender that is not known, if there is any.
    const SHARE: u32 = 4;

    /// Takes a message in, or gives it back if too many wait.
    pub(super) fn push(&mut self, waiting: Waiting) -> Result<(), Grant> {
        let queue = match waiting.grant {
            Grant::Known(_) => &mut self.known,
            Grant::Unproven | Grant::Stranger(_) => &mut self.others,
        };
        if queue.len() == MAX_WAITING {
            return Err(waiting.grant);
        }
        queue.push_back(waiting);
        Ok(())
    }

    /// The next one.
    pub(super) fn pop(&mut self) -> Option<Waiting> {
        self.turn = self.turn.wrapping_add(1);
        if self.turn.is_multiple_of(Self::SHARE) {
            self.others.pop_front().or_else(|| self.known.pop_front())
        } else {
            self.known.pop_front().or_else(|| self.others.pop_front())
        }
    }

    /// Since when one waits.
    pub(super) fn since(&self) -> Option<Instant> {
        self.known.front().into_iter().chain(self.others.front()).map(|waiting| waiting.since).min()
    }
}

/// Messages that were refused a moment ago: a copy of one is refused without a look. A message is known by its first proof,
/// which covers all of it but the proofs themselves.
#[derive(Debug, Default)]
pub(super) struct Refused {
    /// Empty until the first.
    slots: Vec<Option<([u8; MAC], Instant)>>,
}

impl Refused {
    /// Remembers a message.
    pub(super) fn add(&mut self, now: Instant, message: &[u8]) {
        let Some(proof) = first_proof(message) else { return };
        if self.slots.is_empty() {
            self.slots.resize(SLOTS, None);
        }
        self.slots[slot(&proof)] = Some((proof, now + MOMENT));
    }

    /// Whether it is a copy of one that was refused.
    pub(super) fn contains(&self, now: Instant, message: &[u8]) -> bool {
        let Some(proof) = first_proof(message) else { return false };
        let known = self.slots.get(slot(&proof)).copied().flatten();
        known.is_some_and(|(known, until)| known == proof && now < until)
    }
}

fn first_proof(message: &[u8]) -> Option<[u8; MAC]> {
    message.get(message.len().checked_sub(2 * MAC)?..)?.first_chunk().copied()
}

fn slot(proof: &[u8; MAC]) -> usize {
    usize::from(u16::from_le_bytes([proof[0], proof[1]])) % SLOTS
}

#[cfg(test)]
mod tests {
    use super::super::admission::Origin;
    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn now() -> Instant {
        Instant::now()
    }

    fn waiting(at: Instant, grant: Grant) -> Waiting {
        let path = UnderlayPath { remote: ([192, 0, 2, 1], 1).into(), local: None };
        let place = Place::from_wire(0).1;
        Waiting::new(at, path, (Kind::Initiation, place), grant, &[1; LONGEST]).unwrap()
    }

    #[test]
    fn known_senders_go_first_but_not_alone_and_the_queue_is_bounded() {
        let (mut queue, at) = (Queue::default(), now());
        let known = Grant::Known(Origin::of([192, 0, 2, 1].into()));
        for _ in 0..MAX_WAITING {
            queue.push(waiting(at, Grant::Unproven)).unwrap();
        }
        assert_eq!(queue.push(waiting(at, Grant::Unproven)), Err(Grant::Unproven));
        for _ in 0..6 {
            queue.push(waiting(at, known)).unwrap();
        }
        let first = [(); 8].map(|()| queue.pop().unwrap().grant);
        assert_eq!(first.iter().filter(|&&grant| grant == known).count(), 6);
        assert_eq!((first[0], first[3]), (known, Grant::Unproven));
        assert_eq!(queue.since(), Some(at));
        assert_eq!(std::iter::from_fn(|| queue.pop()).count(), MAX_WAITING - 2);
        assert_eq!(queue.since(), None);
    }

    #[test]
    fn a_copy_of_a_refused_message_is_known_for_a_moment() {
        let (mut refused, at) = (Refused::default(), now());
        let message = [5; LONGEST];
        assert!(!refused.contains(at, &message) && !refused.contains(at, &[]));
        refused.add(at, &message);
        let mut with_another_cookie = message;
        with_another_cookie[LONGEST - 1] = 6;
        let mut other = message;
        other[LONGEST - 20] = 6;
        assert!(refused.contains(at, &message) && refused.contains(at, &with_another_cookie));
        assert!(!refused.contains(at, &other) && !refused.contains(at + MOMENT, &message));
    }
}
