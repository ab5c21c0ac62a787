//! Statements on comments.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::columns::{micros, time};
use super::prepared;
use crate::model::key::ItemId;
use crate::model::review::{Comment, Person};

type SqlResult<T> = rusqlite::Result<T>;

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &SqlRow<'_>) -> SqlResult<Comment> {
    Ok(Comment {
        id: row.get(0)?,
        item_id: ItemId(row.get(1)?),
        text: row.get(2)?,
        author: Person { user_id: row.get(3)?, user_name: row.get(4)? },
        creation_time: time(row, 5)?,
    })
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
    Ok(Comment { id, item_id, text: text.to_owned(), author: author.clone(), creation_time: now })
}

pub(super) fn comment(connection: &Connection, id: i64) -> SqlResult<Option<Comment>> {
    prepared(connection, &format!("{COMMENT} WHERE id = ?1"))?.query_row([id], read_comment).optional()
}

pub(super) fn comments_on(connection: &Connection, id: ItemId) -> SqlResult<Vec<Comment>> {
    let sql = format!("{COMMENT} WHERE item_id = ?1 ORDER BY id");
    prepared(connection, &sql)?.query_map([id.0], read_comment)?.collect()
}

pub(super) fn all_comments(connection: &Connection) -> SqlResult<Vec<Comment>> {
    let sql = format!("{COMMENT} ORDER BY id");
    prepared(connection, &sql)?.query_map([], read_comment)?.collect()
}

pub(super) fn write_comment(connection: &Connection, id: i64, text: Option<&str>) -> SqlResult<()> {
    match text {
        Some(text) => prepared(connection, "UPDATE item_comment SET text = ?2 WHERE id = ?1")?
            .execute(params![id, text]),
        None => prepared(connection, "DELETE FROM item_comment WHERE id = ?1")?.execute([id]),
    }
    .map(drop)
}
