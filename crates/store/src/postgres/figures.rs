//! The statements on figures by minute and hour.

use std::collections::BTreeMap;

use super::super::figures::{Counted, FigureKey, FigureRows, add_row};
use super::super::sql;
use super::columns::{get, numbered};
use super::{Postgres, counters};
use performer_core::model::figures::{Figures, Resolution};
use performer_core::model::key::QueueId;
use performer_core::model::result::Outcome;
use performer_core::orchestrator::Result;

fn small(number: impl TryInto<i16>) -> i16 {
    number.try_into().unwrap_or(i16::MAX)
}

impl FigureRows for Postgres {
    /// The caller's transaction may stay open for a while, and every other process would wait for its rows.
    fn may_write_figures(&self) -> bool {
        !self.session.is_callers()
    }

    /// One statement, sent with the next one. The rows are locked until the commit is on disk: by all processes in the same order.
    fn add_figures(&mut self, counted: &BTreeMap<FigureKey, Counted>) -> Result<()> {
        const SQL: &str = "INSERT INTO figure AS there (queue_id, minutes, at, outcome, bucket, count, took) \
             SELECT * FROM unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::smallint[], $5::smallint[], \
             $6::bigint[], $7::bigint[]) ON CONFLICT (queue_id, minutes, at, outcome, bucket) \
             DO UPDATE SET count = there.count + excluded.count, took = there.took + excluded.took";
        let column = |read: fn(&FigureKey, &Counted) -> i64| -> Vec<i64> {
            counted.iter().map(|(key, counted)| read(key, counted)).collect()
        };
        let small_column = |read: fn(&FigureKey) -> i16| -> Vec<i16> { counted.keys().map(read).collect() };
        self.session.enqueue(
            SQL,
            &[
                &column(|key, _| key.queue.0),
                &small_column(|key| small(key.minutes)),
                &column(|key, _| key.at),
                &small_column(|key| i16::from(key.outcome.number())),
                &small_column(|key| small(key.bucket)),
                &column(|_, counted| counted.count),
                &column(|_, counted| counted.took),
            ],
        )
    }

    /// Where claims begin there are at most six items, one of each rank: the oldest of them is the oldest that is next. The oldest
    /// of all that wait would take a scan of them. Nothing is read by this program: the statement is sent with the commit.
    fn write_level(&mut self, queue: QueueId, minute: i64) -> Result<()> {
        let sql = format!(
            "INSERT INTO level AS there (queue_id, minutes, at, new, in_progress, oldest) \
             SELECT $1::bigint, unnest($2::smallint[]), unnest($3::bigint[]), sum.new, sum.in_progress, \
             (SELECT min(item.creation_time) FROM item WHERE item.id = ANY (ARRAY(SELECT (\
             SELECT item_id FROM item_ready WHERE queue_id = $1 AND rank = ranks.rank \
             ORDER BY due_date, item_id LIMIT 1) FROM generate_series(0, 5) AS ranks (rank)))) \
             FROM ({}) AS sum (new, in_progress, successful, business_exceptions, application_exceptions, retried, \
             abandoned, deleted) ON CONFLICT (queue_id, minutes, at) \
             DO UPDATE SET new = excluded.new, in_progress = excluded.in_progress, oldest = excluded.oldest",
            counters::SUM
        );
        self.flush_bulk_insert()?;
        let minutes: Vec<i16> =
            Resolution::ALL.iter().map(|resolution| small(resolution.minutes())).collect();
        let at: Vec<i64> = Resolution::ALL.iter().map(|resolution| resolution.start(minute)).collect();
        self.session.enqueue(&sql, &[&queue.0, &minutes, &at])
    }

    fn figures(&mut self, queue: QueueId, resolution: Resolution, minutes: (i64, i64)) -> Result<Figures> {
        // A row for all buckets of a minute: the way of a row to this program costs more than to find it.
        const ENDED: &str = "SELECT at, outcome, array_agg(bucket), array_agg(count), array_agg(took) FROM figure \
             WHERE queue_id = $1 AND minutes = $2 AND at >= $3 AND at < $4 GROUP BY at, outcome ORDER BY at, outcome";
        let of = small(resolution.minutes());
        let mut figures = Figures::default();
        for row in &self.session.query(ENDED, &[&queue.0, &of, &minutes.0, &minutes.1])? {
            let outcome = numbered!(row, 1, Outcome)?;
            let at = get(row, 0)?;
            let (buckets, counts, took): (Vec<i16>, Vec<i64>, Vec<i64>) =
                (get(row, 2)?, get(row, 3)?, get(row, 4)?);
            for ((bucket, count), took) in buckets.into_iter().zip(counts).zip(took) {
                let bucket = usize::try_from(bucket).unwrap_or_default();
                let key = FigureKey { queue, minutes: i64::from(of), at, outcome, bucket };
                add_row(&mut figures, key, Counted { count, took });
            }
        }
        sql::figures::add_levels(self, &mut figures, queue, resolution, minutes)?;
        Ok(figures)
    }

    fn remove_figures(&mut self, queue: QueueId, resolution: Resolution, before: i64) -> Result<()> {
        sql::figures::remove(self, queue, resolution, before)
    }
}
