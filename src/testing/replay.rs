//! One transaction on a copy of a recorded item.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::copies::Copies;
use super::difference::{self, Difference, DifferenceKind, Ignored};
use super::table::{cell, cell_or_dash, write_rows};
use super::test_run::{TestRun, Tested};
use crate::model::{ItemId, QueueItem};
use crate::orchestrator::{Administration, BoxFuture, OrchestratorError};
use crate::runtime::{Performer, PerformerError, Transaction};

/// The most rows of the table of a replay.
const MOST_ROWS: usize = 40;

/// Runs one transaction here, on a copy of an item of an Orchestrator, whatever the state of the item. Nothing is claimed there and
/// nothing reported: the item and its queue are read, and the rights to view them are enough.
///
/// The transaction itself is real, and does what it does to the systems that it works with: give it test systems, or let it skip what
/// must not happen twice. The copy has the item's content, reference, priority, dates, retry numbers, id and
/// [keys](crate::TransactionItem::key), so a system that recognises the key recognises the work. A DeferDate does not hold the copy
/// back. Its [claim](crate::TransactionItem::claim) holds here alone, and the schemas of the queue are not applied. What the transaction
/// [also adds](crate::TransactionItem::also_add) is in [`Tested::follow_ups`], and in no queue.
///
/// ```
/// use performer::prelude::*;
/// use performer::testing;
///
/// # struct PostInvoice { tax: f64 }
/// # #[derive(serde::Deserialize)] struct Invoice { amount: f64 }
/// # #[derive(serde::Serialize)] struct Posted { total: f64 }
/// # #[async_trait]
/// # impl Transaction for PostInvoice {
/// #     type Content = Invoice;
/// #     type Output = Posted;
/// #     async fn process(&mut self, invoice: Invoice, _: &TransactionItem) -> Result<Posted, Exception> {
/// #         Ok(Posted { total: invoice.amount * self.tax })
/// #     }
/// # }
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let orchestrator = connect("memory:").await?;
/// # orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
/// # let item = NewQueueItem::new(serde_json::json!({"amount": 100.0})).reference("INV-1");
/// # let id = orchestrator.add_queue_item("Invoices", item).await?.id;
/// # Performer::new("Invoices", || PostInvoice { tax: 1.25 }).run_until_empty(orchestrator.clone()).await?;
/// let replayed = testing::replay(&*orchestrator, id, || PostInvoice { tax: 1.5 }).await?;
/// println!("{replayed}");
/// // item 1, reference INV-1, queue Invoices
/// //          recorded    here
/// // outcome  Successful  Successful
/// // total    125.0       150.0       output changed
/// assert_eq!(replayed.differences()[0].here.as_deref(), Some("150.0"));
/// # Ok(()) }
/// ```
///
/// # Errors
///
/// See [`ReplayError`].
pub async fn replay<T: Transaction>(
    orchestrator: &dyn Administration,
    id: ItemId,
    make: impl Fn() -> T + Send + Sync + 'static,
) -> Result<Replayed, ReplayError> {
    TestRun::new(Performer::new(super::QUEUE, make)).replay(orchestrator, id).await
}

#[inline(never)]
pub(super) fn run(
    run: TestRun,
    orchestrator: &dyn Administration,
    id: ItemId,
) -> BoxFuture<'_, Result<Replayed, ReplayError>> {
    Box::pin(run_one(run, orchestrator, id))
}

