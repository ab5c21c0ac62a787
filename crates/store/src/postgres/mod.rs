//! Queues in a PostgreSQL database, for many performers on many machines.
//!
//! | file | what is in it |
//! |---|---|
//! | `address.rs`, `pass_file.rs` | the URL of a database and its options; passwords in a file |
//! | `connect.rs`, `tls.rs` | connecting to one of several hosts, and TLS |
//! | `connection.rs`, `session.rs` | an open connection; a session that opens it again and runs statements on it |
//! | `pipeline.rs` | several statements in one round trip |
//! | `transaction.rs` | begin and commit |
//! | `commit_outcome.rs` | the outcome of a commit whose connection was lost |
//! | `pooler.rs` | connections through a pooler such as PgBouncer |
//! | `caller_transaction.rs` | adding and reporting inside the user's own transaction |
//! | `migrate.rs`, `migrations/` | the schema, by version |
//! | `listener.rs` | notifications of other processes |
//! | `rows.rs`, `item.rs`, `write.rs` | the statements on items: reads and writes |
//! | `prefetch.rs` | loads what a transaction will need when it begins |
//! | `bulk_insert.rs` | inserts many new items with one statement |
//! | `bulk_write.rs` | changes of items, collected and written together |
//! | `ready_items.rs` | the tables of waiting items, and their order |
//! | `claim_cursor/` | where searches for waiting items begin, so that claims stay fast |
//! | `claim_rows.rs` | the table of held items, by job |
//! | `claim_cache.rs` | rows of items that this process claimed |
//! | `queue_limits.rs` | queues with limits |
//! | `groups.rs`, `group_rules.rs` | queues with rules about groups: how groups are settled, and a change of the rules |
//! | `counters.rs` | how many items of a queue are in which state |
//! | `queues.rs`, `jobs.rs`, `tokens.rs` | the statements on queues, jobs and access tokens |
//! | `figures.rs` | the statements on figures by minute and hour |
//! | `reasons.rs` | the statements on groups of failures |
//! | `operations.rs` | the statements on acts on many items |
//! | `removal.rs` | removes the rows of deleted queues, and ended jobs |
//! | `inspect.rs` | looks at a database from outside, and checks it |
//! | `list.rs` | finds items by key and by age, and how attempts ended |
//! | `dialect.rs` | how this database says the statements of `../sql` |
//! | `columns.rs` | the columns of an item, to and from the model |
//! | `error.rs` | what PostgreSQL's errors mean to a caller |
//!
//! Other transactions write at the same time, so a transaction locks each row that it reads in order to change it: for
//! an item that is New its row in `item_ready` or `item_deferred`, for any other its row in `item_state`. (In a queue with
//! rules about groups, the queue: see `groups.rs`.) Claims skip locked rows. Changes of whole queues are excluded by an advisory lock, which every transaction shares that looks a
//! queue up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use self::address::Address;
use self::bulk_insert::BulkInsert;
use self::caller_transaction::CallerTransaction;
use self::claim_cache::ClaimCache;
use self::claim_cursor::ClaimCursor;
use self::connection::{CommitId, TransactionStart};
use self::listener::Listener;
use self::prefetch::LoadedRows;
use self::ready_items::{ClaimQuery, LockedRow, PrefetchedItems};
use self::session::{BoundQuery, Session};
use super::notifier::WakeSet;
use super::readers::LANES;
use performer_core::model::key::{FolderId, ItemId, KeyMaker, QueueId};
use performer_core::model::statistics::QueueStatistics;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

pub use tokio_postgres;

mod address;
mod bulk_insert;
mod bulk_write;
mod caller_transaction;
mod claim_cache;
mod claim_cursor;
mod claim_rows;
mod columns;
mod commit_outcome;
mod connect;
mod connection;
mod counters;
mod dialect;
mod error;
mod figures;
mod group_rules;
mod groups;
pub(super) mod inspect;
mod item;
mod jobs;
mod list;
mod listener;
mod logs;
mod migrate;
mod operations;
mod pass_file;
mod pipeline;
mod pooler;
mod prefetch;
mod queue_limits;
mod queues;
mod ready_items;
mod reasons;
mod removal;
mod rows;
mod session;
mod tls;
mod tokens;
mod transaction;
mod write;

/// Name of the advisory lock that keeps all queues unchanged.
const QUEUES: &str = "queues";

/// The most ids that are drawn together. Unused ones are lost.
const MAX_IDS: i64 = 1_000;

