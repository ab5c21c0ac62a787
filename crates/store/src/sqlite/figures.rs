//! The statements on figures by minute and hour.

use std::collections::BTreeMap;

use rusqlite::params;
use rusqlite::types::Type;

use super::super::figures::{Counted, FigureKey, FigureRows, add_row};
use super::super::sql;
use super::columns::numbered;
use super::{Sqlite, prepared};
use performer_core::model::figures::{Figures, Resolution};
use performer_core::model::key::QueueId;
use performer_core::model::result::Outcome;
use performer_core::orchestrator::Result;

impl FigureRows for Sqlite {
    fn add_figures(&mut self, counted: &BTreeMap<FigureKey, Counted>) -> Result<()> {
        const SQL: &str = "INSERT INTO figure (queue_id, minutes, at, outcome, bucket, count, took) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (queue_id, minutes, at, outcome, bucket) \
             DO UPDATE SET count = count + excluded.count, took = took + excluded.took";
        self.run(|c| {
            let mut add = prepared(c, SQL)?;
            for (key, Counted { count, took }) in counted {
                let FigureKey { queue, minutes, at, outcome, bucket } = key;
                add.execute(params![queue.0, minutes, at, outcome.number(), bucket, count, took])?;
            }
            Ok(())
        })
    }

    /// Where claims begin there are at most six items, one of each rank: the oldest of them is the oldest that is next. The oldest
    /// of all that wait would take a scan of them.
    fn write_level(&mut self, queue: QueueId, minute: i64) -> Result<()> {
        const SQL: &str = "INSERT INTO level (queue_id, minutes, at, new, in_progress, oldest) \
             SELECT ?1, ?2, ?3, new, in_progress, (SELECT min(creation_time) FROM item WHERE id IN (\
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 0 ORDER BY due_date, item_id LIMIT 1), \
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 1 ORDER BY due_date, item_id LIMIT 1), \
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 2 ORDER BY due_date, item_id LIMIT 1), \
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 3 ORDER BY due_date, item_id LIMIT 1), \
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 4 ORDER BY due_date, item_id LIMIT 1), \
             (SELECT item_id FROM item_ready WHERE queue_id = ?1 AND rank = 5 ORDER BY due_date, item_id LIMIT 1))) \
             FROM queue_statistics WHERE queue_id = ?1 ON CONFLICT (queue_id, minutes, at) \
             DO UPDATE SET new = excluded.new, in_progress = excluded.in_progress, oldest = excluded.oldest";
        self.insert_pending_ready()?;
        self.run(|c| {
            let mut write = prepared(c, SQL)?;
            for resolution in Resolution::ALL {
                write.execute([queue.0, resolution.minutes(), resolution.start(minute)])?;
            }
            Ok(())
        })
    }

    fn figures(&mut self, queue: QueueId, resolution: Resolution, minutes: (i64, i64)) -> Result<Figures> {
        const ENDED: &str = "SELECT at, outcome, bucket, count, took FROM figure \
             WHERE queue_id = ?1 AND minutes = ?2 AND at >= ?3 AND at < ?4 ORDER BY at, outcome, bucket";
        let values = [queue.0, resolution.minutes(), minutes.0, minutes.1];
        let mut figures = self.run(|c| {
            let mut figures = Figures::default();
            let mut ended = prepared(c, ENDED)?;
            let mut rows = ended.query(values)?;
            while let Some(row) = rows.next()? {
                let outcome = numbered!(row, 1, Outcome)?;
                let key = FigureKey {
                    queue,
                    minutes: resolution.minutes(),
                    at: row.get(0)?,
                    outcome,
                    bucket: row.get(2)?,
                };
                add_row(&mut figures, key, Counted { count: row.get(3)?, took: row.get(4)? });
            }
            Ok(figures)
        })?;
        sql::figures::add_levels(self, &mut figures, queue, resolution, minutes)?;
        Ok(figures)
    }

    fn remove_figures(&mut self, queue: QueueId, resolution: Resolution, before: i64) -> Result<()> {
        sql::figures::remove(self, queue, resolution, before)
    }
}
