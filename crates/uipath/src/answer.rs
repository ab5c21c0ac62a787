//! Errors from answers that are no success (orchestrator-api 5): by their code, then their status, then their text.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::timing::Timing;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::kind_for_code;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use performer_wire::error_response::ErrorResponse;

/// Makes the error for an answer.
pub(super) fn error(
    operation: &str,
    host: &str,
    status: StatusCode,
    failure: &ErrorResponse,
    wait: Option<Duration>,
) -> OrchestratorError {
    let kind = kind(status, failure);
    let said = if failure.message.is_empty() {
        failure.code.map(|code| code.text()).filter(|text| !text.is_empty()).unwrap_or("no reason was given")
    } else {
        &failure.message
    };
    let number = failure.code.map(|code| format!(", code {code}")).unwrap_or_default();
    let hint = hint(status, failure).map(|hint| format!("; {hint}")).unwrap_or_default();
    let message = format!("{operation}: {host} answered {}{number}: {said}{hint}", status.as_u16());
    OrchestratorError::new(kind, message)
        .with_code(failure.code)
        .with_trace_id(failure.trace_id.clone())
        .with_retry_after(wait)
}

fn kind(status: StatusCode, failure: &ErrorResponse) -> ErrorKind {
    if failure.claim_lost {
        return ErrorKind::ClaimLost;
    }
    // 1000 is generic, and a 401 is decided by its status alone.
    let specific_code = failure.code.filter(|code| *code != ErrorCode::INVALID_REQUEST);
    if let Some(kind) = specific_code.and_then(kind_for_code)
        && status != StatusCode::UNAUTHORIZED
    {
        return kind;
    }
    match status.as_u16() {
        401 | 403 | 407 => ErrorKind::Unauthorized,
        404 | 410 => ErrorKind::NotFound,
        409 | 412 => ErrorKind::Conflict,
        405 | 501 => ErrorKind::Unsupported,
        408 | 425 | 429 | 500..=599 => ErrorKind::Unavailable,
        300..=399 => ErrorKind::Other,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Other,
    }
}

/// A remedy to append to the message, if there is one.
fn hint(status: StatusCode, failure: &ErrorResponse) -> Option<&'static str> {
    match failure.code {
        Some(ErrorCode::REQUIRED_ORGANIZATION_UNIT) => {
            return Some("name a folder: ?folder=Shared in the URL, or UIPATH_FOLDER_PATH");
        }
        Some(ErrorCode::INVALID_ORGANIZATION_UNIT) => {
            return Some("look at the folder's name, and whether the caller is assigned to it");
        }
        _ => {}
    }
    match status.as_u16() {
        403 => Some("the caller lacks a scope, or a role in this folder"),
        413 => Some("the request is larger than the server takes"),
        _ => None,
    }
}

/// The delay that the server asks for: in seconds, as a date, or in a member of the body.
pub(super) fn retry_after(
    headers: &HeaderMap,
    failure: &ErrorResponse,
    now: Timestamp,
    timing: &Timing,
) -> Option<Duration> {
    let header = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let of_header =
        header.and_then(|text| text.parse::<f64>().ok().or_else(|| seconds_until(text, headers, now)));
    of_header
        .or(failure.retry_after)
        .filter(|seconds| !seconds.is_nan())
        .map(|seconds| timing.bounded_retry_after(seconds))
}

