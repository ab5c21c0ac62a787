//! Robot logs of a store: lines that programs wrote ([`model::log`](performer_core::model::log)).

use std::sync::Arc;

use jiff::Timestamp;

use super::Store;
use super::backend::{Operation, Query, expect_answer};
use super::done;
use performer_core::model::log::{LogFilter, LogLine, LogRecord, LogRetention, validate_lines};
use performer_core::orchestrator::Result;

/// What is done to logs.
#[derive(Clone, Debug)]
pub(crate) enum LogOperation {
    Add(Arc<[LogLine]>),
    /// Removes at most `limit` lines that need not be kept any more.
    Remove {
        retention: LogRetention,
        limit: usize,
    },
}

/// What is asked of logs.
#[derive(Debug)]
pub(crate) enum LogQuery {
    Lines(LogFilter),
    Count(LogFilter),
}

/// The answer of logs.
#[derive(Debug)]
pub(crate) enum LogAnswer {
    Lines(Vec<LogRecord>),
    Count(u64),
}

impl Store {
    /// Adds lines to the log, all of them or none. A line of a later time than the store's gets the store's.
    ///
    /// # Errors
    ///
    /// Invalid for more than 10,000 lines, or an entry longer than 64 KiB; Unavailable if the store is unavailable.
    pub async fn add_log_lines(&self, lines: Vec<LogLine>) -> Result<()> {
        validate_lines(&lines)?;
        if lines.is_empty() {
            return Ok(());
        }
        done(self.one(Operation::Log(LogOperation::Add(lines.into()))).await)
    }

    /// Lines that match, by their times.
    ///
    /// # Errors
    ///
    /// Invalid for more than 10,000 lines; Unavailable if the store is unavailable.
    pub async fn log_lines(&self, filter: LogFilter) -> Result<Vec<LogRecord>> {
        filter.validate()?;
        match expect_answer!(self.read(Query::Log(Box::new(LogQuery::Lines(filter)))).await, Log)? {
            LogAnswer::Lines(lines) => Ok(lines),
            LogAnswer::Count(_) => unreachable!("lines were asked for"),
        }
    }

    /// How many lines match, whatever the limit and the beginning of the page.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn count_log_lines(&self, filter: LogFilter) -> Result<u64> {
        match expect_answer!(self.read(Query::Log(Box::new(LogQuery::Count(filter)))).await, Log)? {
            LogAnswer::Count(count) => Ok(count),
            LogAnswer::Lines(_) => unreachable!("a number was asked for"),
        }
    }

    /// Removes at most `limit` lines that need not be kept any more, and returns how many; with fewer than `limit` there are no more. A
    /// server does this by itself.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn remove_log_lines(&self, retention: LogRetention, limit: usize) -> Result<u64> {
        expect_answer!(self.one(Operation::Log(LogOperation::Remove { retention, limit })).await, Removed)
    }
}

/// Lines of the log, inside the one transaction that is open.
pub(crate) trait LogRows {
    /// Adds lines; `now` stands for the time of a line that is later.
    fn add_lines(&mut self, lines: &[LogLine], now: Timestamp) -> Result<()>;

    fn lines(&mut self, filter: &LogFilter) -> Result<Vec<LogRecord>>;

    fn count_lines(&mut self, filter: &LogFilter) -> Result<u64>;

    /// Removes at most `limit` lines: those written before a time, and the oldest over a number. Returns how many.
    fn remove_lines(&mut self, before: Timestamp, max_lines: u64, limit: usize) -> Result<u64>;
}
