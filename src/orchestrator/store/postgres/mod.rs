//! Queues in a PostgreSQL database, for many performers on many machines.
//!
//! | file | what it does |
//! |---|---|
//! | `address.rs`, `tls.rs`, `connect.rs` | where the database is, whom to trust, and the way in |
//! | `session.rs`, `open.rs`, `together.rs` | one connection: transactions, and statements that travel together |
//! | `transaction.rs` | how a transaction begins and ends, and the next one behind it |
//! | `settle.rs` | what became of a commit whose connection was lost |
//! | `pooled.rs` | a proxy that gives each transaction another connection |
//! | `migrate.rs` | makes and changes the schema |
//! | `listen.rs` | hears of what other processes add |
//! | `rows.rs`, `write.rs` | the statements of the busy path: items, read and written |
//! | `foresee.rs` | what a transaction will ask for, asked when it begins |
//! | `item.rs` | one item, as people see it |
//! | `added.rs` | new items, inserted together |
//! | `order.rs` | what waits, and in which order |
//! | `front.rs`, `floors.rs`, `run.rs` | claims: where walks along what waits begin, and the walks |
//! | `claims.rs` | what jobs hold |
//! | `taken.rs` | what this process took, as it left it |
//! | `counters.rs` | how many items of a queue are in which state |
//! | `people.rs` | the statements of the quiet path: queues, comments |
//! | `removal.rs` | what is left of queues that were deleted, and jobs that ended |
//! | `tokens.rs` | tokens, one row each |
//! | `fleet.rs` | jobs |
//! | `limits.rs` | queues with limits: what was started lately, and how much is asked for |
//! | `list.rs`, `query.rs` | lists of items: found quickly where that can be, any condition as SQL |
//! | `columns.rs` | an item's row, from and to columns |
//! | `lent.rs` | adding and reporting inside the user's own transaction |
//! | `error.rs` | what PostgreSQL's errors mean to a caller |
//! | `migrations/` | the schema, by version |
//!
//! Others write at the same time. So whoever reads a row to change it holds its lock: of an item that is New that of its
//! row in `item_ready` or `item_deferred`, of any other that of its row in `item_state`. Claims pass over what is locked.
//! What concerns a whole queue is kept still by an advisory lock, which everybody who looks a queue up shares.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use self::bulk_insert::BulkInsert;
use self::address::Address;
use self::prefetch::Prefetched;
use self::claim_cursor::ClaimCursor;
use self::caller_transaction::CallerTransaction;
use self::queue_limits::AnnouncedClaim;
use self::listener::Listener;
use self::connection::{TransactionStart, CommitId};
use self::ready_items::{ClaimQuery, PrefetchedItems, LockedRow};
use self::session::{BoundQuery, Session};
use self::claim_cache::ClaimCache;
use self::transaction::ExpectedCalls;
use super::super::{ErrorKind, OrchestratorError, Result};
use super::notifier::WakeSet;
use super::readers::LANES;
use crate::model::key::{FolderId, ItemId, KeyMaker, QueueId};
use crate::model::limits::Starts;
use crate::model::statistics::QueueStatistics;

pub use tokio_postgres;

mod bulk_insert;
mod address;
mod claim_rows;
mod columns;
mod connect;
mod counters;
mod error;
mod jobs;
mod watermarks;
mod prefetch;
mod claim_cursor;
mod item;
mod caller_transaction;
mod queue_limits;
mod list;
mod listener;
mod migrate;
mod connection;
mod ready_items;
mod pass_file;
mod queues;
mod pooler;
mod conditions;
mod removal;
mod rows;
mod backlog;
mod session;
mod commit_outcome;
mod claim_cache;
mod tls;
mod pipeline;
mod tokens;
mod transaction;
mod write;

/// What the lock is called that keeps all queues as they are.
const QUEUES: &str = "queues";

/// The most ids that are asked for together. What is not used of them is given to nobody.
const MAX_IDS: i64 = 1_000;

