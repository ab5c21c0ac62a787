//! Items are added, claimed and reported on: T1 to T12 of `docs/reference/lifecycle.md`.

use performer::model::lifecycle::{self, Event};
use performer::model::selection::{SelectionKey, is_eligible};
use performer::model::{
    Claim, ClaimedItem, Holder, ItemId, JobKey, NewQueueItem, Outcome, QueueId, Refusal, SchemaOf, Status,
    TransactionResult, validate_progress,
};
use performer::orchestrator::{BulkAdded, ClaimRequest, ClaimedItems, CommitType, FailedItem, Report, Seen};

use super::items::Item;
use super::state::{Answer, State};
use super::unsupported;

impl State {
    /// T1.
    pub(super) fn add(&mut self, queue: QueueId, new: &NewQueueItem) -> Answer<ItemId> {
        let definition = &self.queue(queue)?.definition;
        let content = new.validate(definition)?;
        if new.group.is_some() {
            return Err(unsupported("groups of items"));
        }
        let state = lifecycle::added(new, &definition.policy, self.now);
        if let Some(reference) = new.reference.as_deref().filter(|_| state.holds_reference)
            && self.has_reference(queue, reference)
        {
            return Err(lifecycle::duplicate_reference(reference, &definition.name));
        }
        let key = self.keys.item(self.now);
        Ok(self.insert(Item::added(queue, key, state, new, content)))
    }

    /// Whether an item with this reference counts in the queue.
    fn has_reference(&self, queue: QueueId, reference: &str) -> bool {
        let is_it = |item: &Item| item.queue == queue && item.reference.as_deref() == Some(reference);
        self.items.values().any(|item| item.state.holds_reference && is_it(item))
    }

    /// T1, for many items.
    pub(super) fn add_many(
        &mut self,
        queue: QueueId,
        commit_type: CommitType,
        items: &[NewQueueItem],
    ) -> BulkAdded {
        let first = ItemId(self.last_item + 1);
        let mut bulk = BulkAdded::default();
        for (item, ordinal) in items.iter().zip(1..) {
            match self.add(queue, item) {
                Ok(_) => bulk.added += 1,
                Err(refusal) => bulk.failed.push(FailedItem::new(ordinal, refusal)),
            }
            if commit_type == CommitType::StopOnFirstFailure && !bulk.failed.is_empty() {
                break;
            }
        }
        if commit_type == CommitType::AllOrNothing && !bulk.failed.is_empty() {
            self.items.split_off(&first); // no other call has seen them: this one has not ended
            bulk.added = 0;
        }
        bulk
    }

    /// T2. The DeferDate is left out: it would only defer a retry of what is claimed at once.
    pub(super) fn add_and_claim(
        &mut self,
        take: &ClaimRequest,
        mut new: NewQueueItem,
    ) -> Answer<ClaimedItem> {
        let queue = self.queue_named(&take.queue)?;
        self.job(take.job)?.alive()?;
        new.defer_date = None;
        let id = self.add(queue, &new)?;
        self.take(id, take.job, take.robot)
    }

    /// T3: claims the next items of a queue.
    pub(super) fn claim(&mut self, take: &ClaimRequest) -> Answer<ClaimedItems> {
        let queue = self.queue_named(&take.queue)?;
        let seen = Seen(*self.queue(queue)?.changes.borrow());
        let is_wanted = |item: &Item| {
            item.queue == queue
                && is_eligible(&item.state, self.now)
                && take.reference.as_ref().is_none_or(|filter| filter.matches(item.reference.as_deref()))
        };
        let wanted = self.items.iter().filter(|(_, item)| is_wanted(item));
        let mut next: Vec<SelectionKey> = wanted
            .map(|(id, item)| SelectionKey::new(item.state.priority, item.state.due_date, *id))
            .collect();
        next.sort_unstable();
        // Only who would get an item has to be alive: a job that has ended may find that the queue is empty.
        if !next.is_empty() {
            self.job(take.job)?.alive()?;
        }
        let next = next.iter().take(take.count);
        let items = next.map(|key| self.take(key.id(), take.job, take.robot)).collect::<Answer<_>>()?;
        let mut claimed = ClaimedItems::new(items);
        claimed.seen = seen;
        Ok(claimed)
    }

    /// T3, for one item.
    fn take(&mut self, id: ItemId, job: JobKey, robot: Option<u32>) -> Answer<ClaimedItem> {
        self.apply(id, Event::Take { job: job.number() })?;
        let item = self.item_mut(id)?;
        item.set_claimant(job, robot);
        let claim = Claim { item: id, job, token: item.state.token };
        Ok(ClaimedItem::new(Box::new(item.shown(id)), claim))
    }

    /// T4 to T9, T11 and T12. Returns the status of the item afterwards.
    pub(super) fn report(&mut self, report: &Report) -> Answer<Status> {
        if !report.follow_ups.is_empty() {
            return Err(unsupported("follow-up items"));
        }
        report.progress.as_deref().map_or(Ok(()), validate_progress)?;
        let id = report.claim.item;
        self.check_exists(report.claim)?;
        if let TransactionResult::Successful { output: Some(output) } = &report.result {
            let queue = &self.queue(self.item(id)?.queue)?.definition;
            queue.schemas.validate(SchemaOf::OutputData, output.as_json())?;
        }
        let changed = self.apply(id, event_of(&report.result, report.claim.holder()))?;
        let item = self.item_mut(id)?;
        if changed {
            item.set_reported(report);
        }
        Ok(item.state.status)
    }

    /// T10.
    pub(super) fn set_progress(&mut self, claim: Claim, progress: String) -> Answer<()> {
        validate_progress(&progress)?;
        self.check_exists(claim)?;
        self.apply(claim.item, Event::Progress { claim: Some(claim.holder()) })?;
        self.item_mut(claim.item)?.progress = Some(progress);
        Ok(())
    }

    /// A claim on an item that was removed, by retention or with its queue, is lost.
    fn check_exists(&self, claim: Claim) -> Answer<()> {
        let lost = |missing: Refusal| Refusal::claim_lost(missing.code(), missing.to_string());
        self.item(claim.item).map(drop).map_err(lost)
    }
}

/// What happens to an item by a report.
fn event_of(result: &TransactionResult, claim: Holder) -> Event {
    let outcome = result.outcome().unwrap_or(Outcome::Unspecified);
    match *result {
        TransactionResult::Successful { .. } => Event::Report { claim, outcome, defer_date: None },
        TransactionResult::Failed { defer_date, .. } => Event::Report { claim, outcome, defer_date },
        TransactionResult::Postponed { defer_date, due_date } => {
            Event::Postpone { claim, defer_date, due_date }
        }
        TransactionResult::GivenBack => Event::GiveBack { claim },
    }
}
