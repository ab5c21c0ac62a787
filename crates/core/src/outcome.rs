//! Turns what a transaction returned into the result that is reported. No other code does this.

use std::time::Duration;

use jiff::Timestamp;

use crate::exception::{ApplicationException, Exception};
use crate::model::content::Output;
use crate::model::exception::{ExceptionType, ProcessingException};
use crate::model::result::TransactionResult;
use crate::model::stored_time;
use crate::model::task::NewTask;

/// An output as it will be stored, and what was left out of it, for the log.
pub type WrittenOutput = (Option<Output>, Option<String>);

/// How one run of a transaction ended.
#[derive(Debug)]
pub enum RunOutcome {
    /// It returned.
    Returned(Result<WrittenOutput, Exception>),
    /// The content could not be deserialized.
    ContentMismatch(String),
    /// It panicked.
    Panicked(String),
    /// It exceeded its time limit.
    TimedOut(Duration),
    /// The performer was killed.
    Interrupted,
}

/// The result to report.
#[derive(Debug, PartialEq, Eq)]
pub struct ReportedResult {
    /// The result.
    pub result: TransactionResult,
    /// The task that is made with a postponement.
    pub ask: Option<Box<NewTask>>,
    /// The result to report if a postponement is refused because its time has passed.
    pub fallback: Option<TransactionResult>,
    /// A remark for the log.
    pub remark: Option<String>,
}

/// The result to report for a run; `now` is the time by the store's clock.
pub fn reported_result(ended: RunOutcome, now: Timestamp) -> ReportedResult {
    match ended {
        RunOutcome::Returned(Ok((output, remark))) => {
            ReportedResult { remark, ..of_result(TransactionResult::Successful { output }) }
        }
        RunOutcome::Returned(Err(exception)) => of_exception(exception, now),
        RunOutcome::ContentMismatch(reason) => {
            let reason = format!("the content does not fit: {reason}");
            failed(ProcessingException::new(ExceptionType::BusinessException, reason, now), None)
        }
        RunOutcome::Panicked(text) => {
            application(ApplicationException::new(format!("panicked: {text}")), now)
        }
        RunOutcome::TimedOut(limit) => application(
            ApplicationException::new(format!("did not end within its time limit of {limit:?}")),
            now,
        ),
        RunOutcome::Interrupted => of_result(TransactionResult::GivenBack),
    }
}

/// The result to report instead of a success that cannot be recorded, because it or one of its follow-up items is refused.
pub fn success_refused(reason: &str, now: Timestamp) -> ReportedResult {
    application(ApplicationException::new(format!("the success could not be recorded: {reason}")), now)
}

/// The result to report instead of a task that cannot be made.
pub fn ask_refused(reason: &str, now: Timestamp) -> ReportedResult {
    application(ApplicationException::new(format!("nobody could be asked: {reason}")), now)
}

fn of_exception(exception: Exception, now: Timestamp) -> ReportedResult {
    match exception {
        Exception::Business(exception) => {
            let (reason, details) = exception.into_parts();
            let record =
                ProcessingException::new(ExceptionType::BusinessException, reason, now).details(details);
            failed(record, None)
        }
        Exception::Application(exception) => application(exception, now),
        Exception::Postpone(postpone) => {
            let defer_date = postpone.defer_date(now);
            // A delay may have passed before it was reported; then the item goes back at once. A fixed time in the past is a
            // mistake of the author and must fail: otherwise the item would come back at once, for ever.
            let fallback = if postpone.is_delay() {
                TransactionResult::GivenBack
            } else {
                let reason = format!("postponed to {defer_date}, which is not in the future");
                application(ApplicationException::new(reason), now).result
            };
            let result = TransactionResult::Postponed { defer_date, due_date: postpone.due_date() };
            ReportedResult { fallback: Some(fallback), ..of_result(result) }
        }
        Exception::Ask(task) => {
            let result = TransactionResult::Postponed { defer_date: task.deadline(now), due_date: None };
            ReportedResult { ask: Some(task), ..of_result(result) }
        }
    }
}

