//! The columns of a CSV file: their names, their fields, and one type for each.

use serde_json::{Map, Value, json};

use super::super::output::CliError;
use super::csv::Record;
use super::fields::{Field, FieldColumns, Fields};
use super::numbers;
use performer_core::model::content::SpecificContent;

/// The options for types.
#[derive(Clone, Debug, Default)]
pub(super) struct TypeOptions {
    /// Read all columns as text.
    pub(super) texts: bool,
    /// The columns to read as text.
    pub(super) text: Vec<String>,
    /// The columns to read as numbers.
    pub(super) number: Vec<String>,
}

/// The columns of a file.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    columns: Vec<Column>,
    needs_reference: bool,
}

#[derive(Clone, Debug)]
struct Column {
    name: String,
    field: Option<Field>,
    is_content: bool,
    rule: Rule,
}

/// How the cells of a column are converted to values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// By the type that all cells seen so far have. An empty cell is null.
    Inferred { any: bool, numbers: bool, booleans: bool },
    /// By the type that an option or the schema gives.
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
pub(super) struct RowValues {
    pub(super) content: Map<String, Value>,
    pub(super) fields: Fields,
}

impl Columns {
    /// The columns of a header.
    ///
    /// # Errors
    ///
    /// If a column has no name, a duplicate name or a name that content cannot have; if an option names a column that does not
    /// exist.
    pub(super) fn new(
        header: &Record,
        field_columns: &FieldColumns,
        types: &TypeOptions,
        schema: Option<&Value>,
    ) -> Result<Self, CliError> {
        let failed =
            |why: String| CliError::failed(format!("line {}: {why}; nothing was added", header.line));
        let names: Vec<&str> = header.cells.iter().map(|cell| cell.trim()).collect();
        for (at, name) in names.iter().enumerate() {
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
        let wanted = field_columns.given.iter().map(|(_, name)| name).chain(&field_columns.content);
        for wanted in wanted.chain(&types.text).chain(&types.number) {
            if !names.iter().any(|name| is(name, wanted)) {
                return Err(CliError::usage(format!(
                    "there is no column {wanted:?}; the columns are {}",
                    names.join(", ")
                )));
            }
        }
        let places = field_columns.places(names.iter().copied()).map_err(failed)?;
        let mut columns = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let field = places.iter().find(|(_, place)| *place == at).map(|(field, _)| *field);
            let is_content = field.is_none_or(|field| field_columns.is_kept(field));
            if is_content {
                SpecificContent::new(&json!({ *name: null }))
                    .map_err(|refusal| failed(refusal.to_string()))?;
            }
            let among = |list: &[String]| list.iter().any(|wanted| is(name, wanted));
            let rule = match (among(&types.text), among(&types.number)) {
                (true, true) => {
                    return Err(CliError::usage(format!("{name:?} is both in --text and in --number")));
                }
                (true, false) => Rule::Fixed(Type::Text, EmptyCell::Text),
                (false, true) => Rule::Fixed(Type::Number, EmptyCell::Null),
                (false, false) if types.texts => Rule::Fixed(Type::Text, EmptyCell::Text),
                (false, false) => schema
                    .and_then(|schema| rule_from_schema(schema, name))
                    .unwrap_or(Rule::Inferred { any: false, numbers: true, booleans: true }),
            };
            columns.push(Column { name: (*name).to_owned(), field, is_content, rule });
        }
        Ok(Self { columns, needs_reference: field_columns.needs_reference() })
    }

    /// Infers the types of the columns from a row. Rows that will be refused are ignored.
    pub(super) fn infer(&mut self, record: &Record) {
        if self.shape(record).is_err() {
            return;
        }
        for (column, cell) in self.columns.iter_mut().zip(&record.cells) {
            let cell = cell.trim();
            if let Rule::Inferred { any, numbers, booleans } = &mut column.rule
                && !cell.is_empty()
            {
                *any = true;
                *numbers = *numbers && numbers::parse_plain(cell).is_some();
                *booleans = *booleans && matches!(cell, "true" | "false");
            }
        }
    }

    /// Whether all cells of a row are empty.
    pub(super) fn is_empty(record: &Record) -> bool {
        record.cells.iter().all(|cell| cell.trim().is_empty())
    }

    /// Checks that a row has a cell for each column, and no other non-empty cell.
    fn shape(&self, record: &Record) -> Result<(), String> {
        let (cells, columns) = (record.cells.len(), self.columns.len());
        let is_over = |cell: &String| !cell.trim().is_empty();
        if cells < columns || record.cells.iter().skip(columns).any(is_over) {
            let s = if cells == 1 { "" } else { "s" };
            return Err(format!("the row has {cells} cell{s}, and there are {columns} columns"));
        }
        Ok(())
    }

