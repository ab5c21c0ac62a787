//! A store with a million items: ten thousand that went their way, and copies of them that a statement has made.

use std::sync::LazyLock;
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::{ExceptionType, NewJob, ProcessingException, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, CommitType, Report};
use performer::prelude::*;
use tokio::runtime::Runtime;

pub(crate) const QUEUE: &str = "Invoices";

/// How many items go their way, and how often there is each of them in the end.
const ORIGINALS: usize = 10_000;
const TIMES: usize = 100;

/// The first of them are worked on, and of a hundred of those three fail.
const DONE: usize = 9_300;

/// Reasons that differ in more than their numbers.
const REASONS: usize = 40;

/// The minute, counted from 1970, before which the figures of a month end: the present one.
pub(crate) static LAST_MINUTE: LazyLock<i64> = LazyLock::new(|| Timestamp::now().as_second() / 60);
const MINUTES: i64 = 30 * 24 * 60;

async fn fill(store: &dyn Administration) {
    let policy = QueuePolicy::default().max_number_of_retries(0);
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(policy)).await.expect("a queue");
    for from in (0..ORIGINALS).step_by(1_000) {
        let item = |number: usize| {
            let content = serde_json::json!({ "number": number, "vendor": "Acme", "total": 139.12 });
            NewQueueItem::new(content).reference(format!("INV-{:07}", number + 1))
        };
        let items = (from..from + 1_000).map(item).collect();
        let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.expect("added");
        assert!(added.failed.is_empty());
    }
    let job = store.start_job(NewJob::new(QUEUE)).await.expect("a job");
    let mut done = 0;
    while done < DONE {
        let ask = ClaimRequest::new(QUEUE, job, (DONE - done).min(100));
        let claimed = store.report_and_claim(Vec::new(), Some(ask)).await.claimed.expect("claimed").items;
        let reports = claimed.into_iter().enumerate().map(|(at, claimed)| {
            let number = done + at;
            let result = if number % 31 == 0 {
                let kind = if number % 2 == 0 {
                    ExceptionType::BusinessException
                } else {
                    ExceptionType::ApplicationException
                };
                let letter = char::from(b'a' + u8::try_from(number % REASONS / 2).expect("small"));
                let reason = format!("invoice {number} of vendor \"{number}\" has no {letter}{letter}");
                let exception = ProcessingException::new(kind, reason, Timestamp::UNIX_EPOCH);
                TransactionResult::Failed { exception: Some(exception), defer_date: None }
            } else {
                TransactionResult::Successful { output: None }
            };
            Report::new(claimed.claim, result)
        });
        let reports: Vec<_> = reports.collect();
        done += reports.len();
        let answered = store.report_and_claim(reports, None).await.reports;
        assert!(answered.iter().all(Result::is_ok));
    }
}

/// What both databases have of the figures of a month: five buckets of two outcomes a minute and an hour.
fn figures(values: &str, series: &str) -> String {
    let (from, end) = (*LAST_MINUTE - MINUTES, *LAST_MINUTE);
    let rows = |minutes: i64| {
        let numbers = series.replace("FROM_", &from.to_string()).replace("END_", &(end - 1).to_string());
        format!(
            "INSERT INTO figure (queue_id, minutes, at, outcome, bucket, count, took) \
             SELECT 1, {minutes}, minute.at, outcome.number, bucket.number, 7, 12000000 \
             FROM {numbers} CROSS JOIN ({values}) AS outcome CROSS JOIN ({buckets}) AS bucket \
             WHERE minute.at % {minutes} = 0 ON CONFLICT DO NOTHING; \
             INSERT INTO level (queue_id, minutes, at, new, in_progress, oldest) \
             SELECT 1, {minutes}, minute.at, 70000, 8, NULL FROM {numbers} WHERE minute.at % {minutes} = 0 \
             ON CONFLICT DO NOTHING;",
            buckets = "SELECT 20 AS number UNION ALL SELECT 21 UNION ALL SELECT 22 UNION ALL SELECT 24 UNION ALL SELECT 30"
        )
    };
    rows(1) + &rows(60)
}

