//! The errors of an Orchestrator.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use crate::model::Refusal;
use crate::model::code::ErrorCode;

/// The kind of an error, which determines how the caller can handle it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The queue, item or job does not exist. A retry fails again.
    NotFound,
    /// An argument is invalid. A retry fails again.
    Invalid,
    /// The call conflicts with the current state, such as a duplicate reference or a stale version.
    Conflict,
    /// The claim is no longer valid; nothing was changed.
    ClaimLost,
    /// The credentials are missing or invalid, or the caller lacks the permission.
    Unauthorized,
    /// The store is busy, full or unreachable. Nothing was changed; retry later.
    Unavailable,
    /// The outcome is not known, because the connection broke during a change. Reports may be repeated; other calls only if
    /// they are safe to execute twice.
    Unknown,
    /// The back end does not support the operation.
    Unsupported,
    /// Any other error, such as a damaged file. A retry fails again.
    Other,
}

/// An error of an Orchestrator. Opaque; ask [`kind`](Self::kind).
///
/// Its message is a lower-case fragment without a full stop, and never contains a secret.
#[derive(Clone)]
pub struct OrchestratorError(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    code: Option<ErrorCode>,
    message: String,
    trace_id: Option<String>,
    retry_after: Option<Duration>,
    source: Option<std::sync::Arc<dyn Error + Send + Sync>>,
}

impl OrchestratorError {
    /// Creates an error, for back ends, decorators and test doubles. The message must be a lower-case fragment without a full stop
    /// and without secrets.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            code: None,
            message: message.into(),
            trace_id: None,
            retry_after: None,
            source: None,
        }))
    }

    /// This error with the Orchestrator's numeric code.
    pub fn with_code(mut self, code: Option<ErrorCode>) -> Self {
        self.0.code = code;
        self
    }

    /// This error with the id under which the server logged it.
    pub fn with_trace_id(mut self, trace_id: Option<String>) -> Self {
        self.0.trace_id = trace_id;
        self
    }

    /// This error with the delay that the server asks for.
    pub fn with_retry_after(mut self, delay: Option<Duration>) -> Self {
        self.0.retry_after = delay;
        self
    }

    /// This error with another kind, and a message made from the current one.
    pub fn reworded(mut self, kind: ErrorKind, words: impl FnOnce(&str) -> String) -> Self {
        self.0.kind = kind;
        self.0.message = words(&self.0.message);
        self
    }

    /// This error with its cause.
    pub fn with_source(mut self, source: impl Error + Send + Sync + 'static) -> Self {
        self.0.source = Some(std::sync::Arc::new(source));
        self
    }

    /// A value of the caller is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// Something does not exist.
    pub fn not_found(message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::NotFound, message);
        error.0.code = Some(ErrorCode::ITEM_NOT_FOUND);
        error
    }

    /// There is no queue of this name.
    pub fn no_queue(name: &str) -> Self {
        Self::not_found(format!("queue {name:?} does not exist"))
    }

    /// There is no item with this id.
    pub fn no_item(id: crate::model::key::ItemId) -> Self {
        Self::not_found(format!("item {id} does not exist"))
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The Orchestrator's numeric code, if there is one.
    pub fn code(&self) -> Option<ErrorCode> {
        self.0.code
    }

    /// The Orchestrator's trace id of the failed request, by which its operators can find it in their logs.
    pub fn trace_id(&self) -> Option<&str> {
        self.0.trace_id.as_deref()
    }

    /// How long to wait before a retry, if the Orchestrator has said so.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The message and its chain of sources in one line, such as `SQLite refused a statement on a.db: UNIQUE constraint failed`.
    /// A source whose text occurs before is left out.
    pub fn with_causes(&self) -> impl fmt::Display + '_ {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let message = error.to_string();
            if !message.is_empty() && !text.contains(&message) {
                text.push_str(": ");
                text.push_str(&message);
            }
            cause = error.source();
        }
        text
    }

    /// Whether the claim is no longer valid.
    pub fn is_claim_lost(&self) -> bool {
        self.kind() == ErrorKind::ClaimLost
    }

    /// Whether the Orchestrator itself says that the item does not exist. A 404 without its code may come from a proxy, for
    /// instance while the server behind it is replaced.
    pub fn is_confirmed_not_found(&self) -> bool {
        self.code() == Some(ErrorCode::ITEM_NOT_FOUND)
    }

    /// Whether the queue, item or job does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }

    /// Whether an argument is invalid.
    pub fn is_invalid(&self) -> bool {
        self.kind() == ErrorKind::Invalid
    }

    /// Whether the call conflicts with the current state.
    pub fn is_conflict(&self) -> bool {
        self.kind() == ErrorKind::Conflict
    }

    /// Whether the queue enforces unique references and has an item with this one (code 1016).
    pub fn is_duplicate_reference(&self) -> bool {
        self.code() == Some(ErrorCode::DUPLICATE_REFERENCE)
    }

    /// Whether another queue has this name (code 1001).
    pub fn is_name_taken(&self) -> bool {
        self.code() == Some(ErrorCode::NAME_ALREADY_USED)
    }

    /// Whether the credentials are missing or invalid, or the caller lacks the permission.
    pub fn is_unauthorized(&self) -> bool {
        self.kind() == ErrorKind::Unauthorized
    }

    /// Whether the call may have been executed or not, because the connection broke during a change.
    pub fn is_outcome_unknown(&self) -> bool {
        self.kind() == ErrorKind::Unknown
    }

    /// Whether a retry may succeed. True for Unavailable only: after Unknown a call may be retried only if it is safe to execute
    /// twice.
    pub fn is_temporary(&self) -> bool {
        self.kind() == ErrorKind::Unavailable
    }
}

