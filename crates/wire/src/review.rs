//! Reviews of items: bulk operations, comments, events (orchestrator-api 10 and 11).

use serde::{Deserialize, Serialize};

use super::item::RowVersion;
use super::{ApiTime, EnumValue};
use performer_core::model::history::{EventAction, ItemEvent};
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, ItemVersion, Person};
use performer_core::model::status::{ReviewStatus, Status};

/// An item with the version that the caller last saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct VersionedItem {
    pub id: i64,
    pub row_version: RowVersion,
}

impl From<&ItemVersion> for VersionedItem {
    fn from(item: &ItemVersion) -> Self {
        Self { id: item.id.0, row_version: RowVersion(item.row_version) }
    }
}

/// The body of DeleteBulk, SetItemReviewStatus, SetItemReviewer and UnsetItemReviewer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BulkItemsRequest {
    /// Only for SetItemReviewStatus.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<EnumValue<ReviewStatus>>,
    /// Only for SetItemReviewer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    pub queue_items: Vec<VersionedItem>,
}

/// The response to a bulk operation. The HTTP status is 200 even if some items failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BulkItemsResponse {
    pub success: Option<bool>,
    pub message: Option<String>,
    /// The ids of the items that were refused.
    pub failed_items: Option<Vec<i64>>,
}

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueItemCommentDto {
    pub text: String,
    pub queue_item_id: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_name: Option<String>,
}

impl QueueItemCommentDto {
    /// A new comment.
    pub fn new(item: ItemId, text: String) -> Self {
        Self { text, queue_item_id: item.0, id: None, creation_time: None, user_id: None, user_name: None }
    }

    /// Converts the comment.
    pub fn into_comment(self) -> Comment {
        let author = Person { user_id: self.user_id, user_name: self.user_name };
        let creation_time = self.creation_time.map_or(jiff::Timestamp::UNIX_EPOCH, |at| at.0);
        Comment::new(
            self.id.unwrap_or_default(),
            ItemId(self.queue_item_id),
            self.text,
            author,
            creation_time,
        )
    }
}

/// One event of an item's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct QueueItemEventDto {
    pub id: Option<i64>,
    pub queue_item_id: i64,
    pub timestamp: ApiTime,
    pub action: EnumValue<EventAction>,
    pub status: Option<EnumValue<Status>>,
    pub review_status: Option<EnumValue<ReviewStatus>>,
    pub user_id: Option<i64>,
}

impl QueueItemEventDto {
    /// Converts the event; `None` for an unknown action or status.
    pub fn into_event(self) -> Option<ItemEvent> {
        let (action, status) = (self.action.known()?, self.status?.known()?);
        let review_status = self.review_status.as_ref().and_then(EnumValue::known);
        let review_status = review_status.unwrap_or(ReviewStatus::None);
        let id = ItemId(self.queue_item_id);
        let mut event = ItemEvent::new(id, self.timestamp.0, action, status, review_status);
        event.user_id = self.user_id;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;

    #[test]
    fn the_bodies_of_the_contract_are_read_and_written() {
        let review: BulkItemsRequest =
            round_trip(r#"{"status":"Retried","queueItems":[{"Id":1,"RowVersion":"AAAAAAAAKZc="}]}"#);
        assert_eq!(review.status, Some(ReviewStatus::Retried.into()));
        let reviewer: BulkItemsRequest = round_trip(r#"{"userId":7,"queueItems":[]}"#);
        assert_eq!(reviewer.user_id, Some(7));
        let answer: BulkItemsResponse = round_trip(r#"{"Success":true,"Message":null,"FailedItems":[3]}"#);
        assert_eq!(answer.failed_items, Some(vec![3]));
        let comment: QueueItemCommentDto = round_trip(
            r#"{"Id":1,"Text":"why?","QueueItemId":9,"CreationTime":"2026-09-01T00:00:00Z","UserId":3,"UserName":"ann"}"#,
        );
        assert_eq!(comment.into_comment().author.user_name.as_deref(), Some("ann"));
        let event: QueueItemEventDto = round_trip(
            r#"{"Id":2,"QueueItemId":9,"Timestamp":"2018-03-07T16:02:59.09Z","Action":"Create","Data":null,"Status":"New","ReviewStatus":"None"}"#,
        );
        assert_eq!(event.clone().into_event().unwrap().action, EventAction::Create);
        let newer = QueueItemEventDto { action: EnumValue::Unknown("Moved".to_owned()), ..event };
        assert_eq!(newer.into_event(), None);
    }
}
