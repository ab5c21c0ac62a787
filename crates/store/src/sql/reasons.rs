//! The list of groups of failures.

use jiff::Timestamp;

use super::columns::{Columns, unreadable};
use super::dialect::{Bound, Engine, Values, in_queues};
use performer_core::model::exception::ExceptionType;
use performer_core::model::key::QueueId;
use performer_core::model::reason::{Reason, ReasonFilter, ReasonOrder};
use performer_core::orchestrator::Result;

/// Writes the note and the owner of a group.
pub(crate) fn write<E: Engine>(engine: &mut E, reason: &Reason) -> Result<()> {
    let mut columns =
        Columns::<E>::new().text_or_null("note", reason.note.as_deref()).set_or_null("owner", reason.owner);
    let id = columns.values.bind::<E>(reason.id);
    let sql = format!("UPDATE reason SET {} WHERE id = {id}", columns.assignments());
    engine.execute(&sql, &columns.values)
}

/// All groups of the queues are sorted: there are at most some thousands, and an index in the order of a count would change
/// with each failure.
pub(crate) fn reasons<E: Engine>(
    engine: &mut E,
    queues: &[QueueId],
    filter: &ReasonFilter,
) -> Result<Vec<Reason>> {
    if queues.is_empty() {
        return Ok(Vec::new());
    }
    let mut values = Values::default();
    let of_queues = E::counted_reasons(&in_queues::<E>("reason.queue_id", queues, &mut values));
    let key = match filter.order {
        ReasonOrder::MostOpen => "open",
        ReasonOrder::LastSeen => "last_seen",
    };
    let mut conditions = if filter.open_only { "open > 0" } else { "true" }.to_owned();
    if let Some(id) = filter.id {
        conditions.push_str(&format!(" AND id = {}", values.bind::<E>(id)));
    }
    if let Some(from) = filter.first_seen_from {
        conditions.push_str(&format!(" AND first_seen >= {}", values.bind::<E>(Bound::Time(from))));
    }
    if let Some(after) = filter.after {
        let last = values.bind::<E>(match filter.order {
            ReasonOrder::MostOpen => Bound::Number(after.key),
            ReasonOrder::LastSeen => {
                Bound::Time(Timestamp::from_microsecond(after.key).unwrap_or(Timestamp::MIN))
            }
        });
        conditions.push_str(&format!(" AND ({key}, id) < ({last}, {})", values.bind::<E>(after.id)));
    }
    let sql = format!(
        "SELECT id, queue_id, exception_type, fingerprint, first_seen, sample, last_seen, total, open, \
         coalesce(note, ''), coalesce(owner, 0) \
         FROM {of_queues} AS reason WHERE {conditions} ORDER BY {key} DESC, id DESC LIMIT {}",
        filter.top
    );
    engine.read_list(("reason", 0), &sql, &values, |row| {
        let kind = ExceptionType::from_number(row.number(2)?).map_err(unreadable)?;
        let queue = QueueId(row.number(1)?);
        let mut reason = Reason::new(row.number(0)?, queue, kind, row.text(3)?, row.time(4)?);
        reason.sample = row.text(5)?;
        reason.last_seen = row.time(6)?;
        reason.total = row.number(7)?;
        reason.open = row.number(8)?;
        // Neither a note nor a number of a user is empty.
        reason.note = Some(row.text(9)?).filter(|note| !note.is_empty());
        reason.owner = Some(row.number(10)?).filter(|owner| *owner != 0);
        Ok(reason)
    })
}
