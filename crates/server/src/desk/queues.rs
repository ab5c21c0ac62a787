//! The list of queues.

use askama::Template;

use super::call::{DeskCall, FolderQueue};
use super::frame::Frame;
use super::html::{self, Html};
use super::items;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;
use performer_store::QueueSelector;

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
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let mut rows = Vec::new();
    for (queue, statistics) in with_statistics(call, &call.queues().await?).await? {
        rows.push(row(call, &queue, &statistics)?);
    }
    Reply::page(&QueuesPage { frame: call.frame("/desk/queues"), rows })
}

/// Queues with the numbers of their items. A queue that was deleted meanwhile is left out.
pub(super) async fn with_statistics(
    call: &DeskCall,
    queues: &[FolderQueue],
) -> Result<Vec<(FolderQueue, QueueStatistics)>, ApiError> {
    let mut all = Vec::with_capacity(queues.len());
    for queue in queues {
        let which = QueueSelector::Id(queue.queue.id);
        match call.store(queue.folder).statistics_of(which).await {
            Ok(statistics) => all.push((queue.clone(), statistics)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(all)
}

fn row(call: &DeskCall, queue: &FolderQueue, statistics: &QueueStatistics) -> Result<QueueRow, ApiError> {
    Ok(QueueRow {
        href: format!("/desk/queues/{}", queue.queue.id),
        name: html::visible(&queue.queue.name),
        folder: html::visible(&call.directory()?.full_name(queue.folder)),
        is_paused: queue.queue.limits.paused,
        counts: counts(call, &queue.queue.name, statistics),
    })
}

/// The counts of a queue by status.
pub(super) fn counts(call: &DeskCall, queue: &str, statistics: &QueueStatistics) -> Vec<Count> {
    let count = |status: &Status| {
        let mut query = ItemQuery::default();
        (query.queues, query.status) = (vec![queue.to_owned()], vec![*status]);
        let number = statistics.with_status(*status);
        Count {
            status: html::status(*status),
            name: status.name(),
            count: html::number(number),
            is_zero: number == 0,
            href: items::list_address(call, &query),
        }
    };
    Status::ALL.iter().map(count).collect()
}
