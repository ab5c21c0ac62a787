//! Robot logs.

use jiff::Timestamp;
use rusqlite::params;

use super::super::logs::LogRows;
use super::super::sql;
use super::columns::micros;
use super::{Sqlite, prepared};
use performer_core::model::log::{LogFilter, LogLine, LogRecord};
use performer_core::orchestrator::Result;

impl LogRows for Sqlite {
    fn add_lines(&mut self, lines: &[LogLine], now: Timestamp) -> Result<()> {
        const SQL: &str = "INSERT INTO log (folder_id, time, level, job, item_id, process, entry) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        self.run(|c| {
            let mut statement = prepared(c, SQL)?;
            for line in lines {
                statement.execute(params![
                    line.folder.0,
                    micros(line.time.min(now)),
                    line.level.number(),
                    line.job.map(|job| job.number().0),
                    line.item.map(|item| item.0),
                    line.process,
                    line.entry,
                ])?;
            }
            Ok(())
        })
    }

    fn lines(&mut self, filter: &LogFilter) -> Result<Vec<LogRecord>> {
        sql::logs::lines(self, filter)
    }

    fn count_lines(&mut self, filter: &LogFilter) -> Result<u64> {
        sql::logs::count(self, filter)
    }

    fn remove_lines(&mut self, before: Timestamp, max_lines: u64, limit: usize) -> Result<u64> {
        sql::logs::remove(self, before, max_lines, limit)
    }
}
