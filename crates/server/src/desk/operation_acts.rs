//! What people do with operations: choose, preview, start, stop, resume, take back.
//!
//! A form on rows, or on all items that match, leads to a frozen preview. What a caller may do is decided by the act: it needs the
//! permissions of the same act on one item, in each folder of its items.

use std::sync::Arc;

use askama::Template;

use super::call::DeskCall;
use super::frame::{Frame, note_cookie};
use super::html;
use super::item_acts::version;
use super::items::{self, Choice};
use super::operations::{find, path_of, store};
use super::reply::Reply;
use super::routes::{CHANGE, REMOVE, REVIEW};
use crate::api_error::ApiError;
use crate::operation_rights::{OperationRights, denied, note_reviewer};
use crate::permission::Permission;
use performer_core::model::item::Page;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::key::FolderId;
use performer_core::model::list::COUNT_LIMIT;
use performer_core::model::operation::{Act, Canary, MAX_ITEMS, OperationState, Plan};
use performer_core::model::review::ItemVersion;
use performer_store::OperationItems;

/// The most rows of a form.
const MAX_ROWS: usize = 100;

/// The acts of the form, with the permissions that each needs.
const ACTS: [(&str, &str, &[Permission]); 7] = [
    ("retry", "Retry: a copy of each is New", REVIEW),
    ("verified", "Set to Verified", REVIEW),
    ("in-review", "Set to InReview", REVIEW),
    ("assign", "Assign the reviewer", REVIEW),
    ("comment", "Only comment", REVIEW),
    ("delete", "Delete", REMOVE),
    ("purge", "Remove the content", CHANGE),
];

#[derive(Template)]
#[template(path = "operation_new.html")]
struct NewPage {
    frame: Frame,
    /// The filter, or empty for selected rows.
    filter: String,
    filter_text: String,
    rows: Vec<String>,
    count: String,
    is_empty: bool,
    acts: Vec<(&'static str, &'static str, bool)>,
    reviewers: Vec<Choice>,
    comment: String,
    back: String,
    /// Where the form goes: with the folder, if the address names one.
    action: String,
    most: String,
}

/// The form of a new operation, for the rows in the address or for all items that match its filter.
pub(super) async fn new_page(call: &DeskCall) -> Result<Reply, ApiError> {
    // Fields of the form with the rows, beside the filters.
    const FIELDS: [&str; 6] = ["folder", "rows", "item", "back", "comment", "act"];
    let rows: Vec<String> =
        call.query.iter().filter(|(name, _)| name == "item").map(|(_, row)| row.clone()).collect();
    rows_of(rows.iter().map(String::as_str))?;
    if rows.is_empty() && call.query_value("rows") == "1" {
        return Err(ApiError::invalid("No item is selected: select some, and repeat it."));
    }
    let pairs = call.query.iter().filter(|(name, _)| {
        let is_of_rows = !rows.is_empty() && name == "reviewer";
        !FIELDS.contains(&name.as_str()) && !is_of_rows
    });
    let query =
        ItemQuery::parse(pairs.map(|(name, value)| (name.as_str(), value.as_str())))?.from_beginning();
    let count = if rows.is_empty() {
        let queues = call.queues().await?;
        let filter = items::filter(call, &query, &queues)?;
        let page = Page::first(1).count_limit(COUNT_LIMIT);
        items::read(call, filter, page).await?.1.unwrap_or_default()
    } else {
        rows.len() as u64
    };
    let wanted = call.query_value("act");
    let may = |permissions: &[Permission]| call.folders.iter().any(|folder| call.may(*folder, permissions));
    let acts: Vec<_> = ACTS
        .into_iter()
        .filter(|(.., permissions)| may(permissions))
        .map(|(value, text, _)| (value, text, value == wanted || wanted.is_empty() && value == "retry"))
        .collect();
    let filter = if rows.is_empty() { query.to_string() } else { String::new() };
    let back = if rows.is_empty() { items::list_address(call, &query) } else { "/desk/items".to_owned() };
    Reply::page(&NewPage {
        frame: call.frame("/desk/operations"),
        filter_text: html::visible(&filter),
        filter,
        rows,
        count: items::count_text(count),
        is_empty: count == 0,
        acts,
        reviewers: super::item::reviewers(call)?,
        comment: call.query_value("comment").chars().take(512).collect(),
        back,
        action: call.in_folder("/desk/operations"),
        most: html::number(i64::try_from(MAX_ITEMS).unwrap_or(i64::MAX)),
    })
}

fn rows_of<'a>(rows: impl Iterator<Item = &'a str>) -> Result<Vec<ItemVersion>, ApiError> {
    let rows: Vec<ItemVersion> = rows.map(version).collect::<Result<_, _>>()?;
    if rows.len() > MAX_ROWS {
        let message = format!("{} rows are selected, the limit is {MAX_ROWS}.", rows.len());
        return Err(ApiError::invalid(message));
    }
    Ok(rows)
}

