//! Why a table cannot be read.

use std::fmt;

/// Why a table cannot be read, or not in the way that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableError {
    message: String,
    is_usage: bool,
}

impl TableError {
    /// An error in the options: what they name does not exist, or they contradict each other or the file.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_usage: true }
    }

    /// An error in the file.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_usage: false }
    }

    /// The error with the name of the file in front of it.
    pub(crate) fn within(self, file: &str) -> Self {
        Self { message: format!("{file}: {}", self.message), ..self }
    }

    /// Whether other options are needed. Otherwise the file is at fault, or cannot be read.
    pub fn is_usage(&self) -> bool {
        self.is_usage
    }
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for TableError {}

impl From<std::io::Error> for TableError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error.to_string())
    }
}

/// Why a file cannot be read further, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadError {
    /// Counted from 1.
    pub(crate) line: u64,
    pub(crate) why: String,
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.why)
    }
}

impl std::error::Error for ReadError {}

impl From<ReadError> for TableError {
    fn from(fault: ReadError) -> Self {
        Self::failed(fault.to_string())
    }
}
