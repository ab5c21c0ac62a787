//! How PostgreSQL says what both databases have.

use std::borrow::Cow;
use std::sync::LazyLock;

use jiff::Timestamp;
use tokio_postgres::types::{ToSql, Type};

use super::super::sql::dialect::{Bound, Dialect, Engine, Row, Values};
use super::super::sql::list::Places;
use super::Postgres;
use super::claim_rows;
use super::columns::{date, get, text, uuid};
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
    const END_PROCESSING: &'static str = "item_state.end_processing";

    fn placeholder(number: usize, value: &Bound) -> String {
        let kind = match value {
            Bound::Number(_) => "bigint",
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
pub(super) fn parameter(value: &Bound) -> Box<dyn ToSql + Sync> {
    match value {
        Bound::Number(number) => Box::new(*number),
        Bound::Text(text) => Box::new(text.clone()),
        Bound::Time(at) => Box::new(date(stored(*at))),
        Bound::Key(key) => Box::new(uuid(*key)),
        Bound::Numbers(numbers) => Box::new(numbers.clone()),
    }
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
        let values: Vec<_> = values.all().iter().map(parameter).collect();
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        let rows = if self.writes {
            self.session.query(sql, &values)
        } else {
            self.session.query_once(sql, &values)
        };
        rows?.iter().map(|row| read(row)).collect()
    }

    fn execute(&mut self, sql: &str, values: &Values) -> Result<()> {
        let values: Vec<_> = values.all().iter().map(parameter).collect();
        let values: Vec<&(dyn ToSql + Sync)> = values.iter().map(|value| &**value as _).collect();
        self.session.enqueue(sql, &values)
    }
}

impl Row for tokio_postgres::Row {
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
}
