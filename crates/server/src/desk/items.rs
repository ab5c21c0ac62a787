//! The list of items, by the filters that the command line has too.

use std::collections::HashMap;

use askama::Template;

use super::call::{DeskCall, FolderQueue};
use super::events::NEWEST;
use super::frame::{EVENTS, Frame};
use super::html::{self, Html};
use super::item::reviewers;
use super::live;
use super::queues::{self, Count};
use super::reply::Reply;
use super::routes::{REMOVE, REVIEW};
use super::views::ViewsPart;
use crate::api_error::ApiError;
use performer_core::model::cursor::PageCursor;
use performer_core::model::exception::ExceptionType;
use performer_core::model::item::{ItemFilter, Page, Priority, QueueItem};
use performer_core::model::item_query::{ItemQuery, list_value};
use performer_core::model::key::FolderId;
use performer_core::model::list::COUNT_LIMIT;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::{ReviewStatus, Status};
use performer_core::model::view::{self, COLUMNS, VIEW_COLUMNS};

/// How many items a page has.
const ROWS: usize = 50;

/// An item in a list.
pub(super) struct ItemRow {
    pub(super) id: i64,
    /// The item and its row version, as forms send them.
    pub(super) version: String,
    pub(super) href: String,
    pub(super) queue: String,
    pub(super) queue_href: String,
    pub(super) status: Html,
    pub(super) review: Html,
    pub(super) reviewer: String,
    pub(super) reference: String,
    pub(super) priority: &'static str,
    pub(super) created: Html,
    pub(super) ended: Html,
    pub(super) kind: Option<Html>,
    pub(super) reason: String,
}

/// A value to choose in the form of filters.
pub(super) struct Choice {
    pub(super) value: String,
    pub(super) text: String,
    pub(super) is_chosen: bool,
}

#[derive(Template)]
#[template(path = "items.html")]
struct ItemsPage {
    frame: Frame,
    rows: Vec<ItemRow>,
    count: String,
    facets: Vec<Count>,
    /// The filter in one line.
    filter: String,
    folder: Option<FolderId>,
    queue_names: Vec<String>,
    statuses: Vec<Choice>,
    reviews: Vec<Choice>,
    priorities: Vec<Choice>,
    types: Vec<Choice>,
    sorts: Vec<Choice>,
    reviewers: Vec<Choice>,
    fields: HashMap<&'static str, String>,
    csv: String,
    json: String,
    /// A new operation on all items that match.
    operation: String,
    views: ViewsPart,
    columns: Vec<Choice>,
    /// The classes by which columns are hidden.
    hidden_columns: String,
    next: Option<String>,
    first: Option<String>,
    may_review: bool,
    may_delete: bool,
}

impl ItemsPage {
    /// What a field of the form has now.
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map(String::as_str).unwrap_or_default()
    }
}

/// The address of a list, in the folder of the call.
pub(super) fn list_address(call: &DeskCall, query: &ItemQuery) -> String {
    address(call, LIST, query)
}

/// The path of the list.
pub(super) const LIST: &str = "/desk/items";

/// The page of a new operation.
pub(super) const NEW_OPERATION: &str = "/desk/operations/new";

pub(super) fn address(call: &DeskCall, path: &str, query: &ItemQuery) -> String {
    let folder = call.folder.map(|folder| format!("folder={folder}"));
    let query = Some(query.to_string()).filter(|query| !query.is_empty());
    // From one list to another the columns stay.
    let is_list = path == LIST && call.route.path == LIST;
    let columns = columns_of(call).ok().filter(|_| is_list).and_then(|columns| columns_text(&columns));
    let columns = columns.map(|columns| format!("{COLUMNS}={columns}"));
    let parts: Vec<String> = query.into_iter().chain(columns).chain(folder).collect();
    if parts.is_empty() { path.to_owned() } else { format!("{path}?{}", parts.join("&")) }
}

/// The columns that the address names.
///
/// # Errors
///
/// 400 for an unknown column.
fn columns_of(call: &DeskCall) -> Result<Vec<&'static str>, ApiError> {
    let named = call.query.iter().filter(|(name, _)| name == COLUMNS);
    Ok(view::columns(named.map(|(_, value)| value.as_str()))?)
}

/// The columns as a part of the address; nothing if all are shown.
fn columns_text(columns: &[&str]) -> Option<String> {
    (columns.len() < VIEW_COLUMNS.len()).then(|| columns.join(","))
}

