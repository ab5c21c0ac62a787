//! The columns of a file of CSV: what they are called, what they hold, and one type for each.

use serde_json::{Map, Value, json};

use super::super::output::Problem;
use super::csv::Record;
use super::fields::{Field, Fields, Named};
use super::numbers;
use crate::model::content::SpecificContent;

/// What the user said about types.
#[derive(Clone, Debug, Default)]
pub(super) struct Types {
    /// All columns hold texts.
    pub(super) texts: bool,
    /// These columns hold texts.
    pub(super) text: Vec<String>,
    /// These columns hold numbers.
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

/// How the cells of a column become values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// What all of its cells are, as far as they were seen. A cell without anything in it is null.
    Seen { any: bool, numbers: bool, booleans: bool },
    /// What the user or the schema says.
    Said(Type, Empty),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Boolean,
}

/// What a cell without anything in it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Empty {
    Null,
    Text,
    /// The member is left out: a schema allows neither null nor a text.
    Absent,
}

/// A row of a file.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) content: Map<String, Value>,
    pub(super) fields: Fields,
}

impl Columns {
    /// The columns that a first row names.
    ///
    /// # Errors
    ///
    /// When a column has no name, two have the same or one that content cannot have; when the user names one that is not there.
    pub(super) fn new(
        heads: &Record,
        named: &Named,
        types: &Types,
        schema: Option<&Value>,
    ) -> Result<Self, Problem> {
        let failed = |why: String| Problem::failed(format!("line {}: {why}; nothing was added", heads.line));
        let names: Vec<&str> = heads.cells.iter().map(|cell| cell.trim()).collect();
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
        let wanted = named.given.iter().map(|(_, name)| name).chain(&named.content);
        for wanted in wanted.chain(&types.text).chain(&types.number) {
            if !names.iter().any(|name| is(name, wanted)) {
                return Err(Problem::usage(format!(
                    "there is no column {wanted:?}; there are {}",
                    names.join(", ")
                )));
            }
        }
        let places = named.places(names.iter().copied()).map_err(failed)?;
        let mut columns = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let field = places.iter().find(|(_, place)| *place == at).map(|(field, _)| *field);
            let is_content = field.is_none_or(|field| named.stays(field));
            if is_content {
                SpecificContent::new(&json!({ *name: null }))
                    .map_err(|refusal| failed(refusal.to_string()))?;
            }
            let among = |list: &[String]| list.iter().any(|wanted| is(name, wanted));
            let rule =
                match (among(&types.text), among(&types.number)) {
                    (true, true) => {
                        return Err(Problem::usage(format!("{name:?} is both in --text and in --number")));
                    }
                    (true, false) => Rule::Said(Type::Text, Empty::Text),
                    (false, true) => Rule::Said(Type::Number, Empty::Null),
                    (false, false) if types.texts => Rule::Said(Type::Text, Empty::Text),
                    (false, false) => schema
                        .and_then(|schema| by_schema(schema, name))
                        .unwrap_or(Rule::Seen { any: false, numbers: true, booleans: true }),
                };
            columns.push(Column { name: (*name).to_owned(), field, is_content, rule });
        }
        Ok(Self { columns, needs_reference: named.needs_reference() })
    }

    /// Looks at a row, to learn what its columns hold. A row that will be refused says nothing.
    pub(super) fn see(&mut self, record: &Record) {
        if self.shape(record).is_err() {
            return;
        }
        for (column, cell) in self.columns.iter_mut().zip(&record.cells) {
            let cell = cell.trim();
            if let Rule::Seen { any, numbers, booleans } = &mut column.rule
                && !cell.is_empty()
            {
                *any = true;
                *numbers = *numbers && numbers::plain(cell).is_some();
                *booleans = *booleans && matches!(cell, "true" | "false");
            }
        }
    }

    /// Whether nothing is written in a row.
    pub(super) fn is_empty(record: &Record) -> bool {
        record.cells.iter().all(|cell| cell.trim().is_empty())
    }

    /// Whether a row has a cell for each column, and nothing besides.
    fn shape(&self, record: &Record) -> Result<(), String> {
        let (cells, columns) = (record.cells.len(), self.columns.len());
        let is_over = |cell: &String| !cell.trim().is_empty();
        if cells < columns || record.cells.iter().skip(columns).any(is_over) {
            let s = if cells == 1 { "" } else { "s" };
            return Err(format!("the row has {cells} cell{s}, and there are {columns} columns"));
        }
        Ok(())
    }

    /// What a row holds.
    ///
    /// # Errors
    ///
    /// A message for a row with too many or too few cells, without a reference where the user named its column, or with a cell
    /// that is not what its column holds.
    pub(super) fn row(&self, record: &Record) -> Result<Row, String> {
        self.shape(record)?;
        let mut row = Row { content: Map::new(), fields: Fields::default() };
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
            Self::Seen { any: true, numbers: true, .. } => (Type::Number, Empty::Null),
            Self::Seen { any: true, booleans: true, .. } => (Type::Boolean, Empty::Null),
            Self::Seen { .. } => (Type::Text, Empty::Null),
            Self::Said(kind, empty) => (kind, empty),
        };
        let trimmed = cell.trim();
        // Spaces are a text like any other, and no number.
        let is_empty = if kind == Type::Text { cell.is_empty() } else { trimmed.is_empty() };
        if is_empty {
            return Ok(match empty {
                Empty::Null => Some(Value::Null),
                Empty::Text => Some(Value::from("")),
                Empty::Absent => None,
            });
        }
        Ok(Some(match kind {
            Type::Text => Value::from(cell),
            Type::Number => Value::Number(numbers::any(trimmed)?),
            Type::Boolean if trimmed.eq_ignore_ascii_case("true") => Value::Bool(true),
            Type::Boolean if trimmed.eq_ignore_ascii_case("false") => Value::Bool(false),
            Type::Boolean => return Err(format!("{cell:?} is neither true nor false")),
        }))
    }
}

