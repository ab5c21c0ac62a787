//! Answers queries.

use std::sync::Arc;

use super::super::backend::{Answer, Query, Scope};
use super::super::comments::{CommentsOn, ListComments};
use super::super::rows::{ItemRow, ListRequest, Rows};
use super::super::scoped_queues::QueueSelector;
use super::super::sweep::LiveJobs;
use super::super::tokens::MAX_TOKENS_LISTED;
use super::super::unreadable_rows::is_unreadable;
use super::personal::masked;
use super::{alerts, assets, buckets, fleet, logs, selection, tasks, webhooks};
use performer_core::model::deadlines::DueWork;
use performer_core::model::figures::Figures;
use performer_core::model::history::events;
use performer_core::model::item::{ItemFilter, ItemPage, Page, QueueItem};
use performer_core::model::job::{Job, JobState, validate_job_limit};
use performer_core::model::kept_for::KeptFor;
use performer_core::model::key::{Claim, FolderId, ItemId, QueueId};
use performer_core::model::query::{Condition, Field, Order};
use performer_core::model::queue::{QueueDefinition, folded};
use performer_core::model::robot::{MAX_ROBOTS_LISTED, Robot};
use performer_core::model::status::Status;
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::{OrchestratorError, Result};

pub(super) fn answer<R: Rows>(rows: &mut R, scope: Scope, query: Query) -> Result<Answer> {
    let answer = whole_answer(rows, scope, query)?;
    if scope.is_masked { masked(rows, answer) } else { Ok(answer) }
}

