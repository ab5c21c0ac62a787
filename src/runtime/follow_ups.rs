//! The follow-up items that a transaction gives while it runs.

use std::sync::{Mutex, PoisonError};

use crate::model::NewQueueItem;
use crate::orchestrator::{FOLLOW_UPS_SIZE_LIMIT, FollowUp, MAX_FOLLOW_UPS};
use performer_core::trace_context;

/// What was given so far.
#[derive(Debug, Default)]
pub(super) struct GivenFollowUps(Mutex<Given>);

#[derive(Debug, Default)]
struct Given {
    items: Vec<FollowUp>,
    size: usize,
}

impl GivenFollowUps {
    /// Keeps an item, with the span in which it was given. Once there are more than a report may have, which is refused, no more
    /// are kept.
    pub(super) fn give(&self, queue: String, mut item: NewQueueItem) {
        trace_context::keep(&mut item);
        let follow_up = FollowUp::new(queue, item);
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.items.len() <= MAX_FOLLOW_UPS && given.size <= FOLLOW_UPS_SIZE_LIMIT {
            given.size += follow_up.size();
            given.items.push(follow_up);
        }
    }

    /// Takes what was given so far.
    pub(super) fn take(&self) -> Vec<FollowUp> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).items
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Claim, ItemId, JobKey, TransactionResult};
    use crate::orchestrator::Report;

    fn refusal(given: &GivenFollowUps) -> String {
        let claim = Claim { item: ItemId(1), job: JobKey::from_bytes([1; 16]), token: 1 };
        let result = TransactionResult::Successful { output: None };
        let report = Report::new(claim, result).follow_ups(given.take());
        report.follow_ups.validate(&report.result).unwrap_err().to_string()
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_is_too_much_is_still_refused() {
        let given = GivenFollowUps::default();
        for _ in 0..2 * MAX_FOLLOW_UPS {
            given.give("Payments".to_owned(), NewQueueItem::new(serde_json::json!({})));
        }
        assert_eq!(given.0.lock().unwrap().items.len(), MAX_FOLLOW_UPS + 1);
        assert_eq!(refusal(&given), "there are more than 1000 follow-up items");

        let large = serde_json::json!({ "text": "x".repeat(200_000) });
        for _ in 0..100 {
            given.give("Payments".to_owned(), NewQueueItem::new(&large));
        }
        assert_eq!(given.0.lock().unwrap().items.len(), 21);
        assert!(refusal(&given).contains("the limit is 4194304"));
    }
}
