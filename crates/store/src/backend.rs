//! The trait of a back end: a batch of operations in one durable transaction, and queries.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::arrivals::Arrivals;
use super::clock::StoreClock;
use super::comments::CommentsOn;
use super::document::{DocumentChange, DocumentOutcome};
use super::removal::RetentionProgress;
use super::scoped_items::UnclaimedReport;
use super::scoped_queues::{QueueSelector, Reach};
use super::sweep::LiveJobs;
use super::tokens::Token;
pub(crate) use super::writer_hooks::{CommitEffects, WriterHooks};
use performer_core::model::figures::{Figures, FiguresFilter};
use performer_core::model::history::ItemEvent;
use performer_core::model::item::{
    ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem, ReferenceFilter,
};
use performer_core::model::job::{Job, JobEnd, JobOwner, JobState, NewJob, StopStrategy};
use performer_core::model::key::{Claim, FolderId, ItemId, ItemKey, JobKey, JobNumber, QueueId};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::queue::{NewQueueDefinition, QueueDefinition};
use performer_core::model::reason::{Reason, ReasonEdit, ReasonFilter};
#[cfg(feature = "crash-points")]
use performer_core::model::result::TransactionResult;
use performer_core::model::review::{Comment, FailedItems, ItemVersion, Person};
use performer_core::model::robot::Robot;
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::model::sweep::Suspect;
use performer_core::orchestrator::{BulkAdded, ClaimRequest, CommitType, Report, Result, Swept};

/// Keeps queues, items and jobs.
///
/// The batch is the unit: [`commit`](Self::commit) applies all its operations in one durable transaction and answers
/// each. An operation that is refused changes nothing and does not affect the others. If the transaction fails for a
/// transient reason, every operation is answered with that error; for any other reason the operations are applied again
/// in parts, and only the operation that cannot be applied is answered with the error.
///
/// Synchronous: a back end has no threads and never waits for a runtime, so that a simulation can call it directly.
/// [`GroupCommit`](super::group_commit::GroupCommit) runs it on a thread if that is better.
pub(crate) trait Backend: WriterHooks {
    /// Applies operations in one transaction. The clock is read after the transaction has begun: before that, another
    /// process may have held the store and acted at a later time.
    ///
    /// After everything is applied, requests that have arrived meanwhile join, until there are none. So a transaction
    /// takes everything that is there at the moment of its commit. Last, claims that wait for an item are served with what
    /// is left. The answers are in the order of all operations.
    fn commit(
        &mut self,
        operations: Vec<Request>,
        arrivals: &mut dyn Arrivals,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>>;

    /// Undoes a transaction that a panic left open. A back end that cannot undo it refuses all further calls.
    fn abort(&mut self);

    /// Answers a query from one consistent state.
    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer>;
}

/// The requests of one caller: a robot has a report and a claim. Stored inline: memory that is allocated on one thread
/// and freed on another makes both threads wait.
pub(crate) type Requests = SmallVec<[Request; 2]>;

/// The folder of a request, and the user who makes it. Items and queues of other folders do not exist in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) folder: FolderId,
    pub(crate) user: Option<i64>,
}

impl Scope {
    /// The scope of a caller that opened the store itself.
    pub(crate) const SHARED: Self = Self { folder: FolderId::SHARED, user: None };
}

/// One operation, and the scope it is applied in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    pub(crate) operation: Operation,
}

/// Which items to claim, and for whom.
#[derive(Clone, Debug)]
pub(crate) struct ClaimOperation {
    pub(crate) queue: Arc<str>,
    pub(crate) count: usize,
    pub(crate) reference: Option<ReferenceFilter>,
    pub(crate) claimant: Claimant,
}

/// Items that were claimed.
#[derive(Debug, Default)]
pub(crate) struct ClaimedBatch {
    pub(crate) items: SmallVec<[ClaimedItem; 1]>,
    /// Their queue.
    pub(crate) queue: Option<QueueId>,
    /// More items wait, but a limit of the queue withholds them, or the queue is paused: try again after this time at
    /// the latest.
    pub(crate) withheld: Option<Duration>,
}

