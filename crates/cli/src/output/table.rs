//! Tables: on a terminal as wide as it is, elsewhere whole and separated by tabs.

use performer_tables::import::csv_line;
use unicode_width::UnicodeWidthStr as _;

use super::colour;

/// A column of a table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(super) head: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Text,
    Status,
}

impl Column {
    /// Ids, numbers, times and names, which are shortened only if nothing else can be.
    pub(crate) const fn plain(head: &'static str) -> Self {
        Self { head, kind: Kind::Plain }
    }

    /// Texts of any length, which are shortened first.
    pub(crate) const fn text(head: &'static str) -> Self {
        Self { head, kind: Kind::Text }
    }

    /// Whether the column has this head.
    pub(crate) fn is_named(&self, head: &str) -> bool {
        self.head == head
    }

    /// Statuses and states, which have colours.
    pub(crate) const fn status(head: &'static str) -> Self {
        Self { head, kind: Kind::Status }
    }
}

/// The columns of a terminal between two columns of a table.
const GAP: usize = 2;

/// The widths below which text columns, and then the others, are not shortened.
const MIN_TEXT_WIDTH: usize = 12;
const MIN_WIDTH: usize = 4;

/// The lines of a table for a terminal of this width: columns are as wide as their widest cells, or shortened so that no line is
/// wider than the terminal.
pub(super) fn for_terminal(
    columns: &[Column],
    rows: &[Vec<String>],
    terminal_width: usize,
    is_coloured: bool,
) -> Vec<String> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| in_one_line(cell)).collect()).collect();
    let width_of = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.width());
        cells.chain([columns[at].head.width()]).max().unwrap_or(0)
    };
    let mut widths: Vec<usize> = (0..columns.len()).map(width_of).collect();
    let is_text = |at: usize| columns[at].kind == Kind::Text;
    let available = terminal_width.saturating_sub(GAP * columns.len().saturating_sub(1));
    shorten(&mut widths, available, MIN_TEXT_WIDTH, is_text);
    shorten(&mut widths, available, MIN_WIDTH, |_| true);
    let heads: Vec<String> = columns.iter().map(|column| column.head.to_owned()).collect();
    let mut lines = vec![line(&heads, &widths, |_, cell| cell.to_owned())];
    lines.extend(rows.iter().map(|row| {
        line(row, &widths, |at, cell| {
            if is_coloured && columns[at].kind == Kind::Status {
                return colour::of_status(&row[at])
                    .map_or(cell.to_owned(), |style| colour::paint(style, cell));
            }
            cell.to_owned()
        })
    }));
    lines
}

/// Takes from the widest of some columns until all columns together have the available width, or none of them is wider than the
/// minimum.
fn shorten(widths: &mut [usize], available: usize, minimum: usize, may: impl Fn(usize) -> bool) {
    let mut excess = widths.iter().sum::<usize>().saturating_sub(available);
    while excess > 0 {
        let widest = (0..widths.len()).filter(|at| may(*at)).max_by_key(|at| widths[*at]);
        let Some(widest) = widest.filter(|at| widths[*at] > minimum) else { return };
        widths[widest] -= 1;
        excess -= 1;
    }
}

fn line(row: &[String], widths: &[usize], paint: impl Fn(usize, &str) -> String) -> String {
    let mut line = String::new();
    let mut gap = 0;
    for (at, (cell, width)) in row.iter().zip(widths).enumerate() {
        let cell = cut(cell, *width);
        line.push_str(&" ".repeat(gap));
        gap = width.saturating_sub(cell.width()) + GAP;
        if !cell.is_empty() {
            line.push_str(&paint(at, &cell));
        }
    }
    line.truncate(line.trim_end().len());
    line
}

/// The beginning of a text that fills at most so many columns of a terminal, with an ellipsis if something is left out.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut shown = String::new();
    for c in text.chars() {
        shown.push(c);
        if shown.width() > width.saturating_sub(1) {
            shown.pop();
            break;
        }
    }
    shown.push('…');
    shown
}

/// The lines of a table for a program: all of each cell, separated by tabs.
pub(super) fn for_pipe(columns: &[Column], rows: &[Vec<String>], is_coloured: bool) -> Vec<String> {
    let heads: Vec<&str> = columns.iter().map(|column| column.head).collect();
    let mut lines = vec![heads.join("\t")];
    lines.extend(rows.iter().map(|row| {
        let cells = row.iter().zip(columns).map(|(cell, column)| {
            let shown = in_one_line(cell);
            let style = if column.kind == Kind::Status { colour::of_status(cell) } else { None };
            style.filter(|_| is_coloured).map_or(shown.clone(), |style| colour::paint(style, &shown))
        });
        cells.collect::<Vec<_>>().join("\t")
    }));
    lines
}

