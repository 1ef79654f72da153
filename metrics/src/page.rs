//! The text itself.
//!
//! Prometheus's format: <https://prometheus.io/docs/instrumenting/exposition_formats/>. OpenMetrics:
//! <https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md>.

use std::fmt::{self, Write as _};

use crate::{Format, Histogram};

/// The units that OpenMetrics is told of; a name ends in it.
const UNITS: [&str; 2] = ["seconds", "bytes"];

/// A value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Counted.
    Whole(u64),
    /// Measured.
    Real(f64),
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(value) => value.fmt(f),
            Self::Real(value) => real(*value, f),
        }
    }
}

fn real(value: f64, out: &mut impl fmt::Write) -> fmt::Result {
    match value {
        value if value == f64::INFINITY => out.write_str("+Inf"),
        value if value == f64::NEG_INFINITY => out.write_str("-Inf"),
        // With a point even if it is whole, as OpenMetrics wants it in `le`.
        value => write!(out, "{value:?}"),
    }
}

macro_rules! numbers {
    ($($from:ty => $value:ident $number:expr,)*) => {
        $(impl From<$from> for Number {
            fn from($value: $from) -> Self {
                $number
            }
        })*
    };
}

numbers! {
    u64 => value Self::Whole(value),
    u32 => value Self::Whole(value.into()),
    usize => value Self::Whole(value as u64),
    bool => value Self::Whole(value.into()),
    f64 => value Self::Real(value),
    std::time::Duration => value Self::Real(value.as_secs_f64()),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Info,
    Histogram,
}

/// All metrics at one moment, as text.
#[derive(Debug)]
pub struct Page {
    format: Format,
    text: String,
}

/// The metrics of one name: all of them follow one another.
#[derive(Debug)]
pub struct Family<'a> {
    page: &'a mut Page,
    kind: Kind,
    name: &'static str,
    help: &'static str,
    has_head: bool,
}

impl Page {
    /// An empty one.
    pub const fn new(format: Format) -> Self {
        Self { format, text: String::new() }
    }

    /// What only grows until the program ends. `name` ends in `_total`.
    pub const fn counter(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Counter, name, help)
    }

    /// What goes up and down.
    pub const fn gauge(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Gauge, name, help)
    }

    /// What something is called: the value is always 1. `name` ends in `_info`.
    pub const fn info(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Info, name, help)
    }

    /// How long things take. `name` ends in `_seconds`.
    pub const fn histogram(&mut self, name: &'static str, help: &'static str) -> Family<'_> {
        self.family(Kind::Histogram, name, help)
    }

    const fn family(&mut self, kind: Kind, name: &'static str, help: &'static str) -> Family<'_> {
        Family { page: self, kind, name, help, has_head: false }
    }

    /// The whole text.
    pub fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn line(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _ = self.text.write_fmt(text);
        self.text.push('\n');
    }

    fn sample(&mut self, name: fmt::Arguments<'_>, labels: &[(&str, &dyn fmt::Display)], value: Number) {
        let _ = self.text.write_fmt(name);
        for (index, (label, value)) in labels.iter().enumerate() {
            self.text.push_str(if index == 0 { "{" } else { "," });
            self.text.push_str(label);
            self.text.push_str("=\"");
            let _ = write!(Escaped(&mut self.text), "{value}");
            self.text.push('"');
        }
        self.line(format_args!("{} {value}", if labels.is_empty() { "" } else { "}" }));
    }
}

