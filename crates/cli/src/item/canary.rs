//! A canary on a UiPath Orchestrator: a few items are retried first, and the rest only if those succeed. A store and a server make it a
//! part of an operation.

use std::time::Duration;

use clap::Args;
use performer_core::model::item::QueueItem;
use performer_core::model::key::ItemId;
use performer_core::model::operation;
use performer_core::model::status::Status;
use performer_core::orchestrator::Administration;
use tokio::time::Instant;

use super::super::output::{self, CliError};
use super::super::queue::duration;
use super::act::Outcome;

/// How often to look whether the items have ended.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The options of a canary.
#[derive(Args)]
pub(super) struct Canary {
    /// Retry so many items first, and the others only if at least four of five of these are Successful
    #[arg(long, value_name = "N")]
    canary: Option<usize>,
    /// How long to wait for the first items, such as 10m
    #[arg(long, default_value = "10m", value_name = "TIME", requires = "canary")]
    canary_wait: String,
}

impl Canary {
    /// How many of `all` items are retried first.
    pub(super) fn size(&self, all: usize) -> usize {
        self.canary.unwrap_or(all).min(all)
    }

    /// The canary of an operation.
    pub(super) fn of_operation(&self) -> Result<Option<operation::Canary>, CliError> {
        let wait = duration(&self.canary_wait)?;
        Ok(self.canary.map(|first| operation::Canary::new(first as u64, wait)))
    }

    /// Waits until the copies of the first items have ended. An error unless enough of them are Successful: the rest is not retried.
    pub(super) async fn wait(
        &self,
        orchestrator: &dyn Administration,
        first: &[QueueItem],
        outcome: &Outcome,
    ) -> Result<(), CliError> {
        let limit = duration(&self.canary_wait)?;
        let is_refused = |id: ItemId| outcome.refused.iter().any(|(refused, _)| *refused == id);
        let retried: Vec<ItemId> = first.iter().map(|item| item.id).filter(|id| !is_refused(*id)).collect();
        let needed = (retried.len() * 4).div_ceil(5).max(1);
        output::remark(format!("{} items are retried first; waiting until they have ended", retried.len()));
        let started = Instant::now();
        loop {
            let (mut successful, mut ended) = (0, 0);
            for id in &retried {
                let last = orchestrator.processing_history(*id).await?.pop();
                let status = last.map(|item| item.status);
                successful += usize::from(status == Some(Status::Successful));
                ended +=
                    usize::from(!matches!(status, Some(Status::New | Status::InProgress | Status::Retried)));
            }
            if successful >= needed {
                output::remark(format!(
                    "{successful} of {} are Successful; the others are retried now",
                    retried.len()
                ));
                return Ok(());
            }
            let failed = ended - successful;
            let message = if failed > retried.len().saturating_sub(needed) {
                format!("{failed} of the first {} items were not Successful", retried.len())
            } else if started.elapsed() >= limit {
                format!(
                    "only {successful} of the first {} items are Successful after {}",
                    retried.len(),
                    self.canary_wait
                )
            } else {
                tokio::time::sleep(LOOK_EVERY).await;
                continue;
            };
            return Err(CliError::failed(format!("{message}: the others are not retried")));
        }
    }
}
