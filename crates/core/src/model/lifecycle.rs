// Over 500 lines, because the table and the code that is the table are read side by side.

//! What may happen to an item: the only place that knows the rules. The table in full, with the moves that are forbidden and the
//! invariants, is `docs/reference/lifecycle.md`.
//!
//! [`transition`] is pure: from an item, an event, the policy of its queue and the time it makes a [`Transition`], or
//! refuses. A store writes a transition with one guarded write, and everything in one transition (the
//! item, its retry copy, its events) in one transaction. A refused event changes nothing at all.
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> New: T1 add
//!     [*] --> InProgress: T2 add and start
//!     New --> InProgress: T3 take
//!     InProgress --> Successful: T4 success
//!     InProgress --> Failed: T5 BusinessException
//!     InProgress --> Retried: T6 ApplicationException, retries left (+ copy)
//!     InProgress --> Failed: T7 ApplicationException, no retry left
//!     InProgress --> New: T8 postpone, T9 give back
//!     InProgress --> InProgress: T10 progress
//!     InProgress --> Abandoned: T15 its robot is gone
//!     InProgress --> Retried: T15 and RetryAbandonedItems (+ copy)
//!     New --> New: T16 edit
//!     New --> Deleted: T17 delete
//!     InProgress --> Deleted: T17
//!     Failed --> Deleted: T17
//!     Successful --> Deleted: T17
//!     Abandoned --> Deleted: T17
//!     Retried --> Deleted: T17
//!     state "Failed or Abandoned" as Reviewed {
//!         None --> InReview: T18
//!         InReview --> None: T19
//!         None --> Verified: T20
//!         InReview --> Verified: T20
//!         None --> RetriedByHand: T21 (+ copy)
//!         InReview --> RetriedByHand: T21 (+ copy)
//!     }
//! ```
//!
//! | row | event | guard | effect | otherwise |
//! |---|---|---|---|---|
//! | T1 | [`added`] | the queue is there, the item is valid, its reference is free | New | 1002, 1009, 1015, 1016, 1850, 1865 |
//! | T2 | [`added`], then `Take` | as T1 | InProgress | as T1 |
//! | T3 | `Take` | New and not deferred; the first in the order of [`selection`](super::selection) | InProgress, a new token | - |
//! | T4 | `Report` Successful | InProgress, the claim holds; T1 for each follow-up | Successful, and the follow-ups | T11, T12, T1 |
//! | T5 | `Report` BusinessException | the same | Failed | T11, T12 |
//! | T6 | `Report` ApplicationException, a retry left | the same | Retried, and a copy | T11, T12 |
//! | T7 | `Report` ApplicationException with no retry left, or unspecified | the same | Failed | T11, T12 |
//! | T8 | `Postpone` | the same, and DeferDate in the future | New, the claim void | 1015, T12 |
//! | T9 | `GiveBack` | the same | New, the claim void | T12 |
//! | T10 | `Progress` | InProgress (and the claim holds, where there is one) | - | 1851 |
//! | T11 | a repeat of T4 to T7 | final, decided by this claim with this outcome | nothing | T12 |
//! | T12 | any other report | | nothing at all | ClaimLost with 1852 or 1866 |
//! | T13, T14 | beat, job lost | see [`job`](super::job) | | |
//! | T15 | `JobLost`, `Overdue` | InProgress, its job lost or its time over | Abandoned; or Retried, and a copy | 1867 |
//! | T16 | `Edit` | New | the new values | 1851, 1866 |
//! | T17 | `Delete` | not Deleted, version current | Deleted, a claim void | 1002, 1020 |
//! | T18-T21 | `Review` | Failed or Abandoned, not superseded, version current, move allowed | the review status; for Retried a copy | 1020, 1867 |
//! | T22 | `SetReviewer` | the same item, the reviewer permitted | the reviewer | 1020, 1853, 1867 |
//! | T23 | `Expire` | older than its period, with its whole chain | removed | 1867 |
//! | T24 | `Purge` | Successful, Retried or Deleted | content blanked | 1867 |
//! | T25 | `Answer` | New and still deferred to the deadline of the task | DeferDate null | nothing |
//!
//! Where the Orchestrator leaves it open, these choices hold (choices 5 and 12): the original of a manual retry stays Failed
//! or Abandoned with ReviewStatus Retried; the original of a retried abandoned item shows Retried, its
//! [`outcome`](ItemState::outcome) Abandoned; a copy keeps the DueDate.
//!
//! The DeferDate of the copy of T6 is the one of the result, otherwise that of T6 and T15 is `now` plus the queue's
//! [`RetryDelay`](super::retry_delay::RetryDelay). The copy of T21 has none.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::code::ErrorCode;
use super::history::{EventAction, MAX_PROGRESS_EVENTS, Recorded, remembered};
use super::item::{NewQueueItem, Priority};
use super::key::{Holder, ItemId, JobNumber};
use super::query::{Comparison, Condition, Field, Value};
use super::queue::QueuePolicy;
use super::refusal::Refusal;
use super::result::Outcome;
use super::selection::is_eligible;
use super::status::{ReviewStatus, Status};
use super::stored_time::{self, StoredTime, stored};

