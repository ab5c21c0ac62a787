//! Saved views: filters of the list of items that people have named ([`model::view`](performer_core::model::view)).

use std::sync::Arc;

use super::Store;
use super::backend::{Operation, Query, expect_answer};
use performer_core::model::key::FolderId;
use performer_core::model::view::{SavedView, ViewContent};
use performer_core::orchestrator::{OrchestratorError, Result};

/// A change of a view. `managed`: the folders in which the caller may change views of others.
#[derive(Clone, Debug)]
pub(crate) enum ViewOperation {
    Add(ViewContent),
    Edit { id: i64, content: ViewContent, managed: Arc<[FolderId]> },
    Remove { id: i64, managed: Arc<[FolderId]> },
}

impl Store {
    /// The views of the user of this store, and those that are shared with one of these folders; by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn views(&self, folders: Arc<[FolderId]>) -> Result<Vec<SavedView>> {
        expect_answer!(self.read(Query::Views(folders)).await, Views)
    }

    /// Adds a view of the user of this store.
    ///
    /// # Errors
    ///
    /// Invalid for a name or a query that is none, and if the user has [`MAX_VIEWS`](performer_core::model::view::MAX_VIEWS) already;
    /// Conflict with code 1001 if the user has a view of this name.
    pub async fn add_view(&self, content: ViewContent) -> Result<SavedView> {
        self.change_view(ViewOperation::Add(content)).await
    }

    /// Changes a view. `managed`: the folders in which the caller may change views of others.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1007 for a view of somebody else; otherwise as [`add_view`](Self::add_view).
    pub async fn edit_view(
        &self,
        id: i64,
        content: ViewContent,
        managed: Arc<[FolderId]>,
    ) -> Result<SavedView> {
        self.change_view(ViewOperation::Edit { id, content, managed }).await
    }

    /// Removes a view. `managed`: as for [`edit_view`](Self::edit_view).
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1007 for a view of somebody else.
    pub async fn remove_view(&self, id: i64, managed: Arc<[FolderId]>) -> Result<()> {
        self.change_view(ViewOperation::Remove { id, managed }).await.map(drop)
    }

    async fn change_view(&self, change: ViewOperation) -> Result<SavedView> {
        let changed: Vec<SavedView> =
            expect_answer!(self.one(Operation::View(Box::new(change))).await, Views)?;
        changed.into_iter().next().ok_or_else(|| OrchestratorError::not_found("the view does not exist"))
    }
}

/// Views, inside the one transaction that is open.
pub(crate) trait ViewRows {
    /// Keeps others from changing views until the transaction ends. A back end with one transaction at a time has no need of it.
    fn lock_views(&mut self) -> Result<()> {
        Ok(())
    }
    /// The views of a user, and those that are shared with one of these folders; by name and number.
    fn views(&mut self, owner: i64, folders: &[FolderId]) -> Result<Vec<SavedView>>;
    /// A view that is to change. No other transaction changes it until this one ends.
    fn view_to_change(&mut self, id: i64) -> Result<Option<SavedView>>;
    /// Inserts a view. Returns its number; `None` if its owner has one of this name.
    fn insert_view(&mut self, owner: i64, content: &ViewContent) -> Result<Option<i64>>;
    fn write_view(&mut self, view: &SavedView) -> Result<()>;
    fn delete_view(&mut self, id: i64) -> Result<()>;
    /// Deletes the views that only their owner sees.
    fn delete_private_views(&mut self, owner: i64) -> Result<()>;
    /// Deletes the views that are shared with a folder.
    fn delete_views_of(&mut self, folder: FolderId) -> Result<()>;
}
