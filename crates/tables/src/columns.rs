//! The columns of a table: their names, their fields, and one type for each.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::error::TableError;
use super::export::content_name;
use super::fields::{Field, FieldColumns, Fields};
use super::numbers;
use super::record::{CellKind, Record};
use super::refused::OwnColumn;
use super::schema_types::member_types;
use performer_core::model::content::SpecificContent;

/// The options for types.
#[derive(Clone, Debug, Default)]
pub struct TypeOptions {
    /// Read all columns as text.
    pub texts: bool,
    /// The columns to read as text.
    pub text: Vec<String>,
    /// The columns to read as numbers.
    pub number: Vec<String>,
    /// Numbers that are written as text have a decimal comma, and may have points or spaces between groups of three digits.
    pub decimal_comma: bool,
}

/// The columns of a file.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    columns: Vec<Column>,
    needs_reference: bool,
    /// The place of the column with the types of the others, in a file of refused rows.
    types_at: Option<usize>,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    field: Option<Field>,
    is_content: bool,
    /// What a file of refused rows says about a row, and not a part of it.
    is_own: bool,
    rule: Rule,
    decimal_comma: bool,
}

/// How the cells of a column are converted to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// By the type that all cells seen so far have. An empty cell is null.
    Inferred { any: bool, numbers: bool, booleans: bool },
    /// By the type that an option, the schema or a file of refused rows gives.
    Fixed(Type, EmptyCell),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Boolean,
}

/// The value of an empty cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EmptyCell {
    Null,
    Text,
    /// The member is omitted, because the schema allows neither null nor a string.
    Absent,
}

/// The values of a row.
#[derive(Debug)]
pub(crate) struct RowValues {
    pub(crate) content: Map<String, Value>,
    pub(crate) fields: Fields,
}

/// The rule of a column before anything of it was seen.
const NOT_SEEN: Rule = Rule::Inferred { any: false, numbers: true, booleans: true };

impl Columns {
    /// The columns of a header, as those of items.
    ///
    /// # Errors
    ///
    /// If a column has no name, a duplicate name or a name that content cannot have; if an option names a column that does not
    /// exist.
    pub(crate) fn of_items(
        header: &Record,
        field_columns: &FieldColumns,
        types: &TypeOptions,
        schema: Option<&Value>,
    ) -> Result<Self, TableError> {
        let mut columns = Self::new(header, types, &field_columns.named())?;
        let names: Vec<String> = columns.columns.iter().map(|column| column.name.clone()).collect();
        let failed = |why: String| TableError::failed(format!("line {}: {why}", header.line));
        let places = field_columns.places(names.iter().map(String::as_str)).map_err(failed)?;
        for (at, column) in columns.columns.iter_mut().enumerate().filter(|(_, column)| !column.is_own) {
            column.field = places.iter().find(|(_, place)| *place == at).map(|(field, _)| *field);
            column.is_content = column.field.is_none_or(|field| field_columns.is_kept(field));
            if column.is_content {
                SpecificContent::new(&json!({ content_name(&column.name): null }))
                    .map_err(|refusal| failed(refusal.to_string()))?;
            }
            if let (Rule::Inferred { .. }, Some(schema)) = (column.rule, schema) {
                column.rule = rule_from_schema(schema, content_name(&column.name)).unwrap_or(column.rule);
            }
        }
        let contents: Vec<&str> =
            columns.columns.iter().filter(|column| column.is_content).map(|column| &*column.name).collect();
        for (at, name) in contents.iter().enumerate() {
            if let Some(other) = contents[..at].iter().find(|other| content_name(other) == content_name(name))
            {
                return Err(failed(format!("{other:?} and {name:?} are the same member of the content")));
            }
        }
        columns.needs_reference = field_columns.needs_reference();
        Ok(columns)
    }

