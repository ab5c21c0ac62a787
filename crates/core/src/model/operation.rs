//! Acts on many items at once: what an operation is, what may follow what, and when its next step is due.
//!
//! An operation begins as a frozen preview: the ids and row versions of the items that were selected. It acts on exactly these, in
//! chunks, and an item that has changed since is refused. Whether an item is refused is decided by [`lifecycle`](super::lifecycle).
//!
//! ```mermaid
//! stateDiagram-v2
//!     [*] --> Preparing: the items are kept, in chunks
//!     Preparing --> Preview: all are kept
//!     Preview --> Running: start
//!     Running --> Running: a chunk
//!     Running --> Waiting: the canary is retried
//!     Waiting --> Running: enough of it is Successful
//!     Waiting --> Holding: it is not, or not in time
//!     Running --> Stopped: stop
//!     Waiting --> Stopped: stop
//!     Holding --> Running: resume, whatever became of the canary
//!     Stopped --> Running: resume
//!     Stopped --> Waiting: resume, if its canary has not been decided
//!     Running --> Done: no item is left
//! ```
//!
//! | file | what is in it |
//! |---|---|
//! | `operation/plan.rs` | what is to be done: the act, its pace, its canary |
//! | `operation/canary.rs` | what became of the items that are retried first |
//! | `operation/list.rs` | a page of operations |
//! | `operation/load.rs` | what a retry would mean for the queues in which its copies wait |
//! | `operation/preview.rs` | what a preview says about the items that were selected |
//!
//! Nothing here reads a clock: each function is told the time.

mod canary;
mod list;
mod load;
mod plan;
mod preview;

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::canary::{Canary, CopyEnd};
use self::canary::{Verdict, verdict};
pub use self::list::OperationList;
pub use self::load::QueueLoad;
pub use self::plan::{Act, MAX_PACE, Plan};
pub use self::preview::{Preview, PreviewGroup, PreviewQueue, PreviewRefusal, Selected};
use super::audit::Actor;
use super::code::ErrorCode;
use super::kept_for::KeptFor;
use super::key::{FolderId, ItemId};
use super::refusal::Refusal;
use super::review::{ItemVersion, Person};
use super::stored_time;
use crate::enumeration;

/// The most items of one operation.
pub const MAX_ITEMS: usize = 100_000;

/// The most items that one commit acts on: robots wait for no more than these.
pub const CHUNK: usize = 200;

/// How long a preview is kept that is not started.
pub const PREVIEW_KEPT: Duration = Duration::from_secs(600);

/// The most previews of one user that wait to be started.
pub const MAX_PREVIEWS: usize = 10;

/// The most operations, and the most of their items, that are listed together.
pub const OPERATION_PAGE_LIMIT: usize = 1_000;

/// How often the items of a canary are looked at.
const CANARY_LOOK: Duration = Duration::from_secs(1);

/// The number of an operation. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OperationId(pub i64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

enumeration! {
    /// Where an operation stands.
    pub OperationState {
        /// Its items are being kept.
        Preparing = 0,
        /// Its items are kept, and nothing is done with them before it is started.
        Preview = 1,
        /// It acts on its items.
        Running = 2,
        /// It waits for the end of the items that were retried first.
        Waiting = 3,
        /// Too few of those were Successful: it goes on only if it is resumed.
        Holding = 4,
        /// It was stopped, and can be resumed.
        Stopped = 5,
        /// It has acted on all its items.
        Done = 6,
    }
}

impl OperationState {
    /// Whether it goes on by itself.
    pub const fn is_active(self) -> bool {
        matches!(self, Self::Running | Self::Waiting)
    }

    /// Whether it was started, and does nothing now.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Holding | Self::Stopped | Self::Done)
    }
}