impl fmt::Display for OrchestratorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for OrchestratorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { kind, code, message, trace_id, retry_after, source } = &*self.0;
        let mut debug = f.debug_struct("OrchestratorError");
        debug.field("kind", kind).field("message", message);
        if let Some(code) = code {
            debug.field("code", &code.number());
        }
        if let Some(trace_id) = trace_id {
            debug.field("trace_id", trace_id);
        }
        if let Some(delay) = retry_after {
            debug.field("retry_after", delay);
        }
        if let Some(source) = source {
            debug.field("source", source);
        }
        debug.finish()
    }
}

impl Error for OrchestratorError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_ref().map(|source| &**source as &(dyn Error + 'static))
    }
}

/// The kind follows from the code of the refusal. A lost claim is ClaimLost whatever its code. Otherwise 1002, 1503 and 1504 are NotFound; 1000, 1009, 1014,
/// 1015, 1101, 1500 to 1502, 1850, 1857 and the codes of sizes are Invalid; 1017 and 1100 are Unauthorized; 1019 is Unsupported; and every other
/// code is Conflict, but for those of a store that is out of reach.
impl From<Refusal> for OrchestratorError {
    fn from(refusal: Refusal) -> Self {
        let code = refusal.code();
        let kind = if refusal.is_claim_lost() {
            ErrorKind::ClaimLost
        } else {
            kind_for_code(code).unwrap_or(ErrorKind::Conflict)
        };
        let mut error = Self::new(kind, refusal.to_string());
        error.0.code = Some(code);
        error
    }
}

