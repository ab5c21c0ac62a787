//! What is the same in the statements of SQLite and PostgreSQL.

pub(crate) mod places;
