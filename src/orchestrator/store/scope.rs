//! A store limited to a folder and a user, as the server uses it.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::backend::Scope;
use crate::model::clock::Clock;
use crate::model::key::FolderId;

impl Store {
    /// This store in the scope of a user in a folder: queues and items of other folders do not exist in it.
    pub(crate) fn in_scope(&self, folder: FolderId, user: Option<i64>) -> Self {
        Self { scope: Scope { folder, user }, ..self.clone() }
    }

    /// This store with a time limit for lists: one that takes longer is refused as Invalid.
    pub(crate) fn with_list_limit(self, limit: Duration) -> Self {
        Self { list_limit: Some(limit), ..self }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}