/// The answer with all that items have.
fn whole_answer<R: Rows>(rows: &mut R, scope: Scope, query: Query) -> Result<Answer> {
    let here = scope.folder;
    match query {
        Query::Queue(queue) => Ok(Answer::Queue(Box::new((*which(rows, here, &queue)??).clone()))),
        Query::Queues => Ok(Answer::Queues(queues_in(rows, &[here])?)),
        Query::QueuesOf(folders) => Ok(Answer::Queues(queues_in(rows, &folders)?)),
        Query::Statistics(queue) => {
            let queue = which(rows, here, &queue)??;
            Ok(Answer::Statistics(rows.statistics(queue.id)?))
        }
        Query::StatisticsOf(folders) => {
            let queues = queues_in(rows, &folders)?;
            let of = |queue: QueueDefinition| {
                let statistics = rows.statistics(queue.id)?;
                Ok((queue, statistics))
            };
            Ok(Answer::StatisticsOf(queues.into_iter().map(of).collect::<Result<_>>()?))
        }
        Query::ItemsWith { folders, ids } => {
            let mut found = Vec::with_capacity(ids.len());
            for id in ids {
                let Some(item) = rows.item(id)? else { continue };
                let Some(queue) = rows.queue(item.queue_id)? else { continue };
                let folder = folders.iter().find(|folder| queue.folders.contains(folder));
                found.extend(folder.map(|folder| (*folder, item)));
            }
            Ok(Answer::ItemsWith(found))
        }
        Query::Item(id) => Ok(Answer::Item(Box::new(existing(rows, here, id)?))),
        Query::ItemKeyed(key) => {
            let id = rows.item_keyed(key)?;
            let missing =
                || OrchestratorError::not_found(format!("an item with the key {key} does not exist"));
            Ok(Answer::Item(Box::new(existing(rows, here, id.ok_or_else(missing)?)?)))
        }
        Query::Items(filter, page) => {
            let (items, count) = list(rows, &[here], *filter, page)?;
            Ok(Answer::Items(match count {
                Some(Counted { count, is_exact: true }) => ItemPage::new(items, count),
                Some(Counted { count, .. }) => ItemPage::counted_to(items, count),
                None => ItemPage::counted_to(items, 0),
            }))
        }
        Query::ItemsOf { folders, filter, page } => {
            let (items, count) = list(rows, &folders, *filter, page)?;
            Ok(Answer::Page((items, count.map(|counted| counted.count))))
        }
        Query::Comment(id) => {
            let comment = rows.comment(id)?;
            let missing = || OrchestratorError::not_found(format!("comment {id} does not exist"));
            let comment = comment.ok_or_else(missing)?;
            existing(rows, here, comment.item_id).map_err(|_| missing())?;
            Ok(Answer::Comment(comment))
        }
        Query::KeysOf(ids) => {
            let mut keys = Vec::with_capacity(ids.len());
            for id in ids {
                keys.extend(rows.item(id)?.map(|item| (id, item.unique_key)));
            }
            Ok(Answer::Keys(keys))
        }
        Query::CommentsOf { folders, on, after, limit } => {
            let queues: Vec<QueueId> = queues_in(rows, &folders)?.into_iter().map(|queue| queue.id).collect();
            let items = match on {
                CommentsOn::Any => None,
                CommentsOn::These(items) => Some(items),
                CommentsOn::AttemptsOf(id) => Some(chain(rows, here, id)?),
            };
            let ask = ListComments { queues: &queues, items: items.as_deref(), after, limit };
            Ok(Answer::Comments(rows.list_comments(&ask)?))
        }
        Query::Figures(filter) => {
            let minutes = filter.minutes()?;
            let mut figures = Figures::default();
            for queue in queues_called(rows, here, &filter.queues)? {
                let found = rows.figures(queue, filter.resolution, minutes)?;
                figures.ended.extend(found.ended);
                figures.levels.extend(found.levels);
            }
            Ok(Answer::Figures(figures))
        }
        Query::Reasons(filter) => {
            filter.validate()?;
            let queues = queues_called(rows, here, &filter.queues)?;
            Ok(Answer::Reasons(rows.reasons(&queues, &filter)?))
        }
        Query::Ended { queue, since } => Ok(Answer::Ended(rows.ended_since(queue, since)?)),
        Query::Document { known } => Ok(Answer::Document(rows.document(known)?)),
        Query::Token(digest) => Ok(Answer::Token(rows.token(&digest)?)),
        Query::NamedTokens => Ok(Answer::Tokens(rows.named_tokens(None)?)),
        Query::TokensOf(user) => Ok(Answer::TokensOf(rows.tokens_of(user, MAX_TOKENS_LISTED)?)),
        Query::EndedJobs { now, after, limit } => {
            let before = KeptFor::ENDED_JOB.begin(rows.reading_at(now)?);
            Ok(Answer::EndedJobs(rows.ended_jobs(before, after, limit)?))
        }
        Query::History(id) => {
            let chain = chain(rows, here, id)?;
            let items: Result<Vec<_>> = chain.into_iter().map(|id| existing(rows, here, id)).collect();
            Ok(Answer::History(items?))
        }
        Query::Events(id) => {
            let mut all = Vec::new();
            for id in chain(rows, here, id)? {
                if let Some(row) = rows.row(id)? {
                    all.extend(events(id, &row.state, row.actors, &rows.recorded(id)?));
                }
            }
            Ok(Answer::Events(all))
        }
        Query::DueWork { queue, now } => {
            let (queue, now) = (which(rows, here, &queue)??, rows.reading_at(now)?);
            let of_queue = |job: &Job| {
                job.folder == here && folded(&job.about.queue) == folded(&queue.name) && !job.is_lost(now)
            };
            let live = rows.live_jobs()?;
            let running = live.iter().filter(|job| job.state == JobState::Running && of_queue(job));
            let robots = running.fold(0, |robots: u32, job| robots.saturating_add(job.about.robots));
            let busy = u32::try_from(rows.statistics(queue.id)?.in_progress).unwrap_or_default();
            let items = rows.ready_by_due_date(queue.id, queue.limits.fair)?;
            Ok(Answer::DueWork(DueWork::new(queue.id, items, robots.max(busy))))
        }
        Query::Audit(filter) => {
            filter.validate()?;
            Ok(Answer::Audit(rows.audit(&filter)?))
        }
        Query::AuditFrom(after) => Ok(Answer::Audit(rows.audit_from(after)?)),
        Query::Jobs { limit } => {
            validate_job_limit(limit)?;
            // A caller that opened the store itself sees all of them.
            let folder = scope.user.map(|_| here);
            Ok(Answer::Jobs(rows.jobs(folder, limit)?))
        }
        Query::JobsOf(filter) => {
            let mut jobs = rows.listed_jobs(&filter)?;
            jobs.retain(|job| filter.matches(job));
            Ok(Answer::Jobs(jobs))
        }
        Query::Job(key) => {
            let is_seen = |job: &Job| scope.user.is_none() || job.folder == here;
            Ok(Answer::Jobs(rows.job(key)?.filter(is_seen).into_iter().collect()))
        }
        Query::Held(key) => {
            let missing = || OrchestratorError::not_found(format!("job {key} does not exist"));
            let is_own =
                |job: &Job| scope.user.is_none() || job.folder == here && job.owner.admits(scope.user);
            let job = rows.job(key)?.filter(is_own);
            let number = job.ok_or_else(missing)?.key.number();
            let mut claims = Vec::new();
            for id in rows.held_by(number)? {
                let Some(row) = readable_row(rows, id)? else { continue };
                if let Some(holder) = row.state.holder
                    && rows.queue(row.queue)?.is_some()
                {
                    claims.push(Claim { item: id, job: key, token: holder.token });
                }
            }
            Ok(Answer::Claims(claims))
        }
        Query::OwnerOf(key) => Ok(Answer::Owner(rows.job(key)?.map(|job| job.owner))),
        Query::Robots { now } => {
            let now = rows.reading_at(now)?;
            let mut robots = Vec::new();
            for job in rows.live_jobs()? {
                let left = MAX_ROBOTS_LISTED - robots.len();
                if left > 0 && (scope.user.is_none() || job.folder == here) {
                    robots.extend(Robot::all_of(&job, &rows.held_items(job.key.number())?, left, now));
                }
            }
            Ok(Answer::Robots(robots))
        }
        Query::Select { folders, plan, which, now } => {
            let now = rows.reading_at(now)?;
            Ok(Answer::Selected(Box::new(selection::select(rows, &folders, &plan, which, now)?)))
        }
        Query::Operation { id, reach } => {
            Ok(Answer::Operation(Box::new(selection::operation(rows, id, reach.as_deref())?)))
        }
        Query::Operations { reach, before, limit } => {
            Ok(Answer::Operations(selection::operations(rows, reach.as_deref(), before, limit)?))
        }
        Query::OperationItems { ask, reach } => selection::items(rows, &ask, reach.as_deref()),
        Query::Views(folders) => Ok(Answer::Views(rows.views(scope.user.unwrap_or_default(), &folders)?)),
        Query::CountCopies(id, reach) => {
            selection::operation(rows, id, reach.as_deref())?;
            Ok(Answer::CountedCopies(rows.count_copies(id)?))
        }
        Query::StartLimitUntil { which: queue, now } => {
            let (queue, now) = (which(rows, here, &queue)??, rows.reading_at(now)?);
            let starts = rows.recent_starts(queue.id)?;
            Ok(Answer::StartLimitUntil(queue.limits.start_limit_until(&starts, now)))
        }
        Query::DueOperations(now) => {
            let now = rows.reading_at(now)?;
            Ok(Answer::DueOperations(rows.due_operations(now)?))
        }
        Query::Log(query) => logs::answer(rows, &query),
        Query::Assets(query) => assets::answer(rows, scope, query),
        Query::Buckets(query) => buckets::answer(rows, scope, query),
        Query::Webhooks(query) => webhooks::answer(rows, query),
        Query::Alerts(query) => alerts::answer(rows, scope, query),
        Query::Fleet(query) => fleet::answer(rows, &query),
        Query::Tasks(query) => tasks::answer(rows, scope, query),
        Query::LiveJobs => {
            let jobs = rows.live_jobs()?;
            let told = jobs.into_iter().map(|job| {
                let gone = rows.process_is_gone(job.key);
                (job, gone)
            });
            Ok(Answer::LiveJobs(LiveJobs { jobs: told.collect(), has_removals: rows.has_removals()? }))
        }
    }
}

