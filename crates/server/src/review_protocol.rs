//! Groups of failures, a retry with corrected values, and reveals of personal fields: what the vendor's API does not have (`wire/review_protocol.rs`).

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use performer_core::model::key::ItemId;
use performer_core::orchestrator::{ItemAdministration as _, ReviewAdministration as _};
use performer_wire::review_protocol::{
    CorrectRequest, CorrectResponse, EditReasonRequest, ReasonDto, ReasonsRequest, RevealRequest,
};

type HandlerResult = Result<ApiResponse, ApiError>;

pub(super) async fn reasons(call: &Call) -> HandlerResult {
    let body: ReasonsRequest = call.own_body()?;
    let reasons = call.store()?.list_reasons(body.into()).await?;
    ApiResponse::ok(&reasons.into_iter().map(ReasonDto::from).collect::<Vec<_>>())
}

pub(super) async fn edit_reason(call: &Call) -> HandlerResult {
    let EditReasonRequest { id, edit } = call.own_body()?;
    let reason = call.store()?.edit_reason(id, edit).await?;
    ApiResponse::ok(&ReasonDto::from(reason))
}

pub(super) async fn correct(call: &Call) -> HandlerResult {
    let body: CorrectRequest = call.own_body()?;
    let (item, edit) = body.into_parts()?;
    let copy = call.store()?.correct_and_retry(item, edit).await?;
    ApiResponse::ok(&CorrectResponse { id: copy.id.0 })
}

/// Records that the caller sees the personal fields of an item, which it reads as any other.
pub(super) async fn reveal(call: &Call) -> HandlerResult {
    let RevealRequest { id, reason } = call.own_body()?;
    call.store()?.reveal_personal_fields(ItemId(id), reason).await?;
    ApiResponse::ok(&serde_json::json!({}))
}
