//! The file itself: created as a whole, checked before it is opened, and migrated.
//!
//! A file that is not ours, is damaged, or was written by a newer version is refused before it is opened for writing,
//! so nothing in it changes. (Only the log beside it is not checked before the file is opened.)

use std::fs;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::error::{explain, explain_running, file_error};
use super::{dialect, prepared};
use performer_core::crash_point;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_core::private_file::warn_if_open_to_others;

/// Marks a file as performer's: "perf" in the header's application id.
const APPLICATION_ID: i32 = 0x7065_7266;

/// Older versions can corrupt a file in write-ahead mode if several processes use it.
const OLDEST_SQLITE: i32 = 3_051_003;

/// Each migrates the schema from the version before it to its own (its position in this list, from 1).
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

/// Opens a file for use. Creates or migrates it first.
pub(super) fn open(path: &Path) -> Result<Connection> {
    check_library_version(rusqlite::version_number())?;
    if !path.exists() {
        create(path)?;
    }
    check(path)?;
    warn_if_open_to_others(path, "the database");
    let mut connection = connect(path, OpenFlags::empty())?;
    migrate(&mut connection, path, MIGRATIONS)?;
    Ok(connection)
}

/// Opens a file again after a disk error. It is never created then: a missing file may be on a disk that is not
/// mounted.
pub(super) fn reopen(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(apply_settings).and_then(|connection| {
        schema_version(&connection)?;
        Ok(connection)
    });
    opened.map_err(|error| explain_running(error, path))
}

fn check_library_version(version: i32) -> Result<()> {
    if version >= OLDEST_SQLITE {
        return Ok(());
    }
    let message = format!(
        "SQLite {} can damage a file that several processes use; performer needs 3.51.3 or newer (its feature \"sqlite\" bundles one)",
        rusqlite::version()
    );
    Err(OrchestratorError::new(ErrorKind::Other, message))
}

/// A connection with the settings of every connection.
pub(super) fn connect(path: &Path, more: OpenFlags) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
    Connection::open_with_flags(path, flags).and_then(apply_settings).map_err(|error| explain(error, path))
}

fn apply_settings(mut connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_handler(Some(wait_while_busy))?;
    // FULL: a commit is on disk before it is acknowledged.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "cache_size", -32_768)?; // KiB
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Keeps plans stable: without this SQLite compiles some statements again for each new value of a parameter.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    dialect::define_functions(&connection)?;
    Ok(connection)
}

/// Another process is writing. Waits in short steps, at most ten seconds in all. SQLite's own steps grow to a tenth of
/// a second, in which a busy process commits a hundred times.
fn wait_while_busy(attempt: i32) -> bool {
    let (step, attempts) = if attempt < 20 { (500, 20) } else { (5_000, 2_000) };
    #[expect(clippy::disallowed_methods, reason = "called by SQLite on the store's own thread")]
    std::thread::sleep(Duration::from_micros(step));
    attempt < attempts
}

/// Creates the file under another name and links it under its own when it is complete: no process ever sees a file
/// without a schema, however many start at once or are killed here.
fn create(path: &Path) -> Result<()> {
    let failed = |error: std::io::Error| file_error(path, "cannot be made", error);
    let unfinished = unfinished_name(path);
    let made = fill(&unfinished, MIGRATIONS).and_then(|()| {
        crash_point!("create.before_link");
        match fs::hard_link(&unfinished, path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(()), // another process was faster
            // A file system without links. Another process could create the file between the check and the rename;
            // there is no better way.
            Err(_) if !path.exists() => fs::rename(&unfinished, path).map_err(failed),
            Err(_) => Ok(()),
        }
    });
    crash_point!("create.after_link");
    let _ = fs::remove_file(&unfinished);
    made
}

/// A name beside a file, for what becomes the file when it is complete.
pub(super) fn unfinished_name(path: &Path) -> PathBuf {
    let mut name = path.file_name().map(std::ffi::OsStr::to_owned).unwrap_or_default();
    name.push(format!(".new-{}-{:016x}", std::process::id(), fastrand::u64(..)));
    path.with_file_name(name)
}

/// Creates an empty file that only its owner may read. SQLite gives the files beside it the same mode. The name is new,
/// so no other connection holds locks on it that closing it here would release.
pub(super) fn make_private(path: &Path) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

fn fill(path: &Path, migrations: &[&str]) -> Result<()> {
    make_private(path).map_err(|error| file_error(path, "cannot be made", error))?;
    let mut connection = connect(path, OpenFlags::SQLITE_OPEN_CREATE)?;
    let apply_settings = |connection: &Connection| {
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        connection.pragma_update(None, "journal_mode", "WAL")
    };
    apply_settings(&connection).map_err(|error| explain(error, path))?;
    migrate(&mut connection, path, migrations)?;
    connection.close().map_err(|(_, error)| explain(error, path))
}