fn chain<R: Rows>(rows: &mut R, folder: FolderId, id: ItemId) -> Result<Vec<ItemId>> {
    existing(rows, folder, id)?;
    rows.chain(id)
}

/// The queues in any of these folders, by name.
fn queues_in<R: Rows>(rows: &mut R, folders: &[FolderId]) -> Result<Vec<QueueDefinition>> {
    let mut queues = rows.queues()?;
    queues.retain(|queue| queue.folders.iter().any(|folder| folders.contains(folder)));
    Ok(queues)
}

/// The queues of a folder with these names; all if there are none.
pub(super) fn queues_called<R: Rows>(
    rows: &mut R,
    folder: FolderId,
    names: &[String],
) -> Result<Vec<QueueId>> {
    if names.is_empty() {
        return Ok(queues_in(rows, &[folder])?.into_iter().map(|queue| queue.id).collect());
    }
    let mut queues = Vec::with_capacity(names.len());
    for name in names {
        queues.push(which(rows, folder, &QueueSelector::Name(name.clone()))??.id);
    }
    queues.sort_unstable();
    queues.dedup();
    Ok(queues)
}

/// A queue of a folder. The inner error: it does not exist, or not in this folder.
pub(super) fn which<R: Rows>(
    rows: &mut R,
    folder: FolderId,
    which: &QueueSelector,
) -> Result<Result<Arc<QueueDefinition>>> {
    let (found, missing) = match which {
        QueueSelector::Name(name) => (rows.queue_named(folder, name)?, OrchestratorError::no_queue(name)),
        QueueSelector::Id(id) => {
            (rows.queue(*id)?, OrchestratorError::not_found(format!("queue {id} does not exist")))
        }
        QueueSelector::Key(key) => {
            let missing = OrchestratorError::not_found(format!("a queue with the key {key} does not exist"));
            (rows.queues()?.into_iter().find(|queue| queue.key == *key).map(Arc::new), missing)
        }
    };
    Ok(found.filter(|queue| queue.folders.contains(&folder)).ok_or(missing))
}

