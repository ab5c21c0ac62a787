//! A batch in one transaction, and again if others were in its way.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::super::{ErrorKind, Result};
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
        clock: &dyn Clock,
        effects: &mut Effects,
    ) -> Vec<Result<Answer>> {
        let (began, mut tries, mut operations) = (clock.elapsed(), 0, operations);
        loop {
            let mut all = if R::MEETS_OTHERS { operations.clone() } else { Vec::new() };
            let mut count = operations.len();
            let mut joining = || {
                let joining = more();
                count += joining.len();
                all.extend(joining.iter().filter(|_| R::MEETS_OTHERS).cloned());
                joining
            };
            match apply_all(self, operations, &mut joining, clock, effects) {
                Ok(answers) => return answers,
                Err(error) => {
                    let again = R::MEETS_OTHERS && tries < MOST_TRIES && clock.elapsed() < began + TRIES_FOR;
                    if !again || !self.waits_for_others(&error, tries) {
                        return (0..count).map(|_| Err(error.clone())).collect();
                    }
                    (operations, tries) = (all, tries + 1);
                }
            }
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

/// One try, in one transaction.
fn apply_all<R: Rows>(
    rows: &mut R,
    operations: Vec<Asked>,
    more: &mut dyn FnMut() -> Vec<Asked>,
    clock: &dyn Clock,
    effects: &mut Effects,
) -> Result<Vec<Result<Answer>>> {
    crash_point!("commit.before_begin");
    rows.begin(&operations, clock)?;
    let apply = Apply {
        now: rows.now(clock),
        rows,
        clock,
        within: Within::SHARED,
        statistics: BTreeMap::new(),
        wake: false,
        known: Known::default(),
        believed: Vec::new(),
    };
    let error = match apply.everything(operations, more) {
        Ok((answers, woken)) => {
            crash_point!("commit.before_commit");
            let Err(error) = rows.commit() else {
                crash_point!(committed);
                effects.wake |= woken;
                return Ok(answers);
            };
            if error.kind() == ErrorKind::Unknown {
                effects.in_doubt = Some(answers.into_iter().filter_map(Result::ok).collect());
            }
            error
        }
        Err(error) => error,
    };
    rows.rollback();
    Err(error)
}
