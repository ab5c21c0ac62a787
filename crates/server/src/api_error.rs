//! Errors of the API: a status, a code and a message for the caller (orchestrator-api 5, choices 3). The cause of an
//! internal error is only logged.

use axum::http::StatusCode;

use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};

/// An error response.
#[derive(Debug)]
pub(super) struct ApiError {
    pub(super) status: StatusCode,
    pub(super) code: u16,
    pub(super) message: String,
    /// The value of `Retry-After`, in seconds.
    pub(super) retry_after: Option<u64>,
    /// The value of `Allow`, for a wrong method.
    pub(super) allow: Option<String>,
    /// The cause, for the log only.
    pub(super) cause: Option<String>,
    /// The claim presented is no longer valid.
    pub(super) claim_lost: bool,
}

impl ApiError {
    pub(super) fn new(status: StatusCode, code: u16, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            retry_after: None,
            allow: None,
            cause: None,
            claim_lost: false,
        }
    }

    /// 404 for an unknown path.
    pub(super) fn no_route() -> Self {
        Self::new(StatusCode::NOT_FOUND, 0, "There is nothing at this address.")
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, ErrorCode::ITEM_NOT_FOUND.number(), message)
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::INVALID_REQUEST.number(), message)
    }

    pub(super) fn invalid_argument(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, ErrorCode::INVALID_ARGUMENT.number(), message)
    }

    pub(super) fn not_authenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, 0, "You are not authenticated!")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, 0, "You are not authorized!")
    }

    /// 403 for a change of a user who has more permissions than the caller.
    pub(super) fn user_not_editable() -> Self {
        let message = "You do not have the right to edit this user.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::USER_NOT_EDITABLE.number(), message)
    }

    pub(super) fn no_folder_given() -> Self {
        let code = ErrorCode::REQUIRED_ORGANIZATION_UNIT.number();
        Self::new(StatusCode::BAD_REQUEST, code, "A folder is required for this action.")
    }

    pub(super) fn no_such_folder() -> Self {
        let message = "Folder does not exist or the user does not have access to the folder.";
        Self::new(StatusCode::FORBIDDEN, ErrorCode::INVALID_ORGANIZATION_UNIT.number(), message)
    }

    pub(super) fn too_many_requests(seconds: u64) -> Self {
        let mut failure = Self::new(StatusCode::TOO_MANY_REQUESTS, 0, "Too many requests. Try again later.");
        failure.retry_after = Some(seconds);
        failure
    }

    pub(super) fn unavailable() -> Self {
        let code = ErrorCode::SERVICE_UNAVAILABLE.number();
        let mut failure =
            Self::new(StatusCode::SERVICE_UNAVAILABLE, code, "The service is not available at this moment.");
        failure.retry_after = Some(1);
        failure
    }

    /// 504 for a change that timed out. It may have been made, so there is no `Retry-After`.
    pub(super) fn outcome_unknown() -> Self {
        Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            0,
            "The request timed out. It may or may not have been executed.",
        )
    }

    /// 500. The cause is logged and not shown to the caller.
    pub(super) fn internal(cause: impl Into<String>) -> Self {
        let mut failure = Self::new(StatusCode::INTERNAL_SERVER_ERROR, 0, "An internal error occurred.");
        failure.cause = Some(cause.into());
        failure
    }

    /// The error of a code, with the vendor's text where one is published (orchestrator-api 5.3).
    fn of_code(code: ErrorCode, kind: ErrorKind, message: &str) -> Self {
        let message = match code {
            ErrorCode::DUPLICATE_REFERENCE => "Error creating Transaction. Duplicate Reference.".to_owned(),
            ErrorCode::TRANSACTION_REFERENCE_REQUIRED
            | ErrorCode::CREDENTIAL_ASSET_EMPTY_PASSWORD_FOR_NEW_USER
            | ErrorCode::CREDENTIAL_ASSET_EMPTY_FOR_NEW_ROBOT
            | ErrorCode::ASSET_TYPE_NON_UPDATABLE
            | ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT => code.text().to_owned(),
            _ => sentence(message),
        };
        Self::new(status_of(code, kind), code.number(), message)
    }
}