/// Who claims items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub(crate) job: JobKey,
    /// The user of the request; set when the claim is applied.
    pub(crate) user: Option<i64>,
    /// The robot of one of our performers' jobs.
    pub(crate) robot: Option<u32>,
    /// The robot of a caller without a lease.
    pub(crate) robot_id: Option<i64>,
    /// The job that a caller without a lease names as its own.
    pub(crate) executor: Option<JobKey>,
}

impl From<ClaimRequest> for ClaimOperation {
    fn from(take: ClaimRequest) -> Self {
        let ClaimRequest { queue, job, robot, count, reference, .. } = take;
        let claimant = Claimant { job, user: None, robot, robot_id: None, executor: None };
        Self { queue, count, reference, claimant }
    }
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    StartJob(NewJob),
    Beat(JobKey),
    EndJob {
        job: JobKey,
        end: JobEnd,
    },
    /// Ends those of these jobs that have stopped. `planned`: the monotone time at which they were suspected.
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
        items: Arc<Vec<NewQueueItem>>,
    },
    AddAndStart {
        claim: ClaimOperation,
        item: Box<NewQueueItem>,
    },
    Report(Report),
    Claim(ClaimOperation),
    Progress {
        claim: Claim,
        progress: String,
    },
    ReportUnclaimed(Box<UnclaimedReport>),
    /// Progress of an item, reported over HTTP without a claim.
    ProgressOf {
        id: ItemId,
        progress: String,
    },
    CreateQueue(Box<NewQueueDefinition>),
    UpdateQueue {
        which: QueueSelector,
        queue: Box<NewQueueDefinition>,
        reach: Reach,
    },
    DeleteQueue {
        which: QueueSelector,
        reach: Reach,
    },
    EditLimits {
        which: QueueSelector,
        edit: LimitsEdit,
        reach: Reach,
    },
    /// Adds queues to folders and removes them from others.
    ShareQueues {
        queues: Vec<QueueId>,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    },
    /// Writes the document of a server.
    PutDocument(Box<DocumentChange>),
    Edit {
        id: ItemId,
        edit: ItemEdit,
    },
    Delete(Vec<ItemVersion>),
    /// Deletes one item, whatever its row version.
    DeleteOne(ItemId),
    /// Abandons an item, as if its holder's job were lost.
    Abandon(ItemId),
    Review {
        to: ReviewStatus,
        items: Vec<ItemVersion>,
    },
    SetReviewer {
        reviewer: Option<i64>,
        items: Vec<ItemVersion>,
    },
    EditReason {
        id: i64,
        edit: ReasonEdit,
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
    /// Has an item retried, as a copy with other content.
    Correct {
        item: ItemVersion,
        edit: ItemEdit,
    },
    /// Removes a chunk of the items past their retention; `after` is where the previous chunk ended.
    ApplyRetention {
        limit: usize,
        after: Option<(QueueId, ItemId)>,
    },
    /// Removes about `limit` rows of deleted queues.
    RemoveDeleted {
        limit: usize,
    },
    /// Removes those of these jobs that ended before the retention of jobs. No check whether items name them.
    RemoveJobs(Vec<JobKey>),
    /// Adds a token. Removes the oldest login tokens of the application or user if there are too many.
    AddToken {
        digest: String,
        token: Token,
    },
    /// Removes about `limit` tokens that expired before the retention of tokens.
    RemoveEndedTokens {
        limit: usize,
    },
    StopJob {
        job: JobKey,
        strategy: StopStrategy,
    },
    /// Writes the figures that are due, for a store in which nothing else happens.
    WriteFigures,
}

impl Operation {
    /// How much work it is: one for each item.
    pub(crate) fn work(&self) -> usize {
        match self {
            Self::Claim(claim) => claim.count.max(1),
            Self::BulkAdd { items, .. } => items.len().max(1),
            Self::Report(report) => report.follow_ups.len() + 1,
            Self::Delete(items) | Self::Review { items, .. } | Self::SetReviewer { items, .. } => {
                items.len().max(1)
            }
            _ => 1,
        }
    }

    /// Whether it creates, changes or deletes queues. Then no other transaction may rely on a queue it has looked up.
    pub(crate) fn changes_queues(&self) -> bool {
        matches!(
            self,
            Self::CreateQueue(_)
                | Self::UpdateQueue { .. }
                | Self::DeleteQueue { .. }
                | Self::EditLimits { .. }
                | Self::ShareQueues { .. }
        )
    }
}

