//! Answers queries from rows.

use std::sync::Arc;

use super::super::super::{OrchestratorError, Result};
use super::super::rows::Rows;
use super::super::store::{Answer, Query};
use crate::model::clock::whole_microseconds;
use crate::model::history::events;
use crate::model::item::QueueItem;
use crate::model::key::ItemId;
use crate::model::queue::QueueDefinition;

pub(super) fn answer<R: Rows>(rows: &mut R, query: Query) -> Result<Answer> {
    match query {
        Query::Queue(name) => Ok(Answer::Queue((*named(rows, &name)?).clone())),
        Query::Queues => Ok(Answer::Queues(rows.queues()?)),
        Query::Statistics(name) => {
            let queue = named(rows, &name)?;
            Ok(Answer::Statistics(rows.statistics(queue.id)?))
        }
        Query::Item(id) => Ok(Answer::Item(Box::new(existing(rows, id)?))),
        Query::Items(mut filter, page) => {
            page.validate()?;
            filter.created_from = filter.created_from.map(whole_microseconds);
            filter.created_before = filter.created_before.map(whole_microseconds);
            let queue = filter.queue.as_deref().map(|name| named(rows, name)).transpose()?;
            Ok(Answer::Items(rows.list(queue.map(|queue| queue.id), &filter, page)?))
        }
        Query::History(id) => {
            let chain = chain(rows, id)?;
            let items: Result<Vec<_>> = chain.into_iter().map(|id| existing(rows, id)).collect();
            Ok(Answer::History(items?))
        }
        Query::Events(id) => {
            let mut all = Vec::new();
            for id in chain(rows, id)? {
                if let Some(row) = rows.row(id)? {
                    all.extend(events(id, &row.state, &rows.recorded(id)?));
                }
            }
            Ok(Answer::Events(all))
        }
        Query::Comments(id) => {
            let mut all = Vec::new();
            for id in chain(rows, id)? {
                all.extend(rows.comments_on(id)?);
            }
            all.sort_by_key(|comment| comment.id);
            Ok(Answer::Comments(all))
        }
        Query::Jobs { limit } => Ok(Answer::Jobs(rows.jobs(limit)?)),
        Query::LiveJobs => {
            let jobs = rows.live_jobs()?;
            let told = jobs.into_iter().map(|job| {
                let gone = rows.process_is_gone(job.key);
                (job, gone)
            });
            Ok(Answer::LiveJobs(told.collect()))
        }
    }
}

fn chain<R: Rows>(rows: &mut R, id: ItemId) -> Result<Vec<ItemId>> {
    existing(rows, id)?;
    rows.chain(id)
}

fn named<R: Rows>(rows: &mut R, name: &str) -> Result<Arc<QueueDefinition>> {
    rows.queue_named(name)?.ok_or_else(|| OrchestratorError::no_queue(name))
}

fn existing<R: Rows>(rows: &mut R, id: ItemId) -> Result<QueueItem> {
    rows.item(id)?.ok_or_else(|| OrchestratorError::no_item(id))
}
