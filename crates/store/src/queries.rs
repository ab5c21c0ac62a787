//! Queries of a store, and the answers to operations and queries.

use std::sync::Arc;

use jiff::Timestamp;

use super::alerts::{AlertAnswer, AlertQuery};
use super::assets::{AssetAnswer, AssetQuery};
use super::audit::AuditRow;
use super::backend::ClaimedBatch;
use super::buckets::{BucketAnswer, BucketQuery};
use super::comments::CommentsOn;
use super::document::DocumentOutcome;
use super::fleet::{FleetAnswer, FleetQuery};
use super::jobs::JobFilter;
use super::logs::{LogAnswer, LogQuery};
use super::operations::{ListOperationItems, OperationItems, OperationRemoval};
use super::removal::RetentionProgress;
use super::scoped_queues::{QueueSelector, Reach};
use super::sweep::LiveJobs;
use super::tasks::{TaskQuery, TaskReply};
use super::tokens::Token;
use super::webhooks::{WebhookAnswer, WebhookQuery};
use performer_core::model::audit::AuditFilter;
use performer_core::model::deadlines::DueWork;
use performer_core::model::figures::{Figures, FiguresFilter};
use performer_core::model::history::ItemEvent;
use performer_core::model::item::{ClaimedItem, ItemFilter, ItemPage, Page, QueueItem};
use performer_core::model::job::{Job, JobOwner, JobState};
use performer_core::model::key::{Claim, FolderId, ItemId, ItemKey, JobKey, JobNumber, QueueId};
use performer_core::model::operation::{
    ItemOperation, OperationId, OperationItem, OperationList, Plan, Selected,
};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::reason::{Reason, ReasonFilter};
use performer_core::model::review::{Comment, FailedItems};
use performer_core::model::robot::Robot;
use performer_core::model::statistics::{Ended, QueueStatistics};
use performer_core::model::status::Status;
use performer_core::model::view::SavedView;
use performer_core::orchestrator::{BulkAdded, Swept};

/// One question.
#[derive(Debug)]
pub(crate) enum Query {
    Queue(QueueSelector),
    /// The queues of the folder.
    Queues,
    /// The queues in any of these folders.
    QueuesOf(Arc<[FolderId]>),
    Statistics(QueueSelector),
    /// The numbers of items of all queues in any of these folders.
    StatisticsOf(Arc<[FolderId]>),
    Item(ItemId),
    /// These items, if their queues are in any of these folders.
    ItemsWith {
        folders: Arc<[FolderId]>,
        ids: Vec<ItemId>,
    },
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
    /// All tokens of a user, with their digests.
    TokensOf(i64),
    History(ItemId),
    Events(ItemId),
    /// Ready items with a DueDate, in the order in which they will be handed out.
    DueWork {
        queue: QueueSelector,
        now: Timestamp,
    },
    /// Records of the audit that match, the newest first.
    Audit(Box<AuditFilter>),
    /// Records of the audit from behind a number on.
    AuditFrom(u64),
    Jobs {
        limit: usize,
    },
    /// Jobs of some folders, in the order of their numbers.
    JobsOf(Box<JobFilter>),
    Job(JobKey),
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
    /// The items of an operation that is to be made.
    Select {
        folders: Arc<[FolderId]>,
        plan: Box<Plan>,
        which: OperationItems,
        now: Timestamp,
    },
    Operation {
        id: OperationId,
        reach: Reach,
    },
    /// Operations within reach with smaller numbers, the newest first.
    Operations {
        reach: Reach,
        before: Option<OperationId>,
        limit: usize,
    },
    OperationItems {
        ask: ListOperationItems,
        reach: Reach,
    },
    /// The views of the user, and those that are shared with one of these folders.
    Views(Arc<[FolderId]>),
    /// How many copies of an operation have each status.
    CountCopies(OperationId, Reach),
    /// Operations whose next step is due at a time.
    /// Until when no item of a queue is started because of its limit on starts.
    StartLimitUntil {
        which: QueueSelector,
        now: Timestamp,
    },
    DueOperations(Timestamp),
    /// Robot logs.
    Log(Box<LogQuery>),
    Assets(AssetQuery),
    Webhooks(WebhookQuery),
    Alerts(AlertQuery),
    Buckets(BucketQuery),
    Fleet(FleetQuery),
    Tasks(TaskQuery),
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
    TokensOf(Vec<(String, Token)>),
    /// Digests of tokens.
    Digests(Vec<String>),
    EndedJobs(Vec<(JobKey, bool)>),
    Figures(Figures),
    Reasons(Vec<Reason>),
    Ended(Vec<Ended>),
    Page((Vec<QueueItem>, Option<u64>)),
    Failed(FailedItems),
    Audit(Vec<AuditRow>),
    DueWork(DueWork),
    Comment(Comment),
    Removed(u64),
    RetentionProgress(RetentionProgress),
    /// Whether there may be more to remove.
    MoreIsLeft(bool),
    Queues(Vec<QueueDefinition>),
    Statistics(QueueStatistics),
    StatisticsOf(Vec<(QueueDefinition, QueueStatistics)>),
    /// Items, each with a folder of its queue.
    ItemsWith(Vec<(FolderId, QueueItem)>),
    Items(ItemPage),
    History(Vec<QueueItem>),
    Events(Vec<ItemEvent>),
    Comments(Vec<Comment>),
    Jobs(Vec<Job>),
    LiveJobs(LiveJobs),
    Claims(Vec<Claim>),
    Owner(Option<JobOwner>),
    Robots(Vec<Robot>),
    Selected(Box<Selected>),
    Operation(Box<ItemOperation>),
    Operations(OperationList),
    OperationItems(Vec<OperationItem>),
    Views(Vec<SavedView>),
    CountedCopies(Vec<(Status, u64)>),
    StartLimitUntil(Option<Timestamp>),
    DueOperations(Vec<(OperationId, u64)>),
    OperationRemoval(OperationRemoval),
    Log(LogAnswer),
    Asset(AssetAnswer),
    Webhook(WebhookAnswer),
    Alert(AlertAnswer),
    Bucket(BucketAnswer),
    Fleet(FleetAnswer),
    Task(TaskReply),
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
