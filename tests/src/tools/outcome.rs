//! What an echo run showed, computed from plain lists of what was sent and what came back. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::stop::as_ms;

/// One request. Its sequence number is its index. Times count from the start of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// When it was handed to the kernel.
    pub at: Duration,
    /// Why the kernel refused it.
    pub error: Option<String>,
}

/// One reply, in order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// Which request it answers.
    pub sequence: u64,
    /// When it arrived.
    pub at: Duration,
}

/// What an echo run showed. A request whose sending failed counts as sent and lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EchoReport {
    /// Wall clock at the start, milliseconds since 1970.
    pub started_unix_ms: u64,
    /// Requests, including those the kernel refused.
    pub sent: u64,
    /// Requests that were answered at least once.
    pub received: u64,
    /// Requests never answered.
    pub lost: u64,
    /// Replies beyond the first to the same request.
    pub duplicated: u64,
    /// First replies that came after the reply to a later request.
    pub reordered: u64,
    /// The sequence numbers never answered.
    pub lost_sequences: Vec<u64>,
    /// Why the kernel refused to send, and how often.
    pub send_errors: BTreeMap<String, u64>,
    /// The longest time in which no first reply arrived: between the arrivals of two successive ones, with nothing
    /// subtracted, so a perfect run shows about one interval. Silence at the end counts up to the last request; silence
    /// before the first reply does not count, unless there is no reply at all.
    pub gap_ms: f64,
    /// Wall clock at which that gap began: the arrival of the last reply before it.
    pub gap_began_unix_ms: u64,
    /// Whether a reply ended that gap. `false`: still silent at the end of the run.
    pub gap_closed: bool,
    /// Shortest round trip, milliseconds; 0 without replies, as the next two.
    pub rtt_min_ms: f64,
    /// Mean round trip.
    pub rtt_avg_ms: f64,
    /// Longest round trip.
    pub rtt_max_ms: f64,
    /// Every request, only when asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub echoes: Vec<Echo>,
}

/// What became of one request. Milliseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Echo {
    /// When it was handed to the kernel.
    pub sent_ms: f64,
    /// When its first reply arrived.
    pub reply_ms: Option<f64>,
    /// How many replies arrived.
    pub replies: u32,
}

/// What became of each request.
#[must_use]
pub fn echoes(requests: &[Request], replies: &[Reply]) -> Vec<Echo> {
    let echo = |request: &Request| Echo { sent_ms: as_ms(request.at), reply_ms: None, replies: 0 };
    let mut echoes: Vec<Echo> = requests.iter().map(echo).collect();
    for reply in replies {
        if let Some(echo) = usize::try_from(reply.sequence).ok().and_then(|index| echoes.get_mut(index)) {
            echo.reply_ms.get_or_insert(as_ms(reply.at));
            echo.replies += 1;
        }
    }
    echoes
}

/// Computes the report of a run.
#[must_use]
pub fn report(started_unix_ms: u64, requests: &[Request], replies: &[Reply]) -> EchoReport {
    let firsts = first_replies(requests.len(), replies);
    let sent = requests.len() as u64;
    let received = firsts.len() as u64;
    let known = replies.iter().filter(|reply| reply.sequence < sent).count() as u64;
    let gap = longest_gap(requests, &firsts);
    let rtt = round_trips(requests, &firsts);
    EchoReport {
        started_unix_ms,
        sent,
        received,
        lost: sent - received,
        duplicated: known - received,
        reordered: count_late(&firsts),
        lost_sequences: unanswered(sent, &firsts),
        send_errors: count_errors(requests),
        gap_ms: as_ms(gap.length),
        gap_began_unix_ms: started_unix_ms + u64::try_from(gap.began.as_millis()).unwrap_or(u64::MAX),
        gap_closed: gap.closed,
        rtt_min_ms: rtt.iter().copied().reduce(f64::min).unwrap_or_default(),
        rtt_avg_ms: rtt.iter().fold(0.0, |sum, time| sum + time) / (received.max(1) as f64),
        rtt_max_ms: rtt.iter().copied().reduce(f64::max).unwrap_or_default(),
        echoes: Vec::new(),
    }
}

fn first_replies(requests: usize, replies: &[Reply]) -> Vec<Reply> {
    let mut seen = vec![false; requests];
    let mut firsts = Vec::with_capacity(requests);
    for reply in replies {
        let slot = usize::try_from(reply.sequence).ok().and_then(|index| seen.get_mut(index));
        if slot.is_some_and(|slot| !std::mem::replace(slot, true)) {
            firsts.push(*reply);
        }
    }
    firsts
}

