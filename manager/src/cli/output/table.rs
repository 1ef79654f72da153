//! Columns that line up, and that fit the terminal. What a cell says is made harmless, line breaks too.

use festoon_proto::harmless::harmless;

/// The least that a column is cut to.
const LEAST: usize = 6;
const GAP: &str = "  ";

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct Column {
    head: &'static str,
    /// The highest go first where there is no room; 0 never goes.
    rank: u8,
}

/// Shown only when all columns are asked for.
const WIDE: u8 = u8::MAX;

impl Column {
    /// Always there.
    pub(in crate::cli) const fn always(head: &'static str) -> Self {
        Self { head, rank: 0 }
    }

    /// There if there is room; the highest rank goes first.
    pub(in crate::cli) const fn if_room(rank: u8, head: &'static str) -> Self {
        Self { head, rank }
    }

    /// There with `-o wide` alone.
    pub(in crate::cli) const fn wide(head: &'static str) -> Self {
        Self { head, rank: WIDE }
    }
}

/// Rows under heads.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
    empty: &'static str,
}

impl Table {
    /// With these columns. `empty` is said if there are no rows.
    pub(in crate::cli) fn new(columns: &[Column], empty: &'static str) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), empty }
    }

    /// With this row, of as many cells as there are columns.
    pub(in crate::cli) fn row(&mut self, cells: &[String]) {
        self.rows.push(cells.iter().map(|cell| harmless(cell).into_owned()).collect());
    }

    /// With these rows.
    pub(in crate::cli) fn rows(mut self, rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        rows.into_iter().for_each(|row| self.row(&row));
        self
    }

    /// As text: all columns if `is_wide`, otherwise those that fit into `width`.
    pub(in crate::cli) fn render(&self, is_wide: bool, width: Option<usize>) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.empty);
        }
        let mut shown: Vec<usize> = (0..self.columns.len()).collect();
        if !is_wide {
            shown.retain(|&at| self.columns[at].rank != WIDE);
        }
        let mut widths: Vec<usize> = (0..self.columns.len()).map(|at| self.width_of(at)).collect();
        if let Some(width) = width.filter(|_| !is_wide) {
            self.fit(width, &mut shown, &mut widths);
        }
        let head: Vec<_> = self.columns.iter().map(|column| column.head.to_owned()).collect();
        let rows = std::iter::once(&head).chain(&self.rows);
        rows.map(|row| line(row, &shown, &widths)).collect()
    }

    fn width_of(&self, at: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([self.columns[at].head.chars().count()]).max().unwrap_or(0)
    }

    /// Takes columns away, and then cuts the widest, until all fit.
    fn fit(&self, width: usize, shown: &mut Vec<usize>, widths: &mut [usize]) {
        let total = |shown: &[usize], widths: &[usize]| {
            shown.iter().map(|&at| widths[at]).sum::<usize>() + GAP.len() * shown.len().saturating_sub(1)
        };
        while total(shown, widths) > width {
            let last = shown.iter().copied().filter(|&at| self.columns[at].rank > 0);
            let Some(last) = last.max_by_key(|&at| self.columns[at].rank) else { break };
            shown.retain(|&at| at != last);
        }
        while total(shown, widths) > width {
            let widest = shown.iter().copied().max_by_key(|&at| widths[at]).filter(|&at| widths[at] > LEAST);
            let Some(widest) = widest else { break };
            widths[widest] -= 1;
        }
    }
}

fn line(row: &[String], shown: &[usize], widths: &[usize]) -> String {
    let cells = shown.iter().map(|&at| cell(row.get(at).map_or("", String::as_str), widths[at]));
    format!("{}\n", cells.collect::<Vec<_>>().join(GAP).trim_end())
}

fn cell(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => format!("{text:width$}"),
    }
}

/// One thing in full: a line for each of what is known of it. Lines of what is unknown are left out.
pub(in crate::cli) fn details(title: &str, lines: &[(&str, String)]) -> String {
    let lines = || lines.iter().filter(|(_, value)| !value.is_empty() && value != "-");
    let width = lines().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut text = format!("{}\n", harmless(title));
    for (name, value) in lines() {
        text.push_str(&format!("  {name:width$}  {}\n", harmless(value)));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let columns =
            [Column::always("NAME"), Column::if_room(1, "KIND"), Column::if_room(2, "HEARD"), Column::wide("ID")];
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        Table::new(&columns, "none")
            .rows([row(["web", "agent", "3s ago", "e1"]), row(["a-very-long-name", "client", "-", "e2"])])
    }

    #[test]
    fn columns_line_up_and_go_when_there_is_no_room() {
        let all = "NAME              KIND    HEARD   ID\n\
                   web               agent   3s ago  e1\n\
                   a-very-long-name  client  -       e2\n";
        assert_eq!(table().render(true, Some(10)), all);
        let usual = "NAME              KIND    HEARD\n\
                     web               agent   3s ago\n\
                     a-very-long-name  client  -\n";
        assert_eq!(table().render(false, None), usual);
        assert_eq!(table().render(false, Some(32)), usual);
        let narrow = "NAME              KIND\n\
                      web               agent\n\
                      a-very-long-name  client\n";
        assert_eq!(table().render(false, Some(31)), narrow);
        let cut = "NAME\n\
                   web\n\
                   a-very-lo…\n";
        assert_eq!(table().render(false, Some(10)), cut);
        assert_eq!(Table::new(&[Column::always("NAME")], "none").render(false, None), "none\n");
    }

    #[test]
    fn details_leave_out_what_is_unknown() {
        let lines = [("network", "default".to_owned()), ("tags", String::new()), ("key", "x".to_owned())];
        assert_eq!(details("web (e1)", &lines), "web (e1)\n  network  default\n  key      x\n");
    }
}
