//! The rows of a file as items, for all formats.

use indicatif::ProgressBar;
use serde_json::Value;

use super::super::output::CliError;
use super::columns::{Columns, TypeOptions};
use super::csv::{Dialect, Records};
use super::fields::{FieldColumns, PriorityNumbers};
use super::json::{self, ArrayElements, Member};
use super::source::{Lines, ReadError, Source};
use performer_core::model::item::NewQueueItem;

/// How the rows of a file are read.
#[derive(Debug)]
pub(super) enum Layout {
    Csv { dialect: Dialect, columns: Columns },
    Lines(FieldColumns),
    Array(FieldColumns),
}

/// A row of a file.
pub(super) struct ImportRow {
    /// The line in which it begins, counted from 1.
    pub(super) line: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    Item(Box<NewQueueItem>),
    /// The row is empty.
    Empty,
    /// The row is not an item, and why.
    Invalid(String),
}

/// The rows of a file, without the header.
pub(super) enum Rows<'a> {
    Csv(Records<'a>, &'a Columns),
    Lines(Lines<'a>, &'a FieldColumns),
    Array(ArrayElements<'a>, &'a FieldColumns),
}

impl Layout {
    /// The layout of a CSV file, which is read to its end to infer the types of its columns.
    ///
    /// # Errors
    ///
    /// If the file cannot be read, it has no header, or the columns of its header cannot be used.
    pub(super) fn csv(
        source: &Source,
        dialect: Dialect,
        field_columns: &FieldColumns,
        types: &TypeOptions,
        schema: Option<&Value>,
        bar: &ProgressBar,
    ) -> Result<Self, CliError> {
        let mut records = Records::new(source.lines(bar)?, dialect)?;
        let no_header = || CliError::failed(format!("{} has no header line", source.name()));
        let header = records.header()?.ok_or_else(no_header)?;
        let mut columns = Columns::new(&header, field_columns, types, schema)?;
        while let Some(record) = records.next()? {
            columns.infer(&record);
        }
        Ok(Self::Csv { dialect, columns })
    }

    /// A text that identifies the options by which a file is split into rows.
    pub(super) fn fingerprint(&self) -> String {
        match self {
            Self::Csv { dialect: Dialect { delimiter, quotes, has_sep_line }, .. } => {
                format!("csv {delimiter} {quotes} {has_sep_line}")
            }
            Self::Lines(_) => "jsonl".to_owned(),
            Self::Array(_) => "json".to_owned(),
        }
    }

    /// The rows of a file, from its beginning.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub(super) fn rows<'a>(&'a self, source: &'a Source, bar: &ProgressBar) -> Result<Rows<'a>, CliError> {
        let lines = source.lines(bar)?;
        Ok(match self {
            Self::Csv { dialect, columns } => {
                let mut records = Records::new(lines, *dialect)?;
                records.header()?;
                Rows::Csv(records, columns)
            }
            Self::Lines(field_columns) => Rows::Lines(lines, field_columns),
            Self::Array(field_columns) => Rows::Array(ArrayElements::new(lines), field_columns),
        })
    }
}

impl Rows<'_> {
    /// The next row, or `None` at the end of the file.
    ///
    /// # Errors
    ///
    /// If the file cannot be read further.
    pub(super) fn next(&mut self) -> Result<Option<ImportRow>, ReadError> {
        let (line, item) = match self {
            Self::Csv(records, columns) => {
                let Some(record) = records.next()? else { return Ok(None) };
                if Columns::is_empty(&record) {
                    return Ok(Some(ImportRow { line: record.line, content: Content::Empty }));
                }
                let row = columns.row(&record);
                (record.line, row.and_then(|row| row.fields.item(row.content, PriorityNumbers::Upload)))
            }
            Self::Lines(lines, field_columns) => {
                let Some((line, row)) = json::next_line(lines)? else { return Ok(None) };
                (line, row.and_then(|row| item_from_json(field_columns, row)))
            }
            Self::Array(elements, field_columns) => {
                let Some((line, row)) = elements.next()? else { return Ok(None) };
                (line, row.and_then(|row| item_from_json(field_columns, row)))
            }
        };
        let content = item.map_or_else(Content::Invalid, |item| Content::Item(Box::new(item)));
        Ok(Some(ImportRow { line, content }))
    }

    /// The digest of the bytes read so far, which at the end is that of the file.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::Csv(records, _) => records.digest(),
            Self::Lines(lines, _) => lines.digest(),
            Self::Array(elements, _) => elements.digest(),
        }
    }
}

fn item_from_json(field_columns: &FieldColumns, row: Vec<Member>) -> Result<NewQueueItem, String> {
    let (content, fields) = field_columns.take(row)?;
    if field_columns.needs_reference() && !fields.has_reference() {
        return Err("the row has no reference".to_owned());
    }
    fields.item(content, PriorityNumbers::Api)
}