/// The row of one item among many. One that cannot be read is reported and skipped.
fn readable_row<R: Rows>(rows: &mut R, id: ItemId) -> Result<Option<ItemRow>> {
    match rows.row(id) {
        Err(error) if is_unreadable(&error) => {
            rows.skipped_rows().report(id, &error);
            Ok(None)
        }
        row => row,
    }
}

/// An item of a folder.
fn existing<R: Rows>(rows: &mut R, folder: FolderId, id: ItemId) -> Result<QueueItem> {
    let missing = || OrchestratorError::no_item(id);
    let item = rows.item(id)?.ok_or_else(missing)?;
    let queue = rows.queue(item.queue_id)?.filter(|queue| queue.folders.contains(&folder));
    queue.map(|_| item).ok_or_else(missing)
}

/// How many items match a filter; at least so many if it is not exact.
struct Counted {
    count: u64,
    is_exact: bool,
}

impl Counted {
    fn exactly(count: u64) -> Self {
        Self { count, is_exact: true }
    }

    /// What a back end counted: see [`Rows::list`].
    fn up_to(limit: u64, count: u64) -> Self {
        Self { count: count.min(limit), is_exact: count <= limit }
    }
}

fn list<R: Rows>(
    rows: &mut R,
    folders: &[FolderId],
    filter: ItemFilter,
    page: Page,
) -> Result<(Vec<QueueItem>, Option<Counted>)> {
    page.validate()?;
    find(rows, folders, filter, page, |rows, ask| rows.list(ask))
}

/// The ids of the items of a list, of which there may be more than a page has.
pub(super) fn ids<R: Rows>(
    rows: &mut R,
    folders: &[FolderId],
    filter: ItemFilter,
    page: Page,
) -> Result<Vec<ItemId>> {
    Ok(find(rows, folders, filter, page, |rows, ask| Ok((rows.list_ids(ask)?, None)))?.0)
}

