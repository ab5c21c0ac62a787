//! Alerts (orchestrator-api 25): of all folders that the caller is assigned to, each read or not by the caller.

use axum::http::StatusCode;
use serde_json::json;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use performer_core::model::alert::{
    AlertFilter, AlertSeverity, MAX_ALERTS_LISTED, MAX_ALERTS_MARKED, NewAlert,
};
use performer_core::model::key::FolderId;
use performer_wire::alert::{AlertDto, CountResponse, MarkAsReadRequest, RaiseProcessAlertRequest};
use performer_wire::odata::entity_set;
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

/// About how many bytes an alert is.
const ALERT_BYTES: usize = 1_024;

/// The folders whose alerts the caller sees.
fn folders(call: &Call) -> Result<Vec<FolderId>, ApiError> {
    let caller = call.caller()?;
    let all = caller.directory.folders().map(|folder| folder.id);
    Ok(all.filter(|folder| caller.is_assigned(*folder)).collect())
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let mut filter = AlertFilter::default();
    (filter.folders, filter.limit) = (Some(folders(call)?), MAX_ALERTS_LISTED);
    let alerts = call.store_for_caller().alerts(filter).await?;
    let _memory = call.reserve_memory(alerts.len() * ALERT_BYTES)?;
    call.page(&entity_set::ALERTS, alerts.iter().map(|alert| json!(AlertDto::from(alert))).collect())
}

fn count(call: &Call, value: u64) -> HandlerResult {
    ApiResponse::ok(&responses::with_context(&call.context("Edm.Int64"), &CountResponse { value }))
}

pub(super) async fn unread(call: &Call) -> HandlerResult {
    let unread = call.store_for_caller().unread_alerts(Some(folders(call)?)).await?;
    count(call, unread)
}

pub(super) async fn mark(call: &Call) -> HandlerResult {
    let MarkAsReadRequest { ids } = call.body(&strict::MARK_ALERTS)?;
    Call::check_length("ids", ids.len(), MAX_ALERTS_MARKED)?;
    let unread = call.store_for_caller().read_alerts(ids, Some(folders(call)?)).await?;
    count(call, unread)
}

pub(super) async fn raise(call: &Call) -> HandlerResult {
    let RaiseProcessAlertRequest { process_alert: alert } = call.body(&strict::PROCESS_ALERT)?;
    let severity: AlertSeverity = alert
        .severity
        .parse()
        .map_err(|error| ApiError::invalid_argument(format!("Invalid argument 'processAlert': {error}.")))?;
    let folders = folders(call)?;
    let folder = *folders.first().ok_or_else(ApiError::no_folder_given)?;
    let names = (&*alert.process_name, &*alert.robot_name);
    let new = NewAlert::of_process(severity, folder, names, &alert.message)?;
    call.store_for_caller().raise_alert(new).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}
