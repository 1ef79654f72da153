//! Rows of text whose columns line up.

use std::fmt::{self, Display, Formatter};

/// A head and rows under it.
#[derive(Debug)]
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    pub(super) fn add(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    fn width(&self, column: usize) -> usize {
        self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    }

    /// Whether all below the head begin with a digit: figures stand on the right.
    fn is_figures(&self, column: usize) -> bool {
        let cells = self.rows.iter().skip(1).filter_map(|row| row.get(column));
        cells.clone().count() > 0 && cells.into_iter().all(|cell| is_figure(cell))
    }
}

fn is_figure(cell: &str) -> bool {
    cell.starts_with(|first: char| first.is_ascii_digit()) && cell.matches('.').count() < 2
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for row in &self.rows {
            let cell = |(column, cell): (usize, &String)| {
                let width = self.width(column);
                if self.is_figures(column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
            };
            let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
            writeln!(f, "{}", cells.join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_stand_left_and_figures_right() {
        let mut table = Table::new(&["WHO", "WHERE", "GAP"]);
        table.add(["a".to_owned(), "172.31.0.2".to_owned(), "9 ms".to_owned()]);
        table.add(["bcde".to_owned(), "172.31.0.30".to_owned(), "120 ms".to_owned()]);
        let expected = "WHO   WHERE           GAP\na     172.31.0.2     9 ms\nbcde  172.31.0.30  120 ms\n";
        assert_eq!(table.to_string(), expected);
    }
}
