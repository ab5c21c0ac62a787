//! Acts on many items at once: the list, one of them with its preview and progress, and what it refused.

use askama::Template;
use jiff::Timestamp;

use super::call::{DeskCall, FolderQueue};
use super::deadlines;
use super::frame::Frame;
use super::html::{self, Html};
use super::items::{self, ItemRow};
use super::reasons;
use super::reply::Reply;
use crate::api_error::ApiError;
use crate::operation_rights::needed;
use performer_core::model::deadlines::PACE_MINUTES;
use performer_core::model::item::QueueItem;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::ItemId;
use performer_core::model::operation::{
    Act, ItemOperation, ItemResult, OPERATION_PAGE_LIMIT, OperationId, OperationItem, OperationState,
    PreviewQueue,
};
use performer_core::model::reason::ReasonFilter;
use performer_core::orchestrator::{ItemAdministration as _, read_queue_load};
use performer_store::Store;
use performer_tables::import::{csv_line, guarded};

/// How many operations, and how many refused items, a page has.
const ROWS: usize = 50;
/// How many refused items the page of an operation shows.
const FIRST_REFUSED: usize = 10;

/// An operation in a list.
struct OperationRow {
    id: i64,
    href: String,
    act: &'static str,
    state: Html,
    /// How many items it has, how many were acted on, and how many refused.
    total: String,
    done: String,
    refused: String,
    user: String,
    made: Html,
    selection: String,
}

#[derive(Template)]
#[template(path = "operations.html")]
struct OperationsPage {
    frame: Frame,
    rows: Vec<OperationRow>,
    /// The numbers of operations that this program cannot read.
    unreadable: String,
    next: Option<String>,
    is_continued: bool,
}

/// Items of a preview with the same reason, or that would be refused for the same.
struct PreviewRow {
    text: String,
    href: Option<String>,
    queue: String,
    count: String,
}

/// What a retry would mean for a queue.
struct LoadRow {
    queue: String,
    href: String,
    copies: String,
    would_wait: String,
    in_progress: String,
    held_back_by: String,
    /// How long it takes until what waits has ended.
    takes: String,
}

/// An item that was refused.
struct RefusedRow {
    item: i64,
    code: u16,
    why: String,
}

