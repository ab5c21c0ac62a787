//! Personal fields of items are masked in what the command shows to people, as on the desk.

use std::collections::HashMap;

use performer_core::model::content::SpecificContent;
use performer_core::model::item::QueueItem;
use performer_core::model::key::QueueId;
use performer_core::model::personal::PersonalFields;
use performer_core::orchestrator::Administration;

use super::super::output::CliError;

/// What is personal in the items of each queue.
pub(super) struct Masks(HashMap<QueueId, PersonalFields>);

impl Masks {
    pub(super) async fn of(orchestrator: &dyn Administration) -> Result<Self, CliError> {
        let queues = orchestrator.list_queues().await?.into_iter();
        Ok(Self(queues.map(|queue| (queue.id, PersonalFields::of(&queue.schemas))).collect()))
    }

    /// The content with the values of an item in the places that are still masked.
    pub(super) fn restore(&self, item: &QueueItem, content: &str) -> Result<SpecificContent, CliError> {
        let personal = self.0.get(&item.queue_id).ok_or_else(|| unknown_queue(item))?;
        Ok(personal.restore(&item.specific_content, content)?)
    }

    /// Masks the personal fields of an item. Returns their names.
    ///
    /// # Errors
    ///
    /// If its queue was not listed: what is personal is not known then.
    pub(super) fn mask(&self, item: &mut QueueItem) -> Result<Vec<String>, CliError> {
        let personal = self.0.get(&item.queue_id).ok_or_else(|| unknown_queue(item))?;
        Ok(personal.mask_item(item))
    }
}

fn unknown_queue(item: &QueueItem) -> CliError {
    CliError::failed(format!("the queue of item {} cannot be read", item.id))
}
