//! `performer operation`: acts on many items at once, which a store or a server keeps.

use std::future::Future;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use jiff::SignedDuration;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::deadlines::PACE_MINUTES;
use performer_core::model::key::QueueId;
use performer_core::model::operation::{
    Act, ItemOperation, ItemResult, OPERATION_PAGE_LIMIT, OperationId, OperationItem, OperationState, Plan,
    QueueLoad,
};
use performer_core::model::review::ItemVersion;
use performer_core::orchestrator::{Administration, OrchestratorError, QueueAdministration, read_queue_load};
use serde_json::json;

use super::GlobalArgs;
use super::output::{
    self, CliError, Column, CommandResult, INTERRUPTED, ListFormat, ListOutput, SOME_REFUSED,
};
use super::up_to;

/// How often to look whether a step is due, or was done by another process.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// List, show, stop and resume operations on many items; take their copies back
#[derive(Subcommand)]
pub(super) enum Operations {
    List(List),
    Show(Show),
    Stop(Stop),
    Resume(Resume),
    TakeBack(TakeBack),
}

/// List operations, the newest first
#[derive(Args)]
#[command(after_help = "\
Operations are made by the desk of a server, and by performer item retry with --canary or --pace:\n\n  \
performer operation list --url sqlite:invoices.db\n  \
performer operation list --url http://127.0.0.1:8095 --top 5\n  \
performer item retry --queue Invoices --status Failed --review None,InReview --pace 60")]
pub(super) struct List {
    /// The maximum number of operations
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = up_to(OPERATION_PAGE_LIMIT))]
    top: usize,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show an operation, or the items that it refused
#[derive(Args)]
#[command(after_help = "\
  performer operation show 5\n  \
  performer operation show 5 --refused --output csv\n  \
  performer item list --refused 5")]
