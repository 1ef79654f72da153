//! Which handshake messages are looked at: what each of them may cost, and who pays for it.
//!
//! A handshake message that says nothing true costs its receiver a key agreement, some fifty microseconds, and its sender
//! nothing. So each takes a token before that. Who turns out to hold the key that the message names gets the token back:
//! only handshakes that come to nothing are counted, and any number of endpoints may start at once.
//!
//! There are three kinds of sender. One who proved nothing may use any source address, so all of these share one bucket;
//! beyond it they are sent a cookie, with which they can prove their address. One who proved an address has the bucket of
//! that address (of its /64 in IPv6), and all of them together have another. An address from which endpoints were heard
//! lately has a bucket of its own instead, larger by each of them: a flood from elsewhere takes nothing from it, and 200
//! endpoints behind one NAT are 200. Cookies are handed out in the same way. All of it takes bounded memory, and none
//! before it is needed.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::time::Instant;

use crate::bucket::{Bucket, Rate};
use crate::tunnel::Proof;

/// Handshakes that come to nothing, of all senders that proved no address.
const UNPROVEN: Rate = Rate::per_second(500, 1_000);
/// The same of one address.
const ADDRESS: Rate = Rate::per_second(20, 40);
/// The same of all addresses where no endpoint was heard.
const STRANGERS: Rate = Rate::per_second(1_000, 1_000);
/// Cookies for one address, and for all where no endpoint was heard.
const COOKIES_OF_ADDRESS: Rate = Rate::per_second(10, 20);
const COOKIES: Rate = Rate::per_second(10_000, 10_000);

/// Buckets for addresses. Two that share one are both counted in it.
const SLOTS: usize = 4_096;

/// Where a message comes from, as far as limits tell addresses apart: the subnet of an IPv6 address, or an IPv4 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Origin(NonZeroU64);

impl Origin {
    pub(super) fn of(address: IpAddr) -> Self {
        let number = match address {
            // Nobody is in a subnet of IPv6 that begins with 16 zeros (RFC 4291 section 2.4).
            IpAddr::V4(address) => 1 << 32 | u64::from(address.to_bits()),
            IpAddr::V6(address) => (address.to_bits() >> 64) as u64,
        };
        Self(NonZeroU64::new(number).unwrap_or(NonZeroU64::MIN))
    }
}

/// An address from which endpoints were heard lately.
#[derive(Debug, Default)]
struct Known {
    endpoints: u32,
    handshakes: Bucket,
    cookies: Bucket,
}

impl Known {
    /// What an address has, and for each endpoint what one needs that tries again and again.
    const fn rate(&self) -> Rate {
        let endpoints = if self.endpoints < 10_000 { self.endpoints } else { 10_000 };
        Rate::per_second(20 + 5 * endpoints, 40 + 10 * endpoints)
    }
}

/// What becomes of a handshake message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is looked at. The token is to be given back if it was worth it.
    Admit(Grant),
    /// It is not, but its sender gets a cookie to try again with.
    Cookie,
    /// It is not.
    Refuse,
}

/// Which token was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    Unproven,
    Stranger(Origin),
    Known(Origin),
}

/// Decides which handshake messages are looked at.
#[derive(Debug)]
pub(super) struct Admission {
    /// So that nobody can choose with whom to share a bucket.
    secret: [u8; 32],
    unproven: Bucket,
    strangers: Bucket,
    cookies: Bucket,
    /// Empty until they are needed.
    addresses: Vec<Bucket>,
    cookies_of_addresses: Vec<Bucket>,
    known: HashMap<Origin, Known>,
}

impl Admission {
    /// One that knows no address yet. Nobody else may know `secret`.
    pub(super) fn new(secret: [u8; 32]) -> Self {
        Self {
            secret,
            unproven: Bucket::default(),
            strangers: Bucket::default(),
            cookies: Bucket::default(),
            addresses: Vec::new(),
            cookies_of_addresses: Vec::new(),
            known: HashMap::new(),
        }
    }

