//! `festoon ping`: whether somebody in the overlay answers, how fast, and through which manager.
//!
//! An endpoint or gateway gets ICMP echo requests through the overlay's device. A manager gets probes in its tunnel: what comes
//! back tells of the way to the manager alone.

mod icmp;
mod run;
mod table;
pub mod target;

use std::net::IpAddr;

use festoon_proto::ManagerId;
use serde::Serialize;

pub use run::{Pace, ping};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whom the user named.
    pub target: String,
    /// The address that was asked, if it was not a manager.
    pub address: Option<IpAddr>,
    /// The manager that was asked, if it was one.
    pub manager: Option<ManagerId>,
    /// Each request, in order.
    pub replies: Vec<Reply>,
    /// All of them together.
    pub summary: Summary,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reply {
    /// From 1 on.
    pub sequence: u32,
    /// How long the answer took, in microseconds; none if there was none in time.
    pub rtt_us: Option<u32>,
    /// The manager that carried this endpoint then.
    pub via: Option<ManagerId>,
}

/// Requests in numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Sent.
    pub sent: u32,
    /// Answered in time.
    pub received: u32,
    /// In thousandths of those sent.
    pub lost_permille: u32,
    /// Of those answered.
    pub rtt_us: Option<Rtt>,
}

/// Round trips, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rtt {
    /// The shortest.
    pub min: u32,
    /// The arithmetic mean.
    pub avg: u32,
    /// The longest.
    pub max: u32,
}

impl Summary {
    /// Of so many requests, each with its round trip in microseconds if it was answered.
    pub fn of(rtts: &[Option<u32>]) -> Self {
        let answered: Vec<u32> = rtts.iter().copied().flatten().collect();
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let (sent, received) = (count(rtts.len()), count(answered.len()));
        let lost_permille = (u64::from(sent - received) * 1000).checked_div(u64::from(sent));
        let sum: u64 = answered.iter().copied().map(u64::from).sum();
        let avg = sum.checked_div(u64::from(received)).and_then(|avg| u32::try_from(avg).ok());
        let rtt_us = match (answered.iter().min(), avg, answered.iter().max()) {
            (Some(&min), Some(avg), Some(&max)) => Some(Rtt { min, avg, max }),
            _ => None,
        };
        let lost_permille = lost_permille.and_then(|lost| u32::try_from(lost).ok()).unwrap_or(0);
        Self { sent, received, lost_permille, rtt_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted() {
        let rtt = |min, avg, max| Some(Rtt { min, avg, max });
        for (rtts, received, lost_permille, rtt_us) in [
            (&[][..], 0, 0, None),
            (&[None], 0, 1000, None),
            (&[Some(5)], 1, 0, rtt(5, 5, 5)),
            (&[Some(10), None, Some(31)], 2, 333, rtt(10, 20, 31)),
            (&[Some(u32::MAX), Some(u32::MAX)], 2, 0, rtt(u32::MAX, u32::MAX, u32::MAX)),
        ] {
            let sent = u32::try_from(rtts.len()).unwrap();
            assert_eq!(Summary::of(rtts), Summary { sent, received, lost_permille, rtt_us }, "{rtts:?}");
        }
    }
}
