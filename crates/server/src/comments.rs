//! Comments and events of items (orchestrator-api 11).

use axum::http::StatusCode;
use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call, MAX_ROWS};
use super::memory_budget::Reservation;
use super::strict;
use crate::permission::{Action, Area, Permission};
use performer_core::model::item::{ItemFilter, PAGE_LIMIT, Page, QueueItem};
use performer_core::model::key::ItemId;
use performer_core::model::query::{Comparison, Condition, Field, Value as Wanted};
use performer_core::model::review::{Comment, Person};
use performer_core::orchestrator::{ItemAdministration as _, ReviewAdministration as _};
use performer_store::{CommentsOn, MAX_COMMENTS_LISTED, Store};
use performer_wire::odata::{self, Paging, entity_set};
use performer_wire::requests::CommentRequest;
use performer_wire::{lease_protocol, responses};

type HandlerResult = Result<ApiResponse, ApiError>;

const COMMENTS: &str = "QueueItemComments";
const EVENTS: &str = "QueueItemEvents";
/// Where both name their item.
const ITEM: &str = "QueueItemId";

/// About how many events are looked at for one page: each has to be put together.
const MOST_LOOKED_AT: usize = 10_000;

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
    Ok(call.store()?.comment(call.id()?).await?)
}

pub(super) async fn list_comments(call: &Call) -> HandlerResult {
    let options = call.options()?;
    let paging = Paging::new(&options, &entity_set::COMMENTS, MAX_ROWS)?;
    let said = paging.filter().map(|filter| odata::said_of_items(filter, ITEM)).transpose()?.flatten();
    let on = said.as_ref().and_then(odata::ids).map_or(CommentsOn::Any, CommentsOn::These);
    comments_page(call, &call.store_for_caller(), paging, on).await
}

/// A page of comments, which the store answers in parts.
async fn comments_page(call: &Call, store: &Store, mut paging: Paging<'_>, on: CommentsOn) -> HandlerResult {
    let mut memory = call.reserve_memory(MAX_COMMENTS_LISTED * ENTITY)?;
    let mut after = i64::MIN;
    while !paging.is_complete() {
        let comments = store.comments_in_folders(call.all_folders(), on.clone(), after).await?;
        comments.iter().try_for_each(|comment| paging.add(responses::comment(comment)))?;
        hold(&mut memory, MAX_COMMENTS_LISTED + paging.kept())?;
        match comments.last() {
            Some(last) if comments.len() == MAX_COMMENTS_LISTED => after = last.id,
            _ => break,
        }
    }
    let (page, count) = paging.finish()?;
    call.collection(COMMENTS, page, count)
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
    let options = call.options()?;
    let paging = Paging::new(&options, &entity_set::COMMENTS, MAX_ROWS)?;
    comments_page(call, &call.store()?, paging, CommentsOn::AttemptsOf(id)).await
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
        .map(|(at, event)| {
            responses::event(event, at, &directory.names_of_event(event, item.reviewer_user_id))
        })
        .collect())
}

/// Events are derived from items, so a list of them goes through the items: those that the filter names by QueueItemId, or all
/// of the call's folders. It ends when the page is complete.
pub(super) async fn list_events(call: &Call) -> HandlerResult {
    let options = call.options()?;
    let mut paging = Paging::new(&options, &entity_set::EVENTS, MAX_ROWS)?;
    let said = paging.filter().map(|filter| odata::said_of_items(filter, ITEM)).transpose()?.flatten();
    let mut memory = call.reserve_memory(0)?;
    let (mut looked_at, mut after) = (0, None);
    while !paging.is_complete() {
        // Where all events are needed, and there are more items than events may be looked at, nobody has to look at any.
        let counts = paging.needs_all() && said.is_none() && after.is_none();
        let (items, count) = items_behind(call, after, said.as_ref(), counts).await?;
        if count.is_some_and(|count| count > MOST_LOOKED_AT as u64) {
            return Err(too_many_events());
        }
        for item in &items {
            if paging.is_complete() {
                break;
            }
            if looked_at >= MOST_LOOKED_AT {
                return Err(too_many_events());
            }
            let events = match events_of(call, item).await {
                // The item or its queue was removed since the item was listed.
                Err(gone) if matches!(gone.status, StatusCode::NOT_FOUND | StatusCode::FORBIDDEN) => continue,
                events => events?,
            };
            looked_at += events.len();
            events.into_iter().try_for_each(|event| paging.add(event))?;
            hold(&mut memory, paging.kept())?;
        }
        after = items.last().map(|item| item.id);
        if items.len() < PAGE_LIMIT {
            break;
        }
    }
    let (page, count) = paging.finish()?;
    call.collection(EVENTS, page, count)
}

fn too_many_events() -> ApiError {
    ApiError::invalid(format!(
        "Invalid OData query options: more than {MOST_LOOKED_AT} events would have to be looked at: narrow $filter by \
         QueueItemId, as in QueueItemId eq 7, QueueItemId in (7,8), or QueueItemId gt 7 and QueueItemId le 2000."
    ))
}

/// The next items of the call's folders, of which this is said; and how many there are, where that is asked for.
async fn items_behind(
    call: &Call,
    after: Option<ItemId>,
    said: Option<&Condition>,
    count: bool,
) -> Result<(Vec<QueueItem>, Option<u64>), ApiError> {
    let behind = |id: ItemId| Condition::Compare(Field::Id, Comparison::Greater, Wanted::Number(id.0));
    let all: Vec<Condition> = after.map(behind).into_iter().chain(said.cloned()).collect();
    let condition = (!all.is_empty()).then_some(Condition::All(all));
    let filter = ItemFilter::default().condition(condition);
    let store = call.store_for_caller();
    let page = Page::default().count_limit(if count { MOST_LOOKED_AT as u64 + 1 } else { 0 });
    Ok(store.items_in_folders(call.all_folders(), filter, page).await?)
}

/// About how many bytes an event or a comment takes while a page is put together.
const ENTITY: usize = 2 * 1024;

/// Counts so many events or comments as the caller's.
fn hold(memory: &mut Reservation, entities: usize) -> Result<(), ApiError> {
    let more = (entities * ENTITY).saturating_sub(memory.bytes());
    if memory.grow(more) { Ok(()) } else { Err(ApiError::unavailable()) }
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
