//! The transaction of a batch: repeated after a conflict, and split if one of its operations cannot be applied.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::super::arrivals::{Arrivals, NoArrivals};
use super::super::backend::{Answer, Backend, CommitEffects, Query, Request, Scope};
use super::super::clock::StoreClock;
use super::super::figures::UnwrittenFigures;
use super::super::group_commit::catch_panic;
use super::super::notifier::WakeSet;
use super::super::rows::Rows;
use super::super::webhooks::Subscriptions;
use super::alerts::PendingAlerts;
use super::audit::PendingAudit;
use super::webhooks::PendingEvents;
use super::{AppliedBatch, Apply, LookupCache, query};
use performer_core::crash_point;
use performer_core::model::clock::Clock;
use performer_core::model::key::QueueId;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How often, and for how long, a transaction is repeated after conflicts.
const MAX_ATTEMPTS: u32 = 6;
const RETRY_LIMIT: Duration = Duration::from_secs(5);

impl<R: Rows> Backend for R {
    fn commit(
        &mut self,
        operations: Vec<Request>,
        arrivals: &mut dyn Arrivals,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>> {
        let mut arrived = Arrived { arrivals, all: Vec::new(), parked: 0, serves: true };
        if R::ONE_CALL_FOR_GOOD {
            let count = operations.len();
            let answers = attempt(self, operations, &mut arrived, clock, effects);
            let count = count + arrived.all.len() + arrived.parked;
            return answers.unwrap_or_else(|failed| (0..count).map(|_| Err(failed.error.clone())).collect());
        }
        let began = if R::CAN_CONFLICT { clock.elapsed() } else { Duration::ZERO };
        let (mut tries, mut operations) = (0, operations);
        loop {
            arrived.all.clone_from(&operations);
            let FailedTransaction { error, may_be_one_operation } =
                match attempt(self, operations, &mut arrived, clock, effects) {
                    Ok(answers) => return answers,
                    Err(failed) => failed,
                };
            let (all, served) = (std::mem::take(&mut arrived.all), arrived.parked);
            if error.kind() == ErrorKind::Unknown {
                // Claims that wait may have been given items, which are given back as those of the others are.
                return (0..all.len() + served).map(|_| Err(error.clone())).collect();
            }
            let by_parked = may_be_one_operation && served > 0;
            if served > 0 {
                (arrived.parked, arrived.serves) = (0, false);
                arrived.arrivals.park_again();
            }
            let again = R::CAN_CONFLICT && tries < MAX_ATTEMPTS && clock.elapsed() < began + RETRY_LIMIT;
            if again && self.wait_after_conflict(&error, tries) {
                (operations, tries) = (all, tries + 1);
                continue;
            }
            if by_parked {
                operations = all; // nobody's call fails because of another one's claim
                continue;
            }
            if may_be_one_operation && all.len() > 1 {
                return in_halves(self, all, clock, effects);
            }
            return all.iter().map(|_| Err(error.clone())).collect();
        }
    }

    fn abort(&mut self) {
        Rows::abort(self);
    }

    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer> {
        self.begin_reading()?;
        let answer = query::answer(self, scope, query);
        self.rollback();
        answer
    }
}

/// What has joined the transactions of one batch.
struct Arrived<'a> {
    arrivals: &'a mut dyn Arrivals,
    /// The operations of the present transaction.
    all: Vec<Request>,
    /// How many claims that wait take part in it.
    parked: usize,
    /// Claims that wait are served: not in a transaction that is repeated.
    serves: bool,
}

impl Arrivals for Arrived<'_> {
    fn more(&mut self, most: usize) -> Vec<Request> {
        let joining = self.arrivals.more(most);
        self.all.extend_from_slice(&joining);
        joining
    }

    fn waiting(&self) -> usize {
        self.arrivals.waiting()
    }

    fn has_parked(&self, queue: QueueId) -> bool {
        self.serves && self.arrivals.has_parked(queue)
    }

    fn parked(&mut self, queue: QueueId) -> Vec<Request> {
        let parked = self.arrivals.parked(queue);
        self.parked += parked.len();
        parked
    }
}

