//! What the answer of a receiver means.

use jiff::fmt::rfc2822;

/// The longest that a receiver may ask us to wait.
pub const MOST_RETRY_AFTER_MS: u64 = 24 * 3600 * 1000;

/// What an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has the event.
    Taken,
    /// It does not, perhaps later.
    Refused {
        /// How long it wants to be left alone.
        retry_after_ms: Option<u64>,
    },
    /// It wants no more events, ever.
    Gone,
}

/// What an answer with this status means. `retry_after` is the header of that name: seconds, or a date (RFC 9110 section
/// 10.2.3).
pub fn judge(status: u16, retry_after: Option<&str>, now: u64) -> Verdict {
    match status {
        200..=299 => Verdict::Taken,
        410 => Verdict::Gone,
        429 | 503 => Verdict::Refused { retry_after_ms: retry_after.and_then(|text| wait(text.trim(), now)) },
        _ => Verdict::Refused { retry_after_ms: None },
    }
}

fn wait(text: &str, now: u64) -> Option<u64> {
    let ms = match text.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => {
            let date = rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
            u64::try_from(date.as_millisecond()).ok()?.saturating_sub(now)
        }
    };
    Some(ms.min(MOST_RETRY_AFTER_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receiver_says_whether_it_took_it_and_when_to_come_again() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let date = 784_111_777_000;
        let refused = |retry_after_ms| Verdict::Refused { retry_after_ms };
        for (status, header, expected) in [
            (200, None, Verdict::Taken),
            (204, Some("9"), Verdict::Taken),
            (301, Some("9"), refused(None)),
            (400, None, refused(None)),
            (404, None, refused(None)),
            (410, None, Verdict::Gone),
            (429, Some("120"), refused(Some(120_000))),
            (429, Some("soon"), refused(None)),
            (429, Some("-1"), refused(None)),
            (500, Some("120"), refused(None)),
            (503, Some(" 7 "), refused(Some(7_000))),
            (503, Some("99999999999999999999"), refused(None)),
            (503, Some("9999999999"), refused(Some(MOST_RETRY_AFTER_MS))),
            (503, Some("Sun, 06 Nov 1994 08:49:37 GMT"), refused(Some(10_000))),
            (503, Some("Sun, 06 Nov 1994 08:49:20 GMT"), refused(Some(0))),
        ] {
            assert_eq!(judge(status, header, date - 10_000), expected, "{status} {header:?}");
        }
    }
}