fn unanswered(sent: u64, firsts: &[Reply]) -> Vec<u64> {
    let answered: BTreeSet<u64> = firsts.iter().map(|reply| reply.sequence).collect();
    (0..sent).filter(|sequence| !answered.contains(sequence)).collect()
}

fn count_late(firsts: &[Reply]) -> u64 {
    let mut newest = 0;
    let mut late = 0;
    for reply in firsts {
        late += u64::from(reply.sequence < newest);
        newest = newest.max(reply.sequence);
    }
    late
}

fn count_errors(requests: &[Request]) -> BTreeMap<String, u64> {
    let mut errors = BTreeMap::new();
    for error in requests.iter().filter_map(|request| request.error.clone()) {
        *errors.entry(error).or_default() += 1;
    }
    errors
}

fn round_trips(requests: &[Request], firsts: &[Reply]) -> Vec<f64> {
    let rtt = |reply: &Reply| {
        let request = usize::try_from(reply.sequence).ok().and_then(|index| requests.get(index));
        request.map(|request| as_ms(reply.at.saturating_sub(request.at)))
    };
    firsts.iter().filter_map(rtt).collect()
}

struct Gap {
    began: Duration,
    length: Duration,
    closed: bool,
}

fn longest_gap(requests: &[Request], firsts: &[Reply]) -> Gap {
    let last_request = requests.last().map_or(Duration::ZERO, |request| request.at);
    let last_reply = firsts.last().map_or(Duration::ZERO, |reply| reply.at);
    let open = Gap { began: last_reply, length: last_request.saturating_sub(last_reply), closed: false };
    let closed = firsts.windows(2).map(|pair| (pair[0].at, pair[1].at.saturating_sub(pair[0].at)));
    let longest = closed.max_by_key(|&(_, length)| length);
    match longest {
        Some((began, length)) if length >= open.length => Gap { began, length, closed: true },
        _ => open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(time: u64) -> Duration {
        Duration::from_millis(time)
    }

    fn requests(times: &[u64]) -> Vec<Request> {
        times.iter().map(|&at| Request { at: ms(at), error: None }).collect()
    }

    fn replies(arrivals: &[(u64, u64)]) -> Vec<Reply> {
        arrivals.iter().map(|&(sequence, at)| Reply { sequence, at: ms(at) }).collect()
    }

    #[test]
    fn counts_lost_duplicated_and_reordered() {
        let run =
            report(0, &requests(&[0, 5, 10, 15]), &replies(&[(0, 1), (2, 11), (1, 12), (1, 13), (2, 14), (99, 15)]));
        assert_eq!((run.sent, run.received, run.lost), (4, 3, 1));
        assert_eq!((run.duplicated, run.reordered), (2, 1));
        assert_eq!(run.lost_sequences, [3]);
        assert_eq!((run.rtt_min_ms, run.rtt_max_ms), (1.0, 7.0));
    }

    #[test]
    fn each_request_shows_its_replies() {
        let each = echoes(&requests(&[0, 5]), &replies(&[(0, 3), (0, 4)]));
        assert_eq!(each[0], Echo { sent_ms: 0.0, reply_ms: Some(3.0), replies: 2 });
        assert_eq!(each[1], Echo { sent_ms: 5.0, reply_ms: None, replies: 0 });
    }

    #[test]
    fn the_gap_is_between_arrivals() {
        let run = report(1000, &requests(&[0, 5, 10, 15, 20]), &replies(&[(0, 1), (1, 6), (4, 21)]));
        assert_eq!((run.gap_ms, run.gap_began_unix_ms, run.gap_closed), (15.0, 1006, true));
    }

    #[test]
    fn silence_until_the_end_is_an_open_gap() {
        let run = report(1000, &requests(&[0, 5, 10, 100]), &replies(&[(0, 1), (1, 6)]));
        assert_eq!((run.gap_ms, run.gap_began_unix_ms, run.gap_closed), (94.0, 1006, false));
    }

    #[test]
    fn a_run_without_replies_is_all_gap() {
        let run = report(0, &requests(&[0, 5, 10]), &[]);
        assert_eq!((run.gap_ms, run.gap_closed, run.lost), (10.0, false, 3));
    }

    #[test]
    fn refused_requests_are_lost_and_named() {
        let refused = Request { at: ms(0), error: Some("Network is unreachable".to_owned()) };
        let run = report(0, &[refused.clone(), refused], &[]);
        assert_eq!(run.send_errors["Network is unreachable"], 2);
        assert_eq!(run.lost, 2);
    }
}
