//! Queues in a SQLite file.
//!
//! | file | what it does |
//! |---|---|
//! | `file.rs` | makes, checks, opens and migrates the file |
//! | `rows.rs`, `write.rs` | the statements of the busy path: items, read and written |
//! | `order.rs` | what waits, and in which order |
//! | `people.rs` | the statements of the quiet path: queues, comments |
//! | `removal.rs` | what is left of queues that were deleted, and jobs that ended |
//! | `tokens.rs` | tokens, one row each |
//! | `fleet.rs` | jobs, what they hold, and what of a queue with limits was started lately |
//! | `list.rs`, `query.rs` | lists of items: found quickly where that can be, any condition as SQL |
//! | `columns.rs` | an item's row, from and to columns |
//! | `lock.rs` | lock files: whose process is gone |
//! | `error.rs` | what SQLite's errors mean to a caller |
//! | `migrations/` | the schema, by version |

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OpenFlags};

use self::job_locks::JobLocks;
use super::super::Result;
use super::readers::LANES;
use super::rows::ItemRow;
use super::backend::WriterHooks as _;
use super::unreadable_rows::SkippedItems;
use crate::model::key::{ItemId, ItemKey, JobKey, KeyMaker};
use crate::model::lifecycle::ItemState;

mod columns;
mod error;
mod file;
mod jobs;
mod list;
mod job_locks;
mod ready_items;
mod queues;
mod conditions;
mod removal;
mod rows;
mod tokens;
mod write;

/// The most items whose rows are remembered; the others are read when they are reported on.
const MAX_CACHED_ROWS: usize = 100_000;

/// One connection to the file.
pub(super) struct Sqlite {
    connection: Connection,
    path: PathBuf,
    keys: KeyMaker,
    locks: JobLocks,
    data_version: i64,
    broken: bool,
    /// The last row that the open transaction wrote: by it can be seen whether it was committed.
    last_written: Option<(ItemId, ItemState)>,
    /// The last id given to an item, once the open transaction has asked; and whether it gave another.
    last_item: Option<(i64, bool)>,
    /// New items that are not yet entered among those that are ready.
    pending_ready: Option<ready_items::PendingReady>,
    /// How many items the last look found, if they were the very first of their queue.
    found_first: Option<usize>,
    /// A transaction was begun and, as far as is known, not committed.
    uncommitted: bool,
    /// Items that this process took, as it left them. Somebody else may have changed them since.
    claimed_rows: HashMap<ItemId, ItemRow>,
    /// Jobs whose lock file was made in the open transaction.
    new_jobs: Vec<JobKey>,
    /// Jobs that end with the open transaction: their lock files go when it is committed.
    ended_jobs: Vec<JobKey>,
    skipped_items: SkippedItems,
}

/// Opens a file: a connection that writes and those that read.
pub(super) fn open(path: &Path, now: Timestamp) -> Result<(Sqlite, Vec<Sqlite>)> {
    // Absolute, so that a later change of the working folder moves neither the file nor its locks.
    let path =
        std::path::absolute(path).map_err(|error| error::file_error(path, "cannot be found", error))?;
    let mut writer = Sqlite::new(file::open(&path)?, &path, KeyMaker::new());
    writer.has_external_change(); // what other processes did before is no news
    let reader = || -> Result<Sqlite> {
        Ok(Sqlite::new(file::connect(&path, OpenFlags::empty())?, &path, KeyMaker::new()))
    };
    let readers = LANES.iter().map(|_| reader()).collect::<Result<_>>()?;
    tracing::debug!(path = %path.display(), at = %now, sqlite = rusqlite::version(), "opened");
    Ok((writer, readers))
}

/// Opens a file: one connection for everything.
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
            skipped_items: SkippedItems::default(),
        }
    }

    /// Runs a statement; an error that breaks the connection is remembered.
    fn run<T>(&mut self, act: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        act(&self.connection).map_err(|error| {
            self.broken |= error::breaks_the_connection(&error);
            error::explain_running(error, &self.path)
        })
    }

    /// The last id given to an item; the keys of items go on where they ended.
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

    /// Before anybody looks at what is ready, or changes it: what was added is entered.
    fn insert_pending_ready(&mut self) -> Result<()> {
        match self.pending_ready.take() {
            Some(pending) => self.run(|c| pending.insert(c)),
            None => Ok(()),
        }
    }

    /// What this process took, as it leaves it.
    fn cache_row(&mut self, id: ItemId, row: ItemRow) {
        if self.claimed_rows.len() >= MAX_CACHED_ROWS {
            self.claimed_rows.clear(); // items that were taken and never reported on
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
