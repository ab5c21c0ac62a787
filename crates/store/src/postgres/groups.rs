//! The groups of items: the table `item_grouped`, and what moves between it and `item_ready`.
//!
//! Whoever gives or takes slots of a queue's groups holds the lock of its starts until it has committed, and so does whoever claims
//! its items, or changes one that is New and has a row in `item_grouped`. So one transaction at a time knows what is ready.
//!
//! All groups of a transaction are settled together: one round trip locks the queue, removes the rows of items that have ended and
//! reads the groups; then the rules are applied to what was read (`Loaded`), and the moves are sent with the next statement.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::groups::{Group, GroupChanges, GroupRows, LastTurns, settle};
use super::claim_cursor::RANKS;
use super::columns::{date, get};
use super::ready_items::{EntryNumbers, due_date, mark, number, rank_of};
use super::session::{BoundQuery, OwnedValue, Session};
use super::{DueItems, Postgres, queues};
use performer_core::crash_point;
use performer_core::model::groups::{GroupRules, PlaceInGroup, turn};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::is_deferred;
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

/// How many groups are settled together.
const SETTLED_TOGETHER: usize = 1_000;

/// What a row of [`LOAD`] is.
mod kind {
    pub(super) const GONE: i16 = 0;
    pub(super) const WAITING: i16 = 1;
    pub(super) const IN_PROGRESS: i16 = 2;
    pub(super) const READY: i16 = 3;
    pub(super) const LAST_TURN: i16 = 4;
}

/// The columns of an item of a group.
macro_rules! grouped_columns {
    () => {
        "group_name, item_id, rank, due_date, first_id, place"
    };
}

/// Removes the rows of items ($2) and reads their groups, those of other items ($3) and others ($4): of each the first that wait,
/// and those that hold slots. $5 is the limit. Of groups without a limit, which have no need of the latter, it reads the last turns,
/// if groups take turns ($6).
const LOAD: &str = concat!(
    "WITH gone AS MATERIALIZED (DELETE FROM item_grouped WHERE item_id = ANY ($2::bigint[]) RETURNING ",
    grouped_columns!(),
    "), names AS MATERIALIZED (SELECT group_name AS name FROM gone \
     UNION SELECT group_name FROM item_grouped WHERE item_id = ANY ($3::bigint[]) UNION SELECT unnest($4::text[])) \
     SELECT 0::smallint, ",
    grouped_columns!(),
    " FROM gone UNION ALL \
     SELECT 1::smallint, waiting.* FROM names CROSS JOIN LATERAL (SELECT ",
    grouped_columns!(),
    " FROM item_grouped WHERE queue_id = $1 AND group_name = names.name AND place IS NULL AND item_id <> ALL ($2) \
     ORDER BY rank, due_date, first_id, item_id LIMIT CASE WHEN names.name <> '' THEN $5::bigint END) AS waiting UNION ALL \
     SELECT CASE WHEN EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = held.rank \
     AND due_date = held.place AND item_id = held.item_id) THEN 3::smallint ELSE 2::smallint END, held.* \
     FROM names CROSS JOIN LATERAL (SELECT ",
    grouped_columns!(),
    " FROM item_grouped WHERE queue_id = $1 AND group_name = names.name AND place IS NOT NULL AND item_id <> ALL ($2)) AS held \
     WHERE names.name <> '' AND $5 IS NOT NULL UNION ALL \
     SELECT 4::smallint, names.name, 0, ranks.rank, 0, 0, last.place FROM names \
     CROSS JOIN unnest('{0,1,2,3,4,5}'::smallint[]) AS ranks (rank) CROSS JOIN LATERAL (SELECT place FROM item_grouped \
     WHERE queue_id = $1 AND group_name = names.name AND rank = ranks.rank AND place IS NOT NULL AND item_id <> ALL ($2) \
     ORDER BY place DESC LIMIT 1) AS last WHERE $6::boolean AND (names.name = '' OR $5 IS NULL)"
);

/// An item of a group.
#[derive(Clone, Copy, Debug)]
struct Grouped {
    place: PlaceInGroup,
    /// Its place in `item_ready`, if it holds a slot.
    slot: Option<i64>,
}

