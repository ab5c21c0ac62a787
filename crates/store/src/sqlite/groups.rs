//! The groups of items: the table `item_grouped`, and what moves between it and `item_ready`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::groups::{Group, GroupChanges, GroupRows, LastTurns, settle};
use super::super::rows::Rows;
use super::super::unreadable_rows::is_unreadable;
use super::columns::micros;
use super::{Sqlite, prepared, ready_items};
use performer_core::crash_point;
use performer_core::model::groups::{GroupRules, PlaceInGroup, turn};
use performer_core::model::key::{ItemId, QueueId};
use performer_core::model::lifecycle::ItemState;
use performer_core::model::selection::{is_deferred, rank};
use performer_core::model::status::Status;
use performer_core::orchestrator::Result;

type SqlResult<T> = rusqlite::Result<T>;

/// An item of a group.
#[derive(Clone, Copy, Debug)]
struct Grouped {
    id: ItemId,
    rank: u8,
    due_date: i64,
    first: ItemId,
    touched: bool,
    place: Option<i64>,
}

macro_rules! grouped_columns {
    () => {
        "g.item_id, g.rank, g.due_date, g.first_id, g.touched, g.place"
    };
}

/// The condition that an item with a place is ready.
macro_rules! is_ready {
    () => {
        "item_ready.queue_id = g.queue_id AND item_ready.rank = g.rank AND item_ready.due_date = g.place \
         AND item_ready.item_id = g.item_id"
    };
}

impl Grouped {
    fn read(row: &Row<'_>) -> SqlResult<(PlaceInGroup, Self)> {
        let item = Self {
            id: ItemId(row.get(0)?),
            rank: row.get(1)?,
            due_date: row.get(2)?,
            first: ItemId(row.get(3)?),
            touched: row.get(4)?,
            place: row.get(5)?,
        };
        Ok((item.in_group(), item))
    }

    fn in_group(&self) -> PlaceInGroup {
        PlaceInGroup { rank: self.rank, due_date: self.due_date, first: self.first, id: self.id }
    }

    /// Inserts an item that waits, or holds a slot if it has a place.
    fn insert(&self, connection: &Connection, queue: QueueId, group: &str) -> SqlResult<()> {
        const SQL: &str = "INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched, \
                           place) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let Self { id, rank, due_date, first, touched, place } = self;
        let values = params![id.0, queue.0, group, rank, due_date, first.0, touched, place];
        prepared(connection, SQL)?.execute(values).map(drop)
    }
}

/// Inserts a new item, which waits until its group is settled.
pub(super) fn insert_new(
    connection: &Connection,
    (queue, group): (QueueId, &str),
    id: ItemId,
    state: &ItemState,
    touched: bool,
) -> SqlResult<()> {
    let (rank, due_date) = (rank(state.priority, state.due_date), state.due_date.map_or(0, micros));
    let item = Grouped { id, rank, due_date, first: id, touched, place: None };
    item.insert(connection, queue, group)
}

/// Rank and place among the ready items, of an item that holds a slot of its group.
pub(super) fn place_of(connection: &Connection, id: ItemId) -> SqlResult<Option<(u8, i64)>> {
    const SQL: &str = "SELECT rank, place FROM item_grouped WHERE item_id = ?1 AND place IS NOT NULL";
    prepared(connection, SQL)?.query_row([id.0], |row| Ok((row.get(0)?, row.get(1)?))).optional()
}

/// One group, while it is settled.
struct OneGroup<'c> {
    connection: &'c Connection,
    queue: QueueId,
    name: String,
    fair: bool,
    last_turns: LastTurns,
}

