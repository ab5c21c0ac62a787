//! How PostgreSQL says what both databases have.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use super::super::sql::dialect::{Bound, Dialect, Engine, Row, Values};
use super::super::sql::list::Places;
use super::super::sql::queues::select_queue;
use super::Postgres;
use super::claim_rows;
use super::columns::{bytes, date, get, text, uuid};
use super::session::OwnedValue;
use performer_core::model::query::{Case, TextMatch};
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::Result;

impl Dialect for Postgres {
    /// Whatever the collation of the database.
    const BY_BYTES: &'static str = " COLLATE \"C\"";
    /// Every database has them. Those without tildes have the order of the database's language, in which a prefix is no range.
    const AT_LEAST: &'static str = "~>=~";
    const LESS: &'static str = "~<~";
    const THEN_JOIN: &'static str = "JOIN";
    const COPIES: &'static str =
        " LEFT JOIN item_copy ON item_copy.item_id = item.id AND item.root_id IS NOT NULL";
    const FOR_UPDATE: &'static str = " FOR UPDATE";
    const FOR_UPDATE_SKIP_LOCKED: &'static str = " FOR UPDATE SKIP LOCKED";
    const QUEUE: &'static str = select_queue!(
        "array_to_string(array(SELECT folder_id FROM queue_folder WHERE queue_id = queue.id), ',')"
    );
    const TABLES_OF_ITEM: &'static [&'static str] =
        &["item_state", "item_copy", "item_exception", "item_event", "item_comment"];
    const END_PROCESSING: &'static str = "item_state.end_processing";

    fn placeholder(number: usize, value: &Bound) -> String {
        let kind = match value {
            Bound::Number(_) => "bigint",
            Bound::Flag(_) => "boolean",
            Bound::Text(_) => "text",
            Bound::Time(_) => "timestamptz",
            Bound::Key(_) => "uuid",
            Bound::Numbers(_) => "bigint[]",
        };
        format!("${number}::{kind}")
    }

    fn counted_reasons(queues: &str) -> String {
        format!(
            "(SELECT reason.*, coalesce(max(last_seen), first_seen) AS last_seen, \
             coalesce(sum(total), 0)::bigint AS total, coalesce(sum(open), 0)::bigint AS open \
             FROM reason LEFT JOIN reason_count ON reason_id = reason.id WHERE {queues} GROUP BY reason.id)"
        )
    }

    fn delete_counters(queue: &str) -> Vec<String> {
        let of_reasons = format!("(SELECT id FROM reason WHERE queue_id = {queue})");
        vec![
            format!("DELETE FROM queue_shard WHERE queue_id = {queue}"),
            format!("DELETE FROM reason_count WHERE reason_id IN {of_reasons}"),
        ]
    }

    fn delete_some(table: &str, _key: &str, condition: &str, limit: usize) -> String {
        format!(
            "DELETE FROM {table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT {limit}))"
        )
    }

    fn storable(value: &str) -> Cow<'_, str> {
        text(value)
    }

    /// With the collation of its column, `lower` and `upper` handle only ASCII letters; others are replaced one by one, because what
    /// a database knows about letters depends on how it was created.
    fn in_case(case: Case, column: &str, values: &mut Values) -> String {
        let (function, (from, to)) = match case {
            Case::Lower => ("lower", &*LOWER),
            Case::Upper => ("upper", &*UPPER),
        };
        let (from, to) = (values.bind_text::<Self>(from), values.bind_text::<Self>(to));
        format!(
            "(CASE WHEN octet_length({column}) = char_length({column}) THEN {function}({column}) \
             ELSE translate({column}, {from}, {to}) END)"
        )
    }

    fn among(column: &str, numbers: &str) -> String {
        format!("{column} = ANY ({numbers})")
    }

    fn listed(numbers: &str) -> String {
        format!("(SELECT * FROM unnest({numbers}) WITH ORDINALITY AS each (number, place))")
    }

    fn json_number(column: &str, key: &str) -> String {
        format!("({column}::json ->> '{key}')::bigint")
    }

    fn matches(column: &str, matching: TextMatch, value: &str) -> String {
        match matching {
            TextMatch::Contains => format!("strpos({column}, {value}) > 0"),
            TextMatch::StartsWith => format!("starts_with({column}, {value})"),
            TextMatch::EndsWith => format!("right({column}, length({value})) = {value}"),
        }
    }
}

/// Every letter that changes, and what it becomes.
type Letters = (String, String);

