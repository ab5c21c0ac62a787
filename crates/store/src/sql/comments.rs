//! Statements on comments.

use jiff::Timestamp;

use super::super::comments::{Comments, ListComments};
use super::dialect::{Bound, Engine, Row, Values};
use performer_core::model::key::ItemId;
use performer_core::model::review::{Comment, Person};
use performer_core::orchestrator::Result;

const COMMENT: &str = "SELECT id, item_id, text, user_id, user_name, creation_time FROM item_comment";

fn read_comment(row: &dyn Row) -> Result<Comment> {
    let author = Person { user_id: row.number_or_none(3)?, user_name: row.text_or_none(4)? };
    Ok(Comment::new(row.number(0)?, ItemId(row.number(1)?), row.text(2)?, author, row.time(5)?))
}

impl<E: Engine> Comments for E {
    fn insert_comments(
        &mut self,
        items: &[ItemId],
        author: &Person,
        text: &str,
        now: Timestamp,
    ) -> Result<Vec<Comment>> {
        // Returned as they are stored.
        let text = E::storable(text).into_owned();
        let user_name = author.user_name.as_deref().map(|name| E::storable(name).into_owned());
        let author = Person { user_id: author.user_id, user_name };
        let mut values = Values::default();
        let items = values.bind::<E>(items.iter().map(|id| id.0).collect::<Vec<i64>>());
        let columns = [
            values.bind::<E>(Bound::Text(text.clone())),
            values.bind_or_null::<E>(author.user_id),
            values.bind_or_null::<E>(author.user_name.clone().map(Bound::Text)),
            values.bind::<E>(Bound::Time(now)),
        ];
        let sql = format!(
            "INSERT INTO item_comment (item_id, text, user_id, user_name, creation_time) \
             SELECT listed.number, {} FROM {} AS listed ORDER BY listed.place RETURNING id, item_id",
            columns.join(", "),
            E::listed(&items)
        );
        let read = |row: &dyn Row| {
            Ok(Comment::new(row.number(0)?, ItemId(row.number(1)?), text.clone(), author.clone(), now))
        };
        let mut comments = self.read(&sql, &values, read)?;
        comments.sort_by_key(|comment| comment.id);
        Ok(comments)
    }

    fn comment(&mut self, id: i64) -> Result<Option<Comment>> {
        let mut values = Values::default();
        let sql = format!("{COMMENT} WHERE id = {}", values.bind::<E>(id));
        Ok(self.read(&sql, &values, read_comment)?.pop())
    }

    fn write_comment(&mut self, id: i64, text: Option<&str>) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(id);
        let sql = match text {
            Some(text) => {
                let text = values.bind_text::<E>(text);
                format!("UPDATE item_comment SET text = {text} WHERE id = {id}")
            }
            None => format!("DELETE FROM item_comment WHERE id = {id}"),
        };
        self.execute(&sql, &values)
    }

    fn list_comments(&mut self, ask: &ListComments<'_>) -> Result<Vec<Comment>> {
        let mut values = Values::default();
        let mut conditions = format!("id > {}", values.bind::<E>(ask.after));
        if let Some(items) = ask.items {
            let items: Vec<i64> = items.iter().map(|id| id.0).collect();
            conditions += &format!(" AND {}", E::among("item_id", &values.bind::<E>(items)));
        }
        let queues: Vec<i64> = ask.queues.iter().map(|id| id.0).collect();
        let queue = "(SELECT item.queue_id FROM item WHERE item.id = item_comment.item_id)";
        let in_queues = E::among(queue, &values.bind::<E>(queues));
        let sql = format!("{COMMENT} WHERE {conditions} AND {in_queues} ORDER BY id LIMIT {}", ask.limit);
        self.read(&sql, &values, read_comment)
    }
}