impl Group for OneGroup<'_> {
    type Item = Grouped;
    type Error = rusqlite::Error;

    fn held(&mut self) -> SqlResult<usize> {
        const SQL: &str = "SELECT count(*) FROM item_grouped \
                           WHERE queue_id = ?1 AND group_name = ?2 AND place IS NOT NULL";
        prepared(self.connection, SQL)?.query_row(params![self.queue.0, self.name], |row| row.get(0))
    }

    fn first_waiting(&mut self) -> SqlResult<Option<(PlaceInGroup, Grouped)>> {
        const SQL: &str = concat!(
            "SELECT ",
            grouped_columns!(),
            " FROM item_grouped AS g WHERE g.queue_id = ?1 AND g.group_name = ?2 AND g.place IS NULL \
             ORDER BY g.rank, g.due_date, g.first_id, g.item_id LIMIT 1"
        );
        prepared(self.connection, SQL)?.query_row(params![self.queue.0, self.name], Grouped::read).optional()
    }

    fn last_ready(&mut self) -> SqlResult<Option<(PlaceInGroup, Grouped)>> {
        const SQL: &str = concat!(
            "SELECT ",
            grouped_columns!(),
            " FROM item_grouped AS g CROSS JOIN item_ready ON ",
            is_ready!(),
            " WHERE g.queue_id = ?1 AND g.group_name = ?2 AND g.place IS NOT NULL \
             ORDER BY g.rank DESC, g.due_date DESC, g.first_id DESC, g.item_id DESC LIMIT 1"
        );
        prepared(self.connection, SQL)?.query_row(params![self.queue.0, self.name], Grouped::read).optional()
    }

    fn enter(&mut self, item: Grouped) -> SqlResult<()> {
        const FIRST: &str = "SELECT min(due_date) FROM item_ready WHERE queue_id = ?1 AND rank = ?2";
        const LAST: &str = "SELECT max(place) FROM item_grouped \
                            WHERE queue_id = ?1 AND group_name = ?2 AND rank = ?3 AND place IS NOT NULL";
        const HOLD: &str = "UPDATE item_grouped SET place = ?2 WHERE item_id = ?1";
        let c = self.connection;
        let place = if self.fair {
            let first = prepared(c, FIRST)?.query_row(params![self.queue.0, item.rank], |row| row.get(0))?;
            let values = params![self.queue.0, self.name, item.rank];
            let last: Option<i64> = prepared(c, LAST)?.query_row(values, |row| row.get(0))?;
            turn(first, self.last_turns.or_held(item.rank, last))
        } else {
            item.due_date
        };
        prepared(c, HOLD)?.execute([item.id.0, place])?;
        ready_items::insert_ready(c, self.queue, (item.rank, place, item.id), item.touched)
    }

    fn leave(&mut self, item: Grouped) -> SqlResult<()> {
        const WAIT: &str = "UPDATE item_grouped SET place = NULL WHERE item_id = ?1";
        if let Some(place) = item.place {
            ready_items::remove_ready(self.connection, self.queue, (item.rank, place, item.id))?;
            self.last_turns.remember_left(item.rank, place, Status::New);
        }
        prepared(self.connection, WAIT)?.execute([item.id.0]).map(drop)
    }
}

