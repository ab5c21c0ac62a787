//! What a store is asked to do: a batch of operations in one durable transaction, and queries.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use smallvec::SmallVec;

use super::super::{BulkAdded, CommitType, Report, Result, Swept, Take};
use super::clock::StoreClock;
use super::removal::RetentionProgress;
use super::sweep::LiveJobs;
pub(crate) use super::writer_hooks::{CommitEffects, WriterHooks};
use crate::model::content::{Analytics, Output};
use crate::model::directory::{Change, Directory, Token, TokensOf};
use crate::model::history::ItemEvent;
use crate::model::item::{
    ClaimedItem, ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, QueueItem, ReferenceFilter,
};
use crate::model::job::{Job, JobEnd, JobOwner, JobState, NewJob, StopStrategy};
use crate::model::key::{Claim, FolderId, ItemId, ItemKey, JobKey, JobNumber, QueueId, QueueKey};
use crate::model::limits::LimitsEdit;
use crate::model::queue::{NewQueueDefinition, QueueDefinition};
use crate::model::result::StatedResult;
#[cfg(feature = "crash-points")]
use crate::model::result::TransactionResult;
use crate::model::review::{Comment, FailedItems, ItemVersion, Person};
use crate::model::robot::Robot;
use crate::model::statistics::{Ended, QueueStatistics};
use crate::model::status::{ReviewStatus, Status};

/// Keeps queues, items and jobs.
///
/// The batch is the unit: [`commit`](Self::commit) makes one durable transaction of all its operations and
/// answers each. An operation that is refused changes nothing and does not disturb the others. When the transaction fails
/// for a reason that passes, every operation is answered with that error; for any other reason it is applied again in
/// parts, and only the operation that cannot be applied is answered with it.
///
/// Callable synchronously: a store hides no thread and never waits for a runtime, so that a simulation
/// can call it in place. [`GroupCommit`](super::group_commit::Batch) puts it on a thread where that is better.
pub(crate) trait Backend: WriterHooks {
    /// Applies operations in one transaction. The clock is read when the transaction has begun: until then another
    /// process may hold the store, and may have acted at a later time.
    ///
    /// When everything is applied, `more` is asked what has come in the meantime, until it says nothing; so a
    /// transaction holds as much as there is at the moment when it is committed. The answers are in the order of
    /// all operations.
    fn commit(
        &mut self,
        operations: Vec<Request>,
        more: &mut dyn FnMut() -> Vec<Request>,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>>;

    /// Undoes a transaction that a panic left open; a store that cannot undo refuses to go on.
    fn abort(&mut self);

    /// Answers a query from one consistent state.
    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer>;
}

/// The operations of one caller: a robot has a report and a take. Made in place, because memory that one thread takes
/// and another gives back makes both wait.
pub(crate) type Requests = SmallVec<[Request; 2]>;

/// Where something is asked for, and by whom. What is in another folder is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) folder: FolderId,
    pub(crate) user: Option<i64>,
}

impl Scope {
    /// Where everything is that nobody serves.
    pub(crate) const SHARED: Self = Self { folder: FolderId::SHARED, user: None };
}

/// One change, and in whose name.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    pub(crate) operation: Operation,
}

/// A queue by its name in the folder, or by its number.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "some is for the server alone"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueSelector {
    Name(String),
    Id(QueueId),
    /// By its key.
    Key(QueueKey),
}

/// The folders where a caller may change queues; `None`: all of them.
pub(crate) type Reach = Option<Arc<[FolderId]>>;

/// Which items to take, and who takes them.
#[derive(Clone, Debug)]
pub(crate) struct ClaimOperation {
    pub(crate) queue: Arc<str>,
    pub(crate) count: usize,
    pub(crate) reference: Option<ReferenceFilter>,
    pub(crate) claimant: Claimant,
}

/// What was taken.
#[derive(Debug, Default)]
pub(crate) struct ClaimedBatch {
    pub(crate) items: SmallVec<[ClaimedItem; 1]>,
    /// More waits, and is held back by a limit of the queue, or because it is paused: when to look again, at the latest.
    pub(crate) withheld: Option<Duration>,
}

/// Who takes items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claimant {
    pub(crate) job: JobKey,
    /// The user in whose name it is asked for, once it is applied.
    pub(crate) user: Option<i64>,
    /// The robot of a job of ours.
    pub(crate) robot: Option<u32>,
    /// The robot of a caller over HTTP.
    pub(crate) robot_id: Option<i64>,
    /// The job that such a caller says it is.
    pub(crate) executor: Option<JobKey>,
}

impl From<Take> for ClaimOperation {
    fn from(take: Take) -> Self {
        let Take { queue, job, robot, count, reference } = take;
        let claimant = Claimant { job, user: None, robot, robot_id: None, executor: None };
        Self { queue, count, reference, claimant }
    }
}

/// The result of a caller over HTTP, who has no claim to show (orchestrator-api 9.1).
#[derive(Clone, Debug)]
pub(crate) struct UnclaimedReport {
    pub(crate) item: ItemId,
    pub(crate) stated: StatedResult,
    /// What the transaction left, however it ended.
    pub(crate) output: Option<Output>,
    pub(crate) analytics: Option<Analytics>,
    pub(crate) progress: Option<String>,
    pub(crate) operation_id: Option<String>,
}

