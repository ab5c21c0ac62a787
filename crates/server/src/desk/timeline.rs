//! What happened to an item and the other attempts of its chain, oldest first.

use jiff::Timestamp;

use super::html::{self, Html};
use crate::directory::Directory;
use performer_core::model::history::{EventAction, ItemEvent};
use performer_core::model::item::QueueItem;
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, Person};
use performer_core::model::status::{ReviewStatus, Status};

/// One thing that happened.
pub(super) struct TimelineEntry {
    at: Timestamp,
    pub(super) time: Html,
    pub(super) item: i64,
    pub(super) is_this: bool,
    pub(super) text: String,
    pub(super) status: Option<Html>,
    pub(super) review: Html,
    pub(super) who: String,
    /// More about it, such as why an attempt failed.
    pub(super) details: Option<String>,
    pub(super) comment: Option<CommentRow>,
}

/// A comment.
pub(super) struct CommentRow {
    pub(super) id: i64,
    pub(super) text: String,
    /// As it was written, for the form in which it is changed.
    pub(super) written: String,
    /// Whether the reader wrote it, and may change it.
    pub(super) is_own: bool,
}

/// The events and comments of a chain. `reader`: the user who looks at it; `this`: the attempt that is looked at.
pub(super) fn of(
    (chain, events, comments): (&[QueueItem], &[ItemEvent], &[Comment]),
    directory: &Directory,
    reader: &Person,
    this: ItemId,
) -> Vec<TimelineEntry> {
    let name = |user: Option<i64>| {
        let user = user.and_then(|id| directory.user(id));
        user.map(|user| html::line(&user.user_name, 60)).unwrap_or_default()
    };
    let mut all: Vec<TimelineEntry> = Vec::with_capacity(events.len() + comments.len());
    let mut before: Option<&ItemEvent> = None;
    for event in events {
        let item = chain.iter().find(|item| item.id == event.item_id);
        let same_item = before.filter(|before| before.item_id == event.item_id);
        all.push(TimelineEntry {
            at: event.timestamp,
            time: html::time(event.timestamp),
            item: event.item_id.0,
            is_this: event.item_id == this,
            text: text(event, same_item, item),
            status: Some(html::status(event.status)),
            review: html::review(event.review_status),
            who: actor(event, item, name(event.user_id)),
            details: details(event, same_item, item),
            comment: None,
        });
        before = Some(event);
    }
    all.extend(comments.iter().map(|comment| TimelineEntry {
        at: comment.creation_time,
        time: html::time(comment.creation_time),
        item: comment.item_id.0,
        is_this: comment.item_id == this,
        text: "commented".to_owned(),
        status: None,
        review: Html::default(),
        who: comment.author.user_name.as_deref().map(|name| html::line(name, 60)).unwrap_or_default(),
        details: None,
        comment: Some(CommentRow {
            id: comment.id,
            text: html::visible(&comment.text),
            written: comment.text.clone(),
            is_own: comment.author == *reader,
        }),
    }));
    // Events of one time keep their order.
    all.sort_by_key(|entry| entry.at);
    all
}

fn text(event: &ItemEvent, before: Option<&ItemEvent>, item: Option<&QueueItem>) -> String {
    match event.action {
        EventAction::Create => match item.and_then(|item| item.ancestor_id.or(item.manual_ancestor_id)) {
            Some(ancestor) => format!("added as a retry of {ancestor}"),
            None => "added".to_owned(),
        },
        EventAction::Edit => "changed".to_owned(),
        EventAction::Delete => "deleted".to_owned(),
        EventAction::Retry => "failed, and retried as a copy".to_owned(),
        EventAction::Status => {
            let was = before.map(|before| (before.status, before.review_status));
            match (was, event.status, event.review_status) {
                (Some((Status::InProgress, _)), Status::New, _) => "given back into the queue".to_owned(),
                (Some((same, _)), status, review) if same == status && was != Some((status, review)) => {
                    match review {
                        ReviewStatus::None => "not in review any more".to_owned(),
                        ReviewStatus::InReview => "in review".to_owned(),
                        ReviewStatus::Verified => "verified".to_owned(),
                        ReviewStatus::Retried => "retried by hand".to_owned(),
                    }
                }
                (_, Status::InProgress, _) if was.is_some_and(|(status, _)| status == Status::InProgress) => {
                    "made progress".to_owned()
                }
                (_, Status::InProgress, _) => "claimed".to_owned(),
                (_, Status::Successful, _) => "ended with success".to_owned(),
                (_, Status::Failed, _) if was.is_none_or(|(status, _)| status != Status::Failed) => {
                    "failed".to_owned()
                }
                (_, Status::Abandoned, _) => "abandoned: its robot disappeared".to_owned(),
                (_, status, _) => format!("is {status}"),
            }
        }
    }
}

/// Who did it: a user, or the robot that holds the item.
fn actor(event: &ItemEvent, item: Option<&QueueItem>, user: String) -> String {
    let is_of_robot = event.action == EventAction::Status && event.review_status == ReviewStatus::None;
    match item.and_then(|item| item.robot).filter(|_| is_of_robot) {
        Some(robot) if user.is_empty() => format!("robot {robot}"),
        Some(robot) => format!("{user}, robot {robot}"),
        None => user,
    }
}

/// Why an attempt failed, at its end.
fn details(event: &ItemEvent, before: Option<&ItemEvent>, item: Option<&QueueItem>) -> Option<String> {
    let has_ended = event.status.is_final() && before.is_none_or(|before| !before.status.is_final());
    let reason = &item?.processing_exception.as_ref().filter(|_| has_ended)?.reason;
    Some(html::line(reason, 300))
}
