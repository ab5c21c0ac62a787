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

/// The schema, by version; never change an old one.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001_queues_items_jobs.sql"),
    include_str!("migrations/0002_fleets.sql"),
    include_str!("migrations/0003_connections.sql"),
    include_str!("migrations/0004_claims.sql"),
    include_str!("migrations/0005_fronts.sql"),
    include_str!("migrations/0006_counters.sql"),
    include_str!("migrations/0007_job_locks.sql"),
    include_str!("migrations/0008_entries.sql"),
    include_str!("migrations/0009_shards.sql"),
    include_str!("migrations/0010_kept_time.sql"),
    include_str!("migrations/0011_job_owners.sql"),
    include_str!("migrations/0012_removals_tokens.sql"),
    include_str!("migrations/0013_actors.sql"),
    include_str!("migrations/0014_retry_delay.sql"),
    include_str!("migrations/0015_queries.sql"),
    include_str!("migrations/0016_expect_rows.sql"),
    include_str!("migrations/0017_groups.sql"),
    include_str!("migrations/0018_review.sql"),
    include_str!("migrations/0019_operations.sql"),
    include_str!("migrations/0020_audit.sql"),
    include_str!("migrations/0021_reason_notes.sql"),
    include_str!("migrations/0022_assets.sql"),
];

/// How often a migration asks whether other transactions have ended, for some fifteen minutes in all.
const MOST_WAITS: u32 = 600;

/// The oldest supported version of PostgreSQL.
const OLDEST: i32 = 13_00_00;

/// The required encoding of the database. In any other one a text is refused if one of its characters does not exist
/// there, and that would be found out when finished work is recorded. SQL_ASCII is no exception: it checks nothing, a
/// character is a byte to `lower`, `substr` and `length`, and other programs may have written bytes that are no text.
const ENCODING: &str = "UTF8";

/// The newest schema version that this program knows.
pub(super) fn known() -> i32 {
    i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX)
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
    session.without_haste(bring_up_to_date)
}

fn bring_up_to_date(session: &mut Session) -> Result<()> {
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
            if found > known() {
                let rows = session.query_once(&format!("SELECT oldest FROM {quoted}.schema_version"), &[])?;
                let oldest = rows.first().map_or(Ok(found), |row| get::<i32>(row, 0))?;
                return if oldest > known() {
                    Err(too_new(session, oldest))
                } else {
                    session.batch("COMMIT")
                };
            }
            if found < known() {
                wait_for_writers(session, &quoted)?;
            }
        } else {
            let one_row = "CREATE TABLE schema_version (version integer NOT NULL); INSERT INTO schema_version VALUES (0)";
            // Checked first: a user who may use a schema may not be allowed to create one.
            let rows = session.query_once("SELECT to_regnamespace($1) IS NOT NULL", &[&quoted])?;
            if !rows.first().map_or(Ok(false), |row| get::<bool>(row, 0))? {
                session.batch(&format!("CREATE SCHEMA {quoted}"))?;
            }
            session.batch(&format!("SET LOCAL search_path TO {quoted}; {one_row}"))?;
        }
        for (at, migration) in MIGRATIONS.iter().enumerate().skip(usize::try_from(found).unwrap_or(0)) {
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
