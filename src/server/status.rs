//! What tells of the server itself: its health, its version, the description of its data.

use axum::http::StatusCode;

use super::call::{Answer, Call};
use super::failure::Failure;
use super::routes::ROUTES;
use crate::wire::served;

type Reply = Result<Answer, Failure>;

/// The version of the API that is spoken.
pub(super) const API_VERSION: &str = "20.0";

/// Healthy when the store answers and all background tasks work.
pub(super) async fn health(call: &Call) -> Reply {
    call.server.access.refresh().await?;
    let silent = call.server.tasks.that_do_not_work();
    if !silent.is_empty() {
        let message = format!("Background tasks of the server do not work: {}.", silent.join(", "));
        return Err(Failure { message, ..Failure::unavailable() });
    }
    Ok(Answer::empty(StatusCode::OK))
}

pub(super) async fn version(_call: &Call) -> Reply {
    Answer::ok(&served::version(API_VERSION))
}

/// The entity sets, and the properties of those that are filtered.
pub(super) async fn metadata(_call: &Call) -> Reply {
    let mut sets: Vec<&str> = ROUTES
        .iter()
        .map(|route| route.entity)
        .filter(|entity| !entity.starts_with("api/") && *entity != "$metadata")
        .collect();
    sets.sort_unstable();
    sets.dedup();
    Ok(Answer {
        status: StatusCode::OK,
        body: Some(crate::wire::metadata::document(&sets).into_bytes().into()),
        content_type: "application/xml; charset=utf-8",
        location: None,
    })
}
