//! What `performer` is made of: the items of a queue and the rules about them, how a transaction fails, and the interface that
//! every back end implements.
//!
//! Programs depend on the crate `performer`, which exports these modules. A back end of your own may depend on this crate alone.
//!
//! | module | what it is |
//! |---|---|
//! | [`model`] | what an item is, and what may happen to it: pure values and pure functions |
//! | [`exception`] | how a transaction fails: the words the user writes |
//! | [`orchestrator`] | the traits `Orchestrator` and `Administration`, their errors, and [`Observed`](orchestrator::Observed) |
//!
//! `backoff`, `outcome`, `private_file`, `crash_point` and `trace_context` are for the crates of this workspace.

#[doc(hidden)]
pub mod backoff;
#[doc(hidden)]
pub mod crash_point;
pub mod exception;
pub mod model;
pub mod orchestrator;
#[doc(hidden)]
pub mod outcome;
#[doc(hidden)]
pub mod private_file;
#[doc(hidden)]
pub mod trace_context;
