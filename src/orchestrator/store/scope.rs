//! A store as callers of a server see it.

use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::backend::Scope;
use crate::model::clock::Clock;
use crate::model::key::FolderId;

impl Store {
    /// The same store as a user sees it in a folder: the queues and items of others are not there.
    pub(crate) fn in_scope(&self, folder: FolderId, user: Option<i64>) -> Self {
        Self { scope: Scope { folder, user }, ..self.clone() }
    }

    /// The same store, whose lists are given up after a while, and refused as Invalid.
    pub(crate) fn with_list_limit(self, limit: Duration) -> Self {
        Self { list_limit: Some(limit), ..self }
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
}
