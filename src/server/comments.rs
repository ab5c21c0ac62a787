//! Comments and events of items (orchestrator-api 11).

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, MAX_ROWS};
use super::{items, strict};
use crate::model::item::{ItemFilter, PAGE_LIMIT, Page, QueueItem};
use crate::model::key::ItemId;
use crate::model::permission::{Action, Area, Permission};
use crate::model::query::{Comparison, Condition, Field, Value as Wanted};
use crate::model::review::{Comment, Person};
use crate::orchestrator::Administration;
use crate::orchestrator::local::expect_answer;
use crate::orchestrator::local::store::{Answer as StoreAnswer, Query};
use crate::wire::odata::{Expression, Literal, entity_set};
use crate::wire::requests::CommentRequest;
use crate::wire::{lease_protocol, responses};

type HandlerResult = Result<ApiResponse, ApiError>;

const COMMENTS: &str = "QueueItemComments";
/// The maximum `$skip` in a list of all events: each skipped event has to be derived from its item.
const MAX_SKIPPED_EVENTS: usize = 10_000;

const EVENTS: &str = "QueueItemEvents";

fn comment_author(call: &Call) -> Result<Person, ApiError> {
    let user = &call.caller()?.user;
    // An administrator may write comments on behalf of others: the client does so for its users.
    if let Some(author) =
        call.headers.get(lease_protocol::AUTHOR_HEADER).and_then(|value| value.to_str().ok())
    {
        call.require(None, Permission(Area::Settings, Action::Edit))?;
        let invalid =
            || ApiError::invalid_argument(format!("Invalid argument '{}'.", lease_protocol::AUTHOR_HEADER));
        return lease_protocol::decode_author(author).ok_or_else(invalid);
    }
    Ok(Person { user_id: Some(user.id), user_name: Some(user.user_name.clone()) })
}

async fn comment_with_id(call: &Call) -> Result<Comment, ApiError> {
    Ok(expect_answer!(call.store()?.read(Query::Comment(call.id()?)).await, Comment)?)
}

pub(super) async fn list_comments(call: &Call) -> HandlerResult {
    let comments: Vec<Comment> = match filtered_item(call)? {
        Some(id) => {
            let mut comments = match call.store()?.comments(id).await {
                Ok(comments) => comments,
                Err(error) if error.is_not_found() => Vec::new(),
                Err(error) => return Err(error.into()),
            };
            comments.retain(|comment| comment.item_id == id);
            comments
        }
        None => {
            let query = Query::CommentsOf(call.all_folders());
            expect_answer!(call.store_for_caller().read(query).await, Comments)?
        }
    };
    call.page(&entity_set::COMMENTS, comments.iter().map(responses::comment).collect())
}

pub(super) async fn get_comment(call: &Call) -> HandlerResult {
    let comment = comment_with_id(call).await?;
    call.entity(COMMENTS, responses::comment(&comment))
}

pub(super) async fn add_comment(call: &Call) -> HandlerResult {
    let body: CommentRequest = call.body(&strict::COMMENT)?;
    let missing = || ApiError::new(StatusCode::BAD_REQUEST, 1014, "Parameter QueueItemId is missing.");
    let item = ItemId(body.queue_item_id.ok_or_else(missing)?);
    let comment = call.store()?.add_comment(item, comment_author(call)?, body.text).await?;
    call.created(COMMENTS, comment.id, responses::comment(&comment))
}