    /// What becomes of a message from `origin`, whose sender has proved so much.
    pub(super) fn admit(&mut self, now: Instant, origin: Origin, proof: Proof) -> Verdict {
        match proof {
            Proof::Key if self.unproven.take(UNPROVEN, now).is_ok() => Verdict::Admit(Grant::Unproven),
            Proof::Key if self.may_have_cookie(now, origin) => Verdict::Cookie,
            Proof::Key => Verdict::Refuse,
            Proof::Address => self.admit_address(now, origin).map_or(Verdict::Refuse, Verdict::Admit),
        }
    }

    fn admit_address(&mut self, now: Instant, origin: Origin) -> Option<Grant> {
        if let Some(known) = self.known.get_mut(&origin) {
            let rate = known.rate();
            return known.handshakes.take(rate, now).is_ok().then_some(Grant::Known(origin));
        }
        let slot = self.slot(origin);
        let admitted =
            bucket(&mut self.addresses, slot).take(ADDRESS, now).is_ok() && self.strangers.take(STRANGERS, now).is_ok();
        admitted.then_some(Grant::Stranger(origin))
    }

    fn may_have_cookie(&mut self, now: Instant, origin: Origin) -> bool {
        if let Some(known) = self.known.get_mut(&origin) {
            let rate = known.rate();
            return known.cookies.take(rate, now).is_ok();
        }
        let slot = self.slot(origin);
        bucket(&mut self.cookies_of_addresses, slot).take(COOKIES_OF_ADDRESS, now).is_ok()
            && self.cookies.take(COOKIES, now).is_ok()
    }

    /// The message for which this was granted came from somebody who may begin a handshake.
    pub(super) fn give_back(&mut self, grant: Grant) {
        match grant {
            Grant::Unproven => self.unproven.give_back(UNPROVEN),
            Grant::Stranger(origin) => {
                let slot = self.slot(origin);
                bucket(&mut self.addresses, slot).give_back(ADDRESS);
                self.strangers.give_back(STRANGERS);
            }
            Grant::Known(origin) => {
                if let Some(known) = self.known.get_mut(&origin) {
                    known.handshakes.give_back(known.rate());
                }
            }
        }
    }

    /// One more endpoint is heard from `origin`.
    pub(super) fn enter(&mut self, origin: Origin) {
        self.known.entry(origin).or_default().endpoints += 1;
    }

    /// An endpoint that was heard from `origin` no longer is.
    pub(super) fn leave(&mut self, origin: Origin) {
        let Some(known) = self.known.get_mut(&origin) else { return };
        known.endpoints = known.endpoints.saturating_sub(1);
        if known.endpoints == 0 {
            self.known.remove(&origin);
        }
    }

    fn slot(&self, origin: Origin) -> usize {
        let mut hasher = DefaultHasher::new();
        (self.secret, origin).hash(&mut hasher);
        hasher.finish() as usize % SLOTS
    }
}

