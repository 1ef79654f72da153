//! Figures against their bars: printed as they come, and kept as JSON.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;

/// What a figure must be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Limit {
    /// So much or less.
    AtMost(f64),
    /// So much or more.
    AtLeast(f64),
    /// This.
    Exactly(f64),
}

impl Limit {
    /// A figure that is no number meets nothing.
    fn is_met_by(self, figure: f64) -> bool {
        match self {
            Self::AtMost(limit) => figure <= limit,
            Self::AtLeast(limit) => figure >= limit,
            Self::Exactly(limit) => figure == limit,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(limit) => write!(f, "<= {limit}"),
            Self::AtLeast(limit) => write!(f, ">= {limit}"),
            Self::Exactly(limit) => write!(f, "= {limit}"),
        }
    }
}

#[derive(Debug, Serialize)]
struct Row {
    name: String,
    figure: f64,
    unit: String,
    bar: String,
    met: bool,
}

/// All figures so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
}

impl Report {
    /// Prints the head of the table.
    pub(super) fn begin() -> Self {
        println!("{:<32} {:>12} {:<10} {:>8}  MET", "NAME", "FIGURE", "UNIT", "BAR");
        Self::default()
    }

    /// A figure that was measured, and what it must be.
    pub(super) fn add(&mut self, name: &str, figure: f64, unit: &str, limit: Limit) {
        let met = limit.is_met_by(figure);
        let row =
            Row { name: name.to_owned(), figure: round(figure), unit: unit.to_owned(), bar: limit.to_string(), met };
        let Row { figure, bar, .. } = &row;
        println!("{name:<32} {figure:>12} {unit:<10} {bar:>8}  {}", if met { "yes" } else { "NO" });
        self.rows.push(row);
    }

    /// The same for a count.
    pub(super) fn count(&mut self, name: &str, figure: u64, unit: &str, limit: Limit) {
        self.add(name, figure as f64, unit, limit);
    }

    /// Something that helps to understand the figures.
    pub(super) fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// Keeps the figures so far.
    pub(super) fn write(&self, path: &str) -> anyhow::Result<()> {
        let path = Path::new(path);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        let text = serde_json::to_string_pretty(&self.rows)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Prints the sum of it all, and says whether every bar is met.
    pub(super) fn end(&self, path: &str) -> bool {
        let met = self.rows.iter().filter(|row| row.met).count();
        println!("{met} of {} bars met; the figures are in {path}", self.rows.len());
        met == self.rows.len()
    }
}

/// To thousandths: more was not measured. The verdict comes from the figure as it was.
fn round(figure: f64) -> f64 {
    (figure * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_judges_the_figure() {
        assert!(Limit::AtMost(150.0).is_met_by(150.0) && !Limit::AtMost(150.0).is_met_by(150.1));
        assert!(Limit::AtLeast(8.0).is_met_by(8.0) && !Limit::AtLeast(8.0).is_met_by(7.9));
        assert!(Limit::Exactly(0.0).is_met_by(0.0) && !Limit::Exactly(0.0).is_met_by(1.0));
        let nothing = f64::NAN;
        assert!(
            [Limit::AtMost(1.0), Limit::AtLeast(1.0), Limit::Exactly(1.0)]
                .iter()
                .all(|limit| !limit.is_met_by(nothing))
        );
    }

    #[test]
    fn the_bar_is_text_with_its_direction() {
        let mut report = Report::default();
        report.add("gap", 87.12345, "ms", Limit::AtMost(150.0));
        let row = serde_json::to_value(&report.rows[0]).expect("JSON");
        assert_eq!(
            row,
            serde_json::json!({"name": "gap", "figure": 87.123, "unit": "ms", "bar": "<= 150", "met": true})
        );
    }
}