/// The part of an item that the rules need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the fields are those of QueueItem, where they are told")]
pub struct ItemState {
    pub status: Status,
    pub review_status: ReviewStatus,
    /// How the attempt ended; kept when the item is deleted.
    pub outcome: Option<Outcome>,
    /// Whether a retry copy replaces it.
    pub superseded: bool,
    /// Whether the item counts in a queue that enforces unique references.
    pub holds_reference: bool,
    pub retry_number: u32,
    pub manual_retry_number: u32,
    pub priority: Priority,
    pub due_date: Option<Timestamp>,
    pub defer_date: Option<Timestamp>,
    pub creation_time: Timestamp,
    pub start_processing: Option<Timestamp>,
    pub end_processing: Option<Timestamp>,
    pub seconds_in_previous_attempts: u32,
    pub reviewer_user_id: Option<i64>,
    /// Who holds the item; after the end of an attempt, who held it last.
    pub holder: Option<Holder>,
    /// The row version at which the item was last claimed, or its claim voided. Strictly rising, never reused.
    pub token: u64,
    /// Rises with every change.
    pub row_version: u64,
}

/// Something that happens to an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module tells")]
pub enum Event {
    Take {
        job: JobNumber,
    },
    Report {
        claim: Holder,
        outcome: Outcome,
        defer_date: Option<Timestamp>,
    },
    Postpone {
        claim: Holder,
        defer_date: Timestamp,
        due_date: Option<Timestamp>,
    },
    GiveBack {
        claim: Holder,
    },
    Progress {
        claim: Option<Holder>,
    },
    JobLost {
        job: JobNumber,
    },
    Overdue,
    Edit {
        priority: Priority,
        due_date: Option<Timestamp>,
        defer_date: Option<Timestamp>,
    },
    /// `row_version` is the version the caller saw; `None` deletes the item whatever its version.
    Delete {
        row_version: Option<u64>,
    },
    Review {
        to: ReviewStatus,
        row_version: u64,
    },
    SetReviewer {
        reviewer: Option<i64>,
        permitted: bool,
        row_version: u64,
    },
    Expire {
        whole_chain_expired: bool,
    },
    Purge,
    /// The task that the item waits for has an end before its deadline.
    Answer {
        deadline: Timestamp,
    },
}

/// What a store has to write.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "short-lived; a box would cost an allocation a transition")]
pub enum Transition {
    /// T11: it was written before.
    Unchanged,
    /// The item changes.
    Change(Change),
    /// T23: the item is removed, with its whole chain.
    Remove,
}

/// A change of one item, and what belongs to it in the same transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The item afterwards.
    pub after: ItemState,
    /// The state of the retry copy, which is a new item, behind everything that waits. A store gives it a number and a UniqueKey,
    /// and takes from the item its key, reference, content, RiskSlaDate and origin, but not its output, exception, progress or
    /// executor. The item is its `ancestor_id`, or, after a manual retry, its `manual_ancestor_id`, which later automatic copies
    /// keep.
    pub copy: Option<ItemState>,
    /// The events that the row does not store.
    pub recorded: Vec<Recorded>,
    /// The alert that is due: an ApplicationException that will not be retried.
    pub alert: Option<ErrorCode>,
}