/// Makes the preview of an operation.
pub(super) async fn create(call: &DeskCall) -> Result<Reply, ApiError> {
    let rights = rights(call);
    if [REVIEW, REMOVE, CHANGE].iter().all(|needed| rights.folders_with(needed).is_empty()) {
        return Err(denied(REVIEW));
    }
    let (mut plan, folders) = plan(call)?;
    note_reviewer(&mut plan.act, call.directory()?, &folders);
    let rows = rows_of(call.fields("item"))?;
    let (which, filter) = if rows.is_empty() {
        let pairs: Vec<(String, String)> =
            form_urlencoded::parse(call.field("filter").as_bytes()).into_owned().collect();
        let pairs = pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let query = ItemQuery::parse(pairs)?.from_beginning();
        let filter = items::filter(call, &query, &call.queues().await?)?;
        (OperationItems::Matching(Box::new(filter)), Some(with_folder(call, &query.to_string())))
    } else {
        (OperationItems::These(rows), None)
    };
    let by = call.person()?;
    let made = store(call)?.preview_operation(folders, (plan, by), which, filter).await?;
    Ok(Reply::see_other(&path_of(made.id)))
}

/// A filter with the folder that the address names, as the address of a list has both.
fn with_folder(call: &DeskCall, filter: &str) -> String {
    match call.folder {
        Some(folder) if filter.is_empty() => format!("folder={folder}"),
        Some(folder) => format!("{filter}&folder={folder}"),
        None => filter.to_owned(),
    }
}

/// What the form asks for, and the folders in which the caller may do it.
fn plan(call: &DeskCall) -> Result<(Plan, Arc<[FolderId]>), ApiError> {
    let act = match call.field("act") {
        "retry" => Act::Retry,
        "verified" => Act::Verify,
        "in-review" => Act::PutInReview,
        "assign" => {
            let reviewer = match call.field("reviewer") {
                "" | "none" => None,
                text => Some(
                    text.parse().map_err(|_| ApiError::invalid(format!("reviewer: {text:?} is no user.")))?,
                ),
            };
            Act::Assign { reviewer, not_in: Vec::new() }
        }
        "comment" => Act::Comment,
        "delete" => Act::Delete,
        "purge" => Act::Purge,
        other => return Err(ApiError::invalid(format!("act: {other:?} is no act."))),
    };
    let folders = rights(call).to_make(&act)?;
    let pace = match call.field("pace").trim() {
        "" => None,
        text => Some(
            text.parse().map_err(|_| ApiError::invalid(format!("pace: {text:?} is not a whole number.")))?,
        ),
    };
    let canary = (call.field("canary") == "1" && act == Act::Retry).then_some(Canary::FIVE);
    let comment = Some(call.field("comment").trim()).filter(|comment| !comment.is_empty());
    let plan = Plan::new(act).pace(pace).canary(canary).comment(comment.map(str::to_owned));
    plan.validate()?;
    Ok((plan, folders))
}

/// What the caller may do in the folders of the call.
fn rights(call: &DeskCall) -> OperationRights<impl Fn(FolderId, &[Permission]) -> bool> {
    OperationRights { folders: call.folders.clone(), may: |folder, needed: &[_]| call.may(folder, needed) }
}

pub(super) async fn start(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let reach = rights(call).to_steer(&operation.folders, &operation.plan.act)?;
    let is_to_type = operation.plan.act == Act::Delete && operation.state == OperationState::Preview;
    if is_to_type && call.field("count").trim() != operation.total.to_string() {
        let message =
            format!("count: type {} to delete so many items; nothing was deleted.", operation.total);
        return Err(ApiError::invalid(message));
    }
    store(call)?.start_operation(operation.id, Some(reach)).await?;
    Ok(done(call, &path_of(operation.id), "operation-started"))
}

pub(super) async fn stop(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let reach = rights(call).to_steer(&operation.folders, &operation.plan.act)?;
    store(call)?.stop_operation(operation.id, Some(reach), call.person()?).await?;
    Ok(done(call, &path_of(operation.id), "operation-stopped"))
}

pub(super) async fn resume(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let reach = rights(call).to_steer(&operation.folders, &operation.plan.act)?;
    store(call)?.resume_operation(operation.id, Some(reach)).await?;
    Ok(done(call, &path_of(operation.id), "operation-resumed"))
}

pub(super) async fn take_back(call: &DeskCall) -> Result<Reply, ApiError> {
    let operation = find(call).await?;
    let act = Act::TakeBack { of: operation.id };
    let reach = rights(call).to_steer(&operation.folders, &act)?;
    let back = store(call)?.take_operation_back(operation.id, Some(reach), call.person()?).await?;
    Ok(done(call, &path_of(back.id), "operation-started"))
}

/// Lets the background task look at once, and leads to the page of the operation.
fn done(call: &DeskCall, path: &str, note: &str) -> Reply {
    call.server.operations_changed.notify_one();
    Reply::see_other(path).cookie(&note_cookie(note, 0))
}
