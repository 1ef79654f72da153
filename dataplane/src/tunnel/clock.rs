//! The clock that tunnels read: one for each thread, moved by whoever drives the node there.
//!
//! Each handshake initiation carries a timestamp, and the other end refuses one that is not later than the last it accepted
//! from the same key (WireGuard, section 5.1). In a tunnel that is there, timestamps follow this clock, whatever happens to the wall
//! clock. A tunnel that is made takes its first timestamp from the wall clock, for boringtun reads that by itself: so [`begin`] and
//! [`skip`], which are about first timestamps, have no effect on it yet (decision 35).

use std::time::Duration;

use mock_instant::MockClock;

/// Sets the timestamp of the next initiation, as the time since 1970.
pub fn begin(unix_time: Duration) {
    MockClock::set_system_time(unix_time);
}

/// So much time has passed.
pub fn advance(by: Duration) {
    MockClock::advance(by);
    MockClock::advance_system_time(by);
}

/// Moves the timestamps of tunnels that are made from now on, and not the timers.
pub fn skip(by: Duration) {
    MockClock::advance_system_time(by);
}

/// The timestamp of an initiation that is made now, in a tunnel that is made now.
#[cfg(test)]
pub(crate) fn timestamp() -> Duration {
    MockClock::system_time()
}

/// No two initiations have the same timestamp, though the clock is moved once for each batch of packets.
pub(super) fn tick() {
    advance(Duration::from_nanos(1));
}
