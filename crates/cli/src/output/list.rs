//! Lists: one format option for all commands that list something.

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::table::as_csv;
use super::{CliError, Column, is_json, json, json_line, print_errors_as_json, table, text};

/// How a list is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ListFormat {
    /// On a terminal a table as wide as it is; elsewhere the whole table, separated by tabs
    #[default]
    Table,
    /// An array of JSON
    Json,
    /// A JSON object per line
    Jsonl,
    /// The columns of the table as CSV
    Csv,
}

/// The option of all commands that list something.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct ListOutput {
    /// Print a table, json, jsonl (an object per line) or csv; --json is short for --output json
    #[arg(long, short, value_enum, value_name = "FORMAT", hide_possible_values = true)]
    output: Option<ListFormat>,
}

impl ListOutput {
    /// The format. Errors are printed as JSON from now on if the list is.
    ///
    /// # Errors
    ///
    /// If `--json` and another format are given.
    pub(crate) fn format(self) -> Result<ListFormat, CliError> {
        let format = match (self.output, is_json()) {
            (None | Some(ListFormat::Json), true) => ListFormat::Json,
            (Some(_), true) => {
                return Err(CliError::usage("--json and --output say different formats; use one of them"));
            }
            (format, false) => format.unwrap_or_default(),
        };
        if matches!(format, ListFormat::Json | ListFormat::Jsonl) {
            print_errors_as_json();
        }
        Ok(format)
    }
}

impl ListFormat {
    /// Whether the list is a table or CSV, which have the same columns.
    pub(crate) fn has_columns(self) -> bool {
        matches!(self, Self::Table | Self::Csv)
    }

    /// Prints a list.
    pub(crate) fn print<T: Serialize>(
        self,
        values: &[T],
        columns: &[Column],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        match self {
            Self::Json => json(&values),
            Self::Jsonl => values.iter().try_for_each(json_line),
            Self::Table | Self::Csv => {
                self.print_columns(columns, &values.iter().map(row).collect::<Vec<_>>())
            }
        }
    }

    /// As that, of values whose JSON is not the one of their type.
    pub(crate) fn print_as<'a, T, J: Serialize>(
        self,
        values: &'a [T],
        as_json: impl Fn(&'a T) -> J,
        columns: &[Column],
        row: impl Fn(&T) -> Vec<String>,
    ) -> Result<(), CliError> {
        if self.has_columns() {
            self.print_columns(columns, &values.iter().map(row).collect::<Vec<_>>())
        } else {
            self.print(&values.iter().map(as_json).collect::<Vec<_>>(), columns, |_| Vec::new())
        }
    }

    /// Prints the rows of a table, or of CSV.
    pub(crate) fn print_columns(self, columns: &[Column], rows: &[Vec<String>]) -> Result<(), CliError> {
        match self {
            Self::Csv => as_csv(columns, rows).iter().try_for_each(text),
            _ => table(columns, rows),
        }
    }
}
