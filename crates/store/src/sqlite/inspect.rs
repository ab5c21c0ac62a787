//! Looks at a file from outside, checks it, and copies it.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::super::inspection::{
    Backup, CheckReport, Engine as EngineName, Setting, StoreInfo, Violation, other_schema,
};
use super::super::sql::counts;
use super::super::sql::dialect::{Engine as _, Values};
use super::super::sql::invariants::{self, Invariant};
use super::error::{explain, file_error};
use super::{Sqlite, file};
use performer_core::model::key::KeyMaker;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// Opens a file of ours as it is: it is neither created nor migrated.
fn open(path: &Path) -> Result<Sqlite> {
    file::check_identity(path)?;
    Ok(Sqlite::new(file::connect(path, OpenFlags::empty())?, path, KeyMaker::new()))
}

fn text(sqlite: &mut Sqlite, sql: &str) -> Result<String> {
    sqlite.run(|c| {
        c.query_row(sql, [], |row| {
            let value: rusqlite::types::Value = row.get(0)?;
            Ok(match value {
                rusqlite::types::Value::Integer(number) => number.to_string(),
                rusqlite::types::Value::Text(text) => text,
                other => format!("{other:?}"),
            })
        })
    })
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |found| found.len())
}

/// The write-ahead log beside a file.
fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    PathBuf::from(name)
}

pub(crate) fn info(path: &Path) -> Result<StoreInfo> {
    let mut sqlite = open(path)?;
    let schema_version = sqlite.run(file::schema_version)?;
    let counts = counts::read(&mut sqlite)?;
    let journal_mode = text(&mut sqlite, "PRAGMA journal_mode")?;
    let synchronous = text(&mut sqlite, "PRAGMA synchronous")?;
    let settings = vec![
        Setting {
            name: "journal_mode",
            is_durable: journal_mode.eq_ignore_ascii_case("wal"),
            value: journal_mode,
            remedy: "another program has changed it; PRAGMA journal_mode=WAL, with no performer running, sets it back",
        },
        Setting {
            name: "synchronous",
            is_durable: synchronous == "2" || synchronous == "3",
            value: match &*synchronous {
                "0" => "off".to_owned(),
                "1" => "normal".to_owned(),
                "2" => "full".to_owned(),
                "3" => "extra".to_owned(),
                other => other.to_owned(),
            },
            remedy: "performer sets it with each connection; this SQLite ignores it",
        },
    ];
    let location = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(StoreInfo {
        engine: EngineName::Sqlite,
        engine_version: rusqlite::version().to_owned(),
        bytes: size(path),
        log_bytes: Some(size(&log_of(path))),
        location: location.display().to_string(),
        schema_version,
        newest_schema_version: file::newest_schema(),
        time: None,
        counts,
        settings,
        oldest_transaction: None,
        is_pooled: false,
    })
}

pub(crate) fn check(path: &Path) -> Result<CheckReport> {
    check_with(&mut open(path)?)
}

fn check_with(sqlite: &mut Sqlite) -> Result<CheckReport> {
    let (version, newest) = (sqlite.run(file::schema_version)?, file::newest_schema());
    if version != newest {
        return Err(other_schema(version, newest));
    }
    let mut report = CheckReport::default();
    // One transaction, so that what others write meanwhile is not half seen.
    sqlite.run(|c| c.execute_batch("BEGIN"))?;
    let checked = check_in_transaction(sqlite, &mut report);
    sqlite.run(|c| c.execute_batch("ROLLBACK"))?;
    checked.map(|()| report)
}

