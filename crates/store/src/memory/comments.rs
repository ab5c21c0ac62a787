//! Comments in memory.

use std::collections::BTreeSet;
use std::ops::Bound;

use jiff::Timestamp;

use super::super::comments::{Comments, ListComments};
use super::Memory;
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, Person};
use performer_core::orchestrator::Result;

impl Comments for Memory {
    fn insert_comments(
        &mut self,
        items: &[ItemId],
        author: &Person,
        text: &str,
        now: Timestamp,
    ) -> Result<Vec<Comment>> {
        let mut comments = Vec::with_capacity(items.len());
        for id in items {
            self.last_comment += 1;
            let comment = Comment::new(self.last_comment, *id, text.to_owned(), author.clone(), now);
            self.comments.insert(comment.id, comment.clone());
            comments.push(comment);
        }
        Ok(comments)
    }

    fn comment(&mut self, comment: i64) -> Result<Option<Comment>> {
        Ok(self.comments.get(&comment).cloned())
    }

    fn write_comment(&mut self, comment: i64, text: Option<&str>) -> Result<()> {
        match (text, self.comments.get_mut(&comment)) {
            (Some(text), Some(stored)) => text.clone_into(&mut stored.text),
            _ => {
                self.comments.remove(&comment);
            }
        }
        Ok(())
    }

    fn list_comments(&mut self, ask: &ListComments<'_>) -> Result<Vec<Comment>> {
        let items: Option<BTreeSet<ItemId>> = ask.items.map(|items| items.iter().copied().collect());
        let is_asked_for = |comment: &&Comment| {
            items.as_ref().is_none_or(|items| items.contains(&comment.item_id))
                && self.items.get(&comment.item_id).is_some_and(|item| ask.queues.contains(&item.queue))
        };
        let behind = self.comments.range((Bound::Excluded(ask.after), Bound::Unbounded));
        Ok(behind.map(|(_, comment)| comment).filter(is_asked_for).take(ask.limit).cloned().collect())
    }
}
