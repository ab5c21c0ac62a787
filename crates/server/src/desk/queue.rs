//! One queue: its counts, figures, reasons of failures, settings and limits, and why nothing is handed out.

use std::collections::HashMap;
use std::time::Duration;

use askama::Template;
use jiff::Timestamp;

use super::call::{DeskCall, FolderQueue};
use super::chart::{Chart, Point};
use super::frame::Frame;
use super::html::{self, Html};
use super::idle::{self, Cause};
use super::queues::{self, Count};
use super::reasons::{self, ReasonRow};
use super::reply::Reply;
use super::routes::CHANGE_QUEUES;
use crate::api_error::ApiError;
use performer_core::model::figures::{
    Durations, Figures, FiguresFilter, Level, Resolution, minute_of, start_of,
};
use performer_core::model::item::{ItemFilter, Page};
use performer_core::model::limits::QueueLimits;
use performer_core::model::queue::QueueDefinition;
use performer_core::model::reason::ReasonFilter;
use performer_core::model::result::Outcome;
use performer_core::model::schema::SchemaOf;
use performer_core::model::status::Status;
use performer_core::orchestrator::QueueAdministration as _;

#[derive(Template)]
#[template(path = "queue.html")]
struct QueuePage {
    frame: Frame,
    id: i64,
    name: String,
    folder: String,
    description: Option<String>,
    is_paused: bool,
    counts: Vec<Count>,
    oldest: Option<String>,
    ranges: Vec<RangeLink>,
    percentiles: Option<[String; 3]>,
    charts: Vec<Html>,
    reasons: Vec<ReasonRow>,
    causes: Vec<Cause>,
    settings: Vec<(&'static str, String)>,
    schemas: Vec<(&'static str, String)>,
    limits: Limits,
    may_edit: bool,
}

/// The fields of the form of limits, as they are now.
struct Limits {
    max_in_progress: String,
    starts: String,
    window: String,
    per_group: String,
    fair: bool,
    /// All of them, as the form names them to show what its reader has seen.
    seen: String,
}

struct RangeLink {
    href: String,
    text: &'static str,
    is_current: bool,
}

/// A time up to now, of which figures are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) name: &'static str,
    text: &'static str,
    resolution: Resolution,
    /// How many points a chart has.
    count: i64,
    /// How many minutes or hours a point is for: a chart of 720 points has bars that nobody can see, and a table that takes long to send.
    width: i64,
}

const RANGES: [Range; 4] = [
    Range { name: "1h", text: "an hour", resolution: Resolution::Minute, count: 60, width: 1 },
    Range { name: "24h", text: "a day", resolution: Resolution::Hour, count: 24, width: 1 },
    Range { name: "7d", text: "a week", resolution: Resolution::Hour, count: 7 * 24, width: 1 },
    Range { name: "30d", text: "30 days", resolution: Resolution::Hour, count: 30 * 4, width: 6 },
];

/// The last day.
pub(super) const DAY: Range = RANGES[1];

impl Range {
    /// The beginnings of its points; the last one goes on.
    pub(super) fn points(&self, now: Timestamp) -> Vec<Timestamp> {
        let last = minute_of(self.point_of(now));
        (0..self.count).rev().map(|back| start_of(last - back * self.minutes())).collect()
    }

    /// The minutes of a point.
    fn minutes(&self) -> i64 {
        self.resolution.minutes() * self.width
    }

    /// The beginning of the point in which a time is.
    fn point_of(&self, at: Timestamp) -> Timestamp {
        let minute = minute_of(at);
        start_of(minute - minute.rem_euclid(self.minutes()))
    }

