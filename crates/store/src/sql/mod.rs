//! What is the same in the statements of SQLite and PostgreSQL.
//!
//! | file | what is in it |
//! |---|---|
//! | `dialect.rs` | how each database says it: placeholders, texts, hints |
//! | `conditions.rs` | conditions and sort orders |
//! | `places.rs` | where the items of a list are looked for |
//! | `list.rs` | lists of items |
//! | `comments.rs` | comments |
//! | `reasons.rs` | the list of groups of failures |
//! | `review.rs` | the table of items that people look for |

mod comments;
pub(crate) mod conditions;
pub(crate) mod dialect;
pub(crate) mod list;
mod places;
pub(crate) mod reasons;
pub(crate) mod review;
