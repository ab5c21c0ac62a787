//! What an item is, and what may happen to it: pure values and pure functions.
//!
//! The most frequent types are at the root of the crate too. The modules have the rules, for back ends and their tests:
//!
//! | module | what is in it |
//! |---|---|
//! | [`lifecycle`] | (item, event, queue, now) -> Transition: the only place that knows how an item may change |
//! | [`selection`] | which item is next |
//! | [`limits`] | how many items of a limited queue may start now |
//! | [`claim_blockers`] | why a claim on a queue gets no item |
//! | [`groups`] | which items of a group may be claimed, and whose turn it is |
//! | [`history`] | the events of an item |
//! | [`deadlines`] | whether what waits will be done by its DueDate |
//! | [`audit`] | who changed what, and from where |
//! | [`difference`] | what differs between two attempts |
//! | [`sweep`] | which jobs have probably stopped |
//! | [`clock_guard`] | whether the clock can be believed before something is removed because of its age |
//! | [`alert`] | what somebody should look at, and who has read it |
//! | [`bucket`] | storage buckets, and which paths their files may have |
//! | [`webhook`] | webhooks: what they hear of, and when it is sent again |
//! | [`operation`] | acts on many items at once: what may follow what, and when the next step is due |
//! | [`process`], [`machine`] | processes, and the machines and agents that run their jobs |
//! | [`review`] | who may change a comment |
//! | [`query`] | conditions on items, and sort orders of lists |
//! | [`item_query`] | filters of items as people write them, in URLs and options |
//! | [`personal`] | which fields of an item are personal, and masks in their places |
//! | [`view`] | filters of items under a name |
//! | `schema_fit` | whether what one JSON schema allows is accepted by another one (feature `json-schema`) |

#[cfg(feature = "json-schema")]
pub use performer_core::model::schema_fit;
pub use performer_core::model::{
    alert, audit, bucket, claim_blockers, clock_guard, deadlines, difference, groups, history, item_query,
    lifecycle, limits, machine, operation, personal, process, query, review, selection, sweep, view, webhook,
};

// Items.
pub use performer_core::model::content::{
    ANALYTICS_LIMIT, Analytics, CONTENT_LIMIT, OUTPUT_LIMIT, Output, SpecificContent,
};
pub use performer_core::model::cursor::PageCursor;
pub use performer_core::model::exception::{EXCEPTION_TEXT_LIMIT, ExceptionType, ProcessingException};
pub use performer_core::model::fingerprint::{FINGERPRINT_LIMIT, fingerprint};
pub use performer_core::model::history::{EventAction, ItemEvent};
pub use performer_core::model::item::{
    ClaimedItem, ItemEdit, NewQueueItem, Origin, PROGRESS_LIMIT, Priority, QueueItem, REFERENCE_LIMIT,
    ReferenceFilter, Source, validate_operation_id, validate_progress, validate_reference,
};
pub use performer_core::model::key::{Claim, InvalidKey, ItemId, ItemKey, KeyMaker};
pub use performer_core::model::list::{COUNT_LIMIT, ItemFilter, ItemPage, MAX_SKIP, PAGE_LIMIT, Page};
pub use performer_core::model::prefix::end_of_prefix;
pub use performer_core::model::reason::{
    MAX_REASONS, NOTE_LIMIT, REASON_PAGE_LIMIT, Reason, ReasonCursor, ReasonEdit, ReasonFilter, ReasonOrder,
};
pub use performer_core::model::result::{Outcome, TransactionResult};
pub use performer_core::model::review::{COMMENT_LIMIT, Comment, FailedItems, ItemVersion, Person};
pub use performer_core::model::selection::MAX_TAKE;
pub use performer_core::model::status::{ReviewStatus, Status};
pub use performer_core::model::stored_time::StoredTime;

// Queues.
pub use performer_core::model::figures::{
    BUCKETS, Durations, FIGURES_INTERVAL, Figure, Figures, FiguresFilter, Level, MAX_POINTS, Resolution,
};
pub use performer_core::model::key::{FolderId, QueueId, QueueKey};
pub use performer_core::model::limits::{LimitsEdit, MAX_WINDOW, MIN_WINDOW, MaxStarts, QueueLimits};
pub use performer_core::model::queue::{
    MAX_RETENTION_DAYS, MAX_RETRIES, MAX_SLA_IN_MINUTES, MOST_TAGS, NewQueueDefinition, QueueDefinition,
    QueueNotes, QueuePolicy, TAG_LIMIT, Tag,
};
pub use performer_core::model::retry_delay::{
    ExponentialDelay, InvalidRetryDelay, MAX_RETRY_DELAY, MIN_RETRY_DELAY, RetryDelay,
};
pub use performer_core::model::schema::{SchemaOf, Schemas};
pub use performer_core::model::statistics::QueueStatistics;

// Jobs and robots.
pub use performer_core::model::job::{
    DEFAULT_LEASE, Job, JobEnd, JobFigures, JobOwner, JobState, MAX_JOBS_LISTED, MAX_LEASE, MAX_ROBOTS,
    MIN_LEASE, NewJob, SWEEP_INTERVAL, StopStrategy, validate_job_limit,
};
pub use performer_core::model::key::{Holder, JobId, JobKey, JobNumber};
pub use performer_core::model::robot::{Held, MAX_ROBOTS_LISTED, Robot, RobotState};

// Assets.
pub use performer_core::model::asset::{
    Asset, AssetId, AssetReader, AssetScope, AssetSettings, AssetType, AssetValue, Credential, KeyValue,
    NewAsset, NewValue, OwnedValue, RobotAsset, ValueOf,
};
pub use performer_core::model::key::{AlertKey, AssetKey};
// Tasks.
pub use performer_core::model::key::{CatalogKey, TaskKey};
pub use performer_core::model::task::{
    AnswerOutcome, AskingItem, NewTask, Task, TaskAct, TaskActivity, TaskAnswer, TaskData, TaskId, TaskLabel,
    TaskPriority, TaskStatus,
};

// What is not about one of them.
pub use performer_core::model::clock::{Clock, ManualClock, SteadyTime, SystemClock};
pub use performer_core::model::code::ErrorCode;
pub use performer_core::model::log::{self, LogLevel};
pub use performer_core::model::user::UserType;
pub use performer_core::model::{FieldEdit, Refusal, UnknownValue};
