//! What people do with items: review, assign, comment, edit, delete, and remove their content.
//!
//! A form names each item with the row version that its reader has seen. What has changed since is refused with code 1020, and the
//! page says which items were refused, and why. The transitions T16 to T24 are those of `docs/reference/lifecycle.md`.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::StatusCode;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::call::{DeskCall, FolderItem};
use super::frame::{Frame, note_cookie};
use super::html;
use super::item::may_review;
use super::items::version_text;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ItemEdit, Priority, QueueItem};
use performer_core::model::key::{FolderId, ItemId};
use performer_core::model::personal::{MASK, PersonalFields};
use performer_core::model::review::{FailedItems, ItemVersion, Person, validate_comment};
use performer_core::model::status::ReviewStatus;
use performer_core::model::{FieldEdit, Refusal};
use performer_core::orchestrator::ReviewAdministration as _;

/// The most items of one form.
const MAX_ITEMS_PER_FORM: usize = 100;

#[derive(Template)]
#[template(path = "refused.html")]
struct RefusedPage {
    frame: Frame,
    done: usize,
    refused: Vec<RefusedRow>,
    back: String,
}

/// An item for which an act was refused.
struct RefusedRow {
    id: i64,
    code: u16,
    reason: String,
    has_changed: bool,
}

/// The items of the form, by the folder in which the caller may do this.
async fn chosen(call: &DeskCall) -> Result<(BTreeMap<FolderId, Vec<ItemVersion>>, FailedItems), ApiError> {
    let versions: Vec<ItemVersion> = call.fields("item").map(version).collect::<Result<_, _>>()?;
    if versions.is_empty() {
        return Err(ApiError::invalid("No item is selected: select some, and repeat it."));
    }
    if versions.len() > MAX_ITEMS_PER_FORM {
        return Err(ApiError::invalid(format!(
            "{} items are selected, the limit is {MAX_ITEMS_PER_FORM}.",
            versions.len()
        )));
    }
    let (mut by_folder, mut refused) = (BTreeMap::<_, Vec<_>>::new(), Vec::new());
    let found = call.items_with_ids(versions.iter().map(|version| version.id).collect()).await?;
    for (version, found) in versions.into_iter().zip(found) {
        match found {
            Ok(found) => by_folder.entry(found.folder).or_default().push(version),
            Err(failure) => {
                let message = failure.message.trim_end_matches('.').to_owned();
                refused.push((version.id, Refusal::new(ErrorCode::new(failure.code), message)));
            }
        }
    }
    Ok((by_folder, FailedItems(refused)))
}

/// An item with its row version, as `42:7`.
pub(super) fn version(text: &str) -> Result<ItemVersion, ApiError> {
    let parts = text.split_once(':').and_then(|(id, version)| {
        Some(ItemVersion { id: ItemId(id.parse().ok()?), row_version: version.parse().ok()? })
    });
    parts.ok_or_else(|| ApiError::invalid(format!("item: {text:?} is no item with its row version.")))
}

/// The page behind an act: the one it came from, or the list of what was refused.
fn answer(call: &DeskCall, all: usize, refused: &FailedItems, note: &str) -> Result<Reply, ApiError> {
    let done = all - refused.len().min(all);
    if refused.is_empty() {
        return Ok(Reply::see_other(&call.back()).cookie(&note_cookie(note, done)));
    }
    let row = |(id, refusal): &(ItemId, Refusal)| RefusedRow {
        id: id.0,
        code: refusal.code().number(),
        reason: html::visible(&refusal.to_string()),
        has_changed: refusal.code() == ErrorCode::OPTIMISTIC_CONCURRENCY,
    };
    let page = RefusedPage {
        // The note of an earlier act is not about this one.
        frame: Frame { note: None, ..call.frame("/desk/items") },
        done,
        refused: refused.iter().map(row).collect(),
        back: call.back(),
    };
    Ok(Reply::page(&page)?.with_status(StatusCode::CONFLICT))
}

/// The comment of the form, if there is one.
///
/// # Errors
///
/// 400 for a comment that is too long, before anything is done.
fn comment_of(call: &DeskCall) -> Result<Option<(Person, String)>, ApiError> {
    let text = call.field("comment").trim();
    if text.is_empty() {
        return Ok(None);
    }
    validate_comment(text)?;
    Ok(Some((call.person()?, text.to_owned())))
}