impl Grouped {
    fn read(row: &Row) -> Result<Self> {
        // A rank that does not exist, in a damaged row, is the last.
        let rank = usize::try_from(get::<i16>(row, 3)?).map_or(RANKS - 1, |rank| rank.min(RANKS - 1));
        let (id, due_date, first) = (get(row, 2)?, get(row, 4)?, get(row, 5)?);
        let place = PlaceInGroup {
            rank: u8::try_from(rank).unwrap_or(u8::MAX),
            due_date,
            first: ItemId(first),
            id: ItemId(id),
        };
        Ok(Self { place, slot: get(row, 6)? })
    }
}

/// What was read of a group: the first items that wait, and those that hold slots.
#[derive(Default)]
struct Loaded {
    waiting: BTreeMap<PlaceInGroup, Grouped>,
    ready: BTreeMap<PlaceInGroup, Grouped>,
    in_progress: Vec<Grouped>,
    last_turns: LastTurns,
}

impl Loaded {
    /// The last turn that the group had in a rank.
    fn last_turn(&self, rank: u8) -> Option<i64> {
        let held = self.ready.values().chain(&self.in_progress).filter(|item| item.place.rank == rank);
        self.last_turns.or_held(rank, held.filter_map(|item| item.slot).max())
    }
}

/// Items that get or lose slots, with their places in `item_ready`.
#[derive(Default)]
struct Moves {
    entered: BTreeMap<ItemId, i64>,
    left: BTreeMap<ItemId, i64>,
}

/// One group, while it is settled.
struct OneGroup<'a> {
    loaded: Loaded,
    fair: bool,
    /// The first turn of each rank among the ready items of the queue. (Of an item that loses its slot the turn stays: another one
    /// of its group gets it.)
    first_turns: &'a mut [Option<i64>; RANKS],
    moves: &'a mut Moves,
}

impl Group for OneGroup<'_> {
    type Item = Grouped;
    type Error = Infallible;

    fn held(&mut self) -> std::result::Result<usize, Infallible> {
        Ok(self.loaded.ready.len() + self.loaded.in_progress.len())
    }

    fn first_waiting(&mut self) -> std::result::Result<Option<(PlaceInGroup, Grouped)>, Infallible> {
        Ok(self.loaded.waiting.first_key_value().map(|(place, item)| (*place, *item)))
    }

    fn last_ready(&mut self) -> std::result::Result<Option<(PlaceInGroup, Grouped)>, Infallible> {
        Ok(self.loaded.ready.last_key_value().map(|(place, item)| (*place, *item)))
    }

    fn enter(&mut self, item: Grouped) -> std::result::Result<(), Infallible> {
        let PlaceInGroup { rank, due_date, id, .. } = item.place;
        let slot = if self.fair {
            let last = self.loaded.last_turn(rank);
            let first = &mut self.first_turns[usize::from(rank)];
            let turn = turn(*first, last);
            first.get_or_insert(turn);
            turn
        } else {
            due_date
        };
        self.loaded.waiting.remove(&item.place);
        self.loaded.ready.insert(item.place, Grouped { slot: Some(slot), ..item });
        self.moves.entered.insert(id, slot);
        Ok(())
    }

    fn leave(&mut self, item: Grouped) -> std::result::Result<(), Infallible> {
        self.loaded.ready.remove(&item.place);
        self.loaded.waiting.insert(item.place, Grouped { slot: None, ..item });
        let Some(slot) = item.slot else { return Ok(()) };
        self.loaded.last_turns.remember_left(item.place.rank, slot, Status::New);
        if self.moves.entered.remove(&item.place.id).is_none() {
            self.moves.left.insert(item.place.id, slot);
        }
        Ok(())
    }
}

impl Moves {
    /// Writes them with the next statement. The transaction has announced that it draws numbers.
    fn write(&self, session: &mut Session, numbers: EntryNumbers) -> Result<()> {
        const LEAVE: &str = "WITH behind AS (UPDATE item_grouped SET place = NULL \
             FROM unnest($1::bigint[], $2::bigint[]) AS item (id, place) WHERE item_grouped.item_id = item.id \
             RETURNING item_grouped.queue_id, item_grouped.rank, item.place, item_grouped.item_id) \
             DELETE FROM item_ready USING behind WHERE item_ready.queue_id = behind.queue_id \
             AND item_ready.rank = behind.rank AND item_ready.due_date = behind.place \
             AND item_ready.item_id = behind.item_id";
        const ENTER: &str = concat!(
            "WITH held AS (UPDATE item_grouped SET place = item.place FROM unnest($1::bigint[], $2::bigint[]) \
             AS item (id, place) WHERE item_grouped.item_id = item.id RETURNING item_grouped.queue_id, item_grouped.rank, \
             item_grouped.place, item_grouped.item_id, item_grouped.touched) \
             INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
             SELECT queue_id, rank, place, item_id, touched, ",
            number!("$3"),
            " FROM held"
        );
        let columns = |items: &BTreeMap<ItemId, i64>| -> (Vec<i64>, Vec<i64>) {
            items.iter().map(|(id, place)| (id.0, *place)).unzip()
        };
        if !self.left.is_empty() {
            let (ids, places) = columns(&self.left);
            session.enqueue(LEAVE, &[&ids, &places])?;
        }
        if !self.entered.is_empty() {
            let (ids, places) = columns(&self.entered);
            session.enqueue(ENTER, &[&ids, &places, &(numbers == EntryNumbers::Drawn)])?;
        }
        Ok(())
    }
}

