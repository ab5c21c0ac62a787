//! Follow-up items: items that are added with the success of another one, in the same commit (T4 of
//! `docs/reference/lifecycle.md`).

use std::ops::Deref;
use std::sync::Arc;

use super::{ErrorKind, OrchestratorError};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::item::NewQueueItem;
use crate::model::key::{Claim, JobKey};
use crate::model::result::TransactionResult;

/// The most follow-up items of one report.
pub const MAX_FOLLOW_UPS: usize = 1_000;

/// The most text of all follow-up items of one report together, in bytes of UTF-8: content, references, progress texts and the
/// names of queues.
pub const FOLLOW_UPS_SIZE_LIMIT: usize = 4 * 1024 * 1024;

/// An item to be added together with a success.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FollowUp {
    /// The queue that it is added to, in the folder of the caller.
    pub queue: String,
    /// The item.
    pub item: NewQueueItem,
}

impl FollowUp {
    /// An item for this queue.
    pub fn new(queue: impl Into<String>, item: NewQueueItem) -> Self {
        Self { queue: queue.into(), item }
    }

    /// Its part of [`FOLLOW_UPS_SIZE_LIMIT`], in bytes.
    pub fn size(&self) -> usize {
        let NewQueueItem { reference, progress, .. } = &self.item;
        let texts = [Some(&self.queue), reference.as_ref(), progress.as_ref()];
        let content = self.item.content().map_or(0, |content| content.as_json().len());
        content + texts.into_iter().flatten().map(String::len).sum::<usize>()
    }
}

/// The follow-up items of a report, in the order in which they are added. Clones share them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowUps(Option<Arc<Vec<FollowUp>>>);

impl Deref for FollowUps {
    type Target = [FollowUp];

    fn deref(&self) -> &[FollowUp] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }
}

impl From<Vec<FollowUp>> for FollowUps {
    fn from(items: Vec<FollowUp>) -> Self {
        Self((!items.is_empty()).then(|| Arc::new(items)))
    }
}

impl FollowUps {
    /// These items, added by the job of a claim unless they name another one.
    pub(super) fn of_claim(mut items: Vec<FollowUp>, claim: Claim) -> Self {
        if claim.job != JobKey::CALLER {
            for follow_up in &mut items {
                follow_up.item.origin.creator_job.get_or_insert(claim.job);
            }
        }
        items.into()
    }

    /// Checks what can be checked without the queues: that there are only as many as one report may have, and that the result
    /// is a success.
    ///
    /// # Errors
    ///
    /// Code 1009 for another result; 1015 for more than [`MAX_FOLLOW_UPS`] items or more text than [`FOLLOW_UPS_SIZE_LIMIT`].
    pub fn validate(&self, result: &TransactionResult) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        if !matches!(result, TransactionResult::Successful { .. }) {
            let message = "follow-up items are added with a success only";
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
        }
        if self.len() > MAX_FOLLOW_UPS {
            let message = format!("there are more than {MAX_FOLLOW_UPS} follow-up items");
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        let size: usize = self.iter().map(FollowUp::size).sum();
        if size > FOLLOW_UPS_SIZE_LIMIT {
            let message = format!(
                "the follow-up items have {size} bytes of text, the limit is {FOLLOW_UPS_SIZE_LIMIT}"
            );
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        Ok(())
    }

    /// The error of a report whose follow-up at this index cannot be added: Invalid, with the code of `error`, and a message
    /// that names the follow-up by its number, counted from 1, and by its queue.
    pub fn refused(&self, at: usize, error: OrchestratorError) -> OrchestratorError {
        let queue = self.get(at).map(|follow_up| follow_up.queue.as_str()).unwrap_or_default();
        error.reworded(ErrorKind::Invalid, |said| format!("follow-up {} for queue {queue:?}: {said}", at + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow_up(text: &str) -> FollowUp {
        FollowUp::new("Payments", NewQueueItem::new(serde_json::json!({ "text": text })))
    }

    fn success() -> TransactionResult {
        TransactionResult::Successful { output: None }
    }

    #[test]
    fn only_a_success_has_follow_ups() {
        let none = FollowUps::default();
        let one = FollowUps::from(vec![follow_up("a")]);
        assert_eq!((none.len(), one.len()), (0, 1));
        assert_eq!(none.validate(&TransactionResult::GivenBack), Ok(()));
        assert_eq!(one.validate(&success()), Ok(()));
        for result in
            [TransactionResult::GivenBack, TransactionResult::Failed { exception: None, defer_date: None }]
        {
            assert_eq!(one.validate(&result).unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
        }
    }

    #[test]
    fn their_number_and_size_are_limited() {
        let many = |count: usize| FollowUps::from(vec![follow_up("a"); count]);
        assert_eq!(many(MAX_FOLLOW_UPS).validate(&success()), Ok(()));
        let refusal = many(MAX_FOLLOW_UPS + 1).validate(&success()).unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::PARAMETER_INVALID);
        assert_eq!(refusal.to_string(), "there are more than 1000 follow-up items");

        // {"text":"…"} and Payments.
        let large = "x".repeat(FOLLOW_UPS_SIZE_LIMIT / 32 - 11 - 8);
        let size = |count: usize| FollowUps::from(vec![follow_up(&large); count]);
        assert_eq!(size(32).iter().map(FollowUp::size).sum::<usize>(), FOLLOW_UPS_SIZE_LIMIT);
        assert_eq!(size(32).validate(&success()), Ok(()));
        let refusal = size(33).validate(&success()).unwrap_err();
        assert!(refusal.to_string().contains("the limit is 4194304"), "{refusal}");
    }

    #[test]
    fn a_refusal_names_the_follow_up() {
        let two = FollowUps::from(vec![follow_up("a"), follow_up("b")]);
        let error = two.refused(1, OrchestratorError::no_queue("Payments"));
        assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, Some(ErrorCode::ITEM_NOT_FOUND)));
        assert_eq!(
            error.to_string(),
            "follow-up 2 for queue \"Payments\": queue \"Payments\" does not exist"
        );
    }
}