/// T18 to T21: sets the review status; a retry adds a copy of each item.
pub(super) async fn review(call: &DeskCall) -> Result<Reply, ApiError> {
    let (to, note) = match call.field("to") {
        "verified" => (ReviewStatus::Verified, "verified"),
        "retried" => (ReviewStatus::Retried, "retried"),
        "in-review" => (ReviewStatus::InReview, "in-review"),
        "unreviewed" => (ReviewStatus::None, "unreviewed"),
        other => return Err(ApiError::invalid(format!("to: {other:?} is no review status."))),
    };
    let comment = comment_of(call)?;
    let (by_folder, mut refused) = chosen(call).await?;
    let mut all = refused.len();
    for (folder, items) in by_folder {
        all += items.len();
        refused.0.extend(call.source(folder).review_items(to, items, comment.clone()).await?.0);
    }
    answer(call, all, &refused, note)
}

/// T22: sets the reviewer, or clears it if the form says none.
pub(super) async fn assign(call: &DeskCall) -> Result<Reply, ApiError> {
    let reviewer = match call.field("reviewer") {
        "" | "none" => None,
        text => Some(
            text.parse::<i64>().map_err(|_| ApiError::invalid(format!("reviewer: {text:?} is no user.")))?,
        ),
    };
    let ((by_folder, mut refused), directory) = (chosen(call).await?, call.directory()?);
    let mut all = refused.len();
    for (folder, items) in by_folder {
        all += items.len();
        if reviewer.is_some_and(|user| !may_review(directory, user, folder)) {
            let refusal = Refusal::new(
                ErrorCode::REVIEWER_NOT_AVAILABLE,
                "this user may not review the items of the folder",
            );
            refused.0.extend(items.iter().map(|item| (item.id, refusal.clone())));
            continue;
        }
        refused.0.extend(call.store(folder).set_reviewer(reviewer, items).await?.0);
    }
    answer(call, all, &refused, if reviewer.is_some() { "assigned" } else { "unassigned" })
}

/// T17: deletes items.
pub(super) async fn delete(call: &DeskCall) -> Result<Reply, ApiError> {
    let (by_folder, mut refused) = chosen(call).await?;
    let mut all = refused.len();
    for (folder, items) in by_folder {
        all += items.len();
        refused.0.extend(call.source(folder).delete_queue_items(items).await?.0);
    }
    answer(call, all, &refused, "deleted")
}

/// Refuses a form whose reader has not seen the item as it is now.
fn check_version(call: &DeskCall, item: &QueueItem) -> Result<(), ApiError> {
    if call.field("item") == version_text(item) {
        return Ok(());
    }
    let message = format!("item {} has changed since the page was opened; nothing was done", item.id);
    Err(Refusal::new(ErrorCode::OPTIMISTIC_CONCURRENCY, message).into())
}

/// T24: removes the content of an item that has ended.
pub(super) async fn purge(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    check_version(call, &found.item)?;
    call.store(found.folder).purge_content_of(seen(&found.item)).await?;
    Ok(Reply::see_other(&item_address(&found.item)).cookie(&note_cookie("purged", 1)))
}

/// The item as the reader of the form has seen it: its version is compared again in the transaction of the change.
fn seen(item: &QueueItem) -> ItemVersion {
    ItemVersion { id: item.id, row_version: item.row_version }
}

fn item_address(item: &QueueItem) -> String {
    format!("/desk/items/{}", item.id)
}

#[derive(Template)]
#[template(path = "edit.html")]
struct EditPage {
    frame: Frame,
    id: i64,
    /// Whether the item is retried with what the form says, as a copy; else the item itself is changed.
    is_correction: bool,
    version: String,
    priorities: Vec<(&'static str, bool)>,
    due_date: String,
    defer_date: String,
    content: String,
    schema: Option<String>,
    is_editable: bool,
    /// What stands in the place of personal values in the content, if there is one.
    mask: Option<&'static str>,
}

pub(super) async fn edit_page(call: &DeskCall) -> Result<Reply, ApiError> {
    form_of_item(call, false).await
}

pub(super) async fn correct_page(call: &DeskCall) -> Result<Reply, ApiError> {
    form_of_item(call, true).await
}

async fn form_of_item(call: &DeskCall, is_correction: bool) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let item = &found.item;
    let queue = call.queue_with_id(item.queue_id).await?.queue;
    let time =
        |at: Option<Timestamp>| at.map(|at| at.strftime("%Y-%m-%dT%H:%M:%S").to_string()).unwrap_or_default();
    Reply::page(&EditPage {
        frame: call.frame("/desk/items"),
        id: item.id.0,
        is_correction,
        version: version_text(item),
        priorities: Priority::ALL.iter().map(|known| (known.name(), *known == item.priority)).collect(),
        due_date: time(item.due_date),
        defer_date: time(item.defer_date),
        content: item.specific_content.as_json().to_owned(),
        schema: queue.schemas.specific_data.as_deref().map(html::visible),
        is_editable: if is_correction {
            item.may_be_reviewed_as(ReviewStatus::Retried)
        } else {
            item.status.is_editable()
        },
        mask: (!PersonalFields::of(&queue.schemas).names(item).is_empty()).then_some(MASK),
    })
}

