//! The observers: they record what happens outside the store, and check whether the final state of the store agrees with it.
//!
//! | file | what it contains |
//! |---|---|
//! | `ledger.rs` | the record of all runs of handlers and all answers to callers, in one order, which survives crashes |
//! | `checker.rs` | the checks K1 to K12 of a ledger and the final state of a store |
//! | `follow_ups.rs` | whether follow-ups are there if and only if their success is recorded |
//! | `recorder.rs` | an Orchestrator that records its calls in a ledger |
//!
//! All tests of crashes, faults and time use these checks, so that correctness is defined once. `proofs/tests/observers.rs` shows
//! for each check evidence that it must refuse.

pub mod checker;
pub mod follow_ups;
pub mod ledger;
pub mod recorder;