/// T1, add: the state of a new item.
pub fn added(item: &NewQueueItem, queue: &QueuePolicy, now: Timestamp) -> ItemState {
    ItemState {
        holds_reference: queue.enforce_unique_reference && item.reference.is_some(),
        due_date: item.due_date.map(StoredTime::timestamp),
        defer_date: item.defer_date.map(StoredTime::timestamp),
        ..ItemState::untouched(item.priority, now)
    }
}

impl ItemState {
    /// An item that was never touched, without dates and without a reference that counts.
    pub fn untouched(priority: Priority, creation_time: Timestamp) -> Self {
        Self {
            status: Status::New,
            review_status: ReviewStatus::None,
            outcome: None,
            superseded: false,
            holds_reference: false,
            retry_number: 0,
            manual_retry_number: 0,
            priority,
            due_date: None,
            defer_date: None,
            creation_time,
            start_processing: None,
            end_processing: None,
            seconds_in_previous_attempts: 0,
            reviewer_user_id: None,
            holder: None,
            token: 0,
            row_version: 1,
        }
    }
}

/// T1: the reference is already in the queue.
pub fn duplicate_reference(reference: &str, queue: &str) -> Refusal {
    let message = format!("duplicate reference: queue {queue:?} already has {reference:?}");
    Refusal::new(ErrorCode::DUPLICATE_REFERENCE, message)
}

/// The rules: what an event does to the item `id`. The id decides nothing but the jitter of a retry delay.
///
/// # Errors
///
/// The refusal in the table above; nothing may be written then.
pub fn transition(
    id: ItemId,
    item: &ItemState,
    event: Event,
    queue: &QueuePolicy,
    now: Timestamp,
) -> Result<Transition, Refusal> {
    let step = Step { id, item, queue, now };
    match event {
        Event::Take { job } => step.take(job),
        Event::Report { claim, outcome, defer_date } => step.report(claim, outcome, defer_date),
        Event::Postpone { claim, defer_date, due_date } => step.postpone(claim, defer_date, due_date),
        Event::GiveBack { claim } => step.give_back(claim),
        Event::Progress { claim } => step.progress(claim),
        Event::JobLost { job } => step.job_lost(job),
        Event::Overdue => step.overdue(),
        Event::Edit { priority, due_date, defer_date } => step.edit(priority, due_date, defer_date),
        Event::Delete { row_version } => step.delete(row_version),
        Event::Review { to, row_version } => step.review(to, row_version),
        Event::SetReviewer { reviewer, permitted, row_version } => {
            step.set_reviewer(reviewer, permitted, row_version)
        }
        Event::Expire { whole_chain_expired } => step.expire(whole_chain_expired),
        Event::Purge => step.purge(),
        Event::Answer { deadline } => step.answer(deadline),
    }
}

/// Who holds an item now: the claim for a caller over HTTP, who presents none (orchestrator-api 9.1).
///
/// # Errors
///
/// As T12, but without ClaimLost, because the caller never had a claim: codes 1852 and 1866.
pub fn whoever_holds(item: &ItemState) -> Result<Holder, Refusal> {
    match item.holder.filter(|_| item.status == Status::InProgress) {
        Some(holder) => Ok(holder),
        None => {
            let (code, why) = no_report(item.status);
            Err(Refusal::new(code, why))
        }
    }
}

/// T8: the time to which an item is postponed must be in the future.
///
/// # Errors
///
/// Code 1015 for a time that is not.
pub fn validate_postponement(defer_date: Timestamp, now: Timestamp) -> Result<(), Refusal> {
    if defer_date <= now {
        let message = format!("an item cannot be postponed to {defer_date}: it is {now} already");
        return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    }
    Ok(())
}

