//! Looks at a database from outside, and checks it.

use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::Host;

use super::super::inspection::{CheckReport, Engine as EngineName, Setting, StoreInfo, other_schema};
use super::super::sql::counts;
use super::super::sql::invariants::{self, Invariant};
use super::address::Address;
use super::columns::get;
use super::session::Session;
use super::{Postgres, migrate};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// Runs something in one transaction that only reads.
fn reading<T>(url: &str, act: impl FnOnce(&mut Postgres, usize) -> Result<T>) -> Result<T> {
    let mut session = Session::new(Address::parse(url)?)?;
    session.connect()?;
    let quoted = session.address().quoted_schema();
    session.allow_long_statements();
    session.batch(&format!(
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path TO {quoted}; \
         SET LOCAL idle_in_transaction_session_timeout = '60s'"
    ))?;
    let version = schema_version(&mut session)?;
    let mut postgres = Postgres::new(session, true);
    let done = act(&mut postgres, version);
    let _ = postgres.session.batch("ROLLBACK"); // it only read
    done
}

fn schema_version(session: &mut Session) -> Result<usize> {
    let (quoted, address) = (session.address().quoted_schema(), session.address().to_string());
    let there = "SELECT to_regclass($1 || '.schema_version') IS NOT NULL";
    let rows = session.query_once(there, &[&quoted])?;
    if !rows.first().map_or(Ok(false), |row| get::<bool>(row, 0))? {
        let message = format!("{address} has no tables of performer in the schema {quoted}");
        return Err(OrchestratorError::new(ErrorKind::NotFound, message));
    }
    let rows = session.query_once("SELECT version FROM schema_version", &[])?;
    let version = rows.first().map_or(Ok(0), |row| get::<i32>(row, 0))?;
    Ok(usize::try_from(version).unwrap_or(0))
}

fn newest() -> usize {
    usize::try_from(migrate::known()).unwrap_or(0)
}

pub(crate) fn info(url: &str) -> Result<StoreInfo> {
    reading(url, |postgres, schema_version| {
        let (address, schema) =
            (postgres.session.address().to_string(), postgres.session.address().schema().to_owned());
        const ABOUT: &str = "SELECT current_setting('server_version'), clock_timestamp(), \
             (SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class \
              JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relkind = 'r'), \
             (SELECT (extract(epoch FROM max(clock_timestamp() - xact_start)) * 1000000)::bigint FROM pg_stat_activity \
              WHERE datname = current_database() AND pid <> pg_backend_pid())";
        let rows = postgres.session.query_once(ABOUT, &[&schema])?;
        let missing = || OrchestratorError::new(ErrorKind::Other, "the database did not answer");
        let row = rows.first().ok_or_else(missing)?;
        let micros = get::<Option<i64>>(row, 3)?.map(|micros| u64::try_from(micros).unwrap_or(0));
        let (bytes, time) = (u64::try_from(get::<i64>(row, 2)?).unwrap_or(0), Some(get(row, 1)?));
        let engine_version = get(row, 0)?;
        Ok(StoreInfo {
            engine: EngineName::Postgres,
            engine_version,
            location: format!("{address}, schema {schema}"),
            schema_version,
            newest_schema_version: newest(),
            bytes,
            log_bytes: None,
            time,
            counts: counts::read(postgres)?,
            settings: settings(postgres)?,
            oldest_transaction: micros.map(Duration::from_micros),
            is_pooled: postgres.session.is_pooled(),
        })
    })
}

fn settings(postgres: &mut Postgres) -> Result<Vec<Setting>> {
    const NAMES: [(&str, &str); 3] = [
        ("fsync", "fsync = on in postgresql.conf; with off a crash of the machine may destroy the database"),
        (
            "synchronous_commit",
            "ALTER DATABASE … SET synchronous_commit = on; with off a crash loses commits that were answered",
        ),
        (
            "full_page_writes",
            "full_page_writes = on in postgresql.conf; with off a page that was written in part cannot be repaired",
        ),
    ];
    let mut settings = Vec::new();
    for (name, remedy) in NAMES {
        let rows = postgres.session.query_once("SELECT current_setting($1)", &[&name])?;
        let value: String = rows.first().map_or_else(|| Ok(String::new()), |row| get(row, 0))?;
        settings.push(Setting { name, is_durable: value != "off", value, remedy });
    }
    Ok(settings)
}

pub(crate) fn check(url: &str) -> Result<CheckReport> {
    reading(url, |postgres, version| {
        if version != newest() {
            return Err(other_schema(version, newest()));
        }
        let mut all = invariants::all::<Postgres>();
        all.push(Invariant {
            name: "claims-name-what-is-held",
            problem: "items are InProgress that no claim of their job names: they are not found when the job ends",
            rows: "SELECT item_id AS id FROM item_state WHERE status = 1 AND NOT EXISTS (SELECT 1 FROM item_claim \
                   WHERE item_claim.job = item_state.holder AND item_state.item_id = ANY (item_claim.items))"
                .to_owned(),
        });
        let checked = all.iter().map(|invariant| invariant.name.to_owned()).collect();
        Ok(CheckReport { checked, violations: invariants::violations(postgres, &all)? })
    })
}

/// The refusal to copy a database, with the command that does.
pub(crate) fn dump_command(url: &str, to: &Path) -> OrchestratorError {
    let address = match Address::parse(url) {
        Ok(address) => address,
        Err(error) => return error,
    };
    let message = format!(
        "a PostgreSQL database is copied by its own program, while it is in use: {}",
        dump_of(&address, to)
    );
    OrchestratorError::new(ErrorKind::Unsupported, message)
}

/// The command that copies the schema to a file. It has no password: `PGPASSWORD` or `PGPASSFILE` do.
fn dump_of(address: &Address, to: &Path) -> String {
    let config = address.config();
    let mut words = vec![
        "pg_dump".to_owned(),
        "--format=custom".to_owned(),
        format!("--schema={}", address.quoted_schema()),
        format!("--file={}", to.display()),
    ];
    let hosts: Vec<String> = config
        .get_hosts()
        .iter()
        .map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        })
        .collect();
    let ports: Vec<String> = config.get_ports().iter().map(u16::to_string).collect();
    for (option, value) in [
        ("--host", Some(hosts.join(","))),
        ("--port", Some(ports.join(","))),
        ("--username", config.get_user().map(str::to_owned)),
        ("--dbname", config.get_dbname().or(config.get_user()).map(str::to_owned)),
    ] {
        words.extend(value.filter(|value| !value.is_empty()).map(|value| format!("{option}={value}")));
    }
    words.iter().map(|word| for_shell(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it.
fn for_shell(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./:,@+".contains(c);
    if word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_copies_a_database_has_no_password() {
        let url = "postgres://ann:secret@db.example:5433/queues?schema=performer&sslmode=verify-full";
        let error = dump_command(url, Path::new("it's a copy.dump")).to_string();
        let expected = "pg_dump --format=custom '--schema=\"performer\"' '--file=it'\\''s a copy.dump' --host=db.example \
                        --port=5433 --username=ann --dbname=queues";
        assert!(error.ends_with(expected), "{error}");
        assert!(!error.contains("secret"), "{error}");
    }
}
