//! What SQLite's errors mean to a caller.

use std::path::Path;

use rusqlite::ErrorCode;

use super::super::unreadable_rows::UnreadableRow;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};

/// Whether the error is about a row that does not match the schema, and not about the statement or the file.
pub(super) fn is_unreadable(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..)
    )
}

/// An error of SQLite, with the file and what to do about it.
pub(super) fn explain(error: rusqlite::Error, path: &Path) -> OrchestratorError {
    let shown = path.display();
    if is_unreadable(&error) {
        return UnreadableRow::error(error, shown);
    }
    let (kind, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (ErrorKind::Unavailable, format!("another process has been writing to {shown} for too long"))
        }
        Some(ErrorCode::DiskFull) => (
            ErrorKind::Unavailable,
            format!("there is no space left on the disk of {shown}; nothing was changed"),
        ),
        Some(ErrorCode::OutOfMemory | ErrorCode::FileLockingProtocolFailed) => {
            (ErrorKind::Unavailable, format!("{shown} cannot be used at this moment"))
        }
        Some(ErrorCode::OperationInterrupted) => {
            (ErrorKind::Unavailable, "nobody waited for the answer any more".to_owned())
        }
        Some(ErrorCode::SystemIoFailure) => {
            (ErrorKind::Unavailable, format!("reading or writing {shown} failed"))
        }
        Some(ErrorCode::ReadOnly) => (ErrorKind::Other, format!("{shown} cannot be written to")),
        Some(ErrorCode::CannotOpen) => (ErrorKind::Other, format!("{shown} cannot be opened")),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            (ErrorKind::Other, format!("{shown} is damaged; restore it from a backup"))
        }
        _ => (ErrorKind::Other, format!("SQLite refused a statement on {shown}")),
    };
    OrchestratorError::new(kind, message).with_source(error)
}

/// As [`explain`], for a store in use: a file that cannot be opened is a transient error then (out of file descriptors,
/// a disk that is away for a moment).
pub(super) fn explain_running(error: rusqlite::Error, path: &Path) -> OrchestratorError {
    if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) {
        let message = format!("{} cannot be opened at this moment", path.display());
        return OrchestratorError::new(ErrorKind::Unavailable, message).with_source(error);
    }
    explain(error, path)
}

/// An error of a commit. If the disk failed, or the file was found damaged, the outcome of the commit is unknown.
pub(super) fn explain_commit(error: rusqlite::Error, path: &Path) -> OrchestratorError {
    if breaks_the_connection(&error) {
        let message = format!("writing {} failed while a commit was under way", path.display());
        return OrchestratorError::new(ErrorKind::Unknown, message).with_source(error);
    }
    explain(error, path)
}

/// Whether the connection has to be closed and opened again: after a failed write or sync its cache of the file may be
/// wrong.
pub(super) fn breaks_the_connection(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// An error of the file system.
pub(super) fn file_error(path: &Path, what: &str, error: std::io::Error) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Other, format!("{} {what}: {error}", path.display())).with_source(error)
}