    /// The columns of a header.
    ///
    /// # Errors
    ///
    /// If a column has no name or a duplicate name, or an option names a column that does not exist.
    pub(crate) fn new(header: &Record, types: &TypeOptions, wanted: &[&str]) -> Result<Self, TableError> {
        let failed = |why: String| TableError::failed(format!("line {}: {why}", header.line));
        let names: Vec<&str> = header.cells.iter().map(|cell| cell.trim()).collect();
        for (at, name) in names.iter().enumerate() {
            if let Some(why) = header.refusal(at) {
                return Err(failed(why));
            }
            if name.is_empty() {
                return Err(failed(format!("column {} has no name", at + 1)));
            }
            if let Some(before) = names[..at].iter().position(|other| other == name) {
                return Err(failed(format!(
                    "there are two columns {name:?}, the columns {} and {}",
                    before + 1,
                    at + 1
                )));
            }
        }
        let is = |name: &str, wanted: &str| name.eq_ignore_ascii_case(wanted);
        let by_options = types.text.iter().chain(&types.number).map(String::as_str);
        for wanted in wanted.iter().copied().chain(by_options) {
            if !names.iter().any(|name| is(name, wanted)) {
                return Err(TableError::usage(format!(
                    "there is no column {wanted:?}; the columns are {}",
                    names.join(", ")
                )));
            }
        }
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            let among = |list: &[String]| list.iter().any(|wanted| is(name, wanted));
            let rule = match (among(&types.text), among(&types.number)) {
                (true, true) => {
                    return Err(TableError::usage(format!("{name:?} is both in --text and in --number")));
                }
                (true, false) => Rule::Fixed(Type::Text, EmptyCell::Text),
                (false, true) => Rule::Fixed(Type::Number, EmptyCell::Null),
                (false, false) if types.texts => Rule::Fixed(Type::Text, EmptyCell::Text),
                (false, false) => NOT_SEEN,
            };
            let is_own = OwnColumn::of(name).is_some();
            let decimal_comma = types.decimal_comma;
            let name = (*name).to_owned();
            columns.push(Column { name, field: None, is_content: !is_own, is_own, rule, decimal_comma });
        }
        let types_at = names.iter().position(|name| OwnColumn::of(name) == Some(OwnColumn::Types));
        Ok(Self { columns, needs_reference: false, types_at })
    }

    /// Infers the types of the columns from a row. Rows that will be refused are ignored.
    pub(crate) fn infer(&mut self, record: &Record) {
        if let Some(types) = self.types_at.and_then(|at| record.cells.get(at)) {
            self.set_types(types);
        }
        if self.shape(record).is_err() {
            return;
        }
        for (at, (column, cell)) in self.columns.iter_mut().zip(&record.cells).enumerate() {
            let cell = cell.trim();
            let kind = record.kind(at);
            let decimal_comma = column.decimal_comma;
            if let Rule::Inferred { any, numbers, booleans } = &mut column.rule
                && !cell.is_empty()
                && record.refusal(at).is_none()
            {
                *any = true;
                *numbers = *numbers
                    && match kind {
                        CellKind::Number => numbers::parse_any(cell).is_ok(),
                        CellKind::Written => {
                            numbers::parse_plain(&number_text(cell, kind, decimal_comma)).is_some()
                        }
                        _ => false,
                    };
                *booleans = *booleans
                    && matches!(kind, CellKind::Written | CellKind::Boolean)
                    && matches!(cell, "true" | "false");
            }
        }
    }

    /// Gives the columns the types that a file of refused rows has for them, unless something else decides.
    fn set_types(&mut self, types: &str) {
        let columns = self.columns.iter_mut().filter(|column| !column.is_own);
        for (column, word) in columns.zip(types.split(' ')) {
            let (kind, empty) = match word {
                "text" => (Type::Text, EmptyCell::Null),
                "string" => (Type::Text, EmptyCell::Text),
                "number" | "comma-number" => (Type::Number, EmptyCell::Null),
                "boolean" => (Type::Boolean, EmptyCell::Null),
                _ => continue,
            };
            if matches!(column.rule, Rule::Inferred { .. }) {
                column.rule = Rule::Fixed(kind, empty);
                column.decimal_comma = column.decimal_comma || word == "comma-number";
            }
        }
    }

    /// The types of the columns, as a file of refused rows has them. `as_text`: its rows are those of CSV, and not of a sheet,
    /// whose numbers have points whatever the user asked for.
    pub(crate) fn types(&self, as_text: bool) -> String {
        let word = |column: &Column| match column.rule.kind() {
            (Type::Text, EmptyCell::Text) => "string",
            (Type::Text, _) => "text",
            (Type::Boolean, _) => "boolean",
            (Type::Number, _) if column.decimal_comma && as_text => "comma-number",
            (Type::Number, _) => "number",
        };
        let words: Vec<&str> = self.columns.iter().filter(|column| !column.is_own).map(word).collect();
        words.join(" ")
    }

    /// The names of the columns, and whether each is one of a file of refused rows.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, bool)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.is_own))
    }

    /// Checks that a row has a cell for each column, and no other non-empty cell.
    ///
    /// # Errors
    ///
    /// A message for a row that has not.
    pub(crate) fn shape(&self, record: &Record) -> Result<(), String> {
        let (cells, columns) = (record.cells.len(), self.columns.len());
        let is_over = |cell: &String| !cell.trim().is_empty();
        if cells < columns || record.cells.iter().skip(columns).any(is_over) {
            let s = if cells == 1 { "" } else { "s" };
            return Err(format!("the row has {cells} cell{s}, and there are {columns} columns"));
        }
        Ok(())
    }

    /// Whether nothing is in any cell of a row but what a file of refused rows says about it.
    pub(crate) fn is_empty(&self, record: &Record) -> bool {
        if self.columns.iter().all(|column| !column.is_own) {
            return record.is_empty();
        }
        let is_own = |at: usize| self.columns.get(at).is_some_and(|column| column.is_own);
        record.cells.iter().enumerate().all(|(at, cell)| is_own(at) || cell.trim().is_empty())
    }

    /// The values of a row.
    ///
    /// # Errors
    ///
    /// A message for a row with too many or too few cells, without a reference where an option names its column, or with a cell
    /// of the wrong type or without a value.
    pub(crate) fn row(&self, record: &Record) -> Result<RowValues, String> {
        self.shape(record)?;
        let mut row = RowValues { content: Map::new(), fields: Fields::default() };
        for (at, (column, cell)) in self.columns.iter().zip(&record.cells).enumerate() {
            if let Some(field) = column.field {
                if let Some(why) = record.refusal(at) {
                    return Err(why);
                }
                row.fields.set(field, cell);
                if field == Field::Reference && self.needs_reference && cell.trim().is_empty() {
                    return Err("the row has no reference".to_owned());
                }
            }
            if column.is_content {
                let value = self.value(at, record)?;
                row.content.extend(value.map(|value| (content_name(&column.name).to_owned(), value)));
            }
        }
        Ok(row)
    }

    /// The value of a cell, or `None` if its member is omitted.
    ///
    /// # Errors
    ///
    /// A message for a cell of the wrong type or without a value.
    pub(crate) fn value(&self, at: usize, record: &Record) -> Result<Option<Value>, String> {
        let (Some(column), Some(cell)) = (self.columns.get(at), record.cells.get(at)) else {
            return Ok(None);
        };
        if let Some(why) = record.refusal(at) {
            return Err(why);
        }
        column
            .rule
            .value(cell, record.kind(at), column.decimal_comma)
            .map_err(|why| format!("column {:?}: {why}", column.name))
    }

    /// A cell as a number in JSON syntax, if it is one.
    pub(crate) fn number_text<'a>(&self, at: usize, record: &'a Record) -> Cow<'a, str> {
        let decimal_comma = self.columns.get(at).is_some_and(|column| column.decimal_comma);
        let cell = record.cells.get(at).map_or("", |cell| cell.trim());
        number_text(cell, record.kind(at), decimal_comma)
    }

    /// The number of columns.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Whether a column is one of a file of refused rows.
    pub(crate) fn is_own(&self, at: usize) -> bool {
        self.columns.get(at).is_some_and(|column| column.is_own)
    }

    /// The name of a column.
    pub(crate) fn name(&self, at: usize) -> &str {
        self.columns.get(at).map_or("", |column| &column.name)
    }
}