    /// The values of a row.
    ///
    /// # Errors
    ///
    /// A message for a row with too many or too few cells, without a reference where an option names its column, or with a cell
    /// of the wrong type.
    pub(super) fn row(&self, record: &Record) -> Result<RowValues, String> {
        self.shape(record)?;
        let mut row = RowValues { content: Map::new(), fields: Fields::default() };
        for (column, cell) in self.columns.iter().zip(&record.cells) {
            if let Some(field) = column.field {
                row.fields.set(field, cell);
                if field == Field::Reference && self.needs_reference && cell.trim().is_empty() {
                    return Err("the row has no reference".to_owned());
                }
            }
            if column.is_content {
                let value =
                    column.rule.value(cell).map_err(|why| format!("column {:?}: {why}", column.name))?;
                row.content.extend(value.map(|value| (column.name.clone(), value)));
            }
        }
        Ok(row)
    }
}

impl Rule {
    fn value(self, cell: &str) -> Result<Option<Value>, String> {
        let (kind, empty) = match self {
            Rule::Inferred { any: true, numbers: true, .. } => (Type::Number, EmptyCell::Null),
            Rule::Inferred { any: true, booleans: true, .. } => (Type::Boolean, EmptyCell::Null),
            Rule::Inferred { .. } => (Type::Text, EmptyCell::Null),
            Rule::Fixed(kind, empty) => (kind, empty),
        };
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
            Type::Number => Value::Number(numbers::parse_any(trimmed)?),
            Type::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Bool(true),
            Type::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Bool(false),
            Type::Boolean => return Err(format!("{cell:?} is neither true nor false")),
        }))
    }
}

/// The maximum depth to which references in a schema are followed.
const MAX_DEPTH: usize = 16;

