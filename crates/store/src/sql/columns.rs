//! Values that are written to columns, and read from them.

use std::marker::PhantomData;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Dialect, Row, Values};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The columns of a row that is written, and their values.
pub(crate) struct Columns<D> {
    names: Vec<&'static str>,
    placeholders: Vec<String>,
    pub(crate) values: Values,
    dialect: PhantomData<D>,
}

impl<D: Dialect> Columns<D> {
    pub(crate) fn new() -> Self {
        Self { names: Vec::new(), placeholders: Vec::new(), values: Values::default(), dialect: PhantomData }
    }

    pub(crate) fn set(self, name: &'static str, value: impl Into<Bound>) -> Self {
        self.set_or_null(name, Some(value))
    }

    pub(crate) fn set_or_null(mut self, name: &'static str, value: Option<impl Into<Bound>>) -> Self {
        self.placeholders.push(self.values.bind_or_null::<D>(value));
        self.names.push(name);
        self
    }

    /// A text, as the database can store it.
    pub(crate) fn text(self, name: &'static str, text: &str) -> Self {
        self.text_or_null(name, Some(text))
    }

    pub(crate) fn text_or_null(self, name: &'static str, text: Option<&str>) -> Self {
        self.set_or_null(name, text.map(|text| Bound::Text(D::storable(text).into_owned())))
    }

    /// What stands behind `INSERT INTO table`.
    pub(crate) fn insertion(&self) -> String {
        format!("({}) VALUES ({})", self.names.join(", "), self.placeholders.join(", "))
    }

    /// What stands behind `UPDATE table SET`.
    pub(crate) fn assignments(&self) -> String {
        let pairs = self.names.iter().zip(&self.placeholders);
        pairs.map(|(name, value)| format!("{name} = {value}")).collect::<Vec<_>>().join(", ")
    }
}

/// The error for a row that does not match the schema.
pub(crate) fn unreadable(cause: impl std::error::Error + Send + Sync + 'static) -> OrchestratorError {
    UnreadableRow::error(cause, "the store")
}

pub(crate) fn as_json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| {
        OrchestratorError::new(ErrorKind::Other, "a value cannot be written").with_source(error)
    })
}

/// As JSON; `None` for the default value.
pub(crate) fn unless_default<T: Serialize + Default + PartialEq>(value: &T) -> Result<Option<String>> {
    if *value == T::default() { Ok(None) } else { as_json(value).map(Some) }
}

/// From JSON. NULL stands for the default value.
pub(crate) fn json<T: DeserializeOwned + Default>(row: &dyn Row, at: usize) -> Result<T> {
    let json = row.text_or_none(at)?;
    json.map_or_else(|| Ok(T::default()), |json| serde_json::from_str(&json)).map_err(unreadable)
}

pub(crate) fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

pub(crate) fn duration(row: &dyn Row, at: usize) -> Result<Duration> {
    Ok(Duration::from_micros(row.number(at)?.unsigned_abs()))
}

/// A number that is never negative.
pub(crate) fn small(row: &dyn Row, at: usize) -> Result<u32> {
    u32::try_from(row.number(at)?).map_err(unreadable)
}
