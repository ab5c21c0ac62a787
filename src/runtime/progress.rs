//! Progress texts: they are sent in the background, and a newer text replaces one that is not sent yet.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::catch_panic::log;
use crate::model::{Claim, PROGRESS_LIMIT};
use crate::orchestrator::Orchestrator;
use performer_core::model::exception::bounded;

/// The progress text that is not sent yet.
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

    /// Takes the text that is not sent yet, if there is one, to send it with the result.
    pub(super) fn take(&self) -> Option<String> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Sends texts while the transaction runs; never returns. A text that could not be sent is kept for the next call or
    /// for the result, unless a newer one replaces it.
    pub(super) async fn send_all(&self, orchestrator: &dyn Orchestrator, claim: Claim) {
        loop {
            self.changed.notified().await;
            let Some(text) = self.take() else { continue };
            if let Err(error) = orchestrator.set_transaction_progress(claim, text.clone()).await {
                log!(debug, item = %claim.item(), %error, "the progress could not be recorded");
                self.unsent.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(text);
            }
        }
    }
}