/// One change.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "some is for the server alone"))]
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    StartJob(NewJob),
    Beat(JobKey),
    EndJob {
        job: JobKey,
        end: JobEnd,
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
    /// The progress of an item, by a caller over HTTP.
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
    /// Puts queues into folders and takes them out of others.
    ShareQueues {
        queues: Vec<QueueId>,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    },
    /// Changes the directory; makes this one first, where there is none.
    Directory {
        new: Option<Box<Directory>>,
        changes: Vec<Change>,
    },
    Edit {
        id: ItemId,
        edit: ItemEdit,
    },
    Delete(Vec<ItemVersion>),
    /// One item, whatever its version.
    DeleteOne(ItemId),
    /// An item is abandoned, as if whoever holds it had gone.
    Abandon(ItemId),
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
    /// A piece of the removal of items past their retention, from where the last one ended.
    ApplyRetention {
        limit: usize,
        after: Option<(QueueId, ItemId)>,
    },
    /// Removes about so many rows of queues that were deleted.
    RemoveDeleted {
        limit: usize,
    },
    /// Removes those of these jobs that ended long ago, whatever items say of them.
    RemoveJobs(Vec<JobKey>),
    /// Gives out a token. Older ones of the application or user make room for it.
    AddToken {
        digest: String,
        token: Token,
    },
    RemoveTokens(TokensOf),
    /// Removes about so many tokens that ended long ago.
    RemoveEndedTokens {
        limit: usize,
    },
    StopJob {
        job: JobKey,
        strategy: StopStrategy,
    },
}

impl Operation {
    /// How much there is to do: one for each item.
    pub(crate) fn work(&self) -> usize {
        match self {
            Self::Claim(claim) => claim.count.max(1),
            Self::BulkAdd { items, .. } => items.len().max(1),
            Self::Delete(items) | Self::Review { items, .. } | Self::SetReviewer { items, .. } => {
                items.len().max(1)
            }
            _ => 1,
        }
    }

    /// Whether it makes, changes or deletes queues: nobody else may have looked one up then.
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
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "some is for the server alone"))]
#[derive(Debug)]
pub(crate) enum Query {
    Queue(QueueSelector),
    /// The queues in the folder.
    Queues,
    /// The queues in any of these folders.
    QueuesOf(Arc<[FolderId]>),
    Statistics(QueueSelector),
    Item(ItemId),
    ItemKeyed(ItemKey),
    Items(Box<ItemFilter>, Page),
    /// Items of the queues in any of these folders; whether they are counted.
    ItemsOf {
        folders: Arc<[FolderId]>,
        filter: Box<ItemFilter>,
        page: Page,
        count: bool,
    },
    /// The keys that attempts have of their own.
    KeysOf(Vec<ItemId>),
    /// One comment.
    Comment(i64),
    /// The comments on items of queues in any of these folders.
    CommentsOf(Arc<[FolderId]>),
    /// How attempts of a queue ended since a time.
    Ended {
        queue: Option<QueueId>,
        since: Timestamp,
    },
    /// The directory, if it is newer than this version.
    Directory {
        known: u64,
    },
    /// The token with a digest.
    Token(String),
    /// All personal access tokens.
    NamedTokens,
    History(ItemId),
    Events(ItemId),
    Comments(ItemId),
    Jobs {
        limit: usize,
    },
    /// Jobs that ended long before a time, from behind one on; whether an item names each of them.
    EndedJobs {
        now: Timestamp,
        after: JobNumber,
        limit: usize,
    },
    /// What a sweeper looks at.
    LiveJobs,
    /// What a job holds, for who started it.
    Held(JobKey),
    /// Who started a job, if it is there.
    OwnerOf(JobKey),
    /// The robots of jobs that have not ended, as of a time.
    Robots {
        now: Timestamp,
    },
}

/// The answer to an operation or a query.
#[cfg_attr(not(feature = "server"), expect(dead_code, reason = "some is for the server alone"))]
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
    Queue(QueueDefinition),
    Numbers(Vec<i64>),
    Keys(Vec<(ItemId, ItemKey)>),
    Directory(Option<(u64, Directory)>),
    Token(Option<Token>),
    Tokens(Vec<Token>),
    /// Of tokens.
    Digests(Vec<String>),
    EndedJobs(Vec<(JobKey, bool)>),
    Ended(Vec<Ended>),
    Page(Vec<QueueItem>, Option<u64>),
    Failed(FailedItems),
    Comment(Comment),
    Removed(u64),
    RetentionProgress(RetentionProgress),
    /// Whether more may have to be removed.
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

/// A job that seems to be gone.
#[derive(Clone, Debug)]
pub(crate) struct Suspect {
    pub(crate) job: JobKey,
    /// The end of its lease when it was suspected: a beat since then clears it.
    pub(crate) held_until: Timestamp,
}

/// The one kind of answer an operation has; any other is a mistake in this crate. A `Result`: it does not leave the function
/// in which it stands, or a loop over folders would end at the first where something is not there.
macro_rules! expect_answer {
    ($answer:expr, $variant:ident) => {
        match $answer {
            Ok($crate::orchestrator::store::backend::Answer::$variant(value)) => Ok(value),
            Ok(other) => unreachable!("{} was expected, not {other:?}", stringify!($variant)),
            Err(error) => Err::<_, $crate::orchestrator::OrchestratorError>(error),
        }
    };
}
pub(crate) use expect_answer;