/// The filters of the address.
///
/// # Errors
///
/// 400 with the name of an unknown filter, or of one whose value cannot be read.
pub(super) fn query_of(call: &DeskCall) -> Result<ItemQuery, ApiError> {
    let pairs = call.query.iter().filter(|(name, _)| name != "folder" && name != COLUMNS);
    Ok(ItemQuery::parse(pairs.map(|(name, value)| (name.as_str(), value.as_str())))?)
}

/// The filter of a query, among these queues.
///
/// # Errors
///
/// 404 for a queue that is not among them.
pub(super) fn filter(
    call: &DeskCall,
    query: &ItemQuery,
    queues: &[FolderQueue],
) -> Result<ItemFilter, ApiError> {
    let id_of = |name: &str| {
        let name = name.to_lowercase();
        queues.iter().find(|queue| queue.queue.name.to_lowercase() == name).map(|queue| queue.queue.id)
    };
    let unknown: Vec<String> =
        query.queues.iter().filter(|name| id_of(name).is_none()).map(|name| format!("{name:?}")).collect();
    if !unknown.is_empty() {
        return Err(ApiError::not_found(format!("There is no queue {}.", unknown.join(", "))));
    }
    Ok(query.filter(call.now(), id_of)?)
}

/// A page of the items in the folders of the call, and how many match, if that is counted.
pub(super) async fn read(
    call: &DeskCall,
    filter: ItemFilter,
    page: Page,
) -> Result<(Vec<QueueItem>, Option<u64>), ApiError> {
    let Some(first) = call.folders.first() else { return Ok((Vec::new(), Some(0))) };
    Ok(call.source(*first).items_in_folders(call.folders.clone(), filter, page).await?)
}

/// Items as rows.
pub(super) fn rows(
    call: &DeskCall,
    items: &[QueueItem],
    queues: &[FolderQueue],
) -> Result<Vec<ItemRow>, ApiError> {
    let directory = call.directory()?;
    let row = |item: &QueueItem| {
        let queue = queues.iter().find(|queue| queue.queue.id == item.queue_id);
        let reviewer = item.reviewer_user_id.and_then(|id| directory.user(id));
        let exception = item.processing_exception.as_ref();
        ItemRow {
            id: item.id.0,
            version: version_text(item),
            href: format!("/desk/items/{}", item.id),
            queue: queue.map(|queue| html::visible(&queue.queue.name)).unwrap_or_default(),
            queue_href: format!("/desk/queues/{}", item.queue_id),
            status: html::status(item.status),
            review: html::review(item.review_status),
            reviewer: reviewer.map(|user| html::line(&user.user_name, 60)).unwrap_or_default(),
            reference: item.reference.as_deref().map(|text| html::line(text, 128)).unwrap_or_default(),
            priority: item.priority.name(),
            created: html::time(item.creation_time),
            ended: html::optional_time(item.end_processing),
            kind: exception.map(|exception| html::exception(exception.exception_type)),
            reason: exception.map(|exception| html::line(&exception.reason, 120)).unwrap_or_default(),
        }
    };
    Ok(items.iter().map(row).collect())
}

/// An item and the version that a reader has seen.
pub(super) fn version_text(item: &QueueItem) -> String {
    format!("{}:{}", item.id, item.row_version)
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (query, shown_columns) = (query_of(call)?, columns_of(call)?);
    let statistics = queues::with_statistics(call).await?;
    let queues: Vec<FolderQueue> = statistics.iter().map(|(queue, _)| queue.clone()).collect();
    let filter = filter(call, &query, &queues)?;
    let wanted = query.page(ROWS + 1).count_limit(COUNT_LIMIT);
    let (mut items, count) = read(call, filter.clone(), wanted).await?;
    let has_more = items.len() > ROWS;
    items.truncate(ROWS);
    let last = items.last().filter(|_| has_more);
    let next = last.map(|last| {
        let mut query = query.clone();
        query.after = Some(PageCursor::behind(last, &filter.order));
        list_address(call, &query)
    });
    let whole = query.clone().from_beginning();
    let mut frame = call.frame("/desk/items");
    // In any other order, and behind the first page, new items do not come first.
    let newest = items.first().map_or(0, |item| item.id.0);
    if query.sort.is_none() && query.after.is_none() && !frame.events.is_empty() {
        let address = address(call, EVENTS, &whole);
        let mark = if address.contains('?') { '&' } else { '?' };
        frame.events = format!("{address}{mark}{NEWEST}={newest}");
    }
    Reply::page(&ItemsPage {
        frame,
        rows: rows(call, &items, &queues)?,
        count: count_text(count.unwrap_or_default()),
        facets: facets(call, &whole, &statistics),
        filter: html::visible(&shown(&whole)),
        folder: call.folder,
        queue_names: queues.iter().map(|queue| list_value(&queue.queue.name)).collect(),
        statuses: choices(Status::ALL.iter().map(|known| known.name()), |name| {
            query.status.iter().any(|status| status.name() == name)
        }),
        reviews: choices(ReviewStatus::ALL.iter().map(|known| known.name()), |name| {
            query.review.iter().any(|review| review.name() == name)
        }),
        priorities: choices(Priority::ALL.iter().map(|known| known.name()), |name| {
            query.priority.iter().any(|priority| priority.name() == name)
        }),
        types: choices(["Application", "Business"].into_iter(), |name| {
            query.exception_type.is_some_and(|kind: ExceptionType| kind.name().starts_with(name))
        }),
        sorts: sorts(&query),
        reviewers: reviewers(call)?,
        fields: whole.pairs().into_iter().collect(),
        csv: address(call, "/desk/items.csv", &whole),
        json: address(call, "/desk/items.json", &whole),
        operation: address(call, NEW_OPERATION, &whole),
        views: ViewsPart::of(call, &whole, columns_text(&shown_columns)).await?,
        columns: choices(VIEW_COLUMNS.into_iter(), |name| shown_columns.contains(&name)),
        hidden_columns: hidden_classes(&shown_columns),
        next,
        first: query.after.is_some().then(|| list_address(call, &whole)),
        may_review: call.folders.iter().any(|folder| call.may(*folder, REVIEW)),
        may_delete: call.folders.iter().any(|folder| call.may(*folder, REMOVE)),
    })
}

