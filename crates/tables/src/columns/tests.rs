//! Types of columns, by their cells, by options and by the schema.

use super::*;

fn record(cells: &[&str]) -> Record {
    Record { line: 1, cells: cells.iter().map(|&cell| cell.to_owned()).collect(), kinds: Vec::new() }
}

/// The values of one column.
fn values(types: &TypeOptions, schema: Option<&Value>, cells: &[&str]) -> Vec<Result<Option<Value>, String>> {
    let mut columns = Columns::of_items(&record(&["a"]), &FieldColumns::default(), types, schema).unwrap();
    cells.iter().for_each(|cell| columns.infer(&record(&[cell])));
    cells.iter().map(|cell| columns.row(&record(&[cell])).map(|row| row.content.get("a").cloned())).collect()
}

fn seen(cells: &[&str]) -> Vec<Value> {
    values(&TypeOptions::default(), None, cells).into_iter().map(|value| value.unwrap().unwrap()).collect()
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
    assert_eq!(said(TypeOptions { texts: true, ..TypeOptions::default() }, &["1"]), [Ok(Some(json!("1")))]);
    let both = TypeOptions { text: text.text, ..number };
    assert!(Columns::of_items(&record(&["a"]), &FieldColumns::default(), &both, None).is_err());
    let missing = TypeOptions { text: vec!["b".to_owned()], ..TypeOptions::default() };
    let problem = Columns::of_items(&record(&["a"]), &FieldColumns::default(), &missing, None).unwrap_err();
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
        let made =
            Columns::of_items(&record(header), &FieldColumns::default(), &TypeOptions::default(), None);
        made.map(|_| ()).unwrap_err().to_string()
    };
    assert!(problem(&["a", "b", " a "]).contains("two columns \"a\", the columns 1 and 3"));
    assert!(problem(&["a", " "]).contains("column 2 has no name"));
    assert!(problem(&["a", "Net.amount"]).contains("\"Net.amount\" contains '.'"));
    assert!(problem(&["Deadline", "DueDate"]).contains("same field"));
    let columns =
        Columns::of_items(&record(&["a", "b"]), &FieldColumns::default(), &TypeOptions::default(), None)
            .unwrap();
    assert!(columns.row(&record(&["1"])).unwrap_err().contains("1 cell, and there are 2 columns"));
    assert!(columns.row(&record(&["1", "2", "3"])).is_err());
    assert!(columns.row(&record(&["1", "2", " "])).is_ok(), "nothing is lost");
}

/// A cell of a sheet has the type that the sheet gives it, whatever it looks like.
#[test]
fn the_cells_of_a_sheet_have_types() {
    let of = |cells: &[(&str, CellKind)]| {
        let mut columns =
            Columns::of_items(&record(&["a"]), &FieldColumns::default(), &TypeOptions::default(), None)
                .unwrap();
        let records = cells.iter().map(|(cell, kind)| Record { kinds: vec![*kind], ..record(&[cell]) });
        let records: Vec<Record> = records.collect();
        records.iter().for_each(|record| columns.infer(record));
        let value = |record| columns.row(record).unwrap().content["a"].clone();
        records.iter().map(value).collect::<Vec<Value>>()
    };
    assert_eq!(of(&[("12", CellKind::Text), ("", CellKind::Text)]), [json!("12"), Value::Null]);
    assert_eq!(of(&[("12", CellKind::Number), ("1e300", CellKind::Number)]), [json!(12), json!(1e300)]);
    assert_eq!(of(&[("12", CellKind::Number), ("x", CellKind::Text)]), [json!("12"), json!("x")]);
    assert_eq!(of(&[("true", CellKind::Boolean)]), [json!(true)]);
    assert_eq!(of(&[("true", CellKind::Text)]), [json!("true")]);
    assert_eq!(of(&[("true", CellKind::Boolean), ("1", CellKind::Number)]), [json!("true"), json!("1")]);
}

/// The types of the whole file decide for the rows that were refused, when they are imported alone.
#[test]
fn a_file_of_refused_rows_has_the_types_of_its_columns() {
    let header = record(&["Refused.Line", "Refused.Reason", "Refused.Types", "a", "b", "c"]);
    let fields = FieldColumns::default();
    let mut columns = Columns::of_items(&header, &fields, &TypeOptions::default(), None).unwrap();
    let row = record(&["7", "why", "text comma-number string", "1", "1,5", ""]);
    columns.infer(&row);
    let content = Value::from(columns.row(&row).unwrap().content);
    assert_eq!(content, json!({"a": "1", "b": 1.5, "c": ""}));
    assert_eq!(columns.types(true), "text comma-number string");
    assert!(columns.is_empty(&record(&["7", "why", "text text text", "", " ", ""])));
    // An option is stronger.
    let number = TypeOptions { number: vec!["a".to_owned()], ..TypeOptions::default() };
    let mut columns = Columns::of_items(&header, &fields, &number, None).unwrap();
    columns.infer(&row);
    assert_eq!(columns.row(&row).unwrap().content["a"], json!(1));
}