/// T23: whether an item is old enough to be removed. It is removed only with its whole chain.
pub fn is_expired(item: &ItemState, queue: &QueuePolicy, now: Timestamp) -> bool {
    let (since, days) = match item.status {
        Status::New => (item.creation_time, queue.stale_retention_days),
        Status::InProgress => return false,
        _ => (item.end_processing.unwrap_or(item.creation_time), queue.retention_days),
    };
    stored_time::after(since, Duration::from_secs(u64::from(days) * 86_400)) < now
}

/// T23: the condition that an item [is expired](is_expired), for lists.
pub fn is_expired_by(queue: &QueuePolicy, now: Timestamp) -> Condition {
    let before = |days: u32| {
        let age = SignedDuration::from_hours(24 * i64::from(days));
        Value::Time(now.checked_sub(age).unwrap_or(StoredTime::FIRST.timestamp()))
    };
    let compare = |field, comparison, value| Condition::Compare(field, comparison, value);
    let is =
        |status: Status| compare(Field::Status, Comparison::Equal, Value::Number(status.number().into()));
    let is_new = || is(Status::New);
    let is_final = Condition::Not(Box::new(Condition::Any(vec![is_new(), is(Status::InProgress)])));
    let stale = compare(Field::CreationTime, Comparison::Less, before(queue.stale_retention_days));
    let ended = compare(Field::EndProcessing, Comparison::Less, before(queue.retention_days));
    let never_started = Condition::All(vec![
        compare(Field::EndProcessing, Comparison::Equal, Value::Null),
        compare(Field::CreationTime, Comparison::Less, before(queue.retention_days)),
    ]);
    Condition::Any(vec![
        Condition::All(vec![is_new(), stale]),
        Condition::All(vec![is_final, Condition::Any(vec![ended, never_started])]),
    ])
}

/// T15: whether the item is InProgress for longer than its queue allows.
pub fn is_overdue(item: &ItemState, queue: &QueuePolicy, now: Timestamp) -> bool {
    let started = item.start_processing.unwrap_or(Timestamp::MAX);
    item.status == Status::InProgress && stored_time::after(started, queue.abandon_after) < now
}

/// Checks that the caller has seen the current version of an item.
///
/// # Errors
///
/// Code 1020 if the item has changed since.
pub fn check_version(item: &ItemState, row_version: u64) -> Result<(), Refusal> {
    if row_version == item.row_version {
        return Ok(());
    }
    let message = format!("the item changed: it is at version {}", item.row_version);
    Err(Refusal::new(ErrorCode::OPTIMISTIC_CONCURRENCY, message))
}

/// T16: why an item in this state cannot be given new values.
pub fn not_editable(status: Status) -> Refusal {
    let code = match status {
        Status::InProgress => ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS,
        _ => ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS,
    };
    Refusal::new(code, format!("an item that is {status} cannot be edited"))
}

/// T24: why the content of an item in this state cannot be blanked.
pub fn not_purgeable(status: Status) -> Refusal {
    let message = format!("an item that is {status} cannot be purged");
    Refusal::new(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY, message)
}

/// T12: why nobody can report on an item in this state.
fn no_report(status: Status) -> (ErrorCode, String) {
    match status {
        Status::New => (ErrorCode::TRANSACTION_NOT_STARTED, "the item is New: it was not started".to_owned()),
        Status::InProgress => (
            ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS,
            "another claim holds the item".to_owned(),
        ),
        status => (
            ErrorCode::QUEUE_ITEM_INVALID_TRANSITION_FROM_FINAL_STATUS,
            format!("the item is {status} already"),
        ),
    }
}

struct Step<'a> {
    id: ItemId,
    item: &'a ItemState,
    queue: &'a QueuePolicy,
    now: Timestamp,
}

type TransitionResult = Result<Transition, Refusal>;