/// An act on many items, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ItemOperation {
    /// Its number.
    pub id: OperationId,
    /// Rises by one with every change. A step is written only if it has the version that was read.
    pub version: u64,
    /// Where it stands.
    pub state: OperationState,
    /// What it does.
    pub plan: Plan,
    /// The user who made it, if there are users.
    pub user_id: Option<i64>,
    /// The name of that user.
    pub user_name: Option<String>,
    /// The folders of its items.
    pub folders: Vec<FolderId>,
    /// The [filter](super::item_query) that selected its items. `None`: they were named.
    pub filter: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was started.
    pub started: Option<Timestamp>,
    /// When its next step is due, while it is active.
    pub due: Option<Timestamp>,
    /// Since when it does nothing any more.
    pub ended: Option<Timestamp>,
    /// How many items it has.
    pub total: u64,
    /// How many of them are kept; all, unless it is being prepared.
    pub kept: u64,
    /// How many items were acted on.
    pub done: u64,
    /// How many items were refused.
    pub refused: u64,
    /// Until when the items that were retried first have to be Successful.
    pub canary_until: Option<Timestamp>,
    /// Whether the canary is decided, by its items or by a person.
    pub is_canary_over: bool,
    /// Why it stopped, holds, or went on after its canary.
    pub why: Option<String>,
    /// The operation that takes its copies back.
    pub taken_back_by: Option<OperationId>,
    /// What was known of the items when they were selected.
    pub preview: Preview,
    /// Who started it, and from where: whom the audit names for what it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor>,
}

/// An item of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct OperationItem {
    /// Its place: items are acted on in this order, from 0.
    pub place: u64,
    /// The item as it was selected.
    pub item: ItemVersion,
    /// What became of it.
    pub result: ItemResult,
}

impl OperationItem {
    /// An item with what became of it.
    pub fn new(place: u64, item: ItemVersion, result: ItemResult) -> Self {
        Self { place, item, result }
    }
}

/// What an operation did with an item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ItemResult {
    /// Nothing yet.
    Pending,
    /// It was acted on.
    Done {
        /// The copy that was made of it, by a retry.
        copy: Option<ItemId>,
    },
    /// It was refused.
    Refused(Refusal),
}

/// What an operation does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextStep {
    /// Nothing at this time.
    Nothing,
    /// It acts on the next items: on at most `acts` of them, and at most [`CHUNK`] with those that are refused.
    Chunk {
        /// The most items to act on.
        acts: usize,
    },
    /// It looks at the ends of the copies of its canary.
    Canary,
}

impl ItemOperation {
    /// An operation whose items were selected, and are to be kept.
    pub fn new(plan: Plan, by: &Person, filter: Option<String>, selected: &Selected, now: Timestamp) -> Self {
        Self {
            id: OperationId(0),
            version: 1,
            state: OperationState::Preparing,
            plan,
            user_id: by.user_id,
            user_name: by.user_name.clone(),
            folders: selected.folders.clone(),
            filter,
            created: now,
            started: None,
            due: None,
            ended: None,
            total: selected.items.len() as u64,
            kept: 0,
            done: 0,
            refused: 0,
            canary_until: None,
            is_canary_over: false,
            why: None,
            taken_back_by: None,
            preview: selected.preview.clone(),
            actor: None,
        }
    }

    /// The user who made it.
    pub fn by(&self) -> Person {
        Person { user_id: self.user_id, user_name: self.user_name.clone() }
    }

    /// Notes who has started it: the events of its items and the audit name them.
    pub fn started_by(&mut self, user: Option<i64>, actor: Option<&Actor>) {
        if let Some(user) = user {
            self.user_id = Some(user);
            if let Some(name) = actor.and_then(|actor| actor.user_name.clone()) {
                self.user_name = Some(name);
            }
        }
        self.actor = actor.cloned();
    }

    /// The place of the next item to act on.
    pub fn next_place(&self) -> u64 {
        self.done + self.refused
    }

    /// How many items are left.
    pub fn left(&self) -> u64 {
        self.total.saturating_sub(self.next_place())
    }

    /// Whether it can be seen by someone who may see these folders; `None`: all of them.
    pub fn is_within(&self, reach: Option<&[FolderId]>) -> bool {
        reach.is_none_or(|reach| self.folders.iter().all(|folder| reach.contains(folder)))
    }

