//! The rows of a file as items, for all formats.

use serde_json::Value;

use super::columns::{Columns, TypeOptions};
use super::csv::Dialect;
use super::dialect;
use super::error::{ReadError, TableError};
use super::fields::{FieldColumns, PriorityNumbers};
use super::json::{self, ArrayElements, JsonRow};
use super::record::{Record, RecordFormat, RecordReader};
use super::refused::OwnColumn;
use super::source::{Lines, Source};
use performer_core::model::item::NewQueueItem;

/// How a table is read, as the user asks for it.
#[derive(Clone, Debug, Default)]
pub struct TableOptions {
    /// The delimiter of CSV. Default: found.
    pub delimiter: Option<char>,
    /// Quotation marks of CSV are text.
    pub no_quotes: bool,
    /// The file is expected to have tabs, if nothing else fits better.
    pub is_tsv: bool,
    /// The line, or the row of a sheet, from which on the header is searched. Default: from the beginning.
    pub header_line: u64,
    /// What the columns hold.
    pub types: TypeOptions,
}

impl TableOptions {
    /// How the rows of a source are read: as those of its sheet, or as CSV.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, or two delimiters fit.
    pub(crate) fn format(&self, source: &Source) -> Result<RecordFormat, TableError> {
        if source.sheet().is_some() {
            return Ok(RecordFormat::Sheet);
        }
        dialect::detect(source, self.delimiter, !self.no_quotes, self.is_tsv).map(RecordFormat::Csv)
    }

    /// Reads the header.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or has none.
    pub(crate) fn header(&self, records: &mut RecordReader, source: &Source) -> Result<Record, TableError> {
        records.header(self.header_line)?.ok_or_else(|| match source.sheet() {
            Some(sheet) => {
                TableError::failed(format!("{}: sheet {sheet:?} has no header row", source.name()))
            }
            None => TableError::failed(format!("{} has no header line", source.name())),
        })
    }
}

/// How the rows of a file are read as items.
#[derive(Debug)]
pub struct Layout(pub(crate) Form);

#[derive(Debug)]
pub(crate) enum Form {
    /// Rows with cells, under a header.
    Table { format: RecordFormat, header_line: u64, columns: Columns },
    /// One JSON object per line.
    Lines(FieldColumns),
    /// A JSON array of objects.
    Array(FieldColumns),
}

/// A row of a file.
#[derive(Debug)]
pub struct ImportRow {
    /// The line in which it begins, or the number of the row in its sheet, counted from 1.
    pub line: u64,
    /// What it is.
    pub content: Content,
    /// What is written in the file.
    pub raw: RawRow,
}

/// What a row of a file is.
#[derive(Debug)]
pub enum Content {
    /// An item.
    Item(Box<NewQueueItem>),
    /// The row is empty.
    Empty,
    /// The row is not an item, and why.
    Invalid(String),
}

/// A row as it is written in its file.
#[derive(Debug)]
pub struct RawRow(pub(crate) Raw);

#[derive(Debug)]
pub(crate) enum Raw {
    /// A row with cells.
    Record(Record),
    /// The text of an object.
    Json(String),
}

/// The rows of a file, without the header.
pub struct Rows<'a> {
    reader: Reader,
    layout: &'a Layout,
}

/// What reads a file, whatever becomes of its rows.
pub(crate) enum Reader {
    Table(RecordReader),
    Lines(Lines),
    Array(ArrayElements),
}

impl std::fmt::Debug for Rows<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("layout", self.layout).finish_non_exhaustive()
    }
}

impl Layout {
    /// The layout of a CSV file or a sheet, which is read to its end to infer the types of its columns.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, it has no header, or the columns of its header cannot be used.
    pub fn table(
        source: &Source,
        options: &TableOptions,
        field_columns: &FieldColumns,
        schema: Option<&Value>,
    ) -> Result<Self, TableError> {
        let format = options.format(source)?;
        let mut records = format.records(source)?;
        let header = options.header(&mut records, source)?;
        let mut columns = Columns::of_items(&header, field_columns, &options.types, schema)?;
        while let Some(record) = records.next()? {
            columns.infer(&record);
        }
        Ok(Self(Form::Table { format, header_line: options.header_line, columns }))
    }

