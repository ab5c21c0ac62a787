//! Looks at a store from outside: what it is, whether it is sound, and a copy of it.
//!
//! Nothing here creates a store, or migrates one. What is looked at may be in use meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::Store;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result, split_url};

/// What a store is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct StoreInfo {
    /// The database.
    pub engine: Engine,
    /// Its version.
    pub engine_version: String,
    /// The file, or the database and the schema in it; without a password.
    pub location: String,
    /// The version of the schema of the tables.
    pub schema_version: usize,
    /// The newest one that this program knows.
    pub newest_schema_version: usize,
    /// The size in bytes, indexes included.
    pub bytes: u64,
    /// The size of the write-ahead log of a SQLite file, in bytes.
    pub log_bytes: Option<u64>,
    /// The time, by the clock of the store. For a SQLite file that is the clock of this machine, and absent.
    pub time: Option<Timestamp>,
    /// How many rows some tables have; those of deleted queues included.
    pub counts: Counts,
    /// Settings that decide whether what was committed is kept after a power failure.
    pub settings: Vec<Setting>,
    /// How long the oldest transaction in the database has been open, that of other programs included. PostgreSQL keeps the old
    /// versions of rows as long.
    #[serde(serialize_with = "in_seconds")]
    pub oldest_transaction: Option<Duration>,
    /// Whether a pooler such as PgBouncer is in between: then processes do not hear of each other's items at once, and poll.
    pub is_pooled: bool,
}

fn in_seconds<S: serde::Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64()).serialize(serializer)
}

/// The database of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum Engine {
    /// A file.
    #[serde(rename = "SQLite")]
    Sqlite,
    /// A PostgreSQL database.
    #[serde(rename = "PostgreSQL")]
    Postgres,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// How many rows some tables have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Counts {
    /// Queues that are not deleted.
    pub queues: u64,
    /// Attempts, of deleted queues too.
    pub items: u64,
    /// Items that can be claimed.
    pub ready: u64,
    /// Items whose DeferDate was ahead when it was last looked at.
    pub deferred: u64,
    /// Jobs that have not ended.
    pub live_jobs: u64,
    /// Jobs.
    pub jobs: u64,
    /// Groups of failures.
    pub reasons: u64,
    /// Access tokens of a server.
    pub tokens: u64,
    /// Deleted queues whose items are still to be removed.
    pub removals: u64,
}

/// A setting of the database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// Its value.
    pub value: String,
    /// Whether what is committed survives a power failure with this value.
    pub is_durable: bool,
    /// What to do otherwise.
    pub remedy: &'static str,
}

/// Something that does not hold in a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Violation {
    /// The name of what does not hold.
    pub name: String,
    /// What is wrong.
    pub problem: String,
    /// How many rows are concerned.
    pub count: u64,
    /// The ids of the first of them.
    pub ids: Vec<i64>,
}

impl Violation {
    pub(crate) fn new(name: &str, problem: impl Into<String>) -> Self {
        Self { name: name.to_owned(), problem: problem.into(), count: 1, ids: Vec::new() }
    }

    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn of_rows(self, count: u64, ids: Vec<i64>) -> Self {
        Self { count, ids, ..self }
    }
}

/// What a check of a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct CheckReport {
    /// What was checked.
    pub checked: Vec<String>,
    /// What does not hold; empty for a sound store.
    pub violations: Vec<Violation>,
}

/// A copy of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Backup {
    /// The file.
    pub file: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many items it has.
    pub items: u64,
}

/// A store that is looked at from outside.
#[derive(Clone, Debug)]
pub struct StoreInspector(Location);

#[derive(Clone, Debug)]
enum Location {
    #[cfg(feature = "sqlite")]
    File(PathBuf),
    #[cfg(feature = "postgres")]
    Database(String),
}

impl StoreInspector {
    /// The store at a URL: `sqlite:` and the path of a file that exists, or `postgres://…`.
    ///
    /// # Errors
    ///
    /// Invalid for any other URL; NotFound for a file that does not exist.
    pub fn new(url: &str) -> Result<Self> {
        let (scheme, rest) = split_url(url)?;
        match scheme.to_ascii_lowercase().as_str() {
            #[cfg(feature = "sqlite")]
            "sqlite" => {
                let path = PathBuf::from(rest.strip_prefix("//").unwrap_or(rest));
                if path.exists() {
                    return Ok(Self(Location::File(path)));
                }
                let message = format!("{} does not exist", path.display());
                Err(OrchestratorError::new(ErrorKind::NotFound, message))
            }
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(Self(Location::Database(url.to_owned()))),
            scheme => {
                let message = format!(
                    "{scheme}: is not a store that can be looked at: use sqlite: with a file, or postgres:"
                );
                let _ = rest;
                Err(OrchestratorError::new(ErrorKind::Invalid, message))
            }
        }
    }

    /// Reads what the store is. A schema that is newer than this program is told and not refused.
    ///
    /// # Errors
    ///
    /// Unavailable if it cannot be reached; Other if it is no store of performer.
    pub async fn info(&self) -> Result<StoreInfo> {
        let location = self.0.clone();
        Store::opened(move || match &location {
            #[cfg(feature = "sqlite")]
            Location::File(path) => super::sqlite::inspect::info(path),
            #[cfg(feature = "postgres")]
            Location::Database(url) => super::postgres::inspect::info(url),
        })
        .await
    }

    /// Checks whether the store is sound: the file, by SQLite itself, and what has to hold between the tables. It reads every row,
    /// in one transaction; others may write meanwhile.
    ///
    /// # Errors
    ///
    /// As [`info`](Self::info); Other if the schema is not the one of this program: migrate it first.
    pub async fn check(&self) -> Result<CheckReport> {
        let location = self.0.clone();
        Store::opened(move || match &location {
            #[cfg(feature = "sqlite")]
            Location::File(path) => super::sqlite::inspect::check(path),
            #[cfg(feature = "postgres")]
            Location::Database(url) => super::postgres::inspect::check(url),
        })
        .await
    }

    /// Copies a SQLite file as it is at one moment to a new file, and checks the copy. Others may write meanwhile.
    ///
    /// # Errors
    ///
    /// Conflict if the new file exists; Other if it cannot be written, or the copy is not sound: then there is no new file.
    /// Unsupported for PostgreSQL, with the command that copies it.
    pub async fn back_up(&self, to: &Path) -> Result<Backup> {
        let (location, to) = (self.0.clone(), to.to_owned());
        Store::opened(move || match &location {
            #[cfg(feature = "sqlite")]
            Location::File(path) => super::sqlite::inspect::back_up(path, &to),
            #[cfg(feature = "postgres")]
            Location::Database(url) => Err(super::postgres::inspect::dump_command(url, &to)),
        })
        .await
    }
}

/// The refusal to check a store whose schema this program does not know, or has not migrated.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn other_schema(version: usize, newest: usize) -> OrchestratorError {
    let what =
        if version < newest { "migrate it first (performer store migrate)" } else { "use a newer program" };
    let message = format!("the schema of the store is {version}, and this program checks {newest}: {what}");
    OrchestratorError::new(ErrorKind::Other, message)
}
