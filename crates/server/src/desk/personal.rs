//! Personal fields: what the page of an item says of those that it masks, and the page that shows them once.

use askama::Template;

use super::call::{DeskCall, FolderItem};
use super::frame::Frame;
use super::html;
use super::item::{ItemView, view};
use super::reply::Reply;
use super::routes::{REVEAL, REVEAL_ALONE};
use crate::api_error::ApiError;
use performer_core::model::personal::{PersonalFields, REVEAL_REASON_LIMIT};
use performer_core::model::queue::QueueDefinition;
use performer_core::orchestrator::ItemAdministration as _;

/// What a page says of the masked fields of its item.
pub(super) struct MaskedFields {
    /// Their names, in one line.
    pub(super) names: String,
    pub(super) may_reveal: bool,
    /// What the reader lacks to see them.
    pub(super) needs: String,
    pub(super) reason_limit: usize,
}

impl MaskedFields {
    /// `None` for an item without personal fields.
    pub(super) fn of(call: &DeskCall, found: &FolderItem, queue: &QueueDefinition) -> Option<Self> {
        let names = PersonalFields::of(&queue.schemas).names(&found.item);
        // An Orchestrator answers with the values themselves.
        if names.is_empty() || call.is_remote() {
            return None;
        }
        let folder = call.directory().map(|all| all.full_name(found.folder)).unwrap_or_default();
        Some(Self {
            names: html::line(&names.join(", "), 500),
            may_reveal: call.may(found.folder, REVEAL),
            needs: format!("{REVEAL_ALONE} in the folder {}", html::visible(&folder)),
            reason_limit: REVEAL_REASON_LIMIT,
        })
    }
}

#[derive(Template)]
#[template(path = "reveal.html")]
struct RevealPage {
    frame: Frame,
    id: i64,
    view: ItemView,
    names: String,
}

/// Shows the item with its personal fields, and records that. The page is the answer to the form: to see it again is to send the form
/// again, and no cache keeps it.
pub(super) async fn reveal(call: &DeskCall) -> Result<Reply, ApiError> {
    let found = call.item().await?;
    let queue = call.queue_with_id(found.item.queue_id).await?.queue;
    let reason = call.field("reason").trim().to_owned();
    let item = call.store(found.folder).reveal_personal_fields(found.item.id, reason).await?;
    let names = PersonalFields::of(&queue.schemas).names(&item).join(", ");
    Reply::page(&RevealPage {
        frame: call.frame("/desk/items"),
        id: item.id.0,
        view: view(&item, &queue.name),
        names: html::line(&names, 500),
    })
}