    /// Until when it is kept. `None`: it is active.
    pub fn kept_until(&self) -> Option<Timestamp> {
        match (self.state, self.ended) {
            (OperationState::Preparing | OperationState::Preview, _) => {
                Some(stored_time::after(self.created, PREVIEW_KEPT))
            }
            (_, Some(ended)) => Some(KeptFor::ENDED_OPERATION.end(ended)),
            (_, None) => None,
        }
    }

    /// More of its items were kept: `count` from the place `from` on.
    ///
    /// # Errors
    ///
    /// Code 1302 if these are not the next ones, or if all are kept.
    pub fn keep(&mut self, from: u64, count: u64) -> Result<(), Refusal> {
        if self.state != OperationState::Preparing || from != self.kept || from + count > self.total {
            return Err(self.refusal("is not being prepared with these items"));
        }
        self.kept += count;
        if self.kept == self.total {
            self.state = OperationState::Preview;
        }
        self.version += 1;
        Ok(())
    }

    /// Starts it.
    ///
    /// # Errors
    ///
    /// Code 1302 if it is no preview, has no items, or is older than [`PREVIEW_KEPT`].
    pub fn start(&mut self, now: Timestamp) -> Result<(), Refusal> {
        match self.state {
            OperationState::Preview => {}
            OperationState::Preparing => return Err(self.refusal("is still being prepared")),
            _ => return Err(self.refusal("was started already")),
        }
        if self.total == 0 {
            return Err(self.refusal("has no items"));
        }
        if self.kept_until().is_some_and(|until| until < now) {
            return Err(
                self.refusal("is a preview of more than ten minutes ago: select the items again, and look")
            );
        }
        self.started = Some(now);
        self.run(OperationState::Running, now);
        Ok(())
    }

    /// Stops it after the chunk that is being applied.
    ///
    /// # Errors
    ///
    /// Code 1302 if it is not active.
    pub fn stop(&mut self, by: &Person, now: Timestamp) -> Result<(), Refusal> {
        if !self.state.is_active() {
            return Err(self.refusal("is not running"));
        }
        let name = by.user_name.as_deref().map_or_else(String::new, |name| format!(" by {name}"));
        self.end(OperationState::Stopped, Some(format!("it was stopped{name}")), now);
        Ok(())
    }

    /// Lets it go on. One that holds because of its canary goes on whatever became of the canary.
    ///
    /// # Errors
    ///
    /// Code 1302 if it is neither stopped nor holding, or if its copies were taken back.
    pub fn resume(&mut self, now: Timestamp) -> Result<(), Refusal> {
        self.check_kept(now)?;
        if self.taken_back_by.is_some() {
            return Err(self.refusal("cannot go on: its copies were taken back"));
        }
        match (self.state, self.canary_until) {
            (OperationState::Holding, _) => {
                self.is_canary_over = true;
                self.run(OperationState::Running, now);
            }
            (OperationState::Stopped, Some(_)) if !self.is_canary_over => self.wait_for_canary(now),
            (OperationState::Stopped, _) => self.run(OperationState::Running, now),
            _ => return Err(self.refusal("is neither stopped nor holding")),
        }
        Ok(())
    }

    /// Checks that its items are kept still.
    ///
    /// # Errors
    ///
    /// Code 1302 if they may have been removed: 30 days after it ended.
    pub fn check_kept(&self, now: Timestamp) -> Result<(), Refusal> {
        if self.kept_until().is_some_and(|until| until <= now) {
            return Err(self.refusal("ended too long ago: its items are not kept any more"));
        }
        Ok(())
    }

    /// Whether its copies can be taken back: those that are still New are deleted.
    ///
    /// # Errors
    ///
    /// Code 1302 if it makes no copies, is running, or its copies were taken back already.
    pub fn may_be_taken_back(&self) -> Result<(), Refusal> {
        if self.plan.act != Act::Retry {
            return Err(self.refusal("makes no copies that could be taken back"));
        }
        if !self.state.has_ended() {
            return Err(self.refusal("has to be stopped before its copies are taken back"));
        }
        if let Some(by) = self.taken_back_by {
            return Err(self.refusal(&format!("was taken back already, by operation {by}")));
        }
        Ok(())
    }