    /// Which figures to read.
    pub(super) fn filter(&self, now: Timestamp) -> FiguresFilter {
        let since = self.points(now).first().copied().unwrap_or(now);
        let until = now.checked_add(Duration::from_secs(60)).unwrap_or(now);
        FiguresFilter::new(since, until).resolution(self.resolution)
    }
}

/// The ways in which an attempt ends, as the series of a chart.
const OUTCOMES: [Outcome; 4] =
    [Outcome::Successful, Outcome::BusinessException, Outcome::ApplicationException, Outcome::Abandoned];

/// How many attempts ended, by outcome.
pub(super) fn throughput(figures: &[Figures], range: Range, now: Timestamp) -> Html {
    let mut counts: HashMap<(Timestamp, Outcome), i64> = HashMap::new();
    for figure in figures.iter().flat_map(|figures| &figures.ended) {
        *counts.entry((range.point_of(figure.at), figure.outcome)).or_default() += figure.count;
    }
    let ended = |at: &Timestamp| {
        let of = |outcome: &Outcome| Some(counts.get(&(*at, *outcome)).map_or(0.0, |count| *count as f64));
        Point { at: *at, values: OUTCOMES.iter().map(of).collect() }
    };
    let points: Vec<Point> = range.points(now).iter().map(ended).collect();
    let title = format!("What ended within {}", range.text);
    let empty = "No attempt ended within this time.";
    Chart { title: &title, empty, series: &OUTCOMES.map(html::outcome), points: &points, shown: whole }.bars()
}

fn whole(value: f64) -> String {
    html::number(value as i64)
}

fn seconds(value: f64) -> String {
    html::duration(Duration::from_secs_f64(value.clamp(0.0, 1e12)))
}

/// Percentiles of the processing time.
fn durations(figures: &Figures, range: Range, now: Timestamp) -> Html {
    let mut durations: HashMap<Timestamp, Durations> = HashMap::new();
    for figure in &figures.ended {
        durations.entry(range.point_of(figure.at)).or_default().merge(&figure.durations);
    }
    let at = |at: &Timestamp| {
        let percentile = |share| Some(durations.get(at)?.percentile(share)?.as_secs_f64());
        Point { at: *at, values: [0.5, 0.95, 0.99].map(percentile).into() }
    };
    let points: Vec<Point> = range.points(now).iter().map(at).collect();
    let series = [("p50", "new"), ("p95", "application"), ("p99", "failed")];
    let title = format!("Processing time within {}", range.text);
    let empty = "No attempt ended within this time.";
    Chart { title: &title, empty, series: &series, points: &points, shown: seconds }.lines()
}

/// What waited. A time without a level has the one before.
fn backlog(figures: &Figures, range: Range, now: Timestamp) -> Html {
    // Of several levels of a point the last one counts.
    let levels: HashMap<Timestamp, &Level> =
        figures.levels.iter().map(|level| (range.point_of(level.at), level)).collect();
    let mut last = vec![None, None];
    let mut at = |at: &Timestamp| {
        if let Some(level) = levels.get(at) {
            last = vec![Some(level.new as f64), Some(level.in_progress as f64)];
        }
        Point { at: *at, values: last.clone() }
    };
    let points: Vec<Point> = range.points(now).iter().map(&mut at).collect();
    let series = [("New", "new"), ("InProgress", "busy")];
    let title = format!("Backlog within {}", range.text);
    let empty = "Nothing has waited within this time.";
    Chart { title: &title, empty, series: &series, points: &points, shown: whole }.lines()
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let range = match call.query_value("range") {
        "" => DAY,
        name => RANGES.into_iter().find(|range| range.name == name).ok_or_else(|| {
            ApiError::invalid(format!(
                "range: {name:?} is not one of {}.",
                RANGES.map(|range| range.name).join(", ")
            ))
        })?,
    };
    let (found, now) = (call.queue().await?, call.now());
    let queue = &found.queue;
    let statistics = call.source(found.folder).statistics_of(queue).await?;
    let figures = match call.is_remote() {
        true => Figures::default(),
        false => call.store(found.folder).queue_figures(range.filter(now).queues([&*queue.name])).await?,
    };
    let mut all = Durations::default();
    figures.ended.iter().for_each(|figure| all.merge(&figure.durations));
    let percentile = |share| all.percentile(share).map(html::duration).unwrap_or_default();
    let queues = [found.clone()];
    let (top, causes) = match call.is_remote() {
        true => (Vec::new(), Vec::new()),
        false => (
            reasons::find(call, &queues, &ReasonFilter::default().open_only(true).top(5)).await?,
            idle::causes(call, &found, &statistics)
                .await
                .unwrap_or_else(|failure| vec![idle::unknown(&failure)]),
        ),
    };
    let charts = vec![
        throughput(std::slice::from_ref(&figures), range, now),
        durations(&figures, range, now),
        backlog(&figures, range, now),
    ];
    let link = |known: &Range| RangeLink {
        href: format!("/desk/queues/{}?range={}", queue.id, known.name),
        text: known.text,
        is_current: known.name == range.name,
    };
    Reply::page(&QueuePage {
        frame: call.frame("/desk/queues"),
        id: queue.id.0,
        name: html::visible(&queue.name),
        folder: html::visible(&call.directory()?.full_name(found.folder)),
        description: queue.description.as_deref().map(html::visible),
        is_paused: queue.limits.paused,
        counts: queues::counts(call, queue, &statistics),
        oldest: oldest(call, &found).await?,
        ranges: RANGES.iter().map(link).collect(),
        percentiles: (all.count() > 0).then(|| [0.5, 0.95, 0.99].map(percentile)),
        charts,
        reasons: top.iter().map(|reason| reasons::row(call, reason, &queues)).collect(),
        causes,
        settings: settings(queue),
        schemas: schemas(queue),
        limits: limits(queue),
        may_edit: !call.is_remote() && call.may(found.folder, CHANGE_QUEUES),
    })
}

/// How long the item has waited that was added first of those that are New.
async fn oldest(call: &DeskCall, queue: &FolderQueue) -> Result<Option<String>, ApiError> {
    let new = ItemFilter::default().queue(&*queue.queue.name).status([Status::New]);
    let first = call.source(queue.folder).list_queue_items(new, Page::first(1).count_limit(0)).await?;
    let age = |at| html::duration(html::since(at, call.now()));
    Ok(first.first().map(|item| age(item.creation_time)))
}

fn yes_or_no(value: bool) -> String {
    if value { "yes" } else { "no" }.to_owned()
}

fn settings(queue: &QueueDefinition) -> Vec<(&'static str, String)> {
    let policy = &queue.policy;
    vec![
        ("Retried automatically", yes_or_no(policy.accept_automatically_retry)),
        ("Most automatic retries", policy.max_number_of_retries.to_string()),
        ("A retry waits", policy.retry_delay.to_string()),
        ("Abandoned items are retried", yes_or_no(policy.retry_abandoned_items)),
        ("References are unique", yes_or_no(policy.enforce_unique_reference)),
        ("Abandoned after", html::duration(policy.abandon_after)),
        ("Final items are kept for", format!("{} days", policy.retention_days)),
        ("Unfinished items are kept for", format!("{} days", policy.stale_retention_days)),
        (
            "SLA",
            match queue.notes.sla_in_minutes {
                0 => "none".to_owned(),
                minutes => format!("{minutes} minutes"),
            },
        ),
    ]
}

fn schemas(queue: &QueueDefinition) -> Vec<(&'static str, String)> {
    let all = [
        ("Content", SchemaOf::SpecificData),
        ("Output", SchemaOf::OutputData),
        ("Analytics", SchemaOf::AnalyticsData),
    ];
    all.into_iter().filter_map(|(name, of)| Some((name, html::visible(queue.schemas.of(of)?)))).collect()
}

/// The limits in one line, by which a form tells whether they are still those that its reader saw. The pause is not one of them.
pub(super) fn limits_text(limits: &QueueLimits) -> String {
    let number = |limit: Option<u32>| limit.map_or_else(|| "-".to_owned(), |limit| limit.to_string());
    let starts = limits.max_starts;
    let parts = [
        number(limits.max_in_progress),
        number(starts.map(|starts| starts.count)),
        starts.map_or_else(|| "-".to_owned(), |starts| starts.per.as_millis().to_string()),
        number(limits.max_in_progress_per_group),
        u8::from(limits.fair).to_string(),
    ];
    parts.join(",")
}

fn limits(queue: &QueueDefinition) -> Limits {
    let text = |limit: Option<u32>| limit.map(|limit| limit.to_string()).unwrap_or_default();
    let starts = queue.limits.max_starts;
    Limits {
        max_in_progress: text(queue.limits.max_in_progress),
        starts: text(starts.map(|starts| starts.count)),
        window: starts.map_or_else(|| "60".to_owned(), |starts| starts.per.as_secs().to_string()),
        per_group: text(queue.limits.max_in_progress_per_group),
        fair: queue.limits.fair,
        seen: limits_text(&queue.limits),
    }
}
