//! Times as people read them, in UTC.

use std::ops::Range;

use festoon_control::registry::UnixMs;

const DAY: u64 = 86_400;

/// As in `20261121T062238Z` (ISO 8601, basic format).
pub(super) fn compact(at: UnixMs) -> String {
    let [year, month, day, hour, minute, second] = fields(at);
    format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
}

/// As in `2026-11-21 06:22:38 UTC`.
pub fn readable(at: UnixMs) -> String {
    let [year, month, day, hour, minute, second] = fields(at);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// The time in a text of [`compact`].
pub(super) fn parse_compact(text: &str) -> Option<UnixMs> {
    let digits = |range: Range<usize>| text.get(range)?.parse::<u64>().ok();
    let (year, month, day) = (digits(0..4)?, digits(4..6)?, digits(6..8)?);
    let (hour, minute, second) = (digits(9..11)?, digits(11..13)?, digits(13..15)?);
    let seconds = days_before(year, month, day)? * DAY + hour * 3600 + minute * 60 + second;
    let at = UnixMs(seconds * 1000);
    // Whatever is odd about it comes out differently.
    (compact(at) == text).then_some(at)
}

/// Year, month, day, hour, minute and second.
fn fields(at: UnixMs) -> [u64; 6] {
    let seconds = at.0 / 1000;
    let (mut days, second) = (seconds / DAY, seconds % DAY);
    // Eras of 400 years, which all have as many days.
    let (era, mut year) = (days / days_of_era(), 1970);
    days %= days_of_era();
    while days >= days_of_year(year) {
        days -= days_of_year(year);
        year += 1;
    }
    let mut month = 1;
    while days >= days_of_month(year, month) {
        days -= days_of_month(year, month);
        month += 1;
    }
    [year + era * 400, month, days + 1, second / 3600, second / 60 % 60, second % 60]
}

/// Days from 1970 to this one.
fn days_before(year: u64, month: u64, day: u64) -> Option<u64> {
    let years: u64 = (1970..year).map(days_of_year).sum();
    let months: u64 = (1..month).map(|month| days_of_month(year, month)).sum();
    (years + months + day).checked_sub(1)
}

const fn days_of_era() -> u64 {
    400 * 365 + 97
}

const fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

const fn days_of_year(year: u64) -> u64 {
    if is_leap(year) { 366 } else { 365 }
}

const fn days_of_month(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (seconds, text) in [
            (0, "19700101T000000Z"),
            (951_782_400, "20000229T000000Z"),
            (1_795_242_158, "20261121T062238Z"),
            (4_107_542_399, "21000228T235959Z"),
            (4_107_542_400, "21000301T000000Z"),
            (16_725_225_600, "25000101T000000Z"),
        ] {
            assert_eq!(compact(UnixMs(seconds * 1000)), text);
            assert_eq!(parse_compact(text), Some(UnixMs(seconds * 1000)));
        }
        assert_eq!(readable(UnixMs(1_795_242_158_999)), "2026-11-21 06:22:38 UTC");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for bad in [
            "",
            "20261121",
            "20261321T062238Z",
            "20260230T000000Z",
            "20261121T250000Z",
            "2026112XT062238Z",
            "20261121T0622385",
        ] {
            assert_eq!(parse_compact(bad), None, "{bad}");
        }
    }
}
