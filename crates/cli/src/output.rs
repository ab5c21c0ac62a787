//! Output: results go to stdout; errors, notes and progress go to stderr.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use performer_core::model::Refusal;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use performer_tables::TableError;

/// The error of a command, with its exit code.
#[derive(Debug)]
pub(super) struct CliError {
    message: String,
    code: u8,
}

/// The exit code if some items were refused.
pub(super) const SOME_REFUSED: u8 = 3;

/// The exit codes of errors that a script may want to tell apart.
const NOT_ALLOWED: u8 = 4;
const NOT_FOUND: u8 = 5;
const UNREACHABLE: u8 = 6;

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }

    /// The error with another message.
    pub(super) fn with_message(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<OrchestratorError> for CliError {
    fn from(error: OrchestratorError) -> Self {
        let code = error.code().map(|code| format!(" (code {code})")).unwrap_or_default();
        let message = format!("{}{code}", error.with_causes());
        let code = match error.kind() {
            ErrorKind::Unauthorized => NOT_ALLOWED,
            ErrorKind::NotFound => NOT_FOUND,
            ErrorKind::Unavailable => UNREACHABLE,
            _ => 1,
        };
        Self { message, code }
    }
}

/// Tables are read before anything is added.
impl From<TableError> for CliError {
    fn from(error: TableError) -> Self {
        if error.is_usage() {
            return Self::usage(error.to_string());
        }
        Self::failed(format!("{error}; nothing was added"))
    }
}

impl From<Refusal> for CliError {
    fn from(refusal: Refusal) -> Self {
        Self::failed(refusal.to_string())
    }
}

impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

pub(super) type CommandResult = Result<ExitCode, CliError>;

/// Prints an error to stderr.
pub(super) fn report_error(error: &CliError) -> ExitCode {
    let _ = writeln!(io::stderr(), "performer: {}", printable(&error.message)); // stderr may be closed
    ExitCode::from(error.code)
}

/// Prints a line of the result.
pub(super) fn line(text: impl AsRef<str>) -> Result<(), CliError> {
    ignore_broken_pipe(writeln!(io::stdout(), "{}", text.as_ref()))
}

/// Prints a note to stderr.
pub(super) fn remark(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", printable(text.as_ref())); // stderr may be closed
}

/// Prints the result as JSON.
pub(super) fn json(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string_pretty(value);
    line(json.map_err(|error| CliError::failed(format!("the answer cannot be written as JSON: {error}")))?)
}

/// Prints a value as one line of JSON.
pub(super) fn json_line(value: &impl Serialize) -> Result<(), CliError> {
    let json = serde_json::to_string(value);
    line(json.map_err(|error| CliError::failed(format!("the answer cannot be written as JSON: {error}")))?)
}

/// Prints a table whose columns are as wide as their widest cells.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> Result<(), CliError> {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let width = |at: usize| {
        let cells = rows.iter().filter_map(|row| row.get(at));
        cells.map(|cell| cell.chars().count()).chain([heads[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..heads.len()).map(width).collect();
    let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
    for row in std::iter::once(&heads).chain(&rows) {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        line(cells.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

/// Prints names and values, one pair per line.
pub(super) fn list(pairs: &[(&str, String)]) -> Result<(), CliError> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| line(format!("{name:width$}  {}", printable(value))))
}

/// Replaces control characters, because untrusted text must not control the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Exits with success if the reader has closed stdout, as `| head` does.
fn ignore_broken_pipe(result: io::Result<()>) -> Result<(), CliError> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
