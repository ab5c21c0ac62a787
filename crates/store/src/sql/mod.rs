//! What is the same in the statements of SQLite and PostgreSQL.
//!
//! | file | what is in it |
//! |---|---|
//! | `assets.rs` | assets and their secrets |
//! | `audit.rs` | the records of the audit |
//! | `deadlines.rs` | items that are ready and have a DueDate |
//! | `dialect.rs` | how each database says it: placeholders, texts, hints |
//! | `conditions.rs` | conditions and sort orders |
//! | `invariants.rs` | what has to hold between the tables |
//! | `places.rs` | where the items of a list are looked for |
//! | `jobs.rs` | lists of jobs |
//! | `list.rs` | lists of items |
//! | `logs.rs` | robot logs |
//! | `comments.rs` | comments |
//! | `counts.rs` | numbers of rows |
//! | `operations.rs` | acts on many items |
//! | `reasons.rs` | the list of groups of failures |
//! | `views.rs` | saved views |
//! | `review.rs` | the table of items that people look for |
//! | `webhooks.rs` | webhooks, and what is to be delivered to them |

mod assets;
mod audit;
mod comments;
pub(crate) mod conditions;
pub(crate) mod counts;
mod deadlines;
pub(crate) mod dialect;
pub(crate) mod invariants;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod operations;
mod places;
pub(crate) mod reasons;
pub(crate) mod review;
mod views;
mod webhooks;