/// One connection to the database, and its state.
pub(super) struct Postgres {
    session: Session,
    keys: KeyMaker,
    /// Whether the database's clock decides; in tests the caller's does.
    keeps_time: bool,
    began: Option<TransactionStart>,
    /// The open transaction writes: it locks what it reads in order to change it.
    writes: bool,
    /// Whether the open transaction shares or owns the lock of all queues.
    queues: QueuesLock,
    /// Queues to which no other transaction may add a reference until this one ends.
    references: Vec<QueueId>,
    /// The open transaction, or the last one, does work that only one can do at a time.
    serialized: bool,
    /// Queues with rules about groups that the open transaction has locked.
    locked_groups: HashMap<QueueId, DueItems>,
    /// References that the open transaction has added.
    added_references: HashSet<(QueueId, String)>,
    /// New items that are not inserted yet.
    bulk_insert: BulkInsert,
    /// Ids that the open transaction may give to items.
    ids: VecDeque<i64>,
    next_ids: i64,
    max_ids: i64,
    /// The queues whose items become claimable by the open transaction.
    claimable_queues: WakeSet,
    /// A transaction was begun and, as far as is known, not committed.
    uncommitted: bool,
    /// A commit with unknown outcome. It may still be in progress: nothing is done before it is over.
    unresolved_commit: Option<CommitId>,
    /// The outcomes of earlier ones of these, until they are asked for.
    resolved_commits: VecDeque<bool>,
    claim_cache: ClaimCache,
    reasons: reasons::KnownReasons,
    /// The locked rows of the items that the open transaction found last, in their order.
    places: Vec<LockedRow>,
    /// Where searches for waiting items begin, by queue; and the server and connection that this knowledge is from.
    cursors: HashMap<i64, ClaimCursor>,
    server: Option<(Timestamp, u64)>,
    /// When another process was last seen to write.
    others_seen: Option<Instant>,
    /// Queues without limits, by folder and name, as of the last lookup.
    names: HashMap<(FolderId, String), QueueId>,
    /// The open transaction has announced that it draws entry numbers.
    marked: bool,
    /// The items that were found before they are asked for.
    prefetched_items: Option<PrefetchedItems>,
    /// For a queue with limits: its counters, read before they are asked for; and the claim for which items were found
    /// before it was known how many are allowed.
    counted: Option<(QueueId, QueueStatistics)>,
    wanted: Option<ClaimQuery>,
    /// The next transaction searches for the items of its claims when no more claims join it, and not when it begins.
    searches_late: bool,
    /// What was loaded when the open transaction began.
    loaded: LoadedRows,
    /// Time limit of the next query.
    list_limit: Option<Duration>,
    /// The listener, and the index of this writer.
    listener: Option<(Arc<Listener>, usize)>,
}

/// What is known of the deferred items of a locked queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DueItems {
    /// There may be some whose DeferDate has come.
    Unknown,
    /// There are none, or they have been moved.
    Moved,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueuesLock {
    None,
    Shared,
    Alone,
}

/// The database of a store, for transactions of the caller.
#[derive(Clone, Debug)]
pub(super) struct Database {
    address: Address,
    keeps_time: bool,
}

impl Database {
    pub(super) fn new(url: &str, keeps_time: bool) -> Result<Self> {
        Ok(Self { address: Address::parse(url)?, keeps_time })
    }

    /// How much work is worth another transaction.
    pub(super) fn worth_another_writer(&self) -> usize {
        self.address.batch()
    }
}

/// Opens a database: connections that write and connections that read; all but the first are made when they are needed.
/// Creates or migrates the schema.
pub(super) fn open(url: &str, keeps_time: bool) -> Result<(Vec<Postgres>, Vec<Postgres>)> {
    let address = Address::parse(url)?;
    let mut session = Session::writing(address.clone())?;
    session.connect()?;
    migrate::migrate(&mut session)?;
    commit_outcome::forget_old(&mut session)?;
    claim_rows::compact_callers(&mut session)?;
    counters::add_up(&mut session)?;
    let listener = Arc::new(Listener::start(address.clone())?);
    let writer = |number, session| {
        let mut writer = Postgres::new(session, keeps_time);
        writer.listener = Some((listener.clone(), number));
        writer
    };
    let mut writers = vec![writer(0, session)];
    for number in 1..address.writers() {
        let mut another = writer(number, Session::writing(address.clone())?);
        another.claim_cache = writers[0].claim_cache.for_another_writer();
        writers.push(another);
    }
    let reader = || -> Result<Postgres> { Ok(Postgres::new(Session::new(address.clone())?, keeps_time)) };
    Ok((writers, LANES.iter().map(|_| reader()).collect::<Result<_>>()?))
}

/// Opens a database with one connection for everything.
pub(super) fn open_one(url: &str, keys: KeyMaker) -> Result<Postgres> {
    let mut session = Session::writing(Address::parse(url)?)?;
    session.connect()?;
    migrate::migrate(&mut session)?;
    // One id at a time, so that there are no gaps: a simulation is compared with a model.
    Ok(Postgres { keys, max_ids: 1, ..Postgres::new(session, false) })
}

