//! A batch in one transaction; again if others were in its way, and in parts if one of its operations cannot be applied.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::super::batch::unless_panicking;
use super::super::changes::Wakes;
use super::super::clock::StoreClock;
use super::super::rows::Rows;
use super::super::store::{Answer, Asked, Effects, Query, Store, Within};
use super::{Apply, Known, query};
use crate::crash_point::crash_point;
use crate::model::clock::Clock;

/// How often a transaction is tried again that others were in the way of, and for how long.
const MOST_TRIES: u32 = 6;
const TRIES_FOR: Duration = Duration::from_secs(5);

impl<R: Rows> Store for R {
    fn commit(
        &mut self,
        operations: Vec<Asked>,
        more: &mut dyn FnMut() -> Vec<Asked>,
        clock: &StoreClock,
        effects: &mut Effects,
    ) -> Vec<Result<Answer>> {
        let (began, mut tries, mut operations) = (clock.elapsed(), 0, operations);
        loop {
            let mut all = operations.clone();
            let mut joining = || {
                let joining = more();
                all.extend_from_slice(&joining);
                joining
            };
            let Failed { error, may_be_one } = match attempt(self, operations, &mut joining, clock, effects) {
                Ok(answers) => return answers,
                Err(failed) => failed,
            };
            let again = R::MEETS_OTHERS && tries < MOST_TRIES && clock.elapsed() < began + TRIES_FOR;
            if again && self.waits_for_others(&error, tries) {
                (operations, tries) = (all, tries + 1);
                continue;
            }
            if may_be_one && all.len() > 1 {
                return in_halves(self, all, clock, effects);
            }
            return all.iter().map(|_| Err(error.clone())).collect();
        }
    }

    fn abort(&mut self) {
        Rows::abort(self);
    }

    fn read(&mut self, within: Within, query: Query) -> Result<Answer> {
        self.begin_reading()?;
        let answer = query::answer(self, within, query);
        self.rollback();
        answer
    }
}

/// Applies operations that failed together in two transactions, and the half that fails in two again, until the
/// operation that cannot be applied stands alone: the callers of the others are answered as if it had never been there.
fn in_halves<R: Rows>(
    rows: &mut R,
    mut operations: Vec<Asked>,
    clock: &StoreClock,
    effects: &mut Effects,
) -> Vec<Result<Answer>> {
    let rest = operations.split_off(operations.len() / 2);
    let mut answers = Store::commit(rows, operations, &mut Vec::new, clock, effects);
    answers.extend(Store::commit(rows, rest, &mut Vec::new, clock, effects));
    answers
}

/// A transaction that failed.
struct Failed {
    error: OrchestratorError,
    /// The reason does not pass, and may lie in one of the operations.
    may_be_one: bool,
}

impl Failed {
    /// Nothing has been applied yet, or the store as a whole is in trouble.
    fn wholly(error: OrchestratorError) -> Self {
        Self { error, may_be_one: false }
    }

    fn by_an_operation(error: OrchestratorError) -> Self {
        let is_of_all = [ErrorKind::Unavailable, ErrorKind::Unknown, ErrorKind::Unauthorized];
        let may_be_one = !is_of_all.contains(&error.kind());
        Self { error, may_be_one }
    }
}

/// One transaction. A violated assertion is an error of this transaction, which is undone.
fn attempt<R: Rows>(
    rows: &mut R,
    operations: Vec<Asked>,
    more: &mut dyn FnMut() -> Vec<Asked>,
    clock: &StoreClock,
    effects: &mut Effects,
) -> std::result::Result<Vec<Result<Answer>>, Failed> {
    let applied = unless_panicking(|| apply_all(rows, operations, more, clock, effects));
    applied.unwrap_or_else(|panic| {
        Rows::abort(rows); // at once: an open transaction would lock out every other process
        Err(Failed::by_an_operation(panic))
    })
}

fn apply_all<R: Rows>(
    rows: &mut R,
    operations: Vec<Asked>,
    more: &mut dyn FnMut() -> Vec<Asked>,
    clock: &StoreClock,
    effects: &mut Effects,
) -> std::result::Result<Vec<Result<Answer>>, Failed> {
    crash_point!("commit.before_begin");
    rows.begin(&operations, clock).map_err(Failed::wholly)?;
    let now = rows.now(clock);
    clock.observe(now);
    let apply = Apply {
        now,
        rows,
        clock,
        within: Within::SHARED,
        statistics: BTreeMap::new(),
        wakes: Wakes::default(),
        known: Known::default(),
        believed: Vec::new(),
    };
    let error = match apply.everything(operations, more) {
        Ok((answers, wakes)) => {
            crash_point!("commit.before_commit");
            // A panic in it says nothing about the transaction, which may be on the disk.
            let in_doubt =
                |panic: OrchestratorError| Err(OrchestratorError::new(ErrorKind::Unknown, panic.to_string()));
            let Err(error) = unless_panicking(|| rows.commit()).unwrap_or_else(in_doubt) else {
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
    Err(Failed::by_an_operation(error))
}
