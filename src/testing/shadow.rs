//! A shadow run: a performer on copies of items that another one has ended.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::copies::Copies;
use super::difference::Ignored;
use super::replay::ReplayError;
use super::shadow_report::{NotCompared, ShadowReport};
use super::test_run::summary_of;
use crate::model::query::{Comparison, Condition, Field, Order, Value};
use crate::model::{ItemFilter, PAGE_LIMIT, Page, QueueItem, ReferenceFilter, Status};
use crate::orchestrator::{Administration, BoxFuture, ItemAdministration, OrchestratorError};
use crate::runtime::Performer;

/// What a [shadow run](Performer::shadow) reads, and what it compares.
///
/// ```
/// use performer::testing::Shadow;
/// use performer::{ReferenceFilter, Status};
///
/// let shadow = Shadow::last(200)
///     .status([Status::Successful])
///     .reference(ReferenceFilter::StartsWith("INV-".to_owned()))
///     .ignore_output("PostedAt");
/// ```
#[derive(Clone, Debug)]
#[must_use = "a performer runs it"]
pub struct Shadow {
    items: usize,
    status: Vec<Status>,
    ended_from: Option<Timestamp>,
    ended_before: Option<Timestamp>,
    reference: Option<ReferenceFilter>,
    ignored: Ignored,
}

impl Shadow {
    /// The items that ended last, at most this many. They and their copies are in memory during the run.
    ///
    /// Only first attempts are read: a retry ran where the attempts before it had done a part of the work. So an item that another
    /// performer has retried is not among them.
    pub fn last(items: usize) -> Self {
        Self {
            items,
            status: vec![Status::Successful, Status::Failed],
            ended_from: None,
            ended_before: None,
            reference: None,
            ignored: Ignored::default(),
        }
    }

    /// Only items in one of these states: Successful, Failed, or both. Default: both.
    pub fn status(mut self, status: impl Into<Vec<Status>>) -> Self {
        self.status = status.into();
        self
    }

    /// Only items that ended at this time or later.
    pub fn ended_from(mut self, time: Timestamp) -> Self {
        self.ended_from = Some(time);
        self
    }

    /// Only items that ended before this time.
    pub fn ended_before(mut self, time: Timestamp) -> Self {
        self.ended_before = Some(time);
        self
    }

    /// Only items with such a reference.
    pub fn reference(mut self, reference: impl Into<Option<ReferenceFilter>>) -> Self {
        self.reference = reference.into();
        self
    }

    /// Does not compare this field of the output, for instance because it is a time or the number of a document.
    pub fn ignore_output(mut self, field: impl Into<String>) -> Self {
        self.ignored.fields.insert(field.into());
        self
    }

    /// Does not compare the reasons of failures, only whether they are Business- or ApplicationExceptions.
    pub fn ignore_reasons(mut self) -> Self {
        self.ignored.reasons = true;
        self
    }

    fn filter(&self, queue: &str) -> Result<ItemFilter, OrchestratorError> {
        let has_ended = |status: &Status| matches!(status, Status::Successful | Status::Failed);
        if self.status.is_empty() || !self.status.iter().all(has_ended) {
            let message = "a shadow run compares items that are Successful or Failed";
            return Err(OrchestratorError::invalid(message));
        }
        let ended = |comparison, time: Option<Timestamp>| {
            time.map(|time| Condition::Compare(Field::EndProcessing, comparison, Value::Time(time)))
        };
        let mut conditions =
            vec![Condition::Compare(Field::RetryNumber, Comparison::Equal, Value::Number(0))];
        conditions.extend(ended(Comparison::GreaterOrEqual, self.ended_from));
        conditions.extend(ended(Comparison::Less, self.ended_before));
        let last_first = [Field::EndProcessing, Field::Id].map(|field| Order { field, descending: true });
        Ok(ItemFilter::default()
            .queue(queue)
            .status(self.status.clone())
            .reference(self.reference.clone())
            .condition(Condition::All(conditions))
            .order(last_first))
    }