fn number_text(cell: &str, kind: CellKind, decimal_comma: bool) -> Cow<'_, str> {
    if decimal_comma && kind != CellKind::Number {
        numbers::with_decimal_point(cell)
    } else {
        Cow::Borrowed(cell)
    }
}

impl Rule {
    /// The type that all cells have, and the value of an empty one.
    fn kind(self) -> (Type, EmptyCell) {
        match self {
            Rule::Inferred { any: true, numbers: true, .. } => (Type::Number, EmptyCell::Null),
            Rule::Inferred { any: true, booleans: true, .. } => (Type::Boolean, EmptyCell::Null),
            Rule::Inferred { .. } => (Type::Text, EmptyCell::Null),
            Rule::Fixed(kind, empty) => (kind, empty),
        }
    }

    fn value(self, cell: &str, written: CellKind, decimal_comma: bool) -> Result<Option<Value>, String> {
        let (kind, empty) = self.kind();
        let trimmed = cell.trim();
        // Spaces are a text, but an empty number.
        let is_empty = if kind == Type::Text { cell.is_empty() } else { trimmed.is_empty() };
        if is_empty {
            return Ok(match empty {
                EmptyCell::Null => Some(Value::Null),
                EmptyCell::Text => Some(Value::from("")),
                EmptyCell::Absent => None,
            });
        }
        Ok(Some(match kind {
            Type::Text => Value::from(cell),
            Type::Number => {
                let number = number_text(trimmed, written, decimal_comma);
                Value::Number(numbers::parse_shown(&number, trimmed)?)
            }
            Type::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Bool(true),
            Type::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Bool(false),
            Type::Boolean => return Err(format!("{cell:?} is neither true nor false")),
        }))
    }
}

/// The rule for a member, if the schema gives it one type.
fn rule_from_schema(schema: &Value, name: &str) -> Option<Rule> {
    let types = member_types(schema, name);
    let is = |name: &str| types.contains(&name);
    let kind = match (is("string"), is("number") || is("integer"), is("boolean")) {
        (true, false, false) => Type::Text,
        (false, true, false) => Type::Number,
        (false, false, true) => Type::Boolean,
        _ => return None,
    };
    let empty = match kind {
        _ if is("null") => EmptyCell::Null,
        Type::Text => EmptyCell::Text,
        Type::Number | Type::Boolean => EmptyCell::Absent,
    };
    Some(Rule::Fixed(kind, empty))
}

#[cfg(test)]
mod tests;
