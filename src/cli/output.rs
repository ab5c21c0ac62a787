//! What is written where: answers to stdout, what went wrong and progress to stderr.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use serde::Serialize;

use crate::model::Refusal;
use crate::orchestrator::OrchestratorError;

/// Why a command did not do what it was asked to.
#[derive(Debug)]
pub(super) struct Problem {
    message: String,
    code: u8,
}

/// Some items were refused.
pub(super) const SOME_REFUSED: u8 = 3;

impl Problem {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    pub(super) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<OrchestratorError> for Problem {
    fn from(error: OrchestratorError) -> Self {
        let code = error.code().map(|code| format!(" (code {code})")).unwrap_or_default();
        Self::failed(format!("{}{code}", error.with_causes()))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::failed(refusal.to_string())
    }
}

impl From<io::Error> for Problem {
    fn from(error: io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

pub(super) type Done = Result<ExitCode, Problem>;

/// Tells what went wrong.
pub(super) fn failed(problem: &Problem) -> ExitCode {
    let _ = writeln!(io::stderr(), "performer: {}", printable(&problem.message)); // nobody may be listening
    ExitCode::from(problem.code)
}

/// A line of an answer.
pub(super) fn line(text: impl AsRef<str>) -> Result<(), Problem> {
    written(writeln!(io::stdout(), "{}", text.as_ref()))
}

/// A remark, beside the answer.
pub(super) fn remark(text: impl AsRef<str>) {
    let _ = writeln!(io::stderr(), "{}", printable(text.as_ref())); // nobody may be listening
}

/// An answer for programs.
pub(super) fn json(value: &impl Serialize) -> Result<(), Problem> {
    line(serde_json::to_string_pretty(value).unwrap_or_default())
}

/// A table: columns as wide as what is in them.
pub(super) fn table(heads: &[&str], rows: &[Vec<String>]) -> Result<(), Problem> {
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

/// Names and values, one a line.
pub(super) fn list(pairs: &[(&str, String)]) -> Result<(), Problem> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    pairs.iter().try_for_each(|(name, value)| line(format!("{name:width$}  {}", printable(value))))
}

/// A text without what would move a terminal's cursor: it may be anybody's.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Whoever reads may have heard enough (`| head`): that is no failure.
fn written(result: io::Result<()>) -> Result<(), Problem> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        other => Ok(other?),
    }
}
