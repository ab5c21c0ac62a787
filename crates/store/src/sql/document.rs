//! The document that a server keeps in the store.

use super::columns::Columns;
use super::dialect::{Engine, Values};
use performer_core::orchestrator::Result;

/// The document and its version, if the version is not `known`.
pub(crate) fn read<E: Engine>(engine: &mut E, known: u64) -> Result<Option<(u64, String)>> {
    let mut values = Values::default();
    let known = values.bind::<E>(known.cast_signed());
    let sql = format!("SELECT version, text FROM directory WHERE version <> {known}");
    let found =
        engine.read_prepared(&sql, &values, |row| Ok((row.number(0)?.unsigned_abs(), row.text(1)?)))?;
    Ok(found.into_iter().next())
}

pub(crate) fn write<E: Engine>(engine: &mut E, version: u64, text: &str) -> Result<()> {
    let columns = Columns::<E>::new().set("id", 1).set("version", version.cast_signed()).text("text", text);
    let sql = format!(
        "INSERT INTO directory {} ON CONFLICT (id) DO UPDATE SET version = excluded.version, text = excluded.text",
        columns.insertion()
    );
    engine.execute(&sql, &columns.values)
}