/// The lines of a table as CSV, with the ends of lines that its cells have.
pub(super) fn as_csv(columns: &[Column], rows: &[Vec<String>]) -> Vec<String> {
    let heads = csv_line(',', columns.iter().map(|column| column.head));
    let cells = |row: &Vec<String>| csv_line(',', row.iter().map(String::as_str));
    std::iter::once(heads).chain(rows.iter().map(cells)).collect()
}

/// A cell without ends of lines and tabs, which would end it, and without control characters.
fn in_one_line(text: &str) -> String {
    let spaced: String =
        text.trim().chars().map(|c| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { c }).collect();
    super::printable(&spaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] =
        [Column::plain("ITEM"), Column::status("STATUS"), Column::text("REFERENCE"), Column::text("NOTE")];

    fn rows() -> Vec<Vec<String>> {
        let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
        vec![
            row([
                "17",
                "Failed",
                "INV-17",
                "the ledger did not answer, and so this text is longer than most",
            ]),
            row([
                "18",
                "Successful",
                "請求書-十八",
                "完了しました。この文章は端末の幅よりもずっと長いので切られます",
            ]),
            row(["19", "New", "e\u{301}", "two\nlines\tand \u{1b}[31ma colour"]),
        ]
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_columns_are_aligned() {
        for width in [30, 40, 57, 80, 120, 400] {
            let lines = for_terminal(&COLUMNS, &rows(), width, false);
            assert!(lines.iter().all(|line| line.width() <= width), "{width}: {lines:#?}");
            assert!(lines[1].starts_with("17 ") && lines[1].contains("Fai"), "{width}: {lines:#?}");
            let column = |line: &str, word: &str| line.find(word).map(|at| line[..at].width());
            let at = column(&lines[0], "STATUS").or(column(&lines[0], "STA"));
            assert_eq!(column(&lines[1], "Fai"), at, "{width}: {lines:#?}");
            assert_eq!(column(&lines[2], "Suc"), at, "{width}: {lines:#?}");
        }
        let whole = for_terminal(&COLUMNS, &rows(), 400, false).join("\n");
        assert!(!whole.contains('…') && whole.contains("切られます") && whole.contains("longer than most"));
        let narrow = for_terminal(&COLUMNS, &rows(), 60, false);
        assert!(narrow[1].ends_with('…') && narrow[1].contains("Failed  "), "texts first: {narrow:#?}");
    }

    #[test]
    fn a_wide_character_is_not_cut_in_the_middle() {
        for width in 1..12 {
            let shown = cut("請求書-十八", width);
            assert!(
                shown.width() <= width && shown.ends_with(if width < 11 { '…' } else { '八' }),
                "{shown}"
            );
        }
    }

    #[test]
    fn a_program_gets_all_of_each_cell_and_no_cell_has_a_tab() {
        let lines = for_pipe(&COLUMNS, &rows(), false);
        assert_eq!(lines[0], "ITEM\tSTATUS\tREFERENCE\tNOTE");
        assert!(lines.iter().all(|line| line.split('\t').count() == 4), "{lines:#?}");
        assert!(lines[1].ends_with("longer than most") && lines[2].ends_with("切られます"));
        assert!(!lines.join("").contains('\u{1b}'), "untrusted text does not control a terminal");
    }

    #[test]
    fn colours_change_no_width() {
        let plain = for_terminal(&COLUMNS, &rows(), 80, false);
        let coloured = for_terminal(&COLUMNS, &rows(), 80, true);
        assert!(coloured[1].contains('\u{1b}') && !coloured[0].contains('\u{1b}'));
        let without: Vec<String> = coloured.iter().map(|line| colour::tests::without_colours(line)).collect();
        assert_eq!(without, plain);
    }

    #[test]
    fn csv_cells_keep_their_text() {
        let rows =
            [vec!["a,b".to_owned(), "say \"x\"".to_owned(), "two\nlines".to_owned(), "plain".to_owned()]];
        assert_eq!(as_csv(&COLUMNS, &rows)[1], "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\",plain\r\n");
    }
}
