//! Short functions for the results that robots report.

use jiff::Timestamp;
use performer::model::{ExceptionType, Output, ProcessingException, TransactionResult};

use crate::fixture::start_of_time;

/// A success without an output.
pub fn ok() -> TransactionResult {
    TransactionResult::Successful { output: None }
}

/// A success with this output.
///
/// # Panics
///
/// If it is not an output: a flat JSON object.
pub fn ok_with(output: &serde_json::Value) -> TransactionResult {
    TransactionResult::Successful { output: Some(Output::new(output).unwrap()) }
}

/// A failure with an exception of this type, thrown at [`start_of_time`].
pub fn failed(exception_type: ExceptionType, reason: &str) -> TransactionResult {
    let exception = ProcessingException::new(exception_type, reason, start_of_time());
    TransactionResult::Failed { exception: Some(exception), defer_date: None }
}

/// A failure with an application exception, which the queue may retry.
pub fn application(reason: &str) -> TransactionResult {
    failed(ExceptionType::ApplicationException, reason)
}

/// A failure with a business exception, which is never retried.
pub fn business(reason: &str) -> TransactionResult {
    failed(ExceptionType::BusinessException, reason)
}

/// A postponement to this time.
pub fn postponed(defer_date: Timestamp) -> TransactionResult {
    TransactionResult::Postponed { defer_date, due_date: None }
}
