//! Begins and ends transactions.
//!
//! A transaction of robots takes two round trips if all its claims are on one queue without limits. The first begins it and loads
//! what its operations need: the time, the queue, the jobs, the next items (`prefetch.rs`). The second writes everything and commits:
//! results of items that this process claimed are written without reading the rows, guarded so that the commit fails if one has
//! changed (`write.rs`), and then the transaction is repeated with the rows read. There is a third one if items are searched late
//! (`note_claim_load` in `rows.rs`), and more for limits (`queue_limits.rs`), for groups (`groups.rs`) and for what was not foreseen.

use std::time::Duration;

use uuid::Uuid;

use super::super::backend::Request;
use super::caller_transaction::Executor;
use super::connection::{BeginAnswer, CommitId, StartTime, TransactionStart};
use super::pipeline;
use super::prefetch::Needs;
use super::session::{BegunTransaction, BoundQuery, Session};
use super::{Postgres, commit_outcome, error, migrate, sharing};
use performer_core::model::clock::Clock;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

impl Postgres {
    pub(super) fn begin_for(&mut self, operations: &[Request], clock: &dyn Clock) -> Result<()> {
        if std::mem::replace(&mut self.uncommitted, true) {
            self.claim_cache.undone();
            self.cursors.clear(); // what was read in a transaction that was undone is not valid
        }
        self.forget_transaction();
        self.serialized = false;
        let (needs, (began, answers)) = self.begin_anew(operations, clock)?;
        if let Some((listener, writer)) = &self.listener {
            listener.set_own_process(*writer, self.session.process());
        }
        if began.oldest > migrate::known() {
            self.undo();
            return Err(migrate::too_new(&self.session, began.oldest));
        }
        let server = Some((began.server, self.session.connections()));
        let seen_elsewhere = !self.cursors.is_empty() && self.server != server;
        self.server = server;
        if seen_elsewhere {
            self.undo();
            return self.begin_for(operations, clock); // the claim cursors are reset
        }
        (self.began, self.writes) = (Some(began), true);
        let seen = answers.and_then(|answers| self.use_answers(needs, answers));
        match seen {
            Ok(true) => Ok(()),
            Ok(false) => {
                self.undo();
                self.begin_for(operations, clock) // the queue is known better now
            }
            Err(error) => {
                self.undo();
                Err(error)
            }
        }
    }

    fn begin_anew(&mut self, operations: &[Request], clock: &dyn Clock) -> Result<(Needs, BegunTransaction)> {
        self.session.connect()?;
        self.resolve_earlier_commit()?;
        let now = (!self.keeps_time).then(|| clock.now());
        let mut needs = Needs::of(operations, self, now);
        let (locks, queries) = (needs.locks(self), needs.queries(self));
        let begun = match self.session.begin(&locks, &queries) {
            // The server was restarted while this connection was idle: nothing has been done yet.
            Err(error) if error.kind() == ErrorKind::Unavailable && !self.session.is_open() => {
                self.session.connect()?;
                self.session.begin(&locks, &queries)
            }
            begun => begun,
        };
        if begun.is_err() && !self.session.is_callers() {
            self.undo(); // it may have been begun, and failed to get a lock
        }
        Ok((needs, begun?))
    }

    pub(super) fn begin_to_read(&mut self) -> Result<()> {
        self.forget_transaction();
        self.session.connect()?;
        match self.session.begin_reading(self.list_limit) {
            Err(error) if error.kind() == ErrorKind::Unavailable && !self.session.is_open() => {
                self.session.connect()?;
                self.session.begin_reading(self.list_limit)
            }
            begun => begun,
        }
    }