static LOWER: LazyLock<Letters> = LazyLock::new(|| letters(Case::Lower));
static UPPER: LazyLock<Letters> = LazyLock::new(|| letters(Case::Upper));

fn letters(case: Case) -> Letters {
    let changed = ('\0'..=char::MAX).map(|letter| (letter, case.of_letter(letter)));
    changed.filter(|(letter, mapped)| letter != mapped).unzip()
}

impl Places for Postgres {
    const BY_REFERENCE: &'static str = "";
    const BY_REASON: &'static str = "";
    const BY_ID: &'static str = "";
    const FEW_REFERENCES: i64 = 30_000;
    const IN_PROGRESS: (&'static str, &'static str) = (claim_rows::HELD_STATES, "true");

    /// An expression, so that no index is used.
    fn begins(prefix: &str, values: &mut Values) -> String {
        format!("starts_with(item.reference || '', {})", values.bind_text::<Self>(prefix))
    }

    /// OFFSET 0: planned by itself, so that no order and no LIMIT make the planner walk along the ids after all, and so that it
    /// looks at the state of each of these items instead of reading all states there are.
    fn in_range(queues: &str, range: &str) -> (String, &'static str) {
        let items = format!("(SELECT * FROM item WHERE {queues} AND {range} OFFSET 0) AS item");
        let states = " LEFT JOIN LATERAL (SELECT * FROM item_state WHERE item_state.item_id = item.id OFFSET 0) \
                      AS item_state ON true";
        (items, states)
    }
}

/// A value as the driver takes it. Times are compared as they are stored.
pub(super) fn parameter(value: &Bound) -> OwnedValue {
    match value {
        Bound::Number(number) => Box::new(*number),
        Bound::Flag(flag) => Box::new(*flag),
        Bound::Text(text) => Box::new(text.clone()),
        Bound::Time(at) => Box::new(date(stored(*at))),
        Bound::Key(key) => Box::new(uuid(*key)),
        Bound::Numbers(numbers) => Box::new(numbers.clone()),
    }
}

fn parameters(values: &Values) -> Vec<OwnedValue> {
    values.all().iter().map(parameter).collect()
}

fn bound(parameters: &[OwnedValue]) -> Vec<&(dyn ToSql + Sync)> {
    parameters.iter().map(|value| -> &(dyn ToSql + Sync) { &**value }).collect()
}

impl Engine for Postgres {
    fn lock_until_end(&mut self, what: &'static str) -> Result<()> {
        self.lock_alone(what)
    }

    /// Whoever writes asks few such questions, and asks them often: their plans are kept, which saves a round trip.
    fn read<T>(
        &mut self,
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        if self.writes {
            return self.read_prepared(sql, values, read);
        }
        let parameters = parameters(values);
        self.session.query_once(sql, &bound(&parameters))?.iter().map(|row| read(row)).collect()
    }

    fn read_prepared<T>(
        &mut self,
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let parameters = parameters(values);
        self.session.query(sql, &bound(&parameters))?.iter().map(|row| read(row)).collect()
    }

    fn write_added(&mut self) -> Result<()> {
        self.flush_bulk_insert()
    }

    fn execute(&mut self, sql: &str, values: &Values) -> Result<()> {
        let parameters = parameters(values);
        self.session.enqueue(sql, &bound(&parameters))
    }

    fn change(&mut self, sql: &str, values: &Values) -> Result<u64> {
        let parameters = parameters(values);
        self.session.execute(sql, &bound(&parameters))
    }
}

impl Row for tokio_postgres::Row {
    fn flag(&self, at: usize) -> Result<bool> {
        get(self, at)
    }

    fn key(&self, at: usize) -> Result<[u8; 16]> {
        get(self, at).map(bytes)
    }

    fn number(&self, at: usize) -> Result<i64> {
        match *self.columns()[at].type_() {
            Type::INT2 => get::<i16>(self, at).map(i64::from),
            Type::INT4 => get::<i32>(self, at).map(i64::from),
            _ => get(self, at),
        }
    }

    fn number_or_none(&self, at: usize) -> Result<Option<i64>> {
        get(self, at)
    }

    fn text(&self, at: usize) -> Result<String> {
        get(self, at)
    }

    fn text_or_none(&self, at: usize) -> Result<Option<String>> {
        get(self, at)
    }

    fn time(&self, at: usize) -> Result<Timestamp> {
        get(self, at)
    }

    fn time_or_none(&self, at: usize) -> Result<Option<Timestamp>> {
        get(self, at)
    }
}