const OUTCOMES: &str = "SELECT 1 AS number UNION ALL SELECT 2";

pub(crate) fn sqlite(runtime: &Runtime) -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("million.db");
    runtime.block_on(async {
        let store = Store::sqlite(path.clone()).await.expect("the file");
        fill(&store).await;
    });
    let last = TIMES - 1;
    let (count, width) = (ORIGINALS, Duration::from_secs(3).as_micros());
    let series = "(WITH RECURSIVE n(at) AS (SELECT FROM_ UNION ALL SELECT at + 1 FROM n WHERE at < END_) SELECT at FROM n) AS minute";
    let sql = format!(
        "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; BEGIN;
         CREATE TEMP TABLE times AS
             WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < {last}) SELECT k FROM n;
         CREATE TEMP TABLE copied AS SELECT * FROM item;
         CREATE TEMP TABLE states AS SELECT * FROM item_state;
         CREATE TEMP TABLE failures AS SELECT * FROM item_exception;
         CREATE TEMP TABLE reviewed AS SELECT * FROM item_review;
         CREATE TEMP TABLE waiting AS SELECT * FROM item_ready;
         INSERT INTO item (id, queue_id, priority, creation_time, holds_reference, unique_key, reference, content)
             SELECT id + k * {count}, queue_id, priority, creation_time + k * {width}, holds_reference, unique_key,
             printf('INV-%07d', id + k * {count}), content FROM times CROSS JOIN copied ORDER BY k, id;
         INSERT INTO item_state (item_id, queue_id, status, review_status, outcome, superseded, start_processing,
             end_processing, holder, robot, token, row_version)
             SELECT item_id + k * {count}, queue_id, status, review_status, outcome, superseded, start_processing + k * {width},
             end_processing + k * {width}, holder, robot, token, row_version FROM times CROSS JOIN states
             ORDER BY k, item_id;
         INSERT INTO item_exception (item_id, exception_type, reason, creation_time, reason_id)
             SELECT item_id + k * {count}, exception_type, reason, creation_time, reason_id
             FROM times CROSS JOIN failures ORDER BY k, item_id;
         INSERT INTO item_review SELECT queue_id, status, item_id + k * {count}, review_status, outcome, reviewer_user_id,
             start_processing + k * {width}, end_processing + k * {width}, priority, due_date, creation_time + k * {width},
             printf('INV-%07d', item_id + k * {count}) FROM times CROSS JOIN reviewed ORDER BY k, item_id;
         INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched)
             SELECT queue_id, rank, due_date, item_id + k * {count}, touched FROM times CROSS JOIN waiting ORDER BY k, item_id;
         UPDATE queue_statistics SET new = new * {TIMES}, successful = successful * {TIMES},
             business_exceptions = business_exceptions * {TIMES},
             application_exceptions = application_exceptions * {TIMES};
         UPDATE reason SET total = total * {TIMES}, open = open * {TIMES};
         UPDATE last_item SET id = {all};
         {figures}
         COMMIT; PRAGMA wal_checkpoint(TRUNCATE);",
        all = ORIGINALS * TIMES,
        figures = figures(OUTCOMES, series),
    );
    rusqlite::Connection::open(&path).and_then(|file| file.execute_batch(&sql)).expect("copies");
    (runtime.block_on(Store::sqlite(path)).expect("the file"), folder)
}

/// A schema of its own, dropped with this value.
pub(crate) struct Schema {
    server: String,
    name: String,
}

impl Drop for Schema {
    fn drop(&mut self) {
        run(&self.server, &[format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name)]);
    }
}

/// Runs statements on a connection of its own.
fn run(server: &str, statements: &[String]) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            Runtime::new().expect("a runtime").block_on(async {
                let connected = tokio_postgres::connect(server, tokio_postgres::NoTls).await;
                let (client, connection) = connected.expect("a connection");
                tokio::spawn(connection);
                for sql in statements {
                    client.batch_execute(sql).await.expect("statements");
                }
            });
        });
    });
}

