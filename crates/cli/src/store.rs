//! `performer store`: what a store is, whether it is sound, a copy of it, its migration, and the key of its secrets.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use performer_store::Store as OpenStore;
use performer_store::inspection::{CheckReport, StoreInfo, StoreInspector, Violation};
use serde_json::json;

use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::{GlobalArgs, environment};

/// Show, check, copy and migrate the file or the database with the queues, and replace the key of its secrets
///
/// The commands work on the store itself: --url is sqlite: with a file, or postgres:, also for the store of a server.
#[derive(Subcommand)]
pub(super) enum Store {
    Info(Info),
    Check(Check),
    Backup(Backup),
    Migrate(Migrate),
    RotateKey(RotateKey),
}

/// Replace the key that secrets of assets and webhooks are encrypted with, and encrypt them anew
#[derive(Args)]
#[command(after_help = "\
The key of a SQLite file is in the file beside it (invoices.db.key): a new random one is put into it, and the old one is removed when nothing is\n\
encrypted with it any more. A backup of the store that was made before needs the old key: keep it with the backup.\n\
Where the key is in PERFORMER_ENCRYPTION_KEY or PERFORMER_ENCRYPTION_KEY_FILE, put a new one before it (separated by a comma or a line break),\n\
restart what uses the store, run this command, and take the old one away.\n\n\
Others may use the store meanwhile. A command that broke off is continued by the next one.\n\n\
Examples:\n  \
performer store rotate-key --url sqlite:invoices.db\n  \
performer store rotate-key --url sqlite:invoices.db --json")]
pub(super) struct RotateKey {
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show the engine, versions, sizes and numbers of rows of a store
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer store info --url sqlite:invoices.db\n  \
performer store info --url sqlite:invoices.db --json")]
pub(super) struct Info {
    #[command(flatten)]
    global: GlobalArgs,
}

/// Check whether a store is sound; the exit code is 1 if something is wrong
#[derive(Args)]
#[command(after_help = "\
A SQLite file is checked by SQLite first (integrity_check, foreign_key_check). Then the tables are compared with each other: each item that is\n\
New waits once, those to review are listed, statistics and groups of failures count what is there. Every row is read; others may write meanwhile.\n\n\
Examples:\n  \
performer store check --url sqlite:invoices.db\n  \
performer store check --url sqlite:invoices.db --json\n  \
performer store check --url sqlite:invoices.db -q")]
pub(super) struct Check {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Copy a SQLite file while it is in use, and check the copy
#[derive(Args)]
#[command(after_help = "\
The copy is the file as it was at one moment. It is not written over a file, and has its name only when it is whole and was checked. To restore\n\
it, stop what uses the store, and put the copy in the place of the file and of the files FILE-wal and FILE-shm beside it.\n\
For PostgreSQL the command prints the command of pg_dump that does the same.\n\n\
Examples:\n  \
performer store backup invoices-copy.db --url sqlite:invoices.db\n  \
performer store backup invoices-copy.db --url sqlite:invoices.db --json")]
pub(super) struct Backup {
    /// The new file
    file: PathBuf,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Migrate the tables of a store to the schema of this version
#[derive(Args)]
#[command(after_help = "\
A program that opens a store migrates it too; this command does it at a time of your choice. Each step is one transaction. Programs that are too\n\
old for the new schema stop at their next transaction: upgrade them together.\n\n\
Examples:\n  \
performer store migrate --dry-run --url sqlite:invoices.db\n  \
performer store backup before.db --url sqlite:invoices.db\n  \
performer store migrate --url sqlite:invoices.db")]
pub(super) struct Migrate {
    /// Show the versions, and change nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Store {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::Info(info) => info.run().await,
            Self::Check(check) => check.run().await,
            Self::Backup(backup) => backup.run().await,
            Self::Migrate(migrate) => migrate.run().await,
            Self::RotateKey(rotate) => rotate.run().await,
        }
    }
}

/// The store at the URL.
pub(super) fn inspector(global: &GlobalArgs) -> Result<(String, StoreInspector), CliError> {
    let url = global.target()?.url().to_owned();
    if url.starts_with("http:") || url.starts_with("https:") || url.starts_with("uipath:") {
        let message = "the store of a server is not reached over HTTP: give its own location, such as --url sqlite:orchestrator.db";
        return Err(CliError::usage(message));
    }
    Ok((url.clone(), StoreInspector::new(&url)?))
}

/// A number of bytes as people read it.
pub(super) fn bytes(count: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (count, 0);
    while value >= 10 * 1024 && unit + 1 < units.len() {
        (value, unit) = (value / 1024, unit + 1);
    }
    format!("{value} {}", units[unit])
}

impl Info {
    async fn run(self) -> CommandResult {
        let info = inspector(&self.global)?.1.info().await?;
        if output::is_json() {
            output::json(&info)?;
        } else {
            output::list(&pairs(&info))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn pairs(info: &StoreInfo) -> Vec<(&'static str, String)> {
    let counts = &info.counts;
    let mut pairs = vec![
        ("Location", info.location.clone()),
        ("Engine", format!("{} {}", info.engine, info.engine_version)),
        ("Schema", format!("{}, this program knows {}", info.schema_version, info.newest_schema_version)),
        ("Size", bytes(info.bytes)),
    ];
    pairs.extend(info.log_bytes.map(|log| ("Write-ahead log", bytes(log))));
    pairs.extend(info.time.map(|time| ("Time", time.to_string())));
    pairs.extend([
        ("Queues", counts.queues.to_string()),
        ("Items", format!("{}, {} ready, {} postponed", counts.items, counts.ready, counts.deferred)),
        ("Jobs", format!("{}, {} have not ended", counts.jobs, counts.live_jobs)),
        ("Groups of failures", counts.reasons.to_string()),
        ("Access tokens", counts.tokens.to_string()),
        ("Queues to remove", counts.removals.to_string()),
    ]);
    pairs.extend(info.settings.iter().map(|setting| (setting.name, setting.value.clone())));
    pairs
}

const COLUMNS: [Column; 4] =
    [Column::plain("CHECK"), Column::plain("ROWS"), Column::text("PROBLEM"), Column::plain("IDS")];

impl Check {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let report = inspector(&self.global)?.1.check().await?;
        let CheckReport { checked, violations, .. } = &report;
        if violations.is_empty() && format.has_columns() {
            output::remark(format!("the store is sound; {} checks were made", checked.len()));
        } else {
            format.print(violations, &COLUMNS, |Violation { name, problem, count, ids, .. }| {
                let ids: Vec<String> = ids.iter().map(i64::to_string).collect();
                let more = if *count > ids.len() as u64 { ", …" } else { "" };
                vec![name.clone(), count.to_string(), problem.clone(), format!("{}{more}", ids.join(", "))]
            })?;
        }
        Ok(if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl Backup {
    async fn run(self) -> CommandResult {
        let (url, inspector) = inspector(&self.global)?;
        let backup = inspector.back_up(&self.file).await?;
        if output::is_json() {
            output::json(&backup)?;
        } else {
            let (file, items) = (backup.file.display(), backup.items);
            output::line(format!(
                "{file} is a copy with {items} items, {}; it was checked",
                bytes(backup.bytes)
            ))?;
        }
        let key = format!("{}.key", url.trim_start_matches("sqlite:").trim_start_matches("//"));
        if std::path::Path::new(&key).exists() {
            output::remark(format!("the secrets in it need the key in {key}, which was not copied"));
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl RotateKey {
    async fn run(self) -> CommandResult {
        let (url, _) = inspector(&self.global)?; // a store that is not there is not made
        let store = OpenStore::open(&url).await?.acting_as(environment::actor());
        let rotation = store.rotate_encryption_key().await?;
        if output::is_json() {
            let left: Vec<_> = rotation
                .left
                .iter()
                .map(|(asset, why)| json!({ "SecretOf": asset, "Reason": why }))
                .collect();
            output::json(&json!({
                "Key": rotation.key, "Encrypted": rotation.encrypted, "Left": left, "Cleaned": rotation.cleaned,
            }))?;
        } else {
            output::line(format!(
                "{} secrets were encrypted with the key {}",
                rotation.encrypted, rotation.key
            ))?;
            for (asset, why) in &rotation.left {
                output::warning(format!("{asset}: {why}"));
            }
            match (&rotation.cleaned, rotation.left.is_empty()) {
                (Some(file), _) => {
                    output::remark(format!(
                        "the old key was removed from {}: a backup made before needs it",
                        file.display()
                    ));
                }
                (None, true) => {
                    output::remark("the old key is not needed any more, but for backups made before");
                }
                (None, false) => output::remark("the old key is still needed"),
            }
        }
        Ok(if rotation.left.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(output::SOME_REFUSED) })
    }
}

impl Migrate {
    async fn run(self) -> CommandResult {
        let (url, store) = inspector(&self.global)?;
        let before = store.info().await?;
        let (from, newest) = (before.schema_version, before.newest_schema_version);
        let is_done = !self.dry_run && from < newest;
        if is_done {
            OpenStore::open(&url).await?;
        }
        let to = if is_done { store.info().await?.schema_version } else { from };
        if output::is_json() {
            output::json(&json!({ "Before": from, "SchemaVersion": to, "NewestSchemaVersion": newest }))?;
        } else if from == to {
            let what = match from.cmp(&newest) {
                std::cmp::Ordering::Equal => "nothing is to be done".to_owned(),
                std::cmp::Ordering::Less => format!("it would be migrated to {newest}"),
                std::cmp::Ordering::Greater => {
                    format!("this program knows {newest}: it is too old for this store")
                }
            };
            output::line(format!("the schema has the version {from}; {what}"))?;
        } else {
            output::line(format!("the schema was migrated from version {from} to {to}"))?;
        }
        Ok(if from > newest { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}
