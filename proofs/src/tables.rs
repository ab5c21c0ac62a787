//! What must be true of the tables of a database, whichever statements wrote them.

use std::path::Path;

use crate::postgres::Schema;

/// The statements that find what of `item_review` does not follow from the items: a row that is missing, and one that is there without
/// reason or with other values. Both databases understand them. (Of a deleted queue these rows are removed before the items.)
pub fn review_out_of_step() -> [String; 2] {
    const COLUMNS: &str = "queue_id, status, item_id, review_status, outcome, reviewer_user_id, start_processing, \
                           end_processing, priority, due_date, creation_time, reference";
    let kept = "queue_id NOT IN (SELECT id FROM queue WHERE deleted)";
    let rows = format!("SELECT {COLUMNS} FROM item_review WHERE {kept}");
    // Until an attempt has ended the column only reserves room in SQLite.
    let items = format!(
        "SELECT {COLUMNS} FROM (SELECT item_state.queue_id, item_state.status, item_id, item_state.review_status, outcome, \
         reviewer_user_id, start_processing, CASE WHEN outcome IS NOT NULL THEN end_processing END AS end_processing, \
         item.priority, item.due_date, creation_time, reference FROM item_state JOIN item ON item.id = item_id) AS state \
         WHERE (status = 2 OR status > 3) AND {kept}"
    );
    let without = |some: &str, others: &str, what: &str| {
        format!("SELECT 'item ' || item_id || ' {what}' FROM ({some} EXCEPT {others}) AS found")
    };
    [
        without(&items, &rows, "has no row for review, or one with other values"),
        without(&rows, &items, "has a row for review that does not follow from it"),
    ]
}

/// What is wrong in a SQLite file.
///
/// # Panics
///
/// If it cannot be read.
pub fn damage_of_file(file: &Path) -> Vec<String> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = rusqlite::Connection::open_with_flags(file, flags).unwrap();
    let lines = |sql: String| -> Vec<String> {
        let mut statement = connection.prepare(&sql).unwrap();
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(Result::unwrap).collect()
    };
    review_out_of_step().into_iter().flat_map(lines).collect()
}

/// What is wrong in a schema of PostgreSQL.
pub fn damage_of_schema(schema: &Schema) -> Vec<String> {
    let path = format!("SET search_path TO {}; ", schema.name());
    let lines = |sql: String| schema.run(&(path.clone() + &sql)).into_iter().flatten().flatten();
    review_out_of_step().into_iter().flat_map(lines).collect()
}

/// A database whose tables are checked when the test that uses it has ended.
pub struct Checked<T> {
    database: T,
    damage: fn(&T) -> Vec<String>,
}

impl<T> Checked<T> {
    pub fn new(database: T, damage: fn(&T) -> Vec<String>) -> Self {
        Self { database, damage }
    }
}

impl<T> Drop for Checked<T> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let damage = (self.damage)(&self.database);
            assert!(damage.is_empty(), "{damage:#?}");
        }
    }
}
