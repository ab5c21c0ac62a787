//! Personal fields of items: masked in the answers to queries, and revealed by an act that the audit records.

use std::collections::HashMap;

use super::super::backend::Answer;
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::key::ItemId;
use performer_core::model::personal::{PersonalFields, validate_reveal_reason};
use performer_core::orchestrator::{OrchestratorError, Result};

/// The most fields that a record of the audit names.
const MOST_NAMED: usize = 50;

/// The answer with masks in its items.
pub(super) fn masked<R: Rows>(rows: &mut R, mut answer: Answer) -> Result<Answer> {
    let items: Vec<&mut QueueItem> = match &mut answer {
        Answer::Item(item) => vec![&mut **item],
        Answer::Items(page) => page.items.iter_mut().collect(),
        Answer::Page((items, _)) | Answer::History(items) => items.iter_mut().collect(),
        Answer::ItemsWith(found) => found.iter_mut().map(|(_, item)| item).collect(),
        _ => Vec::new(),
    };
    let mut of_queues = HashMap::new();
    for item in items {
        let personal = match of_queues.entry(item.queue_id) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(new) => {
                let queue = rows.queue(item.queue_id)?;
                // The item of a queue that is gone was read before that.
                let missing = || OrchestratorError::no_item(item.id);
                new.insert(PersonalFields::of(&queue.ok_or_else(missing)?.schemas))
            }
        };
        personal.mask_item(item);
    }
    Ok(answer)
}

impl<R: Rows> Apply<'_, R> {
    /// Answers with the whole item. That is told after the commit which records it.
    pub(super) fn reveal(&mut self, id: ItemId, reason: &str) -> Applied {
        validate_reveal_reason(reason)?;
        let queue = self.row_here(id)?.queue;
        let gone = || ApplyError::Refused(OrchestratorError::no_item(id));
        let queue = self.queue_by_id(queue)?.ok_or_else(gone)?;
        let item = self.item(id)?;
        let mut names = PersonalFields::of(&queue.schemas).names(&item);
        if names.is_empty() {
            let message = format!("item {id} has no personal fields");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let more = names.len().saturating_sub(MOST_NAMED);
        names.truncate(MOST_NAMED);
        let mut changes = vec![FieldChange::new("Reason", None, Some(reason.trim().into()))];
        changes.extend(names.iter().map(|name| FieldChange::without_values(name)));
        if more > 0 {
            changes.push(FieldChange::without_values(&format!("and {more} more fields")));
        }
        self.note_act(Act::PersonalRevealed, format!("item {id}"), vec![id], changes);
        Ok(Answer::Item(Box::new(item)))
    }
}
