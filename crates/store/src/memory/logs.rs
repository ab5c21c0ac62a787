//! Robot logs in memory. The oldest lines are forgotten early: memory is not where a log is kept.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::super::logs::LogRows;
use super::Memory;
use performer_core::model::log::{LogFilter, LogLine, LogRecord};
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::Result;

/// The most lines that are kept.
const MAX_LINES: usize = 100_000;

/// Lines by time and number.
#[derive(Default)]
pub(super) struct StoredLines {
    lines: BTreeMap<(Timestamp, i64), LogLine>,
    last: i64,
}

impl LogRows for Memory {
    fn add_lines(&mut self, lines: &[LogLine], now: Timestamp) -> Result<()> {
        let log = &mut self.log;
        for line in lines {
            let mut line = line.clone();
            line.time = stored(line.time.min(now));
            log.last += 1;
            log.lines.insert((line.time, log.last), line);
            if log.lines.len() > MAX_LINES {
                log.lines.pop_first();
            }
        }
        Ok(())
    }

    fn lines(&mut self, filter: &LogFilter) -> Result<Vec<LogRecord>> {
        let is_behind = |place: &(Timestamp, i64)| {
            filter.after.is_none_or(|after| if filter.descending { *place < after } else { *place > after })
        };
        let found = self.log.lines.iter().filter(|(place, line)| is_behind(place) && filter.matches(line));
        let record = |((time, id), line): (&(Timestamp, i64), &LogLine)| {
            LogRecord::new(*id, *time, line.level, line.folder, line.entry.clone()).about(line.item)
        };
        Ok(if filter.descending {
            found.rev().take(filter.limit).map(record).collect()
        } else {
            found.take(filter.limit).map(record).collect()
        })
    }

    fn count_lines(&mut self, filter: &LogFilter) -> Result<u64> {
        Ok(self.log.lines.values().filter(|line| filter.matches(line)).count() as u64)
    }

    fn remove_lines(&mut self, before: Timestamp, max_lines: u64, limit: usize) -> Result<u64> {
        let mut removed = 0;
        while removed < limit as u64
            && let Some(((time, _), _)) = self.log.lines.first_key_value()
            && (*time < before || self.log.lines.len() as u64 > max_lines)
        {
            self.log.lines.pop_first();
            removed += 1;
        }
        Ok(removed)
    }
}
