//! How SQLite says what both databases have.

use std::borrow::Cow;

use jiff::Timestamp;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::{ToSql, ToSqlOutput};
use rusqlite::{Connection, Statement, params_from_iter};

use super::super::sql::dialect::{Bound, Dialect, Engine, Row, Values};
use super::super::sql::list::{Places, WITH_STATE, starting_with};
use super::super::sql::queues::select_queue;
use super::super::unreadable_rows::UnreadableRow;
use super::columns::{micros, time, time_or_none};
use super::{Sqlite, prepared};
use performer_core::model::query::{Case, TextMatch};
use performer_core::orchestrator::{OrchestratorError, Result};

impl Dialect for Sqlite {
    const BY_BYTES: &'static str = "";
    const AT_LEAST: &'static str = ">=";
    const LESS: &'static str = "<";
    const THEN_JOIN: &'static str = "CROSS JOIN";
    /// Looking up the id NULL finds nothing and reads nothing.
    const COPIES: &'static str =
        " LEFT JOIN item_copy ON item_copy.item_id = iif(item.root_id IS NULL, NULL, item.id)";
    /// Nobody else writes anyway.
    const FOR_UPDATE: &'static str = "";
    const FOR_UPDATE_SKIP_LOCKED: &'static str = "";
    const QUEUE: &'static str =
        select_queue!("(SELECT group_concat(folder_id) FROM queue_folder WHERE queue_id = queue.id)");
    const TABLES_OF_ITEM: &'static [&'static str] =
        &["item_state", "item_copy", "item_content", "item_exception", "item_event", "item_comment"];
    /// Until there is an outcome the column only reserves room.
    const END_PROCESSING: &'static str = "iif(item_state.outcome IS NULL, NULL, item_state.end_processing)";

    fn placeholder(number: usize, _: &Bound) -> String {
        format!("?{number}")
    }

    fn counted_reasons(queues: &str) -> String {
        format!("(SELECT * FROM reason WHERE {queues})")
    }

    fn delete_counters(_: &str) -> Vec<String> {
        Vec::new()
    }

    fn delete_some(table: &str, key: &str, condition: &str, limit: usize) -> String {
        format!(
            "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {condition} LIMIT {limit})"
        )
    }

    fn storable(text: &str) -> Cow<'_, str> {
        text.into()
    }

    fn in_case(case: Case, column: &str, _: &mut Values) -> String {
        format!("{}({column})", function(case))
    }

    /// As JSON.
    fn among(column: &str, numbers: &str) -> String {
        format!("{column} IN (SELECT value FROM json_each({numbers}))")
    }

    fn listed(numbers: &str) -> String {
        format!("(SELECT value AS number, key AS place FROM json_each({numbers}))")
    }

    fn json_number(column: &str, key: &str) -> String {
        format!("({column} ->> '{key}')")
    }

    fn matches(column: &str, matching: TextMatch, value: &str) -> String {
        match matching {
            TextMatch::Contains => format!("instr({column}, {value}) > 0"),
            TextMatch::StartsWith => format!("substr({column}, 1, length({value})) = {value}"),
            // From the end; an empty text would match the whole one.
            TextMatch::EndsWith => format!(
                "{column} IS NOT NULL AND ({value} = '' OR length({column}) >= length({value}) \
                 AND substr({column}, -length({value})) = {value})"
            ),
        }
    }
}

impl Places for Sqlite {
    const BY_REFERENCE: &'static str = " INDEXED BY item_reference";
    const BY_REASON: &'static str = " INDEXED BY item_reason";
    const BY_ID: &'static str = " NOT INDEXED";
    const FEW_REFERENCES: i64 = 100_000;
    /// In the words of the index, or SQLite does not use it.
    const IN_PROGRESS: (&'static str, &'static str) =
        ("item_state INDEXED BY item_held", "item_state.status = 1");

    fn begins(prefix: &str, values: &mut Values) -> String {
        starting_with::<Self>(prefix, values)
    }

