//! Items are listed, edited, reviewed and commented on (T16 to T24 of `docs/reference/lifecycle.md`).

use performer::model::history::{Actors, events};
use performer::model::lifecycle::{self, Event};
use performer::model::query::compare;
use performer::model::review::validate_comment_author;
use performer::model::{
    Comment, ErrorCode, FailedItems, ItemEdit, ItemEvent, ItemFilter, ItemId, ItemPage, ItemVersion, Page,
    Person, QueueItem, Refusal, SchemaOf, SpecificContent, validate_progress,
};

use super::items::matches;
use super::state::{Answer, State};

impl State {
    pub(super) fn list(&self, filter: &ItemFilter, page: &Page) -> Answer<ItemPage> {
        page.validate()?;
        if filter.reason.is_some() {
            return Err(Refusal::new(ErrorCode::FEATURE_DISABLED, "failures are not grouped by reason"));
        }
        let queue = filter.queue.as_deref().map(|name| self.queue_named(name)).transpose()?;
        let of_queue = self.items.iter().filter(|(_, item)| queue.is_none_or(|queue| item.queue == queue));
        let shown = of_queue.map(|(id, item)| item.shown(*id));
        let mut found: Vec<QueueItem> = shown.filter(|item| matches(item, filter)).collect();
        if !filter.order.is_empty() {
            found.sort_by(|a, b| compare(&filter.order, a, b));
        } else if page.descending {
            found.reverse();
        }
        let count = found.len() as u64;
        if let Some(cursor) = &page.after {
            let behind = cursor.condition(&filter.order, page.descending)?;
            found.retain(|item| behind.holds(item));
        }
        Ok(ItemPage::new(found.into_iter().skip(page.skip).take(page.top).collect(), count))
    }

    /// T16.
    pub(super) fn edit(&mut self, id: ItemId, edit: ItemEdit) -> Answer<QueueItem> {
        edit.progress.as_deref().map_or(Ok(()), validate_progress)?;
        let item = self.item(id)?;
        edit.row_version.map_or(Ok(()), |version| lifecycle::check_version(&item.state, version))?;
        if let Some(content) = &edit.specific_content {
            let queue = &self.queue(item.queue)?.definition;
            queue.schemas.validate(SchemaOf::SpecificData, content.as_json())?;
        }
        let state = &item.state;
        let event = Event::Edit {
            priority: edit.priority.unwrap_or(state.priority),
            due_date: edit.due_date.applied_to(state.due_date),
            defer_date: edit.defer_date.applied_to(state.defer_date),
        };
        self.apply(id, event)?;
        let item = self.item_mut(id)?;
        if let Some(progress) = edit.progress {
            item.progress = Some(progress);
        }
        if let Some(content) = edit.specific_content {
            item.content = content;
        }
        Ok(item.shown(id))
    }

    /// Applies an event to each of these items, and collects the refusals. `event` makes it from the version that the caller has
    /// seen.
    pub(super) fn apply_to_each(
        &mut self,
        items: &[ItemVersion],
        event: impl Fn(u64) -> Event,
    ) -> FailedItems {
        let mut failed = FailedItems::default();
        for item in items {
            if let Err(refusal) = self.apply(item.id, event(item.row_version)) {
                failed.0.push((item.id, refusal));
            }
        }
        failed
    }

    /// All attempts of the retry chain of an item, the oldest first.
    pub(super) fn attempts(&self, id: ItemId) -> Answer<Vec<QueueItem>> {
        self.chain(id)?.into_iter().map(|id| Ok(self.item(id)?.shown(id))).collect()
    }

    /// The events of all attempts of the retry chain of an item.
    pub(super) fn events(&self, id: ItemId) -> Answer<Vec<ItemEvent>> {
        let mut all = Vec::new();
        for id in self.chain(id)? {
            let item = self.item(id)?;
            all.extend(events(id, &item.state, Actors::default(), &item.recorded));
        }
        Ok(all)
    }

    /// T24.
    pub(super) fn purge(&mut self, id: ItemId) -> Answer<()> {
        self.apply(id, Event::Purge)?;
        self.item_mut(id)?.content = SpecificContent::empty();
        Ok(())
    }

    /// Adds a comment whose text was checked.
    pub(super) fn add_comment(&mut self, id: ItemId, author: Person, text: String) -> Answer<Comment> {
        self.item(id)?;
        self.last_comment += 1;
        let comment = Comment::new(self.last_comment, id, text, author, self.now);
        self.comments.insert(comment.id, comment.clone());
        Ok(comment)
    }

    /// Changes a comment to a text that was checked, or deletes it.
    pub(super) fn edit_comment(&mut self, id: i64, author: &Person, text: Option<String>) -> Answer<()> {
        let missing = || Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("comment {id} does not exist"));
        let comment = self.comments.get_mut(&id).ok_or_else(missing)?;
        validate_comment_author(comment, author)?;
        match text {
            Some(text) => comment.text = text,
            None => drop(self.comments.remove(&id)),
        }
        Ok(())
    }

    /// The comments on all attempts of the retry chain of an item, the oldest first.
    pub(super) fn comments(&self, id: ItemId) -> Answer<Vec<Comment>> {
        let chain = self.chain(id)?;
        Ok(self.comments.values().filter(|comment| chain.contains(&comment.item_id)).cloned().collect())
    }

    /// Removes the comments on items that were removed.
    pub(super) fn remove_comments_without_item(&mut self) {
        self.comments.retain(|_, comment| self.items.contains_key(&comment.item_id));
    }
}
