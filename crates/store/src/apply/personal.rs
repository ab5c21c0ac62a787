//! Personal fields of items: masked in the answers to queries, and revealed by an act that the audit records.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::backend::Answer;
use super::super::logs::LogAnswer;
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange};
use performer_core::model::code::ErrorCode;
use performer_core::model::item::QueueItem;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::personal::{PersonalFields, PersonalValues, validate_reveal_reason};
use performer_core::orchestrator::{OrchestratorError, Result};

/// The most fields that a record of the audit names.
const MOST_NAMED: usize = 50;

/// The answer with masks in its items, and in what repeats their values: reasons, comments and logs.
pub(super) fn masked<R: Rows>(rows: &mut R, mut answer: Answer) -> Result<Answer> {
    let mut known = Known { rows, of_queues: HashMap::new(), of_items: HashMap::new() };
    match &mut answer {
        Answer::Item(item) => known.mask_items([&mut **item])?,
        Answer::Items(page) => known.mask_items(&mut page.items)?,
        Answer::Page((items, _)) | Answer::History(items) => known.mask_items(items)?,
        Answer::ItemsWith(found) => known.mask_items(found.iter_mut().map(|(_, item)| item))?,
        Answer::Comments(comments) => {
            for comment in comments {
                known.values_of(comment.item_id)?.mask(&mut comment.text);
            }
        }
        Answer::Log(LogAnswer::Lines(lines)) => {
            for line in lines {
                if let Some(item) = line.item {
                    known.values_of(item)?.mask_json(&mut line.entry);
                }
            }
        }
        // Whose reason the sample is, is not known. What stands for all of them has neither numbers nor quoted names.
        Answer::Reasons(reasons) => {
            for reason in reasons {
                if !known.fields_of(reason.queue)?.is_empty() {
                    reason.sample.clone_from(&reason.fingerprint);
                }
            }
        }
        _ => {}
    }
    Ok(answer)
}

/// What is personal, as far as it was looked up.
struct Known<'r, R> {
    rows: &'r mut R,
    of_queues: HashMap<QueueId, PersonalFields>,
    of_items: HashMap<ItemId, PersonalValues>,
}

impl<R: Rows> Known<'_, R> {
    fn fields_of(&mut self, queue: QueueId) -> Result<&PersonalFields> {
        Ok(match self.of_queues.entry(queue) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let queue = self.rows.queue(queue)?;
                // Of a queue that was deleted since nothing is known, and nothing shown but what was read before.
                let gone = || OrchestratorError::not_found("the queue was deleted meanwhile");
                new.insert(PersonalFields::of(&queue.ok_or_else(gone)?.schemas))
            }
        })
    }

    fn mask_items<'i>(&mut self, items: impl IntoIterator<Item = &'i mut QueueItem>) -> Result<()> {
        for item in items {
            self.fields_of(item.queue_id)?.mask_item(item);
        }
        Ok(())
    }

    /// The personal values of an item; none if it is gone.
    fn values_of(&mut self, id: ItemId) -> Result<&PersonalValues> {
        if !self.of_items.contains_key(&id) {
            let values = match self.rows.item(id)? {
                Some(item) => self.fields_of(item.queue_id)?.values(&item),
                None => PersonalValues::default(),
            };
            self.of_items.insert(id, values);
        }
        Ok(&self.of_items[&id])
    }
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
