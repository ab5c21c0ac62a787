//! Groups of failures, a retry with corrected values, and reveals of personal fields: what only performer's own server has.

use super::Inner;
use super::call::Call;
use performer_core::model::item::{ItemEdit, QueueItem};
use performer_core::model::key::ItemId;
use performer_core::model::personal::validate_reveal_reason;
use performer_core::model::reason::{Reason, ReasonEdit, ReasonFilter};
use performer_core::model::review::ItemVersion;
use performer_core::orchestrator::Result;
use performer_wire::review_protocol::{
    CorrectRequest, CorrectResponse, EditReasonRequest, ReasonDto, ReasonsRequest, RevealRequest,
};

fn call(operation: &'static str, body: &impl serde::Serialize) -> Call {
    Call::post(operation, format!("/api/Performer/{operation}"), body)
}

impl Inner {
    pub(super) async fn reasons(&self, filter: ReasonFilter) -> Result<Vec<Reason>> {
        filter.validate()?;
        let body = ReasonsRequest::from(filter);
        let reasons: Vec<ReasonDto> = self.http.json(call("Reasons", &body).repeatable()).await?;
        Ok(reasons.into_iter().map(Reason::from).collect())
    }

    pub(super) async fn change_reason(&self, id: i64, edit: ReasonEdit) -> Result<Reason> {
        edit.validate()?;
        let body = EditReasonRequest { id, edit };
        let changed: ReasonDto = self.http.json(call("EditReason", &body).repeatable()).await?;
        Ok(changed.into())
    }

    /// Not repeated: if its answer was lost, the version of the item tells that it was done.
    pub(super) async fn correct(&self, item: ItemVersion, edit: ItemEdit) -> Result<QueueItem> {
        let body = CorrectRequest::new(item, edit);
        let copy: CorrectResponse = self.http.json(call("Correct", &body)).await?;
        self.item(ItemId(copy.id)).await
    }

    /// Not repeated: each is a record of the audit. The item is read once it is recorded.
    pub(super) async fn reveal(&self, id: ItemId, reason: String) -> Result<QueueItem> {
        validate_reveal_reason(&reason)?;
        self.http.json::<serde::de::IgnoredAny>(call("Reveal", &RevealRequest { id: id.0, reason })).await?;
        self.item(id).await
    }
}