    /// The layout of a file with one JSON object per line.
    pub fn json_lines(field_columns: FieldColumns) -> Self {
        Self(Form::Lines(field_columns))
    }

    /// The layout of a file with a JSON array of objects.
    pub fn json_array(field_columns: FieldColumns) -> Self {
        Self(Form::Array(field_columns))
    }

    /// A text that identifies the options by which a file is split into rows.
    pub fn fingerprint(&self) -> String {
        match &self.0 {
            Form::Table { format, header_line, .. } => {
                let from = if *header_line > 1 { format!(" from {header_line}") } else { String::new() };
                match format {
                    RecordFormat::Csv(Dialect { delimiter, quotes, has_sep_line }) => {
                        format!("csv {delimiter} {quotes} {has_sep_line}{from}")
                    }
                    RecordFormat::Sheet => format!("sheet{from}"),
                }
            }
            Form::Lines(_) => "jsonl".to_owned(),
            Form::Array(_) => "json".to_owned(),
        }
    }

    /// The rows of a file, from its beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn rows<'a>(&'a self, source: &Source) -> Result<Rows<'a>, TableError> {
        let reader = match &self.0 {
            Form::Table { format, header_line, .. } => {
                let mut records = format.records(source)?;
                records.header(*header_line)?;
                Reader::Table(records)
            }
            Form::Lines(_) => Reader::Lines(source.lines()?),
            Form::Array(_) => Reader::Array(ArrayElements::new(source.lines()?)),
        };
        Ok(Rows { reader, layout: self })
    }
}

impl Rows<'_> {
    /// The next row, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read further.
    pub fn next_row(&mut self) -> Result<Option<ImportRow>, ReadError> {
        match (&mut self.reader, &self.layout.0) {
            (Reader::Table(records), Form::Table { columns, .. }) => {
                let Some(record) = records.next()? else { return Ok(None) };
                let content = if columns.is_empty(&record) {
                    Content::Empty
                } else {
                    let row = columns.row(&record);
                    Content::of(row.and_then(|row| row.fields.item(row.content, PriorityNumbers::Upload)))
                };
                Ok(Some(ImportRow { line: record.line, content, raw: RawRow(Raw::Record(record)) }))
            }
            (Reader::Lines(lines), Form::Lines(fields)) => {
                Ok(json::next_line(lines)?.map(|row| json_row(fields, row)))
            }
            (Reader::Array(elements), Form::Array(fields)) => {
                Ok(elements.next()?.map(|row| json_row(fields, row)))
            }
            // A reader is made for its layout.
            _ => Ok(None),
        }
    }

    /// The digest of what was read so far, which at the end is that of the file, or of the rows of a sheet.
    pub fn digest(&self) -> String {
        match &self.reader {
            Reader::Table(records) => records.digest(),
            Reader::Lines(lines) => lines.digest(),
            Reader::Array(elements) => elements.digest(),
        }
    }
}

impl Content {
    fn of(item: Result<NewQueueItem, String>) -> Self {
        item.map_or_else(Self::Invalid, |item| Self::Item(Box::new(item)))
    }
}

fn json_row(field_columns: &FieldColumns, row: JsonRow) -> ImportRow {
    let JsonRow { line, text, members } = row;
    let is_own = |member: &json::Member| OwnColumn::of(&member.name).is_some();
    let content = match members {
        // The line before a row that is no object, in a file of refused rows.
        Ok(members) if !members.is_empty() && members.iter().all(is_own) => Content::Empty,
        Ok(members) => Content::of(item_from_json(field_columns, members)),
        Err(why) => Content::Invalid(why),
    };
    ImportRow { line, content, raw: RawRow(Raw::Json(text)) }
}

fn item_from_json(field_columns: &FieldColumns, row: Vec<json::Member>) -> Result<NewQueueItem, String> {
    let (content, fields) = field_columns.take(row)?;
    if field_columns.needs_reference() && !fields.has_reference() {
        return Err("the row has no reference".to_owned());
    }
    fields.item(content, PriorityNumbers::Api)
}
