//! Tables for people: aligned columns of short texts.

use std::fmt;

/// The most characters of a cell.
const CELL: usize = 40;

/// A text as a cell: on one line and shortened, however long it is and whatever is in it. Characters that would move the cursor or
/// turn the direction of writing are replaced.
pub(super) fn cell(text: &str) -> String {
    let mut characters = text.chars().map(|character| match character {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => char::REPLACEMENT_CHARACTER,
        character if character.is_control() => ' ',
        character => character,
    });
    let mut cell: String = characters.by_ref().take(CELL).collect();
    if characters.next().is_some() {
        cell.pop();
        cell.push('…');
    }
    cell
}

/// The cell of something that may be missing.
pub(super) fn cell_or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".to_owned(), cell)
}

/// Writes rows whose columns are as wide as their widest cells, each row behind a line break.
pub(super) fn write_rows<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]]) -> fmt::Result {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    for row in rows {
        let mut line = String::new();
        for (text, width) in row.iter().zip(widths) {
            line.push_str(&format!("{text:width$}  "));
        }
        write!(f, "\n{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_short_and_on_one_line() {
        assert_eq!(cell("a\nb\u{1b}[2J\u{202e}c"), "a b [2J\u{fffd}c");
        assert_eq!(cell(&"ü".repeat(CELL)), "ü".repeat(CELL));
        assert_eq!(cell(&"ü".repeat(CELL + 1)), format!("{}…", "ü".repeat(CELL - 1)));
    }
}
