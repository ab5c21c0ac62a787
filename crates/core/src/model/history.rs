//! The events of an item: one for each transition, in order.
//!
//! Most events are not stored. The row of an item stores when it was created, when it was claimed and how that attempt
//! ended, and those three are the events of nearly every item. Only a transition that overwrites these columns (the
//! item goes back into the queue, it is deleted) or whose time has no column (an edit, a review, progress) records
//! events beside the row, in the same transaction. So on the busy path of a queue only the item's row is written.

use jiff::Timestamp;

use super::key::ItemId;
use super::lifecycle::ItemState;
use super::status::{ReviewStatus, Status};
use crate::enumeration;

enumeration! {
    /// What happened to an item (orchestrator-api 11). The numbers are ours.
    pub EventAction {
        /// It was added, or made as the copy for a retry.
        Create = 0,
        /// Its data changed.
        Edit = 1,
        /// It was deleted.
        Delete = 2,
        /// Its Status or ReviewStatus changed.
        Status = 3,
        /// A copy of it was made for a retry.
        Retry = 4,
    }
}

/// One event of an item's history: what happened, when, and how the item stood afterwards.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ItemEvent {
    /// The item.
    pub item_id: ItemId,
    /// When it happened, by the store's clock.
    pub timestamp: Timestamp,
    /// What happened.
    pub action: EventAction,
    /// The Status afterwards.
    pub status: Status,
    /// The ReviewStatus afterwards.
    pub review_status: ReviewStatus,
    /// The user who did it, if known. A program that opens the store itself is no user.
    pub user_id: Option<i64>,
}

impl ItemEvent {
    /// An event of an item in the state that it made, by no user.
    pub fn new(
        item_id: ItemId,
        timestamp: Timestamp,
        action: EventAction,
        status: Status,
        review_status: ReviewStatus,
    ) -> Self {
        Self { item_id, timestamp, action, status, review_status, user_id: None }
    }
}

/// The users who did what the row stores. `None`: no user, or not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Actors {
    /// Who added the item, or caused the retry copy.
    pub created_by: Option<i64>,
    /// Who claimed it.
    pub taken_by: Option<i64>,
    /// Who ended the attempt.
    pub ended_by: Option<i64>,
}

/// The most progress events of one attempt. Later progress is stored without an event.
pub const MAX_PROGRESS_EVENTS: u64 = 100;

/// An event, as a transition makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The row version that it made. It sorts the events of one item before the end of the attempt, and those from its
    /// end on; all are different. The end itself has 0: it is the first of its group, and the row does not store how
    /// often its version rose before it.
    pub version: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub action: EventAction,
    /// The Status afterwards.
    pub status: Status,
    /// The ReviewStatus afterwards.
    pub review_status: ReviewStatus,
    /// The user who did it, if known.
    pub user_id: Option<i64>,
}

/// The version of the end of an attempt, among its events.
const END: u64 = 0;

impl Actors {
    /// The user of an event that the row stored.
    pub fn of(self, remembered: &Recorded) -> Option<i64> {
        if remembered.is_before_the_end() { self.taken_by } else { self.ended_by }
    }
}

impl Recorded {
    fn is_before_the_end(&self) -> bool {
        matches!(self.status, Status::New | Status::InProgress)
    }
}

/// The events that the row stores, without the creation: the claim, and the end of the attempt.
pub fn remembered(item: &ItemState) -> Vec<Recorded> {
    let mut events = Vec::new();
    if matches!(item.status, Status::New | Status::Deleted) {
        return events; // earlier events were recorded when the row was overwritten
    }
    let mut remember = |version, at, action, status| {
        events.push(Recorded {
            version,
            at,
            action,
            status,
            review_status: ReviewStatus::None,
            user_id: None,
        });
    };
    if let Some(taken) = item.start_processing {
        remember(item.token, taken, EventAction::Status, Status::InProgress);
    }
    if let Some(ended) = item.end_processing {
        let action = if item.status == Status::Retried { EventAction::Retry } else { EventAction::Status };
        remember(END, ended, action, item.status);
    }
    events
}

/// All events of one item: its creation, the recorded ones, and those its row stores.
pub fn events(id: ItemId, item: &ItemState, actors: Actors, recorded: &[Recorded]) -> Vec<ItemEvent> {
    let created = Recorded {
        version: 0,
        at: item.creation_time,
        action: EventAction::Create,
        status: Status::New,
        review_status: ReviewStatus::None,
        user_id: actors.created_by,
    };
    let mut all = vec![created];
    all.extend_from_slice(recorded);
    all.extend(remembered(item).into_iter().map(|event| Recorded { user_id: actors.of(&event), ..event }));
    all.sort_by_key(|event| (!event.is_before_the_end(), event.version));
    all.iter()
        .map(|event| ItemEvent {
            item_id: id,
            timestamp: event.at,
            action: event.action,
            status: event.status,
            review_status: event.review_status,
            user_id: event.user_id,
        })
        .collect()
}