#[derive(Template)]
#[template(path = "operation.html")]
struct OperationPage {
    frame: Frame,
    row: OperationRow,
    /// Its path.
    path: String,
    facts: Vec<(&'static str, String)>,
    times: Vec<(&'static str, Html)>,
    why: Option<String>,
    /// How many items of 1,000 are through, for a bar.
    progress: u64,
    is_preview: bool,
    is_preparing: bool,
    is_retry: bool,
    /// The number of items, which a reader types before they are deleted.
    count_to_type: Option<u64>,
    groups: Vec<PreviewRow>,
    others: String,
    has_others: bool,
    will_refuse: Vec<PreviewRow>,
    will_refuse_count: String,
    /// The statuses of the copies that a retry made, and how many have each.
    copies: Vec<(Html, String)>,
    loads: Vec<LoadRow>,
    samples: Vec<ItemRow>,
    refused: Vec<RefusedRow>,
    has_refused: bool,
    refused_filter: String,
    filter_href: Option<String>,
    taken_back_by: Option<i64>,
    takes_back: Option<i64>,
    may_start: bool,
    may_stop: bool,
    may_resume: bool,
    may_take_back: bool,
}

#[derive(Template)]
#[template(path = "operation_refused.html")]
struct RefusedPage {
    frame: Frame,
    id: i64,
    path: String,
    count: String,
    rows: Vec<RefusedRow>,
    refused_filter: String,
    next: Option<String>,
}

/// A store with which the caller reads operations, in whatever folder.
pub(super) fn store(call: &DeskCall) -> Result<Store, ApiError> {
    let first = call.folders.first().copied().ok_or_else(ApiError::no_route)?;
    Ok(call.store(first))
}

/// The operation that the path names, if the caller may look at the items of all its folders.
///
/// # Errors
///
/// 404.
pub(super) async fn find(call: &DeskCall) -> Result<ItemOperation, ApiError> {
    let id = OperationId(call.number(0)?);
    Ok(store(call)?.operation(id, Some(call.folders.clone())).await?)
}

pub(super) fn path_of(id: OperationId) -> String {
    format!("/desk/operations/{id}")
}

/// The act, as a sentence begins with it.
fn act_text(act: &Act) -> &'static str {
    match act {
        Act::Retry => "Retry",
        Act::Verify => "Set to Verified",
        Act::PutInReview => "Set to InReview",
        Act::Assign { reviewer: Some(_), .. } => "Assign a reviewer",
        Act::Assign { reviewer: None, .. } => "Remove the reviewer",
        Act::Comment => "Comment",
        Act::Delete => "Delete",
        Act::Purge => "Remove the content",
        Act::TakeBack { .. } => "Take copies back",
    }
}

fn count(number: u64) -> String {
    html::number(i64::try_from(number).unwrap_or(i64::MAX))
}

fn row(operation: &ItemOperation) -> OperationRow {
    let of_act = match operation.plan.act {
        Act::TakeBack { of } => format!("the copies of operation {of}"),
        _ => "selected rows".to_owned(),
    };
    OperationRow {
        id: operation.id.0,
        href: path_of(operation.id),
        act: act_text(&operation.plan.act),
        state: html::operation(operation.state),
        total: count(operation.total),
        done: count(operation.done),
        refused: count(operation.refused),
        user: operation.user_name.as_deref().map(|name| html::line(name, 60)).unwrap_or_default(),
        made: html::time(operation.created),
        selection: operation.filter.as_deref().map_or(of_act, |filter| html::line(filter, 120)),
    }
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let before = match call.query_value("before") {
        "" => None,
        text => Some(OperationId(
            text.parse().map_err(|_| ApiError::invalid(format!("before: {text:?} is no number.")))?,
        )),
    };
    let mut found = store(call)?.list_operations(Some(call.folders.clone()), before, ROWS + 1).await?;
    let has_more = found.len() > ROWS;
    found.truncate(ROWS);
    let last = found.last().filter(|_| has_more).map(|last| last.to_string());
    let unreadable: Vec<String> = found.unreadable.iter().map(OperationId::to_string).collect();
    Reply::page(&OperationsPage {
        frame: call.frame("/desk/operations"),
        rows: found.operations.iter().map(row).collect(),
        unreadable: unreadable.join(", "),
        next: last.map(|last| {
            let folder = call.folder.map(|folder| folder.to_string());
            let folder = folder.iter().map(|folder| ("folder", folder.as_str()));
            let pairs: Vec<_> = [("before", last.as_str())].into_iter().chain(folder).collect();
            html::address("/desk/operations", &pairs)
        }),
        is_continued: before.is_some(),
    })
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let queues = call.queues().await?;
    let may = |act: &Act| operation.folders.iter().all(|folder| call.may(*folder, needed(act)));
    let (may_act, preview) = (may(&operation.plan.act), &operation.preview);
    let is_preview = operation.state == OperationState::Preview;
    let is_unstarted = is_preview || operation.state == OperationState::Preparing;
    let ask = (operation.id, Some(call.folders.clone()));
    let refused = if operation.refused > 0 {
        store(call)?.operation_items(ask, true, 0, FIRST_REFUSED).await?
    } else {
        Vec::new()
    };
    let take_back = Act::TakeBack { of: operation.id };
    Reply::page(&OperationPage {
        frame: call.frame("/desk/operations"),
        row: row(&operation),
        path: path_of(operation.id),
        facts: facts(call, &operation)?,
        times: times(&operation),
        why: operation.why.as_deref().map(html::visible),
        progress: operation.next_place().saturating_mul(1_000) / operation.total.max(1),
        is_preview,
        is_preparing: operation.state == OperationState::Preparing,
        is_retry: operation.plan.act == Act::Retry,
        count_to_type: (operation.plan.act == Act::Delete).then_some(operation.total),
        groups: if is_unstarted { groups(call, &operation, &queues).await? } else { Vec::new() },
        others: count(preview.others),
        has_others: preview.others > 0,
        will_refuse: if is_unstarted { will_refuse(&operation) } else { Vec::new() },
        will_refuse_count: count(preview.refused_count),
        copies: copies(call, &operation).await?,
        loads: if is_unstarted { loads(call, &operation, &queues).await? } else { Vec::new() },
        samples: if is_unstarted { samples(call, &preview.samples, &queues).await? } else { Vec::new() },
        has_refused: !refused.is_empty(),
        refused: refused.iter().filter_map(refused_row).collect(),
        refused_filter: refused_filter(call, operation.id),
        filter_href: operation.filter.as_ref().map(|filter| format!("/desk/items?{filter}")),
        taken_back_by: operation.taken_back_by.map(|by| by.0),
        takes_back: match operation.plan.act {
            Act::TakeBack { of } => Some(of.0),
            _ => None,
        },
        may_start: is_preview && may_act,
        may_stop: operation.state.is_active() && may_act,
        may_resume: may_act
            && matches!(operation.state, OperationState::Stopped | OperationState::Holding)
            && operation.taken_back_by.is_none(),
        may_take_back: operation.done > 0 && may(&take_back) && operation.may_be_taken_back().is_ok(),
    })
}

/// What the operation does, and how far it is.
fn facts(call: &DeskCall, operation: &ItemOperation) -> Result<Vec<(&'static str, String)>, ApiError> {
    let mut facts = vec![("Items", count(operation.total))];
    if operation.started.is_some() {
        facts.push(("Done", count(operation.done)));
        facts.push(("Refused", count(operation.refused)));
        facts.push(("Left", count(operation.left())));
    }
    if let (Some(started), true) = (operation.started, operation.next_place() > 0) {
        let until = operation.ended.unwrap_or_else(|| call.now());
        let seconds = html::since(started, until).as_secs().max(1);
        facts.push(("Items a minute", count(operation.next_place().saturating_mul(60) / seconds)));
    }
    let plan = &operation.plan;
    facts.extend(plan.pace.map(|pace| ("Pace", format!("{} a minute", count(pace.into())))));
    facts.extend(plan.canary.map(|canary| {
        ("First", format!("{} items, which have {}", canary.first, html::duration(canary.within())))
    }));
    facts.extend(plan.comment.as_deref().map(|comment| ("Comment", html::visible(comment))));
    if let Act::Assign { reviewer: Some(reviewer), .. } = &plan.act {
        let user = call.directory()?.user(*reviewer);
        facts.push((
            "Reviewer",
            user.map_or_else(|| format!("user {reviewer}"), |user| html::line(&user.user_name, 60)),
        ));
    }
    Ok(facts)
}

/// What became of the copies of a retry.
async fn copies(call: &DeskCall, operation: &ItemOperation) -> Result<Vec<(Html, String)>, ApiError> {
    if operation.plan.act != Act::Retry || operation.done == 0 {
        return Ok(Vec::new());
    }
    let counted = store(call)?.count_copies(operation.id, Some(call.folders.clone())).await?;
    Ok(counted.into_iter().map(|(status, number)| (html::status(status), count(number))).collect())
}

fn times(operation: &ItemOperation) -> Vec<(&'static str, Html)> {
    let is_waiting = operation.state == OperationState::Waiting;
    let all: [(&'static str, Option<Timestamp>); 4] = [
        ("Started", operation.started),
        ("Waits until", operation.canary_until.filter(|_| is_waiting)),
        ("Next step", operation.due.filter(|_| !is_waiting && operation.plan.pace.is_some())),
        ("Ended", operation.ended),
    ];
    all.into_iter().filter_map(|(name, at)| Some((name, html::time(at?)))).collect()
}

/// The items of a preview by queue and reason.
async fn groups(
    call: &DeskCall,
    operation: &ItemOperation,
    queues: &[FolderQueue],
) -> Result<Vec<PreviewRow>, ApiError> {
    let mut rows = Vec::new();
    for group in &operation.preview.groups {
        let queue = queues.iter().find(|queue| Some(queue.queue.id.0) == group.queue_definition_id);
        let (mut text, mut href) = ("No reason".to_owned(), None);
        if let (Some(reason), Some(queue)) = (group.reason, queue) {
            let filter = ReasonFilter::default().id(reason);
            let found = reasons::find(call, std::slice::from_ref(queue), &filter).await?;
            href = found.first().map(|found| format!("/desk/reasons/{}", found.id));
            text = found.first().map_or(text, |found| html::line(&found.sample, 200));
        }
        let gone = || "Not found, or in a folder that you may not see".to_owned();
        let name = queue.map_or_else(gone, |queue| html::visible(&queue.queue.name));
        rows.push(PreviewRow { text, href, queue: name, count: count(group.count) });
    }
    Ok(rows)
}

/// What the copies of a retry would mean for their queues, as these are now.
async fn loads(
    call: &DeskCall,
    operation: &ItemOperation,
    queues: &[FolderQueue],
) -> Result<Vec<LoadRow>, ApiError> {
    let mut rows = Vec::new();
    let copies = if operation.plan.act == Act::Retry { &*operation.preview.queues } else { &[] };
    for PreviewQueue { queue_definition_id, count: copies, .. } in copies {
        let Some(queue) = queues.iter().find(|queue| queue.queue.id.0 == *queue_definition_id) else {
            continue;
        };
        let load = match read_queue_load(&call.store(queue.folder), &queue.queue, *copies, call.now()).await {
            Ok(load) => load,
            Err(error) if error.is_not_found() => continue, // deleted meanwhile
            Err(error) => return Err(error.into()),
        };
        let takes = match (load.takes(operation.plan.pace), load.per_minute) {
            (Some(takes), Some(pace)) => {
                format!("{} at {} a minute", html::duration(takes), deadlines::per_minute(pace))
            }
            _ if load.limits.paused => "not before the queue is resumed".to_owned(),
            _ => format!("not known: nothing has ended within {PACE_MINUTES} minutes"),
        };
        rows.push(LoadRow {
            queue: html::visible(&load.name),
            href: format!("/desk/queues/{queue_definition_id}"),
            copies: count(load.copies),
            would_wait: count(load.would_wait()),
            in_progress: count(load.in_progress),
            held_back_by: load.held_back_by().join("; "),
            takes,
        });
    }
    Ok(rows)
}

fn will_refuse(operation: &ItemOperation) -> Vec<PreviewRow> {
    let row = |refused: &performer_core::model::operation::PreviewRefusal| PreviewRow {
        text: format!("{} (code {})", html::line(&refused.message, 200), refused.code),
        href: Some(format!("/desk/items/{}", refused.sample)),
        queue: refused.sample.to_string(),
        count: count(refused.count),
    };
    operation.preview.refused.iter().map(row).collect()
}

/// The first items of a preview that the caller may look at.
async fn samples(call: &DeskCall, ids: &[ItemId], queues: &[FolderQueue]) -> Result<Vec<ItemRow>, ApiError> {
    let mut found: Vec<QueueItem> = Vec::new();
    for id in ids {
        for folder in call.folders.iter() {
            match call.store(*folder).get_queue_item(*id).await {
                Ok(item) => {
                    found.push(item);
                    break;
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    items::rows(call, &found, queues)
}

fn refused_row(item: &OperationItem) -> Option<RefusedRow> {
    let ItemResult::Refused(refusal) = &item.result else { return None };
    Some(RefusedRow {
        item: item.item.id.0,
        code: refusal.code().number(),
        why: html::visible(&refusal.to_string()),
    })
}

/// The items that an operation refused, as a list.
fn refused_filter(call: &DeskCall, id: OperationId) -> String {
    let mut query = ItemQuery::default();
    query.refused = Some(id.0);
    items::list_address(call, &query)
}

/// Where a part of the refused items begins.
fn from(call: &DeskCall) -> Result<u64, ApiError> {
    match call.query_value("from") {
        "" => Ok(0),
        text => text.parse().map_err(|_| ApiError::invalid(format!("from: {text:?} is no number."))),
    }
}

pub(super) async fn refused(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let ask = (operation.id, Some(call.folders.clone()));
    let mut found = store(call)?.operation_items(ask, true, from(call)?, ROWS + 1).await?;
    let next = found.get(ROWS).map(|first| first.place.to_string());
    found.truncate(ROWS);
    let path = path_of(operation.id);
    Reply::page(&RefusedPage {
        frame: call.frame("/desk/operations"),
        id: operation.id.0,
        count: count(operation.refused),
        rows: found.iter().filter_map(refused_row).collect(),
        refused_filter: refused_filter(call, operation.id),
        next: next.map(|next| html::address(&format!("{path}/refused"), &[("from", &next)])),
        path,
    })
}

/// All refused items as a file; there are at most as many as an operation has items.
pub(super) async fn refused_csv(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let (store, mut from) = (store(call)?, 0);
    let mut text = "Item,RowVersion,Code,Reason\r\n".to_owned();
    loop {
        let ask = (operation.id, Some(call.folders.clone()));
        let found = store.operation_items(ask, true, from, OPERATION_PAGE_LIMIT).await?;
        for item in &found {
            if let ItemResult::Refused(refusal) = &item.result {
                let (id, version) = (item.item.id.to_string(), item.item.row_version.to_string());
                let (code, why) = (refusal.code().number().to_string(), guarded(refusal.to_string()));
                text.push_str(&csv_line(',', [&*id, &*version, &*code, &*why].into_iter()));
            }
        }
        match found.last().filter(|_| found.len() == OPERATION_PAGE_LIMIT) {
            Some(last) => from = last.place + 1,
            None => break,
        }
    }
    let name = format!("operation-{}-refused.csv", operation.id);
    Ok(Reply::download("text/csv; charset=utf-8", &name, text.into_bytes()))
}
