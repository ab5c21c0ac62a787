use jiff::Timestamp;

use super::super::file;
use super::*;
use performer_core::model::item::Priority;
use performer_core::model::key::{Holder, JobNumber};
use performer_core::model::result::Outcome;
use performer_core::model::status::Status;

const QUEUE: QueueId = QueueId(1);

/// A file in which the items 1 to `count` are claimed.
struct Claimed {
    connection: Connection,
    _folder: tempfile::TempDir,
}

fn before() -> ItemState {
    ItemState::untouched(Priority::Normal, Timestamp::UNIX_EPOCH)
}

fn after() -> ItemState {
    let holder = Some(Holder { job: JobNumber(7), token: 2 });
    let start_processing = Some(Timestamp::UNIX_EPOCH);
    ItemState { status: Status::InProgress, start_processing, holder, token: 2, row_version: 2, ..before() }
}

fn ended() -> ItemState {
    let (outcome, end_processing) = (Some(Outcome::Successful), Some(Timestamp::UNIX_EPOCH));
    ItemState { status: Status::Successful, outcome, end_processing, row_version: 3, ..after() }
}

fn claim_of(id: i64, robot: u32) -> ClaimedRow {
    let claimant =
        Claimant { job: JobKey::CALLER, user: None, robot: Some(robot), robot_id: None, executor: None };
    ClaimedRow { id: ItemId(id), before: before(), after: after(), claimant }
}

impl Claimed {
    fn new(count: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = file::open(&folder.path().join("q.db")).unwrap();
        let claimed: Vec<_> = (1..=count).map(|n| claim_of(i64::from(n), 100 + n)).collect();
        assert_eq!(write_claimed(&connection, QUEUE, &claimed).unwrap(), claimed.len());
        Self { connection, _folder: folder }
    }

    fn rows(&self, columns: &str) -> Vec<(i64, i64)> {
        let sql = format!("SELECT {columns} FROM item_state ORDER BY item_id");
        let mut statement = self.connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<SqlResult<_>>().unwrap()
    }

    /// Writes the ends of these items, all alike.
    fn end(&self, ids: &[i64]) -> Vec<bool> {
        let (before, state) = (after(), ended());
        let end = |id: &i64| (ItemId(*id), QUEUE, &before, StateUpdate::state(&state, Timestamp::UNIX_EPOCH));
        write_ended(&self.connection, &ids.iter().map(end).collect::<Vec<_>>()).unwrap()
    }

    fn successful(&self) -> Vec<i64> {
        let rows = self.rows("item_id, status");
        rows.into_iter()
            .filter(|(_, status)| *status == i64::from(Status::Successful.number()))
            .map(|(id, _)| id)
            .collect()
    }
}

#[test]
fn each_claim_has_its_own_robot() {
    let claimed = Claimed::new(35); // twice sixteen, and three
    let expected: Vec<_> = (1..=35).map(|id| (id, 100 + id)).collect();
    assert_eq!(claimed.rows("item_id, robot"), expected);
    assert!(claimed.rows("holder, row_version").iter().all(|row| *row == (7, 2)));
}

#[test]
fn claims_that_differ_in_more_are_told_apart() {
    let claimed = Claimed::new(0);
    let rows: Vec<_> = (1..=40)
        .map(|id| {
            let mut row = claim_of(id, 1);
            row.claimant.user = Some(id / 20);
            row
        })
        .collect();
    assert_eq!(write_claimed(&claimed.connection, QUEUE, &rows).unwrap(), 40);
    let expected: Vec<_> = (1..=40).map(|id| (id, id / 20)).collect();
    assert_eq!(claimed.rows("item_id, taken_by"), expected);
}

#[test]
fn ends_in_any_order_are_written() {
    let claimed = Claimed::new(12);
    let written = claimed.end(&[5, 3, 12, 4, 6, 1, 9]);
    assert_eq!(written, [true; 7]);
    assert_eq!(claimed.successful(), [1, 3, 4, 5, 6, 9, 12]);
}

#[test]
fn an_item_that_has_changed_is_not_written_and_those_beside_it_are() {
    let claimed = Claimed::new(8);
    let changed = "UPDATE item_state SET row_version = 9, status = 4 WHERE item_id = 4";
    assert_eq!(claimed.connection.execute(changed, []).unwrap(), 1);
    assert_eq!(claimed.end(&[2, 3, 4, 5, 6]), [true, true, false, true, true]);
    assert_eq!(claimed.successful(), [2, 3, 5, 6]);
    assert_eq!(claimed.rows("item_id, row_version")[3], (4, 9));
    // Gone altogether.
    assert_eq!(claimed.end(&[7, 8, 9, 10]), [true, true, false, false]);
}

#[test]
fn an_output_is_written_with_its_own_item() {
    let claimed = Claimed::new(6);
    let (before, state) = (after(), ended());
    let ends = (1..=6).map(|id| {
        let progress = (id == 3).then_some("half");
        let update = StateUpdate { progress, ..StateUpdate::state(&state, Timestamp::UNIX_EPOCH) };
        (ItemId(id), QUEUE, &before, update)
    });
    assert_eq!(write_ended(&claimed.connection, &ends.collect::<Vec<_>>()).unwrap(), [true; 6]);
    let with_progress = claimed.rows("item_id, progress IS NOT NULL");
    assert_eq!(with_progress, [(1, 0), (2, 0), (3, 1), (4, 0), (5, 0), (6, 0)]);
}
