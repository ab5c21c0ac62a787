//! The limits: plain tokio-postgres on a plain table, `COPY`, and pgbench.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::SinkExt;
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

use super::Schema;

/// A table for a queue and nothing else.
const TABLE: &str = "
    CREATE TABLE item (
        id bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
        queue bigint NOT NULL,
        status smallint NOT NULL,
        priority smallint NOT NULL,
        content text NOT NULL,
        started timestamptz,
        ended timestamptz,
        owner bigint
    );
    CREATE INDEX item_next ON item (queue, priority, id) WHERE status = 0;";

const CLAIM: &str = "UPDATE item SET status = 1, started = now(), owner = 7 WHERE id IN \
     (SELECT id FROM item WHERE queue = 1 AND status = 0 ORDER BY priority, id LIMIT $1 FOR UPDATE SKIP LOCKED) \
     RETURNING id, content";

const COMPLETE: &str =
    "UPDATE item SET status = 3, ended = now() WHERE id = ANY ($1) AND status = 1 AND owner = 7";

/// The statements of a pgbench client for one item.
const ONE: &str = "\
UPDATE item SET status = 1, started = now(), owner = 7 WHERE id IN \
(SELECT id FROM item WHERE queue = 1 AND status = 0 ORDER BY priority, id LIMIT 1 FOR UPDATE SKIP LOCKED) \
RETURNING id, content \\gset
UPDATE item SET status = 3, ended = now() WHERE id = :id AND status = 1 AND owner = 7;
";

pub struct Plain<'a> {
    runtime: &'a Runtime,
    schema: Schema,
    client: Client,
}

async fn connect(server: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(server, NoTls).await.expect("a connection");
    tokio::spawn(connection);
    client
}

/// Runs statements on a connection of its own.
pub fn run_once(server: &str, sql: &str) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                connect(server).await.batch_execute(sql).await.expect("statements");
            });
        });
    });
}

impl<'a> Plain<'a> {
    pub fn new(runtime: &'a Runtime, server: &str) -> Self {
        let schema = Schema::new(server);
        let client = runtime.block_on(async {
            let client = connect(server).await;
            let sql = format!("CREATE SCHEMA {0}; SET search_path TO {0}; {TABLE}", schema.name);
            client.batch_execute(&sql).await.expect("a table");
            client
        });
        Self { runtime, schema, client }
    }

    pub fn add(&self, content: &str, count: usize) {
        const ADD: &str = "INSERT INTO item (queue, status, priority, content) \
                           SELECT 1, 0, 1, $1 FROM generate_series(1, $2::bigint)";
        let count = i64::try_from(count).expect("a number");
        self.runtime.block_on(self.client.execute(ADD, &[&content, &count])).expect("an insert");
    }

    /// One row in a transaction of its own: a commit.
    pub fn add_one(&self, content: &str) -> Duration {
        self.runtime.block_on(async {
            let insert = "INSERT INTO item (queue, status, priority, content) VALUES (1, 0, 1, $1)";
            let started = Instant::now();
            self.client.execute(insert, &[&content]).await.expect("an insert");
            started.elapsed()
        })
    }

    /// Drains the table: claims and results of a batch in one commit, on each of so many connections.
    pub fn drain(&self, batch: i64, connections: usize) -> Duration {
        self.runtime.block_on(async {
            let mut clients = Vec::new();
            for _ in 0..connections {
                let client = connect(&self.schema.server).await;
                let path = format!("SET search_path TO {}", self.schema.name);
                client.batch_execute(&path).await.expect("a schema");
                clients.push(client);
            }
            let started = Instant::now();
            let draining: Vec<_> =
                clients.into_iter().map(|client| tokio::spawn(drain_on(client, batch))).collect();
            for drained in draining {
                drained.await.expect("an end");
            }
            started.elapsed()
        })
    }

    /// Claims and completes one item at a time on many connections: items per second, as measured by pgbench.
    pub fn pgbench(&self, program: &PathBuf) -> f64 {
        let folder = tempfile::tempdir().expect("a folder");
        let script = folder.path().join("one.sql");
        std::fs::write(&script, ONE).expect("a script");
        let said = Command::new(program)
            .args(["-n", "-M", "prepared", "-c", "16", "-j", "2", "-t", "1000", "-f"])
            .arg(&script)
            .arg(&self.schema.server)
            .env("PGOPTIONS", format!("-c search_path={}", self.schema.name))
            .output()
            .expect("pgbench");
        let text = String::from_utf8_lossy(&said.stdout);
        let rate = text.lines().find_map(|line| line.strip_prefix("tps = "));
        let rate = rate.and_then(|line| line.split(' ').next()).and_then(|word| word.parse().ok());
        rate.unwrap_or_else(|| panic!("pgbench said {text}{}", String::from_utf8_lossy(&said.stderr)))
    }
}

