//! `performer item retry`: all items at once; or as an operation of a store or a server, with a canary, a pace, or both.

use std::collections::BTreeMap;
use std::process::ExitCode;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::operation::{Act as OperationAct, ItemOperation, MAX_PACE, OperationState, Plan};
use performer_core::model::status::ReviewStatus;
use performer_core::orchestrator::Administration;

use super::super::operation::{Followed, load_text, loads, refused, start_and_follow};
use super::super::output::{self, CliError, CommandResult};
use super::act::{Act, Outcome, Selection, apply, versions};
use super::canary::Canary;

/// Retry failed or abandoned items; a copy of each is added to its queue
#[derive(Args)]
#[command(after_help = "\
Filters select the items; what changes between the preview and the act is refused:\n\n  \
performer item retry 17 18\n  \
performer item retry --queue Invoices --type Application --ended yesterday --dry-run\n  \
performer item retry --queue Invoices --reason 9 --canary 5 --pace 60\n\n\
--canary retries so many first, waits until they have ended, and retries the rest only if at least four of five are Successful.\n\
--canary and --pace make an operation, which performer operation list shows. A UiPath Orchestrator keeps none: there the command waits for\n\
the first items, and has no --pace.")]
pub(in super::super) struct Retry {
    /// Select all failed items of a queue that are not reviewed yet; short for --queue QUEUE --status Failed --review None,InReview
    #[arg(long, value_name = "QUEUE", conflicts_with_all = ["ids", "queue", "status", "review"])]
    all_failed: Option<String>,
    #[command(flatten)]
    canary: Canary,
    /// Retry so many items a minute; not on a UiPath Orchestrator [default: all at once]
    #[arg(long, value_name = "N", value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(MAX_PACE)))]
    pace: Option<u32>,
    #[command(flatten)]
    selection: Selection,
}

impl Retry {
    pub(in super::super) async fn run(self) -> CommandResult {
        let mut query = self.selection.filter.query(&[])?;
        if let Some(queue) = &self.all_failed {
            query = query.open();
            query.queues = vec![queue.clone()];
        }
        let canary = self.canary.of_operation()?;
        let is_operation = canary.is_some() || self.pace.is_some();
        if self.pace.is_some() && !self.selection.global.connect().await?.keeps_operations() {
            let message =
                "a UiPath Orchestrator keeps no operations, so that nothing can be retried at a pace";
            return Err(CliError::usage(message));
        }
        let preview = async |queues: &dyn Administration, items: &[QueueItem]| {
            show_load(queues, items, self.pace).await
        };
        let Some((orchestrator, items)) = self.selection.items("retried", &query, preview).await? else {
            return Ok(ExitCode::SUCCESS);
        };
        if items.is_empty() {
            return Outcome::default().report("Retried", "are retried");
        }
        if is_operation && orchestrator.keeps_operations() {
            let plan = Plan::new(OperationAct::Retry).canary(canary).pace(self.pace);
            return as_operation(&*orchestrator, plan, &query, &items).await;
        }
        let act = Act::Review(ReviewStatus::Retried);
        let (first, rest) = items.split_at(self.canary.size(items.len()));
        let mut outcome = apply(&*orchestrator, &act, &versions(first)).await?;
        if !rest.is_empty() && !first.is_empty() {
            self.canary.wait(&*orchestrator, first, &outcome).await?;
        }
        let second = apply(&*orchestrator, &act, &versions(rest)).await?;
        outcome.done += second.done;
        outcome.refused.extend(second.refused);
        outcome.report("Retried", "are retried")
    }
}

/// Says what the copies of those that can be retried would mean for their queues.
async fn show_load(
    queues: &dyn Administration,
    items: &[QueueItem],
    pace: Option<u32>,
) -> Result<(), CliError> {
    let mut copies: BTreeMap<QueueId, u64> = BTreeMap::new();
    for item in items.iter().filter(|item| item.may_be_reviewed_as(ReviewStatus::Retried)) {
        *copies.entry(item.queue_id).or_default() += 1;
    }
    for load in loads(queues, &Vec::from_iter(copies)).await? {
        output::remark(load_text(&load, pace));
    }
    Ok(())
}

/// Retries items by an operation, and waits until it ends.
async fn as_operation(
    orchestrator: &dyn Administration,
    plan: Plan,
    query: &ItemQuery,
    items: &[QueueItem],
) -> CommandResult {
    let filter = Some(query.to_string()).filter(|filter| !filter.is_empty());
    match start_and_follow(orchestrator, plan, versions(items), filter).await? {
        Followed::Ended(operation) if operation.state == OperationState::Done => {
            outcome(orchestrator, &operation).await?.report("Retried", "are retried")
        }
        Followed::Ended(operation) => {
            let why = operation.why.as_deref().unwrap_or("it was stopped");
            let message = format!(
                "{why}: the others are not retried; performer operation resume {} retries them all the same",
                operation.id
            );
            Err(CliError::failed(message))
        }
        Followed::Interrupted(operation) => {
            outcome(orchestrator, &operation).await?.report("Retried", "are retried")?;
            Ok(ExitCode::from(output::INTERRUPTED))
        }
    }
}

async fn outcome(orchestrator: &dyn Administration, operation: &ItemOperation) -> Result<Outcome, CliError> {
    let refused = refused(orchestrator, operation.id).await?.into_iter();
    let refused =
        refused.map(|(id, code, reason)| (ItemId(id), Refusal::new(ErrorCode::new(code), reason))).collect();
    Ok(Outcome { done: usize::try_from(operation.done).unwrap_or(usize::MAX), refused })
}
