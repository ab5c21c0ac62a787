//! Queues in a SQLite file.
//!
//! | file | what is in it |
//! |---|---|
//! | `file.rs` | creates, checks, opens and migrates the file |
//! | `rows.rs`, `item.rs`, `write.rs`, `write_many.rs` | the statements on items: reads and writes |
//! | `ready_items.rs` | the tables of waiting items, and their order |
//! | `groups.rs` | the items of groups, in queues with rules about them |
//! | `counters.rs` | how many items of a queue are in which state |
//! | `jobs.rs` | what jobs hold, and the starts of queues with limits |
//! | `figures.rs` | the statements on figures by minute and hour |
//! | `reasons.rs` | the statements on groups of failures |
//! | `logs.rs` | robot logs |
//! | `operations.rs` | the statements on acts on many items |
//! | `inspect.rs` | looks at a file from outside, checks it and copies it |
//! | `list.rs` | finds items by key and by age, and how attempts ended |
//! | `dialect.rs` | how this database says the statements of `../sql` |
//! | `columns.rs` | the columns of an item, to and from the model |
//! | `job_locks.rs` | lock files, which show whose process has ended |
//! | `error.rs` | what SQLite's errors mean to a caller |
//! | `migrations/` | the schema, by version |

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use self::job_locks::JobLocks;
use super::backend::WriterHooks as _;
use super::readers::LANES;
use super::rows::{ItemRow, Rows as _};
use super::unreadable_rows::SkippedRows;
use performer_core::model::key::{ItemId, ItemKey, JobKey, KeyMaker};
use performer_core::model::lifecycle::ItemState;
use performer_core::orchestrator::Result;

mod columns;
mod counters;
mod dialect;
mod error;
mod figures;
mod file;
mod groups;
pub(super) mod inspect;
mod item;
mod job_locks;
mod jobs;
mod list;
mod logs;
mod operations;
mod ready_items;
mod reasons;
mod rows;
mod write;
mod write_many;

/// The most items whose rows are cached; the others are read when they are reported on.
const MAX_CACHED_ROWS: usize = 100_000;

/// One connection to the file.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    keys: KeyMaker,
    locks: JobLocks,
    data_version: i64,
    broken: bool,
    /// The last row that the open transaction wrote: shows whether it was committed.
    last_written: Option<(ItemId, ItemState)>,
    /// The last id given to an item, once the open transaction has read it; and whether it gave another.
    last_item: Option<(i64, bool)>,
    /// New items that are not yet in `item_ready`.
    pending_ready: Option<ready_items::PendingReady>,
    /// How many items the last search found, if they were the first ready items of their queue; and whether its groups take turns.
    found_first: Option<(usize, bool)>,
    /// A transaction was begun and, as far as is known, not committed.
    uncommitted: bool,
    /// Items that this process claimed, as it wrote them. Another process may have changed them since.
    claimed_rows: HashMap<ItemId, ItemRow>,
    /// Jobs whose lock files were created in the open transaction.
    new_jobs: Vec<JobKey>,
    /// Jobs that end with the open transaction: their lock files are removed when it is committed.
    ended_jobs: Vec<JobKey>,
    skipped_rows: SkippedRows,
}

/// Opens a file: a connection that writes and those that read.
pub(super) fn open(path: &Path, now: Timestamp) -> Result<(Sqlite, Vec<Sqlite>)> {
    // Absolute, so that a change of the working directory moves neither the file nor its locks.
    let path =
        std::path::absolute(path).map_err(|error| error::file_error(path, "cannot be found", error))?;
    let mut writer = Sqlite::new(file::open(&path)?, &path, KeyMaker::new());
    writer.has_external_change(); // earlier changes of other processes are not reported
    let reader = || -> Result<Sqlite> {
        Ok(Sqlite::new(file::connect(&path, OpenFlags::empty())?, &path, KeyMaker::new()))
    };
    let readers = LANES.iter().map(|_| reader()).collect::<Result<_>>()?;
    tracing::debug!(path = %path.display(), at = %now, sqlite = rusqlite::version(), "opened");
    Ok((writer, readers))
}

/// Opens a file with one connection for everything.
pub(super) fn open_one(path: &Path, keys: KeyMaker) -> Result<Sqlite> {
    Ok(Sqlite::new(file::open(path)?, path, keys))
}

impl Sqlite {
    fn new(connection: Connection, path: &Path, keys: KeyMaker) -> Self {
        Self {
            connection,
            keys,
            locks: JobLocks::new(path, file::jobs_folder(path)),
            path: path.to_owned(),
            data_version: 0,
            broken: false,
            last_written: None,
            last_item: None,
            pending_ready: None,
            found_first: None,
            uncommitted: false,
            claimed_rows: HashMap::new(),
            new_jobs: Vec::new(),
            ended_jobs: Vec::new(),
            skipped_rows: SkippedRows::default(),
        }
    }

    /// Runs a statement. An error that breaks the connection is remembered.
    fn run<T>(&mut self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        act(&self.connection).map_err(|error| {
            self.broken |= error::breaks_the_connection(&error);
            error::explain_running(error, &self.path)
        })
    }

    /// Begins a transaction, unless another program has brought the file to a version that this one does not know.
    fn begin_with(&mut self, begin: &str) -> Result<()> {
        self.run(|c| prepared(c, begin)?.execute([]).map(drop))?;
        let version = self.run(file::schema_version);
        let known = version.and_then(|version| file::refuse_newer(&self.path, version));
        if known.is_err() {
            self.rollback(); // others can write
        }
        known
    }

    /// The last id given to an item. The keys of items continue from the last one.
    fn last_item(&mut self) -> Result<i64> {
        if let Some((last, _)) = self.last_item {
            return Ok(last);
        }
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, ItemKey::from_bytes(row.get(1)?)));
        let (last, key) = self.run(|c| prepared(c, "SELECT id, key FROM last_item")?.query_row([], read))?;
        self.keys.saw(key);
        self.last_item = Some((last, false));
        Ok(last)
    }

    /// The id of the next item.
    fn next_item(&mut self) -> Result<ItemId> {
        let next = self.last_item()? + 1;
        self.last_item = Some((next, true));
        Ok(ItemId(next))
    }

    /// The transaction is on disk.
    fn committed(&mut self) {
        self.uncommitted = false;
        self.new_jobs.clear();
        for job in std::mem::take(&mut self.ended_jobs) {
            self.locks.release(job);
        }
    }

    /// Inserts new items into `item_ready`, before that table is read or changed.
    fn insert_pending_ready(&mut self) -> Result<()> {
        match self.pending_ready.take() {
            Some(pending) => self.run(|c| pending.insert(c)),
            None => Ok(()),
        }
    }

    /// Caches the row of a claimed item.
    fn cache_row(&mut self, id: ItemId, row: ItemRow) {
        if self.claimed_rows.len() >= MAX_CACHED_ROWS {
            self.claimed_rows.clear(); // items that were claimed and never reported on
        }
        self.claimed_rows.insert(id, row);
    }

    fn reopen_if_broken(&mut self) -> Result<()> {
        if self.broken {
            self.connection = file::reopen(&self.path)?;
            self.broken = false;
            tracing::warn!(path = %self.path.display(), "reopened after an error of the disk");
        }
        Ok(())
    }
}

/// A prepared statement, from the connection's cache.
fn prepared<'c>(connection: &'c Connection, sql: &str) -> rusqlite::Result<CachedStatement<'c>> {
    connection.prepare_cached(sql)
}

fn row_count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