/// Brings the row of an item in line with its state: it is gone, or it waits, or it is InProgress and holds a slot. Returns the
/// group that is to be settled, and the last turn that the item had.
fn regroup(
    connection: &Connection,
    (queue, rules): (QueueId, GroupRules),
    id: ItemId,
    state: &ItemState,
    now: Timestamp,
) -> SqlResult<Option<(String, LastTurns)>> {
    const REMOVE: &str =
        "DELETE FROM item_grouped WHERE item_id = ?1 RETURNING group_name, rank, place, touched";
    const HOLD: &str = "UPDATE item_grouped SET place = iif(?2, 0, due_date) WHERE item_id = ?1 AND place IS NULL \
                        RETURNING group_name";
    const GROUP: &str = "SELECT group_name, coalesce(root_id, id) FROM item WHERE id = ?1";
    if state.status == Status::InProgress {
        // It was inserted when it was added, and a claim has left it as it was.
        let held = prepared(connection, HOLD)?.query_row(params![id.0, rules.fair], |row| row.get(0));
        return Ok(held.optional()?.map(|group| (group, LastTurns::default())));
    }
    let read = |row: &Row<'_>| {
        let group: String = row.get(0)?;
        Ok((group, row.get::<_, u8>(1)?, row.get::<_, Option<i64>>(2)?, row.get::<_, bool>(3)?))
    };
    let removed = prepared(connection, REMOVE)?.query_row([id.0], read).optional()?;
    let mut turns = LastTurns::default();
    if let Some((_, rank, Some(turn), _)) = &removed {
        turns.remember_left(*rank, *turn, state.status);
    }
    if state.status == Status::New && !is_deferred(state, now) {
        let read = |row: &Row<'_>| Ok((row.get::<_, Option<String>>(0)?, ItemId(row.get(1)?)));
        let Some((group, first)) = prepared(connection, GROUP)?.query_row([id.0], read).optional()? else {
            return Ok(None);
        };
        let Some(group) = rules.group_of(group.as_deref()) else { return Ok(None) };
        let (rank, due_date) = (rank(state.priority, state.due_date), state.due_date.map_or(0, micros));
        // Whoever wrote its state has made it ready, as in a queue without rules.
        let ready = ready_items::take_ready(connection, queue, (rank, due_date, id))?;
        let touched = ready.or(removed.map(|(.., touched)| touched)).unwrap_or(true);
        Grouped { id, rank, due_date, first, touched, place: None }.insert(connection, queue, group)?;
        return Ok(Some((group.to_owned(), turns)));
    }
    Ok(removed.map(|(group, ..)| (group, turns)))
}

fn settle_all(
    connection: &Connection,
    (queue, rules): (QueueId, GroupRules),
    groups: BTreeMap<String, LastTurns>,
    may_exceed: bool,
) -> SqlResult<bool> {
    let mut entered = false;
    for (name, last_turns) in groups {
        let slots = rules.slots(&name);
        let mut group = OneGroup { connection, queue, name, fair: rules.fair, last_turns };
        entered |= settle(&mut group, slots, may_exceed)?;
        crash_point!("groups.between_groups");
    }
    Ok(entered)
}

/// Makes all items of groups ready that are New, as in a queue without rules, and then inserts those that the new rules concern.
fn change_rules(connection: &Connection, queue: QueueId, rules: Option<GroupRules>) -> SqlResult<()> {
    const STOP: &str = "DELETE FROM item_ready WHERE queue_id = ?1 AND (rank, due_date, item_id) IN \
         (SELECT rank, place, item_id FROM item_grouped WHERE queue_id = ?1 AND place IS NOT NULL) RETURNING item_id";
    const WAIT: &str = "UPDATE item_grouped SET place = NULL WHERE item_id = ?1";
    const RELEASE: &str = "INSERT INTO item_ready (queue_id, rank, due_date, item_id, touched) \
         SELECT queue_id, rank, due_date, item_id, touched FROM item_grouped WHERE queue_id = ?1 AND place IS NULL";
    const CLEAR: [&str; 2] = [
        "DELETE FROM item_grouped WHERE queue_id = ?1 AND place IS NULL",
        "DELETE FROM item_grouped WHERE queue_id = ?1 AND place IS NOT NULL",
    ];
    const GROUP: &str = "INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched, place) \
         SELECT item.id, ?1, coalesce(item.group_name, ''), item_ready.rank, item_ready.due_date, \
         coalesce(item.root_id, item.id), item_ready.touched, NULL FROM item_ready \
         CROSS JOIN item ON item.id = item_ready.item_id \
         WHERE item_ready.queue_id = ?1 AND (?2 OR item.group_name IS NOT NULL)";
    const UNREADY: &str = "DELETE FROM item_ready WHERE queue_id = ?1 AND (rank, due_date, item_id) IN \
         (SELECT rank, due_date, item_id FROM item_grouped WHERE queue_id = ?1 AND place IS NULL)";
    const RUNNING: &str = "INSERT INTO item_grouped (item_id, queue_id, group_name, rank, due_date, first_id, touched, place) \
         SELECT item.id, ?1, coalesce(item.group_name, ''), item.priority + iif(item.due_date IS NULL, 3, 0), \
         coalesce(item.due_date, 0), coalesce(item.root_id, item.id), 1, iif(?2, 0, coalesce(item.due_date, 0)) \
         FROM item_state INDEXED BY item_held CROSS JOIN item ON item.id = item_state.item_id \
         WHERE item_state.status = 1 AND item_state.queue_id = ?1 AND (?2 OR item.group_name IS NOT NULL)";
    const GROUPS: &str = "SELECT DISTINCT group_name FROM item_grouped WHERE queue_id = ?1 AND place IS NULL";
    let ready: Vec<i64> =
        prepared(connection, STOP)?.query_map([queue.0], |row| row.get(0))?.collect::<SqlResult<_>>()?;
    for id in ready {
        prepared(connection, WAIT)?.execute([id])?;
    }
    prepared(connection, RELEASE)?.execute([queue.0])?;
    for clear in CLEAR {
        prepared(connection, clear)?.execute([queue.0])?;
    }
    let Some(rules) = rules else { return Ok(()) };
    prepared(connection, GROUP)?.execute(params![queue.0, rules.fair])?;
    prepared(connection, UNREADY)?.execute([queue.0])?;
    prepared(connection, RUNNING)?.execute(params![queue.0, rules.fair])?;
    let groups: BTreeMap<String, LastTurns> = prepared(connection, GROUPS)?
        .query_map([queue.0], |row| Ok((row.get(0)?, LastTurns::default())))?
        .collect::<SqlResult<_>>()?;
    settle_all(connection, (queue, rules), groups, false).map(drop)
}

