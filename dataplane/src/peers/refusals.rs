//! What to do about a peer that refuses our handshakes.
//!
//! A peer answers an initiation with a cookie in two cases. It may be under load: then it takes the next one, which carries
//! the cookie. Or the timestamp of our initiation is not later than one it has accepted from our key: then it refuses the next one too.
//! That happens when our wall clock was wrong, now or earlier, or when the state of this machine is an older copy. So a
//! second cookie for the same tunnel means that our timestamps have to move forward.
//!
//! Anybody on the path can make up cookies. So the steps are bounded, and few in a short time.

use std::time::{Duration, Instant};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// How far to move forward, each time that is not enough. Clocks are seldom wrong by more than a day; the kernel keeps no time after
/// the year 2262.
const STEPS: [Duration; 4] =
    [DAY, DAY.saturating_mul(365), DAY.saturating_mul(365 * 20), DAY.saturating_mul(365 * 250)];
/// After the last step: how long to wait before the first.
const REST: Duration = Duration::from_secs(10);

/// The cookies that came since the last session.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    has_cookie: bool,
    steps: usize,
    /// When the last step was made.
    last: Option<Instant>,
}

/// What to do about a cookie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Response {
    /// Nothing now.
    Wait,
    /// Begin a handshake again, with the cookie.
    Again,
    /// Begin a handshake again, in a new tunnel with timestamps that are so much later.
    Later(Duration),
}

impl Refusals {
    /// A cookie came.
    pub(super) fn handle_cookie(&mut self, now: Instant) -> Response {
        if !self.has_cookie {
            self.has_cookie = true;
            return Response::Again;
        }
        if self.steps == STEPS.len() {
            if self.last.is_some_and(|last| now < last + REST) {
                return Response::Wait;
            }
            self.steps = 0;
        }
        let step = STEPS[self.steps];
        *self = Self { has_cookie: false, steps: self.steps + 1, last: Some(now) };
        Response::Later(step)
    }

    /// There is a session.
    pub(super) fn handle_session(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "a virtual clock needs some beginning")]
    fn each_second_cookie_is_a_step_and_there_are_few_in_a_short_time() {
        let (start, mut refusals) = (Instant::now(), Refusals::default());
        let mut at = |ms: u64| refusals.handle_cookie(start + Duration::from_millis(ms));
        assert_eq!([at(0), at(0), at(1)], [Response::Again, Response::Later(DAY), Response::Again]);
        let responses: Vec<Response> = (2..15_000).map(at).collect();
        let count = |is: fn(&Response) -> bool| responses.iter().filter(|response| is(response)).count();
        // 15 seconds are two rounds, the second of which begins when the last step of the first is 10 seconds old.
        assert_eq!(count(|response| matches!(response, Response::Later(_))), 2 * STEPS.len() - 1);
        assert_eq!(count(|response| *response == Response::Again), 2 * STEPS.len() - 1);
        refusals.handle_session();
        assert_eq!(refusals.handle_cookie(start), Response::Again);
    }
}
