//! `/desk/events`: the stream of one tab. It says which numbers of the page have changed, and how many items are newer than its list.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::StatusCode;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use super::call::DeskCall;
use super::html;
use super::items;
use super::live::{self, MAX_NEWER, Snapshot};
use super::reply::Reply;
use super::routes::READ;
use super::session::Counts;
use crate::api_error::ApiError;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;

/// A stream without changes says so, for proxies that close what is quiet.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// The parameter with the newest item of the list that the tab shows.
pub(super) const NEWEST: &str = "newest";

/// What has changed.
#[derive(Debug, Default, Serialize)]
struct Changes {
    /// The new numbers, by their names.
    numbers: BTreeMap<String, String>,
    /// How many items of the list are newer than its first.
    #[serde(skip_serializing_if = "Option::is_none")]
    newer: Option<u64>,
}

/// The list of a tab.
struct List {
    query: ItemQuery,
    newest: i64,
    /// What was said last.
    newer: u64,
    /// When the numbers were read that have changed since the list was read, if they have.
    changed_at: Option<Instant>,
}

/// The stream of a tab.
struct Tab {
    call: DeskCall,
    list: Option<List>,
    /// What was said last.
    numbers: BTreeMap<String, String>,
    ticks: Interval,
    quiet: Duration,
    stopping: watch::Receiver<bool>,
    _place: OwnedSemaphorePermit,
}

pub(super) async fn stream(call: &DeskCall) -> Result<Reply, ApiError> {
    let mut ticks = interval(live::INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let tab = Tab {
        list: list_of(call)?,
        call: call.clone(),
        numbers: BTreeMap::new(),
        ticks,
        quiet: Duration::ZERO,
        stopping: call.server.stopping.subscribe(),
        _place: call.server.desk_live.place()?,
    };
    Ok(Reply::events(stream::unfold(Some(tab), next)))
}

/// The list that the address names by its filters and its newest item.
fn list_of(call: &DeskCall) -> Result<Option<List>, ApiError> {
    let newest = call.query_value(NEWEST);
    if newest.is_empty() {
        return Ok(None);
    }
    let wrong = |_| ApiError::invalid(format!("{NEWEST}: {newest:?} is not the number of an item."));
    let filters = call.query.iter().filter(|(name, _)| name != "folder" && name != NEWEST);
    let query = ItemQuery::parse(filters.map(|(name, value)| (name.as_str(), value.as_str())))?;
    Ok(Some(List { query, newest: newest.parse().map_err(wrong)?, newer: 0, changed_at: None }))
}

/// The next event, and the tab for the one after it. The last one has none.
async fn next(tab: Option<Tab>) -> Option<(Bytes, Option<Tab>)> {
    let mut tab = tab?;
    loop {
        let mut stopping = tab.stopping.clone();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => return None,
            _ = tab.ticks.tick() => {}
        }
        match tab.look().await {
            Ok(Some(changes)) => {
                tab.quiet = Duration::ZERO;
                let json = serde_json::to_string(&changes).ok()?;
                return Some((format!("event: change\ndata: {json}\n\n").into(), Some(tab)));
            }
            // A store that is unavailable now may be available later.
            Err(failure) if !is_end(&failure) => tab.quiet += live::INTERVAL,
            Ok(None) => tab.quiet += live::INTERVAL,
            Err(_) => {
                return Some((Bytes::from_static(b"event: end\ndata: the session has ended\n\n"), None));
            }
        }
        if tab.quiet >= KEEP_ALIVE {
            tab.quiet = Duration::ZERO;
            return Some((Bytes::from_static(b": nothing has changed\n\n"), Some(tab)));
        }
    }
}

/// Whether a failure ends the stream: the session has ended, or its permission is gone.
fn is_end(failure: &ApiError) -> bool {
    matches!(failure.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

impl Tab {
    /// What has changed since the last look.
    ///
    /// # Errors
    ///
    /// 401 or 403 if the session has ended, or the permission is gone; 503.
    async fn look(&mut self) -> Result<Option<Changes>, ApiError> {
        let (server, call) = (self.call.server.clone(), &mut self.call);
        call.caller =
            server.desk_sessions.caller(&server, &call.headers, call.is_secure, Counts::AsNoUse).await?;
        if call.authorize()?.is_some() {
            return Err(ApiError::not_authenticated());
        }
        let (read_at, snapshot) = server.desk_live.numbers(&server).await?;
        // The sum over all queues is that of the pages on which it stands.
        let numbers = numbers(&snapshot, &call.folders, &call.folders_with(READ)?);
        if let Some(list) = self.list.as_mut().filter(|_| numbers != self.numbers) {
            list.changed_at = Some(read_at);
        }
        let mut changes = Changes::default();
        for (name, number) in &numbers {
            if self.numbers.get(name) != Some(number) {
                changes.numbers.insert(name.clone(), number.clone());
            }
        }
        changes.newer = match self.newer().await {
            // The filter names a queue that was deleted, for instance: the numbers go on.
            Err(failure) if !is_end(&failure) => None,
            newer => newer?,
        };
        self.numbers = numbers;
        let is_nothing = changes.numbers.is_empty() && changes.newer.is_none();
        Ok((!is_nothing).then_some(changes))
    }

    /// How many items of the list are newer than its first, if that has changed.
    ///
    /// Nothing is read unless numbers have changed. What is known of the list may have been read before them, for another tab; then
    /// it is asked for again with the next look.
    async fn newer(&mut self) -> Result<Option<u64>, ApiError> {
        let Some(list) = &mut self.list else { return Ok(None) };
        let Some(changed_at) = list.changed_at else { return Ok(None) };
        let call = &self.call;
        let folders = call.folders_with(READ)?;
        list.changed_at = None; // not asked again if the filter names a queue that was deleted
        if folders.is_empty() {
            return Ok(None);
        }
        let filter = items::filter(call, &list.query, &call.queues().await?)?;
        let name = format!("{folders:?} {} {}", list.query, list.newest);
        list.changed_at = Some(changed_at);
        let (read_at, newer) =
            call.server.desk_live.newer(&call.server, (name, &folders), filter, list.newest).await?;
        list.changed_at = Some(changed_at).filter(|changed_at| read_at < *changed_at);
        let newer = newer.min(MAX_NEWER);
        Ok((newer != std::mem::replace(&mut list.newer, newer)).then_some(newer))
    }
}

/// The numbers of items that a reader of these folders sees, by their names.
fn numbers(snapshot: &Snapshot, folders: &[FolderId], readable: &[FolderId]) -> BTreeMap<String, String> {
    let is_in = |queue: &QueueDefinition, folders: &[FolderId]| {
        queue.folders.iter().any(|folder| folders.contains(folder))
    };
    let (mut numbers, mut sum) = (BTreeMap::new(), QueueStatistics::default());
    let mut add = |queue, statistics: &QueueStatistics| {
        let number = |status: &Status| html::number(statistics.with_status(*status));
        numbers.extend(Status::ALL.iter().map(|status| (live::name(queue, *status), number(status))));
    };
    for (queue, statistics) in snapshot.iter().filter(|(queue, _)| is_in(queue, folders)) {
        if is_in(queue, readable) {
            sum.add(statistics);
        }
        add(Some(queue.id), statistics);
    }
    add(None, &sum);
    numbers
}