async fn run_one(
    mut run: TestRun,
    orchestrator: &dyn Administration,
    id: ItemId,
) -> Result<Replayed, ReplayError> {
    let recorded = orchestrator.get_queue_item(id).await.map_err(ReplayError::NotRead)?;
    let queues = orchestrator.list_queues().await.map_err(ReplayError::NotRead)?;
    let queue = queues.into_iter().find(|queue| queue.id == recorded.queue_id).ok_or_else(|| {
        let message = format!("the queue of item {id} does not exist, or the caller may not see it");
        ReplayError::NotRead(OrchestratorError::not_found(message))
    })?;
    let mut copies = Copies::new(&queue.name).await.map_err(ReplayError::NotStored)?;
    copies.add(recorded).await.map_err(ReplayError::NotStored)?;
    copies.add_assets(run.take_assets()).await.map_err(ReplayError::NotStored)?;
    let copies = Arc::new(copies);
    let (summary, events) =
        run.over(queue.name.clone(), copies.clone()).await.map_err(ReplayError::Performer)?;
    let pairs = copies.pairs().await.map_err(ReplayError::NotStored)?;
    let Some((recorded, here)) = pairs.into_iter().next() else {
        return Err(ReplayError::NotStored(OrchestratorError::no_item(id)));
    };
    let here = Tested { attempts: vec![here], summary, events, follow_ups: copies.follow_ups() };
    Ok(Replayed { recorded, here, queue: queue.name })
}

/// Why recorded items could not be run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The item or its queue does not exist, or the Orchestrator cannot be read.
    #[error("the recorded item could not be read: {}", .0.with_causes())]
    NotRead(OrchestratorError),
    /// A queue in memory refuses the content, which another Orchestrator has accepted: it is too large, or not flat.
    #[error("the recorded item cannot be run here: {}", .0.with_causes())]
    NotStored(OrchestratorError),
    /// A setting of the performer is invalid.
    #[error(transparent)]
    Performer(PerformerError),
}

/// A recorded item, and what a transaction made of it here.
///
/// It is displayed as a table for people, in which long texts are shortened.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// The item as it is recorded.
    pub recorded: QueueItem,
    /// The one attempt here.
    pub here: Tested,
    /// The name of the item's queue.
    pub queue: String,
}

impl Replayed {
    /// In what the two are different: how the item ended; or, if it ended in the same way, the reason of its failure and the fields
    /// of its output. Empty if there is nothing. An item that had not ended ended here in another way.
    ///
    /// A Retried item ended as one that is Failed with an ApplicationException here, where nothing is retried. Numbers are equal digit
    /// by digit, so 1.50 is 1.5. Details and images of exceptions are not compared.
    pub fn differences(&self) -> Vec<Difference> {
        difference::differences(&self.recorded, self.here.item(), &Ignored::default())
    }
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (recorded, here) = (&self.recorded, self.here.item());
        write!(f, "item {}", recorded.id)?;
        if let Some(reference) = &recorded.reference {
            write!(f, ", reference {}", cell(reference))?;
        }
        write!(f, ", queue {}", cell(&self.queue))?;
        let differences = self.differences();
        let mark = |kind: DifferenceKind| {
            let is_different = differences.iter().any(|difference| difference.kind == kind);
            if is_different { "different".to_owned() } else { String::new() }
        };
        let heading = ["", "recorded", "here", ""].map(str::to_owned);
        let outcomes = (difference::outcome(recorded), difference::outcome_here(here));
        let mut rows =
            vec![heading, ["outcome".to_owned(), outcomes.0, outcomes.1, mark(DifferenceKind::Outcome)]];
        let reasons =
            [recorded, here].map(|item| item.processing_exception.as_ref().map(|e| e.reason.as_str()));
        if reasons != [None, None] {
            let [recorded, here] = reasons.map(cell_or_dash);
            rows.push(["reason".to_owned(), recorded, here, mark(DifferenceKind::Reason)]);
        }
        let fields = difference::output_fields(recorded, here);
        let kinds: BTreeMap<&str, DifferenceKind> =
            differences.iter().filter_map(|d| Some((d.field.as_deref()?, d.kind))).collect();
        // What is different comes first, so that it is not among the fields that are left out.
        let mut sorted: Vec<_> = fields.iter().collect();
        sorted.sort_by_key(|(name, _)| !kinds.contains_key(name.as_str()));
        for (name, field) in sorted.iter().take(MOST_ROWS) {
            let kind = kinds.get(name.as_str()).map(ToString::to_string).unwrap_or_default();
            rows.push([cell(name), cell_or_dash(field.recorded()), cell_or_dash(field.here()), kind]);
        }
        write_rows(f, &rows)?;
        match fields.len().saturating_sub(MOST_ROWS) {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more fields of the output"),
        }
    }
}
