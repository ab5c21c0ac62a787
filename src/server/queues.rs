//! Queue definitions (orchestrator-api 6).

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::call::{Answer, Call, Folders};
use super::failure::Failure;
use super::strict;
use crate::model::key::{FolderId, QueueId};
use crate::model::permission::{Action, Area, Permission};
use crate::model::queue::QueueDefinition;
use crate::model::schema::SchemaOf;
use crate::orchestrator::Administration;
use crate::orchestrator::store::backend::{Operation, Query, QueueSelector, Reach};
use crate::orchestrator::store::expect_answer;
use crate::wire::asked::{QueueRequest, ShareRequest};
use crate::wire::odata::set;
use crate::wire::served::{self, ServedQueue};

type Reply = Result<Answer, Failure>;

const ENTITY: &str = "QueueDefinitions";

/// The most queues, and the most folders, of one call that shares them.
const MOST_SHARED: usize = 1_000;

/// The queues of the call's folders.
pub(super) async fn of_call(call: &Call) -> Result<Vec<QueueDefinition>, Failure> {
    let folders = call.all_folders();
    Ok(expect_answer!(call.store_of_all().read(Query::QueuesOf(folders)).await, Queues)?)
}

/// A queue of the folder, by its number.
pub(super) async fn with_id(call: &Call, id: i64) -> Result<QueueDefinition, Failure> {
    which(call, QueueSelector::Id(QueueId(id))).await
}

async fn which(call: &Call, which: QueueSelector) -> Result<QueueDefinition, Failure> {
    Ok(expect_answer!(call.store()?.read(Query::Queue(which)).await, Queue)?)
}

/// The folder in which a queue is shown: the call's, or the first one of the call's that it is in.
pub(super) fn shown_in(call: &Call, queue: &QueueDefinition) -> FolderId {
    match &call.folders {
        Folders::One(folder) => *folder,
        _ => {
            let folders = call.all_folders();
            let found =
                queue.folders.iter().find(|folder| folders.contains(folder)).or(queue.folders.first());
            found.copied().unwrap_or(FolderId::SHARED)
        }
    }
}

fn listed(call: &Call, queues: &[QueueDefinition]) -> Result<Vec<Value>, Failure> {
    let directory = call.directory()?;
    let show = |queue: &QueueDefinition| {
        let folder = shown_in(call, queue);
        json!(ServedQueue::new(queue, folder, Some(&directory.full_name(folder))))
    };
    Ok(queues.iter().map(show).collect())
}

pub(super) async fn list(call: &Call) -> Reply {
    let queues = of_call(call).await?;
    call.page(&set::QUEUES, listed(call, &queues)?)
}

pub(super) async fn get(call: &Call) -> Reply {
    let queue = with_id(call, call.id()?).await?;
    call.entity(ENTITY, json!(ServedQueue::new(&queue, call.folder()?, None)))
}

pub(super) async fn get_by_key(call: &Call) -> Reply {
    let queue = which(call, QueueSelector::Key(call.argument_as("identifier")?)).await?;
    call.entity(ENTITY, json!(ServedQueue::new(&queue, call.folder()?, None)))
}

pub(super) async fn create(call: &Call) -> Reply {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let queue = call.store()?.create_queue(body.into_new(None)?).await?;
    call.made(ENTITY, queue.id.0, ServedQueue::new(&queue, call.folder()?, None))
}

pub(super) async fn update(call: &Call) -> Reply {
    change(call, call.id()?).await?;
    Ok(Answer::empty(StatusCode::OK))
}

async fn change(call: &Call, id: i64) -> Result<(), Failure> {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let there = with_id(call, id).await?;
    let mut new = body.clone().into_new(Some(&there))?;
    body.retention_into(&mut new.policy, false)?;
    let (which, reach) = (QueueSelector::Id(there.id), reach(call, EDIT)?);
    let operation = Operation::UpdateQueue { which, queue: Box::new(new), reach };
    call.store()?.one(operation).await?;
    Ok(())
}

