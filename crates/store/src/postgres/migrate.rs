//! Creates the schema, or migrates an older one. All steps and their version number are one transaction, under a lock, so that
//! no other transaction sees half a schema.
//!
//! A migration begins when the transactions of older programs have ended. Each transaction that writes reads `schema_version` with its
//! first statement, and its lock on that table is kept until it ends, so a migration that has that table alone has waited for all of
//! them; and those that begin meanwhile wait in their first statement, and see then whether they are too old. Otherwise a
//! transaction that had been admitted before a migration could write after it as if nothing had changed.

use super::columns::get;
use super::error::is_in_the_way;
use super::session::Session;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// Each migrates the schema from the version before it to its own (its position in this list, from 1). One that programs of older
/// versions would not go on correctly with sets `schema_version.oldest`.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_schema.sql"),
    include_str!("migrations/0002_saved_views.sql"),
    include_str!("migrations/0003_assets.sql"),
    include_str!("migrations/0004_job_ids_logs.sql"),
    include_str!("migrations/0005_webhooks.sql"),
    include_str!("migrations/0006_buckets.sql"),
    include_str!("migrations/0007_alerts.sql"),
    include_str!("migrations/0008_processes.sql"),
    include_str!("migrations/0009_tasks.sql"),
];

/// How often a migration asks whether other transactions have ended, for some fifteen minutes in all.
const MOST_WAITS: u32 = 600;

/// The oldest supported version of PostgreSQL.
const OLDEST: i32 = 13_00_00;

/// The required encoding of the database. In any other one a text is refused if one of its characters does not exist
/// there, and that would be found out when finished work is recorded. SQL_ASCII is no exception: it checks nothing, a
/// character is a byte to `lower`, `substr` and `length`, and other programs may have written bytes that are no text.
const ENCODING: &str = "UTF8";

/// The version of the schema, and the oldest one whose programs go on correctly with it. Programs look at it in every transaction, so
/// that one that is too old stops when somebody brings the schema up to date.
const VERSION: &str = "CREATE TABLE schema_version (version integer NOT NULL, oldest integer NOT NULL); \
                       INSERT INTO schema_version (version, oldest) VALUES (0, 1)";

/// The newest schema version that this program knows.
pub(super) fn known() -> i32 {
    newest(MIGRATIONS)
}

fn newest(migrations: &[&str]) -> i32 {
    i32::try_from(migrations.len()).unwrap_or(i32::MAX)
}

/// The schema has a version that this program would not use correctly.
pub(super) fn too_new(session: &Session, oldest: i32) -> OrchestratorError {
    let (address, known) = (session.address(), known());
    let message = format!(
        "the schema {} of {address} was brought up to date by a newer version of performer: programs need to know version \
         {oldest} of it, and this one knows {known}; upgrade this program",
        address.schema()
    );
    OrchestratorError::new(ErrorKind::Other, message)
}

pub(super) fn migrate(session: &mut Session) -> Result<()> {
    session.without_haste(|session| bring_up_to_date(session, MIGRATIONS))
}

