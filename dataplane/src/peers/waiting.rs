//! Packets that wait for a session: few, of all peers together, and not for long.
//!
//! A peer that does not answer must not cost memory, so there is one budget for all. Whoever sends notices the loss of a
//! packet and sends it again; what waits only spares the first packets after a pause that detour.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Bytes that wait for all peers together.
const BUDGET: usize = 256 * 1024;
/// Bytes that wait for one.
const BYTES: usize = 32 * 1024;
/// Packets that wait for one.
const PACKETS: usize = 32;
/// After this a handshake has failed (`REKEY_TIMEOUT` of WireGuard), and what waits for it is dropped.
const LIMIT: Duration = Duration::from_secs(5);
/// What a packet costs beside its bytes, roughly.
const OVERHEAD: usize = 64;

/// What waits for one peer.
#[derive(Debug, Default)]
struct Queue {
    packets: VecDeque<Vec<u8>>,
    cost: usize,
    /// When it was first looked at.
    since: Option<Instant>,
}

/// What waits for each peer, by number.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    queues: BTreeMap<u32, Queue>,
    cost: usize,
}

impl Waiting {
    /// Keeps a copy of a packet for a peer, if there is room.
    pub(super) fn hold(&mut self, number: u32, packet: &[u8]) -> bool {
        let cost = packet.len() + OVERHEAD;
        let (all, of_peer) = (self.cost, self.queues.get(&number));
        let (packets, own) = of_peer.map_or((0, 0), |queue| (queue.packets.len(), queue.cost));
        if all + cost > BUDGET || own + cost > BYTES || packets >= PACKETS {
            return false;
        }
        let queue = self.queues.entry(number).or_default();
        queue.packets.push_back(packet.to_vec());
        queue.cost += cost;
        self.cost += cost;
        true
    }

    /// Whether anything waits for a peer. Cheap enough for every packet.
    pub(super) fn holds(&self, number: u32) -> bool {
        self.cost > 0 && self.queues.contains_key(&number)
    }

    /// All that waits for a peer, in order.
    pub(super) fn take(&mut self, number: u32) -> impl Iterator<Item = Vec<u8>> + use<> {
        let queue = self.queues.remove(&number).unwrap_or_default();
        self.cost -= queue.cost;
        queue.packets.into_iter()
    }

    /// Drops what has waited for too long, and says how many packets that were.
    pub(super) fn expire(&mut self, now: Instant) -> u64 {
        let (mut expired, mut cost) = (0, 0);
        self.queues.retain(|_, queue| {
            let is_late = now.saturating_duration_since(*queue.since.get_or_insert(now)) >= LIMIT;
            if is_late {
                expired += queue.packets.len() as u64;
                cost += queue.cost;
            }
            !is_late
        });
        self.cost -= cost;
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_peers_together_have_one_budget() {
        let mut waiting = Waiting::default();
        let held = (0..10_000_u32).filter(|number| waiting.hold(number % 100, &[0; 1300])).count();
        assert!(waiting.cost <= BUDGET && held == BUDGET / (1300 + OVERHEAD), "{held}");
        assert!(!waiting.hold(1, &[0; 62_000]));
        let of_one = waiting.take(5).count();
        assert!(of_one > 0 && !waiting.holds(5) && waiting.holds(6));
        assert!((0..of_one).all(|_| waiting.hold(200, &[0; 1300])), "what was taken leaves room");
        (0..100).for_each(|number| drop(waiting.take(number)));
        drop(waiting.take(200));
        assert_eq!((waiting.cost, waiting.queues.len()), (0, 0));
    }

    #[test]
    fn one_peer_has_a_part_of_it_in_order() {
        let mut waiting = Waiting::default();
        let held: Vec<u8> = (0..100).filter(|&number| waiting.hold(7, &[number])).collect();
        assert_eq!(held, (0..PACKETS as u8).collect::<Vec<_>>());
        assert!(waiting.take(7).flatten().eq(held));
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn nothing_waits_for_long() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.hold(1, &[1]);
        assert_eq!(waiting.expire(now), 0);
        waiting.hold(1, &[2]);
        waiting.hold(2, &[3]);
        assert_eq!(waiting.expire(now + LIMIT), 2);
        assert!(!waiting.holds(1) && waiting.holds(2));
    }
}