fn application(exception: ApplicationException, now: Timestamp) -> ReportedResult {
    let (reason, details, retry_after, image) = exception.into_parts();
    let record = ProcessingException::new(ExceptionType::ApplicationException, reason, now)
        .details(details)
        .image(image.map(|path| path.display().to_string()));
    let defer_date = retry_after.map(|delay| stored_time::after(now, delay));
    failed(record, defer_date)
}

fn failed(exception: ProcessingException, defer_date: Option<Timestamp>) -> ReportedResult {
    of_result(TransactionResult::Failed { exception: Some(exception), defer_date })
}

fn of_result(result: TransactionResult) -> ReportedResult {
    ReportedResult { result, ask: None, fallback: None, remark: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exception::BusinessException;

    use crate::model::result::Outcome;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn exception(ended: RunOutcome) -> (Outcome, ProcessingException, Option<Timestamp>) {
        let result = reported_result(ended, NOW).result;
        let outcome = result.outcome().unwrap();
        match result {
            TransactionResult::Failed { exception: Some(exception), defer_date } => {
                (outcome, exception, defer_date)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_outcome_has_its_result() {
        let ok = reported_result(RunOutcome::Returned(Ok(Output::of(&serde_json::json!({"id": 7})))), NOW);
        assert_eq!(ok.result.outcome(), Some(Outcome::Successful));

        let business = BusinessException::new("no such customer").details("17850");
        let (outcome, record, _) = exception(RunOutcome::Returned(Err(business.into())));
        assert_eq!(outcome, Outcome::BusinessException);
        assert_eq!((record.reason.as_str(), record.details.as_deref()), ("no such customer", Some("17850")));

        let application =
            ApplicationException::new("down").retry_after(Duration::from_secs(60)).image("a.png");
        let (outcome, record, defer_date) = exception(RunOutcome::Returned(Err(application.into())));
        assert_eq!(outcome, Outcome::ApplicationException);
        assert_eq!(record.associated_image_file_path.as_deref(), Some("a.png"));
        assert_eq!(defer_date.unwrap().as_second(), 60);

        assert_eq!(
            exception(RunOutcome::ContentMismatch("missing field".to_owned())).0,
            Outcome::BusinessException
        );
        let (outcome, record, _) = exception(RunOutcome::Panicked("at the disco".to_owned()));
        assert_eq!(
            (outcome, record.reason.as_str()),
            (Outcome::ApplicationException, "panicked: at the disco")
        );
        let (outcome, record, _) = exception(RunOutcome::TimedOut(Duration::from_secs(5)));
        assert_eq!(outcome, Outcome::ApplicationException);
        assert_eq!(record.reason, "did not end within its time limit of 5s");
        assert_eq!(reported_result(RunOutcome::Interrupted, NOW).result, TransactionResult::GivenBack);
    }

    #[test]
    fn a_question_postpones_until_its_time_is_over() {
        let task = NewTask::new("Approve").answer_within(Duration::from_secs(60));
        let asked = reported_result(RunOutcome::Returned(Err(Exception::ask(task.clone()))), NOW);
        assert_eq!(asked.ask.as_deref(), Some(&task));
        let defer_date = Timestamp::from_second(60).unwrap();
        assert_eq!(asked.result, TransactionResult::Postponed { defer_date, due_date: None });
        assert_eq!(ask_refused("no", NOW).result.outcome(), Some(Outcome::ApplicationException));
    }

    #[test]
    fn a_postponement_has_a_fallback_for_a_past_time() {
        let delay =
            reported_result(RunOutcome::Returned(Err(Exception::postpone_for(Duration::from_secs(1)))), NOW);
        assert_eq!(delay.fallback, Some(TransactionResult::GivenBack));
        for mistake in [Exception::postpone_until(NOW), Exception::postpone_for(Duration::ZERO)] {
            let reported_result = reported_result(RunOutcome::Returned(Err(mistake)), NOW);
            assert_eq!(reported_result.fallback.unwrap().outcome(), Some(Outcome::ApplicationException));
        }
    }
}