#[cfg(feature = "crash-points")]
impl Operation {
    /// Its name in crash points.
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
            Self::Claim(_) => "claim",
            Self::ReportUnclaimed(_) => "report",
            Self::Progress { .. } | Self::ProgressOf { .. } => "progress",
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
    Queue(QueueSelector),
    /// The queues of the folder.
    Queues,
    /// The queues in any of these folders.
    QueuesOf(Arc<[FolderId]>),
    Statistics(QueueSelector),
    Item(ItemId),
    ItemKeyed(ItemKey),
    Items(Box<ItemFilter>, Page),
    /// Items of the queues in any of these folders.
    ItemsOf {
        folders: Arc<[FolderId]>,
        filter: Box<ItemFilter>,
        page: Page,
    },
    /// The unique keys of attempts.
    KeysOf(Vec<ItemId>),
    /// One comment.
    Comment(i64),
    /// Comments on items of queues in any of these folders, by id, from behind one on.
    CommentsOf {
        folders: Arc<[FolderId]>,
        on: CommentsOn,
        after: i64,
        limit: usize,
    },
    /// What ended and what waited, by minute or hour.
    Figures(Box<FiguresFilter>),
    /// Groups of failures.
    Reasons(Box<ReasonFilter>),
    /// How attempts ended since a time; `queue` is `None` for all queues.
    Ended {
        queue: Option<QueueId>,
        since: Timestamp,
    },
    /// The document of a server, if its version is not `known`.
    Document {
        known: u64,
    },
    /// The token with a digest.
    Token(String),
    /// All personal access tokens.
    NamedTokens,
    History(ItemId),
    Events(ItemId),
    Jobs {
        limit: usize,
    },
    /// Jobs that ended before the retention of jobs, in the order of their numbers, from behind `after` on; and whether
    /// an item names each of them.
    EndedJobs {
        now: Timestamp,
        after: JobNumber,
        limit: usize,
    },
    /// What a sweep looks at.
    LiveJobs,
    /// The claims of a job, for the user who started it.
    Held(JobKey),
    /// The user who started a job, if the job exists.
    OwnerOf(JobKey),
    /// The robots of jobs that have not ended, at a time.
    Robots {
        now: Timestamp,
    },
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
    ClaimedBatch(ClaimedBatch),
    Status(Status),
    Queue(Box<QueueDefinition>),
    Keys(Vec<(ItemId, ItemKey)>),
    Document(Option<(u64, String)>),
    DocumentOutcome(DocumentOutcome),
    Token(Option<Token>),
    Tokens(Vec<Token>),
    /// Digests of tokens.
    Digests(Vec<String>),
    EndedJobs(Vec<(JobKey, bool)>),
    Figures(Figures),
    Reasons(Vec<Reason>),
    Ended(Vec<Ended>),
    Page((Vec<QueueItem>, Option<u64>)),
    Failed(FailedItems),
    Comment(Comment),
    Removed(u64),
    RetentionProgress(RetentionProgress),
    /// Whether there may be more to remove.
    MoreIsLeft(bool),
    Queues(Vec<QueueDefinition>),
    Statistics(QueueStatistics),
    Items(ItemPage),
    History(Vec<QueueItem>),
    Events(Vec<ItemEvent>),
    Comments(Vec<Comment>),
    Jobs(Vec<Job>),
    LiveJobs(LiveJobs),
    Claims(Vec<Claim>),
    Owner(Option<JobOwner>),
    Robots(Vec<Robot>),
}

/// The one kind of answer that an operation has; any other kind is a bug in this crate. Evaluates to a `Result` and
/// never returns from the function that uses it: a loop over folders must not end at the first one in which something
/// does not exist.
macro_rules! expect_answer {
    ($answer:expr, $variant:ident) => {
        match $answer {
            Ok($crate::backend::Answer::$variant(value)) => Ok(value),
            Ok(other) => unreachable!("{} was expected, not {other:?}", stringify!($variant)),
            Err(error) => Err::<_, performer_core::orchestrator::OrchestratorError>(error),
        }
    };
}
pub(crate) use expect_answer;
