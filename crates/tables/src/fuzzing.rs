//! Reads any bytes as a file with rows, for the fuzz target `import` and for the test of its seeds.

use std::collections::HashMap;
use std::io::Write as _;
use std::mem::{Discriminant, discriminant};

use encoding_rs::{Encoding, REPLACEMENT};
use serde_json::Value;

use super::columns::Columns;
use super::dialect;
use super::fields::FieldColumns;
use super::record::RecordFormat;
use super::rows::{Content, Form, Layout, TableOptions};
use super::source::Source;

/// What became of a file: the number of its rows that can be added, of its empty ones and of its invalid ones; or why it
/// cannot be read.
pub type Outcome = Result<Counts, String>;

/// How many rows there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Rows that can be added.
    pub items: usize,
    /// Rows without any value.
    pub empty: usize,
    /// Rows that are refused.
    pub invalid: usize,
}

/// A row: its line, and the item or why it is none.
type ReadRow = (u64, Option<Result<String, String>>);

/// Reads a file as an import does before it adds anything. The first line of the input are options: `csv`, `tsv`, `jsonl`, `json` or
/// `sheet`; and, separated by spaces, `texts`, `no-quotes`, `decimal-comma`, `delimiter=` with what `--delimiter` takes, or the name
/// of an encoding. The rest is the file. `None`: there are no such options.
///
/// # Panics
///
/// If a second reading of the file finds other rows than the first one, or a column of a table has several types.
pub fn read(input: &[u8]) -> Option<Outcome> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    let words = std::str::from_utf8(&input[..end]).ok()?;
    let mut words = words.split(' ');
    let format = words.next()?;
    let (mut encoding, mut options) = (None, TableOptions::default());
    options.is_tsv = format == "tsv";
    for word in words {
        match (word, word.strip_prefix("delimiter=")) {
            ("texts", _) => options.types.texts = true,
            ("decimal-comma", _) => options.types.decimal_comma = true,
            ("no-quotes", _) => options.no_quotes = true,
            (_, Some(given)) => options.delimiter = Some(dialect::parse_delimiter(given).ok()?),
            (label, None) => {
                encoding = Some(Encoding::for_label(label.as_bytes()).filter(|found| *found != REPLACEMENT)?);
            }
        }
    }
    let mut file = tempfile::NamedTempFile::new().ok()?;
    file.write_all(&input[end + 1..]).ok()?;
    let source = match format {
        "sheet" => Source::open_sheet(file.path(), None),
        _ => Source::open(file.path(), encoding),
    };
    let source = match source {
        Ok(source) => source,
        Err(refused) => return Some(Err(refused.to_string())),
    };
    let layout = match format {
        "csv" | "tsv" | "sheet" => Layout::table(&source, &options, &FieldColumns::default(), None),
        "jsonl" => Ok(Layout::json_lines(FieldColumns::default())),
        "json" => Ok(Layout::json_array(FieldColumns::default())),
        _ => return None,
    };
    let layout = match layout {
        Ok(layout) => layout,
        Err(refused) => return Some(Err(refused.to_string())),
    };
    let first = rows(&source, &layout);
    assert_eq!(first, rows(&source, &layout), "a second reading finds the same");
    if let (Ok(_), Form::Table { format, columns, .. }) = (&first, &layout.0) {
        check_columns(&source, *format, columns);
    }
    Some(first.map(|(rows, _)| count(&rows)))
}

/// All rows of a file, and the digest of its bytes.
fn rows(source: &Source, layout: &Layout) -> Result<(Vec<ReadRow>, String), String> {
    let mut rows = layout.rows(source).map_err(|refused| refused.to_string())?;
    let mut read: Vec<ReadRow> = Vec::new();
    while let Some(row) = rows.next_row().map_err(|refused| format!("{refused:?}"))? {
        assert!(read.last().is_none_or(|(line, _)| *line <= row.line), "the lines of rows rise: {read:?}");
        let content = match row.content {
            Content::Item(item) => Some(Ok(format!("{item:?}"))),
            Content::Empty => None,
            Content::Invalid(why) => Some(Err(why)),
        };
        read.push((row.line, content));
    }
    Ok((read, rows.digest()))
}

/// Checks that each column has values of one type, and that a text is its cell unchanged.
fn check_columns(source: &Source, format: RecordFormat, columns: &Columns) {
    let mut records = format.records(source).expect("it was read before");
    let header = records.header(0).expect("it was read before").expect("it has a header");
    let names: Vec<&str> = header.cells.iter().map(|name| name.trim()).collect();
    let mut types: HashMap<String, Discriminant<Value>> = HashMap::new();
    while let Some(record) = records.next().expect("it was read before") {
        if columns.is_empty(&record) {
            continue;
        }
        let Ok(row) = columns.row(&record) else { continue };
        for (name, value) in row.content {
            let place = names.iter().position(|other| *other == name).expect("a column of the header");
            let cell = &record.cells[place];
            match &value {
                Value::Null => assert!(cell.trim().is_empty(), "{name:?} is null and was {cell:?}"),
                Value::String(text) => assert_eq!(text, cell, "{name:?}"),
                _ => {}
            }
            if !value.is_null() {
                let before = *types.entry(name.clone()).or_insert(discriminant(&value));
                assert_eq!(
                    before,
                    discriminant(&value),
                    "{name:?} has two types, and {value} is of the second"
                );
            }
        }
    }
}

fn count(rows: &[ReadRow]) -> Counts {
    let mut counts = Counts::default();
    for (_, content) in rows {
        match content {
            Some(Ok(_)) => counts.items += 1,
            None => counts.empty += 1,
            Some(Err(_)) => counts.invalid += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of a seed begins with the number of its rows that can be added; with `refused` if it cannot be read.
    #[test]
    fn every_seed_of_the_fuzzer_is_read_as_its_name_says() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/import");
        let mut read_seeds = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let outcome = read(&std::fs::read(entry.path()).unwrap());
            let outcome = outcome.unwrap_or_else(|| panic!("{name} has options that there are not"));
            let (expected, _) = name.split_once('-').unwrap();
            let found = outcome.as_ref().map_or("refused".to_owned(), |counts| counts.items.to_string());
            assert_eq!(found, expected, "{name}: {outcome:?}");
            read_seeds += 1;
        }
        assert!(read_seeds > 20, "{read_seeds}");
    }

    #[test]
    fn options_that_there_are_not_are_no_file() {
        for input in ["", "csv", "xml\na", "csv utf-99\na", "csv delimiter=ab\na", "csv  texts\na"] {
            assert_eq!(read(input.as_bytes()), None, "{input:?}");
        }
    }

    #[test]
    fn rows_are_counted_by_what_they_are() {
        let read = read(b"csv\nReference,n\na,1\n,\nb\n").unwrap();
        assert_eq!(read, Ok(Counts { items: 1, empty: 1, invalid: 1 }));
    }
}
