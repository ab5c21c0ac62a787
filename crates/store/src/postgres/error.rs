//! What PostgreSQL's errors mean to a caller.

use std::fmt;

use tokio_postgres::Error;
use tokio_postgres::error::{Severity, SqlState};

use super::super::unreadable_rows::UnreadableRow;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};

/// Classes of transient errors: of a connection (08), of a transaction that was idle or slow and was ended (25P), of a
/// conflict (40), of resources (53), of objects in use (55), of the operator (57), of the system (58).
const PASSES: [&str; 7] = ["08", "25P", "40", "53", "55", "57", "58"];

/// An error of PostgreSQL, with the database and what to do about it. Only for what is known not to have been
/// committed.
pub(super) fn explain(error: Error, database: impl fmt::Display) -> OrchestratorError {
    let Some(refused) = error.as_db_error() else {
        let (kind, message) = if error.is_closed() || is_io(&error) {
            (ErrorKind::Unavailable, format!("the connection to {database} was lost"))
        } else {
            (ErrorKind::Other, format!("{database} was not understood"))
        };
        return OrchestratorError::new(kind, message).with_source(error);
    };
    let state = refused.code();
    let (kind, message) = match state {
        &SqlState::ADMIN_SHUTDOWN | &SqlState::CRASH_SHUTDOWN | &SqlState::CANNOT_CONNECT_NOW => {
            (ErrorKind::Unavailable, format!("{database} is being stopped or started"))
        }
        &SqlState::TOO_MANY_CONNECTIONS => {
            (ErrorKind::Unavailable, format!("{database} has no connection left"))
        }
        &SqlState::READ_ONLY_SQL_TRANSACTION => {
            (ErrorKind::Unavailable, format!("{database} can be read and not written at this moment"))
        }
        &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE => {
            (ErrorKind::Unavailable, format!("others were in the way on {database}; nothing was changed"))
        }
        &SqlState::LOCK_NOT_AVAILABLE | &SqlState::QUERY_CANCELED => {
            (ErrorKind::Unavailable, format!("a statement took too long on {database}; nothing was changed"))
        }
        &SqlState::DISK_FULL => {
            (ErrorKind::Unavailable, format!("there is no space left on the disk of {database}"))
        }
        &SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            (ErrorKind::Unauthorized, format!("{database} refused the user or the password"))
        }
        &SqlState::INSUFFICIENT_PRIVILEGE => {
            (ErrorKind::Unauthorized, format!("the user may not do this on {database}"))
        }
        // Poolers report these, all with one code.
        &SqlState::PROTOCOL_VIOLATION if refused.message().contains("statement pooling mode") => {
            let remedy = "let it pool transactions or sessions, or connect to the database itself";
            (ErrorKind::Invalid, format!("the proxy before {database} takes no transactions; {remedy}"))
        }
        &SqlState::PROTOCOL_VIOLATION if refused.message().contains("startup parameter") => {
            let remedy = "take it out of the address, or connect to the database itself";
            let why = refused.message();
            (ErrorKind::Invalid, format!("the proxy before {database} refused the address: {why}; {remedy}"))
        }
        // A pooler gave us a connection with prepared statements of another client; the next attempt uses other names.
        &SqlState::DUPLICATE_PSTATEMENT => {
            (ErrorKind::Unavailable, format!("somebody else's statements are in the way on {database}"))
        }
        &SqlState::INVALID_CATALOG_NAME => (ErrorKind::Other, format!("{database} does not exist")),
        other if PASSES.iter().any(|class| other.code().starts_with(class)) => {
            (ErrorKind::Unavailable, format!("{database} cannot be used at this moment"))
        }
        _ => (ErrorKind::Other, format!("PostgreSQL refused a statement on {database}")),
    };
    OrchestratorError::new(kind, message).with_source(error)
}

/// Why no connection was made.
pub(super) fn cannot_connect(error: Error, database: impl fmt::Display) -> OrchestratorError {
    let source = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
    let (kind, message) = if let Some(why) = tls_failed(&error) {
        (ErrorKind::Other, format!("there is no TLS with {database} as its address asks for: {why}"))
    } else if is_io(&error) {
        (ErrorKind::Unavailable, format!("{database} cannot be reached: {source}"))
    } else {
        return explain(error, database);
    };
    OrchestratorError::new(kind, message).with_source(error)
}

/// Why TLS failed, if it did: the server does not support it, or the certificate is not trusted.
pub(super) fn tls_failed(error: &Error) -> Option<String> {
    let source = std::error::Error::source(error)?;
    match source.downcast_ref::<std::io::Error>() {
        Some(io) => io.get_ref().filter(|inner| inner.is::<rustls::Error>()).map(ToString::to_string),
        None => error.to_string().contains("TLS").then(|| source.to_string()),
    }
}

/// Whether the transaction was undone because of a conflict, and can be repeated.
pub(super) fn is_in_the_way(error: &OrchestratorError) -> bool {
    let refused = std::error::Error::source(error).and_then(|source| source.downcast_ref::<Error>());
    let passing =
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::LOCK_NOT_AVAILABLE];
    refused.and_then(Error::code).is_some_and(|code| passing.contains(code))
}

/// A time limit was exceeded.
pub(super) fn too_slow(database: impl fmt::Display, what: &str) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Unavailable, format!("{database} took too long {what}"))
}

/// A row that does not match the schema.
pub(super) fn unreadable(error: impl std::error::Error + Send + Sync + 'static) -> OrchestratorError {
    UnreadableRow::error(error, "the database")
}

/// Whether the connection cannot be used after this error. After any other error the transaction can be undone.
pub(super) fn breaks_the_connection(error: &Error) -> bool {
    let Some(refused) = error.as_db_error() else { return true };
    // After FATAL and PANIC the server closes the connection, which may be noticed later than the error.
    let fatal = refused
        .parsed_severity()
        .is_none_or(|severity| matches!(severity, Severity::Fatal | Severity::Panic));
    let code = refused.code();
    fatal
        || code.code().starts_with("08")
        || code.code().starts_with("57P")
        // A standby, or a primary that was told to stop writing: another server may be the primary now.
        || *code == SqlState::READ_ONLY_SQL_TRANSACTION
}

fn is_io(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<std::io::Error>())
}
