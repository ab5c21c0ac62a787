//! Statements on comments.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::super::Result;
use super::columns::{get, text};
use super::queues::returned;
use super::session::Session;
use crate::model::key::ItemId;
use crate::model::review::{Comment, Person};

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &Row) -> Result<Comment> {
    Ok(Comment {
        id: get(row, 0)?,
        item_id: ItemId(get(row, 1)?),
        text: get(row, 2)?,
        author: Person { user_id: get(row, 3)?, user_name: get(row, 4)? },
        creation_time: get(row, 5)?,
    })
}

pub(super) fn insert_comment(
    session: &mut Session,
    item_id: ItemId,
    author: &Person,
    words: &str,
    now: Timestamp,
) -> Result<Comment> {
    const SQL: &str = "INSERT INTO item_comment (item_id, text, user_id, user_name, creation_time) \
                       VALUES ($1, $2, $3, $4, $5) RETURNING id";
    // Returned as it is stored.
    let words = text(words).into_owned();
    let user_name = author.user_name.as_deref().map(|name| text(name).into_owned());
    let row = session.query_opt(SQL, &[&item_id.0, &words, &author.user_id, &user_name, &now])?;
    let id = get(&returned(row)?, 0)?;
    let author = Person { user_id: author.user_id, user_name };
    Ok(Comment { id, item_id, text: words, author, creation_time: now })
}

pub(super) fn comment(session: &mut Session, id: i64) -> Result<Option<Comment>> {
    let row = session.query_opt(&format!("{COMMENT} WHERE id = $1"), &[&id])?;
    row.as_ref().map(read_comment).transpose()
}

pub(super) fn comments_on(session: &mut Session, id: ItemId) -> Result<Vec<Comment>> {
    let sql = format!("{COMMENT} WHERE item_id = $1 ORDER BY id");
    session.query(&sql, &[&id.0])?.iter().map(read_comment).collect()
}

pub(super) fn all_comments(session: &mut Session) -> Result<Vec<Comment>> {
    session.query(&format!("{COMMENT} ORDER BY id"), &[])?.iter().map(read_comment).collect()
}

pub(super) fn write_comment(session: &mut Session, id: i64, words: Option<&str>) -> Result<()> {
    match words {
        Some(words) => {
            session.execute("UPDATE item_comment SET text = $2 WHERE id = $1", &[&id, &text(words)])
        }
        None => session.execute("DELETE FROM item_comment WHERE id = $1", &[&id]),
    }
    .map(drop)
}