async fn drain_on(mut client: Client, batch: i64) {
    let claim = client.prepare(CLAIM).await.expect("a statement");
    let complete = client.prepare(COMPLETE).await.expect("a statement");
    let mut held: Vec<i64> = Vec::new();
    loop {
        let transaction = client.transaction().await.expect("a transaction");
        if !held.is_empty() {
            transaction.execute(&complete, &[&held]).await.expect("results");
        }
        let rows = transaction.query(&claim, &[&batch]).await.expect("claims");
        held = rows.iter().map(|row| row.get(0)).collect();
        for row in &rows {
            std::hint::black_box(row.get::<_, String>(1));
        }
        transaction.commit().await.expect("a commit");
        if held.is_empty() {
            return;
        }
    }
}

/// `COPY` into a table with the columns and indexes of `item`.
pub fn copy(runtime: &Runtime, server: &str, schema: &str, content: &str, count: usize) -> Duration {
    let mut lines = String::new();
    for id in 1..=count {
        let key = format!("{:08x}-{:04x}-7000-8000-{:012x}", id >> 16, id & 0xffff, id * 7919);
        let text = content.replace('\\', "\\\\");
        lines.push_str(&format!("{id}\t1\t1\t2026-01-01 00:00:00Z\tf\t{key}\t{text}\n"));
    }
    runtime.block_on(async {
        let client = connect(server).await;
        client.batch_execute(&format!("SET search_path TO {schema}")).await.expect("a schema");
        let started = Instant::now();
        let copy = "COPY item (id, queue_id, priority, creation_time, holds_reference, unique_key, content) FROM STDIN";
        let sink = client.copy_in::<_, std::io::Cursor<Vec<u8>>>(copy).await.expect("a copy");
        let mut sink = Box::pin(sink);
        for part in lines.as_bytes().chunks(64 * 1024) {
            sink.send(std::io::Cursor::new(part.to_vec())).await.expect("a part");
        }
        assert_eq!(sink.as_mut().finish().await.expect("the end"), count as u64);
        started.elapsed()
    })
}

/// Multiplies the finished items, with new numbers and keys.
pub fn multiply(server: &str, schema: &str, times: usize) {
    let copied = format!(
        "SET search_path TO {schema};
         CREATE TEMPORARY TABLE one AS SELECT * FROM item;
         CREATE TEMPORARY TABLE state AS SELECT * FROM item_state;
         CREATE TEMPORARY TABLE copied AS SELECT one.id AS original, nextval('item_id') AS id
             FROM generate_series(2, {times}), one;
         INSERT INTO item SELECT (jsonb_populate_record(one, jsonb_build_object('id', copied.id,
             'unique_key', gen_random_uuid()))).* FROM copied JOIN one ON one.id = copied.original;
         INSERT INTO item_state SELECT (jsonb_populate_record(state, jsonb_build_object('item_id', copied.id))).*
             FROM copied JOIN state ON state.item_id = copied.original;"
    );
    run_once(server, &copied);
    for table in ["item", "item_state"] {
        run_once(server, &format!("VACUUM ANALYZE {schema}.{table}"));
    }
}

/// The path of pgbench.
pub fn pgbench() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let path: Vec<_> = std::env::var_os("PATH")
        .iter()
        .flat_map(|path| std::env::split_paths(path).collect::<Vec<_>>())
        .collect();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let installed = installed.map(|version| version.path().join("bin"));
    let mut places = named.into_iter().chain(path).chain(installed);
    places.find_map(|folder| Some(folder.join("pgbench")).filter(|program| program.is_file()))
}

/// A session that holds a snapshot, until this is dropped.
pub struct Snapshot {
    _client: Client,
}

impl Snapshot {
    pub fn hold(runtime: &Runtime, server: &str) -> Self {
        runtime.block_on(async {
            let client = connect(server).await;
            let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class";
            client.batch_execute(sql).await.expect("a snapshot");
            Self { _client: client }
        })
    }
}