fn hidden_classes(shown: &[&str]) -> String {
    let hidden = VIEW_COLUMNS.iter().filter(|name| !shown.contains(name));
    hidden.map(|name| format!(" hide-{name}")).collect()
}

/// A count of a list, which is made up to [`COUNT_LIMIT`]; by queue and status alone it is exact, whatever it is.
pub(super) fn count_text(count: u64) -> String {
    let text = html::number(i64::try_from(count).unwrap_or(i64::MAX));
    if count == COUNT_LIMIT { text + "+" } else { text }
}

/// The filter as a person would write it.
fn shown(query: &ItemQuery) -> String {
    let pairs = query.pairs();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}

fn choices<'a>(names: impl Iterator<Item = &'a str>, is_chosen: impl Fn(&str) -> bool) -> Vec<Choice> {
    let choice =
        |name: &str| Choice { value: name.to_owned(), text: name.to_owned(), is_chosen: is_chosen(name) };
    names.map(choice).collect()
}

fn sorts(query: &ItemQuery) -> Vec<Choice> {
    let chosen = query.pairs().into_iter().find(|(name, _)| *name == "sort").map(|(_, value)| value);
    let all = [
        ("", "Newest first"),
        ("id", "Oldest first"),
        ("-ended", "Ended last"),
        ("ended", "Ended first"),
        ("due", "Due first"),
        ("priority", "Priority"),
        ("ref", "Reference"),
    ];
    all.into_iter()
        .map(|(value, text)| Choice {
            value: value.to_owned(),
            text: text.to_owned(),
            is_chosen: chosen.as_deref().unwrap_or_default() == value,
        })
        .collect()
}

/// How many items of the chosen queues have each status, whatever else is asked for.
fn facets(call: &DeskCall, query: &ItemQuery, all: &[(FolderQueue, QueueStatistics)]) -> Vec<Count> {
    let is_chosen = |queue: &FolderQueue| {
        let name = queue.queue.name.to_lowercase();
        query.queues.is_empty() || query.queues.iter().any(|wanted| wanted.to_lowercase() == name)
    };
    let chosen: Vec<_> = all.iter().filter(|(queue, _)| is_chosen(queue)).collect();
    let mut sum = QueueStatistics::default();
    chosen.iter().for_each(|(_, statistics)| sum.add(statistics));
    let live = |status| match (&*chosen, query.queues.is_empty()) {
        (_, true) => live::name(None, status),
        ([(queue, _)], _) => live::name(Some(queue.queue.id), status),
        _ => String::new(),
    };
    let known = call.source(FolderId::SHARED).counted_statuses();
    let facet = |status: &Status| {
        let mut of_status = query.clone();
        of_status.status = vec![*status];
        let (number, is_known) = (sum.with_status(*status), known.contains(status));
        Count {
            status: html::status(*status),
            name: status.name(),
            count: if is_known { html::number(number) } else { queues::UNKNOWN.to_owned() },
            is_zero: number == 0,
            href: list_address(call, &of_status),
            is_current: query.status == [*status],
            live: live(*status),
        }
    };
    Status::ALL.iter().map(facet).collect()
}