impl Step<'_> {
    /// T3.
    fn take(&self, job: JobNumber) -> TransitionResult {
        if !is_eligible(self.item, self.now) {
            return Err(self.wrong_status("taken"));
        }
        let token = self.next_version();
        self.change(ItemState {
            status: Status::InProgress,
            start_processing: Some(self.now.max(self.item.creation_time)),
            holder: Some(Holder { job, token }),
            token,
            ..self.next()
        })
    }

    /// T4 to T7, T11 and T12.
    fn report(&self, claim: Holder, outcome: Outcome, defer_date: Option<Timestamp>) -> TransitionResult {
        assert!(outcome != Outcome::Abandoned, "nobody reports that they disappeared");
        let decided_by_this_claim = self.item.status.is_final() && self.item.holder == Some(claim);
        if decided_by_this_claim && self.item.outcome == Some(outcome) {
            return Ok(Transition::Unchanged);
        }
        self.holds(claim)?;
        let retries = outcome == Outcome::ApplicationException && self.may_retry();
        let status = match outcome {
            Outcome::Successful => Status::Successful,
            _ if retries => Status::Retried,
            _ => Status::Failed,
        };
        let ended = self.ended(status, outcome);
        let copy = retries.then(|| self.automatic_copy(&ended, defer_date.map(stored)));
        let unretried = outcome == Outcome::ApplicationException && !retries;
        let alert = unretried.then_some(ErrorCode::new(1856));
        self.change_with(ended, copy, Vec::new(), alert)
    }

    /// T8.
    fn postpone(
        &self,
        claim: Holder,
        defer_date: Timestamp,
        due_date: Option<Timestamp>,
    ) -> TransitionResult {
        self.holds(claim)?;
        let defer_date = stored(defer_date);
        validate_postponement(defer_date, self.now)?;
        self.back_to_the_queue(Some(defer_date), due_date.map(stored).or(self.item.due_date))
    }

    /// T9.
    fn give_back(&self, claim: Holder) -> TransitionResult {
        self.holds(claim)?;
        self.back_to_the_queue(None, self.item.due_date)
    }

    fn back_to_the_queue(
        &self,
        defer_date: Option<Timestamp>,
        due_date: Option<Timestamp>,
    ) -> TransitionResult {
        let after = ItemState {
            status: Status::New,
            start_processing: None,
            holder: None,
            token: self.next_version(),
            defer_date,
            due_date,
            ..self.next()
        };
        let mut recorded = remembered(self.item);
        recorded.push(self.event(EventAction::Status, &after));
        self.change_with(after, None, recorded, None)
    }

    /// T10. The store writes the text itself.
    fn progress(&self, claim: Option<Holder>) -> TransitionResult {
        let code = ErrorCode::INVALID_TRANSACTION_PROGRESS_STATUS;
        if self.item.status != Status::InProgress {
            let message =
                format!("progress is for items that are InProgress, this one is {}", self.item.status);
            return Err(if claim.is_some() {
                Refusal::claim_lost(code, message)
            } else {
                Refusal::new(code, message)
            });
        }
        if claim.is_some() && claim != self.item.holder {
            return Err(Refusal::claim_lost(code, "another claim holds the item"));
        }
        let after = self.next();
        if after.row_version - after.token > MAX_PROGRESS_EVENTS {
            return self.change(after);
        }
        self.change_recorded(EventAction::Edit, after)
    }

    /// T15, because of T14.
    fn job_lost(&self, job: JobNumber) -> TransitionResult {
        if self.item.holder.map(|holder| holder.job) != Some(job) {
            return Err(self.wrong_status("abandoned by a job that does not hold it"));
        }
        self.abandon()
    }

    /// T15, because of its age.
    fn overdue(&self) -> TransitionResult {
        if !is_overdue(self.item, self.queue, self.now) {
            return Err(self.wrong_status("abandoned before its time"));
        }
        self.abandon()
    }

    fn abandon(&self) -> TransitionResult {
        if self.item.status != Status::InProgress {
            return Err(self.wrong_status("abandoned"));
        }
        let retries = self.queue.retry_abandoned_items && self.may_retry();
        let status = if retries { Status::Retried } else { Status::Abandoned };
        let ended = self.ended(status, Outcome::Abandoned);
        let copy = retries.then(|| self.automatic_copy(&ended, None));
        self.change_with(ended, copy, Vec::new(), None)
    }

    /// T16.
    fn edit(
        &self,
        priority: Priority,
        due_date: Option<Timestamp>,
        defer_date: Option<Timestamp>,
    ) -> TransitionResult {
        if !self.item.status.is_editable() {
            return Err(not_editable(self.item.status));
        }
        let (due_date, defer_date) = (due_date.map(stored), defer_date.map(stored));
        self.change_recorded(EventAction::Edit, ItemState { priority, due_date, defer_date, ..self.next() })
    }

    /// T25. An item that was taken, deleted or given another DeferDate meanwhile does not wait for the task any more.
    fn answer(&self, deadline: Timestamp) -> TransitionResult {
        if self.item.status != Status::New || self.item.defer_date != Some(stored(deadline)) {
            return Ok(Transition::Unchanged);
        }
        self.change_recorded(EventAction::Edit, ItemState { defer_date: None, ..self.next() })
    }

    /// T17.
    fn delete(&self, row_version: Option<u64>) -> TransitionResult {
        row_version.map_or(Ok(()), |version| self.current(version))?;
        if self.item.status == Status::Deleted {
            return Err(Refusal::new(ErrorCode::ITEM_NOT_FOUND, "the item is deleted"));
        }
        let running = self.item.status == Status::InProgress;
        let after = ItemState {
            status: Status::Deleted,
            holds_reference: false,
            holder: if running { None } else { self.item.holder },
            token: if running { self.next_version() } else { self.item.token },
            ..self.next()
        };
        let mut recorded = remembered(self.item);
        recorded.push(self.event(EventAction::Delete, &after));
        self.change_with(after, None, recorded, None)
    }

    /// T18 to T21.
    fn review(&self, to: ReviewStatus, row_version: u64) -> TransitionResult {
        self.reviewable(row_version)?;
        if !self.item.review_status.may_become(to) {
            let message = format!("a review cannot go from {} to {to}", self.item.review_status);
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY, message));
        }
        let after = ItemState { review_status: to, ..self.next() };
        if to != ReviewStatus::Retried {
            return self.change_recorded(EventAction::Status, after);
        }
        let after = ItemState { superseded: true, holds_reference: false, ..after };
        let copy = ItemState {
            retry_number: 0,
            manual_retry_number: self.item.manual_retry_number + 1,
            ..self.copy(&after, None)
        };
        let recorded = vec![self.event(EventAction::Retry, &after)];
        self.change_with(after, Some(copy), recorded, None)
    }

    /// T22.
    fn set_reviewer(&self, reviewer: Option<i64>, permitted: bool, row_version: u64) -> TransitionResult {
        self.reviewable(row_version)?;
        if reviewer.is_some() && !permitted {
            let message = "the reviewer may not view and edit transactions";
            return Err(Refusal::new(ErrorCode::REVIEWER_NOT_AVAILABLE, message));
        }
        self.change_recorded(EventAction::Edit, ItemState { reviewer_user_id: reviewer, ..self.next() })
    }

    /// T23.
    fn expire(&self, whole_chain_expired: bool) -> TransitionResult {
        if !whole_chain_expired || !is_expired(self.item, self.queue, self.now) {
            return Err(self.wrong_status("removed before its time"));
        }
        Ok(Transition::Remove)
    }

    /// T24. The store blanks the content itself.
    fn purge(&self) -> TransitionResult {
        if !self.item.status.is_purgeable() {
            return Err(self.wrong_status("purged"));
        }
        self.change_recorded(EventAction::Edit, self.next())
    }

    /// The guard of every report: the item is InProgress under this claim. Otherwise T12.
    fn holds(&self, claim: Holder) -> Result<(), Refusal> {
        let (code, message) = match self.item.status {
            Status::InProgress if self.item.holder == Some(claim) => return Ok(()),
            Status::New => (
                no_report(Status::New).0,
                "the item is New: this claim on it ended when it went back into the queue".to_owned(),
            ),
            status => no_report(status),
        };
        Err(Refusal::claim_lost(code, message))
    }

    /// The guard of every review.
    fn reviewable(&self, row_version: u64) -> Result<(), Refusal> {
        self.current(row_version)?;
        if !self.item.status.is_reviewable() || self.item.superseded {
            return Err(self.wrong_status("reviewed"));
        }
        Ok(())
    }

    /// The caller has seen the current version.
    fn current(&self, row_version: u64) -> Result<(), Refusal> {
        check_version(self.item, row_version)
    }

    fn may_retry(&self) -> bool {
        self.queue.accept_automatically_retry && self.item.retry_number < self.queue.max_number_of_retries
    }

    fn ended(&self, status: Status, outcome: Outcome) -> ItemState {
        let retried = status == Status::Retried;
        ItemState {
            status,
            outcome: Some(outcome),
            superseded: retried,
            holds_reference: self.item.holds_reference && !retried,
            end_processing: Some(self.now.max(self.item.start_processing.unwrap_or(self.now))),
            ..self.next()
        }
    }

    /// The copy of an automatic retry. `defer_date`: the result's, which is used instead of the queue's retry delay.
    fn automatic_copy(&self, ended: &ItemState, defer_date: Option<Timestamp>) -> ItemState {
        let retry_number = self.item.retry_number + 1;
        let delay = || self.queue.retry_delay.before_retry(self.id, retry_number);
        let defer_date =
            defer_date.or_else(|| delay().map(|delay| stored(stored_time::after(self.now, delay))));
        ItemState { retry_number, ..self.copy(ended, defer_date) }
    }

    /// A new row for a retry; the caller sets the numbers of retries.
    fn copy(&self, ended: &ItemState, defer_date: Option<Timestamp>) -> ItemState {
        let took = match (ended.start_processing, ended.end_processing) {
            (Some(start), Some(end)) => end.duration_since(start).as_secs(),
            _ => 0,
        };
        ItemState {
            status: Status::New,
            review_status: ReviewStatus::None,
            outcome: None,
            defer_date,
            creation_time: self.now,
            start_processing: None,
            end_processing: None,
            seconds_in_previous_attempts: u32::try_from(took).unwrap_or(u32::MAX),
            reviewer_user_id: None,
            holder: None,
            token: 0,
            row_version: 1,
            ..*self.item
        }
    }

    fn next_version(&self) -> u64 {
        self.item.row_version + 1
    }

    /// The item with the next row version.
    fn next(&self) -> ItemState {
        ItemState { row_version: self.next_version(), ..*self.item }
    }

    fn event(&self, action: EventAction, after: &ItemState) -> Recorded {
        Recorded {
            version: after.row_version,
            at: self.now,
            action,
            status: after.status,
            review_status: after.review_status,
            user_id: None,
        }
    }

    fn change(&self, after: ItemState) -> TransitionResult {
        self.change_with(after, None, Vec::new(), None)
    }

    fn change_recorded(&self, action: EventAction, after: ItemState) -> TransitionResult {
        let recorded = vec![self.event(action, &after)];
        self.change_with(after, None, recorded, None)
    }

    /// Every change passes here, and the invariants of one row are asserted here, in release builds too: a change that
    /// violates one is never written.
    fn change_with(
        &self,
        after: ItemState,
        copy: Option<ItemState>,
        recorded: Vec<Recorded>,
        alert: Option<ErrorCode>,
    ) -> TransitionResult {
        let before = self.item;
        assert!(before.status.may_become(after.status), "{} -> {}", before.status, after.status);
        assert!(after.row_version == before.row_version + 1, "I: the row version rises by one");
        assert!(after.token >= before.token, "11: a token is never used again");
        assert!(copy.is_none() || (after.superseded && !before.superseded), "I8: a copy supersedes");
        assert!(!after.holds_reference || !after.superseded, "I15: a superseded row holds no reference");
        let held = after.status == Status::InProgress;
        assert!(
            !held || (after.holder.is_some() && after.start_processing.is_some()),
            "I12: held by somebody"
        );
        assert!(
            after.end_processing.is_none() || after.end_processing >= after.start_processing,
            "12: ends later"
        );
        Ok(Transition::Change(Change { after, copy, recorded, alert }))
    }

    fn wrong_status(&self, verb: &str) -> Refusal {
        let item = self.item;
        let code = ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY;
        let superseded = if item.superseded { " and a copy of it carries on" } else { "" };
        Refusal::new(code, format!("an item that is {}{superseded} cannot be {verb}", item.status))
    }
}