fn bring_up_to_date(session: &mut Session, migrations: &[&str]) -> Result<()> {
    let known = newest(migrations);
    let database = session.address().to_string();
    let version = session.query_once("SELECT current_setting('server_version_num')::integer", &[])?;
    let version: i32 = version.first().map_or(Ok(0), |row| get(row, 0))?;
    if version < OLDEST {
        let message = format!("{database} is PostgreSQL {}; performer needs 13 or later", version / 10_000);
        return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
    }
    let encoding = session.query_once("SELECT current_setting('server_encoding')", &[])?;
    let encoding: String = encoding.first().map_or_else(|| Ok(String::new()), |row| get(row, 0))?;
    if encoding != ENCODING {
        let message = format!(
            "the encoding of {database} is {encoding}, which cannot keep every text; create the database with \
             ENCODING '{ENCODING}' TEMPLATE template0"
        );
        return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
    }
    let schema = session.address().schema().to_owned();
    let quoted = session.address().quoted_schema();
    // READ COMMITTED, so that what is read under the lock is what its last holder left.
    session.batch("BEGIN ISOLATION LEVEL READ COMMITTED")?;
    let migrated = (|| {
        let name = format!("performer/{schema}/schema");
        session.query_once("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", &[&name])?;
        let there = "SELECT to_regclass($1 || '.schema_version') IS NOT NULL";
        let rows = session.query_once(there, &[&quoted])?;
        let mut found = 0;
        if rows.first().map_or(Ok(false), |row| get(row, 0))? {
            let rows = session.query_once(&format!("SELECT version FROM {quoted}.schema_version"), &[])?;
            found = rows.first().map_or(Ok(0), |row| get::<i32>(row, 0))?;
            if found > known {
                let rows = session.query_once(&format!("SELECT oldest FROM {quoted}.schema_version"), &[])?;
                let oldest = rows.first().map_or(Ok(found), |row| get::<i32>(row, 0))?;
                return if oldest > known { Err(too_new(session, oldest)) } else { session.batch("COMMIT") };
            }
            if found < known {
                wait_for_writers(session, &quoted)?;
            }
        } else {
            // Checked first: a user who may use a schema may not be allowed to create one.
            let rows = session.query_once("SELECT to_regnamespace($1) IS NOT NULL", &[&quoted])?;
            if !rows.first().map_or(Ok(false), |row| get::<bool>(row, 0))? {
                session.batch(&format!("CREATE SCHEMA {quoted}"))?;
            }
            session.batch(&format!("SET LOCAL search_path TO {quoted}; {VERSION}"))?;
        }
        for (at, migration) in migrations.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
            let version = at + 1;
            session.batch(&format!(
                "SET LOCAL search_path TO {quoted}; {migration} UPDATE schema_version SET version = {version}"
            ))?;
        }
        session.batch("COMMIT")
    })();
    if migrated.is_err() {
        let _ = session.batch("ROLLBACK"); // it has failed already
    }
    migrated
}

/// Waits until no transaction of an older program is at work: each reads the version of the schema first. The lock is asked for again and
/// again, a second each time, because everything that begins meanwhile has to wait behind the request.
fn wait_for_writers(session: &mut Session, quoted: &str) -> Result<()> {
    let lock = format!(
        "SET LOCAL lock_timeout = '1s'; LOCK TABLE {quoted}.schema_version IN ACCESS EXCLUSIVE MODE; \
         SET LOCAL lock_timeout = 0"
    );
    session.batch("SAVEPOINT waits")?;
    for _ in 0..MOST_WAITS {
        match session.batch(&lock) {
            Err(error) if is_in_the_way(&error) => {
                session.batch("ROLLBACK TO SAVEPOINT waits; SELECT pg_sleep(0.5)")?;
            }
            locked => return locked,
        }
    }
    let message = "the schema cannot be migrated: other transactions are open all the time, such as a backup or one of a caller";
    Err(OrchestratorError::new(ErrorKind::Unavailable, message))
}

#[cfg(test)]
mod tests {
    use performer_proofs::postgres::Schema;
    use tokio::task::JoinHandle;

    use super::super::super::{Orchestrator as _, Store};
    use super::super::address::Address;
    use super::*;
    use performer_core::model::item::NewQueueItem;
    use performer_core::model::job::NewJob;
    use performer_core::model::key::JobKey;
    use performer_core::model::queue::NewQueueDefinition;
    use performer_core::orchestrator::{FleetAdministration as _, QueueAdministration as _};

    /// Programs of older versions go on correctly with it.
    const FIRST_STEP: &str = "CREATE TABLE copied AS SELECT id, reference FROM item;";
    /// They would not with this one.
    const SECOND_STEP: &str = "ALTER TABLE copied ADD COLUMN doubled bigint; UPDATE copied SET doubled = 2 * id; \
                               UPDATE schema_version SET oldest = version + 1;";

