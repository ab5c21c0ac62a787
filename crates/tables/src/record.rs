//! A row of a table, before its cells have values: a row of CSV, whose cells are written without a type, or of a sheet, whose
//! cells have one each.

use super::csv::{Dialect, Records};
use super::error::{ReadError, TableError};
use super::sheet::SheetRecords;
use super::source::Source;

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    /// The line in which it begins, or the number of the row in its sheet, counted from 1.
    pub(crate) line: u64,
    pub(crate) cells: Vec<String>,
    /// What each cell is. A cell that has no kind is [`Written`](CellKind::Written).
    pub(crate) kinds: Vec<CellKind>,
}

/// What a cell is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CellKind {
    /// A text of CSV, which may mean a number.
    Written,
    /// A text, whatever it looks like.
    Text,
    Number,
    Boolean,
    /// The value of a formula is this error.
    Error,
    /// A formula of which the file does not have the value.
    NoValue,
    /// A number that is formatted as a date and is none.
    BadDate,
}

impl CellKind {
    /// The letter by which a kind is kept in the copy of a sheet.
    pub(crate) fn letter(self) -> char {
        match self {
            Self::Written => 'w',
            Self::Text => 't',
            Self::Number => 'n',
            Self::Boolean => 'b',
            Self::Error => 'e',
            Self::NoValue => 'f',
            Self::BadDate => 'd',
        }
    }

    pub(crate) fn of_letter(letter: char) -> Option<Self> {
        const ALL: [CellKind; 7] = [
            CellKind::Written,
            CellKind::Text,
            CellKind::Number,
            CellKind::Boolean,
            CellKind::Error,
            CellKind::NoValue,
            CellKind::BadDate,
        ];
        ALL.into_iter().find(|kind| kind.letter() == letter)
    }
}

impl Record {
    /// What a cell is.
    pub(crate) fn kind(&self, at: usize) -> CellKind {
        self.kinds.get(at).copied().unwrap_or(CellKind::Written)
    }

    /// Whether nothing is in any cell.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.iter().enumerate().all(|(at, cell)| cell.trim().is_empty() && self.refusal(at).is_none())
    }

    /// Why a cell has no value, with the name that it has in its sheet.
    pub(crate) fn refusal(&self, at: usize) -> Option<String> {
        let cell = self.cells.get(at).map_or("", String::as_str);
        let name = || cell_name(self.line, at);
        match self.kind(at) {
            CellKind::Written | CellKind::Text | CellKind::Number | CellKind::Boolean => None,
            CellKind::Error => Some(format!("cell {} has the error {cell}", name())),
            CellKind::NoValue => Some(format!(
                "cell {} has a formula whose value is not in the file; open and save it with a spreadsheet program",
                name()
            )),
            CellKind::BadDate => {
                Some(format!("cell {} is formatted as a date, and {cell} is not a date", name()))
            }
        }
    }
}

/// The name of a cell, such as `C5`. The row is counted from 1, the column from 0.
pub(crate) fn cell_name(row: u64, column: usize) -> String {
    let (mut letters, mut rest) = (Vec::new(), column + 1);
    while rest > 0 {
        letters.push(char::from(b'A' + u8::try_from((rest - 1) % 26).unwrap_or_default()));
        rest = (rest - 1) / 26;
    }
    letters.iter().rev().chain(&row.to_string().chars().collect::<Vec<_>>()).collect()
}

/// How the rows of a table are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RecordFormat {
    Csv(Dialect),
    Sheet,
}

impl RecordFormat {
    /// The rows of a table, from its beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(crate) fn records(self, source: &Source) -> Result<RecordReader, TableError> {
        Ok(match self {
            Self::Csv(dialect) => RecordReader::Csv(Records::new(source.lines()?, dialect)?),
            Self::Sheet => RecordReader::Sheet(SheetRecords::new(source.lines()?)),
        })
    }
}

/// The rows of a table, including the header.
pub(crate) enum RecordReader {
    Csv(Records),
    Sheet(SheetRecords),
}

impl RecordReader {
    /// Reads the header: the first row from this line on that is not empty. What follows has at least as many cells in a sheet.
    ///
    /// # Errors
    ///
    /// As [`next`](Self::next).
    pub(crate) fn header(&mut self, from_line: u64) -> Result<Option<Record>, ReadError> {
        while let Some(record) = self.next()? {
            let is_header = record.cells.len() > 1 || !record.is_empty();
            if is_header && record.line >= from_line {
                if let Self::Sheet(records) = self {
                    records.set_width(record.cells.len());
                }
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Reads the next row.
    ///
    /// # Errors
    ///
    /// If the file cannot be read further.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, ReadError> {
        match self {
            Self::Csv(records) => records.next(),
            Self::Sheet(records) => records.next(),
        }
    }

    /// The digest of what was read so far, which at the end is that of all rows.
    pub(crate) fn digest(&self) -> String {
        match self {
            Self::Csv(records) => records.digest(),
            Self::Sheet(records) => records.digest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_names_of_their_sheet() {
        for (row, column, name) in
            [(1, 0, "A1"), (5, 25, "Z5"), (12, 26, "AA12"), (1_048_576, 16_383, "XFD1048576")]
        {
            assert_eq!(cell_name(row, column), name);
        }
    }

    #[test]
    fn a_kind_is_found_by_its_letter() {
        for kind in [CellKind::Written, CellKind::Text, CellKind::Number, CellKind::Error, CellKind::BadDate]
        {
            assert_eq!(CellKind::of_letter(kind.letter()), Some(kind));
        }
        assert_eq!(CellKind::of_letter('x'), None);
    }
}
