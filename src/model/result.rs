//! What a robot reports about a transaction (contract section 9.1).

use jiff::Timestamp;

use super::content::Output;
use super::enumeration::enumeration;
use super::exception::{ExceptionType, ProcessingException};

/// The end of one transaction, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TransactionResult {
    /// It ended well.
    Successful {
        /// What it leaves with the item.
        output: Option<Output>,
    },
    /// It failed.
    Failed {
        /// Why. Without one the item is Failed and not retried.
        exception: Option<ProcessingException>,
        /// Not before this time is the retry copy handed out, if there is one.
        defer_date: Option<Timestamp>,
    },
    /// The item goes back into the queue until `defer_date`: no failure, no retry used.
    Postponed {
        /// Not before this time is the item handed out again. Must be in the future.
        defer_date: Timestamp,
        /// A new due date, or `None` to keep the one there is.
        due_date: Option<Timestamp>,
    },
    /// The item goes back into the queue at once, as if it had never been taken: a performer that
    /// stops gives back what it did not finish. No retry is used.
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

enumeration! {
    /// How one attempt ended. Kept with the item, because its Status does not tell: a Retried item may
    /// have failed or have been abandoned, a Deleted one may have been anything. The numbers are ours.
    pub Outcome {
        /// It ended well.
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