    /// Notes which operation takes its copies back.
    ///
    /// # Errors
    ///
    /// As [`may_be_taken_back`](Self::may_be_taken_back).
    pub fn take_back(&mut self, by: OperationId) -> Result<(), Refusal> {
        self.may_be_taken_back()?;
        self.taken_back_by = Some(by);
        self.version += 1;
        Ok(())
    }

    /// What it does next at this time.
    pub fn next_step(&self, now: Timestamp) -> NextStep {
        if !self.state.is_active() || self.due.is_some_and(|due| due > now) {
            return NextStep::Nothing;
        }
        if self.state == OperationState::Waiting {
            return NextStep::Canary;
        }
        let acts = match self.canary() {
            Some(canary) => usize::try_from(canary.first.saturating_sub(self.done)).unwrap_or(CHUNK),
            None => self.plan.pace.map_or(CHUNK, acts_at_once),
        };
        NextStep::Chunk { acts: acts.clamp(1, CHUNK) }
    }

    /// The canary, unless it is decided.
    fn canary(&self) -> Option<Canary> {
        self.plan.canary.filter(|_| !self.is_canary_over)
    }

    /// A chunk was applied.
    pub fn record_chunk(&mut self, done: u64, refused: u64, now: Timestamp) {
        self.done += done;
        self.refused += refused;
        if self.left() == 0 {
            return self.end(OperationState::Done, self.why.clone(), now);
        }
        if done + refused == 0 {
            let why = Some("its other items are not kept any more".to_owned());
            return self.end(OperationState::Stopped, why, now);
        }
        if self.canary().is_some_and(|canary| self.done >= canary.first) {
            return self.wait_for_canary(now);
        }
        let pace = self.plan.pace.filter(|_| self.canary().is_none());
        let pause = pace.map_or(Duration::ZERO, |pace| pause_after(done, pace));
        self.run(OperationState::Running, stored_time::after(now, pause));
    }

    /// The copies of its canary were looked at. Returns whether it changed.
    pub fn decide_canary(&mut self, ends: &[CopyEnd], now: Timestamp) -> bool {
        let until = self.canary_until.unwrap_or(now);
        match verdict(ends, now >= until) {
            Verdict::Open => return false,
            Verdict::Good(why) => {
                (self.is_canary_over, self.why) = (true, Some(why));
                self.run(OperationState::Running, now);
            }
            Verdict::Bad(why) => self.end(OperationState::Holding, Some(why), now),
        }
        true
    }

    fn wait_for_canary(&mut self, now: Timestamp) {
        let within = self.plan.canary.map_or(Duration::ZERO, Canary::within);
        self.canary_until = Some(stored_time::after(now, within));
        self.run(OperationState::Waiting, stored_time::after(now, CANARY_LOOK));
    }

    fn run(&mut self, state: OperationState, due: Timestamp) {
        if self.state.has_ended() {
            self.why = None;
        }
        (self.state, self.due, self.ended) = (state, Some(due), None);
        self.version += 1;
    }

    fn end(&mut self, state: OperationState, why: Option<String>, now: Timestamp) {
        (self.state, self.due, self.ended, self.why) = (state, None, Some(now), why);
        self.version += 1;
    }

    fn refusal(&self, why: &str) -> Refusal {
        Refusal::new(ErrorCode::UNAVAILABLE_RESOURCES, format!("operation {} {why}", self.id))
    }
}

/// How many items are acted on together at a pace a minute: about as many as are due in a second.
fn acts_at_once(pace: u32) -> usize {
    usize::try_from(pace / 60).unwrap_or(CHUNK).clamp(1, CHUNK)
}

/// The pause behind so many items at a pace a minute.
fn pause_after(done: u64, pace: u32) -> Duration {
    Duration::from_micros(done.saturating_mul(60_000_000) / u64::from(pace.max(1)))
}

#[cfg(test)]
mod tests;