pub(crate) fn postgres(runtime: &Runtime, server: &str) -> (Store, Schema) {
    let schema = Schema { server: server.to_owned(), name: format!("queries_{}", std::process::id()) };
    let joint = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{joint}schema={}", schema.name);
    runtime.block_on(async {
        let store = Store::postgres(&url).await.expect("a database");
        fill(&store).await;
    });
    let (last, count) = (TIMES - 1, ORIGINALS);
    let series = "(SELECT generate_series(FROM_::bigint, END_::bigint) AS at) AS minute";
    let copies = format!(
        "SET search_path TO {name}; SET synchronous_commit = off;
         CREATE TEMP TABLE times AS SELECT k FROM generate_series(1, {last}) AS k;
         -- Numbers may have been left out.
         CREATE TEMP TABLE numbered AS
             SELECT id, row_number() OVER (ORDER BY id) AS number, max(id) OVER () AS last FROM item;
         CREATE TEMP TABLE copied AS SELECT * FROM item;
         CREATE TEMP TABLE states AS SELECT * FROM item_state;
         CREATE TEMP TABLE failures AS SELECT * FROM item_exception;
         CREATE TEMP TABLE reviewed AS SELECT * FROM item_review;
         CREATE TEMP TABLE waiting AS SELECT * FROM item_ready;
         INSERT INTO item (id, queue_id, priority, creation_time, holds_reference, unique_key, reference, content)
             SELECT last + (k - 1) * {count} + number, queue_id, priority, creation_time + k * interval '3 seconds', holds_reference,
             gen_random_uuid(), 'INV-' || lpad((k * {count} + number)::text, 7, '0'), content
             FROM times CROSS JOIN copied JOIN numbered USING (id) ORDER BY k, id;
         INSERT INTO item_state (item_id, queue_id, status, review_status, outcome, superseded, start_processing,
             end_processing, holder, robot, token, row_version)
             SELECT last + (k - 1) * {count} + number, queue_id, status, review_status, outcome, superseded,
             start_processing + k * interval '3 seconds', end_processing + k * interval '3 seconds', holder, robot, token,
             row_version FROM times CROSS JOIN states JOIN numbered ON id = item_id ORDER BY k, item_id;
         INSERT INTO item_exception (item_id, exception_type, reason, creation_time, reason_id)
             SELECT last + (k - 1) * {count} + number, exception_type, reason, creation_time, reason_id
             FROM times CROSS JOIN failures JOIN numbered ON id = item_id ORDER BY k, item_id;
         INSERT INTO item_review SELECT queue_id, status, last + (k - 1) * {count} + number, review_status, outcome,
             reviewer_user_id, start_processing + k * interval '3 seconds', end_processing + k * interval '3 seconds', priority,
             due_date, creation_time + k * interval '3 seconds', 'INV-' || lpad((k * {count} + number)::text, 7, '0')
             FROM times CROSS JOIN reviewed JOIN numbered ON id = item_id ORDER BY k, item_id;
         INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered)
             SELECT queue_id, rank, due_date, last + (k - 1) * {count} + number, touched, entered
             FROM times CROSS JOIN waiting JOIN numbered ON id = item_id ORDER BY k, item_id;
         UPDATE queue_statistics SET new = new * {TIMES}, successful = successful * {TIMES},
             business_exceptions = business_exceptions * {TIMES},
             application_exceptions = application_exceptions * {TIMES};
         UPDATE reason_count SET total = total * {TIMES}, open = open * {TIMES};
         {figures}
         SELECT setval('item_id', {all});",
        name = schema.name,
        all = ORIGINALS * TIMES + 100_000,
        figures = figures(OUTCOMES, series),
    );
    let tables = "item item_state item_exception item_review item_ready queue_statistics reason reason_count figure level";
    let vacuum = |table: &str| format!("VACUUM ANALYZE {}.{table}", schema.name);
    let statements: Vec<String> = std::iter::once(copies).chain(tables.split(' ').map(vacuum)).collect();
    run(server, &statements);
    (runtime.block_on(Store::postgres(&url)).expect("a database"), schema)
}