    fn in_range(_queues: &str, _range: &str) -> (String, &'static str) {
        (format!("item{}", Self::BY_REFERENCE), WITH_STATE)
    }
}

/// SQLite's own `lower` and `upper` handle only ASCII letters.
const fn function(case: Case) -> &'static str {
    match case {
        Case::Lower => "performer_lower",
        Case::Upper => "performer_upper",
    }
}

/// Defines functions that handle the letters of every script.
pub(super) fn define_functions(connection: &Connection) -> rusqlite::Result<()> {
    for case in [Case::Lower, Case::Upper] {
        let flags = FunctionFlags::SQLITE_UTF8
            | FunctionFlags::SQLITE_DETERMINISTIC
            | FunctionFlags::SQLITE_INNOCUOUS;
        connection.create_scalar_function(function(case), 1, flags, move |context| {
            let text = context.get_raw(0).as_str_or_null()?;
            Ok(text.map(|text| case.of(text)))
        })?;
    }
    Ok(())
}

impl ToSql for Bound {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self {
            Self::Number(number) => ToSqlOutput::from(*number),
            Self::Flag(flag) => ToSqlOutput::from(*flag),
            Self::Text(text) => ToSqlOutput::from(text.as_str()),
            Self::Time(at) => ToSqlOutput::from(micros(*at)),
            Self::Key(key) => ToSqlOutput::from(key.as_slice()),
            Self::Numbers(numbers) => ToSqlOutput::from(serde_json::json!(numbers).to_string()),
        })
    }
}

impl Engine for Sqlite {
    fn read<T>(
        &mut self,
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.run(|c| rows(&mut c.prepare(sql)?, values, read))?.into_iter().collect()
    }

    fn read_prepared<T>(
        &mut self,
        sql: &str,
        values: &Values,
        read: impl Fn(&dyn Row) -> Result<T>,
    ) -> Result<Vec<T>> {
        self.run(|c| rows(&mut *prepared(c, sql)?, values, read))?.into_iter().collect()
    }

    fn write_added(&mut self) -> Result<()> {
        self.insert_pending_ready()
    }

    fn execute(&mut self, sql: &str, values: &Values) -> Result<()> {
        self.change(sql, values).map(drop)
    }

    fn change(&mut self, sql: &str, values: &Values) -> Result<u64> {
        let changed = self.run(|c| prepared(c, sql)?.execute(params_from_iter(values.all())))?;
        Ok(changed as u64)
    }
}

/// All rows of a query, each read or not.
fn rows<T>(
    statement: &mut Statement<'_>,
    values: &Values,
    read: impl Fn(&dyn Row) -> Result<T>,
) -> rusqlite::Result<Vec<Result<T>>> {
    let mut rows = statement.query(params_from_iter(values.all()))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row));
    }
    Ok(found)
}

impl Row for rusqlite::Row<'_> {
    fn flag(&self, at: usize) -> Result<bool> {
        self.get(at).map_err(unreadable)
    }

    fn key(&self, at: usize) -> Result<[u8; 16]> {
        self.get(at).map_err(unreadable)
    }

    fn number(&self, at: usize) -> Result<i64> {
        self.get(at).map_err(unreadable)
    }

    fn number_or_none(&self, at: usize) -> Result<Option<i64>> {
        self.get(at).map_err(unreadable)
    }

    fn text(&self, at: usize) -> Result<String> {
        self.get(at).map_err(unreadable)
    }

    fn text_or_none(&self, at: usize) -> Result<Option<String>> {
        self.get(at).map_err(unreadable)
    }

    fn time(&self, at: usize) -> Result<Timestamp> {
        time(self, at).map_err(unreadable)
    }

    fn time_or_none(&self, at: usize) -> Result<Option<Timestamp>> {
        time_or_none(self, at).map_err(unreadable)
    }
}

fn unreadable(error: rusqlite::Error) -> OrchestratorError {
    UnreadableRow::error(error, "the file")
}