/// A queue is one in all its folders, so it goes from all of them, and the right to that is needed in each.
pub(super) async fn delete(call: &Call) -> Reply {
    let which = QueueSelector::Id(QueueId(call.id()?));
    let reach = reach(call, Permission(Area::Queues, Action::Delete))?;
    call.store()?.one(Operation::DeleteQueue { which, reach }).await?;
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// CreateQueue: a queue with its retention.
pub(super) async fn create_with_retention(call: &Call) -> Reply {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let mut new = body.clone().into_new(None)?;
    body.retention_into(&mut new.policy, true)?;
    let queue = call.store()?.create_queue(new).await?;
    call.made(ENTITY, queue.id.0, served::queue_with_retention(&queue, call.folder()?))
}

/// EditQueue. The number stands in the body.
pub(super) async fn edit_with_retention(call: &Call) -> Reply {
    let body: QueueRequest = call.body(&strict::QUEUE)?;
    let id = body.id.ok_or_else(|| Failure::argument("Invalid argument 'Id'."))?;
    change(call, id).await?;
    Ok(Answer::empty(StatusCode::OK))
}

pub(super) async fn get_with_retention(call: &Call) -> Reply {
    let queue = with_id(call, call.argument_as("id")?).await?;
    call.entity(ENTITY, served::queue_with_retention(&queue, call.folder()?))
}

pub(super) async fn list_with_retention(call: &Call) -> Reply {
    let queues = of_call(call).await?;
    let rows =
        queues.iter().map(|queue| served::queue_with_retention(queue, shown_in(call, queue))).collect();
    call.page(&set::QUEUES_WITH_RETENTION, rows)
}

pub(super) async fn schema(call: &Call) -> Reply {
    let queue = with_id(call, call.id()?).await?;
    let kind: SchemaOf = call.argument_as("jsonSchemaType")?;
    let schema = queue.schemas.of(kind).ok_or_else(|| {
        Failure::new(StatusCode::NOT_FOUND, 1861, format!("The queue has no schema {kind}."))
    })?;
    Ok(Answer {
        status: StatusCode::OK,
        body: Some(schema.as_bytes().to_vec().into()),
        content_type: "application/octet-stream",
        location: None,
    })
}

const VIEW: Permission = Permission(Area::Queues, Action::View);
pub(super) const EDIT: Permission = Permission(Area::Queues, Action::Edit);

/// Where the caller may do something to queues: what is done to one is done to it in all its folders.
pub(super) fn reach(call: &Call, permission: Permission) -> Result<Reach, Failure> {
    Ok(Some(folders_with(call, permission)?.into()))
}

/// The folders where the caller has a permission.
fn folders_with(call: &Call, permission: Permission) -> Result<Vec<FolderId>, Failure> {
    let caller = call.caller()?;
    let all = caller.directory.folders().map(|folder| folder.id);
    Ok(all.filter(|folder| caller.may(Some(*folder), permission)).collect())
}

/// A queue that the caller sees in some folder.
async fn seen_anywhere(
    call: &Call,
    id: i64,
    permission: Permission,
) -> Result<(QueueDefinition, FolderId), Failure> {
    for folder in folders_with(call, permission)? {
        let which = QueueSelector::Id(QueueId(id));
        match expect_answer!(call.store_in(folder).read(Query::Queue(which)).await, Queue) {
            Ok(queue) => return Ok((queue, folder)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failure::not_found(format!("Queue {id} does not exist.")))
}

pub(super) async fn folders_for_queue(call: &Call) -> Reply {
    let (queue, _) = seen_anywhere(call, call.argument_as("id")?, VIEW).await?;
    let caller = call.caller()?;
    let accessible = queue.folders.iter().filter(|folder| caller.is_assigned(**folder));
    let accessible = accessible.filter_map(|folder| caller.directory.folder(*folder));
    let folders: Vec<Value> =
        accessible.map(|folder| served::simple_folder(&caller.directory, folder)).collect();
    let body = served::accessible_folders(&folders, queue.folders.len());
    Answer::ok(&served::with_context(
        &call.context("UiPath.Server.Configuration.OData.AccessibleFoldersDto"),
        &body,
    ))
}

pub(super) async fn across_folders(call: &Call) -> Reply {
    let mut folders = folders_with(call, VIEW)?;
    if call.optional("excludeFolderId").is_some_and(|text| !text.is_empty()) {
        let except = FolderId(call.argument_as("excludeFolderId")?);
        folders.retain(|folder| *folder != except);
    }
    let folders: std::sync::Arc<[FolderId]> = folders.into();
    let queues = call.store_of_all().read(Query::QueuesOf(folders.clone())).await;
    let queues: Vec<QueueDefinition> = expect_answer!(queues, Queues)?;
    let directory = call.directory()?;
    let show = |queue: &QueueDefinition| {
        let found = queue.folders.iter().find(|folder| folders.contains(folder)).copied();
        let folder = found.unwrap_or(FolderId::SHARED);
        json!(ServedQueue::new(queue, folder, Some(&directory.full_name(folder))))
    };
    call.page(&set::QUEUES, queues.iter().map(show).collect())
}

/// Needs the right to edit a queue where it is, and to make one where it is to be.
pub(super) async fn share(call: &Call) -> Reply {
    const CREATE: Permission = Permission(Area::Queues, Action::Create);
    let body: ShareRequest = call.body(&strict::SHARE)?;
    let ids = |ids: Option<Vec<i64>>| ids.unwrap_or_default().into_iter().map(FolderId).collect::<Vec<_>>();
    let (add, remove) = (ids(body.to_add_folder_ids), ids(body.to_remove_folder_ids));
    for (name, length) in [
        ("QueueIds", body.queue_ids.len()),
        ("ToAddFolderIds", add.len()),
        ("ToRemoveFolderIds", remove.len()),
    ] {
        Call::at_most(name, length, MOST_SHARED)?;
    }
    let caller = call.caller()?;
    for folder in add.iter().chain(&remove) {
        if !caller.is_assigned(*folder) || caller.directory.folder(*folder).is_none() {
            return Err(Failure::no_such_folder());
        }
    }
    for folder in &add {
        call.needs(Some(*folder), CREATE)?;
    }
    for folder in &remove {
        call.needs(Some(*folder), EDIT)?;
    }
    let mut queues = Vec::new();
    for id in body.queue_ids {
        queues.push(seen_anywhere(call, id, EDIT).await?);
    }
    for (queue, folder) in queues {
        let operation =
            Operation::ShareQueues { queues: vec![queue.id], add: add.clone(), remove: remove.clone() };
        call.store_in(folder).one(operation).await?;
    }
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}
