//! The rows of a file as values of a type.

use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use encoding_rs::Encoding;
use serde::de::DeserializeOwned;

use super::columns::Columns;
use super::deserialize::RecordDeserializer;
use super::error::{ReadError, TableError};
use super::format::Format;
use super::json::{self, ArrayElements};
use super::refused::OwnColumn;
use super::rows::{Reader, TableOptions};
use super::source::Source;
use performer_core::model::json::repaired_text;

/// The rows of a file, as values of a type: CSV, JSON (an array of objects), JSONL or a spreadsheet, by the extension of its name.
///
/// [`Table`] has options. The names of the columns are those of the fields, as serde sees them. What a cell means is decided by
/// the type of its field: in a `String` `007` keeps its zeros, in a `u32` it is 7; an empty cell is `None`, or the empty text.
/// Dates of spreadsheets are ISO 8601 texts, such as `2026-09-01`.
///
/// ```
/// #[derive(serde::Deserialize)]
/// struct Invoice {
///     number: String,
///     pence: u64,
///     note: Option<String>,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("invoices.csv");
/// std::fs::write(&file, "number;pence;note\n007;1250;\n008;n/a;late\n")?;
///
/// let (mut invoices, mut refused) = (Vec::new(), Vec::new());
/// for row in performer_tables::rows::<Invoice>(&file)? {
///     match row {
///         Ok(row) => invoices.push(row.value),
///         Err(error) => refused.push(error.to_string()),
///     }
/// }
/// assert_eq!((invoices[0].number.as_str(), invoices[0].pence), ("007", 1250));
/// assert_eq!(invoices[0].note, None);
/// assert_eq!(refused, ["line 3: column \"pence\": \"n/a\" is not a number"]);
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// When the file cannot be read, has no header, or is of an unknown format.
pub fn rows<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<TypedRows<T>, TableError> {
    Table::new(path).rows()
}

/// A file with rows, and how it is read.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    format: Option<Format>,
    encoding: Option<String>,
    sheet: Option<String>,
    options: TableOptions,
}

impl Table {
    /// A file whose format its extension shows.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        Self { path, format: None, encoding: None, sheet: None, options: TableOptions::default() }
    }

    /// The format. Default: by the extension of the name.
    pub fn format(mut self, format: Format) -> Self {
        self.format = Some(format);
        self
    }

    /// The sheet of a spreadsheet: its name or its number, counted from 1. Default: the first visible one in which something is.
    pub fn sheet(mut self, name_or_number: impl Into<String>) -> Self {
        self.sheet = Some(name_or_number.into());
        self
    }

    /// The encoding of CSV and JSON, such as `windows-1252`. Default: UTF-8, or UTF-16 if the first bytes show it; a byte order mark
    /// decides before it.
    pub fn encoding(mut self, name: impl Into<String>) -> Self {
        self.encoding = Some(name.into());
        self
    }

    /// The delimiter of CSV. Default: found.
    pub fn delimiter(mut self, delimiter: char) -> Self {
        self.options.delimiter = Some(delimiter);
        self
    }

    /// Numbers that are written as text have a decimal comma: `1.234,56`. Default: a decimal point.
    pub fn decimal_comma(mut self, decimal_comma: bool) -> Self {
        self.options.types.decimal_comma = decimal_comma;
        self
    }

    /// The line, or the row of a sheet, that has the names of the columns. Default: the first one that is not empty.
    pub fn header_line(mut self, line: u64) -> Self {
        self.options.header_line = line;
        self
    }

    /// The rows, as values of a type.
    ///
    /// # Errors
    ///
    /// As [`rows`]; also when the encoding is unknown or there is no such sheet.
    pub fn rows<T: DeserializeOwned>(&self) -> Result<TypedRows<T>, TableError> {
        let unknown =
            || TableError::usage(format!("{}: the format of the file is not known", self.path.display()));
        let format = self.format.or_else(|| Format::of(&self.path)).ok_or_else(unknown)?;
        let encoding = self.encoding.as_deref().map(|name| {
            let unknown = || TableError::usage(format!("the encoding {name:?} is not known"));
            Encoding::for_label(name.as_bytes()).ok_or_else(unknown)
        });
        let encoding = encoding.transpose()?;
        let source = match format {
            Format::Sheet => Source::open_sheet(&self.path, self.sheet.as_deref())?,
            Format::Csv | Format::Json | Format::Jsonl => Source::open(&self.path, encoding)?,
        };
        let (reader, columns) = match format {
            Format::Csv | Format::Sheet => {
                let is_tsv =
                    self.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
                let options = TableOptions { is_tsv, ..self.options.clone() };
                let format = options.format(&source)?;
                let mut records = format.records(&source)?;
                let header = options.header(&mut records, &source)?;
                let mut columns = Columns::new(&header, &options.types, &[])?;
                while let Some(record) = records.next()? {
                    columns.infer(&record);
                }
                let mut records = format.records(&source)?;
                records.header(options.header_line)?;
                (Reader::Table(records), Some(columns))
            }
            Format::Jsonl => (Reader::Lines(source.lines()?), None),
            Format::Json => (Reader::Array(ArrayElements::new(source.lines()?)), None),
        };
        Ok(TypedRows { reader, columns, ended: false, value: PhantomData })
    }
}

