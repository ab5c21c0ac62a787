//! The first page: what needs attention, and how much ended within a day.

use std::collections::BTreeMap;
use std::time::Duration;

use askama::Template;

use super::call::{DeskCall, FolderQueue};
use super::frame::Frame;
use super::html::{self, Html};
use super::queue::{self, DAY};
use super::queues;
use super::reasons::{self, ReasonRow};
use super::reply::Reply;
use super::routes::JOBS_VIEW;
use super::{items, live};
use crate::api_error::ApiError;
use performer_core::model::figures::Figures;
use performer_core::model::item::Page;
use performer_core::model::item_query::ItemQuery;
use performer_core::model::job::JobState;
use performer_core::model::key::FolderId;
use performer_core::model::reason::ReasonFilter;
use performer_core::model::statistics::QueueStatistics;
use performer_core::model::status::Status;
use performer_core::orchestrator::QueueAdministration as _;

/// How long a job that ended badly needs attention.
const ENDED_RECENTLY: Duration = Duration::from_secs(24 * 60 * 60);
/// How many jobs are looked at.
const JOBS: usize = 200;
/// How many rows the lists of reasons and jobs have.
const ROWS: usize = 10;

#[derive(Template)]
#[template(path = "start.html")]
struct StartPage {
    frame: Frame,
    has_queues: bool,
    failures: Vec<Failures>,
    paused: Vec<QueueLink>,
    new_reasons: Vec<ReasonRow>,
    jobs: Vec<StoppedJob>,
    old: Option<Failures>,
    /// How many items have to be reviewed.
    open: String,
    waiting: Number,
    in_progress: Number,
    /// How many attempts ended within a day.
    ended: String,
    throughput: Html,
    review: String,
}

/// A number of items that changes while the page is open.
struct Number {
    count: String,
    href: String,
    live: String,
}

/// A queue with failures to be reviewed.
struct Failures {
    name: String,
    count: String,
    href: String,
}

struct QueueLink {
    name: String,
    href: String,
}

struct StoppedJob {
    href: String,
    queue: String,
    machine: String,
    ended: Html,
    info: String,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    if call.is_remote() {
        return Ok(Reply::see_other("/desk/queues")); // all that the page shows would have to be counted
    }
    let statistics = queues::with_statistics(call).await?;
    let queues: Vec<FolderQueue> = statistics.iter().map(|(queue, _)| queue.clone()).collect();
    let mut sum = QueueStatistics::default();
    statistics.iter().for_each(|(_, statistics)| sum.add(statistics));
    let paused = queues.iter().filter(|queue| queue.queue.limits.paused).map(|queue| QueueLink {
        name: html::visible(&queue.queue.name),
        href: format!("/desk/queues/{}", queue.queue.id),
    });
    let new = ReasonFilter::default().open_only(true).first_seen_from(reasons::new_from(call)).top(ROWS);
    let new = reasons::find(call, &queues, &new).await?;
    let figures = figures(call, &queues).await?;
    let number = |status| {
        let mut query = ItemQuery::default();
        query.status = vec![status];
        Number {
            count: html::number(sum.with_status(status)),
            href: items::list_address(call, &query),
            live: live::name(None, status),
        }
    };
    Reply::page(&StartPage {
        frame: call.frame(super::ROOT),
        has_queues: !queues.is_empty(),
        failures: failures(call, &queues, &statistics).await?,
        paused: paused.collect(),
        new_reasons: new.iter().map(|reason| reasons::row(call, reason, &queues)).collect(),
        jobs: stopped_jobs(call).await?,
        old: old_failures(call, &queues).await?,
        open: items::count_text(count(call, &ItemQuery::default().to_be_reviewed(), &queues).await?),
        waiting: number(Status::New),
        in_progress: number(Status::InProgress),
        ended: html::number(figures.iter().flat_map(|all| &all.ended).map(|ended| ended.count).sum()),
        throughput: queue::throughput(&figures, DAY, call.now()),
        review: call.in_folder("/desk/review"),
    })
}

/// The queues with failures to be reviewed, most first.
async fn failures(
    call: &DeskCall,
    queues: &[FolderQueue],
    statistics: &[(FolderQueue, QueueStatistics)],
) -> Result<Vec<Failures>, ApiError> {
    let mut counted = Vec::new();
    for (queue, statistics) in statistics {
        if statistics.with_status(Status::Failed) + statistics.abandoned == 0 {
            continue;
        }
        let mut query = ItemQuery::default().to_be_reviewed();
        query.queues = vec![queue.queue.name.clone()];
        let count = count(call, &query, queues).await?;
        if count > 0 {
            counted.push((count, html::visible(&queue.queue.name), query));
        }
    }
    counted.sort_by(|a, b| (b.0, &a.1).cmp(&(a.0, &b.1)));
    let row = |(count, name, query): (u64, String, ItemQuery)| Failures {
        name,
        count: items::count_text(count),
        href: items::list_address(call, &query),
    };
    Ok(counted.into_iter().map(row).collect())
}

/// The failures that have waited for more than a day.
async fn old_failures(call: &DeskCall, queues: &[FolderQueue]) -> Result<Option<Failures>, ApiError> {
    let mut query = ItemQuery::default().to_be_reviewed();
    query.ended = "..24h".parse().ok();
    let count = count(call, &query, queues).await?;
    let href = items::list_address(call, &query);
    Ok((count > 0).then(|| Failures { name: String::new(), count: items::count_text(count), href }))
}

async fn count(call: &DeskCall, query: &ItemQuery, queues: &[FolderQueue]) -> Result<u64, ApiError> {
    let filter = items::filter(call, query, queues)?;
    let (_, count) = items::read(call, filter, Page::first(1)).await?;
    Ok(count.unwrap_or_default())
}

/// Jobs that ended badly within the last day, newest first.
async fn stopped_jobs(call: &DeskCall) -> Result<Vec<StoppedJob>, ApiError> {
    let mut ended = Vec::new();
    for folder in call.folders_with(&[JOBS_VIEW])?.iter() {
        let jobs = call.jobs_in(*folder, JOBS).await?.into_iter();
        let is_recent = |at| html::since(at, call.now()) < ENDED_RECENTLY;
        ended.extend(
            jobs.filter(|job| job.state == JobState::Faulted)
                .filter_map(|job| Some((job.end_time.filter(|at| is_recent(*at))?, job))),
        );
    }
    ended.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let row = |(at, job): (jiff::Timestamp, performer_core::model::job::Job)| StoppedJob {
        href: format!("/desk/jobs/{}", job.key),
        queue: html::visible(&job.about.queue),
        machine: html::visible(&job.about.machine),
        ended: html::time(at),
        info: html::line(job.info.as_deref().unwrap_or_default(), 200),
    };
    Ok(ended.into_iter().take(ROWS).map(row).collect())
}

/// The figures of a day, of all queues.
async fn figures(call: &DeskCall, queues: &[FolderQueue]) -> Result<Vec<Figures>, ApiError> {
    let mut by_folder: BTreeMap<FolderId, Vec<&str>> = BTreeMap::new();
    for queue in queues {
        by_folder.entry(queue.folder).or_default().push(&queue.queue.name);
    }
    let mut all = Vec::new();
    for (folder, names) in by_folder {
        let filter = DAY.filter(call.now()).queues(names);
        all.push(call.store(folder).queue_figures(filter).await?);
    }
    Ok(all)
}
