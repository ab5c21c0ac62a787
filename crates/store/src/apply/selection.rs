//! Selects the items of an operation, and asks the rules what would become of them; and the queries on operations.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;

use super::super::backend::Answer;
use super::super::operations::{ListOperationItems, ListedOperation, OperationItems, Standing};
use super::super::rows::Rows;
use super::operation::no_operation;
use super::query;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::key::{FolderId, ItemId, QueueId};
use performer_core::model::lifecycle;
use performer_core::model::operation::{
    ItemOperation, MAX_ITEMS, OPERATION_PAGE_LIMIT, OperationId, OperationList, Plan, Selected,
};
use performer_core::model::queue::QueueDefinition;
use performer_core::model::review::ItemVersion;
use performer_core::orchestrator::{OrchestratorError, Result};

/// How many items are read together.
const READ_TOGETHER: usize = 20_000;

/// The items of an operation, with what would become of them at this time.
pub(super) fn select<R: Rows>(
    rows: &mut R,
    folders: &[FolderId],
    plan: &Plan,
    which: OperationItems,
    now: Timestamp,
) -> Result<Selected> {
    // Those that match are seen now, at the version that they have.
    let wanted: Vec<(ItemId, Option<u64>)> = match which {
        OperationItems::These(items) => {
            let mut seen = HashSet::with_capacity(items.len());
            let once = items.into_iter().filter(|item| seen.insert(item.id));
            once.map(|item| (item.id, Some(item.row_version))).collect()
        }
        OperationItems::Matching(filter) => {
            matching(rows, folders, *filter)?.into_iter().map(|id| (id, None)).collect()
        }
        OperationItems::CopiesOf(id) => rows.operation_copies(id)?.into_iter().map(|id| (id, None)).collect(),
    };
    let mut selection =
        Selection { folders, plan, now, queues: HashMap::new(), selected: Selected::default() };
    for chunk in wanted.chunks(READ_TOGETHER) {
        let ids: Vec<ItemId> = chunk.iter().map(|(id, _)| *id).collect();
        let standings = rows.standings(&ids)?;
        let found: HashMap<ItemId, Standing> = standings.into_iter().map(|found| (found.id, found)).collect();
        for (id, version) in chunk {
            match (found.get(id), version) {
                (Some(standing), version) => selection.add(rows, standing, *version)?,
                (None, Some(version)) => {
                    selection.add_missing(ItemVersion { id: *id, row_version: *version });
                }
                (None, None) => {} // it was removed, or cannot be read
            }
        }
    }
    selection.selected.finish();
    Ok(selection.selected)
}

/// The items that match, one more than an operation may have.
fn matching<R: Rows>(rows: &mut R, folders: &[FolderId], filter: ItemFilter) -> Result<Vec<ItemId>> {
    let page = Page::first(MAX_ITEMS + 1).descending(true).count_limit(0);
    query::ids(rows, folders, filter, page)
}

struct Selection<'a> {
    folders: &'a [FolderId],
    plan: &'a Plan,
    now: Timestamp,
    /// The queues of the items, and the folder in which the caller sees each.
    queues: HashMap<QueueId, Option<(QueueDefinition, FolderId)>>,
    selected: Selected,
}

impl Selection<'_> {
    fn add<R: Rows>(&mut self, rows: &mut R, standing: &Standing, version: Option<u64>) -> Result<()> {
        let queue = standing.queue;
        if !self.queues.contains_key(&queue) {
            let seen = rows.queue(queue)?.and_then(|queue| {
                let folder = queue.folders.iter().find(|folder| self.folders.contains(folder)).copied();
                folder.map(|folder| ((*queue).clone(), folder))
            });
            self.queues.insert(queue, seen);
        }
        let state = &standing.state;
        let item = ItemVersion { id: standing.id, row_version: version.unwrap_or(state.row_version) };
        let Some(Some((definition, folder))) = self.queues.get(&queue) else {
            self.add_missing(item);
            return Ok(());
        };
        let act = &self.plan.act;
        let refused =
            act.check(state, item.row_version).and_then(|()| match act.event(item.row_version, *folder) {
                Some(event) => {
                    lifecycle::transition(item.id, state, event, &definition.policy, self.now).map(drop)
                }
                None => Ok(()),
            });
        let place = Some((queue, *folder));
        self.selected.push(item, place, standing.reason, refused.err().as_ref());
        Ok(())
    }

    /// An item that does not exist, or not for the caller. Acting on it is refused.
    fn add_missing(&mut self, item: ItemVersion) {
        let refusal = Refusal::new(ErrorCode::ITEM_NOT_FOUND, "the item does not exist");
        self.selected.push(item, None, None, Some(&refusal));
    }
}

/// An operation within reach.
pub(super) fn operation<R: Rows>(
    rows: &mut R,
    id: OperationId,
    reach: Option<&[FolderId]>,
) -> Result<ItemOperation> {
    let found = rows.operation(id)?.filter(|operation| operation.is_within(reach));
    found.ok_or_else(|| no_operation(id))
}

/// Operations within reach, the newest first, and those that cannot be read.
pub(super) fn operations<R: Rows>(
    rows: &mut R,
    reach: Option<&[FolderId]>,
    mut before: Option<OperationId>,
    limit: usize,
) -> Result<OperationList> {
    check_limit(limit)?;
    let mut list = OperationList::default();
    loop {
        let page = rows.operations(before, limit)?;
        let is_last = page.len() < limit;
        before = page.last().map(ListedOperation::id);
        for listed in page {
            match listed {
                ListedOperation::Read(operation) if operation.is_within(reach) => {
                    list.operations.push(*operation);
                }
                ListedOperation::Read(_) => {}
                ListedOperation::Unreadable(id) => list.unreadable.push(id),
            }
            if list.len() == limit {
                return Ok(list);
            }
        }
        if is_last {
            return Ok(list);
        }
    }
}

/// Items of an operation within reach.
pub(super) fn items<R: Rows>(
    rows: &mut R,
    ask: &ListOperationItems,
    reach: Option<&[FolderId]>,
) -> Result<Answer> {
    check_limit(ask.limit)?;
    operation(rows, ask.operation, reach)?;
    Ok(Answer::OperationItems(rows.operation_items(ask)?))
}

fn check_limit(limit: usize) -> Result<()> {
    if (1..=OPERATION_PAGE_LIMIT).contains(&limit) {
        return Ok(());
    }
    let message = format!("{limit} were asked for; the limit is {OPERATION_PAGE_LIMIT}, and at least one");
    Err(OrchestratorError::from(Refusal::new(ErrorCode::INVALID_REQUEST, message)))
}
