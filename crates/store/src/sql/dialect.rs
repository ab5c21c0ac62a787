//! What differs between the statements of SQLite and PostgreSQL, so that a statement that nobody waits for is written once.

use std::borrow::Cow;

use jiff::Timestamp;

use super::super::rows::Rows;
use super::super::unreadable_rows::is_unreadable;
use performer_core::model::key::QueueId;
use performer_core::model::query::{Case, TextMatch};
use performer_core::orchestrator::Result;

/// A value to bind.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Bound {
    Number(i64),
    Flag(bool),
    Text(String),
    Time(Timestamp),
    Key([u8; 16]),
    /// However many: a statement has a limited number of values.
    Numbers(Vec<i64>),
}

impl From<bool> for Bound {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<Timestamp> for Bound {
    fn from(at: Timestamp) -> Self {
        Self::Time(at)
    }
}

impl From<Vec<i64>> for Bound {
    fn from(numbers: Vec<i64>) -> Self {
        Self::Numbers(numbers)
    }
}

impl From<i64> for Bound {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

/// The values of a statement, in the order of their numbers.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<Bound>);

impl Values {
    /// Adds a value. Returns its placeholder.
    pub(crate) fn bind<D: Dialect>(&mut self, value: impl Into<Bound>) -> String {
        self.0.push(value.into());
        D::placeholder(self.0.len(), &self.0[self.0.len() - 1])
    }

    /// Adds a text, as the database can store it.
    pub(crate) fn bind_text<D: Dialect>(&mut self, text: &str) -> String {
        self.bind::<D>(Bound::Text(D::storable(text).into_owned()))
    }

    /// Adds a value if there is one.
    pub(crate) fn bind_or_null<D: Dialect>(&mut self, value: Option<impl Into<Bound>>) -> String {
        value.map_or_else(|| "NULL".to_owned(), |value| self.bind::<D>(value))
    }

    pub(crate) fn all(&self) -> &[Bound] {
        &self.0
    }
}

/// How a database says what both have.
pub(crate) trait Dialect {
    /// Behind a column: its texts are compared by their bytes.
    const BY_BYTES: &'static str;
    /// Greater or equal, and less, by bytes, as the index of references is sorted.
    const AT_LEAST: &'static str;
    const LESS: &'static str;
    /// A join whose left side is read first.
    const THEN_JOIN: &'static str;
    /// Joins `item_copy` to `item`. Only copies are looked up.
    const COPIES: &'static str;
    /// Behind a query of one table: locks its rows until the transaction ends.
    const FOR_UPDATE: &'static str;
    /// As that, and passes over rows that somebody else has locked.
    const FOR_UPDATE_SKIP_LOCKED: &'static str;
    /// Queues that are not deleted, as [`queues::read`](super::queues::read) reads them.
    const QUEUE: &'static str;
    /// The tables that have rows of an item, in the column `item_id`, except where it waits and `item_review`.
    const TABLES_OF_ITEM: &'static [&'static str];
    /// The column of [`Field::EndProcessing`](performer_core::model::query::Field::EndProcessing).
    const END_PROCESSING: &'static str;

    /// The placeholder of a value, with its type if the database cannot infer it.
    fn placeholder(number: usize, value: &Bound) -> String;

    /// The groups of failures of some queues with what was counted of them, as a table.
    fn counted_reasons(queues: &str) -> String;

    /// The statements that remove what counts for a queue in tables that only this database has.
    fn delete_counters(queue: &str) -> Vec<String>;

    /// The statement that removes some rows of a table. `key`: the columns of its primary key.
    fn delete_some(table: &str, key: &str, condition: &str, limit: usize) -> String;

    /// A text as the database can store it.
    fn storable(text: &str) -> Cow<'_, str>;

    /// A text field in one case, as [`Case::of`] maps its letters.
    fn in_case(case: Case, column: &str, values: &mut Values) -> String;

    /// The condition that a column has one of the numbers of a list, which is bound.
    fn among(column: &str, numbers: &str) -> String;

    /// The numbers of a list, which is bound, as a table with the columns `number` and `place`.
    fn listed(numbers: &str) -> String;

    /// The number under a key of a JSON object; null without it.
    fn json_number(column: &str, key: &str) -> String;

    /// Whether a text matches; null if the column is null.
    fn matches(column: &str, matching: TextMatch, value: &str) -> String;
}

/// A row, from its first column on.
pub(crate) trait Row {
    fn flag(&self, at: usize) -> Result<bool>;
    fn key(&self, at: usize) -> Result<[u8; 16]>;
    fn number(&self, at: usize) -> Result<i64>;
    fn number_or_none(&self, at: usize) -> Result<Option<i64>>;
    fn text(&self, at: usize) -> Result<String>;
    fn text_or_none(&self, at: usize) -> Result<Option<String>>;
    fn time(&self, at: usize) -> Result<Timestamp>;
    fn time_or_none(&self, at: usize) -> Result<Option<Timestamp>>;
}

/// A database that statements of one text are sent to.
pub(crate) trait Engine: Dialect + Rows {
    /// Runs a query. It is planned with its values, which may be unlike those of the last time.
    fn read<T>(&mut self, sql: &str, values: &Values, read: impl Fn(&dyn Row) -> Result<T>)
    -> Result<Vec<T>>;

    /// Runs a query whose plan does not depend on its values: it is compiled once.
    fn read_prepared<T>(
        &mut self,
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>>;

    /// Runs a query for a list, in which a row that cannot be read is passed over and reported once. `table` and `number`: what the
    /// report names, and the column with the number of the row.
    fn read_list<T>(
        &mut self,
        (table, number): (&'static str, usize),
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        let found = self.read(sql, values, |row| match read(row) {
            Err(error) if is_unreadable(&error) => Ok(Err((row.number(number).unwrap_or_default(), error))),
            read => read.map(Ok),
        })?;
        let mut list = Vec::with_capacity(found.len());
        for row in found {
            match row {
                Ok(row) => list.push(row),
                Err((number, error)) => self.skipped_rows().report_row(table, number, &error),
            }
        }
        Ok(list)
    }

    /// Writes items that were added and are not in their tables yet.
    fn write_added(&mut self) -> Result<()>;

    /// Keeps other transactions that ask for the same until this one ends, if several can write.
    fn lock_until_end(&mut self, _what: &'static str) -> Result<()> {
        Ok(())
    }

    /// Runs a statement whose result nobody needs.
    fn execute(&mut self, sql: &str, values: &Values) -> Result<()>;

    /// Runs a statement. Returns how many rows it changed.
    fn change(&mut self, sql: &str, values: &Values) -> Result<u64>;

    /// The number in the first row.
    fn read_number(&mut self, sql: &str, values: &Values) -> Result<Option<i64>> {
        Ok(self.read(sql, values, |row| row.number(0))?.first().copied())
    }
}

/// The condition that a column has the number of one of these queues.
pub(crate) fn in_queues<D: Dialect>(column: &str, queues: &[QueueId], values: &mut Values) -> String {
    let bound: Vec<String> = queues.iter().map(|queue| values.bind::<D>(queue.0)).collect();
    match &bound[..] {
        [one] => format!("{column} = {one}"),
        many => format!("{column} IN ({})", many.join(", ")),
    }
}

/// A condition on an enumeration, if there is one; its numbers are ours, not the caller's.
pub(crate) fn one_of(column: &str, numbers: impl Iterator<Item = u8>) -> String {
    let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
    if numbers.is_empty() { "true".to_owned() } else { format!("{column} IN ({})", numbers.join(", ")) }
}
