//! Saved views in memory.

use std::collections::BTreeMap;

use super::super::views::ViewRows;
use super::Memory;
use performer_core::model::key::FolderId;
use performer_core::model::view::{SavedView, ViewContent};
use performer_core::orchestrator::Result;

/// Views by number, and the last number that was given.
#[derive(Debug, Default)]
pub(super) struct StoredViews {
    all: BTreeMap<i64, SavedView>,
    last: i64,
}

impl ViewRows for Memory {
    fn views(&mut self, owner: i64, folders: &[FolderId]) -> Result<Vec<SavedView>> {
        let seen = self.views.all.values().filter(|view| view.is_seen_by(owner, folders));
        let mut found: Vec<SavedView> = seen.cloned().collect();
        found.sort_by(|a, b| (&a.content.name, a.id).cmp(&(&b.content.name, b.id)));
        Ok(found)
    }

    fn view_to_change(&mut self, id: i64) -> Result<Option<SavedView>> {
        Ok(self.views.all.get(&id).cloned())
    }

    fn insert_view(&mut self, owner: i64, content: &ViewContent) -> Result<Option<i64>> {
        let mut all = self.views.all.values();
        if all.any(|view| view.owner == owner && view.content.name == content.name) {
            return Ok(None);
        }
        self.views.last += 1;
        let id = self.views.last;
        self.views.all.insert(id, SavedView { id, owner, content: content.clone() });
        Ok(Some(id))
    }

    fn write_view(&mut self, view: &SavedView) -> Result<()> {
        self.views.all.insert(view.id, view.clone());
        Ok(())
    }

    fn delete_view(&mut self, id: i64) -> Result<()> {
        self.views.all.remove(&id);
        Ok(())
    }

    fn delete_private_views(&mut self, owner: i64) -> Result<()> {
        self.views.all.retain(|_, view| view.owner != owner || view.content.folder.is_some());
        Ok(())
    }

    fn delete_views_of(&mut self, folder: FolderId) -> Result<()> {
        self.views.all.retain(|_, view| view.content.folder != Some(folder));
        Ok(())
    }
}
