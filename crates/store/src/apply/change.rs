//! Asks the rules about an event, and writes the change with everything that belongs to it.

use super::super::reasons::Failure;
use super::super::rows::{ItemRow, RetryCopy, Rows, StateUpdate};
use super::{Applied, Apply};
use performer_core::crash_point;
use performer_core::model::exception::ProcessingException;
use performer_core::model::history::Recorded;
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::{self, Change, Event, ItemState, Transition};
use performer_core::model::reason;
use performer_core::model::status::Status;
use performer_core::model::webhook::EventType;

impl<R: Rows> Apply<'_, R> {
    /// As [`apply_event`](Self::apply_event), for an item of the folder. Returns the state before.
    pub(super) fn apply_event_here(&mut self, id: ItemId, event: Event) -> Applied<ItemState> {
        let row = self.row_here(id)?;
        self.apply_event_to(id, &row, event)?;
        Ok(row.state)
    }

    /// Applies an event to an item: asks the rules, and writes the change.
    pub(super) fn apply_event(&mut self, id: ItemId, event: Event) -> Applied<Status> {
        let row = self.row(id)?;
        self.apply_event_to(id, &row, event)
    }

    /// As [`apply_event`](Self::apply_event), for an item whose row was read in this transaction.
    pub(super) fn apply_event_to(&mut self, id: ItemId, row: &ItemRow, event: Event) -> Applied<Status> {
        Ok(self.change_row(id, row, event)?.0)
    }

    /// As [`apply_event_to`](Self::apply_event_to). Returns the new status, and the copy if there is one.
    pub(super) fn change_row(
        &mut self,
        id: ItemId,
        row: &ItemRow,
        event: Event,
    ) -> Applied<(Status, Option<ItemId>)> {
        let policy = self.policy(row.queue)?;
        match lifecycle::transition(id, &row.state, event, &policy, self.now)? {
            Transition::Unchanged | Transition::Remove => Ok((row.state.status, None)),
            Transition::Change(change) => {
                let written =
                    StateUpdate { ended_by: self.scope.user, ..StateUpdate::state(&change.after, self.now) };
                let copy = self.write_change(id, row, &change, &written)?;
                Ok((change.after.status, copy))
            }
        }
    }

    /// Writes a change and everything that belongs to it. Returns the copy, if it makes one.
    pub(super) fn write_change(
        &mut self,
        id: ItemId,
        before: &ItemRow,
        change: &Change,
        written: &StateUpdate<'_>,
    ) -> Applied<Option<ItemId>> {
        assert!(self.rows.write(id, before, written)?, "item {id} was read in this transaction");
        self.record_change(id, before, change)
    }

    /// What belongs to a change whose row is written: events, counters, the retry copy, and whom to wake. Returns the copy.
    pub(super) fn record_change(
        &mut self,
        id: ItemId,
        before: &ItemRow,
        change: &Change,
    ) -> Applied<Option<ItemId>> {
        let queue = before.queue;
        self.tell_change(queue, id, &before.state, &change.after);
        self.alert_of_end(queue, id, before.state.status, change);
        for event in &change.recorded {
            let happens_now = event.version == change.after.row_version;
            let user_id = if happens_now { self.scope.user } else { before.actors.of(event) };
            self.rows.record(id, &Recorded { user_id, ..*event })?;
        }
        let counted = self.statistics.entry(queue).or_default();
        counted.moved(&before.state, &change.after);
        self.figures.count(queue, &before.state, &change.after);
        let mut copied = None;
        if let Some(copy) = &change.copy {
            counted.count(copy, 1);
            crash_point!(within "before_copy");
            let unique_key = self.rows.next_item_key(self.now)?;
            let by_hand = copy.manual_retry_number > before.state.manual_retry_number;
            let copied_id = self.rows.insert_copy(&RetryCopy {
                original: id,
                queue,
                unique_key,
                state: copy,
                by_hand,
                created_by: self.scope.user,
                now: self.now,
            })?;
            self.note_changed(queue, copied_id, copy)?;
            copied = Some(copied_id);
            self.tell_item(EventType::ItemRetried, queue, copied_id);
            crash_point!(within "after_copy");
        }
        if before.state.status != Status::InProgress || change.after.status != Status::InProgress {
            self.note_changed(queue, id, &change.after)?; // progress changes nothing about its slot
        }
        if change.copy.is_some() || change.after.status == Status::New {
            self.wakes.add(queue);
        }
        let is_open = reason::is_open(&change.after);
        if before.state.status != Status::InProgress && reason::is_open(&before.state) != is_open {
            self.rows.count_open(id, if is_open { 1 } else { -1 })?;
        }
        Ok(copied)
    }

    /// Counts an attempt that has just failed in the group of its reason.
    pub(super) fn count_failure(
        &mut self,
        id: ItemId,
        queue: QueueId,
        change: &Change,
        exception: Option<&ProcessingException>,
    ) -> Applied<()> {
        if let Some(exception) = exception {
            self.rows.count_failure(&Failure::of(id, queue, &change.after, exception, self.now))?;
        }
        Ok(())
    }
}
