//! The comments of an item, which a store answers in pages.

use std::sync::Arc;

use super::super::Result;
use super::backend::{CommentsOn, Query};
use super::{Store, expect_answer};
use crate::model::key::ItemId;
use crate::model::review::Comment;

/// So many comments are asked of a store together.
pub(crate) const COMMENTS_AT_ONCE: usize = 500;

impl Store {
    /// The comments on all attempts of an item, by id.
    pub(super) async fn all_comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        let folders = Arc::new([self.scope.folder]);
        let (mut all, mut after) = (Vec::new(), i64::MIN);
        loop {
            let on = CommentsOn::AttemptsOf(id);
            let query = Query::CommentsOf { folders: folders.clone(), on, after, limit: COMMENTS_AT_ONCE };
            let page = expect_answer!(self.read(query).await, Comments)?;
            after = page.last().map_or(after, |last| last.id);
            let is_last = page.len() < COMMENTS_AT_ONCE;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}