impl Family<'_> {
    /// One of this name, told from the others by its labels.
    pub fn add(&mut self, labels: &[(&str, &dyn fmt::Display)], value: impl Into<Number>) -> &mut Self {
        self.head();
        self.page.sample(format_args!("{}", self.name), labels, value.into());
        self
    }

    /// As [`Family::add`], for a histogram.
    pub fn add_histogram(&mut self, labels: &[(&str, &dyn fmt::Display)], histogram: &Histogram) -> &mut Self {
        self.head();
        let name = self.name;
        for (bound, count) in histogram.cumulative() {
            let bound = Number::Real(bound);
            let labels = [labels, &[("le", &bound)]].concat();
            self.page.sample(format_args!("{name}_bucket"), &labels, count.into());
        }
        self.page.sample(format_args!("{name}_sum"), labels, histogram.sum().into());
        self.page.sample(format_args!("{name}_count"), labels, histogram.count().into());
        self
    }

    /// What stands in front of the first.
    fn head(&mut self) {
        if std::mem::replace(&mut self.has_head, true) {
            return;
        }
        let (name, kind) = match (self.page.format, self.kind) {
            (Format::OpenMetrics, Kind::Counter) => (self.name.trim_end_matches("_total"), "counter"),
            (Format::OpenMetrics, Kind::Info) => (self.name.trim_end_matches("_info"), "info"),
            (Format::Prometheus, Kind::Info) | (_, Kind::Gauge) => (self.name, "gauge"),
            (_, Kind::Counter) => (self.name, "counter"),
            (_, Kind::Histogram) => (self.name, "histogram"),
        };
        self.page.line(format_args!("# HELP {name} {}", self.help));
        self.page.line(format_args!("# TYPE {name} {kind}"));
        if let (Format::OpenMetrics, Some(unit)) = (self.page.format, UNITS.iter().find(|unit| has_unit(name, unit))) {
            self.page.line(format_args!("# UNIT {name} {unit}"));
        }
    }
}

fn has_unit(name: &str, unit: &str) -> bool {
    name.strip_suffix(unit).is_some_and(|rest| rest.ends_with('_'))
}

/// Takes the value of a label.
struct Escaped<'a>(&'a mut String);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.info("a_info", "What it is.").add(&[("name", &"a\"b\\c\nd"), ("id", &7)], 1_u64);
        let mut counter = page.counter("a_sent_bytes_total", "Bytes.");
        counter.add(&[("to", &"x")], 5_u64).add(&[("to", &"y")], 6_u64);
        page.gauge("a_age_seconds", "Age.").add(&[], Duration::from_millis(1500));
        page.gauge("a_nothing", "Nothing.");
        let mut histogram = Histogram::new(&[0.5, 2.0]);
        histogram.observe(Duration::from_secs(1));
        page.histogram("a_gap_seconds", "Gaps.").add_histogram(&[("to", &"x")], &histogram);
        page.finish()
    }

    #[test]
    fn prometheus_text() {
        let expected = r#"# HELP a_info What it is.
# TYPE a_info gauge
a_info{name="a\"b\\c\nd",id="7"} 1
# HELP a_sent_bytes_total Bytes.
# TYPE a_sent_bytes_total counter
a_sent_bytes_total{to="x"} 5
a_sent_bytes_total{to="y"} 6
# HELP a_age_seconds Age.
# TYPE a_age_seconds gauge
a_age_seconds 1.5
# HELP a_gap_seconds Gaps.
# TYPE a_gap_seconds histogram
a_gap_seconds_bucket{to="x",le="0.5"} 0
a_gap_seconds_bucket{to="x",le="2.0"} 1
a_gap_seconds_bucket{to="x",le="+Inf"} 1
a_gap_seconds_sum{to="x"} 1.0
a_gap_seconds_count{to="x"} 1
"#;
        assert_eq!(page(Format::Prometheus), expected);
    }

    #[test]
    fn open_metrics_names_families_without_the_endings_that_go_with_their_kind() {
        let expected = r#"# HELP a What it is.
# TYPE a info
a_info{name="a\"b\\c\nd",id="7"} 1
# HELP a_sent_bytes Bytes.
# TYPE a_sent_bytes counter
# UNIT a_sent_bytes bytes
a_sent_bytes_total{to="x"} 5
a_sent_bytes_total{to="y"} 6
# HELP a_age_seconds Age.
# TYPE a_age_seconds gauge
# UNIT a_age_seconds seconds
a_age_seconds 1.5
# HELP a_gap_seconds Gaps.
# TYPE a_gap_seconds histogram
# UNIT a_gap_seconds seconds
a_gap_seconds_bucket{to="x",le="0.5"} 0
a_gap_seconds_bucket{to="x",le="2.0"} 1
a_gap_seconds_bucket{to="x",le="+Inf"} 1
a_gap_seconds_sum{to="x"} 1.0
a_gap_seconds_count{to="x"} 1
# EOF
"#;
        assert_eq!(page(Format::OpenMetrics), expected);
    }
}