impl Postgres {
    fn new(session: Session, keeps_time: bool) -> Self {
        Self {
            session,
            keys: KeyMaker::new(),
            keeps_time,
            began: None,
            writes: false,
            queues: QueuesLock::None,
            references: Vec::new(),
            serialized: false,
            locked_groups: HashMap::new(),
            added_references: HashSet::new(),
            bulk_insert: BulkInsert::default(),
            ids: VecDeque::new(),
            next_ids: 1,
            max_ids: MAX_IDS,
            claimable_queues: WakeSet::default(),
            uncommitted: false,
            unresolved_commit: None,
            resolved_commits: VecDeque::new(),
            claim_cache: ClaimCache::default(),
            reasons: reasons::KnownReasons::new(),
            places: Vec::new(),
            cursors: HashMap::new(),
            server: None,
            others_seen: None,
            names: HashMap::new(),
            marked: false,
            prefetched_items: None,
            counted: None,
            wanted: None,
            searches_late: false,
            loaded: LoadedRows::default(),
            list_limit: None,
            listener: None,
        }
    }

    /// Inside the caller's transaction, which may stay open for a while: nothing that others wait for is locked unless
    /// it must be.
    fn in_caller_transaction(database: &Database, caller: CallerTransaction) -> Result<Self> {
        let session = Session::in_caller_transaction(database.address.clone(), caller)?;
        Ok(Self::new(session, database.keeps_time))
    }

    /// Forgets the state of the transaction before.
    fn forget_transaction(&mut self) {
        (self.began, self.writes, self.queues) = (None, false, QueuesLock::None);
        self.claimable_queues = WakeSet::default();
        self.references.clear();
        self.locked_groups.clear();
        self.added_references.clear();
        self.bulk_insert = BulkInsert::default();
        self.ids.clear();
        self.next_ids = 1;
        self.places.clear();
        (self.prefetched_items, self.marked) = (None, false);
        (self.counted, self.wanted) = (None, None);
        self.loaded = LoadedRows::default();
        self.session.forget();
    }

    /// The id of the next item. Ids rise with time, as far as that can be told between transactions: unused ids of one
    /// transaction are not used by the next.
    fn next_item(&mut self) -> Result<ItemId> {
        if self.ids.is_empty() {
            self.mark()?;
            for row in self.session.query(prefetch::IDS, &[&self.next_ids])? {
                self.ids.push_back(columns::get(&row, 0)?);
            }
            self.next_ids = (self.next_ids * 4).min(self.max_ids);
        }
        let missing = || OrchestratorError::new(ErrorKind::Other, "the database gave no number");
        self.ids.pop_front().map(ItemId).ok_or_else(missing)
    }

    /// The text that names an advisory lock.
    fn lock_name(&self, what: &str) -> String {
        format!("performer/{}/{what}", self.session.address().schema())
    }

    /// Keeps all queues unchanged until the transaction ends. Not in the caller's transaction, where that would block
    /// everybody who waits behind a change of queues; an item that is added there to a queue that is being deleted is
    /// removed with it.
    fn keep_queues(&mut self) -> Result<()> {
        if self.writes && self.queues == QueuesLock::None && !self.session.is_callers() {
            self.share(QUEUES)?;
            self.queues = QueuesLock::Shared;
        }
        Ok(())
    }

    fn share(&mut self, what: &str) -> Result<()> {
        let query = sharing(&[self.lock_name(what)]);
        self.session.enqueue(&query.sql, &query.bound())
    }

    /// Keeps others from looking queues up until the transaction ends. All others wait for this transaction, so it waits for each
    /// further lock, and for this one, only for a moment; then it is undone and repeated. Otherwise a caller's own transaction, which
    /// may keep its locks for long, would keep all queues from being used.
    fn take_queues(&mut self) -> Result<()> {
        const SHORT_WAITS: &str = "SET LOCAL lock_timeout = '1s'";
        self.loaded.forget_queues();
        if self.queues != QueuesLock::Alone {
            self.session.enqueue(SHORT_WAITS, &[])?;
            self.lock_alone(QUEUES)?;
            self.queues = QueuesLock::Alone;
        }
        Ok(())
    }

    fn lock_alone(&mut self, what: &str) -> Result<()> {
        const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        self.serialized = true;
        self.session.enqueue(SQL, &[&self.lock_name(what)])
    }

    /// Inserts the collected new items, before anybody searches for them.
    fn flush_bulk_insert(&mut self) -> Result<()> {
        if self.bulk_insert.is_empty() { Ok(()) } else { self.bulk_insert.insert(&mut self.session) }
    }

    /// Whether a transaction failed because of a conflict; if so, waits a little. In the caller's transaction the
    /// caller decides whether to repeat it.
    fn pause_after_conflict(&mut self, failed: &OrchestratorError, tries: u32) -> bool {
        let again = error::is_in_the_way(failed) && !self.session.is_callers();
        if again {
            // A random delay, so that one of two conflicting transactions comes first.
            self.session.pause(Duration::from_millis(fastrand::u64(1..=8 << tries.min(5))));
        }
        again
    }
}

/// Shares these locks, in this order, until the transaction ends.
fn sharing(names: &[String]) -> BoundQuery {
    const SQL: &str =
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(name, 0)) FROM unnest($1::text[]) AS name";
    BoundQuery { sql: SQL.into(), values: vec![Box::new(names.to_vec())] }
}
