//! Writes items as rows that an import reads again.
//!
//! | column | what it has |
//! |---|---|
//! | `Reference`, `Priority`, `DueDate`, … | the fields that an import sets |
//! | `content.NAME` | a member of the content |
//! | `Item.NAME` | what an import leaves out, such as the id and the status |
//!
//! Names in the content have no point, so they are never mistaken for these columns.

use std::io::{self, Write};

use jiff::Timestamp;
use performer_core::model::item::QueueItem;
use serde_json::Value;
use serde_json::value::RawValue;

use super::csv_text::csv_line;
use super::json;

/// What comes before the name of a member of the content.
pub(crate) const CONTENT_PREFIX: &str = "content.";
/// The column with the types of the columns that are imported.
pub(crate) const TYPES_COLUMN: &str = "Item.Types";

/// The name of the member of the content that belongs to a column.
pub(crate) fn content_name(column: &str) -> &str {
    column.strip_prefix(CONTENT_PREFIX).unwrap_or(column)
}

/// How an export is written.
#[derive(Clone, Copy, Debug, Default)]
pub struct ExportOptions {
    /// Whether to write also the id, status, times, exception and output of each item.
    pub with_history: bool,
    /// Whether to write an apostrophe before a text that a spreadsheet program would take for a formula. An import does not remove it.
    pub guard_formulas: bool,
}

/// The columns of an export. Each member that the content of any item has is one.
#[derive(Clone, Debug, Default)]
pub struct ExportColumns {
    members: Vec<(String, ColumnType)>,
}

/// Which types of values a column has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct ColumnType {
    texts: bool,
    numbers: bool,
    booleans: bool,
}

/// Writes items as CSV.
#[derive(Debug)]
pub struct CsvExport<W> {
    writer: W,
    columns: ExportColumns,
    types: String,
    options: ExportOptions,
}

/// The columns of the fields of an item.
const FIELDS: [&str; 5] = ["Reference", "Priority", "DueDate", "DeferDate", "PerformerGroup"];

fn fields(item: &QueueItem) -> [Option<String>; FIELDS.len()] {
    [
        item.reference.clone(),
        Some(item.priority.to_string()),
        item.due_date.as_ref().map(Timestamp::to_string),
        item.defer_date.as_ref().map(Timestamp::to_string),
        item.group.clone(),
    ]
}

/// The columns that describe the item and that an import leaves out.
pub(crate) const HISTORY: [&str; 12] = [
    "Item.Id",
    "Item.Key",
    "Item.Status",
    "Item.ReviewStatus",
    "Item.RetryNumber",
    "Item.Created",
    "Item.Started",
    "Item.Ended",
    "Item.ExceptionType",
    "Item.ExceptionReason",
    "Item.Progress",
    "Item.Output",
];

fn history(item: &QueueItem) -> [Option<String>; HISTORY.len()] {
    let exception = item.processing_exception.as_ref();
    [
        Some(item.id.to_string()),
        Some(item.key.to_string()),
        Some(item.status.to_string()),
        Some(item.review_status.to_string()),
        Some(item.retry_number.to_string()),
        Some(item.creation_time.to_string()),
        item.start_processing.as_ref().map(Timestamp::to_string),
        item.end_processing.as_ref().map(Timestamp::to_string),
        exception.map(|exception| exception.exception_type.to_string()),
        exception.map(|exception| exception.reason.clone()),
        item.progress.clone(),
        item.output.as_ref().map(|output| output.as_json().to_owned()),
    ]
}

fn members(item: &QueueItem) -> Vec<(String, Box<RawValue>)> {
    json::raw_members(item.specific_content.as_json()).unwrap_or_default()
}