pub(super) struct Show {
    /// The number of the operation
    id: i64,
    /// List the items that were refused, and why
    #[arg(long)]
    refused: bool,
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Stop an operation; the chunk that is being applied is the last one
#[derive(Args)]
pub(super) struct Stop {
    /// The number of the operation
    id: i64,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Let an operation go on that was stopped, or that holds because of its canary
#[derive(Args)]
#[command(after_help = "\
A server goes on with it by itself. Over a store without one, --follow does so in this command:\n\n  \
performer operation resume 5 --follow")]
pub(super) struct Resume {
    /// The number of the operation
    id: i64,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Delete the copies that a retry made and that are still New; the originals stay retried
#[derive(Args)]
#[command(after_help = "\
A copy that was claimed, or that has changed, is refused. The originals stay Retried.\n\n  \
performer operation take-back 5 --follow")]
pub(super) struct TakeBack {
    /// The number of the operation
    id: i64,
    #[command(flatten)]
    follow: Follow,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Whether a command waits for the end of an operation.
#[derive(Args, Clone, Copy)]
struct Follow {
    /// Wait until the operation ends, and over a store do its steps in this command; Ctrl-C stops it
    #[arg(long)]
    follow: bool,
}

const COLUMNS: [Column; 9] = [
    Column::plain("OPERATION"),
    Column::plain("ACT"),
    Column::status("STATE"),
    Column::plain("ITEMS"),
    Column::plain("DONE"),
    Column::plain("REFUSED"),
    Column::text("MADE BY"),
    Column::plain("MADE"),
    Column::text("SELECTED BY"),
];

const REFUSED_COLUMNS: [Column; 3] = [Column::plain("ITEM"), Column::plain("CODE"), Column::text("REASON")];

impl Operations {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Stop(stop) => stop.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::TakeBack(take_back) => take_back.run().await,
        }
    }
}

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let list = orchestrator.list_operations(None, self.top).await?;
        for operation in &list.unreadable {
            output::warning(format!(
                "operation {operation} is left out: a newer program has made it, and this one cannot read it"
            ));
        }
        format.print(&list.operations, &COLUMNS, |operation| {
            vec![
                operation.id.to_string(),
                operation.plan.act.to_string(),
                operation.state.to_string(),
                operation.total.to_string(),
                operation.done.to_string(),
                operation.refused.to_string(),
                operation.user_name.clone().unwrap_or_default(),
                output::time(operation.created),
                selection(operation),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

/// How its items were selected.
fn selection(operation: &ItemOperation) -> String {
    match (&operation.filter, &operation.plan.act) {
        (Some(filter), _) => filter.clone(),
        (None, Act::TakeBack { of }) => format!("the copies of operation {of}"),
        (None, _) => "named items".to_owned(),
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let (orchestrator, id) = (self.global.connect().await?, OperationId(self.id));
        if self.refused {
            let items = refused(&*orchestrator, id).await?;
            let values: Vec<_> = items
                .iter()
                .map(|(item, code, reason)| json!({ "Id": item, "Code": code, "Reason": reason }))
                .collect();
            if !format.has_columns() {
                format.print(&values, &REFUSED_COLUMNS, |_| Vec::new())?;
                return Ok(ExitCode::SUCCESS);
            }
            let rows: Vec<_> = items
                .into_iter()
                .map(|(item, code, reason)| vec![item.to_string(), code.to_string(), reason])
                .collect();
            format.print_columns(&REFUSED_COLUMNS, &rows)?;
            return Ok(ExitCode::SUCCESS);
        }
        let operation = orchestrator.get_operation(id).await?;
        match format {
            ListFormat::Json => output::json(&operation)?,
            ListFormat::Jsonl => output::json_line(&operation)?,
            ListFormat::Csv => {
                return Err(CliError::usage(
                    "one operation is no table; use -o csv with --refused, or --json",
                ));
            }
            ListFormat::Table => {
                let mut facts = facts(&operation);
                let is_unstarted = operation.started.is_none() && operation.plan.act == Act::Retry;
                let copies = if is_unstarted { &*operation.preview.queues } else { &[] };
                let copies: Vec<_> =
                    copies.iter().map(|queue| (QueueId(queue.queue_definition_id), queue.count)).collect();
                for load in loads(&*orchestrator, &copies).await? {
                    facts.push(("Load", load_text(&load, operation.plan.pace)));
                }
                output::list(&facts)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn facts(operation: &ItemOperation) -> Vec<(&'static str, String)> {
    let plan = &operation.plan;
    let mut facts = vec![
        ("Operation", operation.id.to_string()),
        ("Act", plan.act.to_string()),
        ("State", operation.state.to_string()),
    ];
    facts.extend(operation.why.clone().map(|why| ("Because", why)));
    facts.extend([
        ("Items", operation.total.to_string()),
        ("Done", operation.done.to_string()),
        ("Refused", operation.refused.to_string()),
        ("Left", operation.left().to_string()),
        ("Selected by", selection(operation)),
    ]);
    facts.extend(plan.pace.map(|pace| ("Pace", format!("{pace} a minute"))));
    facts.extend(plan.canary.map(|canary| {
        ("First", format!("{} items, which have {} seconds", canary.first, canary.within_seconds))
    }));
    facts.extend(plan.comment.clone().map(|comment| ("Comment", comment)));
    facts.extend(operation.user_name.clone().map(|name| ("Made by", name)));
    facts.push(("Made", operation.created.to_string()));
    facts.extend(operation.started.map(|at| ("Started", at.to_string())));
    facts.extend(operation.ended.map(|at| ("Ended", at.to_string())));
    facts.extend(operation.taken_back_by.map(|by| ("Taken back by", format!("operation {by}"))));
    facts
}

/// What copies would mean for their queues, as these are now. A queue that is gone is left out.
pub(super) async fn loads(
    queues: &(impl QueueAdministration + ?Sized),
    copies: &[(QueueId, u64)],
) -> Result<Vec<QueueLoad>, CliError> {
    let (mut loads, now) = (Vec::new(), SystemClock::new().now());
    let known = if copies.is_empty() { Vec::new() } else { queues.list_queues().await? };
    for (id, count) in copies {
        if let Some(queue) = known.iter().find(|queue| queue.id == *id) {
            match read_queue_load(queues, queue, *count, now).await {
                Err(error) if error.is_not_found() => {}
                read => loads.push(read?),
            }
        }
    }
    Ok(loads)
}

/// `pace`: that of the retry, a minute.
pub(super) fn load_text(load: &QueueLoad, pace: Option<u32>) -> String {
    let mut parts = vec![format!(
        "{}: {} copies, {} items would wait, {} are InProgress",
        load.name,
        load.copies,
        load.would_wait(),
        load.in_progress
    )];
    parts.extend(load.held_back_by());
    parts.push(match (load.takes(pace), load.per_minute) {
        (Some(takes), Some(per_minute)) => {
            let seconds = i64::try_from(takes.as_secs()).unwrap_or(i64::MAX);
            format!(
                "done in about {:#} at {per_minute:.1} a minute",
                SignedDuration::from_secs(seconds.max(1))
            )
        }
        _ if load.limits.paused => "nothing is done before it is resumed".to_owned(),
        _ => format!("nothing has ended within {PACE_MINUTES} minutes, so there is no pace to go by"),
    });
    parts.join("; ")
}

/// The items that an operation refused, with the codes and the reasons.
pub(super) async fn refused(
    orchestrator: &dyn Administration,
    id: OperationId,
) -> Result<Vec<(i64, u16, String)>, CliError> {
    let (mut all, mut from) = (Vec::new(), 0);
    loop {
        let found = orchestrator.list_operation_items(id, true, from, OPERATION_PAGE_LIMIT).await?;
        all.extend(found.iter().filter_map(|item: &OperationItem| match &item.result {
            ItemResult::Refused(refusal) => {
                Some((item.item.id.0, refusal.code().number(), refusal.to_string()))
            }
            _ => None,
        }));
        match found.last().filter(|_| found.len() == OPERATION_PAGE_LIMIT) {
            Some(last) => from = last.place + 1,
            None => return Ok(all),
        }
    }
}

impl Stop {
    async fn run(self) -> CommandResult {
        report(&self.global.connect().await?.stop_operation(OperationId(self.id)).await?)
    }
}

impl Resume {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let resumed = orchestrator.resume_operation(OperationId(self.id)).await?;
        self.follow.go_on(&*orchestrator, &self.global, resumed).await
    }
}

impl TakeBack {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let back = orchestrator.take_operation_back(OperationId(self.id)).await?;
        self.follow.go_on(&*orchestrator, &self.global, back).await
    }
}

impl Follow {
    async fn go_on(
        self,
        orchestrator: &dyn Administration,
        global: &GlobalArgs,
        operation: ItemOperation,
    ) -> CommandResult {
        if !self.follow {
            if !global.is_http()? {
                output::remark("a server over this store goes on with it, or this command with --follow");
            }
            return report(&operation);
        }
        match follow(orchestrator, &operation).await? {
            Followed::Ended(operation) if operation.state == OperationState::Done => report(&operation),
            Followed::Ended(operation) => {
                report(&operation)?;
                let why = operation.why.as_deref().unwrap_or("it was stopped");
                Err(CliError::failed(format!("{why}: performer operation resume {} goes on", operation.id)))
            }
            Followed::Interrupted(operation) => {
                report(&operation)?;
                Ok(ExitCode::from(INTERRUPTED))
            }
        }
    }
}

/// Prints where an operation stands.
fn report(operation: &ItemOperation) -> CommandResult {
    if output::is_json() {
        output::json(operation)?;
    } else {
        output::line(format!(
            "operation {} is {}: {} of {} items done, {} refused",
            operation.id, operation.state, operation.done, operation.total, operation.refused
        ))?;
    }
    Ok(ExitCode::from(if operation.refused == 0 { 0 } else { SOME_REFUSED }))
}

/// How following an operation ended.
pub(super) enum Followed {
    /// It is done, stopped, or holds.
    Ended(ItemOperation),
    /// Ctrl-C: it was stopped.
    Interrupted(ItemOperation),
}

/// Makes an operation on items, starts it, and waits until it ends.
pub(super) async fn start_and_follow(
    orchestrator: &dyn Administration,
    plan: Plan,
    items: Vec<ItemVersion>,
    filter: Option<String>,
) -> Result<Followed, CliError> {
    let made = orchestrator.prepare_operation(plan, items, filter).await?;
    let started = orchestrator.start_operation(made.id).await?;
    output::remark(format!("operation {} was started; Ctrl-C stops it", started.id));
    follow(orchestrator, &started).await
}

/// Waits until an operation ends. Its steps are done here, unless a server or another process does them.
async fn follow(orchestrator: &dyn Administration, operation: &ItemOperation) -> Result<Followed, CliError> {
    let bar = bar(operation);
    let steps = until_ended(orchestrator, operation.clone(), |now| {
        bar.set_position(now.next_place());
        if now.state == OperationState::Waiting {
            bar.set_message("waiting for the first items");
        } else {
            bar.set_message("");
        }
    });
    let ended = unless_interrupted(steps).await;
    bar.finish_and_clear();
    match ended {
        Some(ended) => Ok(Followed::Ended(ended?)),
        None => {
            let stopped = orchestrator.stop_operation(operation.id).await?;
            output::remark(format!("performer operation resume {} goes on with it", stopped.id));
            Ok(Followed::Interrupted(stopped))
        }
    }
}

async fn until_ended(
    orchestrator: &dyn Administration,
    mut operation: ItemOperation,
    mut show: impl FnMut(&ItemOperation),
) -> Result<ItemOperation, OrchestratorError> {
    loop {
        let before = operation.version;
        operation = orchestrator.step_operation(operation.id, before).await?;
        show(&operation);
        if operation.state.has_ended() {
            return Ok(operation);
        }
        if operation.version == before {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

/// `None` after Ctrl-C.
async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        Ok(()) = tokio::signal::ctrl_c() => None,
    }
}

fn bar(operation: &ItemOperation) -> ProgressBar {
    if !output::has_bars() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} items  {msg}");
    ProgressBar::new(operation.total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
