//! Statements on comments.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::rows::ListComments;
use super::columns::{get, text};
use super::queues::returned;
use super::session::Session;
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, Person};
use performer_core::orchestrator::Result;

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &Row) -> Result<Comment> {
    let author = Person { user_id: get(row, 3)?, user_name: get(row, 4)? };
    Ok(Comment::new(get(row, 0)?, ItemId(get(row, 1)?), get(row, 2)?, author, get(row, 5)?))
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
    Ok(Comment::new(id, item_id, words, author, now))
}

pub(super) fn comment(session: &mut Session, id: i64) -> Result<Option<Comment>> {
    let row = session.query_opt(&format!("{COMMENT} WHERE id = $1"), &[&id])?;
    row.as_ref().map(read_comment).transpose()
}

pub(super) fn list_comments(session: &mut Session, ask: &ListComments<'_>) -> Result<Vec<Comment>> {
    let queues: Vec<i64> = ask.queues.iter().map(|id| id.0).collect();
    let items: Option<Vec<i64>> = ask.items.map(|items| items.iter().map(|id| id.0).collect());
    let limit = i64::try_from(ask.limit).unwrap_or(i64::MAX);
    let of_items = if items.is_some() { "AND item_id = ANY ($4::bigint[])" } else { "" };
    let sql = format!(
        "{COMMENT} WHERE id > $1 {of_items} AND (SELECT item.queue_id FROM item WHERE item.id = item_comment.item_id) \
         = ANY ($2::bigint[]) ORDER BY id LIMIT $3"
    );
    // Planned with the values in hand: of a few items the comments are found by item, else by id.
    let rows = match &items {
        Some(items) => session.query_once(&sql, &[&ask.after, &queues, &limit, items])?,
        None => session.query_once(&sql, &[&ask.after, &queues, &limit])?,
    };
    rows.iter().map(read_comment).collect()
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
