//! The comments of an item, which a store answers in pages.

use std::sync::Arc;

use jiff::Timestamp;

use super::Store;
use super::backend::{Query, expect_answer};
use performer_core::model::key::{FolderId, ItemId, QueueId};
use performer_core::model::review::{Comment, Person};
use performer_core::orchestrator::Result;

/// So many comments are asked of a store together.
pub const MAX_COMMENTS_LISTED: usize = 500;

/// Which items comments are on.
#[derive(Clone, Debug)]
pub enum CommentsOn {
    /// All items of the folders.
    Any,
    /// These items.
    These(Vec<ItemId>),
    /// All attempts of an item, which is in the folder.
    AttemptsOf(ItemId),
}

/// Which comments to list.
#[derive(Debug)]
pub(crate) struct ListComments<'a> {
    /// On items of these queues.
    pub(crate) queues: &'a [QueueId],
    /// Only on these items.
    pub(crate) items: Option<&'a [ItemId]>,
    /// Only those with a greater id.
    pub(crate) after: i64,
    /// The maximum number.
    pub(crate) limit: usize,
}

/// What a back end does about comments, inside the one transaction that is open.
pub(crate) trait Comments {
    /// Inserts the same comment on items. Returns those that there are now, by id.
    fn insert_comments(
        &mut self,
        items: &[ItemId],
        author: &Person,
        text: &str,
        now: Timestamp,
    ) -> Result<Vec<Comment>>;
    fn comment(&mut self, comment: i64) -> Result<Option<Comment>>;
    /// Changes the text of a comment, or removes it.
    fn write_comment(&mut self, comment: i64, text: Option<&str>) -> Result<()>;
    /// Comments by id.
    fn list_comments(&mut self, ask: &ListComments<'_>) -> Result<Vec<Comment>>;
}

impl Store {
    /// One comment.
    ///
    /// # Errors
    ///
    /// NotFound.
    pub async fn comment(&self, id: i64) -> Result<Comment> {
        expect_answer!(self.read(Query::Comment(id)).await, Comment)
    }

    /// Comments on items of the queues in any of these folders, by id, from behind `after` on; at most
    /// [`MAX_COMMENTS_LISTED`].
    ///
    /// # Errors
    ///
    /// NotFound for an item that does not exist.
    pub async fn comments_in_folders(
        &self,
        folders: Arc<[FolderId]>,
        on: CommentsOn,
        after: i64,
    ) -> Result<Vec<Comment>> {
        let limit = MAX_COMMENTS_LISTED;
        expect_answer!(self.read(Query::CommentsOf { folders, on, after, limit }).await, Comments)
    }

    /// The comments on all attempts of an item, by id.
    pub(super) async fn all_comments(&self, id: ItemId) -> Result<Vec<Comment>> {
        let folders: Arc<[FolderId]> = Arc::new([self.scope.folder]);
        let (mut all, mut after) = (Vec::new(), i64::MIN);
        loop {
            let on = CommentsOn::AttemptsOf(id);
            let page = self.comments_in_folders(folders.clone(), on, after).await?;
            after = page.last().map_or(after, |last| last.id);
            let is_last = page.len() < MAX_COMMENTS_LISTED;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }
}
