//! A file of the rows that were refused, which can be corrected and imported again as it is.
//!
//! It has the columns of the file that the rows come from, and before them three of its own: the line, the reason, and the types
//! that the columns have in the whole file, because those of a few rows may look different. Content has no names with a point, so no
//! column of a user is taken for one of them. An import ignores the first two.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use super::csv::Dialect;
use super::csv_text::csv_line;
use super::error::TableError;
use super::export;
use super::format::Format;
use super::json;
use super::record::{Record, RecordFormat};
use super::rows::{Form, Layout, Raw, RawRow};

/// The name of the first column, and of the first member of JSON.
pub(crate) const LINE_COLUMN: &str = "Refused.Line";
const REASON_COLUMN: &str = "Refused.Reason";
const TYPES_COLUMN: &str = "Refused.Types";

/// A column that says something about a row and is not a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnColumn {
    Line,
    Reason,
    Types,
    /// What an export says about an item, and what is not added with it.
    About,
}

impl OwnColumn {
    /// The column with a name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name {
            LINE_COLUMN => Some(Self::Line),
            REASON_COLUMN => Some(Self::Reason),
            TYPES_COLUMN | export::TYPES_COLUMN => Some(Self::Types),
            _ if export::HISTORY.contains(&name) => Some(Self::About),
            _ => None,
        }
    }
}

/// Writes a file of refused rows: CSV for the rows of CSV and of sheets, one object a line for those of JSON.
#[derive(Debug)]
pub struct RefusedFile {
    path: PathBuf,
    file: BufWriter<File>,
    style: Style,
    rows: u64,
}

#[derive(Debug)]
enum Style {
    Csv {
        delimiter: char,
        /// The columns of the rows that are written: not those of an earlier file of refused rows.
        names: Vec<(String, bool)>,
        types: String,
    },
    Json,
}

impl RefusedFile {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// If it exists, its extension is not that of the format, or it cannot be created.
    pub fn create(path: &Path, layout: &Layout) -> Result<Self, TableError> {
        let style = match &layout.0 {
            Form::Table { format, columns, .. } => {
                let delimiter = match format {
                    RecordFormat::Csv(Dialect { delimiter, .. }) => *delimiter,
                    RecordFormat::Sheet => ',',
                };
                let names = columns.names().map(|(name, is_own)| (name.to_owned(), is_own)).collect();
                Style::Csv { delimiter, names, types: columns.types(matches!(format, RecordFormat::Csv(_))) }
            }
            Form::Lines(_) | Form::Array(_) => Style::Json,
        };
        let (wanted, extension) = match style {
            Style::Csv { .. } => (Format::Csv, ".csv"),
            Style::Json => (Format::Jsonl, ".jsonl"),
        };
        if Format::of(path) != Some(wanted) {
            return Err(TableError::usage(format!(
                "the refused rows of this file are written as {}: give the file of refused rows the extension {extension}",
                wanted.name()
            )));
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::AlreadyExists => TableError::usage(format!(
                "{} exists already; name a new file for the refused rows",
                path.display()
            )),
            _ => TableError::failed(format!("{}: {error}", path.display())),
        };
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file), style, rows: 0 })
    }

    /// Writes a row and why it was refused.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn write(&mut self, line: u64, why: &str, row: &RawRow) -> Result<(), TableError> {
        let text = match (&self.style, &row.0) {
            (Style::Csv { delimiter, names, types }, Raw::Record(record)) => {
                let header = if self.rows == 0 { csv_header(*delimiter, names) } else { String::new() };
                header + &csv_row(*delimiter, names, types, line, why, record)
            }
            (Style::Json, Raw::Json(text)) => json_row(line, why, text),
            // A row of one kind does not come from a file of the other.
            (Style::Csv { .. }, Raw::Json(_)) | (Style::Json, Raw::Record(_)) => return Ok(()),
        };
        self.rows += 1;
        self.file.write_all(text.as_bytes()).map_err(|error| self.failed(&error))
    }

    /// Ends the file, and removes it if no row was refused. Returns whether it is there.
    ///
    /// # Errors
    ///
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<bool, TableError> {
        self.file.flush().map_err(|error| self.failed(&error))?;
        if self.rows == 0 {
            std::fs::remove_file(&self.path).map_err(|error| self.failed(&error))?;
        }
        Ok(self.rows > 0)
    }

    fn failed(&self, error: &io::Error) -> TableError {
        TableError::failed(format!("{}: {error}", self.path.display()))
    }
}

/// The byte order mark, by which spreadsheet programs see that a file is UTF-8, and the names of the columns.
fn csv_header(delimiter: char, names: &[(String, bool)]) -> String {
    let own = [LINE_COLUMN, REASON_COLUMN, TYPES_COLUMN];
    let names = names.iter().filter(|(_, is_own)| !is_own).map(|(name, _)| name.as_str());
    format!("\u{feff}{}", csv_line(delimiter, own.into_iter().chain(names)))
}

fn csv_row(
    delimiter: char,
    names: &[(String, bool)],
    types: &str,
    line: u64,
    why: &str,
    record: &Record,
) -> String {
    let line = line.to_string();
    let is_own = |at: usize| names.get(at).is_some_and(|(_, is_own)| *is_own);
    let cells = record.cells.iter().enumerate().filter(|(at, _)| !is_own(*at)).map(|(_, cell)| cell.as_str());
    csv_line(delimiter, [&*line, why, types].into_iter().chain(cells))
}

/// An object with the reason as its first members. What is no object is left as it is, after a line with the reason.
fn json_row(line: u64, why: &str, text: &str) -> String {
    let own = format!("\"{LINE_COLUMN}\":{line},\"{REASON_COLUMN}\":{}", serde_json::Value::from(why));
    let Some(members) = json::raw_members(text) else {
        return format!("{{{own}}}\n{}\n", one_line(text));
    };
    let mut row = format!("{{{own}");
    for (name, value) in members.iter().filter(|(name, _)| OwnColumn::of(name).is_none()) {
        row.push_str(&format!(",{}:{}", serde_json::Value::from(name.as_str()), one_line(value.get())));
    }
    row + "}\n"
}

/// A JSON text in one line: what breaks its lines is between its tokens.
fn one_line(text: &str) -> String {
    text.trim().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_json_keeps_its_digits_and_loses_an_earlier_reason() {
        let text = "{\"Refused.Line\":1,\"Refused.Reason\":\"x\", \"a\": 20.40,\n \"a\": [1,\r\n2]}";
        let expected =
            "{\"Refused.Line\":7,\"Refused.Reason\":\"two \\\"a\\\"\",\"a\":20.40,\"a\":[1,  2]}\n";
        assert_eq!(json_row(7, "two \"a\"", text), expected);
        assert_eq!(
            json_row(2, "expected an object", "[1]"),
            "{\"Refused.Line\":2,\"Refused.Reason\":\"expected an object\"}\n[1]\n"
        );
    }

    #[test]
    fn cells_are_quoted_where_they_have_to_be() {
        let line = csv_line(';', ["a", "b;c", "say \"hi\"", "x\r\ny", " d ", "1,5"].into_iter());
        assert_eq!(line, "a;\"b;c\";\"say \"\"hi\"\"\";\"x\r\ny\"; d ;1,5\r\n");
    }
}
