//! Figures as people read them.

use std::fmt::Display;

use festoon_api::Time;
use festoon_control::registry::UnixMs;

use crate::snapshot::readable_time;

/// So many seconds, in the largest unit that divides them.
pub(in crate::cli) fn span(seconds: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(86_400, "d"), (3600, "h"), (60, "m")];
    let unit = UNITS.iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    unit.map_or_else(|| format!("{seconds}s"), |(unit, letter)| format!("{}{letter}", seconds / unit))
}

/// How long it is since, or until, in at most two units.
fn rough(ms: u64) -> String {
    match ms / 1000 {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds @ 60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        seconds @ 3600..172_800 => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
        // To the nearest: what was to last for 7 days ends in 7 days a moment later too.
        seconds => format!("{}d", (seconds + 43_200) / 86_400),
    }
}

/// So many milliseconds ago.
fn ago(ms: u64) -> String {
    format!("{} ago", rough(ms))
}

/// [`ago`], if anything is known.
pub(in crate::cli) fn ago_of(ms: Option<u64>) -> String {
    ms.map_or_else(|| "-".to_owned(), ago)
}

/// How far a time is from `now`, in either direction.
pub(in crate::cli) fn when(time: Time, now: Time) -> String {
    match time.0.checked_sub(now.0) {
        Some(ms @ 1..) => format!("in {}", rough(ms)),
        _ => ago(now.0.saturating_sub(time.0)),
    }
}

/// A time to the second, in UTC.
pub(in crate::cli) fn second(time: Time) -> String {
    readable_time(UnixMs(time.0)).trim_end_matches(" UTC").to_owned()
}

/// So many bytes.
pub(in crate::cli) fn bytes(count: u64) -> String {
    let mut scaled = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 1024.0 {
            return if unit == "B" { format!("{count} B") } else { format!("{scaled:.1} {unit}") };
        }
        scaled /= 1024.0;
    }
    format!("{scaled:.1} TiB")
}

/// What there is, or a dash.
pub(in crate::cli) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// All of them with commas between, or a dash.
pub(in crate::cli) fn list_of<T: Display>(items: &[T]) -> String {
    if items.is_empty() { "-".to_owned() } else { items.iter().map(T::to_string).collect::<Vec<_>>().join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([5, 90, 3600, 604_800].map(span), ["5s", "90s", "1h", "7d"]);
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 40), "5.0 TiB");
        assert_eq!(ago(59_999), "59s ago");
        assert_eq!(ago(61_000), "1m1s ago");
        assert_eq!(ago(7_260_000), "2h1m ago");
        assert_eq!(ago(10 * 86_400_000), "10d ago");
        assert_eq!(when(Time(90_000), Time(30_000)), "in 1m0s");
        assert_eq!(when(Time(30_000), Time(90_000)), "1m0s ago");
    }
}