#[expect(clippy::len_without_is_empty, reason = "nobody asks whether there are none")]
impl ExportColumns {
    /// The number of columns for members of contents.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Adds the columns of an item. To be called for all items before any is written.
    pub fn see(&mut self, item: &QueueItem) {
        for (name, value) in members(item) {
            let at = self.members.iter().position(|(known, _)| *known == name);
            let at = at.unwrap_or_else(|| {
                self.members.push((name, ColumnType::default()));
                self.members.len() - 1
            });
            let (_, kind) = &mut self.members[at];
            match value.get().as_bytes().first() {
                Some(b'n') | None => {} // null
                Some(b't' | b'f') => kind.booleans = true,
                Some(b'"') => kind.texts = true,
                Some(_) => kind.numbers = true,
            }
        }
    }

    /// The type of each column, as the import names it.
    fn types(&self) -> String {
        let word = |(_, kind): &(String, ColumnType)| match kind {
            ColumnType { texts: false, numbers: true, booleans: false } => "number",
            ColumnType { texts: false, numbers: false, booleans: true } => "boolean",
            _ => "text",
        };
        ["text"; FIELDS.len()].into_iter().chain(self.members.iter().map(word)).collect::<Vec<_>>().join(" ")
    }
}

impl<W: Write> CsvExport<W> {
    /// Begins with the byte order mark, by which spreadsheet programs see that a file is UTF-8, and the names of the columns.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn new(mut writer: W, mut columns: ExportColumns, options: ExportOptions) -> io::Result<Self> {
        columns.members.sort_by(|(one, _), (other, _)| one.cmp(other)); // whatever the order in the contents
        let contents: Vec<String> =
            columns.members.iter().map(|(name, _)| format!("{CONTENT_PREFIX}{name}")).collect();
        let names = std::iter::once(TYPES_COLUMN)
            .chain(FIELDS)
            .chain(contents.iter().map(String::as_str))
            .chain(HISTORY.into_iter().filter(|_| options.with_history));
        writer.write_all(format!("\u{feff}{}", csv_line(',', names)).as_bytes())?;
        let types = columns.types();
        Ok(Self { writer, columns, types, options })
    }

    /// Writes an item.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&mut self, item: &QueueItem) -> io::Result<()> {
        let own = members(item);
        let content = self.columns.members.iter().map(|(name, _)| {
            let value = own.iter().find(|(known, _)| known == name);
            value.map_or_else(String::new, |(_, value)| cell_text(value))
        });
        let history = history(item).into_iter().filter(|_| self.options.with_history);
        let cells = fields(item)
            .into_iter()
            .map(Option::unwrap_or_default)
            .chain(content)
            .chain(history.map(Option::unwrap_or_default))
            .map(|cell| if self.options.guard_formulas { guarded(cell) } else { cell });
        let cells: Vec<String> = std::iter::once(self.types.clone()).chain(cells).collect();
        self.writer.write_all(csv_line(',', cells.iter().map(String::as_str)).as_bytes())
    }

    /// Writes what is left in buffers.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A value of JSON as a cell: a text without its quotation marks, null as nothing, anything else as it is.
fn cell_text(value: &RawValue) -> String {
    match serde_json::from_str(value.get()) {
        Ok(Value::String(text)) => text,
        Ok(Value::Null) => String::new(),
        _ => value.get().to_owned(),
    }
}

/// With an apostrophe in front of what a spreadsheet program takes for a formula. Numbers stay as they are.
pub fn guarded(cell: String) -> String {
    let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
    if is_formula { format!("'{cell}") } else { cell }
}

/// An item as one line of JSON.
pub fn json_line(item: &QueueItem, options: ExportOptions) -> String {
    let mut line = String::from("{");
    let mut add = |name: &str, value: &str| {
        let comma = if line.len() > 1 { "," } else { "" };
        line.push_str(&format!("{comma}{}:{value}", Value::from(name)));
    };
    let history = HISTORY.into_iter().zip(history(item)).filter(|_| options.with_history);
    for (name, value) in FIELDS.into_iter().zip(fields(item)).chain(history) {
        if let Some(value) = value {
            add(name, &Value::from(value).to_string());
        }
    }
    for (name, value) in members(item) {
        add(&format!("{CONTENT_PREFIX}{name}"), value.get());
    }
    line + "}\n"
}