fn bucket(buckets: &mut Vec<Bucket>, slot: usize) -> &mut Bucket {
    if buckets.is_empty() {
        buckets.resize(SLOTS, Bucket::default());
    }
    &mut buckets[slot]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn now() -> Instant {
        Instant::now()
    }

    fn origin(number: u32) -> Origin {
        Origin::of(IpAddr::from((0xc000_0200 + number).to_be_bytes()))
    }

    /// How many of 30,000 messages in a second, from so many addresses, are looked at.
    fn flood(admission: &mut Admission, start: Instant, addresses: u32, proof: Proof) -> [usize; 3] {
        let mut seen = [0; 3];
        for number in 0..30_000 {
            let at = start + Duration::from_secs(1) * number / 30_000;
            let kind = match admission.admit(at, origin(number % addresses), proof) {
                Verdict::Admit(_) => 0,
                Verdict::Cookie => 1,
                Verdict::Refuse => 2,
            };
            seen[kind] += 1;
        }
        seen
    }

    #[test]
    fn a_flood_from_a_few_addresses_costs_a_few_key_agreements() {
        let mut admission = Admission::new([7; 32]);
        let [admitted, cookies, _] = flood(&mut admission, now(), 16, Proof::Address);
        assert!((16 * 40..16 * 60).contains(&admitted), "{admitted}");
        assert_eq!(cookies, 0);
    }

    #[test]
    fn a_flood_from_everywhere_costs_no_more_than_all_strangers_may() {
        let mut admission = Admission::new([7; 32]);
        let [admitted, ..] = flood(&mut admission, now(), 20_000, Proof::Address);
        assert!((1_900..=2_000).contains(&admitted), "{admitted}");
        let [admitted, cookies, _] = flood(&mut admission, now(), 20_000, Proof::Key);
        assert!((1_490..=1_500).contains(&admitted) && cookies <= 20_000, "{admitted} {cookies}");
    }

    #[test]
    fn one_address_gets_few_cookies() {
        let mut admission = Admission::new([7; 32]);
        let [_, cookies, _] = flood(&mut admission, now(), 1, Proof::Key);
        assert!((20..=30).contains(&cookies), "{cookies}");
    }

    #[test]
    fn a_newcomer_gets_in_while_a_few_addresses_flood() {
        let (mut admission, start) = (Admission::new([7; 32]), now());
        flood(&mut admission, start, 1, Proof::Key);
        flood(&mut admission, start, 16, Proof::Address);
        let later = start + Duration::from_secs(1);
        flood(&mut admission, later, 16, Proof::Address);
        let newcomer = origin(9_999);
        let at = later + Duration::from_secs(1);
        while admission.admit(at, origin(0), Proof::Key) == Verdict::Admit(Grant::Unproven) {}
        assert_eq!(admission.admit(at, newcomer, Proof::Key), Verdict::Cookie);
        assert_eq!(admission.admit(at, newcomer, Proof::Address), Verdict::Admit(Grant::Stranger(newcomer)));
    }

    #[test]
    fn two_hundred_endpoints_behind_one_address_are_not_kept_waiting_by_a_flood() {
        let (mut admission, start) = (Admission::new([7; 32]), now());
        let nat = origin(12_345);
        (0..200).for_each(|_| admission.enter(nat));
        // Every bucket of strangers is empty, and every sender is a stranger to the first check.
        flood(&mut admission, start, 20_000, Proof::Key);
        flood(&mut admission, start, 20_000, Proof::Address);
        let at = start + Duration::from_secs(1);
        while admission.admit(at, origin(1), Proof::Key) != Verdict::Refuse {}
        for _ in 0..200 {
            assert_eq!(admission.admit(at, nat, Proof::Key), Verdict::Cookie);
            assert_eq!(admission.admit(at, nat, Proof::Address), Verdict::Admit(Grant::Known(nat)));
        }
        (0..200).for_each(|_| admission.leave(nat));
        assert!(admission.known.is_empty());
    }

    #[test]
    fn who_holds_the_key_it_names_is_not_counted() {
        let (mut admission, start) = (Admission::new([7; 32]), now());
        admission.enter(origin(2));
        for (number, proof) in [(1, Proof::Key), (1, Proof::Address), (2, Proof::Address)] {
            for _ in 0..10_000 {
                let verdict = admission.admit(start, origin(number), proof);
                let Verdict::Admit(grant) = verdict else { panic!("{verdict:?}") };
                admission.give_back(grant);
            }
        }
    }

    #[test]
    fn a_subnet_of_ipv6_is_one_sender() {
        let of = |text: &str| Origin::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), of("2001:db8:1:2::"));
        assert_ne!(of("2001:db8:1:2::"), of("2001:db8:1:3::"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
