//! The look-ups of jobs when a transaction begins, and their locks. The statements on jobs are in `../sql/jobs.rs`.

use std::sync::LazyLock;

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::sql::{self, jobs::JOB};
use super::columns::{get, uuid};
use super::queues;
use super::session::BoundQuery;
use performer_core::model::job::Job;
use performer_core::model::key::{FolderId, JobKey};
use performer_core::orchestrator::Result;

/// The name of a job's lock. Claims for the job share it; whoever ends the job owns it.
pub(super) fn lock_of(key: JobKey) -> String {
    format!("job/{}", key.number().0)
}

/// The query for a job, by number and key: the number is only a part of the key.
pub(super) fn job_query(key: JobKey) -> BoundQuery {
    static SQL: LazyLock<String> = LazyLock::new(|| format!("{JOB} WHERE number = $1 AND key = $2"));
    BoundQuery {
        sql: SQL.as_str().into(),
        values: vec![Box::new(key.number().0), Box::new(uuid(key.to_bytes()))],
    }
}

/// The query for a queue and a job at once, to save a statement. Without the queue no row is returned; without the job
/// its columns are null.
pub(super) fn queue_and_job_query(folder: FolderId, name: &str, key: JobKey) -> BoundQuery {
    static SQL: LazyLock<String> = LazyLock::new(|| {
        let queue = &*queues::QUEUE_NAMED;
        format!(
            "SELECT * FROM ({queue}) AS queue LEFT JOIN ({JOB} WHERE number = $3 AND key = $4) AS job ON true"
        )
    });
    let mut values = queues::queue_named_query(folder, name).values;
    values.extend(job_query(key).values);
    BoundQuery { sql: SQL.as_str().into(), values }
}

/// The job in the answer to [`queue_and_job_query`].
pub(super) fn job_behind_queue(row: &Row) -> Result<Option<Job>> {
    let is_there = get::<Option<Uuid>>(row, sql::queues::COLUMNS)?.is_some();
    is_there.then(|| sql::jobs::read_from(row, sql::queues::COLUMNS)).transpose()
}
