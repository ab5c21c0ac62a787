//! Items that are ready and have a DueDate, in memory.

use super::super::deadlines::{DueRows, joined};
use super::Memory;
use performer_core::model::deadlines::{DueItems, MAX_FORECAST};
use performer_core::model::key::QueueId;
use performer_core::orchestrator::Result;

impl DueRows for Memory {
    fn ready_by_due_date(&mut self, queue: QueueId, _in_turn: bool) -> Result<Vec<DueItems>> {
        let Some(stored) = self.queues.get(&queue) else { return Ok(Vec::new()) };
        let ready = stored.ready.iter().filter_map(|key| self.items.get(&key.id())?.state.due_date);
        Ok(joined(ready.take(MAX_FORECAST)))
    }
}