/// What a back end says of the items of a list, and how many match if the page counts.
fn find<R: Rows, T>(
    rows: &mut R,
    folders: &[FolderId],
    mut filter: ItemFilter,
    mut page: Page,
    read: impl Fn(&mut R, &ListRequest<'_>) -> Result<(Vec<T>, Option<u64>)>,
) -> Result<(Vec<T>, Option<Counted>)> {
    let limit = page.count_limit;
    let count = limit > 0;
    let behind = match page.after.take() {
        Some(cursor) => Some(cursor.condition(&filter.order, page.descending)?),
        None => None,
    };
    filter.created_from = filter.created_from.map(stored);
    filter.created_before = filter.created_before.map(stored);
    let mut queues: Vec<QueueId> = match filter.queue.as_deref() {
        None => queues_in(rows, folders)?.into_iter().map(|queue| queue.id).collect(),
        Some(name) => {
            let mut named = Vec::new();
            for folder in folders {
                named.extend(rows.queue_named(*folder, name)?.map(|queue| queue.id));
            }
            if named.is_empty() {
                return Err(OrchestratorError::no_queue(name));
            }
            named
        }
    };
    // Back ends list by id anyway.
    if let [Order { field: Field::Id, descending }, ..] = filter.order[..] {
        page.descending = descending;
        filter.order.clear();
    }
    // Conditions on the queue and the status become parts of the filter that a back end finds quickly.
    if let Some(condition) = filter.condition.take() {
        let (of_queues, statuses, rest) = condition.split();
        if let Some(of_queues) = of_queues {
            queues.retain(|queue| of_queues.contains(queue));
        }
        if let Some(statuses) = statuses {
            let both = |status: &&Status| filter.status.is_empty() || filter.status.contains(status);
            filter.status = statuses.iter().filter(both).copied().collect();
            if filter.status.is_empty() {
                queues.clear();
            }
        }
        filter.condition = rest;
        // An index finds a reference, and those that start with a text.
        if filter.reference.is_none()
            && let Some((reference, rest)) = filter.condition.take().map(Condition::split_reference)
        {
            (filter.reference, filter.condition) = (reference, rest);
        }
    }
    queues.sort_unstable();
    queues.dedup();
    // One that is named twice would be found and counted twice.
    filter.status.sort_unstable();
    filter.status.dedup();
    if queues.is_empty() {
        return Ok((Vec::new(), count.then(|| Counted::exactly(0))));
    }
    let only_states = filter.condition.is_none()
        && (filter.reference.is_none() && filter.review_status.is_empty() && filter.priority.is_none())
        && (filter.exception_type.is_none() && filter.key.is_none() && filter.reason.is_none())
        && filter.refused_by.is_none()
        && (filter.created_from.is_none() && filter.created_before.is_none());
    if !only_states {
        // What is counted is the whole list, wherever the page begins.
        let Some(behind) = behind else {
            let (items, counted) =
                read(rows, &ListRequest { queues: &queues, filter: &filter, page: &page, count })?;
            return Ok((items, counted.map(|counted| Counted::up_to(limit, counted))));
        };
        let counted = if count {
            let nothing = Page::first(0).count_limit(limit);
            read(rows, &ListRequest { queues: &queues, filter: &filter, page: &nothing, count })?.1
        } else {
            None
        };
        filter.condition = Some(match filter.condition.take() {
            Some(condition) => Condition::All(vec![condition, behind]),
            None => behind,
        });
        let ask = ListRequest { queues: &queues, filter: &filter, page: &page, count: false };
        return Ok((read(rows, &ask)?.0, counted.map(|counted| Counted::up_to(limit, counted))));
    }
    // The counters of the queues say how many items match; queues without any need not be searched.
    let statuses: &[Status] = if filter.status.is_empty() { Status::ALL } else { &filter.status };
    let mut all = 0;
    let mut with_some = Vec::with_capacity(queues.len());
    for queue in queues {
        let statistics = rows.statistics(queue)?;
        let found: i64 = statuses.iter().map(|status| statistics.with_status(*status)).sum();
        all += found.unsigned_abs();
        with_some.extend((found > 0).then_some(queue));
    }
    let counted = count.then(|| Counted::exactly(all));
    if with_some.is_empty() || page.skip as u64 >= all {
        return Ok((Vec::new(), counted));
    }
    filter.condition = behind;
    let ask = ListRequest { queues: &with_some, filter: &filter, page: &page, count: false };
    let (items, _) = read(rows, &ask)?;
    Ok((items, counted))
}