/// The kind of error that a code stands for; `None` if the code alone does not determine it.
pub fn kind_for_code(code: ErrorCode) -> Option<ErrorKind> {
    Some(match code {
        ErrorCode::ITEM_NOT_FOUND
        | ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT
        | ErrorCode::ASSET_NOT_FOUND
        | ErrorCode::PROCESS_NOT_FOUND
        | ErrorCode::INVALID_RELEASE_KEY => ErrorKind::NotFound,
        ErrorCode::ENCRYPTION_EXCEPTION
        | ErrorCode::ENCRYPTION_KEY_NOT_FOUND
        | ErrorCode::ENCRYPTION_KEY_INCORRECT_FORMAT => ErrorKind::Other,
        ErrorCode::SQL_ACQUIRE_LOCK_FAILURE | ErrorCode::SERVICE_UNAVAILABLE => ErrorKind::Unavailable,
        ErrorCode::FORBIDDEN_OPERATION | ErrorCode::INVALID_ORGANIZATION_UNIT => ErrorKind::Unauthorized,
        ErrorCode::FEATURE_DISABLED => ErrorKind::Unsupported,
        ErrorCode::INVALID_REQUEST
        | ErrorCode::INVALID_ARGUMENT
        | ErrorCode::PARAMETER_MISSING
        | ErrorCode::PARAMETER_INVALID
        | ErrorCode::REQUIRED_ORGANIZATION_UNIT
        | ErrorCode::MACHINE_NAME_REQUIRED
        | ErrorCode::INVALID_START_JOB_ROBOT_IDS
        | ErrorCode::CREDENTIAL_ASSET_EMPTY_PASSWORD_FOR_NEW_USER
        | ErrorCode::CREDENTIAL_ASSET_EMPTY_FOR_NEW_ROBOT
        | ErrorCode::ASSET_TYPE_NON_UPDATABLE
        | ErrorCode::TRANSACTION_REFERENCE_REQUIRED
        | ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION
        | ErrorCode::QUEUE_ITEM_CONTENT_SIZE_EXCEEDED
        | ErrorCode::QUEUE_ITEM_OUTPUT_DATA_SIZE_EXCEEDED
        | ErrorCode::QUEUE_ITEM_ANALYTICS_DATA_SIZE_EXCEEDED
        | ErrorCode::QUEUE_PROCESSING_EXCEPTION_FIELD_SIZE_EXCEEDED
        | ErrorCode::QUEUE_ITEM_PROGRESS_DATA_SIZE_EXCEEDED => ErrorKind::Invalid,
        ErrorCode::NAME_ALREADY_USED
        | ErrorCode::ITEM_ALREADY_EXISTS
        | ErrorCode::ERROR_UPDATING
        | ErrorCode::DUPLICATE_REFERENCE
        | ErrorCode::OPTIMISTIC_CONCURRENCY
        | ErrorCode::UNAVAILABLE_RESOURCES
        | ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS
        | ErrorCode::TRANSACTION_NOT_STARTED
        | ErrorCode::REVIEWER_NOT_AVAILABLE
        | ErrorCode::QUEUE_DEFINITION_PARAMETERS_CANNOT_CHANGE
        | ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS
        | ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY => ErrorKind::Conflict,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_code_and_its_kind() {
        let error: OrchestratorError = Refusal::new(ErrorCode::DUPLICATE_REFERENCE, "duplicate").into();
        assert_eq!((error.kind(), error.code()), (ErrorKind::Conflict, Some(ErrorCode::DUPLICATE_REFERENCE)));
        let error: OrchestratorError = Refusal::claim_lost(ErrorCode::ITEM_NOT_FOUND, "lost").into();
        assert!(error.is_claim_lost() && !error.is_temporary());
        let error: OrchestratorError = Refusal::new(ErrorCode::PARAMETER_INVALID, "wrong").into();
        assert_eq!(error.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn each_cause_is_shown_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("db error")]
        struct Outer(#[source] std::io::Error);

        let refused = OrchestratorError::new(ErrorKind::Other, "PostgreSQL refused a statement on db");
        let error = refused.with_source(Outer(std::io::Error::other("ERROR: no such column")));
        assert_eq!(
            format!("{}", error.with_causes()),
            "PostgreSQL refused a statement on db: db error: ERROR: no such column"
        );
        let message = "cannot open \"a.db\": no such device";
        let error = OrchestratorError::new(ErrorKind::Other, message)
            .with_source(std::io::Error::other("no such device"));
        assert_eq!(format!("{}", error.with_causes()), message);
    }

    #[test]
    fn the_source_is_kept_and_the_message_stays_short() {
        let error = OrchestratorError::new(ErrorKind::Other, "cannot open \"a.db\"")
            .with_source(std::io::Error::other("no such device"));
        assert_eq!(error.to_string(), "cannot open \"a.db\"");
        assert_eq!(error.source().unwrap().to_string(), "no such device");
    }
}
