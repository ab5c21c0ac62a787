//! The inbox: failed items to be reviewed, one after the other.

use askama::Template;

use super::call::{DeskCall, FolderItem};
use super::frame::Frame;
use super::html;
use super::item::{self, Acts, ItemView};
use super::items::{self, Choice};
use super::reply::Reply;
use crate::api_error::ApiError;
use crate::operator::Operator;
use performer_core::model::cursor::PageCursor;
use performer_core::model::item::Page;
use performer_core::model::item_query::{ItemQuery, Reviewer, list_value};
use performer_core::model::key::{FolderId, ItemId};
use performer_core::model::review::Comment;

#[derive(Template)]
#[template(path = "review.html")]
struct ReviewPage {
    frame: Frame,
    whose: Vec<Whose>,
    chosen: &'static str,
    queue: String,
    queue_names: Vec<String>,
    folder: Option<FolderId>,
    count: String,
    item: Option<ReviewItem>,
    /// Whether items were passed over before this one.
    is_continued: bool,
    first: String,
    /// A new operation on all of them.
    operation: String,
}

/// The choice whose items are reviewed.
struct Whose {
    href: String,
    text: &'static str,
    is_current: bool,
}

/// The item to be reviewed.
struct ReviewItem {
    id: i64,
    view: ItemView,
    acts: Acts,
    comments: Vec<(String, String, html::Html)>,
    reviewer: String,
    /// The user's own number, for the form that takes the item over. `None` for somebody who is no user of the store.
    me: Option<i64>,
    is_mine: bool,
    reviewers: Vec<Choice>,
    /// Where the inbox goes on behind this item.
    next: String,
    ended: html::Html,
}

const WHOSE: [(&str, &str); 3] = [("all", "All"), ("mine", "Mine"), ("unassigned", "Unassigned")];

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let known = ["whose", "queue", "after", "folder"];
    if let Some((name, _)) = call.query.iter().find(|(name, _)| !known.contains(&name.as_str())) {
        let name: String = name.chars().take(60).collect();
        return Err(ApiError::invalid(format!(
            "There is no choice {name:?} here; there are {}.",
            known.join(", ")
        )));
    }
    let chosen = chosen(call.query_value("whose"))?;
    // Somebody who is no user of the store reviews nothing that would be theirs.
    let me = call.user_of_store().unwrap_or(Operator::NUMBER);
    let query =
        ItemQuery::parse([("queue", call.query_value("queue")), ("after", call.query_value("after"))])?;
    let mut query = query.to_be_reviewed();
    query.reviewer = match chosen {
        "mine" => Some(Reviewer::User(me)),
        "unassigned" => Some(Reviewer::Unassigned),
        _ => None,
    };
    let queues = call.queues().await?;
    let filter = items::filter(call, &query, &queues)?;
    let oldest = Page::first(1).after(query.after.clone());
    let (found, count) = items::read(call, filter, oldest).await?;
    let item = match found.into_iter().next() {
        None => None,
        Some(item) => Some(review_item(call, item.id, chosen).await?),
    };
    let whose = |(name, text): (&'static str, &'static str)| Whose {
        href: address(call, name, None),
        text,
        is_current: name == chosen,
    };
    Reply::page(&ReviewPage {
        frame: call.frame("/desk/review"),
        whose: WHOSE.into_iter().map(whose).collect(),
        chosen,
        queue: html::visible(call.query_value("queue")),
        queue_names: queues.iter().map(|queue| list_value(&queue.queue.name)).collect(),
        folder: call.folder,
        count: items::count_text(count.unwrap_or_default()),
        item,
        is_continued: query.after.is_some(),
        first: address(call, chosen, None),
        operation: items::address(call, items::NEW_OPERATION, &query.from_beginning()),
    })
}

fn chosen(whose: &str) -> Result<&'static str, ApiError> {
    let wanted = if whose.is_empty() { "all" } else { whose };
    let found = WHOSE.iter().find(|(name, _)| *name == wanted);
    let wrong = || ApiError::invalid(format!("whose: {whose:?} is not all, mine or unassigned."));
    found.map(|(name, _)| *name).ok_or_else(wrong)
}

/// The address of the inbox, behind an item or from its beginning.
fn address(call: &DeskCall, whose: &str, after: Option<&PageCursor>) -> String {
    let (after, folder) = (after.map(ToString::to_string), call.folder.map(|folder| folder.to_string()));
    let mut pairs = vec![("whose", whose)];
    pairs.extend(Some(("queue", call.query_value("queue"))).filter(|(_, name)| !name.is_empty()));
    pairs.extend(after.as_deref().map(|after| ("after", after)));
    pairs.extend(folder.as_deref().map(|folder| ("folder", folder)));
    html::address("/desk/review", &pairs)
}

async fn review_item(call: &DeskCall, id: ItemId, chosen: &str) -> Result<ReviewItem, ApiError> {
    let found: FolderItem = call.item_with_id(id).await?;
    let (item, directory) = (&found.item, call.directory()?);
    let queue = call.queue_with_id(item.queue_id).await?.queue.name;
    let comments = call.source(found.folder).comments(item.id).await?;
    let comment = |comment: Comment| {
        let author = comment.author.user_name.as_deref().map(|name| html::line(name, 60)).unwrap_or_default();
        (author, html::visible(&comment.text), html::time(comment.creation_time))
    };
    let reviewer = item.reviewer_user_id.and_then(|id| directory.user(id));
    let me = call.user_of_store();
    Ok(ReviewItem {
        id: item.id.0,
        view: item::view(item, &queue),
        acts: Acts::of(call, &found),
        comments: comments.into_iter().map(comment).collect(),
        reviewer: reviewer.map(|user| html::line(&user.user_name, 60)).unwrap_or_default(),
        me,
        is_mine: me.is_some() && item.reviewer_user_id == me,
        reviewers: item::reviewers_of(call, found.folder, item.reviewer_user_id)?,
        next: address(call, chosen, Some(&PageCursor::from(item.id))),
        ended: html::optional_time(item.end_processing),
    })
}