/// The HTTP status of a code (orchestrator-api 5.2, 5.3, choices 3).
fn status_of(code: ErrorCode, kind: ErrorKind) -> StatusCode {
    match code.number() {
        1002 => StatusCode::NOT_FOUND,
        1007 | 1017 | 1100 => StatusCode::FORBIDDEN,
        1001
        | 1004
        | 1012
        | 1013
        | 1016
        | 1020
        | 1300..=1302
        | 1657..=1659
        | 1851..=1853
        | 1855
        | 1866
        | 1867 => StatusCode::CONFLICT,
        1857 | 1858 => StatusCode::BAD_REQUEST,
        1865 | 1868..=1871 => StatusCode::PAYLOAD_TOO_LARGE,
        1010 | 1025 => StatusCode::SERVICE_UNAVAILABLE,
        _ => match kind {
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict | ErrorKind::ClaimLost => StatusCode::CONFLICT,
            ErrorKind::Unauthorized => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        },
    }
}

/// Turns a lower-case fragment into a sentence.
fn sentence(fragment: &str) -> String {
    let mut letters = fragment.chars();
    let Some(first) = letters.next() else { return String::new() };
    let end = if fragment.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{}{}{end}", first.to_uppercase(), letters.as_str())
}

impl From<OrchestratorError> for ApiError {
    fn from(error: OrchestratorError) -> Self {
        let kind = error.kind();
        match (kind, error.code()) {
            // These messages name files and statements: they are logged and not shown to the caller.
            (ErrorKind::Unavailable, _) => {
                let mut failure = Self::unavailable();
                failure.cause = Some(format!("{error:?}"));
                failure
            }
            (ErrorKind::Other, Some(code)) if code.is_of_encryption() => {
                let mut failure = Self::internal(format!("{error:?}"));
                failure.code = code.number();
                failure.message =
                    "A secret cannot be encrypted or decrypted. The log of the server says why.".to_owned();
                failure
            }
            (ErrorKind::Unknown | ErrorKind::Other, _) => Self::internal(format!("{error:?}")),
            (_, Some(code)) => {
                let failure = Self::of_code(code, kind, &error.to_string());
                Self { claim_lost: kind == ErrorKind::ClaimLost, ..failure }
            }
            (ErrorKind::NotFound, None) => Self::not_found(sentence(&error.to_string())),
            (_, None) => Self::invalid(sentence(&error.to_string())),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        OrchestratorError::from(refusal).into()
    }
}

/// An API error as an error of a back end.
pub(super) fn orchestrator_error(failure: ApiError) -> OrchestratorError {
    let kind = match failure.status.as_u16() {
        400..=499 => ErrorKind::Invalid,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let message = failure.cause.unwrap_or(failure.message);
    OrchestratorError::new(kind, message.trim_end_matches('.').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_their_documented_status() {
        for (code, status) in [
            (1850, 400),
            (1851, 409),
            (1852, 409),
            (1866, 409),
            (1853, 409),
            (1855, 409),
            (1857, 400),
            (1858, 400),
            (1865, 413),
            (1868, 413),
            (1869, 413),
            (1870, 413),
            (1871, 413),
            (1020, 409),
            (1001, 409),
            (1002, 404),
            (1016, 409),
            (1000, 400),
            (1004, 409),
            (1302, 409),
            (1500, 400),
            (1501, 400),
            (1502, 400),
            (1503, 404),
            (1504, 404),
            (1021, 500),
            (1800, 500),
            (1801, 500),
            (1009, 400),
            (1014, 400),
            (1015, 400),
            (1100, 403),
            (1101, 400),
        ] {
            let failure = ApiError::from(Refusal::new(ErrorCode::new(code), "no"));
            assert_eq!((failure.code, failure.status.as_u16()), (code, status));
        }
    }

    #[test]
    fn internal_causes_are_not_shown() {
        for kind in [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Other] {
            let failure = ApiError::from(OrchestratorError::new(kind, "/var/secret.db: no such table: item"));
            assert!(failure.status.is_server_error());
            assert!(!failure.message.contains("secret") && failure.cause.unwrap().contains("secret"));
        }
        let failure =
            ApiError::from(OrchestratorError::new(ErrorKind::NotFound, "queue \"x\" does not exist"));
        assert_eq!((failure.status.as_u16(), failure.message.as_str()), (404, "Queue \"x\" does not exist."));
    }
}
