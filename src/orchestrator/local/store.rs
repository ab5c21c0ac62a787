//! What a store is asked to do: a batch of operations in one durable transaction, and queries.

use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::super::{BulkAdded, CommitType, Report, Result, Swept, Take};
use crate::model::clock::Clock;
use crate::model::history::ItemEvent;
use crate::model::item::{ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem};
use crate::model::job::{Job, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, ItemId, JobKey};
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
#[cfg(feature = "crash-points")]
use crate::model::result::TransactionResult;
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::statistics::QueueStatistics;
use crate::model::status::{ReviewStatus, Status};

/// Keeps queues, items and jobs.
///
/// The batch is the unit: [`commit`](Self::commit) makes one durable transaction of all its operations and
/// answers each. An operation that is refused changes nothing and does not disturb the others; when
/// the transaction itself fails, every operation is answered with that error.
///
/// Callable synchronously: a store hides no thread and never waits for a runtime, so that a simulation
/// can call it in place. [`Batch`](super::batch::Batch) puts it on a thread where that is better.
pub(crate) trait Store: Send {
    /// Applies operations in one transaction; `wake` is set when there may be something new to take. The
    /// clock is read when the transaction has begun: until then another process may hold the store, and
    /// may have acted at a later time.
    ///
    /// When everything is applied, `more` is asked what has come in the meantime, until it says nothing; so a
    /// transaction holds as much as there is at the moment when it is committed. The answers are in the order of
    /// all operations.
    fn commit(
        &mut self,
        operations: Vec<Operation>,
        more: &mut dyn FnMut() -> Vec<Operation>,
        clock: &dyn Clock,
        wake: &mut bool,
    ) -> Vec<Result<Answer>>;

    /// Undoes a transaction that a panic left open; a store that cannot undo refuses to go on.
    fn abort(&mut self);

    /// Answers a query from one consistent state.
    fn read(&mut self, query: Query) -> Result<Answer>;

    /// Whether another process has changed the store since this was asked last.
    fn changed_elsewhere(&mut self) -> bool;
}

/// The operations of one caller: a robot has a report and a take. Made in place, because memory that one thread takes
/// and another gives back makes both wait.
pub(crate) type Operations = SmallVec<[Operation; 2]>;

/// One change.
#[derive(Debug)]
pub(crate) enum Operation {
    StartJob(NewJob),
    Beat(JobKey),
    EndJob {
        job: JobKey,
        state: JobState,
        info: Option<String>,
    },
    /// Ends those of these jobs that are gone; `planned` is the clock's `elapsed` when they were suspected.
    Sweep {
        suspects: Vec<Suspect>,
        overdue: bool,
        planned: Duration,
    },
    Add {
        queue: String,
        item: NewQueueItem,
    },
    BulkAdd {
        queue: String,
        commit_type: CommitType,
        items: Vec<NewQueueItem>,
    },
    AddAndStart {
        take: Take,
        item: NewQueueItem,
    },
    Report(Report),
    Take(Take),
    Progress {
        claim: Claim,
        progress: String,
    },
    CreateQueue(NewQueueDefinition),
    UpdateQueue {
        name: String,
        queue: NewQueueDefinition,
    },
    DeleteQueue(String),
    Edit {
        id: ItemId,
        edit: ItemEdit,
    },
    Delete(Vec<ItemVersion>),
    Review {
        to: ReviewStatus,
        items: Vec<ItemVersion>,
    },
    SetReviewer {
        reviewer: Option<i64>,
        items: Vec<ItemVersion>,
    },
    AddComment {
        id: ItemId,
        author: Person,
        text: String,
    },
    EditComment {
        comment: i64,
        author: Person,
        text: Option<String>,
    },
    Purge(ItemId),
    ApplyRetention {
        limit: usize,
    },
    StopJob {
        job: JobKey,
        strategy: StopStrategy,
    },
}

#[cfg(feature = "crash-points")]
impl Operation {
    /// What it is called in the names of crash points.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::StartJob(_) => "start_job",
            Self::Beat(_) => "beat",
            Self::EndJob { .. } => "end_job",
            Self::Sweep { .. } => "sweep",
            Self::Add { .. } => "add",
            Self::BulkAdd { .. } => "bulk_add",
            Self::AddAndStart { .. } => "add_and_start",
            Self::Report(report) => match report.result {
                TransactionResult::Postponed { .. } => "postpone",
                TransactionResult::GivenBack => "give_back",
                _ => "report",
            },
            Self::Take(_) => "claim",
            Self::Progress { .. } => "progress",
            Self::CreateQueue(_) => "create_queue",
            Self::Review { .. } => "review",
            Self::ApplyRetention { .. } => "retention",
            _ => "other",
        }
    }
}

/// One question.
#[derive(Debug)]
pub(crate) enum Query {
    Queue(String),
    Queues,
    Statistics(String),
    Item(ItemId),
    Items(Box<ItemFilter>, Page),
    History(ItemId),
    Events(ItemId),
    Comments(ItemId),
    Jobs {
        limit: usize,
    },
    /// The jobs that have not ended, and whether the process of each is known to be gone.
    LiveJobs,
}

/// The answer to an operation or a query.
#[derive(Debug)]
pub(crate) enum Answer {
    Done,
    Job(JobKey),
    JobState(JobState),
    Swept(Swept),
    Item(Box<QueueItem>),
    BulkAdded(BulkAdded),
    Claimed(ClaimedItem),
    Taken(SmallVec<[ClaimedItem; 1]>),
    Status(Status),
    Queue(QueueDefinition),
    Failed(FailedItems),
    Comment(Comment),
    Removed(u64),
    Queues(Vec<QueueDefinition>),
    Statistics(QueueStatistics),
    Items(ItemPage),
    History(Vec<QueueItem>),
    Events(Vec<ItemEvent>),
    Comments(Vec<Comment>),
    Jobs(Vec<Job>),
    LiveJobs(Vec<(Job, bool)>),
}

/// A job that seems to be gone.
#[derive(Debug)]
pub(crate) struct Suspect {
    pub(crate) job: JobKey,
    /// The end of its lease when it was suspected: a beat since then clears it.
    pub(crate) held_until: Timestamp,
}