/// T16: changes an item that is New.
pub(super) async fn edit(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let edit = edit_of(call, &found).await?.row_version(found.item.row_version);
    call.source(found.folder).edit_queue_item(found.item.id, edit).await?;
    Ok(Reply::see_other(&item_address(&found.item)).cookie(&note_cookie("edited", 1)))
}

/// T21 and T16: has the item retried with what the form says. Leads to the copy.
pub(super) async fn correct(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let edit = edit_of(call, &found).await?;
    let copy = call.store(found.folder).correct_and_retry(seen(&found.item), edit).await?;
    Ok(Reply::see_other(&item_address(&copy)).cookie(&note_cookie("corrected", 1)))
}

/// What the form changes of the item. What it leaves stays as it is, so that a due date keeps its microseconds, and a masked field its
/// value.
async fn edit_of(call: &DeskCall, found: &FolderItem) -> Result<ItemEdit, ApiError> {
    check_version(call, &found.item)?;
    let queue = call.queue_with_id(found.item.queue_id).await?.queue;
    let item = call.whole_item(found).await?;
    check_version(call, &item)?;
    let priority: Priority = call
        .field("priority")
        .parse()
        .map_err(|_| ApiError::invalid(format!("priority: {:?} is no priority.", call.field("priority"))))?;
    let content =
        PersonalFields::of(&queue.schemas).restore(&item.specific_content, call.field("content"))?;
    Ok(ItemEdit::default()
        .priority(Some(priority).filter(|priority| *priority != item.priority))
        .due_date(changed_time(call, "due", item.due_date)?)
        .defer_date(changed_time(call, "defer", item.defer_date)?)
        .specific_content(Some(content).filter(|content| *content != item.specific_content)))
}

/// A time of the form, in UTC; what is the same to the second as before is kept.
fn changed_time(
    call: &DeskCall,
    name: &str,
    before: Option<Timestamp>,
) -> Result<FieldEdit<Timestamp>, ApiError> {
    let text = call.field(name).trim();
    if text.is_empty() {
        return Ok(if before.is_none() { FieldEdit::Keep } else { FieldEdit::Clear });
    }
    let wrong = || ApiError::invalid(format!("{name}: {text:?} is not a time such as 2026-11-30T08:00."));
    let civil: DateTime = text.parse().map_err(|_| wrong())?;
    let at = TimeZone::UTC.to_timestamp(civil).map_err(|_| wrong())?;
    let is_same = before.is_some_and(|before| before.as_second() == at.as_second());
    Ok(if is_same { FieldEdit::Keep } else { FieldEdit::Set(at) })
}

pub(super) async fn comment(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let text = call.field("comment").trim().to_owned();
    call.source(found.folder).add_comment(found.item.id, call.person()?, text).await?;
    Ok(Reply::see_other(&item_address(&found.item)).cookie(&note_cookie("commented", 1)))
}

/// Changes a comment, or deletes it if the form says so. Only its author may.
pub(super) async fn edit_comment(call: &DeskCall) -> Result<Reply, ApiError> {
    let (found, id) = (call.item().await?, call.number(1)?);
    let store = call.source(found.folder);
    let comments = store.comments(found.item.id).await?;
    let Some(shown) = comments.iter().find(|comment| comment.id == id) else {
        return Err(ApiError::not_found(format!("Item {} has no comment {id}.", found.item.id)));
    };
    let (text, note) = match call.field("act") {
        "delete" => (None, "comment-deleted"),
        // What the mask stands for would be lost.
        "edit" if shown.text.contains(MASK) && call.field("comment").contains(MASK) => {
            return Err(ApiError::invalid(format!(
                "The comment has the mask {MASK} in the place of a personal value: write it without."
            )));
        }
        "edit" => (Some(call.field("comment").trim().to_owned()), "comment-edited"),
        other => return Err(ApiError::invalid(format!("act: {other:?} is not edit or delete."))),
    };
    store.edit_comment(id, call.person()?, text).await?;
    Ok(Reply::see_other(&item_address(&found.item)).cookie(&note_cookie(note, 1)))
}
