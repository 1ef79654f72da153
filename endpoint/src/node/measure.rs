//! Probes that somebody asks for, beside those by which the node finds out for itself who is alive.

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use festoon_dataplane::tunnel::OVERHEAD;
use festoon_proto::ManagerId;
use festoon_proto::signal::ProbeReply;
use serde::{Deserialize, Serialize};

/// Their sequences have this bit. Those of liveness reach it after some years.
const MARK: u32 = 1 << 31;
/// Answers that are waited for at once, at most.
const MAX_WAITING: usize = 64;
/// The largest datagram a measurement is made with: beyond the largest MTU of a network, with all headers.
const MAX_LEN: u16 = 9_100;
const UDP_HEADER: usize = 8;

/// What is to be found out.
pub struct Measure {
    /// Whom to ask.
    pub manager: ManagerId,
    /// How large the packet is on the underlay, with its IP header, in bytes; it is not cut into fragments then. `None` for
    /// one that is as small as it can be.
    pub size: Option<u16>,
    /// Where the answer goes, if one comes.
    pub done: Box<dyn FnOnce(Measured) + Send>,
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measure").field("manager", &self.manager).field("size", &self.size).finish_non_exhaustive()
    }
}

impl Measure {
    /// The length of the datagram (UDP payload) for a manager at `to`, if the size matters.
    pub(super) fn payload(&self, to: SocketAddr) -> Option<usize> {
        self.size.map(|size| usize::from(size.min(MAX_LEN)).saturating_sub(headers(to) - OVERHEAD))
    }
}

/// The bytes that the underlay adds to an overlay packet that goes to `to`: the headers of IP, UDP and the tunnel.
pub fn headers(to: SocketAddr) -> usize {
    let ip = if to.is_ipv4() { 20 } else { 40 };
    ip + UDP_HEADER + OVERHEAD
}

/// What an answer tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// How long it took, in microseconds.
    pub rtt_us: u32,
    /// The underlay address of this endpoint, as the manager sees it.
    pub observed: Option<SocketAddr>,
}

/// The measurements under way.
#[derive(Debug, Default)]
pub(super) struct Measurements {
    last: u32,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    sequence: u32,
    since: Instant,
    measure: Measure,
}

impl Measurements {
    /// Waits for the answer to a probe of the sequence that it gives. Too many, and the oldest is given up.
    pub(super) fn begin(&mut self, now: Instant, measure: Measure) -> u32 {
        if self.waiting.len() == MAX_WAITING {
            self.waiting.remove(0);
        }
        self.last = self.last.wrapping_add(1) | MARK;
        self.waiting.push(Waiting { sequence: self.last, since: now, measure });
        self.last
    }

    /// A manager has answered a probe, perhaps one of these.
    pub(super) fn handle_reply(&mut self, now: Instant, manager: ManagerId, reply: &ProbeReply) {
        let is_it = |waiting: &Waiting| waiting.sequence == reply.sequence && waiting.measure.manager == manager;
        if let Some(place) = self.waiting.iter().position(is_it) {
            let Waiting { since, measure, .. } = self.waiting.remove(place);
            let rtt = now.saturating_duration_since(since);
            (measure.done)(Measured { rtt_us: micros(rtt), observed: reply.observed });
        }
    }
}

/// In microseconds, as far as they fit.
pub(super) fn micros(time: Duration) -> u32 {
    u32::try_from(time.as_micros()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use festoon_proto::map::MapVersion;
    use festoon_proto::signal::ManagerState;

    use super::*;

    fn reply(sequence: u32) -> ProbeReply {
        ProbeReply {
            sequence,
            state: ManagerState::Serving,
            probe_interval_ms: 50,
            map_version: MapVersion(1),
            attachment: None,
            observed: Some("192.0.2.9:7".parse().unwrap()),
        }
    }

    fn measure(manager: u16, done: &mpsc::Sender<Measured>) -> Measure {
        let done = done.clone();
        Measure { manager: ManagerId(manager), size: None, done: Box::new(move |it| done.send(it).unwrap()) }
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn an_answer_ends_the_measurement_it_is_for_and_no_other() {
        let (now, mut all) = (Instant::now(), Measurements::default());
        let (done, answers) = mpsc::channel();
        let (first, second) = (all.begin(now, measure(1, &done)), all.begin(now, measure(2, &done)));
        let later = now + Duration::from_micros(1_500);
        for (manager, sequence) in [(2, first), (1, second), (1, first & !MARK), (1, 0)] {
            all.handle_reply(later, ManagerId(manager), &reply(sequence));
            assert!(answers.try_recv().is_err(), "{manager} {sequence}");
        }
        all.handle_reply(later, ManagerId(1), &reply(first));
        let expected = Measured { rtt_us: 1_500, observed: reply(0).observed };
        assert_eq!(answers.try_recv(), Ok(expected));
        all.handle_reply(later, ManagerId(1), &reply(first));
        assert!(answers.try_recv().is_err(), "answered twice");
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn those_without_an_answer_do_not_gather() {
        let (now, mut all) = (Instant::now(), Measurements::default());
        let (done, answers) = mpsc::channel();
        let sequences: Vec<u32> = (0..=MAX_WAITING).map(|_| all.begin(now, measure(1, &done))).collect();
        sequences.iter().for_each(|&sequence| all.handle_reply(now, ManagerId(1), &reply(sequence)));
        assert_eq!(answers.try_iter().count(), MAX_WAITING);
    }

    #[test]
    fn a_size_is_that_of_the_packet_on_the_underlay() {
        let (done, _) = mpsc::channel();
        for (size, to, payload) in [
            (Some(1500), "192.0.2.1:1", Some(1472)),
            (Some(1500), "[2001:db8::1]:1", Some(1452)),
            (Some(10), "192.0.2.1:1", Some(0)),
            (Some(u16::MAX), "192.0.2.1:1", Some(9_072)),
            (None, "192.0.2.1:1", None),
        ] {
            assert_eq!(Measure { size, ..measure(1, &done) }.payload(to.parse().unwrap()), payload, "{size:?} {to}");
        }
    }
}
