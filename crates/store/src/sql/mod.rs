//! What is the same in the statements of SQLite and PostgreSQL.
//!
//! | file | what is in it |
//! |---|---|
//! | `dialect.rs` | how each database says it: placeholders, texts, hints |
//! | `conditions.rs` | conditions and sort orders |
//! | `invariants.rs` | what has to hold between the tables |
//! | `places.rs` | where the items of a list are looked for |
//! | `list.rs` | lists of items |
//! | `reasons.rs` | the list of groups of failures |
//! | `review.rs` | the table of items that people look for |

pub(crate) mod conditions;
pub(crate) mod dialect;
pub(crate) mod invariants;
pub(crate) mod list;
mod places;
pub(crate) mod reasons;
pub(crate) mod review;
