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

use self::added::Added;
use self::address::Address;
use self::foresee::Foreseen;
use self::front::Front;
use self::lent::Lent;
use self::limits::WillAsk;
use self::listen::Listener;
use self::open::{Began, Commit};
use self::order::{Ask, Offered, Place};
use self::session::{Question, Session};
use self::taken::Taken;
use self::transaction::Expected;
use super::super::{ErrorKind, OrchestratorError, Result};
use super::changes::Wakes;
use super::readers::LANES;
use crate::model::key::{FolderId, ItemId, KeyMaker, QueueId};
use crate::model::limits::Starts;
use crate::model::statistics::QueueStatistics;

pub use tokio_postgres;

mod added;
mod address;
mod claims;
mod columns;
mod connect;
mod counters;
mod error;
mod fleet;
mod floors;
mod foresee;
mod front;
mod item;
mod lent;
mod limits;
mod list;
mod listen;
mod migrate;
mod open;
mod order;
mod pass_file;
mod people;
mod pooled;
mod query;
mod removal;
mod rows;
mod run;
mod session;
mod settle;
mod taken;
mod tls;
mod together;
mod tokens;
mod transaction;
mod write;

/// What the lock is called that keeps all queues as they are.
const QUEUES: &str = "queues";

/// The most ids that are asked for together. What is not used of them is given to nobody.
const MOST_IDS: i64 = 1_000;