/// Applies operations that failed together in two transactions, and a half that fails in two again, until the operation
/// that cannot be applied is alone. The callers of the others are answered as if it had never been there.
fn in_halves<R: Rows>(
    rows: &mut R,
    mut operations: Vec<Request>,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> Vec<Result<Answer>> {
    let rest = operations.split_off(operations.len() / 2);
    let mut answers = Backend::commit(rows, operations, &mut NoArrivals, clock, effects);
    answers.extend(Backend::commit(rows, rest, &mut NoArrivals, clock, effects));
    answers
}

/// A transaction that failed.
struct FailedTransaction {
    error: OrchestratorError,
    /// The reason is permanent, and may be one of the operations.
    may_be_one_operation: bool,
}

impl FailedTransaction {
    /// Nothing was applied yet, or the store as a whole cannot be used.
    fn of_store(error: OrchestratorError) -> Self {
        Self { error, may_be_one_operation: false }
    }

    fn of_operation(error: OrchestratorError) -> Self {
        let is_of_all = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Unauthorized];
        let may_be_one_operation = !is_of_all.contains(&error.kind());
        Self { error, may_be_one_operation }
    }
}

/// Runs one transaction. A violated assertion is an error of this transaction, which is undone.
fn attempt<R: Rows>(
    rows: &mut R,
    operations: Vec<Request>,
    arrivals: &mut dyn Arrivals,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> std::result::Result<Vec<Result<Answer>>, FailedTransaction> {
    let applied = catch_panic(|| run_transaction(rows, operations, arrivals, clock, effects));
    applied.unwrap_or_else(|panic| {
        Rows::abort(rows); // at once: an open transaction would lock out every other process
        Err(FailedTransaction::of_operation(panic))
    })
}

fn run_transaction<R: Rows>(
    rows: &mut R,
    operations: Vec<Request>,
    arrivals: &mut dyn Arrivals,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> std::result::Result<Vec<Result<Answer>>, FailedTransaction> {
    crash_point!("commit.before_begin");
    rows.begin(&operations, clock).map_err(FailedTransaction::of_store)?;
    let (now, elapsed) = rows.now_and_elapsed(clock);
    clock.observe(now, elapsed);
    let subscriptions = match subscriptions(rows, clock, elapsed) {
        Ok(subscriptions) => subscriptions,
        Err(error) => {
            rows.rollback();
            return Err(FailedTransaction::of_store(error));
        }
    };
    let apply = Apply {
        now,
        rows,
        clock,
        scope: Scope::SHARED,
        statistics: BTreeMap::new(),
        wakes: WakeSet::default(),
        more_left: WakeSet::default(),
        none_left: WakeSet::default(),
        locked_limits: BTreeSet::new(),
        queues_changed: false,
        lookups: LookupCache::default(),
        group_changes: BTreeMap::new(),
        actor: None,
        audit: PendingAudit::default(),
        events: PendingEvents::new(subscriptions),
        alerts: PendingAlerts::default(),
        assumed: Vec::new(),
        figures: UnwrittenFigures::default(),
        figures_at_once: false,
    };
    // Figures last: others may wait for their rows, and wait for no more than the commit.
    let applied = apply.apply_all(operations, arrivals).and_then(|applied| {
        let AppliedBatch { answers, wakes, figures, figures_at_once, webhooks_changed } = applied;
        let may_write = rows.may_write_figures();
        let figures = clock.figures().begin(figures, clock.elapsed(), figures_at_once, may_write);
        figures.write(rows, now).map(|()| (answers, wakes, figures, webhooks_changed))
    });
    let error = match applied {
        Ok((answers, wakes, figures, webhooks_changed)) => {
            crash_point!("commit.before_commit");
            // After a panic in the commit the transaction may or may not be on disk.
            let in_doubt =
                |panic: OrchestratorError| Err(OrchestratorError::new(ErrorKind::Unknown, panic.to_string()));
            let Err(error) = catch_panic(|| rows.commit()).unwrap_or_else(in_doubt) else {
                crash_point!(committed);
                figures.committed();
                if webhooks_changed {
                    clock.subscriptions().forget();
                }
                effects.wakes.extend(wakes);
                return Ok(answers);
            };
            if error.kind() == ErrorKind::Unknown {
                figures.committed();
                effects.in_doubt.push(answers.into_iter().filter_map(Result::ok).collect());
            }
            error
        }
        Err(error) => error,
    };
    rows.rollback();
    Err(FailedTransaction::of_operation(error))
}

/// Which webhooks have subscribed to what. Read again once a second, because another process may have changed it.
fn subscriptions<R: Rows>(rows: &mut R, clock: &StoreClock, elapsed: Duration) -> Result<Arc<Subscriptions>> {
    if let Some(known) = clock.subscriptions().get(elapsed) {
        return Ok(known);
    }
    let read = Arc::new(Subscriptions::of(rows.webhooks()?));
    clock.subscriptions().keep(elapsed, read.clone());
    Ok(read)
}