    pub(super) fn commit_all(&mut self) -> Result<()> {
        self.flush_bulk_insert()?;
        self.claim_cache.tidy_up(&mut self.session)?;
        if !self.claimable_queues.is_none() {
            // By queue, so that only those are notified who wait for its items.
            const TELL: &str = "SELECT pg_notify($1, queue::text) FROM unnest($2::bigint[]) AS queue";
            let queues: Vec<i64> = self.claimable_queues.queues().iter().map(|queue| queue.0).collect();
            let channel = self.session.address().channel();
            self.session.enqueue(TELL, &[&channel, &queues])?;
        }
        let commit = self.session.next_commit();
        let committed = match (self.session.commit(), commit) {
            // The database knows whether it was made before the connection was lost.
            (Err(lost), Some(commit)) if !self.session.is_open() => self.resolve_commit(commit, lost),
            (answered, _) => answered,
        };
        if committed.is_ok() {
            self.uncommitted = false;
            self.claim_cache.committed();
        }
        self.forget_transaction();
        committed
    }

    pub(super) fn undo(&mut self) {
        self.claim_cache.undone();
        self.reasons.forget();
        self.forget_transaction();
        if self.session.is_open() && self.session.undo().is_err() {
            self.session.close();
        }
    }
}

impl Session {
    /// Begins a transaction that writes, shares locks, and runs queries, in one round trip. The queries may fail while
    /// the transaction stays open.
    pub(super) fn begin(&mut self, locks: &[String], asked: &[BoundQuery]) -> Result<BegunTransaction> {
        if self.is_callers() {
            let path = self.query_once("SELECT current_setting('search_path')", &[])?;
            self.caller = path.first().map(|row| row.get(0));
        }
        // Through a pooler the server process has to be known before the transaction locks anything.
        let is_pooled = self.open.as_ref().is_some_and(|open| open.client.is_pooled());
        let (first, apart) = if is_pooled { (&[][..], locks) } else { (locks, &[][..]) };
        let (begin, now) = (self.beginning(), self.asking_now(first));
        let apart = (!apart.is_empty()).then(|| sharing(apart));
        let asked: Vec<_> = apart.iter().chain(asked).collect();
        let bound: Vec<Vec<_>> = asked.iter().map(|asked| asked.bound()).collect();
        let begun = self.on(async |open| {
            open.forget();
            open.renew();
            open.server_process.began = StartTime::Connection(open.connected);
            let (now, values) = (open.statement(&now.sql).await?, now.bound());
            let begun = async |client: &Executor| {
                let (begun, rows) = tokio::join!(client.batch_execute(&begin), client.query(&now, &values));
                begun?;
                rows
            };
            // A new statement is prepared inside the transaction: it names tables without their schema.
            let all_known = !is_pooled && asked.iter().all(|asked| open.statements.contains_key(&*asked.sql));
            let early = if all_known { None } else { Some(open.began(begun(&open.client).await?)?) };
            let mut statements = Vec::with_capacity(asked.len());
            for (asked, values) in asked.iter().zip(&bound) {
                statements.push((open.statement(&asked.sql).await?, &**values));
            }
            let asking = pipeline::queries(&open.client, &statements);
            Ok(match early {
                Some(began) => (began, asking.await),
                None => {
                    let (rows, answers) = tokio::join!(begun(&open.client), asking);
                    (open.began(rows?)?, answers)
                }
            })
        });
        let (began, mut answers) = self.explain_begun(begun)?;
        if let (Ok(answers), Some(_)) = (&mut answers, apart) {
            answers.remove(0);
        }
        Ok((began, answers))
    }

    fn explain_begun(
        &mut self,
        begun: Result<BeginAnswer<Option<TransactionStart>>>,
    ) -> Result<BegunTransaction> {
        let (began, answers) = begun?;
        let answers = match answers {
            Err(error) if error::breaks_the_connection(&error) => {
                self.lose();
                return Err(error::explain(error, self.address()));
            }
            answers => answers.map_err(|error| error::explain(error, self.address())),
        };
        let none =
            || OrchestratorError::new(ErrorKind::Other, "the schema does not say which version it has");
        Ok((began.ok_or_else(none)?, answers))
    }

    fn beginning(&self) -> String {
        if self.is_callers() {
            let schema = self.address().quoted_schema();
            return format!("SAVEPOINT performer; SET LOCAL search_path TO {schema}");
        }
        // Whatever the database's default: the statements are written for this level.
        format!("BEGIN ISOLATION LEVEL READ COMMITTED{}", self.path())
    }