/// Checks the file without changing it, and that this program knows its schema.
fn check(path: &Path) -> Result<()> {
    check_identity(path)?.map_or(Ok(()), |version| refuse_newer(path, version))
}

/// Checks that the file is one of ours, without changing it. Returns the version of its schema, unless only its log has it.
///
/// Through SQLite, as an immutable file: that takes no locks and creates no files beside it. Not by opening the file
/// ourselves: closing it would release the locks that other connections of this process hold on it.
pub(super) fn check_identity(path: &Path) -> Result<Option<usize>> {
    let refuse = |message: String| Err(OrchestratorError::new(ErrorKind::Other, message));
    let shown = path.display();
    let metadata = fs::metadata(path).map_err(|error| file_error(path, "cannot be read", error))?;
    if !metadata.is_file() {
        return refuse(format!("{shown} is not a file"));
    }
    if metadata.permissions().readonly() {
        return refuse(format!("{shown} is read-only; performer must be able to write to it"));
    }
    if metadata.len() == 0 {
        return refuse(format!(
            "{shown} is empty; if nothing is missing, delete it and it will be made anew"
        ));
    }
    if metadata.len() < HEADER {
        return refuse(format!("{shown} is not a SQLite file"));
    }
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    match identity(path) {
        Ok((APPLICATION_ID, version)) => Ok(Some(version)),
        Ok(_) => refuse(format!("{shown} is a SQLite file of another program")),
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => refuse(format!("{shown} is not a SQLite file")),
            // The file may be shorter than its header says while a log beside it is checkpointed, or if the program
            // that did so was killed: then SQLite repairs it from the log, or finds that it cannot.
            Some(rusqlite::ErrorCode::DatabaseCorrupt) if Path::new(&log).exists() => Ok(None),
            _ => Err(explain(error, path)),
        },
    }
}

/// The size of a SQLite file's header.
const HEADER: u64 = 100;

/// The id of the program that created the file, and its schema version. Corrupt if the file is shorter than its header
/// says.
fn identity(path: &Path) -> rusqlite::Result<(i32, usize)> {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'~' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            _ => uri.push_str(&format!("%{byte:02x}")),
        }
    }
    uri.push_str("?immutable=1");
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(uri, flags)?;
    let application = connection.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    Ok((application, schema_version(&connection)?))
}

/// Refuses a version of the schema that this program does not know.
pub(super) fn refuse_newer(path: &Path, version: usize) -> Result<()> {
    let newest = newest_schema();
    if version <= newest {
        return Ok(());
    }
    let message = format!(
        "{} was written by a newer version of performer (its schema is {version}, this version knows {newest}); use that version",
        path.display()
    );
    Err(OrchestratorError::new(ErrorKind::Other, message))
}

/// Migrates the schema, each version in one transaction. If two processes do so at once, one migrates, and the other
/// waits and finds it done.
fn migrate(connection: &mut Connection, path: &Path, migrations: &[&str]) -> Result<()> {
    loop {
        let version = schema_version(connection).map_err(|error| explain(error, path))?;
        let Some(migration) = migrations.get(version) else {
            return if version == migrations.len() { Ok(()) } else { refuse_newer(path, version) };
        };
        migrate_one(connection, version, migration).map_err(|error| explain(error, path))?;
    }
}

fn migrate_one(connection: &mut Connection, from: usize, migration: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if schema_version(&transaction)? == from {
        transaction.execute_batch(migration)?;
        crash_point!("migrate.after_statements");
        transaction.pragma_update(None, "user_version", from + 1)?;
    }
    transaction.commit()
}

/// The newest schema version that this program knows.
pub(super) fn newest_schema() -> usize {
    MIGRATIONS.len()
}

/// The version of the file's schema, inside a transaction if one is open.
pub(super) fn schema_version(connection: &Connection) -> rusqlite::Result<usize> {
    let version: i64 = prepared(connection, "PRAGMA user_version")?.query_row([], |row| row.get(0))?;
    Ok(usize::try_from(version).unwrap_or(usize::MAX))
}