/// Which groups are to be settled.
#[derive(Default)]
struct Concerned {
    /// Items that do not wait for a slot, nor hold one.
    gone: BTreeMap<ItemId, ItemState>,
    /// Items that wait again, and items that were started without a slot.
    again: BTreeMap<ItemId, ItemState>,
    started: Vec<i64>,
    names: BTreeSet<String>,
}

impl Concerned {
    fn by(changes: GroupChanges, now: Timestamp) -> Self {
        let mut concerned = Self { names: changes.groups, ..Self::default() };
        for (id, state) in changes.items {
            match state.status {
                Status::InProgress => concerned.started.push(id.0),
                Status::New if !is_deferred(&state, now) => drop(concerned.again.insert(id, state)),
                _ => drop(concerned.gone.insert(id, state)),
            }
        }
        concerned
    }

    /// The statements that bring the rows of items in line with their states: of those that wait again two, whose first one returns
    /// the rows that there were.
    fn queries(&self, queue: QueueId, rules: GroupRules) -> Vec<BoundQuery> {
        const REMOVE: &str = concat!(
            "DELETE FROM item_grouped WHERE item_id = ANY ($1::bigint[]) RETURNING 0::smallint, ",
            grouped_columns!()
        );
        // Whoever wrote their states has made them ready, as in a queue without rules.
        const WAIT: &str = "WITH again AS MATERIALIZED (SELECT item.id, coalesce(item.group_name, '') AS name, \
             coalesce(item.root_id, item.id) AS first, changed.rank, changed.due_date \
             FROM unnest($2::bigint[], $3::smallint[], $4::bigint[]) AS changed (id, rank, due_date) \
             JOIN item ON item.id = changed.id WHERE $5::boolean OR item.group_name IS NOT NULL), \
             ready AS (DELETE FROM item_ready USING again WHERE item_ready.queue_id = $1 AND item_ready.rank = again.rank \
             AND item_ready.due_date = again.due_date AND item_ready.item_id = again.id \
             RETURNING item_ready.item_id, item_ready.touched) \
             INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched) \
             SELECT again.id, $1, again.name, again.rank, again.due_date, again.first, coalesce(ready.touched, true) \
             FROM again LEFT JOIN ready ON ready.item_id = again.id";
        const HOLD: &str = "UPDATE item_grouped SET place = CASE WHEN $2 THEN 0 ELSE due_date END \
                            WHERE item_id = ANY ($1::bigint[]) AND place IS NULL";
        let mut queries = Vec::new();
        if !self.again.is_empty() {
            let ids: Vec<i64> = self.again.keys().map(|id| id.0).collect();
            let ranks: Vec<i16> = self.again.values().map(rank_of).collect();
            let due: Vec<i64> = self.again.values().map(due_date).collect();
            queries.push(BoundQuery { sql: REMOVE.into(), values: vec![Box::new(ids.clone())] });
            let values: Vec<OwnedValue> =
                vec![Box::new(queue.0), Box::new(ids), Box::new(ranks), Box::new(due), Box::new(rules.fair)];
            queries.push(BoundQuery { sql: WAIT.into(), values });
        }
        if !self.started.is_empty() {
            let values: Vec<OwnedValue> = vec![Box::new(self.started.clone()), Box::new(rules.fair)];
            queries.push(BoundQuery { sql: HOLD.into(), values });
        }
        queries
    }

