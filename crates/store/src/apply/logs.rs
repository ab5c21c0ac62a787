//! Robot logs.

use std::time::Duration;

use super::super::backend::Answer;
use super::super::logs::{LogAnswer, LogOperation, LogQuery};
use super::super::rows::Rows;
use super::{Applied, Apply};
use performer_core::model::stored_time::{StoredTime, stored};
use performer_core::orchestrator::Result;

const DAY: Duration = Duration::from_secs(86_400);

impl<R: Rows> Apply<'_, R> {
    pub(super) fn log(&mut self, operation: LogOperation) -> Applied {
        match operation {
            LogOperation::Add(lines) => {
                self.rows.add_lines(&lines, stored(self.now))?;
                Ok(Answer::Done)
            }
            // By a time that can be believed: a clock that is wrong for a while destroys no lines.
            LogOperation::Remove { retention, limit } => {
                let before = self.judge_clock()?.believed().map_or(StoredTime::FIRST.timestamp(), |now| {
                    now.checked_sub(DAY * retention.days).unwrap_or(StoredTime::FIRST.timestamp())
                });
                Ok(Answer::Removed(self.rows.remove_lines(before, retention.max_lines, limit)?))
            }
        }
    }
}

pub(super) fn answer<R: Rows>(rows: &mut R, query: &LogQuery) -> Result<Answer> {
    Ok(Answer::Log(match query {
        LogQuery::Lines(filter) => LogAnswer::Lines(rows.lines(filter)?),
        LogQuery::Count(filter) => LogAnswer::Count(rows.count_lines(filter)?),
    }))
}