/// One connection to the database, and what it knows.
pub(super) struct Postgres {
    session: Session,
    keys: KeyMaker,
    /// Whether the database's clock decides; in tests that of the caller does.
    keeps_time: bool,
    began: Option<Began>,
    /// The open transaction writes: what it reads to change, it locks.
    writes: bool,
    /// The open transaction shares the lock of all queues; or has it alone.
    queues: QueuesLock,
    /// Queues of which no other transaction may add a reference until this one ends.
    references: Vec<QueueId>,
    /// The open transaction, or the last one, does what only one does at a time.
    one_at_a_time: bool,
    /// References that the open transaction has added.
    added_references: HashSet<(QueueId, String)>,
    /// New items that are not inserted yet.
    added: Added,
    /// Ids that the open transaction may give to items.
    ids: VecDeque<i64>,
    next_ids: i64,
    most_ids: i64,
    /// Of which queues the open transaction leaves something that others may take.
    leaves_work: Wakes,
    /// A transaction was begun and, as far as is known, not committed.
    uncommitted: bool,
    /// A commit of which nobody knew what became of it. It may be under way still: nothing is done before it is over.
    unsettled: Option<Commit>,
    /// Which of these were made, until it is asked.
    settled: VecDeque<bool>,
    /// The open transaction began with items of this queue that were kept for a robot.
    has_kept: Option<QueueId>,
    /// Something was kept, and is not any more.
    has_let_go: Wakes,
    taken: Taken,
    /// Where the items stand that the open transaction was offered last, in their order.
    places: Vec<Place>,
    /// Where walks along what waits begin, by queue; since when the server runs where that was seen, and by which of the
    /// connections that were made.
    fronts: HashMap<i64, Front>,
    server: Option<(Timestamp, u64)>,
    /// When another process was seen to write.
    others_seen: Option<Instant>,
    /// Queues without limits, by folder and name, as they were when they were looked up last.
    names: HashMap<(FolderId, String), QueueId>,
    /// The open transaction has said that it draws numbers.
    marked: bool,
    /// What the open transaction will ask for next, and the answer to it.
    will_ask: Option<WillAsk>,
    offered: Option<Offered>,
    /// What of a queue with limits was started lately, before it is asked; its counters, which are asked for next; and how many
    /// items are wanted of it.
    started: Option<(QueueId, Starts)>,
    counted: Option<(QueueId, QueueStatistics)>,
    wanted: Option<Ask>,
    /// What the open transaction was told when it began.
    foreseen: Foreseen,
    /// What is expected of the calls that come next.
    expected: Expected,
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
    settle::forget_old(&mut session)?;
    claims::put_those_of_callers_in_order(&mut session)?;
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
        another.taken = writers[0].taken.of_another();
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
    Ok(Postgres { keys, most_ids: 1, ..Postgres::new(session, false) })
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
            one_at_a_time: false,
            added_references: HashSet::new(),
            added: Added::default(),
            ids: VecDeque::new(),
            next_ids: 1,
            most_ids: MOST_IDS,
            leaves_work: Wakes::default(),
            uncommitted: false,
            unsettled: None,
            settled: VecDeque::new(),
            has_kept: None,
            has_let_go: Wakes::default(),
            taken: Taken::default(),
            places: Vec::new(),
            fronts: HashMap::new(),
            server: None,
            others_seen: None,
            names: HashMap::new(),
            marked: false,
            will_ask: None,
            offered: None,
            started: None,
            counted: None,
            wanted: None,
            foreseen: Foreseen::default(),
            expected: Expected::default(),
            list_limit: None,
            listener: None,
        }
    }

    /// Inside the transaction of somebody else. It may be open for a while: nothing that others wait for is locked but what
    /// has to be.
    fn lent(database: &Database, lent: Lent) -> Result<Self> {
        let session = Session::lent(database.address.clone(), lent)?;
        Ok(Self::new(session, database.keeps_time))
    }

    /// Nothing of the transaction before is left.
    fn forget_transaction(&mut self) {
        (self.began, self.writes, self.queues) = (None, false, QueuesLock::None);
        self.leaves_work = Wakes::default();
        self.references.clear();
        self.added_references.clear();
        self.added = Added::default();
        self.ids.clear();
        self.next_ids = 1;
        self.places.clear();
        (self.will_ask, self.offered, self.marked) = (None, None, false);
        (self.started, self.counted, self.wanted) = (None, None, None);
        self.foreseen = Foreseen::default();
        self.session.forget();
    }

    /// The id of the next item. Ids rise with time, as far as that can be told between transactions: what one did not
    /// use is not used by the next.
    fn next_item(&mut self) -> Result<ItemId> {
        if self.ids.is_empty() {
            self.mark()?;
            for row in self.session.query(foresee::IDS, &[&self.next_ids])? {
                self.ids.push_back(columns::get(&row, 0)?);
            }
            self.next_ids = (self.next_ids * 4).min(self.most_ids);
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
        if self.writes && self.queues == QueuesLock::None && !self.session.is_lent() {
            self.share(QUEUES)?;
            self.queues = QueuesLock::Shared;
        }
        Ok(())
    }

    fn share(&mut self, what: &str) -> Result<()> {
        let question = sharing(&[self.lock_name(what)]);
        self.session.later(&question.sql, &question.bound())
    }

    /// Nobody looks a queue up until the transaction ends.
    fn take_queues(&mut self) -> Result<()> {
        self.foreseen.forget_queues();
        if self.queues != QueuesLock::Alone {
            self.lock_alone(QUEUES)?;
            self.queues = QueuesLock::Alone;
        }
        Ok(())
    }

    fn lock_alone(&mut self, what: &str) -> Result<()> {
        const SQL: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))";
        self.one_at_a_time = true;
        self.session.later(SQL, &[&self.lock_name(what)])
    }

    /// New items are in their tables before anybody looks for them.
    fn insert_added(&mut self) -> Result<()> {
        if self.added.is_empty() { Ok(()) } else { self.added.insert(&mut self.session) }
    }

    /// Whether others were in the way of a transaction that failed; if so, waits a little. In somebody else's transaction
    /// that one decides whether to try again.
    fn pause_for_others(&mut self, failed: &OrchestratorError, tries: u32) -> bool {
        let again = error::is_in_the_way(failed) && !self.session.is_lent();
        if again {
            // Of two that are in each other's way one comes first then.
            self.session.pause(Duration::from_millis(fastrand::u64(1..=8 << tries.min(5))));
        }
        again
    }
}

/// Locks that are shared until the transaction ends, in this order.
fn sharing(names: &[String]) -> Question {
    const SQL: &str =
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(name, 0)) FROM unnest($1::text[]) AS name";
    Question { sql: SQL.into(), values: vec![Box::new(names.to_vec())] }
}