pub(super) async fn edit_comment(call: &Call) -> HandlerResult {
    let body: CommentRequest = call.body(&strict::COMMENT)?;
    call.store()?.edit_comment(call.id()?, comment_author(call)?, Some(body.text)).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete_comment(call: &Call) -> HandlerResult {
    call.store()?.edit_comment(call.id()?, comment_author(call)?, None).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

pub(super) async fn comments_history(call: &Call) -> HandlerResult {
    let id = ItemId(call.argument_as("queueItemId")?);
    let comments = call.store()?.comments(id).await?;
    call.page(&entity_set::COMMENTS, comments.iter().map(responses::comment).collect())
}

/// The item that a filter selects, if it selects one: comments and events are stored by item.
fn filtered_item(call: &Call) -> Result<Option<ItemId>, ApiError> {
    fn find(expression: &Expression) -> Option<ItemId> {
        match expression {
            Expression::Compare(operand, Comparison::Equal, wanted)
                if operand.path.eq_ignore_ascii_case("QueueItemId") =>
            {
                match wanted {
                    Literal::Number(id) => Some(ItemId(*id)),
                    Literal::Text(text) => text.trim().parse().ok().map(ItemId),
                    _ => None,
                }
            }
            Expression::All(parts) => parts.iter().find_map(find),
            _ => None,
        }
    }
    let found = call.options()?.filter.as_ref().and_then(find);
    Ok(if call.folder().is_ok() { found } else { None })
}

/// The events of one attempt.
async fn events_of(call: &Call, item: &QueueItem) -> Result<Vec<Value>, ApiError> {
    let directory = call.directory()?;
    let queue =
        super::queues::in_call_folders(call).await?.into_iter().find(|queue| queue.id == item.queue_id);
    let folder = queue
        .map(|queue| super::queues::display_folder(call, &queue))
        .ok_or_else(ApiError::no_such_folder)?;
    let events = call.store_in(folder).item_events(item.id).await?;
    let own = events.iter().filter(|event| event.item_id == item.id);
    Ok(own
        .enumerate()
        .map(|(at, event)| responses::event(event, at, item.reviewer_user_id, directory))
        .collect())
}

/// Events are derived from items. A list of them needs a filter by item; without any filter and order it goes through the
/// items by id.
pub(super) async fn list_events(call: &Call) -> HandlerResult {
    let options = call.options()?;
    if let Some(id) = filtered_item(call)? {
        let events = match call.store()?.get_queue_item(id).await {
            Ok(item) => events_of(call, &item).await?,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        return call.page(&entity_set::EVENTS, events);
    }
    if options.filter.is_some() || !options.order.is_empty() || options.count {
        return Err(ApiError::invalid(
            "Invalid OData query options: events are filtered, sorted and counted by item: begin with QueueItemId eq …, in a folder.",
        ));
    }
    let top = options.page_size(MAX_ROWS)?;
    if options.skip > MAX_SKIPPED_EVENTS {
        return Err(ApiError::invalid(
            "Invalid OData query options: not so many events are skipped; begin with QueueItemId eq …, in a folder.",
        ));
    }
    let wanted = options.skip.saturating_add(top);
    let (mut events, mut after) = (Vec::new(), 0);
    while events.len() < wanted {
        let condition = Condition::Compare(Field::Id, Comparison::Greater, Wanted::Number(after));
        let filter = Box::new(ItemFilter { condition: Some(condition), ..ItemFilter::default() });
        let page = Page { top: PAGE_LIMIT, ..Page::default() };
        let query = Query::ItemsOf { folders: items::folders(call), filter, page, count: false };
        let StoreAnswer::Page(page, _) = call.store_for_caller().read(query).await? else {
            return Err(ApiError::internal("a page was expected"));
        };
        let Some(last) = page.last() else { break };
        after = last.id.0;
        for item in &page {
            if events.len() < wanted {
                events.extend(events_of(call, item).await?);
            }
        }
    }
    let page = events.into_iter().skip(options.skip).take(top);
    let page: Result<Vec<Value>, _> = page.map(|event| options.selected(event)).collect();
    call.collection(EVENTS, page?, None)
}

pub(super) async fn get_event(call: &Call) -> HandlerResult {
    let id = call.id()?;
    let missing = || ApiError::not_found(format!("Event {id} does not exist."));
    let item = call.store()?.get_queue_item(ItemId(id.div_euclid(responses::MAX_EVENTS))).await;
    let item = item.map_err(|error| if error.is_not_found() { missing() } else { error.into() })?;
    let position = usize::try_from(id.rem_euclid(responses::MAX_EVENTS)).unwrap_or(usize::MAX);
    let event = events_of(call, &item).await?.into_iter().nth(position).ok_or_else(missing)?;
    call.entity(EVENTS, event)
}

/// The events of all attempts of an item.
pub(super) async fn events_history(call: &Call) -> HandlerResult {
    let id = ItemId(call.argument_as("queueItemId")?);
    let mut events = Vec::new();
    for item in call.store()?.processing_history(id).await? {
        events.extend(events_of(call, &item).await?);
    }
    call.page(&entity_set::EVENTS, events)
}