    fn load(&self, queue: QueueId, rules: GroupRules) -> BoundQuery {
        let gone: Vec<i64> = self.gone.keys().map(|id| id.0).collect();
        let others: Vec<i64> = self.again.keys().map(|id| id.0).chain(self.started.iter().copied()).collect();
        let names: Vec<String> = self.names.iter().cloned().collect();
        let values: Vec<OwnedValue> = vec![
            Box::new(queue.0),
            Box::new(gone),
            Box::new(others),
            Box::new(names),
            Box::new(rules.limit.map(i64::from)),
            Box::new(rules.fair),
        ];
        BoundQuery { sql: LOAD.into(), values }
    }

    /// Uses the rows of [`LOAD`] and of those that were removed.
    fn loaded<'r>(&self, rows: impl Iterator<Item = &'r Row>) -> Result<BTreeMap<String, Loaded>> {
        let mut groups: BTreeMap<String, Loaded> = BTreeMap::new();
        for row in rows {
            let (kind, name, item): (i16, &str, _) = (get(row, 0)?, get(row, 1)?, Grouped::read(row)?);
            if !groups.contains_key(name) {
                groups.insert(name.to_owned(), Loaded::default());
            }
            let Some(group) = groups.get_mut(name) else { continue };
            let PlaceInGroup { rank, id, .. } = item.place;
            match kind {
                kind::WAITING => drop(group.waiting.insert(item.place, item)),
                kind::READY => drop(group.ready.insert(item.place, item)),
                kind::IN_PROGRESS => group.in_progress.push(item),
                kind::LAST_TURN => {
                    if let Some(turn) = item.slot {
                        group.last_turns.remember(rank, turn);
                    }
                }
                kind::GONE => {
                    let state = self.gone.get(&id).or_else(|| self.again.get(&id));
                    if let Some((turn, state)) = item.slot.zip(state) {
                        group.last_turns.remember_left(rank, turn, state.status);
                    }
                }
                other => unreachable!("no row of a group is of kind {other}"),
            }
        }
        Ok(groups)
    }
}

impl Postgres {
    /// Locks a queue with rules about groups, with the next statement. False: the transaction has locked it already.
    pub(super) fn lock_groups_of(&mut self, queue: QueueId) -> Result<bool> {
        if self.locked_groups.contains_key(&queue) {
            return Ok(false);
        }
        self.lock_alone(&format!("starts/{}", queue.0))?;
        self.locked_groups.insert(queue, DueItems::Unknown);
        Ok(true)
    }

    fn settle_concerned(
        &mut self,
        (queue, rules): (QueueId, GroupRules),
        concerned: &Concerned,
        may_exceed: bool,
        now: Timestamp,
    ) -> Result<bool> {
        const DUE: &str = "SELECT 1 FROM item_deferred WHERE queue_id = $1 AND defer_date <= $2 ORDER BY defer_date LIMIT 1";
        let mut queries = concerned.queries(queue, rules);
        let first = queries.len();
        queries.push(concerned.load(queue, rules));
        queries.push(BoundQuery { sql: DUE.into(), values: vec![Box::new(queue.0), Box::new(date(now))] });
        if rules.fair {
            queries.push(self.cursors.entry(queue.0).or_default().turns.update_query(queue.0));
        }
        let answers = self.session.ask(&queries)?;
        let removed = if concerned.again.is_empty() { &[][..] } else { &answers[0] };
        let groups = concerned.loaded(answers[first].iter().chain(removed))?;
        let due = if answers[first + 1].is_empty() { DueItems::Moved } else { DueItems::Unknown };
        self.locked_groups.insert(queue, due);
        let mut first_turns = [None; RANKS];
        if rules.fair {
            first_turns = self.cursors.entry(queue.0).or_default().turns.update(&answers[first + 2])?;
        }
        let mut moves = Moves::default();
        for (name, loaded) in groups {
            let slots = rules.slots(&name);
            let mut group =
                OneGroup { loaded, fair: rules.fair, first_turns: &mut first_turns, moves: &mut moves };
            let Ok(_) = settle(&mut group, slots, may_exceed);
            crash_point!("groups.between_groups");
        }
        if moves.left.is_empty() && moves.entered.is_empty() {
            return Ok(false);
        }
        self.prefetched_items = None;
        self.mark()?;
        let numbers = self.numbers();
        moves.write(&mut self.session, numbers)?;
        Ok(!moves.entered.is_empty())
    }

    /// Settles all groups of these names.
    pub(super) fn settle_named(
        &mut self,
        (queue, rules): (QueueId, GroupRules),
        names: Vec<String>,
        now: Timestamp,
    ) -> Result<()> {
        let mut names = names.into_iter().peekable();
        while names.peek().is_some() {
            let names = names.by_ref().take(SETTLED_TOGETHER).collect();
            self.settle_concerned((queue, rules), &Concerned { names, ..Concerned::default() }, false, now)?;
        }
        Ok(())
    }
}

