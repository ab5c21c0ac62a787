//! A store limited to a folder and a user, as the server uses it.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::backend::Scope;
use performer_core::model::clock::Clock;
use performer_core::model::key::FolderId;

impl Store {
    /// This store in the scope of a user in a folder: queues and items of other folders do not exist in it.
    #[must_use]
    pub fn in_scope(&self, folder: FolderId, user: Option<i64>) -> Self {
        Self { scope: Scope { folder, user, ..self.scope }, ..self.clone() }
    }

    /// This store with masks in the place of the personal fields of all items that it reads
    /// ([`model::personal`](performer_core::model::personal)): for pages, which people look at.
    /// [`reveal_personal_fields`](performer_core::orchestrator::ItemAdministration::reveal_personal_fields) shows those of one item.
    #[must_use]
    pub fn masked(&self) -> Self {
        Self { scope: Scope { is_masked: true, ..self.scope }, ..self.clone() }
    }

    /// This store with a time limit for lists: one that takes longer is refused as Invalid. Default: no limit.
    #[must_use]
    pub fn with_list_limit(self, limit: Duration) -> Self {
        Self { list_limit: Some(limit), ..self }
    }

    /// The clock that decides in this store.
    pub fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}
