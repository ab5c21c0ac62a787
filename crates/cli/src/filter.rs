//! The options that select items, the same for all commands and with the names of the desk's URLs; and what is selected.

use clap::Args;

use super::output::CliError;
use performer_core::model::clock::{Clock as _, SystemClock};
use performer_core::model::item::{ItemFilter, PAGE_LIMIT, QueueItem};
use performer_core::model::item_query::ItemQuery;
use performer_core::model::list::{COUNT_LIMIT, Page};
use performer_core::model::view::{COLUMNS, ViewContent};
use performer_core::orchestrator::Administration;

/// The options that select items.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Filters (several values have commas between them)")]
pub(super) struct FilterArgs {
    /// Only items of these queues
    #[arg(long, value_name = "NAMES")]
    queue: Vec<String>,
    /// Only items with these statuses, such as Failed,Abandoned
    #[arg(long, value_name = "STATUSES")]
    status: Vec<String>,
    /// Only items with these review statuses: None, InReview, Verified, Retried
    #[arg(long, value_name = "STATUSES")]
    review: Vec<String>,
    /// Only items that failed by this kind of exception: Application or Business
    #[arg(long = "type", value_name = "TYPE")]
    exception_type: Option<String>,
    /// Only items that failed with this reason, by its number in performer reason list
    #[arg(long, value_name = "NUMBER")]
    reason: Option<i64>,
    /// Only items that this operation refused, by its number in performer operation list
    #[arg(long, value_name = "NUMBER")]
    refused: Option<i64>,
    /// Only items with this reference, or with this prefix if it ends with *
    #[arg(long = "ref", visible_alias = "reference", value_name = "TEXT")]
    reference: Option<String>,
    /// Only items with this reviewer, by the id of the user; none for items without one
    #[arg(long, value_name = "ID|none")]
    reviewer: Option<String>,
    /// Only items of the job with this key
    #[arg(long, value_name = "KEY")]
    job: Option<String>,
    /// Only items that the robot with this id processed
    #[arg(long, value_name = "ID")]
    robot: Option<i64>,
    /// Only items of these priorities: High, Normal, Low
    #[arg(long, value_name = "PRIORITIES")]
    priority: Vec<String>,
    /// Only items created in this time, such as 24h, yesterday, 2026-11-01 or 2026-11-01..2026-11-30 (days of UTC)
    #[arg(long, value_name = "TIME")]
    created: Option<String>,
    /// Only items that ended in this time
    #[arg(long, value_name = "TIME")]
    ended: Option<String>,
    /// Only items that are due in this time
    #[arg(long, value_name = "TIME")]
    due: Option<String>,
}

impl FilterArgs {
    fn pairs(&self) -> Vec<(&'static str, String)> {
        let list = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
        let values = [
            ("queue", list(&self.queue)),
            ("status", list(&self.status)),
            ("review", list(&self.review)),
            ("type", self.exception_type.clone()),
            ("reason", self.reason.map(|reason| reason.to_string())),
            ("refused", self.refused.map(|operation| operation.to_string())),
            ("ref", self.reference.clone()),
            ("reviewer", self.reviewer.clone()),
            ("job", self.job.clone()),
            ("robot", self.robot.map(|robot| robot.to_string())),
            ("priority", list(&self.priority)),
            ("created", self.created.clone()),
            ("ended", self.ended.clone()),
            ("due", self.due.clone()),
        ];
        values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// The query of a saved view, narrowed by these options: an option takes the place of what the view has under its name.
    pub(super) fn of_view(&self, view: &ViewContent, others: &[(&str, &str)]) -> Result<ItemQuery, CliError> {
        let given = self.checked_pairs()?;
        let is_given = |name: &str| {
            given.iter().any(|(known, _)| *known == name) || others.iter().any(|(known, _)| *known == name)
        };
        let of_view = view.query.iter().filter(|(name, _)| name != COLUMNS && !is_given(name));
        let of_view = of_view.map(|(name, value)| (name.as_str(), value.as_str()));
        let given = given.iter().map(|(name, value)| (*name, value.as_str()));
        let pairs = of_view.chain(given).chain(others.iter().copied());
        ItemQuery::parse(pairs).map_err(|refusal| CliError::usage(refusal.to_string()))
    }

    /// The query of these options and of others.
    pub(super) fn query(&self, others: &[(&str, &str)]) -> Result<ItemQuery, CliError> {
        let pairs = self.checked_pairs()?;
        let pairs = pairs.iter().map(|(name, value)| (*name, value.as_str())).chain(others.iter().copied());
        ItemQuery::parse(pairs).map_err(|refusal| CliError::usage(refusal.to_string()))
    }

    fn checked_pairs(&self) -> Result<Vec<(&'static str, String)>, CliError> {
        let pairs = self.pairs();
        // In a URL it is a field that was left empty. Here it may be an empty variable of a script, and the command act on all items.
        let has_none =
            |(name, value): &&(&str, String)| value.is_empty() || *name != "ref" && value.trim().is_empty();
        if let Some((name, _)) = pairs.iter().find(has_none) {
            return Err(CliError::usage(format!("--{name} has no value")));
        }
        Ok(pairs)
    }
}

/// The filter of a query, with the ids of its queues; relative times count from the present.
pub(super) async fn item_filter(
    orchestrator: &dyn Administration,
    query: &ItemQuery,
) -> Result<ItemFilter, CliError> {
    let queues = if query.queues.len() > 1 { orchestrator.list_queues().await? } else { Vec::new() };
    let id =
        |name: &str| queues.iter().find(|queue| queue.name.eq_ignore_ascii_case(name)).map(|queue| queue.id);
    Ok(query.filter(SystemClock::new().now(), id)?)
}

/// The items of a query page by page, at most `most`: calls `each` with each page.
pub(super) async fn each_page(
    orchestrator: &dyn Administration,
    query: &ItemQuery,
    most: usize,
    mut each: impl FnMut(Vec<QueueItem>) -> Result<(), CliError>,
) -> Result<Listed, CliError> {
    let filter = item_filter(orchestrator, query).await?;
    let mut listed = Listed::default();
    let (mut left, mut after, mut count_limit) = (most, query.after.clone(), COUNT_LIMIT);
    while left > 0 {
        let top = left.min(PAGE_LIMIT);
        let page = Page::first(top).after(after).descending(true).count_limit(count_limit);
        let page = orchestrator.list_queue_items(filter.clone(), page).await?;
        if count_limit > 0 {
            (listed.count, listed.counted) = (page.count, page.count_text());
        }
        (after, count_limit) = (page.next(&filter), 0);
        let found = page.items.len();
        left -= found.min(left);
        each(page.items)?;
        if after.is_none() || found < top {
            return Ok(listed);
        }
        listed.next = after.as_ref().map(ToString::to_string);
    }
    Ok(listed)
}

/// What a list says besides its items.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// How many items match, as far as they were counted.
    pub(super) count: u64,
    /// That number as people read it: `10000+` if there are more.
    pub(super) counted: String,
    /// Where the rest begins, if there may be any.
    pub(super) next: Option<String>,
}

/// The items of a query, at most `most` of them.
pub(super) async fn selected(
    orchestrator: &dyn Administration,
    query: &ItemQuery,
    most: usize,
) -> Result<Vec<QueueItem>, CliError> {
    let mut items = Vec::new();
    each_page(orchestrator, query, most, |page| {
        items.extend(page);
        Ok(())
    })
    .await?;
    Ok(items)
}
