//! The copy of a sheet: one line of JSON for each row, `[number,["t…","n…",null]]`, in which a letter before the text of a cell
//! says what the cell is ([`CellKind::letter`]).

use std::fs::File;
use std::io::{BufWriter, Write as _};

use super::super::error::{ReadError, TableError};
use super::super::record::{CellKind, Record, cell_name};
use super::super::source::{Lines, MAX_ROW_BYTES};

/// The number of rows and of columns that a sheet can have.
pub(super) const MAX_ROWS: u32 = 1_048_576;
pub(super) const MAX_COLUMNS: u32 = 16_384;

/// The maximum length of a copy: a small file can name the same text in every cell.
const MAX_BYTES: u64 = 4 << 30;

/// Takes the cells of a sheet, row by row, and writes the copy.
pub(super) struct SheetCopy {
    file: BufWriter<File>,
    /// The row whose cells are in `cells`, counted from 0.
    row: u32,
    cells: Vec<Option<String>>,
    row_bytes: usize,
    bytes: u64,
    has_cells: bool,
}

impl SheetCopy {
    pub(super) fn new() -> Result<Self, TableError> {
        let file = BufWriter::new(tempfile::tempfile()?);
        Ok(Self { file, row: 0, cells: Vec::new(), row_bytes: 0, bytes: 0, has_cells: false })
    }

    /// Checks that there is room for so many bytes of text, before they are taken one by one.
    ///
    /// # Errors
    ///
    /// A message when there is not.
    pub(super) fn expect(&self, bytes: u64) -> Result<(), String> {
        if self.bytes.saturating_add(bytes) > MAX_BYTES {
            return Err(format!("there are more than {} GiB of text in it", MAX_BYTES >> 30));
        }
        Ok(())
    }

    /// Takes a cell, whose row and column are counted from 0. Cells come row by row.
    ///
    /// # Errors
    ///
    /// A message when the cell is outside of every sheet, comes too late, or there is more than the limits allow.
    pub(super) fn cell(&mut self, row: u32, column: u32, kind: CellKind, text: &str) -> Result<(), String> {
        if row >= MAX_ROWS || column >= MAX_COLUMNS {
            return Err(format!(
                "cell {} is outside of every sheet",
                cell_name(u64::from(row) + 1, column as usize)
            ));
        }
        if row < self.row {
            return Err(format!("row {} comes after row {}; the file is broken", row + 1, self.row + 1));
        }
        while self.row < row {
            self.end_row()?;
        }
        self.row_bytes += text.len();
        if self.row_bytes > MAX_ROW_BYTES {
            return Err(format!("row {} is longer than {} MiB", row + 1, MAX_ROW_BYTES >> 20));
        }
        let column = column as usize;
        if self.cells.len() <= column {
            self.cells.resize(column + 1, None);
        }
        self.cells[column] = Some(format!("{}{text}", kind.letter()));
        self.has_cells = self.has_cells || !text.trim().is_empty();
        Ok(())
    }

    /// Writes the current row, and goes to the next one.
    fn end_row(&mut self) -> Result<(), String> {
        let mut line = serde_json::to_vec(&(self.row + 1, &self.cells)).map_err(|error| error.to_string())?;
        line.push(b'\n');
        self.expect(line.len() as u64)?;
        self.bytes += line.len() as u64;
        self.file.write_all(&line).map_err(|error| super::io_error(&error))?;
        self.cells.clear();
        self.row_bytes = 0;
        self.row += 1;
        Ok(())
    }

    /// Ends the copy. `None`: nothing is in any cell.
    pub(super) fn finish(mut self) -> Result<Option<File>, String> {
        if !self.has_cells {
            return Ok(None);
        }
        self.end_row()?;
        let file = self.file.into_inner().map_err(|error| super::io_error(error.error()))?;
        Ok(Some(file))
    }
}

/// The rows of the copy of a sheet.
pub(crate) struct SheetRecords {
    lines: Lines,
    /// The number of cells that a row has at least.
    width: usize,
}

impl SheetRecords {
    pub(crate) fn new(lines: Lines) -> Self {
        Self { lines, width: 0 }
    }

    /// From now on a row has at least so many cells: what a sheet does not have is an empty cell.
    pub(crate) fn set_width(&mut self, width: usize) {
        self.width = width;
    }

    /// Reads the next row.
    ///
    /// # Errors
    ///
    /// If the copy cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<Record>, ReadError> {
        let Some(line) = self.lines.next()? else { return Ok(None) };
        let damaged =
            |_| ReadError { line: line.number, why: "the copy of the sheet was changed".to_owned() };
        let (row, cells): (u64, Vec<Option<String>>) = serde_json::from_str(&line.text).map_err(damaged)?;
        let mut record = Record { line: row, cells: Vec::with_capacity(cells.len()), kinds: Vec::new() };
        for cell in cells {
            let mut cell = cell.unwrap_or_default();
            let kind = cell.chars().next().and_then(CellKind::of_letter);
            record.kinds.push(kind.unwrap_or(CellKind::Text));
            cell.drain(..usize::from(kind.is_some()));
            record.cells.push(cell);
        }
        while record.cells.len() < self.width {
            record.cells.push(String::new());
            record.kinds.push(CellKind::Text);
        }
        Ok(Some(record))
    }

    /// The digest of the rows read so far, which at the end is that of the sheet.
    pub(crate) fn digest(&self) -> String {
        self.lines.digest()
    }
}
