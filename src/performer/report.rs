//! What a transaction returned becomes what is reported. The only such match.

use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use crate::exception::{ApplicationException, Exception};
use crate::model::content::Output;
use crate::model::exception::{ExceptionType, ProcessingException};
use crate::model::result::TransactionResult;
use crate::model::stored_time;

/// How one run of a transaction ended, before anybody was told.
#[derive(Debug)]
pub(super) enum Ended<O> {
    /// It returned.
    Returned(Result<O, Exception>),
    /// Its content did not fit its type.
    ContentDoesNotFit(String),
    /// It panicked.
    Panicked(String),
    /// Its time limit was over.
    TimedOut(Duration),
    /// The performer was killed.
    Interrupted,
}

/// What to report.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) result: TransactionResult,
    /// What to report when a postponement is refused because its time has passed.
    pub(super) instead: Option<TransactionResult>,
    /// A remark for the log.
    pub(super) remark: Option<String>,
}

/// `now` is the time by the store's clock.
pub(super) fn verdict<O: Serialize>(ended: Ended<O>, now: Timestamp) -> Verdict {
    match ended {
        Ended::Returned(Ok(output)) => {
            let (output, remark) = Output::of(&output);
            Verdict { result: TransactionResult::Successful { output }, instead: None, remark }
        }
        Ended::Returned(Err(exception)) => of_exception(exception, now),
        Ended::ContentDoesNotFit(reason) => {
            let reason = format!("the content does not fit: {reason}");
            failed(ProcessingException::new(ExceptionType::BusinessException, reason, now), None)
        }
        Ended::Panicked(text) => application(ApplicationException::new(format!("panicked: {text}")), now),
        Ended::TimedOut(limit) => application(
            ApplicationException::new(format!("did not end within its time limit of {limit:?}")),
            now,
        ),
        Ended::Interrupted => Verdict { result: TransactionResult::GivenBack, instead: None, remark: None },
    }
}

fn of_exception(exception: Exception, now: Timestamp) -> Verdict {
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
            // A delay that is over by now has been waited for. A time in the past is a mistake of the author,
            // and shows as one: otherwise the item would come back at once, for ever.
            let instead = if postpone.is_delay() {
                TransactionResult::GivenBack
            } else {
                let reason = format!("postponed to {defer_date}, which is not in the future");
                application(ApplicationException::new(reason), now).result
            };
            let result = TransactionResult::Postponed { defer_date, due_date: postpone.due_date() };
            Verdict { result, instead: Some(instead), remark: None }
        }
    }
}

fn application(exception: ApplicationException, now: Timestamp) -> Verdict {
    let (reason, details, retry_after, image) = exception.into_parts();
    let record = ProcessingException::new(ExceptionType::ApplicationException, reason, now)
        .details(details)
        .image(image.map(|path| path.display().to_string()));
    let defer_date = retry_after.map(|delay| stored_time::after(now, delay));
    failed(record, defer_date)
}

fn failed(exception: ProcessingException, defer_date: Option<Timestamp>) -> Verdict {
    let result = TransactionResult::Failed { exception: Some(exception), defer_date };
    Verdict { result, instead: None, remark: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exception::BusinessException;
    use crate::model::result::Outcome;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn exception(ended: Ended<()>) -> (Outcome, ProcessingException, Option<Timestamp>) {
        let result = verdict(ended, NOW).result;
        let outcome = result.outcome().unwrap();
        match result {
            TransactionResult::Failed { exception: Some(exception), defer_date } => {
                (outcome, exception, defer_date)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn each_end_has_its_result() {
        let ok = verdict(Ended::Returned(Ok(serde_json::json!({"id": 7}))), NOW);
        assert_eq!(ok.result.outcome(), Some(Outcome::Successful));

        let business = BusinessException::new("no such customer").details("17850");
        let (outcome, record, _) = exception(Ended::Returned(Err(business.into())));
        assert_eq!(outcome, Outcome::BusinessException);
        assert_eq!((record.reason.as_str(), record.details.as_deref()), ("no such customer", Some("17850")));

        let application =
            ApplicationException::new("down").retry_after(Duration::from_secs(60)).image("a.png");
        let (outcome, record, defer_date) = exception(Ended::Returned(Err(application.into())));
        assert_eq!(outcome, Outcome::ApplicationException);
        assert_eq!(record.associated_image_file_path.as_deref(), Some("a.png"));
        assert_eq!(defer_date.unwrap().as_second(), 60);

        assert_eq!(
            exception(Ended::ContentDoesNotFit("missing field".to_owned())).0,
            Outcome::BusinessException
        );
        let (outcome, record, _) = exception(Ended::Panicked("at the disco".to_owned()));
        assert_eq!(
            (outcome, record.reason.as_str()),
            (Outcome::ApplicationException, "panicked: at the disco")
        );
        let (outcome, record, _) = exception(Ended::TimedOut(Duration::from_secs(5)));
        assert_eq!(outcome, Outcome::ApplicationException);
        assert_eq!(record.reason, "did not end within its time limit of 5s");
        assert_eq!(verdict(Ended::<()>::Interrupted, NOW).result, TransactionResult::GivenBack);
    }

    #[test]
    fn a_postponement_knows_what_to_do_when_its_time_has_passed() {
        let delay = verdict(Ended::<()>::Returned(Err(Exception::postpone_for(Duration::from_secs(1)))), NOW);
        assert_eq!(delay.instead, Some(TransactionResult::GivenBack));
        for mistake in [Exception::postpone_until(NOW), Exception::postpone_for(Duration::ZERO)] {
            let verdict = verdict(Ended::<()>::Returned(Err(mistake)), NOW);
            assert_eq!(verdict.instead.unwrap().outcome(), Some(Outcome::ApplicationException));
        }
    }
}