    /// Reads the sample, page by page. Items that end meanwhile move the others to later pages, so one may be read twice.
    async fn read(
        &self,
        orchestrator: &(impl ItemAdministration + ?Sized),
        queue: &str,
    ) -> Result<Vec<QueueItem>, OrchestratorError> {
        let filter = self.filter(queue)?;
        let (mut sample, mut seen, mut skip) = (Vec::new(), HashSet::new(), 0);
        while sample.len() < self.items {
            let top = PAGE_LIMIT.min(self.items - sample.len());
            let page = orchestrator.list_queue_items(filter.clone(), Page::first(top).skip(skip)).await?;
            if page.items.is_empty() {
                break;
            }
            skip += page.items.len();
            // Not a condition of the filter: an Orchestrator that does not know manual retries would refuse it.
            let is_first = |item: &QueueItem| item.manual_retry_number == 0;
            sample.extend(page.items.into_iter().filter(|item| is_first(item) && seen.insert(item.id)));
        }
        Ok(sample)
    }
}

impl Performer {
    /// Runs this performer on copies of items of its queue that another one has ended, and compares how they end here: to find out,
    /// before a robot is replaced, in what the new one would do otherwise. It is a method of the performer so that its settings apply:
    /// its robots, which keep their applications open over items, its time limit, its circuit breaker, its stop handle and its events.
    ///
    /// Nothing is claimed, reported, added or changed in the Orchestrator: the items are read, and the rights to view the queue and
    /// its items are enough. The transactions themselves are real, as those of [`replay`](crate::testing::replay); what is said there
    /// of the copies is true here too. A performer that is stopped, or faults, ends the run early, and the report has what was
    /// compared until then.
    ///
    /// ```
    /// use performer::prelude::*;
    /// use performer::testing::{DifferenceKind, Shadow};
    ///
    /// # #[derive(serde::Deserialize)] struct Invoice { amount: f64 }
    /// # async fn old_rule(invoice: Invoice, _: TransactionItem) -> Result<serde_json::Value, Exception> {
    /// #     Ok(serde_json::json!({"total": invoice.amount}))
    /// # }
    /// # async fn new_rule(invoice: Invoice, _: TransactionItem) -> Result<serde_json::Value, Exception> {
    /// #     Ok(serde_json::json!({"total": invoice.amount.round()}))
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let orchestrator = connect("memory:").await?;
    /// # orchestrator.create_queue(NewQueueDefinition::new("Invoices")).await?;
    /// # for amount in [10.0, 10.5] {
    /// #     orchestrator.add_queue_item("Invoices", NewQueueItem::new(serde_json::json!({"amount": amount}))).await?;
    /// # }
    /// # Performer::from_fn("Invoices", old_rule).run_until_empty(orchestrator.clone()).await?;
    /// let performer = Performer::from_fn("Invoices", new_rule).robots(4);
    /// let report = performer.shadow(&*orchestrator, Shadow::last(200)).await?;
    /// println!("{report}");
    /// assert_eq!((report.compared, report.different), (2, 1));
    /// assert_eq!(report.items[0].differences[0].kind, DifferenceKind::OutputChanged);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ReplayError::NotRead`] if the queue does not exist or cannot be read; [`ReplayError::Performer`] if a setting of the performer
    /// is invalid. An item whose content cannot be run here is in [`ShadowReport::not_compared`].
    pub async fn shadow(
        self,
        orchestrator: &dyn Administration,
        shadow: Shadow,
    ) -> Result<ShadowReport, ReplayError> {
        run(self, orchestrator, shadow).await
    }
}

#[inline(never)]
fn run(
    performer: Performer,
    orchestrator: &dyn Administration,
    shadow: Shadow,
) -> BoxFuture<'_, Result<ShadowReport, ReplayError>> {
    Box::pin(run_sample(performer, orchestrator, shadow))
}

async fn run_sample(
    performer: Performer,
    orchestrator: &dyn Administration,
    shadow: Shadow,
) -> Result<ShadowReport, ReplayError> {
    let queue = performer.queue().to_owned();
    let mut sample = shadow.read(orchestrator, &queue).await.map_err(ReplayError::NotRead)?;
    sample.sort_by_key(|item| item.id); // as they were added
    let mut copies = Copies::new(&queue).await.map_err(ReplayError::NotStored)?;
    let mut not_compared = Vec::new();
    for item in sample {
        let (id, reference) = (item.id, item.reference.clone());
        if let Err(error) = copies.add(item).await {
            not_compared.push(NotCompared::new(id, reference, error.to_string()));
        }
    }
    let copies = Arc::new(copies);
    let ended = performer.run_until_empty(copies.clone()).await;
    let summary = summary_of(ended).map_err(ReplayError::Performer)?;
    let pairs = copies.pairs().await.map_err(ReplayError::NotStored)?;
    Ok(ShadowReport::new(queue, pairs, not_compared, &shadow.ignored, summary))
}
