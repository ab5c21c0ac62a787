//! The rows of a file as items, whatever its format.

use indicatif::ProgressBar;

use super::super::output::Problem;
use super::columns::Columns;
use super::csv::{Dialect, Records};
use super::fields::{Named, Priorities};
use super::json::{self, Elements, Member};
use super::source::{Fault, Lines, Source};
use crate::model::item::NewQueueItem;

/// How the rows of a file are read.
#[derive(Debug)]
pub(super) enum Layout {
    Csv { dialect: Dialect, columns: Columns },
    Lines(Named),
    Array(Named),
}

/// A row of a file.
pub(super) struct Row {
    /// The line in which it begins, counted from 1.
    pub(super) line: u64,
    pub(super) content: Content,
}

pub(super) enum Content {
    Item(Box<NewQueueItem>),
    /// Nothing is written in it.
    Empty,
    /// It is no item, and why.
    Wrong(String),
}

/// The rows of a file, without the one that names the columns.
pub(super) enum Rows<'a> {
    Csv(Records<'a>, &'a Columns),
    Lines(Lines<'a>, &'a Named),
    Array(Elements<'a>, &'a Named),
}

impl Layout {
    /// What decides which rows a file has.
    pub(super) fn named(&self) -> String {
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
    pub(super) fn rows<'a>(&'a self, source: &'a Source, bar: &ProgressBar) -> Result<Rows<'a>, Problem> {
        let lines = source.lines(bar)?;
        Ok(match self {
            Self::Csv { dialect, columns } => {
                let mut records = Records::new(lines, *dialect)?;
                records.heads()?;
                Rows::Csv(records, columns)
            }
            Self::Lines(named) => Rows::Lines(lines, named),
            Self::Array(named) => Rows::Array(Elements::new(lines), named),
        })
    }
}

impl Rows<'_> {
    /// # Errors
    ///
    /// When the file cannot be read on.
    pub(super) fn next(&mut self) -> Result<Option<Row>, Fault> {
        let (line, item) = match self {
            Self::Csv(records, columns) => {
                let Some(record) = records.next()? else { return Ok(None) };
                if Columns::is_empty(&record) {
                    return Ok(Some(Row { line: record.line, content: Content::Empty }));
                }
                let row = columns.row(&record);
                (record.line, row.and_then(|row| row.fields.item(row.content, Priorities::Upload)))
            }
            Self::Lines(lines, named) => {
                let Some((line, row)) = json::next_line(lines)? else { return Ok(None) };
                (line, row.and_then(|row| of_json(named, row)))
            }
            Self::Array(elements, named) => {
                let Some((line, row)) = elements.next()? else { return Ok(None) };
                (line, row.and_then(|row| of_json(named, row)))
            }
        };
        let content = item.map_or_else(Content::Wrong, |item| Content::Item(Box::new(item)));
        Ok(Some(Row { line, content }))
    }

    /// The digest of what was read; at the end of the rows, that of the file.
    pub(super) fn digest(&self) -> String {
        match self {
            Self::Csv(records, _) => records.digest(),
            Self::Lines(lines, _) => lines.digest(),
            Self::Array(elements, _) => elements.digest(),
        }
    }
}

fn of_json(named: &Named, row: Vec<Member>) -> Result<NewQueueItem, String> {
    let (content, fields) = named.take(row)?;
    if named.needs_reference() && !fields.has_reference() {
        return Err("the row has no reference".to_owned());
    }
    fields.item(content, Priorities::Api)
}