/// The folder with the lock files of the jobs on this file.
pub(super) fn jobs_folder(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-jobs");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Orchestrator as _, Store};
    use super::*;
    use performer_core::model::item::NewQueueItem;
    use performer_core::model::job::NewJob;
    use performer_core::model::key::JobKey;
    use performer_core::model::queue::NewQueueDefinition;
    use performer_core::orchestrator::{FleetAdministration as _, QueueAdministration as _};

    #[test]
    fn a_sqlite_version_that_damages_files_is_refused() {
        assert!(check_library_version(OLDEST_SQLITE).is_ok());
        let error = check_library_version(3_050_004).unwrap_err();
        assert!(error.to_string().contains("needs 3.51.3 or newer"), "{error}");
        assert!(check_library_version(rusqlite::version_number()).is_ok());
    }

    const FIRST_STEP: &str = "CREATE TABLE copied AS SELECT id, reference FROM item;";
    const SECOND_STEP: &str =
        "ALTER TABLE copied ADD COLUMN doubled INTEGER; UPDATE copied SET doubled = 2 * id;";

    /// A later program with more steps migrates the file.
    fn migrate_to(path: &Path, steps: &[&'static str]) -> Result<()> {
        migrate(&mut connect(path, OpenFlags::empty())?, path, &[MIGRATIONS, steps].concat())
    }

    fn number(path: &Path, sql: &str) -> Option<i64> {
        connect(path, OpenFlags::empty()).unwrap().query_row(sql, [], |row| row.get(0)).ok()
    }

    fn version(path: &Path) -> usize {
        schema_version(&connect(path, OpenFlags::empty()).unwrap()).unwrap()
    }

    fn item(reference: &str) -> NewQueueItem {
        NewQueueItem::new(serde_json::json!({})).reference(reference)
    }

    async fn store_with_an_item(path: &Path) -> Store {
        let store = Store::sqlite(path).await.unwrap();
        store.create_queue(NewQueueDefinition::new("q")).await.unwrap();
        store.add_queue_item("q", item("a")).await.unwrap();
        store
    }

    #[tokio::test]
    async fn a_file_is_migrated_once_by_several_that_do_so_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        store_with_an_item(&path).await;
        std::thread::scope(|scope| {
            let migrating: Vec<_> =
                (0..8).map(|_| scope.spawn(|| migrate_to(&path, &[FIRST_STEP, SECOND_STEP]))).collect();
            for migrated in migrating {
                migrated.join().unwrap().unwrap(); // each step would fail if it ran twice
            }
        });
        assert_eq!(version(&path), newest_schema() + 2);
        assert_eq!(number(&path, "SELECT doubled FROM copied WHERE reference = 'a'"), Some(2));
    }

    #[tokio::test]
    async fn a_step_that_fails_leaves_the_version_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        store_with_an_item(&path).await;
        let broken = "ALTER TABLE copied ADD COLUMN doubled INTEGER; SELECT no_such_function();";
        migrate_to(&path, &[FIRST_STEP, broken]).unwrap_err();
        assert_eq!(version(&path), newest_schema() + 1);
        assert_eq!(number(&path, "SELECT count(*) FROM copied"), Some(1));
        migrate_to(&path, &[FIRST_STEP, SECOND_STEP]).unwrap();
        assert_eq!(number(&path, "SELECT doubled FROM copied"), Some(2));
    }

    /// The file is migrated while a program of an older version has it open: that program changes nothing more, and says why; and
    /// it cannot open the file again.
    #[tokio::test]
    async fn a_program_that_is_too_old_for_the_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let store = store_with_an_item(&path).await;
        migrate_to(&path, &[FIRST_STEP]).unwrap();
        let written = store.add_queue_item("q", item("b")).await.map(drop);
        let read = store.queue_statistics("q").await.map(drop);
        let opened = Store::sqlite(&path).await.map(drop);
        for error in [written, read, opened].map(Result::unwrap_err) {
            assert_eq!(error.kind(), ErrorKind::Other);
            assert!(error.to_string().contains("was written by a newer version of performer"), "{error}");
        }
        // Its transaction is not left open: others can write.
        migrate_to(&path, &[FIRST_STEP, SECOND_STEP]).unwrap();
        assert_eq!(number(&path, "SELECT count(*) FROM item"), Some(1));
    }

    /// Jobs of the time before they had numbers.
    #[tokio::test]
    async fn old_jobs_get_numbers_in_the_order_of_their_starts() {
        const INSERT: &str = "INSERT INTO job (number, key, queue, machine, process_id, version, robots, lease, state, \
             start_time, held_until, end_time, folder_id, owner) \
             VALUES (?1, ?2, 'q', 'm', 1, '1', 1, 30000000, 5, ?3, ?3, ?3, 1, 0)";
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        fill(&path, &MIGRATIONS[..3]).unwrap();
        let file = connect(&path, OpenFlags::empty()).unwrap();
        let start_of = |day: u8| 1_700_000_000_000_000 + i64::from(day) * 86_400_000_000;
        for day in [3, 1, 2] {
            let key = JobKey::from_bytes([day; 16]);
            file.execute(INSERT, (key.number().0, key.to_bytes(), start_of(day))).unwrap();
        }
        drop(file);
        let store = Store::sqlite(&path).await.unwrap();
        store.create_queue(NewQueueDefinition::new("q")).await.unwrap();
        let jobs = store.list_jobs(10).await.unwrap();
        let listed: Vec<_> = jobs.iter().map(|job| (job.id.0, job.start_time.as_microsecond())).collect();
        assert_eq!(listed, [3, 2, 1].map(|day| (i64::from(day), start_of(day))));
        let new = store.start_job(NewJob::new("q")).await.unwrap();
        let all = store.list_jobs(10).await.unwrap();
        assert_eq!(all.iter().find(|job| job.key == new).unwrap().id.0, 4);
    }
}