/// How deep references in a schema are followed.
const MOST_STEPS: usize = 16;

/// The rule for a member, if a schema gives it one type.
fn by_schema(schema: &Value, name: &str) -> Option<Rule> {
    let types = types(schema, property(schema, schema, name, MOST_STEPS)?, MOST_STEPS);
    let is = |name: &str| types.contains(&name);
    let kind = match (is("string"), is("number") || is("integer"), is("boolean")) {
        (true, false, false) => Type::Text,
        (false, true, false) => Type::Number,
        (false, false, true) => Type::Boolean,
        _ => return None,
    };
    let empty = match kind {
        _ if is("null") => Empty::Null,
        Type::Text => Empty::Text,
        Type::Number | Type::Boolean => Empty::Absent,
    };
    Some(Rule::Said(kind, empty))
}

/// What a schema says about a member.
fn property<'a>(root: &'a Value, schema: &'a Value, name: &str, steps: usize) -> Option<&'a Value> {
    let steps = steps.checked_sub(1)?;
    if let Some(property) = schema.get("properties").and_then(|properties| properties.get(name)) {
        return Some(property);
    }
    let parts = schema.get("allOf").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let target = target(root, schema);
    target.into_iter().chain(parts).find_map(|part| property(root, part, name, steps))
}

/// The types that a schema allows; none when it does not say.
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
    if let Some(target) = target(root, schema) {
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

/// The part of a schema that it refers to.
fn target<'a>(root: &'a Value, schema: &Value) -> Option<&'a Value> {
    root.pointer(schema.get("$ref")?.as_str()?.strip_prefix('#')?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cells: &[&str]) -> Record {
        Record { line: 1, cells: cells.iter().map(|&cell| cell.to_owned()).collect() }
    }

    /// The values of one column.
    fn values(types: &Types, schema: Option<&Value>, cells: &[&str]) -> Vec<Result<Option<Value>, String>> {
        let mut columns = Columns::new(&record(&["a"]), &Named::default(), types, schema).unwrap();
        cells.iter().for_each(|cell| columns.see(&record(&[cell])));
        cells
            .iter()
            .map(|cell| columns.row(&record(&[cell])).map(|row| row.content.get("a").cloned()))
            .collect()
    }

    fn seen(cells: &[&str]) -> Vec<Value> {
        values(&Types::default(), None, cells).into_iter().map(|value| value.unwrap().unwrap()).collect()
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
    fn what_the_user_says_about_types_decides() {
        let said = |types: Types, cells: &[&str]| values(&types, None, cells);
        let text = Types { text: vec!["A".to_owned()], ..Types::default() };
        assert_eq!(said(text.clone(), &["1", ""]), [Ok(Some(json!("1"))), Ok(Some(json!("")))]);
        let number = Types { number: vec!["a".to_owned()], ..Types::default() };
        let mixed = said(number.clone(), &["007", "", "x"]);
        assert_eq!(mixed[..2], [Ok(Some(json!(7))), Ok(Some(Value::Null))]);
        assert!(mixed[2].as_ref().unwrap_err().contains("column \"a\": \"x\" is not a number"), "{mixed:?}");
        assert_eq!(said(Types { texts: true, ..Types::default() }, &["1"]), [Ok(Some(json!("1")))]);
        let both = Types { text: text.text, ..number };
        assert!(Columns::new(&record(&["a"]), &Named::default(), &both, None).is_err());
        let missing = Types { text: vec!["b".to_owned()], ..Types::default() };
        let problem = Columns::new(&record(&["a"]), &Named::default(), &missing, None).unwrap_err();
        assert!(problem.to_string().contains("no column \"b\""), "{problem}");
    }

    #[test]
    fn the_schema_decides_where_it_gives_one_type() {
        let of = |property: Value, cell: &str| {
            let schema = json!({
                "$defs": {"amount": {"type": "number"}},
                "allOf": [{"properties": {"a": property}}],
            });
            values(&Types::default(), Some(&schema), &[cell]).remove(0)
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
    fn names_are_there_once_and_fit() {
        let problem = |heads: &[&str]| {
            let made = Columns::new(&record(heads), &Named::default(), &Types::default(), None);
            made.map(|_| ()).unwrap_err().to_string()
        };
        assert!(problem(&["a", "b", " a "]).contains("two columns \"a\", the columns 1 and 3"));
        assert!(problem(&["a", " "]).contains("column 2 has no name"));
        assert!(problem(&["a", "Net.amount"]).contains("\"Net.amount\" contains '.'"));
        assert!(problem(&["Deadline", "DueDate"]).contains("same field"));
        let columns = Columns::new(&record(&["a", "b"]), &Named::default(), &Types::default(), None).unwrap();
        assert!(columns.row(&record(&["1"])).unwrap_err().contains("1 cell, and there are 2 columns"));
        assert!(columns.row(&record(&["1", "2", "3"])).is_err());
        assert!(columns.row(&record(&["1", "2", " "])).is_ok(), "nothing is lost");
    }
}