/// A row of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row<T> {
    /// The line in which it begins, or the number of the row in its sheet, counted from 1.
    pub line: u64,
    /// Its value.
    pub value: T,
}

/// Why a row has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    line: u64,
    message: String,
    ends: bool,
}

impl RowError {
    /// The line in which the row begins, or the number of the row in its sheet, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Why.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether the file cannot be read further, so that no row follows. Otherwise only this row has no value.
    pub fn ends_the_file(&self) -> bool {
        self.ends
    }
}

impl From<ReadError> for RowError {
    fn from(error: ReadError) -> Self {
        Self { line: error.line, message: error.why, ends: true }
    }
}

/// Such as `line 3: column "pence": "n/a" is not a number`.
impl fmt::Display for RowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for RowError {}

/// The rows of a file as values of a type: an iterator. Empty rows are left out. After an error that
/// [ends the file](RowError::ends_the_file) there are no more.
pub struct TypedRows<T> {
    reader: Reader,
    columns: Option<Columns>,
    ended: bool,
    value: PhantomData<fn() -> T>,
}

impl<T> fmt::Debug for TypedRows<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedRows").field("columns", &self.columns).finish_non_exhaustive()
    }
}

impl<T: DeserializeOwned> TypedRows<T> {
    fn read(&mut self) -> Result<Option<Row<T>>, RowError> {
        loop {
            let (line, value) = match &mut self.reader {
                Reader::Table(records) => {
                    let (Some(record), Some(columns)) = (records.next()?, &self.columns) else {
                        return Ok(None);
                    };
                    if columns.is_empty(&record) {
                        continue;
                    }
                    let value = columns.shape(&record).and_then(|()| {
                        T::deserialize(RecordDeserializer { record: &record, columns })
                            .map_err(|error| error.to_string())
                    });
                    (record.line, value)
                }
                Reader::Lines(lines) => match json::next_line(lines)? {
                    Some(row) => (row.line, from_json(&row)),
                    None => return Ok(None),
                },
                Reader::Array(elements) => match elements.next()? {
                    Some(row) => (row.line, from_json(&row)),
                    None => return Ok(None),
                },
            };
            return match value {
                Ok(value) => Ok(Some(Row { line, value })),
                Err(message) => Err(RowError { line, message, ends: false }),
            };
        }
    }
}

/// The value of a row of JSON. What an import refuses is refused here, too: names that are there twice.
fn from_json<T: DeserializeOwned>(row: &json::JsonRow) -> Result<T, String> {
    let members = row.members.as_ref().map_err(Clone::clone)?;
    let is_own = |member: &json::Member| OwnColumn::of(&member.name).is_some();
    let text = repaired_text(&row.text);
    if members.iter().any(is_own) {
        let raw = json::raw_members(&text).unwrap_or_default();
        let kept = raw.into_iter().filter(|(name, _)| OwnColumn::of(name).is_none());
        let kept: Vec<String> =
            kept.map(|(name, value)| format!("{}:{}", serde_json::Value::from(name), value.get())).collect();
        return serde_json::from_str(&format!("{{{}}}", kept.join(","))).map_err(|error| error.to_string());
    }
    serde_json::from_str(&text).map_err(|error| error.to_string())
}

impl<T: DeserializeOwned> Iterator for TypedRows<T> {
    type Item = Result<Row<T>, RowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let row = self.read().transpose();
        self.ended = match &row {
            None => true,
            Some(Ok(_)) => false,
            Some(Err(error)) => error.ends,
        };
        row
    }
}