    /// A later program with more steps migrates the schema, on a thread of its own.
    fn migrate_to(schema: &Schema, steps: &[&'static str]) -> JoinHandle<Result<()>> {
        let (url, migrations) = (schema.url.clone(), [MIGRATIONS, steps].concat());
        tokio::task::spawn_blocking(move || {
            let mut session = Session::writing(Address::parse(&url)?)?;
            session.connect()?;
            bring_up_to_date(&mut session, &migrations)
        })
    }

    fn found(schema: &Schema, sql: &str) -> Vec<String> {
        schema.run(sql).into_iter().flatten().flatten().collect()
    }

    fn version(schema: &Schema) -> i32 {
        found(schema, "SELECT version FROM {schema}.schema_version")[0].parse().unwrap()
    }

    fn item(reference: &str) -> NewQueueItem {
        NewQueueItem::new(serde_json::json!({})).reference(reference)
    }

    async fn store_with_an_item(schema: &Schema) -> Store {
        let store = Store::postgres(&schema.url).await.unwrap();
        store.create_queue(NewQueueDefinition::new("q")).await.unwrap();
        store.add_queue_item("q", item("a")).await.unwrap();
        store
    }

    /// A migration waits for the transactions of older programs, so that nothing is written in the old way after it; these programs
    /// go on until it is one that they have to know.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_migration_waits_for_transactions_of_older_programs() {
        let schema = Schema::new();
        let old = store_with_an_item(&schema).await;
        let (plain, _) = schema.url.split_once(['?', '&']).unwrap();
        let (mut client, connection) = tokio_postgres::connect(plain, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let transaction = client.transaction().await.unwrap();
        old.add_queue_item_in(&transaction, "q", item("begun")).await.unwrap();
        let migrating = migrate_to(&schema, &[FIRST_STEP]);
        schema.until_waiting(1).await;
        transaction.commit().await.unwrap();
        migrating.await.unwrap().unwrap();
        assert_eq!(found(&schema, "SELECT reference FROM {schema}.copied ORDER BY id"), ["a", "begun"]);

        old.add_queue_item("q", item("b")).await.unwrap();
        Store::postgres(&schema.url).await.unwrap();
        migrate_to(&schema, &[FIRST_STEP, SECOND_STEP]).await.unwrap().unwrap();
        let added = old.add_queue_item("q", item("b")).await.map(drop);
        let opened = Store::postgres(&schema.url).await.map(drop);
        for error in [added, opened].map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(error.to_string().contains("upgrade this program"), "{error}");
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_schema_is_migrated_once_by_several_that_do_so_at_once() {
        let schema = Schema::new();
        store_with_an_item(&schema).await;
        let migrating: Vec<_> = (0..8).map(|_| migrate_to(&schema, &[FIRST_STEP, SECOND_STEP])).collect();
        for migrated in migrating {
            migrated.await.unwrap().unwrap(); // each step would fail if it ran twice
        }
        assert_eq!(version(&schema), known() + 2);
        assert_eq!(found(&schema, "SELECT doubled = 2 * id FROM {schema}.copied"), ["t"]);
    }

    /// All steps are one transaction.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn steps_of_which_one_fails_leave_nothing() {
        let schema = Schema::new();
        store_with_an_item(&schema).await;
        migrate_to(&schema, &[FIRST_STEP, "SELECT no_such_function();"]).await.unwrap().unwrap_err();
        assert_eq!(version(&schema), known());
        assert_eq!(found(&schema, "SELECT to_regclass('{schema}.copied')"), [""; 0]);
        migrate_to(&schema, &[FIRST_STEP, SECOND_STEP]).await.unwrap().unwrap();
        assert_eq!(version(&schema), known() + 2);
    }

    /// Jobs of the time before they had numbers.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn old_jobs_get_numbers() {
        let schema = Schema::new();
        let url = schema.url.clone();
        let migrated = tokio::task::spawn_blocking(move || {
            let mut session = Session::writing(Address::parse(&url)?)?;
            session.connect()?;
            bring_up_to_date(&mut session, &MIGRATIONS[..3])
        });
        migrated.await.unwrap().unwrap();
        for day in 1..=3 {
            let key = JobKey::from_bytes([day; 16]);
            schema.run(&format!(
                "INSERT INTO {{schema}}.job (number, key, queue, machine, process_id, version, robots, lease, state, \
                 start_time, held_until, end_time, folder_id, owner) SELECT {}, '{key}', 'q', 'm', 1, '1', 1, 30000000, 5, \
                 day, day, day, 1, 0 FROM CAST('2026-01-0{day}' AS timestamptz) AS day",
                key.number().0
            ));
        }
        let store = Store::postgres(&schema.url).await.unwrap();
        store.create_queue(NewQueueDefinition::new("q")).await.unwrap();
        let mut numbers: Vec<i64> =
            store.list_jobs(10).await.unwrap().into_iter().map(|job| job.id.0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3]);
        let new = store.start_job(NewJob::new("q")).await.unwrap();
        let all = store.list_jobs(10).await.unwrap();
        assert_eq!(all.iter().find(|job| job.key == new).unwrap().id.0, 4);
    }
}
