//! The server: whether it reaches its store, what it is set to, and what it has done since its start.

use askama::Template;

use super::DeskMode;
use super::call::DeskCall;
use super::frame::Frame;
use super::html;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{FleetAdministration as _, Result};

/// How many jobs of a folder are looked at, the newest first.
const JOBS: usize = 1_000;

#[derive(Template)]
#[template(path = "health.html")]
struct HealthPage {
    frame: Frame,
    checks: Vec<Check>,
    settings: Vec<(&'static str, String)>,
}

/// One check.
struct Check {
    name: &'static str,
    is_good: bool,
    text: String,
}

pub(super) async fn page(call: &DeskCall) -> std::result::Result<Reply, ApiError> {
    Reply::page(&HealthPage {
        frame: call.frame("/desk/health"),
        checks: checks(call).await,
        settings: settings(call),
    })
}

async fn checks(call: &DeskCall) -> Vec<Check> {
    let server = &call.server;
    let began = server.elapsed();
    let folders: Vec<_> = server.access.directory().folders().map(|folder| folder.id).collect();
    let queues = server.store.queues_in_folders(folders.clone().into()).await;
    let took = html::duration(server.elapsed().saturating_sub(began));
    let unknown =
        |name| Check { name, is_good: false, text: "not known, because the store did not answer".to_owned() };
    let mut checks = match &queues {
        Ok(queues) => {
            let paused = queues.iter().filter(|queue| queue.limits.paused).count();
            let text = if paused == 0 { "none is paused".to_owned() } else { format!("{paused} are paused") };
            let store = format!("answered within {took}; it has {} queues", queues.len());
            vec![
                Check { name: "Store", is_good: true, text: store },
                Check { name: "Queues", is_good: paused == 0, text },
            ]
        }
        Err(error) => {
            let text = html::line(&error.to_string(), 300);
            vec![Check { name: "Store", is_good: false, text }, unknown("Queues")]
        }
    };
    checks.push(jobs(call, &folders).await.unwrap_or_else(|_| unknown("Jobs")));
    checks
}

/// Whether jobs are alive, among the newest of each folder.
async fn jobs(call: &DeskCall, folders: &[FolderId]) -> Result<Check> {
    let server = &call.server;
    let (mut alive, mut lost) = (0, 0);
    for folder in folders {
        let mut jobs = server.store.in_scope(*folder, None).list_jobs(JOBS).await?;
        jobs.retain(|job| job.folder == *folder);
        alive += jobs.iter().filter(|job| !job.state.is_final()).count();
        lost += jobs.iter().filter(|job| job.is_lost(server.now())).count();
    }
    let text = format!("{alive} have not ended; the lease of {lost} of them is over");
    Ok(Check { name: "Jobs", is_good: lost == 0, text })
}

fn settings(call: &DeskCall) -> Vec<(&'static str, String)> {
    let config = &call.server.config;
    let yes_or_no = |value: bool| if value { "yes" } else { "no" }.to_owned();
    let number = |number: usize| html::number(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("This run of the server", call.server.run_id.to_string()),
        ("TLS", yes_or_no(config.tls.is_some())),
        ("Behind a proxy", yes_or_no(config.behind_proxy)),
        ("Strict", yes_or_no(config.strict)),
        ("Desk", if config.desk == DeskMode::ReadOnly { "read-only" } else { "on" }.to_owned()),
        ("Most connections", number(config.max_connections)),
        ("Most requests at once", number(config.max_requests)),
        ("Largest body in bytes", number(config.max_bulk_body)),
        ("Time limit of a request", html::duration(config.request_limit)),
        ("Time limit of a list", html::duration(config.list_limit)),
    ]
}
