//! What a robot reports about a transaction (orchestrator-api 9.1).

use jiff::Timestamp;

use super::content::Output;
use super::exception::{ExceptionType, ProcessingException};
use crate::enumeration;

/// The end of one transaction, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    /// Success.
    Successful {
        /// The output to store with the item.
        output: Option<Output>,
    },
    /// It failed.
    Failed {
        /// Why. Without one the item is Failed and not retried.
        exception: Option<ProcessingException>,
        /// The retry copy, if there is one, is not claimed before this time.
        defer_date: Option<Timestamp>,
    },
    /// The item goes back into the queue until `defer_date`: no failure, no retry used.
    Postponed {
        /// The item is not claimed again before this time. Must be in the future.
        defer_date: Timestamp,
        /// A new due date; `None` leaves it unchanged.
        due_date: Option<Timestamp>,
    },
    /// The item goes back into the queue at once, as if it had never been claimed: a performer that stops gives back
    /// unfinished items. No retry is used.
    GivenBack,
}

impl TransactionResult {
    /// How the attempt ended, or `None` when the item goes back into the queue.
    pub fn outcome(&self) -> Option<Outcome> {
        match self {
            Self::Successful { .. } => Some(Outcome::Successful),
            Self::Failed { exception, .. } => Some(match exception {
                Some(ProcessingException { exception_type: ExceptionType::BusinessException, .. }) => {
                    Outcome::BusinessException
                }
                Some(ProcessingException { exception_type: ExceptionType::ApplicationException, .. }) => {
                    Outcome::ApplicationException
                }
                None => Outcome::Unspecified,
            }),
            Self::Postponed { .. } | Self::GivenBack => None,
        }
    }
}

/// The end of a transaction as a caller over HTTP states it (orchestrator-api 9.1). Its meaning depends on the time of
/// the store that records it: see [`result_at`](Self::result_at).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatedResult {
    /// `IsSuccessful`; false if it was absent.
    pub is_successful: bool,
    /// Why it failed.
    pub exception: Option<ProcessingException>,
    /// Without an exception: the item is not claimed again before this time. With one: the retry copy.
    pub defer_date: Option<Timestamp>,
    /// A new due date for a postponed item; `None` leaves it unchanged.
    pub due_date: Option<Timestamp>,
}

impl StatedResult {
    /// The result, if it is recorded at `now`.
    ///
    /// Without an exception, a `DeferDate` in the future postpones the item, whatever `IsSuccessful` is: the vendor's
    /// activity postpones with true. A date that has passed is ignored if `IsSuccessful` is true, which makes the item
    /// Successful; if it is false, the item is given back.
    pub fn result_at(&self, now: Timestamp) -> TransactionResult {
        match (&self.exception, self.defer_date) {
            (None, Some(defer_date)) if defer_date > now => {
                TransactionResult::Postponed { defer_date, due_date: self.due_date }
            }
            _ if self.is_successful => TransactionResult::Successful { output: None },
            (None, Some(_)) => TransactionResult::GivenBack,
            (exception, defer_date) => TransactionResult::Failed { exception: exception.clone(), defer_date },
        }
    }
}

enumeration! {
    /// How one attempt ended. Stored with the item, because its Status does not show it: a Retried item may have failed
    /// or have been abandoned, and a Deleted one may have ended in any way. The numbers are ours.
    pub Outcome {
        /// Success.
        Successful = 1,
        /// The data was wrong.
        BusinessException = 2,
        /// The world was wrong.
        ApplicationException = 3,
        /// It failed, and no exception was given.
        Unspecified = 4,
        /// Its robot disappeared.
        Abandoned = 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_future_date_without_an_exception_postpones_whatever_is_said_of_success() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let second = std::time::Duration::from_secs(1);
        let (later, due) = (now + second, Some(now + 2 * second));
        let stated = |is_successful, defer_date| StatedResult {
            is_successful,
            exception: None,
            defer_date,
            due_date: due,
        };
        let postponed = TransactionResult::Postponed { defer_date: later, due_date: due };
        let successful = TransactionResult::Successful { output: None };
        for (is_successful, defer_date, expected) in [
            (true, Some(later), &postponed),
            (false, Some(later), &postponed),
            (true, Some(now), &successful),
            (true, None, &successful),
            (false, Some(now), &TransactionResult::GivenBack),
            (false, Some(now - second), &TransactionResult::GivenBack),
            (false, None, &TransactionResult::Failed { exception: None, defer_date: None }),
        ] {
            assert_eq!(
                stated(is_successful, defer_date).result_at(now),
                *expected,
                "{is_successful} {defer_date:?}"
            );
        }
        // A result may be stated before the date and recorded after it.
        assert_eq!(stated(true, Some(later)).result_at(later), successful);
    }

    #[test]
    fn with_an_exception_the_date_is_that_of_the_retry() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let exception = ProcessingException::new(ExceptionType::ApplicationException, "down", now);
        let later = Some(now + std::time::Duration::from_secs(1));
        let mut stated =
            StatedResult { exception: Some(exception.clone()), defer_date: later, ..StatedResult::default() };
        let failed = TransactionResult::Failed { exception: Some(exception), defer_date: later };
        assert_eq!(stated.result_at(now), failed);
        stated.is_successful = true;
        assert_eq!(stated.result_at(now), TransactionResult::Successful { output: None });
    }
}