fn check_in_transaction(sqlite: &mut Sqlite, report: &mut CheckReport) -> Result<()> {
    report.checked.push("integrity".to_owned());
    for problem in lines(sqlite, "PRAGMA integrity_check(20)")? {
        if problem != "ok" {
            report.violations.push(Violation::new("integrity", problem));
        }
    }
    if !report.violations.is_empty() {
        return Ok(()); // the tables of a damaged file say nothing
    }
    report.checked.push("foreign-keys".to_owned());
    for table in lines(sqlite, "PRAGMA foreign_key_check")? {
        let problem = format!("a row of {table} refers to a row that is not there");
        report.violations.push(Violation::new("foreign-keys", problem));
    }
    let mut all = invariants::all::<Sqlite>();
    all.push(Invariant {
        name: "content-is-there",
        problem: "items have no content",
        rows: "SELECT id FROM item WHERE content IS NULL \
               AND NOT EXISTS (SELECT 1 FROM item_content WHERE item_content.item_id = item.id)"
            .to_owned(),
    });
    all.push(Invariant {
        name: "keys-rise",
        problem: "items have a smaller key than one before them",
        rows: "SELECT id FROM (SELECT id, unique_key, lag(unique_key) OVER (ORDER BY id) AS last FROM item) AS item \
               WHERE unique_key <= last"
            .to_owned(),
    });
    report.checked.extend(all.iter().map(|invariant| invariant.name.to_owned()));
    report.violations.extend(invariants::violations(sqlite, &all)?);
    Ok(())
}

/// The texts in the first column.
fn lines(sqlite: &mut Sqlite, sql: &str) -> Result<Vec<String>> {
    sqlite.run(|c| {
        let mut statement = c.prepare(sql)?;
        let rows = statement.query_map([], |row| row.get(0))?;
        rows.collect()
    })
}

/// Copies the file under another name, checks the copy, and links it under its own: a file with the name of a backup is a whole one.
pub(crate) fn back_up(path: &Path, to: &Path) -> Result<Backup> {
    let exists = || {
        let message = format!("{} exists already; a backup does not write over a file", to.display());
        OrchestratorError::new(ErrorKind::Conflict, message)
    };
    if to.exists() {
        return Err(exists());
    }
    let source = open(path)?;
    let unfinished = file::unfinished_name(to);
    let copied = copy(&source.connection, path, &unfinished).and_then(|items| {
        let bytes = size(&unfinished);
        match fs::hard_link(&unfinished, to) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Err(exists()),
            // A file system without links.
            Err(_) if !to.exists() => {
                fs::rename(&unfinished, to).map_err(|error| file_error(to, "cannot be made", error))?;
            }
            Err(_) => return Err(exists()),
        }
        Ok(Backup { file: to.to_owned(), bytes, items })
    });
    for leftover in [log_of(&unfinished), unfinished] {
        let _ = fs::remove_file(leftover); // it may not be there
    }
    copied
}

/// Copies all pages in one step, which reads in one transaction: a copy in several begins anew with each write of another process.
fn copy(source: &Connection, path: &Path, to: &Path) -> Result<u64> {
    const ALL_PAGES: i32 = -1;
    file::make_private(to).map_err(|error| file_error(to, "cannot be made", error))?;
    let failed = |error| explain(error, to);
    let mut copy = Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE).map_err(failed)?;
    let backup = rusqlite::backup::Backup::new(source, &mut copy).map_err(failed)?;
    let step = backup.step(ALL_PAGES).map_err(failed)?;
    drop(backup);
    if step != rusqlite::backup::StepResult::Done {
        let message = format!("another process has been writing to {} for too long", path.display());
        return Err(OrchestratorError::new(ErrorKind::Unavailable, message));
    }
    copy.close().map_err(|(_, error)| failed(error))?;
    let mut copy = open(to)?;
    let report = check_with(&mut copy)?;
    if let Some(Violation { name, problem, .. }) = report.violations.first() {
        let message = format!("the copy is not sound ({name}: {problem}), and was removed: check the store");
        return Err(OrchestratorError::new(ErrorKind::Other, message));
    }
    let items = copy.read_number("SELECT count(*) FROM item", &Values::default())?.unwrap_or(0);
    Ok(u64::try_from(items).unwrap_or(0))
}
