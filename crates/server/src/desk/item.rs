//! The page of an item: its values, content, output and exception, its attempts and events, and a comparison of two attempts.

use std::time::Duration;

use askama::Template;

use super::call::{DeskCall, FolderItem};
use super::frame::Frame;
use super::html::{self, Html};
use super::items::{Choice, version_text};
use super::logs::{self, LogRow};
use super::members::{Difference, Member, differences, members};
use super::personal::MaskedFields;
use super::reply::Reply;
use super::routes::{CHANGE, REMOVE, REVIEW, REWRITE};
use super::timeline::{self, TimelineEntry};
use crate::api_error::ApiError;
use crate::directory::Directory;
pub(super) use crate::operation_rights::may_review;
use performer_core::model::difference::ItemDifferences;
use performer_core::model::item::QueueItem;
use performer_core::model::item_query::Reviewer;
use performer_core::model::key::{FolderId, ItemId};
use performer_core::model::status::{ReviewStatus, Status};

#[derive(Template)]
#[template(path = "item.html")]
struct ItemPage {
    frame: Frame,
    id: i64,
    view: ItemView,
    facts: Vec<(&'static str, Html)>,
    attempts: Vec<Attempt>,
    timeline: Vec<TimelineEntry>,
    compared: Option<Compared>,
    acts: Acts,
    reviewers: Vec<Choice>,
    log: Vec<LogRow>,
    json: String,
    masked: Option<MaskedFields>,
}

/// The parts of an item that its own page, the review and a reveal show.
pub(super) struct ItemView {
    pub(super) queue: String,
    pub(super) queue_href: String,
    pub(super) reference: String,
    pub(super) status: Html,
    pub(super) review: Html,
    pub(super) version: String,
    pub(super) content: Vec<Member>,
    pub(super) output: Vec<Member>,
    pub(super) analytics: Vec<Member>,
    pub(super) exception: Option<ExceptionView>,
}

pub(super) struct ExceptionView {
    pub(super) kind: Html,
    pub(super) reason: String,
    pub(super) details: Option<String>,
    pub(super) image: Option<String>,
    pub(super) at: Html,
}

/// An attempt of the chain.
struct Attempt {
    id: i64,
    is_this: bool,
    status: Html,
    review: Html,
    started: Html,
    took: String,
    robot: String,
    reason: String,
}

/// Two attempts side by side.
struct Compared {
    before: i64,
    after: i64,
    content: Vec<Difference>,
    output: Vec<Difference>,
    analytics: Vec<Difference>,
    facts: Vec<Difference>,
}

/// The acts that a page offers for an item: those that its state allows and for which the reader has the permissions.
pub(super) struct Acts {
    /// The review statuses to choose from: the value in the form, and the text of the button.
    pub(super) reviews: Vec<(&'static str, &'static str)>,
    pub(super) may_review: bool,
    pub(super) may_assign: bool,
    pub(super) may_delete: bool,
    pub(super) may_edit: bool,
    pub(super) may_correct: bool,
    pub(super) may_purge: bool,
}

impl Acts {
    /// The acts on an item. The model decides which its state allows, and decides again when the form is sent.
    pub(super) fn of(call: &DeskCall, found: &FolderItem) -> Self {
        let (item, folder) = (&found.item, found.folder);
        let may_review = call.may(folder, REVIEW);
        let names = [
            (ReviewStatus::Verified, "verified", "Verified"),
            (ReviewStatus::Retried, "retried", "Retry"),
            (ReviewStatus::InReview, "in-review", "In review"),
            (ReviewStatus::None, "unreviewed", "Not in review"),
        ];
        let possible = names.into_iter().filter(|(to, ..)| may_review && item.may_be_reviewed_as(*to));
        Self {
            reviews: possible.map(|(_, value, text)| (value, text)).collect(),
            may_review,
            may_assign: may_review && !call.is_remote(),
            may_delete: call.may(folder, REMOVE) && item.status != Status::Deleted,
            may_edit: call.may(folder, REWRITE) && item.status.is_editable(),
            may_correct: !call.is_remote()
                && call.may(folder, REWRITE)
                && item.may_be_reviewed_as(ReviewStatus::Retried),
            may_purge: !call.is_remote() && call.may(folder, CHANGE) && item.status.is_purgeable(),
        }
    }
}

/// Prepares an item for the templates.
pub(super) fn view(item: &QueueItem, queue: &str) -> ItemView {
    let exception = item.processing_exception.as_ref().map(|exception| ExceptionView {
        kind: html::exception(exception.exception_type),
        reason: html::visible(&exception.reason),
        details: exception.details.as_deref().map(html::visible),
        image: exception.associated_image_file_path.as_deref().map(html::visible),
        at: html::time(exception.creation_time),
    });
    ItemView {
        queue: html::visible(queue),
        queue_href: format!("/desk/queues/{}", item.queue_id),
        reference: item.reference.as_deref().map(html::visible).unwrap_or_default(),
        status: html::status(item.status),
        review: html::review(item.review_status),
        version: version_text(item),
        content: members(item.specific_content.as_json()),
        output: item.output.as_ref().map(|output| members(output.as_json())).unwrap_or_default(),
        analytics: item.analytics.as_ref().map(|all| members(all.as_json())).unwrap_or_default(),
        exception,
    }
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let (item, store) = (&found.item, call.source(found.folder));
    let chain = store.processing_history(item.id).await?;
    let (events, comments) = (store.item_events(item.id).await?, store.comments(item.id).await?);
    let queue = call.queue_with_id(item.queue_id).await?.queue;
    let (directory, reader) = (call.directory()?, call.person()?);
    Reply::page(&ItemPage {
        frame: call.frame("/desk/items"),
        id: item.id.0,
        view: view(item, &queue.name),
        masked: MaskedFields::of(call, &found, &queue),
        facts: facts(call, &found, directory),
        attempts: chain.iter().map(|attempt| attempt_row(attempt, item.id)).collect(),
        timeline: timeline::of((&chain, &events, &comments), directory, &reader, item.id),
        compared: compared(call, item, &chain)?,
        acts: Acts::of(call, &found),
        reviewers: reviewers_of(call, found.folder, item.reviewer_user_id)?,
        log: logs::of_item(call, found.folder, item.id).await?,
        json: format!("/desk/items/{}/json", item.id),
    })
}

fn text(text: &str) -> Html {
    Html::of(html::escaped(&html::visible(text)))
}

fn facts(call: &DeskCall, found: &FolderItem, directory: &Directory) -> Vec<(&'static str, Html)> {
    let item = &found.item;
    let name =
        |id: i64| directory.user(id).map_or_else(|| format!("user {id}"), |user| user.user_name.clone());
    let mut facts = vec![
        ("Folder", text(&directory.full_name(found.folder))),
        ("Priority", text(item.priority.name())),
        ("Added", html::time(item.creation_time)),
    ];
    let mut add = |label, value: Option<Html>| facts.extend(value.map(|value| (label, value)));
    add("Postponed until", item.defer_date.map(html::time));
    add("Due", item.due_date.map(html::time));
    add("At risk from", item.risk_sla_date.map(html::time));
    add("Started", item.start_processing.map(html::time));
    add("Ended", item.end_processing.map(html::time));
    add("Took", took(item).map(|took| text(&html::duration(took))));
    add("Has waited for", waits(call, item).map(|waits| text(&html::duration(waits))));
    add("Reviewer", item.reviewer_user_id.map(|id| text(&name(id))));
    add("Progress", item.progress.as_deref().map(text));
    add("Group", item.group.as_deref().map(text));
    let job = |key| Html::of(format!("<a href=\"/desk/jobs/{key}\">{key}</a>"));
    add("Job", item.executor_job.map(job));
    add("Robot", item.robot.map(|robot| text(&robot.to_string())));
    add("Key of the chain", Some(text(&item.key.to_string())));
    add("Operation", item.operation_id.as_deref().map(text));
    add("Parent operation", item.parent_operation_id.as_deref().map(text));
    add("Row version", Some(text(&item.row_version.to_string())));
    facts
}

fn took(item: &QueueItem) -> Option<Duration> {
    Some(html::since(item.start_processing?, item.end_processing?))
}

fn waits(call: &DeskCall, item: &QueueItem) -> Option<Duration> {
    item.status.is_editable().then(|| html::since(item.creation_time, call.now()))
}

fn attempt_row(attempt: &QueueItem, this: ItemId) -> Attempt {
    let reason = attempt.processing_exception.as_ref().map(|exception| html::line(&exception.reason, 120));
    Attempt {
        id: attempt.id.0,
        is_this: attempt.id == this,
        status: html::status(attempt.status),
        review: html::review(attempt.review_status),
        started: html::optional_time(attempt.start_processing),
        took: took(attempt).map(html::duration).unwrap_or_default(),
        robot: attempt.robot.map(|robot| robot.to_string()).unwrap_or_default(),
        reason: reason.unwrap_or_default(),
    }
}

/// The attempt that `diff` names, beside this one.
fn compared(call: &DeskCall, item: &QueueItem, chain: &[QueueItem]) -> Result<Option<Compared>, ApiError> {
    let wanted = call.query_value("diff");
    if wanted.is_empty() {
        return Ok(None);
    }
    let other = wanted.parse().ok().and_then(|id| chain.iter().find(|attempt| attempt.id == ItemId(id)));
    let missing =
        || ApiError::not_found(format!("diff: {wanted:?} is no attempt of the chain of item {}.", item.id));
    let other = other.ok_or_else(missing)?;
    let (before, after) = if other.id < item.id { (other, item) } else { (item, other) };
    let found = ItemDifferences::between(before, after);
    Ok(Some(Compared {
        before: before.id.0,
        after: after.id.0,
        content: differences(found.content),
        output: differences(found.output),
        analytics: differences(found.analytics),
        facts: differences(found.fields),
    }))
}

pub(super) async fn json(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let text = serde_json::to_vec_pretty(&found.item);
    Ok(Reply::json(text.map_err(|error| ApiError::internal(error.to_string()))?))
}

/// The users who may review items in a folder; none if the caller may not review there.
pub(super) fn reviewers_of(
    call: &DeskCall,
    folder: FolderId,
    chosen: Option<i64>,
) -> Result<Vec<Choice>, ApiError> {
    if !call.may(folder, REVIEW) {
        return Ok(Vec::new());
    }
    let directory = call.directory()?;
    let choice = |user: &crate::directory::User| Choice {
        value: user.id.to_string(),
        text: html::line(&user.user_name, 60),
        is_chosen: chosen == Some(user.id),
    };
    Ok(directory.users().filter(|user| may_review(directory, user.id, folder)).map(choice).collect())
}

/// The choices of the filter by reviewer: nobody, and the users who may review items in one of the folders. A caller who may not review
/// sees no other user than itself.
pub(super) fn reviewers(call: &DeskCall) -> Result<Vec<Choice>, ApiError> {
    let (directory, query) = (call.directory()?, super::items::query_of(call).unwrap_or_default());
    let chosen = match query.reviewer {
        Some(Reviewer::User(id)) => Some(id),
        Some(Reviewer::Unassigned) | None => None,
    };
    let (reader, is_reviewer) =
        (call.caller()?.user.id, call.folders.iter().any(|folder| call.may(*folder, REVIEW)));
    let may = |user: i64| {
        (is_reviewer || user == reader)
            && call.folders.iter().any(|folder| may_review(directory, user, *folder))
    };
    let nobody = Choice {
        value: "none".to_owned(),
        text: "Nobody".to_owned(),
        is_chosen: query.reviewer == Some(Reviewer::Unassigned),
    };
    let users = directory.users().filter(|user| may(user.id)).map(|user| Choice {
        value: user.id.to_string(),
        text: html::line(&user.user_name, 60),
        is_chosen: chosen == Some(user.id),
    });
    Ok(std::iter::once(nobody).chain(users).collect())
}
