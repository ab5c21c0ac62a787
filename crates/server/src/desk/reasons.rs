//! Groups of failures by their reason.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;
use jiff::Timestamp;

use super::call::{DeskCall, FolderQueue};
use super::frame::{Frame, note_cookie};
use super::html::{self, Html};
use super::item::{may_review, reviewers_of};
use super::items::{self, Choice, ItemRow};
use super::reply::Reply;
use super::routes::NOTE;
use crate::api_error::ApiError;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::reason::{Reason, ReasonCursor, ReasonEdit, ReasonFilter, ReasonOrder};
use performer_core::model::{FieldEdit, Refusal};
use performer_core::orchestrator::ReviewAdministration as _;

/// How many groups a page has.
const ROWS: usize = 50;
/// How long a group is called new.
const NEW: Duration = Duration::from_secs(24 * 60 * 60);

/// A group.
pub(super) struct ReasonRow {
    pub(super) href: String,
    pub(super) queue: String,
    pub(super) queue_href: String,
    pub(super) kind: Html,
    pub(super) fingerprint: String,
    pub(super) sample: String,
    pub(super) first: Html,
    pub(super) last: Html,
    pub(super) is_new: bool,
    pub(super) total: String,
    pub(super) open: String,
    pub(super) has_open: bool,
    /// What people know about it.
    pub(super) note: Option<String>,
    /// As it was written, for a form.
    pub(super) written_note: String,
    /// The items that have to be reviewed.
    pub(super) open_href: String,
    /// All attempts that failed so.
    pub(super) all_href: String,
    /// A new operation on those that have to be reviewed.
    pub(super) operation_href: String,
}

#[derive(Template)]
#[template(path = "reasons.html")]
struct ReasonsPage {
    frame: Frame,
    rows: Vec<ReasonRow>,
    by_last_seen: bool,
    open_only: bool,
    folder: Option<FolderId>,
    next: Option<String>,
    is_continued: bool,
}

#[derive(Template)]
#[template(path = "reason.html")]
struct ReasonPage {
    frame: Frame,
    row: ReasonRow,
    items: Vec<ItemRow>,
    id: i64,
    owner: Option<String>,
    owners: Vec<Choice>,
    owner_id: String,
    may_edit: bool,
}

/// Groups of these queues, in the order of the filter.
pub(super) async fn find(
    call: &DeskCall,
    queues: &[FolderQueue],
    filter: &ReasonFilter,
) -> Result<Vec<Reason>, ApiError> {
    let mut by_folder: BTreeMap<FolderId, Vec<&str>> = BTreeMap::new();
    for queue in queues {
        by_folder.entry(queue.folder).or_default().push(&queue.queue.name);
    }
    let mut all = Vec::new();
    for (folder, names) in by_folder {
        all.extend(call.store(folder).list_reasons(filter.clone().queues(names)).await?);
    }
    all.sort_by_key(|reason| {
        let place = ReasonCursor::behind(reason, filter.order);
        Reverse((place.key, place.id))
    });
    all.truncate(filter.top);
    Ok(all)
}

/// A group is called new if it was first seen at this time or later.
pub(super) fn new_from(call: &DeskCall) -> Timestamp {
    call.now().checked_sub(NEW).unwrap_or(Timestamp::MIN)
}

/// A group as a row.
pub(super) fn row(call: &DeskCall, reason: &Reason, queues: &[FolderQueue]) -> ReasonRow {
    let queue = queues.iter().find(|queue| queue.queue.id == reason.queue);
    let mut query = ItemQuery::default();
    query.reason = Some(reason.id);
    let all_href = items::list_address(call, &query);
    let query = query.open();
    ReasonRow {
        href: format!("/desk/reasons/{}", reason.id),
        queue: queue.map(|queue| html::visible(&queue.queue.name)).unwrap_or_default(),
        queue_href: format!("/desk/queues/{}", reason.queue),
        kind: html::exception(reason.exception_type),
        fingerprint: if reason.fingerprint.is_empty() {
            "Failures beyond the groups that are kept of a queue".to_owned()
        } else {
            html::line(&reason.fingerprint, 200)
        },
        sample: html::visible(&reason.sample),
        first: html::time(reason.first_seen),
        last: html::time(reason.last_seen),
        is_new: reason.first_seen >= new_from(call),
        total: html::number(reason.total),
        open: html::number(reason.open),
        has_open: reason.open > 0,
        note: reason.note.as_deref().map(html::visible),
        written_note: reason.note.clone().unwrap_or_default(),
        open_href: items::list_address(call, &query),
        operation_href: items::address(call, items::NEW_OPERATION, &query),
        all_href,
    }
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let by_last_seen = match call.query_value("order") {
        "" | "open" => false,
        "last" => true,
        other => return Err(ApiError::invalid(format!("order: {other:?} is not open or last."))),
    };
    let order = if by_last_seen { ReasonOrder::LastSeen } else { ReasonOrder::MostOpen };
    let open_only = call.query_value("open") == "1";
    let after = cursor(call.query_value("after"))?;
    let queues = call.queues().await?;
    let filter = ReasonFilter::default().order(order).open_only(open_only).top(ROWS).after(after);
    let found = find(call, &queues, &filter).await?;
    let last = found.last().filter(|_| found.len() == ROWS).map(|last| ReasonCursor::behind(last, order));
    let next = last.map(|last| {
        let (folder, after) = (call.folder.map(|id| id.to_string()), format!("{},{}", last.key, last.id));
        let mut pairs = vec![("order", if by_last_seen { "last" } else { "open" }), ("after", &*after)];
        pairs.extend(open_only.then_some(("open", "1")));
        pairs.extend(folder.as_deref().map(|folder| ("folder", folder)));
        html::address("/desk/reasons", &pairs)
    });
    Reply::page(&ReasonsPage {
        frame: call.frame("/desk/reasons"),
        rows: found.iter().map(|reason| row(call, reason, &queues)).collect(),
        by_last_seen,
        open_only,
        folder: call.folder,
        next,
        is_continued: after.is_some(),
    })
}