/// One connection to the database, and what it knows.
pub(super) struct Postgres {
    session: Session,
    keys: KeyMaker,
    /// Whether the database's clock decides; in tests that of the caller does.
    keeps_time: bool,
    began: Option<TransactionStart>,
    /// The open transaction writes: what it reads to change, it locks.
    writes: bool,
    /// The open transaction shares the lock of all queues; or has it alone.
    queues: QueuesLock,
    /// Queues of which no other transaction may add a reference until this one ends.
    references: Vec<QueueId>,
    /// The open transaction, or the last one, does what only one does at a time.
    serialized: bool,
    /// References that the open transaction has added.
    added_references: HashSet<(QueueId, String)>,
    /// New items that are not inserted yet.
    bulk_insert: BulkInsert,
    /// Ids that the open transaction may give to items.
    ids: VecDeque<i64>,
    next_ids: i64,
    max_ids: i64,
    /// Of which queues the open transaction leaves something that others may take.
    claimable_queues: WakeSet,
    /// A transaction was begun and, as far as is known, not committed.
    uncommitted: bool,
    /// A commit of which nobody knew what became of it. It may be under way still: nothing is done before it is over.
    unresolved_commit: Option<CommitId>,
    /// Which of these were made, until it is asked.
    resolved_commits: VecDeque<bool>,
    /// The open transaction began with items of this queue that were kept for a robot.
    has_kept: Option<QueueId>,
    /// Something was kept, and is not any more.
    take_released: WakeSet,
    claim_cache: ClaimCache,
    /// Where the items stand that the open transaction was offered last, in their order.
    places: Vec<LockedRow>,
    /// Where walks along what waits begin, by queue; since when the server runs where that was seen, and by which of the
    /// connections that were made.
    cursors: HashMap<i64, ClaimCursor>,
    server: Option<(Timestamp, u64)>,
    /// When another process was seen to write.
    others_seen: Option<Instant>,
    /// Queues without limits, by folder and name, as they were when they were looked up last.
    names: HashMap<(FolderId, String), QueueId>,
    /// The open transaction has said that it draws numbers.
    marked: bool,
    /// What the open transaction will ask for next, and the answer to it.
    announce_claim: Option<AnnouncedClaim>,
    prefetched_items: Option<PrefetchedItems>,
    /// What of a queue with limits was started lately, before it is asked; its counters, which are asked for next; and how many
    /// items are wanted of it.
    started: Option<(QueueId, Starts)>,
    counted: Option<(QueueId, QueueStatistics)>,
    wanted: Option<ClaimQuery>,
    /// What the open transaction was told when it began.
    prefetched: Prefetched,
    /// What is expected of the calls that come next.
    expected: ExpectedCalls,
    /// How long the next query may take.
    list_limit: Option<Duration>,
    /// Who hears of others, and which of the connections that write this is.
    listener: Option<(Arc<Listener>, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QueuesLock {
    None,
    Shared,
    Alone,
}

/// A database with the store in it, for whoever brings a transaction of its own.
#[derive(Clone, Debug)]
pub(super) struct Database {
    address: Address,
    keeps_time: bool,
}

impl Database {
    pub(super) fn new(url: &str, keeps_time: bool) -> Result<Self> {
        Ok(Self { address: Address::parse(url)?, keeps_time })
    }

    /// So many operations are worth a transaction beside another one.
    pub(super) fn worth_another_writer(&self) -> usize {
        self.address.batch()
    }
}

/// Opens a database: connections that write and connections that read, all but the first of them when they are needed. Makes
/// the schema where there is none.
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
        writer.expected.is_allowed = true;
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

/// Opens a database: one connection for everything.
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
            added_references: HashSet::new(),
            bulk_insert: BulkInsert::default(),
            ids: VecDeque::new(),
            next_ids: 1,
            max_ids: MAX_IDS,
            claimable_queues: WakeSet::default(),
            uncommitted: false,
            unresolved_commit: None,
            resolved_commits: VecDeque::new(),
            has_kept: None,
            take_released: WakeSet::default(),
            claim_cache: ClaimCache::default(),
            places: Vec::new(),
            cursors: HashMap::new(),
            server: None,
            others_seen: None,
            names: HashMap::new(),
            marked: false,
            announce_claim: None,
            prefetched_items: None,
            started: None,
            counted: None,
            wanted: None,
            prefetched: Prefetched::default(),
            expected: ExpectedCalls::default(),
            list_limit: None,
            listener: None,
        }
    }

    /// Inside the transaction of somebody else. It may be open for a while: nothing that others wait for is locked but what
    /// has to be.
    fn in_caller_transaction(database: &Database, caller: CallerTransaction) -> Result<Self> {
        let session = Session::in_caller_transaction(database.address.clone(), caller)?;
        Ok(Self::new(session, database.keeps_time))
    }

    /// Nothing of the transaction before is left.
    fn forget_transaction(&mut self) {
        (self.began, self.writes, self.queues) = (None, false, QueuesLock::None);
        self.claimable_queues = WakeSet::default();
        self.references.clear();
        self.added_references.clear();
        self.bulk_insert = BulkInsert::default();
        self.ids.clear();
        self.next_ids = 1;
        self.places.clear();
        (self.announce_claim, self.prefetched_items, self.marked) = (None, None, false);
        (self.started, self.counted, self.wanted) = (None, None, None);
        self.prefetched = Prefetched::default();
        self.session.forget();
    }

    /// The id of the next item. Ids rise with time, as far as that can be told between transactions: what one did not
    /// use is not used by the next.
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

    /// The text that an advisory lock is named by.
    fn lock_name(&self, what: &str) -> String {
        format!("performer/{}/{what}", self.session.address().schema())
    }

    /// Nobody changes a queue until the transaction ends. In somebody else's transaction that would keep everybody waiting
    /// who waits behind a change of queues; there, what is added to a queue that is deleted at that moment goes with it.
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

    /// Nobody looks a queue up until the transaction ends.
    fn take_queues(&mut self) -> Result<()> {
        self.prefetched.forget_queues();
        if self.queues != QueuesLock::Alone {
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

    /// New items are in their tables before anybody looks for them.
    fn flush_bulk_insert(&mut self) -> Result<()> {
        if self.bulk_insert.is_empty() { Ok(()) } else { self.bulk_insert.insert(&mut self.session) }
    }

    /// Whether others were in the way of a transaction that failed; if so, waits a little. In somebody else's transaction
    /// that one decides whether to try again.
    fn pause_after_conflict(&mut self, failed: &OrchestratorError, tries: u32) -> bool {
        let again = error::is_in_the_way(failed) && !self.session.is_callers();
        if again {
            // Of two that are in each other's way one comes first then.
            self.session.pause(Duration::from_millis(fastrand::u64(1..=8 << tries.min(5))));
        }
        again
    }
}

/// Locks that are shared until the transaction ends, in this order.
fn sharing(names: &[String]) -> BoundQuery {
    const SQL: &str =
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(name, 0)) FROM unnest($1::text[]) AS name";
    BoundQuery { sql: SQL.into(), values: vec![Box::new(names.to_vec())] }
}
