//! What a preview says about the items that were selected.

use serde::{Deserialize, Serialize};

use super::super::code::ErrorCode;
use super::super::key::{FolderId, ItemId, QueueId};
use super::super::refusal::Refusal;
use super::super::review::ItemVersion;

/// How many items are shown as samples.
const SAMPLES: usize = 10;
/// How many groups are shown; the others are counted together.
const MOST_GROUPS: usize = 20;

/// The items of an operation, as they were when they were selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selected {
    /// The items, in the order in which they are acted on.
    pub items: Vec<ItemVersion>,
    /// The folders that they are in.
    pub folders: Vec<FolderId>,
    /// What a preview says about them.
    pub preview: Preview,
}

/// What was known of the items when they were selected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Preview {
    /// How many items there are by queue and reason, the most first.
    pub groups: Vec<PreviewGroup>,
    /// How many items are in no group of the list.
    pub others: u64,
    /// How many items of each queue would not be refused, the most first.
    #[serde(default)]
    pub queues: Vec<PreviewQueue>,
    /// Why items would be refused, the most first.
    pub refused: Vec<PreviewRefusal>,
    /// How many items would be refused in all.
    pub refused_count: u64,
    /// The first items.
    pub samples: Vec<ItemId>,
}

/// The items of one queue that failed with one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct PreviewGroup {
    /// The number of the queue; `None` for items that were not found.
    pub queue_definition_id: Option<i64>,
    /// The number of the [reason](super::super::reason::Reason), if the items have one.
    pub reason: Option<i64>,
    /// How many items there are.
    pub count: u64,
}

/// The items of one queue that would be acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct PreviewQueue {
    /// The number of the queue.
    pub queue_definition_id: i64,
    /// How many items there are.
    pub count: u64,
}

/// The items that would be refused for one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct PreviewRefusal {
    /// The code.
    pub code: u16,
    /// Why.
    pub message: String,
    /// How many items there are.
    pub count: u64,
    /// One of them.
    pub sample: ItemId,
}

impl PreviewRefusal {
    fn is(&self, refusal: &Refusal) -> bool {
        // The message may have the present version of the item in it.
        let code = refusal.code();
        ErrorCode::new(self.code) == code
            && (code == ErrorCode::OPTIMISTIC_CONCURRENCY || self.message == refusal.to_string())
    }
}

impl Selected {
    /// Adds an item: its queue and folder if it was found, its reason, and why it would be refused now.
    pub fn push(
        &mut self,
        item: ItemVersion,
        place: Option<(QueueId, FolderId)>,
        reason: Option<i64>,
        refusal: Option<&Refusal>,
    ) {
        self.items.push(item);
        if let Some((_, folder)) = place
            && !self.folders.contains(&folder)
        {
            self.folders.push(folder);
        }
        let queue = place.map(|(queue, _)| queue.0);
        let is_it = |group: &&mut PreviewGroup| group.queue_definition_id == queue && group.reason == reason;
        let preview = &mut self.preview;
        match preview.groups.iter_mut().find(is_it) {
            Some(group) => group.count += 1,
            None => preview.groups.push(PreviewGroup { queue_definition_id: queue, reason, count: 1 }),
        }
        if preview.samples.len() < SAMPLES {
            preview.samples.push(item.id);
        }
        let Some(refusal) = refusal else {
            if let Some((queue, _)) = place {
                match preview.queues.iter_mut().find(|known| known.queue_definition_id == queue.0) {
                    Some(known) => known.count += 1,
                    None => preview.queues.push(PreviewQueue { queue_definition_id: queue.0, count: 1 }),
                }
            }
            return;
        };
        preview.refused_count += 1;
        match preview.refused.iter_mut().find(|known| known.is(refusal)) {
            Some(known) => known.count += 1,
            None => preview.refused.push(PreviewRefusal {
                code: refusal.code().number(),
                message: refusal.to_string(),
                count: 1,
                sample: item.id,
            }),
        }
    }

    /// All items are added: puts the largest groups first, and counts the others together.
    pub fn finish(&mut self) {
        self.folders.sort_unstable();
        let preview = &mut self.preview;
        preview.groups.sort_by_key(|group| std::cmp::Reverse(group.count));
        preview.others = preview.groups.iter().skip(MOST_GROUPS).map(|group| group.count).sum();
        preview.groups.truncate(MOST_GROUPS);
        preview.queues.sort_by_key(|queue| std::cmp::Reverse(queue.count));
        preview.queues.truncate(MOST_GROUPS);
        preview.refused.sort_by_key(|refused| std::cmp::Reverse(refused.count));
        preview.refused.truncate(MOST_GROUPS);
    }
}