impl GroupRows for Sqlite {
    fn settle_groups(
        &mut self,
        queue: QueueId,
        rules: GroupRules,
        changes: GroupChanges,
        now: Timestamp,
    ) -> Result<bool> {
        self.insert_pending_ready()?;
        let may_exceed = changes.may_exceed();
        self.run(|c| {
            let mut groups: BTreeMap<String, LastTurns> =
                changes.groups.into_iter().map(|group| (group, LastTurns::default())).collect();
            for (id, state) in &changes.items {
                if let Some((group, turns)) = regroup(c, (queue, rules), *id, state, now)? {
                    groups.entry(group).or_default().extend(turns);
                }
            }
            settle_all(c, (queue, rules), groups, may_exceed)
        })
    }

    fn due_items(&mut self, queue: QueueId, _rules: GroupRules, now: Timestamp) -> Result<GroupChanges> {
        let due = self.run(|c| {
            let due = ready_items::due(c, queue, now)?;
            if !due.is_empty() {
                ready_items::promote(c, queue.0, micros(now))?;
            }
            Ok(due)
        })?;
        let mut changes = GroupChanges::default();
        for id in due {
            match self.row(id) {
                Ok(row) => changes.items.extend(row.map(|row| (id, row.state))),
                Err(error) if is_unreadable(&error) => self.skipped_rows.report(id, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(changes)
    }

    fn change_group_rules(
        &mut self,
        queue: QueueId,
        rules: Option<GroupRules>,
        _now: Timestamp,
    ) -> Result<()> {
        self.insert_pending_ready()?;
        self.run(|c| change_rules(c, queue, rules))
    }

    fn has_items_behind(&mut self, queue: QueueId) -> Result<bool> {
        const SQL: &str = "SELECT 1 FROM item_grouped WHERE queue_id = ?1 AND place IS NULL";
        self.run(|c| prepared(c, SQL)?.exists([queue.0]))
    }

    fn in_progress_of(&mut self, queue: QueueId, group: &str) -> Result<usize> {
        const SQL: &str = concat!(
            "SELECT count(*) FROM item_grouped AS g WHERE g.queue_id = ?1 AND g.group_name = ?2 AND g.place IS NOT NULL \
             AND NOT EXISTS (SELECT 1 FROM item_ready WHERE ",
            is_ready!(),
            ")"
        );
        self.run(|c| prepared(c, SQL)?.query_row(params![queue.0, group], |row| row.get(0)))
    }
}
