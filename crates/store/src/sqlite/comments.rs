//! Statements on comments.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};
use serde_json::Value;

use super::super::rows::ListComments;
use super::columns::{micros, time};
use super::prepared;
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, Person};

type SqlResult<T> = rusqlite::Result<T>;

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &SqlRow<'_>) -> SqlResult<Comment> {
    let author = Person { user_id: row.get(3)?, user_name: row.get(4)? };
    Ok(Comment::new(row.get(0)?, ItemId(row.get(1)?), row.get(2)?, author, time(row, 5)?))
}

pub(super) fn insert_comment(
    connection: &Connection,
    item_id: ItemId,
    author: &Person,
    text: &str,
    now: Timestamp,
) -> SqlResult<Comment> {
    const SQL: &str = "INSERT INTO item_comment (item_id, text, user_id, user_name, creation_time) \
                       VALUES (?1, ?2, ?3, ?4, ?5)";
    prepared(connection, SQL)?.execute(params![
        item_id.0,
        text,
        author.user_id,
        author.user_name,
        micros(now)
    ])?;
    let id = connection.last_insert_rowid();
    Ok(Comment::new(id, item_id, text.to_owned(), author.clone(), now))
}

pub(super) fn comment(connection: &Connection, id: i64) -> SqlResult<Option<Comment>> {
    prepared(connection, &format!("{COMMENT} WHERE id = ?1"))?.query_row([id], read_comment).optional()
}

pub(super) fn list_comments(connection: &Connection, ask: &ListComments<'_>) -> SqlResult<Vec<Comment>> {
    let ListComments { queues, items, after, limit } = *ask;
    // As JSON: there may be more than a statement has variables for.
    let numbers = |ids: &mut dyn Iterator<Item = i64>| Value::from(ids.collect::<Vec<_>>()).to_string();
    let queues = numbers(&mut queues.iter().map(|id| id.0));
    let items = items.map(|items| numbers(&mut items.iter().map(|id| id.0)));
    let of_items = if items.is_some() { "AND item_id IN (SELECT value FROM json_each(?4))" } else { "" };
    let sql = format!(
        "{COMMENT} WHERE id > ?1 {of_items} AND (SELECT item.queue_id FROM item WHERE item.id = item_comment.item_id) \
         IN (SELECT value FROM json_each(?2)) ORDER BY id LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = prepared(connection, &sql)?;
    match items {
        Some(items) => statement.query_map(params![after, queues, limit, items], read_comment)?.collect(),
        None => statement.query_map(params![after, queues, limit], read_comment)?.collect(),
    }
}

pub(super) fn write_comment(connection: &Connection, id: i64, text: Option<&str>) -> SqlResult<()> {
    match text {
        Some(text) => prepared(connection, "UPDATE item_comment SET text = ?2 WHERE id = ?1")?
            .execute(params![id, text]),
        None => prepared(connection, "DELETE FROM item_comment WHERE id = ?1")?.execute([id]),
    }
    .map(drop)
}
