//! Tables as the world writes them, for [performer](https://docs.rs/performer): rows of CSV, JSON and spreadsheets.
//!
//! Programs use this crate as `performer::tables` (feature `tables`): [`rows`] reads a file row by row as values of a type, for a
//! dispatcher. The command `performer` uses the rest of it for `performer item import`, which makes items of rows; that part has no
//! stable interface.
//!
//! | module | what it is |
//! |---|---|
//! | `source.rs` | a file as lines, in any encoding |
//! | `csv.rs`, `dialect.rs` | rows of CSV; the delimiter is found |
//! | `sheet/` | sheets of spreadsheets |
//! | `record.rs` | a row of either |
//! | `columns.rs`, `numbers.rs`, `schema_types.rs` | one type a column |
//! | `json.rs` | rows of JSON |
//! | `typed.rs`, `deserialize.rs` | rows as values of a type |
//! | `rows.rs`, `fields.rs`, `time.rs` | rows as items |
//! | `refused.rs` | the file of the rows that were refused |
//! | `export.rs`, `csv_text.rs` | items as rows that an import reads; lines of CSV |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

mod columns;
mod csv;
mod csv_text;
mod deserialize;
mod dialect;
mod error;
mod export;
mod fields;
mod format;
#[cfg(any(feature = "fuzzing", test))]
#[doc(hidden)]
pub mod fuzzing;
mod json;
mod numbers;
mod record;
mod refused;
mod rows;
mod schema_types;
mod sheet;
mod source;
pub mod time;
mod typed;

pub use error::TableError;
pub use format::Format;
pub use typed::{Row, RowError, Table, TypedRows, rows};

/// What the command needs to make items of rows. It changes with the command.
#[doc(hidden)]
pub mod import {
    pub use super::columns::TypeOptions;
    pub use super::csv_text::csv_line;
    pub use super::dialect::parse_delimiter;
    pub use super::error::ReadError;
    pub use super::export::{CsvExport, ExportColumns, ExportOptions, guarded, json_line};
    pub use super::fields::{Field, FieldColumns};
    pub use super::refused::RefusedFile;
    pub use super::rows::{Content, ImportRow, Layout, RawRow, Rows, TableOptions};
    pub use super::source::Source;
    /// The encodings that a file may have.
    pub use encoding_rs;
}
