//! `performer audit`: what people changed in a store or on a server, and whether the record of it is whole.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::value::RawValue;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::up_to;
use performer_core::model::audit::{Act, AuditFilter, AuditRecord, FieldChange, MAX_RECORDS};
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::item_query::TimeRange;
use performer_core::orchestrator::OrchestratorError;

/// List, check and export what people changed
///
/// Reviews, edits, limits, queues, jobs that were stopped, users and roles, from the command, the desk, the API and programs. Each record was
/// written together with its change, and has a digest over itself and the record before.
#[derive(Subcommand)]
pub(super) enum Audit {
    List(List),
    Verify(Verify),
    Export(Export),
}

/// List acts, the newest first
#[derive(Args)]
#[command(after_help = "\
  performer audit list --when 24h\n  \
performer audit list --user ann --act ItemsReviewed,ItemsDeleted -o jsonl")]
pub(super) struct List {
    /// Only acts of the user with this name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// Only these acts, such as QueueEdited, LimitsEdited, ItemsReviewed, ItemsDeleted or AccessChanged; several with commas between them
    #[arg(long, value_name = "ACT", value_delimiter = ',')]
    act: Vec<Act>,
    /// Only acts in this time: 24h, today, 2026-11-01, 2026-11-01..2026-11-08
    #[arg(long, value_name = "TIME")]
    when: Option<TimeRange>,
    /// The maximum number of records
    #[arg(long, default_value_t = 50, value_name = "N", value_parser = up_to(MAX_RECORDS))]
    top: usize,
    /// Only records with a smaller number: the last one of the page before
    #[arg(long, value_name = "ID")]
    before: Option<u64>,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Check that no record was changed, removed or inserted
///
/// A program that can write to the database can compute a whole new chain. Keep the head that this prints somewhere else, and give it
/// next time: then that is found too. The digests are computed by this command, also for a server, which needs the permission
/// Audit.View, and for an application the scope OR.Audit.Read in UIPATH_SCOPE.
#[derive(Args)]
#[command(after_help = "\
The exit code is 1 if the chain is broken:\n\n  \
performer audit verify --url sqlite:invoices.db\n  \
performer audit verify --head 3f0c…")]
pub(super) struct Verify {
    /// A head that was printed before; the chain has to have it in some record
    #[arg(long, value_name = "DIGEST")]
    head: Option<String>,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Write all records, the oldest first: a JSON object per line, with the entry as its digest was computed
#[derive(Args)]
#[command(after_help = "\
Each digest is SHA-256 in hexadecimal digits over the digest of the line before (nothing for the first), a line break, and the text of\n\
Entry. A later export goes on behind the last Id:\n\n  \
performer audit export > audit.jsonl\n  \
performer audit export --after 1200 >> audit.jsonl")]
pub(super) struct Export {
    /// Only records with a greater number
    #[arg(long, value_name = "ID", default_value_t = 0)]
    after: u64,
    #[command(flatten)]
    global: GlobalArgs,
}

const COLUMNS: [Column; 7] = [
    Column::plain("ID"),
    Column::plain("TIME"),
    Column::text("USER"),
    Column::plain("FROM"),
    Column::plain("ACT"),
    Column::text("WHAT"),
    Column::text("CHANGES"),
];

impl Audit {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Verify(verify) => verify.run().await,
            Self::Export(export) => export.run().await,
        }
    }
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let mut filter = AuditFilter::default();
        (filter.acts, filter.user_name) = (self.act, self.user);
        (filter.top, filter.before) = (self.top, self.before);
        if let Some(when) = self.when {
            (filter.from, filter.to) = when.at(SystemClock::new().now());
        }
        let records = orchestrator.list_audit(filter).await.map_err(refused)?;
        format.print(&records, &COLUMNS, cells)?;
        if records.is_empty() && format.has_columns() {
            output::remark("no act matches");
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn refused(error: OrchestratorError) -> CliError {
    CliError::with_scope(error, "OR.Audit.Read")
}

fn cells(record: &AuditRecord) -> Vec<String> {
    let entry = &record.entry;
    let what = match &entry.items[..] {
        [] => entry.subject.clone(),
        items => {
            let ids: Vec<String> = items.iter().take(5).map(ToString::to_string).collect();
            let more = items.len().saturating_sub(5);
            let more = if more == 0 { String::new() } else { format!(" and {more} more") };
            format!("{} {}{more}", entry.subject, ids.join(" "))
        }
    };
    vec![
        record.id.to_string(),
        output::time(entry.time),
        entry.actor.user_name.clone().unwrap_or_default(),
        entry.actor.source.to_string(),
        entry.act.to_string(),
        what,
        entry.changes.iter().map(change).collect::<Vec<_>>().join(", "),
    ]
}

fn change(change: &FieldChange) -> String {
    let value = |value: &Option<serde_json::Value>| match value {
        None => "–".to_owned(),
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    };
    if change.before.is_none() && change.after.is_none() {
        return change.field.clone();
    }
    format!("{} {} → {}", change.field, value(&change.before), value(&change.after))
}

impl Verify {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let check = orchestrator.check_audit(self.head.as_deref()).await.map_err(refused)?;
        if output::is_json() {
            output::json(&check)?;
        } else {
            match &check.broken {
                None => output::line(format!("{} records, unbroken", check.records))?,
                Some(broken) => {
                    output::line(format!("broken at record {}: {}", broken.id, broken.reason))?;
                }
            }
            if let (None, Some(head)) = (&check.broken, &check.head) {
                output::line(format!("head {head}"))?;
            }
        }
        Ok(if check.broken.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

/// A line of an export.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    id: u64,
    entry: &'a RawValue,
    digest: &'a str,
}

impl Export {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let mut after = self.after;
        loop {
            let lines = orchestrator.audit_lines(after).await.map_err(refused)?;
            for line in &lines {
                let entry: &RawValue = serde_json::from_str(&line.text)
                    .map_err(|error| CliError::failed(format!("record {}: {error}", line.id)))?;
                output::json_line(&Line { id: line.id, entry, digest: &line.digest })?;
            }
            match lines.last() {
                Some(last) if last.id > after => after = last.id,
                _ => return Ok(ExitCode::SUCCESS),
            }
        }
    }
}
