//! Checks of a file or a database.

use std::path::Path;
use std::time::Duration;

use jiff::SignedDuration;
use performer_store::inspection::{Engine, Setting, StoreInfo, StoreInspector};
use tokio::time::Instant;

use super::super::store::bytes;
use super::report::{CheckName, Finding, Level, Report};
use super::{length, now, reached, skew};

/// Checks a store from outside. Returns by how much its clock is ahead of this machine's, if its queues can be looked at: it was reached,
/// and has the schema of this program.
pub(super) async fn check(
    inspector: &StoreInspector,
    url: &str,
    report: &mut Report,
) -> Option<SignedDuration> {
    let began = Instant::now();
    let (before, info) = (now(), inspector.info().await);
    let (took, after) = (began.elapsed(), now());
    let info = match info {
        Ok(info) => info,
        Err(error) => {
            let help = match error.is_not_found() {
                true => "performer queue create NAME --url …".to_owned(),
                false => "performer help environment".to_owned(),
            };
            report.stop(Finding::bad(CheckName::Reach, format!("{}", error.with_causes())).help(help));
            return None;
        }
    };
    report.latency = Some(took);
    report.add(reached("the store", took));
    let schema = schema(&info);
    let is_current = info.schema_version == info.newest_schema_version;
    if is_current {
        report.add(schema);
    } else {
        report.stop(schema);
    }
    let mut ahead = SignedDuration::ZERO;
    if let Some(time) = info.time {
        // The clock was read somewhere between the two.
        let tolerance = after.duration_since(before);
        ahead = time.duration_since(before) - tolerance / 2;
        report.add(skew("the database", ahead, tolerance));
    }
    info.settings.iter().for_each(|setting| report.add(durability(setting)));
    match info.engine {
        Engine::Sqlite => {
            report.add(disk(&info));
            report.add(log(&info, url));
        }
        _ => {
            report.add(transactions(info.oldest_transaction));
            report.add(pooler(info.is_pooled));
        }
    }
    is_current.then_some(ahead)
}

fn schema(info: &StoreInfo) -> Finding {
    let (version, newest) = (info.schema_version, info.newest_schema_version);
    let text = format!("{} {}, schema {version}", info.engine, info.engine_version);
    match version.cmp(&newest) {
        std::cmp::Ordering::Equal => Finding::good(CheckName::Schema, text),
        std::cmp::Ordering::Less => Finding::warning(
            CheckName::Schema,
            format!("{text}; this program has {newest}, and migrates the store when it opens it"),
        )
        .help("performer store migrate"),
        std::cmp::Ordering::Greater => Finding::bad(
            CheckName::Schema,
            format!("{text}; this program knows {newest}: it is too old for this store"),
        )
        .help("cargo install performer-cli"),
    }
}

fn durability(setting: &Setting) -> Finding {
    let Setting { name, value, is_durable, remedy, .. } = setting;
    let text = format!("{name} is {value}");
    if *is_durable {
        return Finding::good(CheckName::Durability, text);
    }
    Finding::bad(CheckName::Durability, format!("{text}: what was committed may be lost")).help(*remedy)
}

const MIB: u64 = 1024 * 1024;

/// The free space of the disk of a file, in bytes.
#[cfg(unix)]
fn free(path: &Path) -> Option<u64> {
    let found = rustix::fs::statvfs(path.parent()?).ok()?;
    Some(found.f_bavail.saturating_mul(found.f_frsize))
}

#[cfg(not(unix))]
fn free(_path: &Path) -> Option<u64> {
    None
}

fn disk(info: &StoreInfo) -> Finding {
    match free(Path::new(&info.location)) {
        Some(free) => room(info.bytes, free),
        None => Finding::warning(CheckName::Disk, "the free space of the disk is not known"),
    }
}

/// A copy of the file should have room, and a day's items.
fn room(size: u64, free: u64) -> Finding {
    let text = format!("the store has {}, and {} are free", bytes(size), bytes(free));
    let level = match free {
        ..=104_857_600 => Level::Bad,
        _ if free < (1024 * MIB).max(size) => Level::Warning,
        _ => Level::Good,
    };
    let finding = Finding::new(CheckName::Disk, level, text);
    if level == Level::Good { finding } else { finding.help("performer queue retention") }
}

fn log(info: &StoreInfo, url: &str) -> Finding {
    let log = info.log_bytes.unwrap_or(0);
    let text = format!("the write-ahead log has {}", bytes(log));
    if log > 256 * MIB {
        let text = format!(
            "{text}: a program has been reading in one transaction for long, so that it cannot be emptied"
        );
        return Finding::warning(CheckName::Disk, text)
            .help(format!("fuser {}", url.trim_start_matches("sqlite:")));
    }
    Finding::good(CheckName::Disk, text)
}

fn transactions(oldest: Option<Duration>) -> Finding {
    let seconds = oldest.map_or(0, |oldest| i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
    let level = match seconds {
        ..300 => Level::Good,
        300..3_600 => Level::Warning,
        _ => Level::Bad,
    };
    if level == Level::Good {
        return Finding::good(CheckName::Transactions, "no transaction has been open for long");
    }
    let text = format!(
        "a transaction has been open for {}: old versions of rows are kept meanwhile, and claims become slow",
        length(seconds)
    );
    Finding::new(CheckName::Transactions, level, text).help("psql -x -c \"TABLE pg_stat_activity\"")
}

fn pooler(is_pooled: bool) -> Finding {
    if !is_pooled {
        return Finding::good(CheckName::Pooler, "no pooler is between this program and the database");
    }
    let text = "a pooler is between this program and the database: performers do not hear of new items at once, and poll";
    Finding::warning(CheckName::Pooler, text)
        .help("give performers the address of the database itself in --url")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_judged_by_the_size_of_the_store() {
        for (size, free, level) in [
            (MIB, 90 * MIB, Level::Bad),
            (MIB, 500 * MIB, Level::Warning),
            (MIB, 2_000 * MIB, Level::Good),
            (9_000 * MIB, 2_000 * MIB, Level::Warning),
        ] {
            assert_eq!(room(size, free).level, level, "{size} {free}");
        }
    }

    #[test]
    fn a_long_transaction_is_a_warning_and_then_bad() {
        for (seconds, level) in [(10, Level::Good), (400, Level::Warning), (4_000, Level::Bad)] {
            assert_eq!(transactions(Some(Duration::from_secs(seconds))).level, level);
        }
        assert_eq!(transactions(None).level, Level::Good);
        assert_eq!((pooler(true).level, pooler(false).level), (Level::Warning, Level::Good));
    }
}
