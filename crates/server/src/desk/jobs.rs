//! Jobs: the runs of performers, their robots, and what each robot worked on.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use askama::Template;
use jiff::Timestamp;

use super::call::DeskCall;
use super::frame::Frame;
use super::html::{self, Html};
use super::items::{self, ItemRow};
use super::logs::{self, LogRow};
use super::reply::Reply;
use super::routes::{JOBS_EDIT, JOBS_VIEW, READ};
use crate::api_error::ApiError;
use performer_core::model::item::{Page, QueueItem};
use performer_core::model::item_query::ItemQuery;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, JobKey};
use performer_core::model::robot::{Robot, RobotState};
use performer_core::model::status::Status;
use performer_core::orchestrator::FleetAdministration as _;

/// How many jobs the list has.
const ROWS: usize = 200;
/// How many items of a job are shown.
const ITEMS: usize = 50;
/// The time that the lanes show.
const LANES: Duration = Duration::from_secs(15 * 60);
/// How many robots have a lane.
const MAX_LANES: usize = 40;

#[derive(Template)]
#[template(path = "jobs.html")]
struct JobsPage {
    frame: Frame,
    rows: Vec<JobRow>,
    most: usize,
}

/// A job in a list.
pub(super) struct JobRow {
    href: String,
    key: String,
    queue: String,
    folder: String,
    state: Html,
    is_lost: bool,
    machine: String,
    process: u32,
    version: String,
    robots: u32,
    started: Html,
    ended: Html,
    lease: String,
    info: String,
}

