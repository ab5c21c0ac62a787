//! A temporary schema in the PostgreSQL of `scripts/postgres`, which is dropped when the test ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio_postgres::NoTls;

/// The variable with the URL of the database; `scripts/test` sets it.
pub const VARIABLE: &str = "PERFORMER_TEST_POSTGRES";

/// A schema that is dropped with this value.
pub struct Schema {
    pub url: String,
    server: String,
    name: String,
}

impl Default for Schema {
    fn default() -> Self {
        Self::new()
    }
}

impl Schema {
    /// Creates an empty schema.
    ///
    /// # Panics
    ///
    /// If there is no database, because a test that is skipped silently would count as passed.
    pub fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = std::env::var(VARIABLE).unwrap_or_else(|_| {
            panic!("{VARIABLE} is not set: run this as scripts/postgres cargo test …, or scripts/test")
        });
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let joint = if server.contains('?') { '&' } else { '?' };
        Self { url: format!("{server}{joint}schema={name}"), server, name }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs SQL as another program would, on its own thread, so that it can be called anywhere.
    pub fn run(&self, sql: &str) -> Vec<Vec<Option<String>>> {
        let (server, sql) = (self.server.clone(), sql.replace("{schema}", &self.name));
        let asking = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&server, NoTls).await.unwrap();
                tokio::spawn(connection);
                let messages = client.simple_query(&sql).await.unwrap();
                let rows = messages.into_iter().filter_map(|message| match message {
                    tokio_postgres::SimpleQueryMessage::Row(row) => Some(row),
                    _ => None,
                });
                rows.map(|row| (0..row.len()).map(|at| row.get(at).map(str::to_owned)).collect()).collect()
            })
        });
        asking.join().unwrap()
    }

    /// Waits until a query finds so many rows.
    ///
    /// # Panics
    ///
    /// If that takes more than ten seconds.
    pub async fn until_found(&self, sql: &str, count: usize) {
        let looking = async {
            while self.run(sql).len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), looking)
            .await
            .unwrap_or_else(|_| panic!("not found: {sql}"));
    }

    /// Waits until so many connections wait for locks of others on a table of the schema, or behind them.
    ///
    /// # Panics
    ///
    /// If that takes more than ten seconds.
    pub async fn until_waiting(&self, count: usize) {
        let waiting = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND pid IN \
             (SELECT pid FROM pg_locks JOIN pg_class ON pg_class.oid = relation WHERE relnamespace = '{schema}'::regnamespace)";
        self.until_found(waiting, count).await;
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.run("DROP SCHEMA IF EXISTS {schema} CASCADE");
        }
    }
}