    /// The first query of a transaction, which shares these locks. It reads the time before it waits for them, so that
    /// it corresponds to the local time of sending.
    fn asking_now(&self, locks: &[String]) -> BoundQuery {
        let about = "SELECT clock_timestamp(), oldest, pg_backend_pid(), transaction_timestamp(), pg_postmaster_start_time()";
        let version = format!("{}.schema_version", self.address().quoted_schema());
        if locks.is_empty() {
            return BoundQuery { sql: format!("{about} FROM {version}").into(), values: Vec::new() };
        }
        let BoundQuery { sql, values } = sharing(locks);
        let sql = format!(
            "WITH shared AS MATERIALIZED ({sql}) {about}, (SELECT count(*) FROM shared) FROM {version}"
        );
        BoundQuery { sql: sql.into(), values }
    }

    /// Identifies the next commit. `None` in the caller's transaction, whose commit is not ours.
    pub(super) fn next_commit(&self) -> Option<CommitId> {
        let open = self.open.as_ref().filter(|_| !self.is_callers())?;
        Some(CommitId { server_process: open.server_process, key: open.key, number: open.commits + 1 })
    }

    /// Key and number of the next commit, if nothing counts it yet: the caller of this does.
    pub(super) fn uncounted_commit(&mut self) -> Option<(Uuid, i64)> {
        let CommitId { key, number, .. } = self.next_commit()?;
        let open = self.open.as_mut()?;
        (!std::mem::replace(&mut open.is_counted, true)).then_some((key, number))
    }

    /// See [`OpenConnection::shard`](super::connection::OpenConnection::shard).
    pub(super) fn shard(&mut self, queue: i64) -> (Option<i64>, i64) {
        self.open.as_mut().map_or((None, 0), |open| open.shard(queue))
    }

    /// Makes the transaction durable; in the caller's transaction, releases the savepoint.
    pub(super) fn commit(&mut self) -> Result<()> {
        let Some(CommitId { key, number, .. }) = self.next_commit() else {
            return self.end("COMMIT", "RELEASE SAVEPOINT performer");
        };
        let committed = self.on(async |open| {
            open.commits = number;
            // If one of these fails, the transaction was undone.
            if !open.is_counted {
                open.enqueue(commit_outcome::COUNT, &[&key, &number]).await?;
            }
            if let Some(before) = open.before.take() {
                open.enqueue(commit_outcome::FORGET, &[&before]).await?;
            }
            open.after_queued(async |client| client.batch_execute("COMMIT").await).await
        });
        self.left = None; // not to be ended: its commit may be in progress
        committed
    }

    /// Undoes the transaction; in the caller's transaction, what was done since the savepoint.
    pub(super) fn undo(&mut self) -> Result<()> {
        self.end("ROLLBACK", "ROLLBACK TO SAVEPOINT performer; RELEASE SAVEPOINT performer")
    }

    fn end(&mut self, own: &str, caller: &str) -> Result<()> {
        match &self.caller {
            None => self.batch(own),
            Some(path) => {
                let path = path.replace('\'', "''");
                self.batch(&format!("{caller}; SELECT set_config('search_path', '{path}', true)"))
            }
        }
    }

    /// Sets the search path at the beginning of a transaction: a pooler's connection does not have it.
    fn path(&self) -> String {
        let is_told = self.open.as_ref().is_some_and(|open| !open.client.is_pooled());
        if is_told {
            String::new()
        } else {
            format!("; SET LOCAL search_path TO {}", self.address().quoted_schema())
        }
    }

    /// Begins a read-only transaction on one state of the database. `limit`: time limit of each of its statements.
    pub(super) fn begin_reading(&mut self, limit: Option<Duration>) -> Result<()> {
        let limit = limit.map_or_else(String::new, |limit| {
            format!("; SET LOCAL statement_timeout = {}", limit.as_millis().clamp(1, i32::MAX as u128))
        });
        // To compile a plan takes longer than what people ask for, and is done for every one whose costs are estimated as high.
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off";
        self.batch(&format!("{begin}{}{limit}", self.path()))
    }
}
