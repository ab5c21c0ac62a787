//! The formats of files.

use std::path::Path;

/// The format of a file with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text whose cells are separated by a character, with a header.
    Csv,
    /// One JSON object per line.
    Jsonl,
    /// A JSON array of objects.
    Json,
    /// A spreadsheet: `.xlsx`, `.xlsm`, `.xls` or `.ods`, by its content.
    Sheet,
}

impl Format {
    /// The format that the extension of a file shows.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        match &*extension.to_ascii_lowercase() {
            "csv" | "tsv" | "txt" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "json" => Some(Self::Json),
            "xlsx" | "xlsm" | "xls" | "ods" => Some(Self::Sheet),
            _ => None,
        }
    }

    /// The name, for messages.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Csv => "CSV",
            Self::Jsonl => "JSONL",
            Self::Json => "JSON",
            Self::Sheet => "a spreadsheet",
        }
    }
}
