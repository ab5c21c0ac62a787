//! What is read with each tick.

use std::collections::HashMap;

use jiff::Timestamp;
use performer::Administration;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::query::{Field, Order};
use performer_core::model::robot::Robot;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use serde::Serialize;
use tokio::time::Instant;

/// How many failures are shown.
const FAILURES: usize = 5;

/// The state of the queues at a time.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Snapshot {
    pub(super) time: Option<Timestamp>,
    pub(super) queues: Vec<QueueRow>,
    /// The robots of jobs that have not ended; none where they are not known.
    pub(super) robots: Vec<Robot>,
    /// The attempts that failed last.
    pub(super) failures: Vec<Failure>,
    /// Why nothing could be read.
    pub(super) error: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct QueueRow {
    pub(super) name: String,
    pub(super) is_paused: bool,
    #[serde(flatten)]
    pub(super) statistics: QueueStatistics,
    /// How many attempts end in a second, since the look before.
    pub(super) ended_per_second: Option<f64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Failure {
    pub(super) id: ItemId,
    pub(super) queue: String,
    pub(super) reference: Option<String>,
    pub(super) end_processing: Option<Timestamp>,
    pub(super) reason: String,
}

impl Snapshot {
    /// Reads the state of these queues; of all if there are none.
    pub(super) async fn read(
        orchestrator: &dyn Administration,
        names: &[String],
        at: Timestamp,
    ) -> Result<Self, OrchestratorError> {
        let mut queues = orchestrator.list_queues().await?;
        let is_wanted = |name: &str| {
            names.is_empty() || names.iter().any(|wanted| wanted.to_lowercase() == name.to_lowercase())
        };
        queues.retain(|queue| is_wanted(&queue.name));
        let mut rows = Vec::new();
        for queue in &queues {
            let statistics = orchestrator.queue_statistics(&queue.name).await?;
            let (name, is_paused) = (queue.name.clone(), queue.limits.paused);
            rows.push(QueueRow { name, is_paused, statistics, ended_per_second: None });
        }
        let robots = match orchestrator.list_robots().await {
            Err(error) if matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::Unauthorized) => {
                Vec::new()
            }
            robots => robots?,
        };
        let names: HashMap<QueueId, &str> = queues.iter().map(|queue| (queue.id, &*queue.name)).collect();
        Ok(Self {
            time: Some(at),
            queues: rows,
            robots,
            failures: failures(orchestrator, &names).await?,
            error: None,
        })
    }

    /// The state when nothing could be read.
    pub(super) fn failed(at: Timestamp, error: &OrchestratorError) -> Self {
        Self { time: Some(at), error: Some(format!("{}", error.with_causes())), ..Self::default() }
    }
}

async fn failures(
    orchestrator: &dyn Administration,
    names: &HashMap<QueueId, &str>,
) -> Result<Vec<Failure>, OrchestratorError> {
    let order = [Order { field: Field::EndProcessing, descending: true }];
    let mut filter = ItemFilter::default().status([Status::Failed]).order(order);
    if let [name] = &names.values().collect::<Vec<_>>()[..] {
        filter = filter.queue(**name);
    }
    let page = orchestrator.list_queue_items(filter, Page::first(10 * FAILURES).count_limit(0)).await?;
    let known = page.items.into_iter().filter_map(|item| {
        let queue = (*names.get(&item.queue_id)?).to_owned();
        let reason = item.processing_exception.map(|exception| exception.reason).unwrap_or_default();
        let (id, reference, end_processing) = (item.id, item.reference, item.end_processing);
        Some(Failure { id, queue, reference, end_processing, reason })
    });
    Ok(known.take(FAILURES).collect())
}

/// What had ended at the look before, and when that was.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: HashMap<String, (i64, Instant)>,
}

impl Rates {
    /// Sets how many attempts end in a second. A look in which nothing could be read is skipped.
    pub(super) fn apply(&mut self, snapshot: &mut Snapshot, now: Instant) {
        for row in &mut snapshot.queues {
            let ended = row.statistics.total() - row.statistics.new - row.statistics.in_progress;
            let before = self.before.insert(row.name.clone(), (ended, now));
            row.ended_per_second = before.and_then(|(ended_before, then)| {
                let seconds = now.duration_since(then).as_secs_f64();
                #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
                let more = (ended - ended_before).max(0) as f64;
                (seconds > 0.0).then(|| more / seconds)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn seen(successful: i64) -> Snapshot {
        let mut statistics = QueueStatistics::default();
        (statistics.new, statistics.in_progress, statistics.successful) = (7, 2, successful);
        let row =
            QueueRow { name: "Invoices".to_owned(), is_paused: false, statistics, ended_per_second: None };
        Snapshot { queues: vec![row], ..Snapshot::default() }
    }

    #[test]
    fn a_rate_is_what_ended_since_the_look_before() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut rate = |successful, second| {
            let mut snapshot = seen(successful);
            rates.apply(&mut snapshot, start + Duration::from_secs(second));
            snapshot.queues[0].ended_per_second
        };
        assert_eq!(rate(100, 0), None, "there was no look before");
        assert_eq!(rate(120, 4), Some(5.0));
        assert_eq!(rate(120, 5), Some(0.0));
        assert_eq!(rate(20, 6), Some(0.0), "items past their retention were removed");
    }
}
