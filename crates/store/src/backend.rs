//! The trait of a back end: a batch of operations in one durable transaction, and queries.

use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;

use super::alerts::AlertOperation;
use super::arrivals::Arrivals;
use super::assets::AssetOperation;
use super::buckets::BucketOperation;
use super::clock::StoreClock;
use super::document::DocumentChange;
use super::fleet::FleetOperation;
use super::logs::LogOperation;
use super::operations::Steering;
pub(crate) use super::queries::{Answer, Query, expect_answer};
use super::scoped_items::UnclaimedReport;
use super::scoped_queues::{QueueSelector, Reach};
use super::tasks::TaskOperation;
use super::tokens::Token;
use super::views::ViewOperation;
use super::webhooks::WebhookOperation;
pub(crate) use super::writer_hooks::{CommitEffects, WriterHooks};
use performer_core::model::audit::Actor;
use performer_core::model::item::{ClaimedItem, ItemEdit, NewQueueItem, ReferenceFilter};
use performer_core::model::job::{JobEnd, NewJob, StopStrategy};
use performer_core::model::key::{Claim, FolderId, ItemId, JobKey, QueueId};
use performer_core::model::limits::LimitsEdit;
use performer_core::model::operation::{CHUNK, ItemOperation, OperationId};
use performer_core::model::queue::NewQueueDefinition;
use performer_core::model::reason::ReasonEdit;
#[cfg(feature = "crash-points")]
use performer_core::model::result::TransactionResult;
use performer_core::model::review::{ItemVersion, Person};
use performer_core::model::status::ReviewStatus;
use performer_core::model::sweep::Suspect;
use performer_core::orchestrator::{ClaimRequest, CommitType, Report, Result};

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
    /// Whether queries mask the personal fields of items.
    pub(crate) is_masked: bool,
}

impl Scope {
    /// The scope of a caller that opened the store itself.
    pub(crate) const SHARED: Self = Self { folder: FolderId::SHARED, user: None, is_masked: false };
}

/// One operation, and the scope it is applied in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) scope: Scope,
    /// Whom the audit names. `None` for what it does not record.
    pub(crate) actor: Option<Arc<Actor>>,
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

/// A comment to be added to items.
#[derive(Clone, Debug)]
pub(crate) struct NewComment {
    pub(crate) author: Person,
    pub(crate) text: String,
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
    /// Sets the review status of items, and adds the comment to those that were not refused.
    Review {
        to: ReviewStatus,
        items: Vec<ItemVersion>,
        comment: Option<Box<NewComment>>,
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
    /// Removes the content of an item. `row_version`: `None` for whatever it is.
    Purge {
        id: ItemId,
        row_version: Option<u64>,
    },
    /// Has an item retried, as a copy with other content.
    Correct {
        item: ItemVersion,
        edit: ItemEdit,
    },
    /// Shows an item with its personal fields, and records that in the audit.
    Reveal {
        id: ItemId,
        reason: String,
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
    /// Removes the token with a digest.
    RemoveToken(String),
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
    /// Makes an operation on many items, with the first of its items.
    PrepareActs {
        operation: Box<ItemOperation>,
        items: Arc<[ItemVersion]>,
    },
    /// Keeps more items of an operation, from a place on.
    KeepItems {
        id: OperationId,
        from: u64,
        items: Arc<[ItemVersion]>,
    },
    SteerActs {
        id: OperationId,
        reach: Reach,
        steering: Steering,
    },
    /// Does the next step of an operation that has this version.
    StepActs {
        id: OperationId,
        version: u64,
    },
    /// Adds, changes or removes a saved view.
    View(Box<ViewOperation>),
    /// Removes about `limit` items of an operation that need not be kept any more.
    RemoveActs {
        limit: usize,
    },
    /// Robot logs.
    Log(LogOperation),
    Assets(Box<AssetOperation>),
    Webhooks(Box<WebhookOperation>),
    Alerts(AlertOperation),
    Buckets(Box<BucketOperation>),
    Fleet(Box<FleetOperation>),
    Tasks(Box<TaskOperation>),
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
            Self::StepActs { .. } => CHUNK,
            // Narrow rows, of which nothing but their place is known.
            Self::PrepareActs { items, .. } | Self::KeepItems { items, .. } => (items.len() / 20).max(1),
            // Narrow rows, of which nothing is looked up.
            Self::Log(LogOperation::Add(lines)) => (lines.len() / 20).max(1),
            _ => 1,
        }
    }

    /// Whether it is a change that people make, which the audit records.
    pub(crate) fn is_audited(&self) -> bool {
        match self {
            Self::CreateQueue(_)
            | Self::UpdateQueue { .. }
            | Self::DeleteQueue { .. }
            | Self::EditLimits { .. }
            | Self::ShareQueues { .. }
            | Self::PutDocument(_)
            | Self::Edit { .. }
            | Self::Delete(_)
            | Self::DeleteOne(_)
            | Self::Abandon(_)
            | Self::Review { .. }
            | Self::SetReviewer { .. }
            | Self::AddComment { .. }
            | Self::EditComment { .. }
            | Self::Purge { .. }
            | Self::Correct { .. }
            | Self::EditReason { .. }
            | Self::Reveal { .. }
            | Self::View(_)
            | Self::SteerActs { .. }
            | Self::Tasks(_)
            | Self::StopJob { .. } => true,
            Self::AddToken { token, .. } => token.name.is_some(),
            Self::Assets(operation) => operation.is_audited(),
            Self::Webhooks(operation) => operation.is_audited(),
            Self::Buckets(operation) => operation.is_audited(),
            Self::Fleet(operation) => operation.is_audited(),
            _ => false,
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
            Self::StepActs { .. } => "operation",
            Self::Tasks(_) => "tasks",
            _ => "other",
        }
    }
}
