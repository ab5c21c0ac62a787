//! The look-ups of queues when a transaction begins, and their locks. The statements on queues are in `../sql/queues.rs`.

use std::sync::LazyLock;

use super::super::sql;
use super::Postgres;
use super::columns::text;
use super::session::{BoundQuery, OwnedValue, Session};
use performer_core::model::key::{FolderId, QueueId};
use performer_core::model::queue::folded;
use performer_core::orchestrator::Result;

pub(super) static QUEUE_NAMED: LazyLock<String> =
    LazyLock::new(|| sql::queues::named_query::<Postgres>("$1", "$2"));

/// The query for the queue with a name in a folder.
pub(super) fn queue_named_query(folder: FolderId, name: &str) -> BoundQuery {
    let values: Vec<OwnedValue> = vec![Box::new(folder.0), Box::new(text(&folded(name)).into_owned())];
    BoundQuery { sql: QUEUE_NAMED.as_str().into(), values }
}

/// Behind a query for a queue. The caller's transaction does not share the lock of all queues. It locks the row of the queue, in a way
/// that only a change of its rules about groups does not go with: that is refused until the transaction ends.
pub(super) fn kept_in_caller_transaction(session: &Session) -> &'static str {
    if session.is_callers() { " FOR KEY SHARE OF queue" } else { "" }
}

/// Locks the row of a queue whose rules about groups are changed. Fails if a caller's transaction has it.
pub(super) fn lock_rules(session: &mut Session, id: QueueId) -> Result<()> {
    session.execute("SELECT 1 FROM queue WHERE id = $1 FOR UPDATE NOWAIT", &[&id.0]).map(drop)
}
