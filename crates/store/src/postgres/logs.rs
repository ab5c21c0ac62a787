//! Robot logs.

use jiff::Timestamp;

use super::super::logs::LogRows;
use super::super::sql;
use super::Postgres;
use super::columns::text;
use performer_core::model::log::{LogFilter, LogLine, LogRecord};
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::Result;

impl LogRows for Postgres {
    fn add_lines(&mut self, lines: &[LogLine], now: Timestamp) -> Result<()> {
        const SQL: &str = "INSERT INTO log (folder_id, time, level, job, item_id, process, entry) \
                           SELECT * FROM unnest($1::bigint[], $2::timestamptz[], $3::smallint[], $4::bigint[], \
                           $5::bigint[], $6::text[], $7::text[])";
        let folders: Vec<i64> = lines.iter().map(|line| line.folder.0).collect();
        let times: Vec<Timestamp> = lines.iter().map(|line| stored(line.time.min(now))).collect();
        let levels: Vec<i16> = lines.iter().map(|line| i16::from(line.level.number())).collect();
        let jobs: Vec<Option<i64>> = lines.iter().map(|line| line.job.map(|job| job.number().0)).collect();
        let items: Vec<Option<i64>> = lines.iter().map(|line| line.item.map(|item| item.0)).collect();
        let processes: Vec<String> = lines.iter().map(|line| text(&line.process).into_owned()).collect();
        let entries: Vec<String> = lines.iter().map(|line| text(&line.entry).into_owned()).collect();
        self.session.enqueue(SQL, &[&folders, &times, &levels, &jobs, &items, &processes, &entries])
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
