//! What is the same in the statements of SQLite and PostgreSQL.
//!
//! | file | what is in it |
//! |---|---|
//! | `assets.rs` | assets and their secrets |
//! | `buckets.rs` | storage buckets |
//! | `tasks.rs` | tasks, their activities and catalogs |
//! | `audit.rs` | the records of the audit |
//! | `columns.rs` | values that are written to columns, and read from them |
//! | `deadlines.rs` | items that are ready and have a DueDate |
//! | `dialect.rs` | how each database says it: placeholders, texts, hints |
//! | `conditions.rs` | conditions and sort orders |
//! | `invariants.rs` | what has to hold between the tables |
//! | `places.rs` | where the items of a list are looked for |
//! | `list.rs` | lists of items |
//! | `logs.rs` | robot logs |
//! | `comments.rs` | comments |
//! | `counts.rs` | numbers of rows |
//! | `document.rs` | the document of a server |
//! | `figures.rs` | figures by minute and hour |
//! | `items.rs` | what is known of an item beside its state |
//! | `jobs.rs` | jobs, and the kept time |
//! | `operations.rs` | acts on many items |
//! | `queues.rs` | queues |
//! | `reasons.rs` | the list of groups of failures |
//! | `removal.rs` | removes deleted queues and ended jobs |
//! | `review.rs` | the table of items that people look for |
//! | `tokens.rs` | access tokens |
//! | `views.rs` | saved views |
//! | `alerts.rs` | alerts, and who has read which |
//! | `webhooks.rs` | webhooks, and what is to be delivered to them |

mod alerts;
mod assets;
mod audit;
mod buckets;
pub(crate) mod columns;
mod comments;
pub(crate) mod conditions;
pub(crate) mod counts;
mod deadlines;
pub(crate) mod dialect;
pub(crate) mod document;
pub(crate) mod figures;
pub(crate) mod fleet;
pub(crate) mod invariants;
pub(crate) mod items;
pub(crate) mod jobs;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod operations;
mod places;
pub(crate) mod queues;
pub(crate) mod reasons;
mod removal;
pub(crate) mod review;
mod tasks;
mod tokens;
mod views;
mod webhooks;
