// The README links to files. Of two definitions of a reference the first one counts, so here its links lead to the guide, and
// its picture is in the page.
#![cfg_attr(doc, doc = concat!("[run]: ", include_str!("../docs/run.svg.url")))]
//! [guide]: crate::guide
//! [first performer]: crate::guide::first_performer
//! [outcomes]: crate::guide::outcomes
//! [applications]: crate::guide::applications
//! [postponing]: crate::guide::postponing
//! [testing]: crate::guide::testing
//! [running]: crate::guide::running
//! [sqlite]: crate::guide::sqlite
//! [postgresql]: crate::guide::postgresql
//! [uipath]: crate::guide::uipath
//! [server]: crate::guide::server
//! [command line]: crate::guide::command_line
//! [tuning]: crate::guide::tuning
//! [faults]: crate::guide::faults
//! [reframework]: crate::guide::reframework
//!
#![doc = include_str!("../README.md")]
//!
//! # The map
//!
//! | floor | module | what it is |
//! |---|---|---|
//! | 4 | `cli` | the command (feature `cli`) |
//! | 3 | [`performer`] | the runtime: takes items, hands them to a [`Transaction`], reports |
//! | 3 | `server` | an Orchestrator in a box (feature `server`) |
//! | 3 | [`testing`] | run one transaction without a back end |
//! | 2 | [`orchestrator`] | where queues live: the traits, [`connect`], the back ends |
//! | 1 | [`exception`] | how a transaction fails: the words the user writes |
//! | 1 | `wire` | the JSON of the Orchestrator's API |
//! | 1 | `backoff` | delays between repeated calls |
//! | 0 | `crash_point` | where a test can end the process |
//! | 0 | [`model`] | what an item is, and what may happen to it |
//! | | [`guide`] | the guide, in the documentation alone |

#![warn(clippy::print_stdout, clippy::print_stderr, clippy::unwrap_used)]

mod backoff;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
mod crash_point;
pub mod exception;
#[cfg(any(doc, doctest))]
pub mod guide;
pub mod model;
pub mod orchestrator;
pub mod performer;
#[cfg(feature = "server")]
pub mod server;
pub mod testing;
#[cfg(feature = "uipath")]
mod wire;

pub use exception::{ApplicationException, BusinessException, Exception, OrApplication, OrBusiness};
/// The library of the instants in signatures.
pub use jiff;
pub use model::code::ErrorCode;
pub use model::content::{Output, SpecificContent};
pub use model::exception::{ExceptionType, ProcessingException};
pub use model::item::{
    ItemEdit, ItemFilter, ItemPage, NewQueueItem, Page, Priority, QueueItem, ReferenceFilter,
};
pub use model::job::{Job, JobEnd, JobFigures, JobState, StopStrategy};
pub use model::key::{ItemId, ItemKey, JobKey};
pub use model::limits::{LimitsEdit, MaxStarts, QueueLimits};
pub use model::queue::{NewQueueDefinition, QueueDefinition, QueuePolicy};
pub use model::review::{Comment, FailedItems, ItemVersion, Person};
pub use model::robot::{Robot, RobotState};
pub use model::statistics::QueueStatistics;
pub use model::status::{ReviewStatus, Status};
/// The transactions in which items can be added and completed: see
/// [`Store::complete_in`](orchestrator::store::Store::complete_in).
#[cfg(feature = "postgres")]
pub use orchestrator::store::tokio_postgres;
pub use orchestrator::{Administration, CommitType, ErrorKind, Orchestrator, OrchestratorError, connect};
pub use performer::{
    Ending, JobSummary, Performer, PerformerError, PerformerEvent, StopHandle, Transaction, TransactionItem,
};

/// Everything a program with a transaction in it usually needs.
pub mod prelude {
    pub use crate::{
        Administration, ApplicationException, BusinessException, Exception, NewQueueDefinition, NewQueueItem,
        OrApplication, OrBusiness, Orchestrator, Performer, Priority, QueuePolicy, Status, Transaction,
        TransactionItem, connect,
    };
    pub use async_trait::async_trait;
}
