//! Borderless tables: empty columns are dropped, a terminal's width is kept, a pipe gets everything.

use super::Style;
use crate::model::command::printable;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table as Grid, Width, presets};

/// Columns of texts that may be long: they are folded to the terminal's width, the others never.
const ELASTIC: [&str; 12] = [
    "COMMAND",
    "WHERE/WHY",
    "WHY",
    "APPS",
    "DECLARED",
    "VALUE",
    "WHAT",
    "FOUND",
    "REMEDY",
    "SCORE",
    "CONSTRAINT",
    "PREFER",
];

/// Folding and filling take the longer the longer a cell is, by its square: cells of more bytes are laid out by hand.
const LONG: usize = 16 << 10;

/// A folded text narrower than this is hard to read.
const FOLDED_MIN: usize = 14;

/// A listing with a header.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<String>,
    right: Vec<&'static str>,
    spare: Vec<&'static str>,
    every_column: bool,
    brief: bool,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with these columns.
    pub fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|name| printable(name)).collect(),
            right: Vec::new(),
            spare: Vec::new(),
            every_column: false,
            brief: false,
            rows: Vec::new(),
        }
    }

    /// Columns of numbers.
    pub fn right(mut self, columns: &[&'static str]) -> Self {
        self.right = columns.to_vec();
        self
    }

    /// Columns that a terminal too narrow for all goes without, the first one first: another command shows them.
    pub fn spare(mut self, columns: &[&'static str]) -> Self {
        self.spare = columns.to_vec();
        self
    }

    /// Shows empty columns too, and the header of an empty table.
    pub const fn every_column(mut self) -> Self {
        self.every_column = true;
        self
    }

    /// On a terminal a row takes two lines at most: there is another command that shows the rest.
    pub const fn brief(mut self) -> Self {
        self.brief = true;
        self
    }

    /// Adds a row; control and bidi characters are escaped.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    fn elastic(&self, column: usize) -> bool {
        ELASTIC.contains(&self.header[column].as_str())
    }

    /// The least width of a column: its longest cell, but a text may be folded.
    fn least(&self, column: usize) -> usize {
        let chars = |text: &str| text.chars().count();
        let header = chars(&self.header[column]);
        let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|cell| chars(cell)).max().unwrap_or(0);
        header.max(if self.elastic(column) { cells.min(FOLDED_MIN) } else { cells })
    }

    /// For a pipe, which gets everything: a column is as wide as its longest cell that is not long.
    fn render_long(&self, used: &[usize]) -> String {
        let chars = |text: &str| text.chars().count();
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at)).filter(|cell| cell.len() <= LONG);
            cells.chain([&self.header[at]]).map(|cell| chars(cell)).max().unwrap_or(0)
        };
        let widths: Vec<usize> = used.iter().map(|at| width(*at)).collect();
        let mut text = String::new();
        for row in std::iter::once(&self.header).chain(&self.rows) {
            let mut line = String::new();
            for (at, width) in used.iter().zip(&widths) {
                let cell = row.get(*at).map_or("", String::as_str);
                let blanks = " ".repeat(width.saturating_sub(chars(cell)));
                if self.right.contains(&self.header[*at].as_str()) {
                    line.extend([&blanks, cell, "  "]);
                } else {
                    line.extend([cell, &blanks, "  "]);
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    /// For a terminal, which has room for the beginning of a long cell.
    fn shortened(&self, width: u16) -> Self {
        let most = if self.brief { usize::from(width) * 2 } else { LONG / 4 };
        let mut table = self.clone();
        for cell in table.rows.iter_mut().flatten().filter(|cell| cell.len() > LONG) {
            *cell = cell.chars().take(most.min(LONG / 4)).chain(['…']).collect();
        }
        table
    }

    /// The table as text, each line ended; nothing without rows.
    pub fn render(&self, look: Style) -> String {
        let mut used: Vec<usize> = (0..self.header.len())
            .filter(|at| self.every_column || self.rows.iter().any(|row| row.get(*at).is_some_and(|c| !c.is_empty())))
            .collect();
        if used.is_empty() {
            return String::new();
        }
        if let Some(width) = look.width {
            for name in &self.spare {
                if used.iter().map(|at| self.least(*at) + 2).sum::<usize>() > usize::from(width) + 2 {
                    used.retain(|at| self.header[*at] != *name);
                }
            }
        }
        let long = |cell: &String| cell.len() > LONG;
        if self.rows.iter().flatten().any(long) {
            match look.width {
                None => return self.render_long(&used),
                Some(width) => return self.shortened(width).render(look),
            }
        }
        let mut grid = Grid::new();
        grid.load_preset(presets::NOTHING).force_no_tty().set_truncation_indicator("…");
        match look.width {
            Some(width) => grid.set_content_arrangement(ContentArrangement::Dynamic).set_width(width),
            None => grid.set_content_arrangement(ContentArrangement::Disabled),
        };
        grid.set_header(used.iter().map(|at| self.header[*at].as_str()));
        for row in &self.rows {
            let mut cells = Row::from(used.iter().map(|at| row.get(*at).map_or("", String::as_str)));
            if look.width.is_some() && self.brief {
                cells.max_height(2);
            }
            grid.add_row(cells);
        }
        for (position, at) in used.iter().enumerate() {
            if let Some(column) = grid.column_mut(position) {
                column.set_padding((0, 2));
                // Long texts share what the short columns leave; no header is broken.
                let least = u16::try_from(self.least(*at) + 2).unwrap_or(u16::MAX);
                column.set_constraint(if self.elastic(*at) {
                    ColumnConstraint::LowerBoundary(Width::Fixed(least))
                } else {
                    ColumnConstraint::ContentWidth
                });
                if self.right.contains(&self.header[*at].as_str()) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
        }
        let mut text = String::new();
        for (at, line) in grid.lines().enumerate() {
            let line = line.trim_end();
            let bold = look.bold && at == 0;
            text.push_str(&if bold { format!("\u{1b}[1m{line}\u{1b}[0m\n") } else { format!("{line}\n") });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["ID", "NAME", "STATE", "COMMAND"]).right(&["ID"]).brief();
        table.row(["1".into(), String::new(), "RUNNING".into(), "sleep 1".into()]);
        table.row(["12".into(), String::new(), "PENDING".into(), "x".repeat(200)]);
        table
    }

    #[test]
    fn a_pipe_gets_everything_and_no_empty_column() {
        let text = table().render(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ID  STATE    COMMAND");
        assert_eq!(lines[1], " 1  RUNNING  sleep 1");
        assert!(lines[2].ends_with(&"x".repeat(200)));
        assert_eq!(lines.len(), 3);
    }

    #[test]
    fn a_terminal_gets_its_width_and_a_bold_header() {
        let text = table().render(Style { width: Some(60), bold: true });
        assert!(text.starts_with("\u{1b}[1mID"), "{text}");
        assert!(text.lines().skip(1).all(|line| line.chars().count() <= 60), "{text}");
        assert!(text.contains('…'), "{text}");
    }

    #[test]
    fn a_narrow_terminal_goes_without_spare_columns_and_a_pipe_never() {
        let mut table = Table::new(&["NAME", "LOAD", "POWER", "WHY"]).spare(&["POWER", "LOAD"]);
        table.row(["a-long-server-name".into(), "0.50".into(), "100".into(), "fan is loud, and so am I".into()]);
        let header = |width| table.render(Style { width, bold: false }).lines().next().unwrap_or_default().to_owned();
        assert!(header(Some(60)).contains("LOAD") && header(Some(60)).contains("POWER"));
        assert!(header(Some(42)).contains("LOAD") && !header(Some(42)).contains("POWER"), "{}", header(Some(42)));
        assert!(!header(Some(36)).contains("LOAD"));
        assert!(header(None).contains("POWER"));
    }

    #[test]
    fn long_cells_take_no_longer_than_their_length_says() {
        let mut table = Table::new(&["NAME", "WHY", "SINCE"]).brief();
        for at in 0..200 {
            table.row([format!("n{at}"), if at % 2 == 0 { "x y".repeat(300_000) } else { "ok".into() }, "1 s".into()]);
        }
        let from = std::time::Instant::now();
        let text = table.render(Style::default());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[2]), (201, "NAME  WHY  SINCE", "n1    ok   1 s"));
        assert!(lines[1].len() > 900_000, "a pipe gets everything");
        let text = table.render(Style { width: Some(80), bold: false });
        assert!(text.lines().all(|line| line.chars().count() <= 80) && text.len() < 100_000, "{}", text.len());
        // Some milliseconds; by the square it were hours.
        assert!(from.elapsed() < std::time::Duration::from_secs(20), "{:?}", from.elapsed());
    }

    #[test]
    fn nothing_is_no_header_and_control_characters_are_escaped() {
        assert_eq!(Table::new(&["A"]).render(Style::default()), "");
        let mut table = Table::new(&["A"]);
        table.row(["x\u{1b}[31m\u{202e}y".into()]);
        assert!(!table.render(Style::default()).contains(['\u{1b}', '\u{202e}']));
    }
}
