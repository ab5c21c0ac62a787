//! Progress texts: the latest wins, and none ever makes a transaction wait.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::guard::log;
use crate::model::exception::bounded;
use crate::model::item::PROGRESS_LIMIT;
use crate::model::key::Claim;
use crate::orchestrator::Orchestrator;

/// The text that is still to be sent.
#[derive(Debug, Default)]
pub(super) struct Progress {
    unsent: Mutex<Option<String>>,
    changed: Notify,
}

impl Progress {
    pub(super) fn set(&self, text: String) {
        let text = bounded(text, PROGRESS_LIMIT);
        *self.unsent.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.changed.notify_one();
    }

    /// The text that has not been sent, if there is one. It travels with the result.
    pub(super) fn take(&self) -> Option<String> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends texts while the transaction runs. While one is under way newer ones replace each other. Never
    /// returns; a text that could not be sent travels with the result, unless a newer one does.
    pub(super) async fn send_all(&self, orchestrator: &dyn Orchestrator, claim: Claim) {
        loop {
            self.changed.notified().await;
            let Some(text) = self.take() else { continue };
            if let Err(error) = orchestrator.set_transaction_progress(claim, text.clone()).await {
                log!(debug, item = %claim.item(), %error, "progress was not recorded");
                self.unsent.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
            }
        }
    }
}