/// The rule for a member, if the schema gives it one type.
fn rule_from_schema(schema: &Value, name: &str) -> Option<Rule> {
    let types = types(schema, property(schema, schema, name, MAX_DEPTH)?, MAX_DEPTH);
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

/// The schema of a member.
fn property<'a>(root: &'a Value, schema: &'a Value, name: &str, steps: usize) -> Option<&'a Value> {
    let steps = steps.checked_sub(1)?;
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return Some(property);
    }
    let parts = schema.get("allOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let target = referenced(root, schema);
    target.into_iter().chain(parts).find_map(|part| property(root, part, name, steps))
}

/// The types that a schema allows; none if it does not restrict them.
fn types<'a>(root: &'a Value, schema: &'a Value, steps: usize) -> Vec<&'a str> {
    let Some(steps) = steps.checked_sub(1) else { return Vec::new() };
    let of_value = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let list = |name: &str| schema.get(name).and_then(Value::as_array);
    match schema.get("type") {
        Some(Value::String(name)) => return vec![name],
        Some(Value::Array(names)) => return names.iter().filter_map(Value::as_str).collect(),
        _ => {}
    }
    if let Some(target) = referenced(root, schema) {
        return types(root, target, steps);
    }
    if let Some(values) = list("enum") {
        return values.iter().map(of_value).collect();
    }
    if let Some(value) = schema.get("const") {
        return vec![of_value(value)];
    }
    if let Some(parts) = list("anyOf").or_else(|| list("oneOf")) {
        let each: Vec<Vec<&str>> = parts.iter().map(|part| types(root, part, steps)).collect();
        return if each.iter().any(Vec::is_empty) { Vec::new() } else { each.concat() };
    }
    let parts = list("allOf").map_or(&[][..], Vec::as_slice);
    parts.iter().map(|part| types(root, part, steps)).find(|types| !types.is_empty()).unwrap_or_default()
}

/// The target of a schema's `$ref`.
fn referenced<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cells: &[&str]) -> Record {
        Record { line: 1, cells: cells.iter().map(|&cell| cell.to_owned()).collect() }
    }

    /// The values of one column.
    fn values(
        types: &TypeOptions,
        schema: Option<&Value>,
        cells: &[&str],
    ) -> Vec<Result<Option<Value>, String>> {
        let mut columns = Columns::new(&record(&["a"]), &FieldColumns::default(), types, schema).unwrap();
        cells.iter().for_each(|cell| columns.infer(&record(&[cell])));
        cells
            .iter()
            .map(|cell| columns.row(&record(&[cell])).map(|row| row.content.get("a").cloned()))
            .collect()
    }

    fn seen(cells: &[&str]) -> Vec<Value> {
        values(&TypeOptions::default(), None, cells)
            .into_iter()
            .map(|value| value.unwrap().unwrap())
            .collect()
    }

    #[test]
    fn a_column_has_one_type() {
        assert_eq!(seen(&["20.45", "20.40", "20", ""]), [json!(20.45), json!(20.4), json!(20), Value::Null]);
        assert_eq!(seen(&["1", " 2 ", "  "]), [json!(1), json!(2), Value::Null]);
        assert_eq!(seen(&["20.45", "n/a", "20"]), ["20.45", "n/a", "20"]);
        assert_eq!(seen(&["1", "007"]), ["1", "007"]);
        assert_eq!(seen(&["1", "100000000000000000000000000001"]), ["1", "100000000000000000000000000001"]);
        assert_eq!(seen(&["true", "false", ""]), [json!(true), json!(false), Value::Null]);
        assert_eq!(seen(&["true", "1"]), ["true", "1"]);
        assert_eq!(seen(&["true", "True"]), ["true", "True"]);
        assert_eq!(seen(&["", ""]), [Value::Null, Value::Null]);
        assert_eq!(seen(&["null", " x "]), ["null", " x "]);
    }

    #[test]
    fn type_options_take_precedence() {
        let said = |types: TypeOptions, cells: &[&str]| values(&types, None, cells);
        let text = TypeOptions { text: vec!["A".to_owned()], ..TypeOptions::default() };
        assert_eq!(said(text.clone(), &["1", ""]), [Ok(Some(json!("1"))), Ok(Some(json!("")))]);
        let number = TypeOptions { number: vec!["a".to_owned()], ..TypeOptions::default() };
        let mixed = said(number.clone(), &["007", "", "x"]);
        assert_eq!(mixed[..2], [Ok(Some(json!(7))), Ok(Some(Value::Null))]);
        assert!(mixed[2].as_ref().unwrap_err().contains("column \"a\": \"x\" is not a number"), "{mixed:?}");
        assert_eq!(
            said(TypeOptions { texts: true, ..TypeOptions::default() }, &["1"]),
            [Ok(Some(json!("1")))]
        );
        let both = TypeOptions { text: text.text, ..number };
        assert!(Columns::new(&record(&["a"]), &FieldColumns::default(), &both, None).is_err());
        let missing = TypeOptions { text: vec!["b".to_owned()], ..TypeOptions::default() };
        let problem = Columns::new(&record(&["a"]), &FieldColumns::default(), &missing, None).unwrap_err();
        assert!(problem.to_string().contains("no column \"b\""), "{problem}");
    }

    #[test]
    fn the_schema_gives_the_type() {
        let of = |property: Value, cell: &str| {
            let schema = json!({
                "$defs": {"amount": {"type": "number"}},
                "allOf": [{"properties": {"a": property}}],
            });
            values(&TypeOptions::default(), Some(&schema), &[cell]).remove(0)
        };
        assert_eq!(of(json!({"type": "string"}), "1"), Ok(Some(json!("1"))));
        assert_eq!(of(json!({"type": "string"}), ""), Ok(Some(json!(""))));
        assert_eq!(of(json!({"type": ["string", "null"]}), ""), Ok(Some(Value::Null)));
        assert_eq!(of(json!({"$ref": "#/$defs/amount"}), "007.50"), Ok(Some(json!(7.5))));
        assert_eq!(of(json!({"type": "integer"}), ""), Ok(None));
        assert_eq!(of(json!({"anyOf": [{"type": "integer"}, {"type": "null"}]}), ""), Ok(Some(Value::Null)));
        assert_eq!(of(json!({"type": "boolean"}), "TRUE"), Ok(Some(json!(true))));
        assert_eq!(of(json!({"enum": ["1", "2"]}), "1"), Ok(Some(json!("1"))));
        assert_eq!(of(json!({"const": 1}), "1"), Ok(Some(json!(1))));
        assert_eq!(of(json!({"type": ["string", "number"]}), "1"), Ok(Some(json!(1))), "as it is seen");
        assert_eq!(
            of(json!({"$ref": "#/allOf/0/properties/a"}), "1"),
            Ok(Some(json!(1))),
            "a circle says nothing"
        );
        assert!(of(json!({"type": "number"}), "x").is_err());
    }

    #[test]
    fn column_names_are_unique_and_valid() {
        let problem = |header: &[&str]| {
            let made = Columns::new(&record(header), &FieldColumns::default(), &TypeOptions::default(), None);
            made.map(|_| ()).unwrap_err().to_string()
        };
        assert!(problem(&["a", "b", " a "]).contains("two columns \"a\", the columns 1 and 3"));
        assert!(problem(&["a", " "]).contains("column 2 has no name"));
        assert!(problem(&["a", "Net.amount"]).contains("\"Net.amount\" contains '.'"));
        assert!(problem(&["Deadline", "DueDate"]).contains("same field"));
        let columns =
            Columns::new(&record(&["a", "b"]), &FieldColumns::default(), &TypeOptions::default(), None)
                .unwrap();
        assert!(columns.row(&record(&["1"])).unwrap_err().contains("1 cell, and there are 2 columns"));
        assert!(columns.row(&record(&["1", "2", "3"])).is_err());
        assert!(columns.row(&record(&["1", "2", " "])).is_ok(), "nothing is lost");
    }
}