impl GroupRows for Postgres {
    fn lock_groups(&mut self, queues: &[QueueId]) -> Result<()> {
        self.flush_bulk_insert()?;
        queues.iter().try_for_each(|queue| self.lock_groups_of(*queue).map(drop))
    }

    fn settle_groups(
        &mut self,
        queue: QueueId,
        rules: GroupRules,
        changes: GroupChanges,
        now: Timestamp,
    ) -> Result<bool> {
        self.flush_bulk_insert()?;
        self.lock_groups_of(queue)?;
        let may_exceed = changes.may_exceed();
        self.settle_concerned((queue, rules), &Concerned::by(changes, now), may_exceed, now)
    }

    /// They wait in their groups then, or are ready if they have none.
    fn due_items(&mut self, queue: QueueId, rules: GroupRules, now: Timestamp) -> Result<GroupChanges> {
        const DUE: &str = concat!(
            "WITH due AS MATERIALIZED (SELECT ctid AS row FROM item_deferred WHERE queue_id = $1 AND defer_date <= $2 \
             ORDER BY defer_date, item_id LIMIT 10000 FOR UPDATE SKIP LOCKED), marked AS MATERIALIZED (SELECT ",
            mark!("$3"),
            " FROM item_id WHERE EXISTS (SELECT 1 FROM due)), \
             gone AS (DELETE FROM item_deferred WHERE ctid = ANY (ARRAY(SELECT row FROM due)) \
             RETURNING queue_id, rank, due_date, item_id, touched), \
             named AS MATERIALIZED (SELECT gone.*, item.group_name, coalesce(item.root_id, item.id) AS first \
             FROM gone JOIN item ON item.id = gone.item_id), \
             ready AS (INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched, entered) \
             SELECT queue_id, rank, due_date, item_id, touched, ",
            number!("$4"),
            " FROM marked CROSS JOIN named WHERE NOT $5::boolean AND group_name IS NULL) \
             INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched) \
             SELECT item_id, queue_id, coalesce(group_name, ''), rank, due_date, first, touched FROM named \
             WHERE $5 OR group_name IS NOT NULL RETURNING group_name"
        );
        self.flush_bulk_insert()?;
        self.lock_groups_of(queue)?;
        let mut changes = GroupChanges::default();
        if self.locked_groups.get(&queue) == Some(&DueItems::Moved) {
            return Ok(changes);
        }
        let (marked, drawn) = (self.mark_name(), self.numbers() == EntryNumbers::Drawn);
        let rows = self.session.query(DUE, &[&queue.0, &date(now), &marked, &drawn, &rules.fair])?;
        self.locked_groups.insert(queue, DueItems::Moved);
        for row in rows {
            changes.groups.insert(get(&row, 0)?);
        }
        Ok(changes)
    }

    fn lock_group_rules(&mut self, queue: QueueId) -> Result<()> {
        self.flush_bulk_insert()?;
        queues::lock_rules(&mut self.session, queue)
    }

    fn change_group_rules(
        &mut self,
        queue: QueueId,
        rules: Option<GroupRules>,
        now: Timestamp,
    ) -> Result<()> {
        self.flush_bulk_insert()?;
        self.put_into_groups(queue, rules, now)
    }

    fn has_items_behind(&mut self, queue: QueueId) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM item_grouped WHERE queue_id = $1 AND place IS NULL LIMIT 1";
        self.flush_bulk_insert()?;
        Ok(self.session.query_opt(SQL, &[&queue.0])?.is_some())
    }

    fn in_progress_of(&mut self, queue: QueueId, group: &str) -> Result<usize> {
        const SQL: &str = "SELECT count(*) FROM item_grouped AS held WHERE queue_id = $1 AND group_name = $2 \
             AND place IS NOT NULL AND NOT EXISTS (SELECT 1 FROM item_ready WHERE queue_id = $1 AND rank = held.rank \
             AND due_date = held.place AND item_id = held.item_id)";
        self.flush_bulk_insert()?;
        self.lock_groups_of(queue)?;
        let row = self.session.query_opt(SQL, &[&queue.0, &group])?;
        let count: i64 = row.map_or(Ok(0), |row| get(&row, 0))?;
        Ok(usize::try_from(count).unwrap_or(usize::MAX))
    }
}
