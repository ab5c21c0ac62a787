//! The observers: what the outside world saw, and whether the store's story agrees with it.
//!
//! | file | what it is |
//! |---|---|
//! | `ledger.rs` | every run of a handler, every answer to a caller, in one order, in a place no crash takes back |
//! | `checker.rs` | the checks K1 to K12, over a ledger and what the store says in the end |
//! | `recorder.rs` | an Orchestrator that writes what is asked and answered into a ledger |
//!
//! Every test of crashes, of faults and of time feeds the same checks, so that no test has an idea of its own of what is
//! right. `tests/observers.rs` shows for each check evidence that it must refuse.

pub mod checker;
pub mod ledger;
pub mod recorder;
