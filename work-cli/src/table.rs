use comfy_table::{Attribute, Cell, Color, ColumnConstraint, ContentArrangement, Table, Width, presets};
use work_core::JobState;

use crate::error::CliError;
use crate::output::Out;
use crate::text;

/// Rows under headings, printed a part at a time: the first part decides how wide the columns are.
pub(crate) struct Rows {
    headings: &'static [&'static str],
    widths: Option<Vec<u16>>,
}

/// The space behind a column.
const GAP: u16 = 2;

impl Rows {
    pub(crate) const fn new(headings: &'static [&'static str]) -> Self {
        Self { headings, widths: None }
    }

    /// Prints rows, with the headings above the first ones.
    pub(crate) fn print(&mut self, rows: Vec<Vec<Cell>>, out: &mut Out) -> Result<(), CliError> {
        if rows.is_empty() {
            return Ok(());
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).add_rows(rows);
        if out.is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        if out.is_coloured() {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if self.widths.is_none() {
            let bold = |name: &&str| Cell::new(name).add_attribute(Attribute::Bold);
            table.set_header(self.headings.iter().map(bold));
        }
        let widths = self.widths.get_or_insert_with(|| table.column_max_content_widths());
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, GAP));
            let width = widths.get(index).copied().unwrap_or_default().saturating_add(GAP);
            if index == 0 {
                column.set_constraint(ColumnConstraint::ContentWidth);
            } else if index + 1 < self.headings.len() {
                column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(width)));
            }
        }
        table.lines().try_for_each(|line| out.line(line.trim_end()))
    }
}

/// A text, with everything visible that a terminal would act on.
pub(crate) fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(text::one_line(text.as_ref()))
}

pub(crate) fn state(state: JobState) -> Cell {
    let cell = Cell::new(state.name());
    match state {
        JobState::Running => cell.fg(Color::Cyan),
        JobState::Completed => cell.fg(Color::Green),
        JobState::Discarded => cell.fg(Color::Red),
        JobState::Cancelled => cell.fg(Color::DarkGrey),
        _ => cell,
    }
}

/// A number that is better small: red above zero.
pub(crate) fn alarming(number: u64) -> Cell {
    let cell = Cell::new(number);
    if number > 0 { cell.fg(Color::Red) } else { cell }
}

/// A text that is to be noticed.
pub(crate) fn notable(text: impl AsRef<str>) -> Cell {
    cell(text).fg(Color::Yellow)
}