#[derive(Template)]
#[template(path = "job.html")]
struct JobPage {
    frame: Frame,
    row: JobRow,
    robots: Vec<RobotRow>,
    figures: Vec<(&'static str, String)>,
    lanes: Option<Html>,
    items: Vec<ItemRow>,
    all_items: String,
    log: Vec<LogRow>,
    may_stop: bool,
}

struct RobotRow {
    number: u32,
    state: Html,
    item: Option<i64>,
    reference: String,
    since: Html,
}

fn row(call: &DeskCall, job: &Job) -> Result<JobRow, ApiError> {
    let now = call.now();
    let left = Duration::try_from(job.held_until.duration_since(now)).ok();
    Ok(JobRow {
        href: format!("/desk/jobs/{}", job.key),
        key: job.key.to_string(),
        queue: html::visible(job.run.as_ref().map_or(&job.about.queue, |run| &run.process_name)),
        folder: html::visible(&call.directory()?.full_name(job.folder)),
        state: html::job(job.state),
        is_lost: job.is_lost(now),
        machine: html::line(&job.about.machine, 80),
        process: job.about.process_id,
        version: html::line(&job.about.version, 40),
        robots: job.about.robots,
        started: html::time(job.start_time),
        ended: html::optional_time(job.end_time),
        lease: match (job.state.is_final(), left) {
            (true, _) => String::new(),
            (false, Some(left)) => format!("{} left", html::duration(left)),
            (false, None) => "is over".to_owned(),
        },
        info: html::line(job.info.as_deref().unwrap_or_default(), 300),
    })
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let mut jobs = Vec::new();
    for folder in call.folders.iter() {
        jobs.extend(call.jobs_in(*folder, ROWS).await?);
    }
    jobs.sort_by_key(|job| std::cmp::Reverse((job.start_time, job.key)));
    jobs.truncate(ROWS);
    let rows = jobs.iter().map(|job| row(call, job)).collect::<Result<_, _>>()?;
    Reply::page(&JobsPage { frame: call.frame("/desk/jobs"), rows, most: ROWS })
}

/// The job that the path names, and its folder.
///
/// # Errors
///
/// 404, or 403 if the caller may see it but not do what the route does.
pub(super) async fn find(call: &DeskCall) -> Result<(Job, FolderId), ApiError> {
    let text = call.parameters.first().map(String::as_str).unwrap_or_default();
    let key: JobKey = text.parse().map_err(|_| ApiError::no_route())?;
    let missing = || ApiError::not_found(format!("There is no job {key}."));
    let job = match call.source_of_all().job(key).await {
        Ok(job) => job,
        Err(error) if error.is_not_found() => return Err(missing()),
        Err(error) => return Err(error.into()),
    };
    if !call.folders_with(&[JOBS_VIEW])?.contains(&job.folder) {
        return Err(missing());
    }
    if !call.folders.contains(&job.folder) {
        return Err(call.forbidden_in(Some(job.folder)));
    }
    let folder = job.folder;
    Ok((job, folder))
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (job, folder) = find(call).await?;
    let robots: Vec<Robot> = if job.state.is_final() || call.is_remote() {
        Vec::new()
    } else {
        let all = call.store(folder).list_robots().await?;
        all.into_iter().filter(|robot| robot.job == job.key).collect()
    };
    let mut query = ItemQuery::default();
    query.job = Some(job.key);
    let items = items_of(call, folder, &query).await?;
    let queues = call.queues().await?;
    let may_see_items = !call.folders_with(READ)?.is_empty();
    Reply::page(&JobPage {
        frame: call.frame("/desk/jobs"),
        robots: robots.iter().map(robot_row).collect(),
        figures: figures(&job),
        lanes: lanes(&items, call.now()),
        items: items::rows(call, &items, &queues)?,
        all_items: if may_see_items { items::list_address(call, &query) } else { String::new() },
        log: logs::of_job(call, folder, job.key).await?,
        may_stop: !job.state.is_final() && call.may(folder, &[JOBS_EDIT]),
        row: row(call, &job)?,
    })
}

/// The newest items of a job, if the caller may see them.
async fn items_of(call: &DeskCall, folder: FolderId, query: &ItemQuery) -> Result<Vec<QueueItem>, ApiError> {
    let folders = call.folders_with(READ)?;
    if !folders.contains(&folder) {
        return Ok(Vec::new());
    }
    let newest = Page::first(ITEMS).descending(true).count_limit(0);
    let filter = query.filter(call.now(), |_| None)?;
    Ok(call.source(folder).items_in_folders(folders, filter, newest).await?.0)
}

fn robot_row(robot: &Robot) -> RobotRow {
    let state = match robot.state {
        RobotState::Busy => "◐ Busy",
        RobotState::Available => "○ Available",
        RobotState::Disconnected => "◇ Disconnected",
        RobotState::Unknown => "? Unknown",
    };
    RobotRow {
        number: robot.number,
        state: Html::of(state.to_owned()),
        item: robot.item.map(|id| id.0),
        reference: robot.reference.as_deref().map(|text| html::line(text, 128)).unwrap_or_default(),
        since: html::time(robot.since),
    }
}

fn figures(job: &Job) -> Vec<(&'static str, String)> {
    let Some(figures) = &job.figures else { return Vec::new() };
    let count = |number: u64| html::number(i64::try_from(number).unwrap_or(i64::MAX));
    vec![
        ("Successful", count(figures.successful)),
        ("BusinessExceptions", count(figures.business_exceptions)),
        ("ApplicationExceptions", count(figures.application_exceptions)),
        ("Retried", count(figures.retried)),
        ("Postponed", count(figures.postponed)),
        ("Given back", count(figures.given_back)),
        ("Claims lost", count(figures.claims_lost)),
        ("Results not recorded", count(figures.not_recorded)),
        ("Busy", html::duration(figures.busy)),
    ]
}

/// What each robot worked on within the last minutes, as bars; `None` if there is nothing to show.
fn lanes(items: &[QueueItem], now: Timestamp) -> Option<Html> {
    const WIDTH: f64 = 600.0;
    const HEIGHT: f64 = 16.0;
    let ago = |at: Timestamp| html::since(at, now).as_secs_f64();
    let place = |at: Timestamp| WIDTH - ago(at).min(LANES.as_secs_f64()) / LANES.as_secs_f64() * WIDTH;
    let mut lanes: BTreeMap<u32, Vec<&QueueItem>> = BTreeMap::new();
    for item in items {
        let is_recent = item.end_processing.is_none_or(|end| ago(end) < LANES.as_secs_f64());
        if item.start_processing.is_some() && is_recent {
            lanes.entry(item.robot.unwrap_or_default()).or_default().push(item);
        }
    }
    if lanes.is_empty() {
        return None;
    }
    let shown: Vec<_> = lanes.into_iter().take(MAX_LANES).collect();
    let height = shown.len() as f64 * HEIGHT;
    let mut svg = format!(
        "<svg class=\"lanes\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"What each robot worked on within the last 15 minutes, of the newest items\">"
    );
    for (at, (robot, items)) in shown.iter().enumerate() {
        let y = at as f64 * HEIGHT;
        for item in items {
            let Some(start) = item.start_processing else { continue };
            let (from, to) = (place(start), place(item.end_processing.unwrap_or(now)));
            let class = match item.status {
                Status::Successful => "good",
                Status::InProgress => "busy",
                Status::Abandoned => "abandoned",
                _ => "failed",
            };
            let (id, status, top) = (item.id, item.status, y + 1.0);
            let (width, height) = ((to - from).max(1.0), HEIGHT - 2.0);
            let _ = write!(
                svg,
                "<a href=\"/desk/items/{id}\"><rect class=\"bar {class}\" x=\"{from:.2}\" y=\"{top:.1}\" width=\"{width:.2}\" \
                 height=\"{height:.1}\"><title>robot {robot}: item {id}, {status}</title></rect></a>"
            );
        }
    }
    svg.push_str("</svg>");
    Some(Html::of(svg))
}
