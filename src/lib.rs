// The README links to files. Of two definitions of a reference the first one counts, so here its links lead to the guide, and
// its picture is in the page.
#![cfg_attr(doc, doc = concat!("[run]: ", include_str!("../docs/run.svg.url")))]
#![cfg_attr(doc, doc = concat!("[desk picture]: ", include_str!("../docs/images/desk-items.png.url")))]
//! [guide]: crate::guide
//! [first performer]: crate::guide::first_performer
//! [outcomes]: crate::guide::outcomes
//! [applications]: crate::guide::applications
//! [postponing]: crate::guide::postponing
//! [assets]: crate::guide::assets
//! [buckets]: crate::guide::buckets
//! [tasks]: crate::guide::tasks
//! [testing]: crate::guide::testing
//! [running]: crate::guide::running
//! [observability]: crate::guide::observability
//! [sqlite]: crate::guide::sqlite
//! [postgresql]: crate::guide::postgresql
//! [uipath]: crate::guide::uipath
//! [server]: crate::guide::server
//! [desk]: crate::guide::desk
//! [webhooks]: crate::guide::webhooks
//! [processes]: crate::guide::processes
//! [alerts]: crate::guide::alerts
//! [command line]: crate::guide::command_line
//! [scaling]: crate::guide::scaling
//! [tuning]: crate::guide::tuning
//! [faults]: crate::guide::faults
//! [reframework]: crate::guide::reframework
//! [back ends]: crate::guide::back_ends
//!
#![doc = include_str!("../README.md")]
//!
//! # The map
//!
//! | module | what it is |
//! |---|---|
//! | [`runtime`] | the runtime: claims items, hands them to a [`Transaction`], reports the results |
//! | [`testing`] | run a transaction without a back end, or on copies of real items |
//! | [`orchestrator`] | where queues live: the traits, [`connect`], the back ends |
//! | [`exception`] | how a transaction fails: the words the user writes |
//! | [`model`] | what an item is, and what may happen to it |
//! | `progress` | how far a performer is, on a terminal (feature `progress`) |
//! | `robot_logs` | ships what a program logs to its Orchestrator (feature `robot-logs`) |
//! | `server` | an Orchestrator in a box (feature `server`) |
//! | `tables` | the rows of CSV, JSON and spreadsheets, for a [`Dispatcher`] (feature `tables`) |
//! | [`guide`] | the guide, in the documentation alone |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

mod dispatcher;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod model;
pub mod orchestrator;
#[cfg(feature = "progress")]
pub mod progress;
#[cfg(feature = "robot-logs")]
pub mod robot_logs;
pub mod runtime;
pub mod testing;

pub use performer_core::exception;
#[cfg(feature = "server")]
pub use performer_server as server;
#[cfg(feature = "tables")]
pub use performer_tables as tables;

pub use dispatcher::{DispatchError, DispatchProgress, DispatchSummary, Dispatcher, RefusedValue};
pub use exception::{ApplicationException, BusinessException, Exception, OrApplication, OrBusiness};
/// The library of the instants in signatures.
pub use jiff;
/// The facade of metrics, for whose recorder a performer counts.
#[cfg(feature = "metrics")]
pub use metrics;
pub use model::{
    Comment, ErrorCode, ExceptionType, ExponentialDelay, FailedItems, FieldEdit, ItemEdit, ItemFilter,
    ItemId, ItemKey, ItemPage, ItemVersion, Job, JobEnd, JobFigures, JobKey, JobState, LimitsEdit, MaxStarts,
    NewQueueDefinition, NewQueueItem, Output, Page, PageCursor, Person, Priority, ProcessingException,
    QueueDefinition, QueueItem, QueueLimits, QueueNotes, QueuePolicy, QueueStatistics, ReferenceFilter,
    RetryDelay, ReviewStatus, Robot, RobotState, Schemas, SpecificContent, Status, StopStrategy,
};
/// The transactions in which items can be added and completed: see
/// [`Store::complete_in`](orchestrator::store::Store::complete_in).
#[cfg(feature = "postgres")]
pub use orchestrator::store::tokio_postgres;
pub use orchestrator::{
    Administration, AssetAdministration, BucketAdministration, CommitType, ErrorKind, FleetAdministration,
    ItemAdministration, Orchestrator, OrchestratorError, ProcessAdministration, QueueAdministration,
    ReviewAdministration, TaskAdministration, connect, connect_as,
};
pub use runtime::{
    JobSummary, Performer, PerformerError, PerformerEvent, QueueRun, RunSummary, StopHandle, Transaction,
    TransactionItem, TransactionOutcome, run_all, run_all_until_empty,
};
/// The library of the secrets in signatures: what [`TransactionItem::credential`] returns shows its text to whoever asks for it with
/// `ExposeSecret`, and to nobody else.
pub use secrecy;
/// The library whose layer shows spans to OpenTelemetry. Use it from here: a layer of another version of it is not recognised, and
/// nothing is traced.
#[cfg(feature = "otel")]
pub use tracing_opentelemetry;

/// The library of the trait `JsonSchema`, from which the schemas of a queue are made.
#[cfg(feature = "schema")]
pub use schemars;

/// Everything a program with a transaction in it usually needs.
pub mod prelude {
    pub use crate::{
        Administration, ApplicationException, BusinessException, Dispatcher, Exception, FleetAdministration,
        ItemAdministration, NewQueueDefinition, NewQueueItem, OrApplication, OrBusiness, Orchestrator,
        Performer, Priority, QueueAdministration, QueuePolicy, ReviewAdministration, Status, Transaction,
        TransactionItem, connect,
    };
    pub use async_trait::async_trait;
}
