//! The transaction of a batch: repeated after a conflict, and split if one of its operations cannot be applied.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::backend::{Answer, Backend, CommitEffects, Query, Request, Scope};
use super::super::clock::StoreClock;
use super::super::group_commit::catch_panic;
use super::super::notifier::WakeSet;
use super::super::rows::Rows;
use super::{Apply, LookupCache, query};
use performer_core::crash_point;
use performer_core::model::clock::Clock;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// How often, and for how long, a transaction is repeated after conflicts.
const MAX_ATTEMPTS: u32 = 6;
const RETRY_LIMIT: Duration = Duration::from_secs(5);

impl<R: Rows> Backend for R {
    fn commit(
        &mut self,
        operations: Vec<Request>,
        more: &mut dyn FnMut() -> Vec<Request>,
        clock: &StoreClock,
        effects: &mut CommitEffects,
    ) -> Vec<Result<Answer>> {
        let (began, mut tries, mut operations) = (clock.elapsed(), 0, operations);
        loop {
            let mut all = operations.clone();
            let mut joining = || {
                let joining = more();
                all.extend_from_slice(&joining);
                joining
            };
            let FailedTransaction { error, may_be_one_operation } =
                match attempt(self, operations, &mut joining, clock, effects) {
                    Ok(answers) => return answers,
                    Err(failed) => failed,
                };
            let again = R::CAN_CONFLICT && tries < MAX_ATTEMPTS && clock.elapsed() < began + RETRY_LIMIT;
            if again && self.wait_after_conflict(&error, tries) {
                (operations, tries) = (all, tries + 1);
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

/// Applies operations that failed together in two transactions, and a half that fails in two again, until the operation
/// that cannot be applied is alone. The callers of the others are answered as if it had never been there.
fn in_halves<R: Rows>(
    rows: &mut R,
    mut operations: Vec<Request>,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> Vec<Result<Answer>> {
    let rest = operations.split_off(operations.len() / 2);
    let mut answers = Backend::commit(rows, operations, &mut Vec::new, clock, effects);
    answers.extend(Backend::commit(rows, rest, &mut Vec::new, clock, effects));
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
    more: &mut dyn FnMut() -> Vec<Request>,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> std::result::Result<Vec<Result<Answer>>, FailedTransaction> {
    let applied = catch_panic(|| run_transaction(rows, operations, more, clock, effects));
    applied.unwrap_or_else(|panic| {
        Rows::abort(rows); // at once: an open transaction would lock out every other process
        Err(FailedTransaction::of_operation(panic))
    })
}

fn run_transaction<R: Rows>(
    rows: &mut R,
    operations: Vec<Request>,
    more: &mut dyn FnMut() -> Vec<Request>,
    clock: &StoreClock,
    effects: &mut CommitEffects,
) -> std::result::Result<Vec<Result<Answer>>, FailedTransaction> {
    crash_point!("commit.before_begin");
    rows.begin(&operations, clock).map_err(FailedTransaction::of_store)?;
    let now = rows.now(clock);
    clock.observe(now);
    let apply = Apply {
        now,
        rows,
        clock,
        scope: Scope::SHARED,
        statistics: BTreeMap::new(),
        wakes: WakeSet::default(),
        lookups: LookupCache::default(),
        group_changes: BTreeMap::new(),
        assumed: Vec::new(),
    };
    let error = match apply.apply_all(operations, more) {
        Ok((answers, wakes)) => {
            crash_point!("commit.before_commit");
            // After a panic in the commit the transaction may or may not be on disk.
            let in_doubt =
                |panic: OrchestratorError| Err(OrchestratorError::new(ErrorKind::Unknown, panic.to_string()));
            let Err(error) = catch_panic(|| rows.commit()).unwrap_or_else(in_doubt) else {
                crash_point!(committed);
                effects.wakes.extend(wakes);
                return Ok(answers);
            };
            if error.kind() == ErrorKind::Unknown {
                effects.in_doubt.push(answers.into_iter().filter_map(Result::ok).collect());
            }
            error
        }
        Err(error) => error,
    };
    rows.rollback();
    Err(FailedTransaction::of_operation(error))
}
