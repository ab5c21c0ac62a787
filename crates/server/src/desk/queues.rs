//! The list of queues.

use askama::Template;

use super::call::{DeskCall, FolderQueue};
use super::frame::Frame;
use super::html::{self, Html};
use super::reply::Reply;
use super::{items, live};
use crate::api_error::ApiError;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;

#[derive(Template)]
#[template(path = "queues.html")]
struct QueuesPage {
    frame: Frame,
    rows: Vec<QueueRow>,
}

/// A queue with its counts.
pub(super) struct QueueRow {
    pub(super) href: String,
    pub(super) name: String,
    pub(super) folder: String,
    pub(super) is_paused: bool,
    pub(super) counts: Vec<Count>,
}

/// How many items have a status, and where they are listed.
pub(super) struct Count {
    pub(super) status: Html,
    pub(super) name: &'static str,
    pub(super) count: String,
    pub(super) is_zero: bool,
    pub(super) href: String,
    /// Whether the list shows just these.
    pub(super) is_current: bool,
    /// What the script calls this number when it changes; empty if it does not.
    pub(super) live: String,
}

/// What stands in the place of a number that is not known without counting.
pub(super) const UNKNOWN: &str = "…";

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let mut rows = Vec::new();
    for (queue, statistics) in with_statistics(call).await? {
        rows.push(row(call, &queue, &statistics)?);
    }
    Reply::page(&QueuesPage { frame: call.frame("/desk/queues"), rows })
}

/// The queues of the call's folders with the numbers of their items, each once, by name.
pub(super) async fn with_statistics(
    call: &DeskCall,
) -> Result<Vec<(FolderQueue, QueueStatistics)>, ApiError> {
    let Some(first) = call.folders.first() else { return Ok(Vec::new()) };
    let all = call.source(*first).statistics_in_folders(call.folders.clone()).await?;
    let with = |(queue, statistics): (QueueDefinition, QueueStatistics)| {
        let folder = queue.folders.iter().find(|folder| call.folders.contains(folder)).copied()?;
        Some((FolderQueue { queue, folder }, statistics))
    };
    Ok(all.into_iter().filter_map(with).collect())
}

fn row(call: &DeskCall, queue: &FolderQueue, statistics: &QueueStatistics) -> Result<QueueRow, ApiError> {
    Ok(QueueRow {
        href: format!("/desk/queues/{}", queue.queue.id),
        name: html::visible(&queue.queue.name),
        folder: html::visible(&call.directory()?.full_name(queue.folder)),
        is_paused: queue.queue.limits.paused,
        counts: counts(call, &queue.queue, statistics),
    })
}

/// The counts of a queue by status.
pub(super) fn counts(call: &DeskCall, queue: &QueueDefinition, statistics: &QueueStatistics) -> Vec<Count> {
    let known = call.source(FolderId::SHARED).counted_statuses();
    let count = |status: &Status| {
        let mut query = ItemQuery::default();
        (query.queues, query.status) = (vec![queue.name.clone()], vec![*status]);
        let (number, is_known) = (statistics.with_status(*status), known.contains(status));
        Count {
            status: html::status(*status),
            name: status.name(),
            count: if is_known { html::number(number) } else { UNKNOWN.to_owned() },
            is_zero: number == 0,
            href: items::list_address(call, &query),
            is_current: false,
            live: live::name(Some(queue.id), *status),
        }
    };
    Status::ALL.iter().map(count).collect()
}
