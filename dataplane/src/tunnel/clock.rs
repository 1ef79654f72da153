//! The clock that tunnels read: one for each thread, moved by whoever drives the node there.
//!
//! Each handshake initiation carries a timestamp, and the other end refuses one that is not later than the last it accepted
//! from the same key (WireGuard, section 5.1). Here timestamps only grow for as long as the thread lives, whatever happens to the wall
//! clock: a new tunnel begins at the wall clock or at the latest timestamp of the thread, whichever is later, and goes on with this
//! clock.

use std::time::{Duration, SystemTime};

use mock_instant::MockClock;

/// Where the clock begins: by no more than this can timestamps be later than the wall clock.
const BEGINNING: Duration = Duration::from_secs(100_000 * 365 * 24 * 3600);

/// Begins. To be called once on the thread that drives a node, before there is a tunnel.
pub fn begin() {
    MockClock::set_time(BEGINNING);
}

/// So much time has passed.
pub fn advance(by: Duration) {
    MockClock::advance(by);
    MockClock::advance_system_time(by);
}

/// Moves the timestamps of tunnels that are made from now on, and not the timers.
pub fn skip(by: Duration) {
    MockClock::set_system_time(latest().saturating_add(by));
}

/// No two initiations have the same timestamp, though the clock is moved once for each batch of packets.
pub(super) fn tick() {
    advance(Duration::from_nanos(1));
}

/// The timestamp of an initiation that is made now, in a tunnel that is made now.
pub(crate) fn latest() -> Duration {
    MockClock::system_time().max(wall_clock())
}

/// Makes a tunnel whose timestamps begin at [`latest`].
///
/// boringtun adds the age of a tunnel, by this clock, to what the wall clock said when the tunnel was made. So a tunnel whose timestamps are
/// to be ahead of the wall clock is made in the past: the age makes up the difference.
pub(super) fn make<T>(tunnel: impl FnOnce() -> T) -> T {
    let (latest, wall, now) = (latest(), wall_clock(), MockClock::time());
    MockClock::set_time(now.saturating_sub(latest.saturating_sub(wall)));
    let made = tunnel();
    MockClock::set_time(now);
    // boringtun read the wall clock a little later.
    MockClock::set_system_time(latest.saturating_add(wall_clock().saturating_sub(wall)));
    made
}

#[expect(clippy::disallowed_methods, reason = "boringtun reads this clock by itself, whatever it is told")]
fn wall_clock() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// What a program that was started anew knows of earlier timestamps.
#[cfg(test)]
pub(crate) fn forget() {
    MockClock::set_system_time(Duration::ZERO);
}

#[cfg(test)]
mod tests {
    use festoon_proto::PrivateKey;

    use super::super::{Identity, MIN_BUFFER, Opened, Stamp, Tunnel};
    use super::*;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn initiate(tunnel: &mut Tunnel, to: &Identity) -> Stamp {
        let mut wire = [0; MIN_BUFFER];
        assert_eq!(tunnel.initiate(&mut wire), MIN_BUFFER);
        to.stamp(&to.read(&wire).unwrap()).unwrap()
    }

    #[test]
    fn timestamps_begin_where_they_should_and_follow_the_clock() {
        begin();
        let [a, b] = [1, 2].map(|byte| Identity::new(&PrivateKey::from_bytes([byte; 32])));
        let mut last = Stamp::default();
        for years in [0, 1, 300] {
            skip(YEAR * years);
            let before = latest();
            let mut tunnel = Tunnel::new(&a, &b.public_key(), 1);
            for later in [0, 7] {
                advance(Duration::from_secs(later));
                let stamp = initiate(&mut tunnel, &b);
                let ahead = stamp.unix_time() - before - Duration::from_secs(later);
                assert!(ahead < Duration::from_secs(60), "after {years} years: {ahead:?}");
                assert!(stamp > last);
                last = stamp;
            }
        }
        // As if the wall clock had been set back by three centuries.
        assert!(initiate(&mut Tunnel::new(&a, &b.public_key(), 1), &b) > last);
    }

    #[test]
    fn a_tunnel_that_was_made_in_the_past_has_a_session_for_as_long_as_any() {
        begin();
        let [a_id, b_id] = [1, 2].map(|byte| Identity::new(&PrivateKey::from_bytes([byte; 32])));
        for ahead in [0, 60, 200, 400, 600, 24 * 3600, 300 * 365 * 24 * 3600] {
            forget();
            skip(Duration::from_secs(ahead));
            let mut a = Tunnel::new(&a_id, &b_id.public_key(), 1);
            let mut b = Tunnel::new(&b_id, &a_id.public_key(), 2);
            let (mut wire, mut reply) = ([0; 256], [0; 256]);
            let from = std::net::Ipv4Addr::LOCALHOST.into();
            let len = a.initiate(&mut wire);
            let Opened::Reply(len) = b.open(from, &wire[..len], &mut reply) else { panic!("no response") };
            let Opened::Established(len) = a.open(from, &reply[..len], &mut wire) else { panic!("no session") };
            assert_eq!(b.open(from, &wire[..len], &mut reply), Opened::Keepalive);
            assert!(a.has_session() && b.has_session(), "{ahead} s ahead");
            for second in 0..170 {
                advance(Duration::from_secs(1));
                a.handle_timeout(&mut wire);
                b.handle_timeout(&mut wire);
                assert!(a.has_session() && b.has_session(), "{ahead} s ahead, after {second} s");
            }
        }
    }
}
