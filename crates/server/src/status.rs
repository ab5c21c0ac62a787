//! Health, version and `$metadata` of the server.

use axum::http::StatusCode;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::routes::ROUTES;
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

/// The version of the API that the server implements.
pub(super) const API_VERSION: &str = "20.0";

/// The health check: the store answers and all background tasks run.
pub(super) async fn health(call: &Call) -> HandlerResult {
    call.server.access.refresh().await?;
    let silent = call.server.tasks.failing();
    if !silent.is_empty() {
        let message = format!("Background tasks of the server are not running: {}.", silent.join(", "));
        return Err(ApiError { message, ..ApiError::unavailable() });
    }
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn version(_call: &Call) -> HandlerResult {
    ApiResponse::ok(&responses::version(API_VERSION))
}

/// The entity sets and their properties.
pub(super) async fn metadata(_call: &Call) -> HandlerResult {
    let mut sets: Vec<&str> = ROUTES
        .iter()
        .map(|route| route.entity)
        .filter(|entity| !entity.starts_with("api/") && *entity != "$metadata")
        .collect();
    sets.sort_unstable();
    sets.dedup();
    Ok(ApiResponse {
        status: StatusCode::OK,
        body: Some(performer_wire::metadata::document(&sets).into_bytes().into()),
        content_type: "application/xml; charset=utf-8",
        location: None,
    })
}