/// Seconds until an HTTP date, by the server's clock if the answer has a date: the clock of this machine may be wrong.
#[expect(clippy::cast_precision_loss, reason = "seconds to wait")]
fn seconds_until(text: &str, headers: &HeaderMap, now: Timestamp) -> Option<f64> {
    let date = |text: &str| jiff::fmt::rfc2822::parse(text).ok().map(|zoned| zoned.timestamp());
    let of_server = headers.get(reqwest::header::DATE).and_then(|value| date(value.to_str().ok()?));
    Some((date(text)?.as_second() - of_server.unwrap_or(now).as_second()) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> OrchestratorError {
        let failure = ErrorResponse::read(body.as_bytes());
        error("StartTransaction", "o.example.com", StatusCode::from_u16(status).unwrap(), &failure, None)
    }

    #[test]
    fn the_code_decides_before_the_status_and_the_status_before_the_text() {
        for (status, body, kind) in [
            (404, r#"{"message":"Invoices does not exist.","errorCode":1002}"#, ErrorKind::NotFound),
            (400, r#"{"message":"x does not exist.","errorCode":1002}"#, ErrorKind::NotFound),
            (409, r#"{"message":"m","errorCode":1016}"#, ErrorKind::Conflict),
            (400, r#"{"message":"m","errorCode":1016}"#, ErrorKind::Conflict),
            (409, r#"{"message":"m","errorCode":1010}"#, ErrorKind::Unavailable),
            (500, r#"{"message":"m","errorCode":1025}"#, ErrorKind::Unavailable),
            (400, r#"{"message":"Invalid OData query options","errorCode":1000}"#, ErrorKind::Invalid),
            (
                401,
                r#"{"message":"Invalid credentials, failed to login.","errorCode":1000}"#,
                ErrorKind::Unauthorized,
            ),
            (409, r#"{"message":"m","errorCode":1857}"#, ErrorKind::Invalid),
            (
                400,
                r#"{"message":"A folder is required for this action.","errorCode":1101}"#,
                ErrorKind::Invalid,
            ),
            (404, r#"{"message":"m","errorCode":1100}"#, ErrorKind::Unauthorized),
            (418, r#"{"message":"m","errorCode":60000}"#, ErrorKind::Invalid),
            (403, "", ErrorKind::Unauthorized),
            (404, "<html>", ErrorKind::NotFound),
            (409, "", ErrorKind::Conflict),
            (413, "", ErrorKind::Invalid),
            (429, "", ErrorKind::Unavailable),
            (502, "<html><title>Bad Gateway</title>", ErrorKind::Unavailable),
            (302, "", ErrorKind::Other),
            (501, "", ErrorKind::Unsupported),
            (600, "", ErrorKind::Other),
        ] {
            assert_eq!(of(status, body).kind(), kind, "{status} {body}");
        }
    }

    #[test]
    fn error_messages_have_host_operation_and_remedy() {
        let error = of(403, r#"{"message":"","errorCode":0,"traceId":"00-1"}"#);
        assert_eq!(
            error.to_string(),
            "StartTransaction: o.example.com answered 403: no reason was given; the caller lacks a scope, or a role in this folder"
        );
        assert_eq!((error.trace_id(), error.code()), (Some("00-1"), None));
        let error = of(400, r#"{"errorCode":1101}"#);
        assert!(
            error.to_string().contains("code 1101: A folder is required")
                && error.to_string().contains("UIPATH_FOLDER_PATH")
        );
    }

    #[test]
    fn waits_are_read_in_every_form_and_capped() {
        let now = "2026-11-06T08:49:00Z".parse().unwrap();
        let wait = |header: &str, date: Option<&str>, body: &str| {
            let mut headers = HeaderMap::new();
            if !header.is_empty() {
                headers.insert(RETRY_AFTER, header.parse().unwrap());
            }
            if let Some(date) = date {
                headers.insert(reqwest::header::DATE, date.parse().unwrap());
            }
            let seconds =
                retry_after(&headers, &ErrorResponse::read(body.as_bytes()), now, &Timing::default())?;
            Some(seconds.as_secs())
        };
        let hours_off = Some("Fri, 06 Nov 2026 05:49:00 GMT");
        for (header, date, body, seconds) in [
            ("7", None, "", Some(7)),
            ("Fri, 06 Nov 2026 08:49:37 GMT", None, "", Some(37)),
            ("Fri, 06 Nov 2026 05:49:37 GMT", hours_off, "", Some(37)),
            ("-5", None, "", Some(0)),
            ("1000000000", None, "", Some(120)),
            ("soon", None, "", None),
            ("", None, r#"{"retry_after":3}"#, Some(3)),
            ("", None, "", None),
        ] {
            assert_eq!(wait(header, date, body), seconds, "{header} {body}");
        }
    }
}