/// The position behind a group, as `open,id` or `microsecond,id`.
fn cursor(text: &str) -> Result<Option<ReasonCursor>, ApiError> {
    if text.is_empty() {
        return Ok(None);
    }
    let parts = text.split_once(',').and_then(|(key, id)| Some((key.parse().ok()?, id.parse().ok()?)));
    let (key, id) =
        parts.ok_or_else(|| ApiError::invalid(format!("after: {text:?} is no place in the list.")))?;
    Ok(Some(ReasonCursor { key, id }))
}

/// The group of the path, and its folder.
async fn group(call: &DeskCall, queues: &[FolderQueue]) -> Result<(Reason, FolderId), ApiError> {
    let id = call.number(0)?;
    let found = find(call, queues, &ReasonFilter::default().id(id).top(1)).await?;
    let missing = || ApiError::not_found(format!("There is no reason with the number {id}."));
    let reason = found.into_iter().next().ok_or_else(missing)?;
    let queue = queues.iter().find(|queue| queue.queue.id == reason.queue).ok_or_else(missing)?;
    Ok((reason, queue.folder))
}

/// Changes the note and the owner of a group; an empty field removes it.
pub(super) async fn edit(call: &DeskCall) -> Result<Reply, ApiError> {
    let queues = call.queues().await?;
    let (reason, folder) = group(call, &queues).await?;
    let text = |name| Some(call.field(name).trim()).filter(|text| !text.is_empty());
    let owner = text("owner").map(|id| {
        id.parse().map_err(|_| ApiError::invalid(format!("owner: {id:?} is not the number of a user.")))
    });
    let owner = owner.transpose()?;
    if owner != reason.owner
        && let Some(owner) = owner
        && !may_review(call.directory()?, owner, folder)
    {
        let message = "this user may not review the items of the folder";
        return Err(Refusal::new(ErrorCode::REVIEWER_NOT_AVAILABLE, message).into());
    }
    // A field that its writer left stays as it is, whatever another one has made of it meanwhile.
    let note = text("note").map(str::to_owned);
    let seen = Some(call.field("seen-note").trim()).filter(|text| !text.is_empty());
    let seen_owner = text("seen-owner").and_then(|id| id.parse::<i64>().ok());
    let mut edit = ReasonEdit::default();
    if note.as_deref() != seen {
        edit = edit.note(FieldEdit::to(note));
    }
    if owner != seen_owner {
        edit = edit.owner(FieldEdit::to(owner));
    }
    call.store(folder).edit_reason(reason.id, edit).await?;
    Ok(Reply::see_other(&format!("/desk/reasons/{}", reason.id)).cookie(&note_cookie("noted", 0)))
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let queues = call.queues().await?;
    let (reason, folder) = group(call, &queues).await?;
    let owner = reason.owner.map(|id| {
        let user = call.directory().ok().and_then(|directory| directory.user(id));
        user.map_or_else(|| format!("user {id}"), |user| html::visible(&user.user_name))
    });
    let reason = &reason;
    let newest = Page::first(20).descending(true).count_limit(0);
    let (items, _) = items::read(call, ItemFilter::default().reason(reason.id), newest).await?;
    Reply::page(&ReasonPage {
        frame: call.frame("/desk/reasons"),
        row: row(call, reason, &queues),
        items: items::rows(call, &items, &queues)?,
        id: reason.id,
        owner,
        owners: owners(call, folder, reason.owner)?,
        owner_id: reason.owner.map(|id| id.to_string()).unwrap_or_default(),
        may_edit: call.may(folder, NOTE),
    })
}

/// Who may be the owner of a group: those who may review, and who it is now.
fn owners(call: &DeskCall, folder: FolderId, now: Option<i64>) -> Result<Vec<Choice>, ApiError> {
    let mut all = reviewers_of(call, folder, now)?;
    if let Some(id) = now
        && !all.iter().any(|choice| choice.is_chosen)
    {
        let user = call.directory()?.user(id);
        let text = user.map_or_else(|| format!("user {id}"), |user| html::line(&user.user_name, 60));
        all.push(Choice { value: id.to_string(), text, is_chosen: true });
    }
    Ok(all)
}
