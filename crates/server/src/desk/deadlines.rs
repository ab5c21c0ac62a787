//! Deadlines: of each queue whether the items that wait will be done by their DueDate.

use std::time::Duration;

use askama::Template;
use jiff::Timestamp;

use super::call::{DeskCall, FolderQueue};
use super::chart::{Chart, Point};
use super::frame::Frame;
use super::html::{self, Html};
use super::items;
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::deadlines::{DueItems, Forecast, MAX_FORECAST, Pace, forecast};
use performer_core::model::item_query::ItemQuery;
use performer_core::model::status::Status;
use performer_core::orchestrator::read_pace;
use performer_store::QueueSelector;

/// How many hours ahead a chart shows.
const HOURS: i64 = 24;

#[derive(Template)]
#[template(path = "deadlines.html")]
struct DeadlinesPage {
    frame: Frame,
    rows: Vec<DeadlineRow>,
    queues: usize,
}

/// A queue with items that are due.
struct DeadlineRow {
    name: String,
    href: String,
    items_href: String,
    is_paused: bool,
    waiting: String,
    overdue: String,
    has_overdue: bool,
    late: String,
    is_late: bool,
    next_due: Html,
    /// What the forecast says, in a sentence.
    told: String,
    chart: Html,
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let queues = call.queues().await?;
    let mut rows = Vec::new();
    for queue in &queues {
        rows.extend(row(call, queue).await?);
    }
    Reply::page(&DeadlinesPage { frame: call.frame("/desk/deadlines"), rows, queues: queues.len() })
}

/// A queue; `None` if nothing in it is due, or it was deleted meanwhile.
async fn row(call: &DeskCall, queue: &FolderQueue) -> Result<Option<DeadlineRow>, ApiError> {
    let (store, now) = (call.store(queue.folder), call.now());
    let work = match store.due_work(QueueSelector::Id(queue.queue.id)).await {
        Ok(work) if work.items.is_empty() => return Ok(None),
        Ok(work) => work,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let is_paused = queue.queue.limits.paused;
    let pace = read_pace(&store, &queue.queue, work.robots, now).await?;
    let told = forecast(&work.items, pace, now);
    let mut query = ItemQuery::default();
    (query.queues, query.status) = (vec![queue.queue.name.clone()], vec![Status::New]);
    let number = |count: u64| html::number(i64::try_from(count).unwrap_or(i64::MAX));
    let has_more = told.waiting >= MAX_FORECAST as u64;
    Ok(Some(DeadlineRow {
        name: html::visible(&queue.queue.name),
        href: format!("/desk/queues/{}", queue.queue.id),
        items_href: items::list_address(call, &query),
        is_paused,
        waiting: if has_more { "10,000+".to_owned() } else { number(told.waiting) },
        overdue: number(told.overdue),
        has_overdue: told.overdue > 0,
        late: number(told.late),
        is_late: told.late > 0,
        next_due: html::optional_time(told.next_due),
        told: sentence(&told, pace, is_paused),
        chart: chart(&work.items, pace, now),
    }))
}

fn sentence(told: &Forecast, pace: Option<Pace>, is_paused: bool) -> String {
    let Some(pace) = pace else {
        let why = if is_paused { "the queue is paused" } else { "nothing has ended within 15 minutes" };
        return format!("There is no pace to go by: {why}.");
    };
    let done = told.done.map_or_else(
        || "at no time that can be named".to_owned(),
        |done| done.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    );
    let per_minute = per_minute(pace.per_minute);
    let robots = match pace.robots {
        1 => "1 robot".to_owned(),
        robots => format!("{} robots", html::number(robots.into())),
    };
    let more = match (told.late, told.more_robots) {
        (0, _) => "all that are not overdue will be in time.".to_owned(),
        (_, Some(1)) => "one more robot would do them in time.".to_owned(),
        (_, Some(0)) => "they are only just late.".to_owned(),
        (_, Some(more)) => format!("{} more robots would do them in time.", html::number(more.into())),
        (_, None) => "no number of robots would do them in time.".to_owned(),
    };
    format!("Done {done} at {per_minute} a minute with {robots}; {more}")
}

/// A number of items a minute.
pub(super) fn per_minute(pace: f64) -> String {
    if pace < 10.0 { format!("{pace:.1}") } else { html::number(pace as i64) }
}

/// What is still to be done at the end of each hour: by its DueDate, and at the pace of now.
fn chart(items: &[DueItems], pace: Option<Pace>, now: Timestamp) -> Html {
    let all: u64 = items.iter().map(|items| items.count).sum();
    let at = |hour: i64| now.checked_add(Duration::from_secs(3_600 * hour as u64)).unwrap_or(now);
    let points = (0..=HOURS).map(|hour| {
        let end = at(hour);
        let due_later: u64 = items.iter().filter(|items| items.due > end).map(|items| items.count).sum();
        let left = pace.map(|pace| (all as f64 - pace.per_minute * 60.0 * hour as f64).max(0.0));
        Point { at: end, values: vec![Some(due_later as f64), left] }
    });
    let series = [("may be left to be in time", "new"), ("is left at this pace", "failed")];
    let points: Vec<Point> = points.collect();
    let shown = |value: f64| html::number(value as i64);
    Chart { title: "Left within a day", empty: "", series: &series, points: &points, shown }.lines()
}
