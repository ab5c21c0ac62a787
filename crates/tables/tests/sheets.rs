//! Spreadsheets as values of types, and that no broken or hostile file does any harm. `spreadsheets/make.py` wrote the files.

use std::fs;
use std::io::{Cursor, Write as _};
use std::path::{Path, PathBuf};

use performer_tables::{Format, RowError, Table, rows};
use serde::Deserialize;
use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

fn spreadsheet(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/spreadsheets").join(name)
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Paid {
    True,
    False,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Invoice {
    #[serde(rename = "Reference")]
    reference: String,
    amount: Option<f64>,
    code: String,
    count: Option<u32>,
    paid: Option<Paid>,
    day: Option<String>,
    took: Option<String>,
    total: Option<f64>,
}

/// The cells of a row are what the fields say: a code keeps its zeros, a count is an integer, an empty cell is none.
#[test]
fn rows_are_values_of_a_type() {
    for file in ["kinds.xlsx", "kinds-1904.xlsx", "kinds.xls", "kinds-1904.xls", "kinds.ods"] {
        let read: Vec<Result<(u64, Invoice), String>> = rows::<Invoice>(spreadsheet(file))
            .unwrap()
            .map(|row| row.map(|row| (row.line, row.value)).map_err(|error| error.to_string()))
            .collect();
        let invoice = |reference: &str, amount: Option<f64>, code: &str, count, paid| Invoice {
            reference: reference.to_owned(),
            amount,
            code: code.to_owned(),
            count,
            paid,
            day: amount.map(|_| "2026-09-01".to_owned()),
            took: amount.map(|_| "PT36H30M".to_owned()),
            total: amount.map(|amount| amount * 2.0),
        };
        let expected = [
            Ok((4, invoice("R-1", Some(20.4), "007", Some(3), Some(Paid::True)))),
            Ok((6, invoice("R-2", Some(20.0), "12", Some(1_000_000), Some(Paid::False)))),
            Err("line 8: cell J8 has the error #N/A".to_owned()),
            Ok((9, invoice("R-4", None, "010", None, None))),
        ];
        assert_eq!(read, expected, "{file}");
    }
    // A type that does not read the column does not meet the error in it.
    #[derive(Deserialize)]
    struct OnlyReference {
        #[serde(rename = "Reference")]
        reference: String,
    }
    let read = rows::<OnlyReference>(spreadsheet("kinds.xlsx")).unwrap();
    let read: Vec<String> = read.map(|row| row.unwrap().value.reference).collect();
    assert_eq!(read, ["R-1", "R-2", "R-3", "R-4"]);
}

/// A value without a type has the types that an import gives it.
#[test]
fn untyped_rows_are_as_an_import_reads_them() {
    let read: Vec<Value> =
        rows(spreadsheet("odd-values.xlsx")).unwrap().filter_map(Result::ok).map(|row| row.value).collect();
    let expected = [
        json!({"number": 0.3, "text": "1", "day": "2026-09-01"}),
        json!({"number": 1e300, "text": "=1+1", "day": "9999-12-31"}),
    ];
    assert_eq!(read, expected);
    let refused: Vec<String> = rows::<Value>(spreadsheet("odd-values.xlsx"))
        .unwrap()
        .filter_map(|row| row.err().map(|error| error.to_string()))
        .collect();
    let expected = [
        "line 3: cell C3 is formatted as a date, and 60 is not a date",
        "line 4: cell C4 is formatted as a date, and -1 is not a date",
    ];
    assert_eq!(refused, expected);
    let texts = Table::new(spreadsheet("odd-values.xlsx")).rows::<(f64, String)>().unwrap();
    let texts: Vec<(f64, String)> = texts.map(|row| row.unwrap().value).collect();
    assert_eq!(texts[1], (-1.5, "two\nlines".to_owned()));
    assert_eq!(texts[2], (9_007_199_254_740_992.0, " spaces ".to_owned()));
}

#[test]
fn a_sheet_is_named_or_numbered() {
    for file in ["kinds.xlsx", "kinds.xls", "kinds.ods"] {
        let table = Table::new(spreadsheet(file));
        for sheet in ["March 2026", "4"] {
            let read: Vec<Value> =
                table.clone().sheet(sheet).rows().unwrap().map(|row| row.unwrap().value).collect();
            assert_eq!(read, [json!({"n": 7})], "{file}");
        }
        let unknown = table.clone().sheet("April").rows::<Value>().unwrap_err();
        assert!(unknown.is_usage(), "{unknown}");
        let list = "\"Empty\" (1), \"Notes\" (2, hidden), \"Invoices\" (3), \"March 2026\" (4)";
        assert!(unknown.to_string().contains(list), "{unknown}");
    }
}

/// CSV as the world writes it is read for a dispatcher, too, and JSON.
#[test]
fn other_files_are_read_the_same_way() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Amount {
        name: String,
        amount: f64,
    }
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let windows =
        file("german.csv", b"name;amount\r\nZo\xeb;1.234,50\r\n;;\r\n\"a;\r\nb\";12\r\nx\r\ny;1.5\r\n");
    let table = Table::new(windows).encoding("windows-1252").decimal_comma(true);
    let read: Vec<Result<(u64, Amount), RowError>> =
        table.rows().unwrap().map(|row| row.map(|row| (row.line, row.value))).collect();
    let amount = |name: &str, amount| Amount { name: name.to_owned(), amount };
    assert_eq!(read[0], Ok((2, amount("Zoë", 1234.5))));
    assert_eq!(read[1], Ok((4, amount("a;\r\nb", 12.0))));
    let refused: Vec<(u64, &str)> = read[2..]
        .iter()
        .map(|row| row.as_ref().unwrap_err())
        .map(|error| (error.line(), error.message()))
        .collect();
    let expected = [
        (6, "the row has 1 cell, and there are 2 columns"),
        (7, "column \"amount\": \"1.5\" is not a number"),
    ];
    assert_eq!(refused, expected);
    assert!(read[2..].iter().all(|row| !row.as_ref().unwrap_err().ends_the_file()));

    for (name, bytes) in [
        ("rows.jsonl", "{\"name\":\"a\",\"amount\":1.5}\n\n{\"name\":1}\n"),
        ("rows.json", "[{\"name\":\"a\",\"amount\":1.5},\n\n{\"name\":1}]"),
    ] {
        let read: Vec<Result<_, RowError>> = rows::<Amount>(file(name, bytes.as_bytes())).unwrap().collect();
        assert_eq!(read[0].as_ref().unwrap().value, amount("a", 1.5));
        assert_eq!(read[1].as_ref().unwrap_err().line(), 3, "{read:?}");
    }
    // A file that cannot be read to its end says so once, and then ends.
    let broken: Vec<Result<_, RowError>> =
        rows::<Amount>(file("broken.jsonl", b"{\"name\":\"a\",\"amount\":1}\n\xff\n")).unwrap().collect();
    assert!(broken.len() == 2 && broken[1].as_ref().unwrap_err().ends_the_file(), "{broken:?}");
    let unknown = rows::<Amount>(file("rows.dat", b"")).unwrap_err();
    assert!(unknown.to_string().contains("format"), "{unknown}");
    let given = Table::new(file("rows.dat", b"name,amount\na,1\n")).format(Format::Csv).rows::<Amount>();
    assert_eq!(given.unwrap().count(), 1);
}

fn refusal(path: &Path) -> String {
    match Table::new(path).format(Format::Sheet).rows::<Value>() {
        Ok(rows) => panic!("{} is read: {:?}", path.display(), rows.collect::<Vec<_>>()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_the_reason() {
    for (file, says) in [
        ("password.xlsx", "protected with a password"),
        ("password.ods", "protected with a password"),
        ("empty.xlsx", "nothing is in any visible sheet; the sheets are \"One\" (1), \"Two\" (2, hidden)"),
        ("wide.xls", "span more than 4000000 cells"),
        ("repeated.ods", "more than 4 GiB"),
        ("make.py", "the file is not a spreadsheet: it begins with \"\\\"\\\"\\\"Writes the spread\""),
    ] {
        let refused = refusal(&spreadsheet(file));
        assert!(refused.starts_with(file) && refused.contains(says), "{file}: {refused}");
    }
}

/// Whatever is cut off or changed in a file, it is read or refused, and nothing panics outside.
#[test]
fn damaged_files_are_read_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut random = 17_u64;
    let mut next = move |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(random >> 33).unwrap() % below
    };
    let mut refused = 0;
    for file in ["kinds.xlsx", "kinds.xls", "kinds.ods"] {
        let whole = fs::read(spreadsheet(file)).unwrap();
        for round in 0..150 {
            let mut bytes = whole.clone();
            if round % 3 == 0 {
                bytes.truncate(next(whole.len()));
            } else {
                for _ in 0..=round % 5 {
                    let at = next(whole.len());
                    bytes[at] = u8::try_from(next(256)).unwrap();
                }
            }
            fs::write(&path, &bytes).unwrap();
            match Table::new(&path).format(Format::Sheet).rows::<Value>() {
                Ok(rows) => drop(rows.count()),
                Err(error) => {
                    assert!(!error.is_usage(), "{error}");
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 150, "the damage is seen: {refused}");
}

/// An `.xls` in which the entry of a sheet ends before its name: its reader looks for the name all the same, and panics.
#[test]
fn a_panic_of_a_reader_is_an_error() {
    let mut bytes = fs::read(spreadsheet("kinds.xls")).unwrap();
    let at = bytes.windows(4).position(|bytes| matches!(bytes, [0x85, 0, 8..20, 0])).unwrap();
    bytes[at + 2] = 4;
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    let refused = refusal(file.path());
    assert!(refused.ends_with("the spreadsheet is broken, and cannot be read"), "{refused}");
}

/// An .xlsx with these parts beside those of a real one.
fn xlsx_with(part: &str, xml: &[u8]) -> tempfile::NamedTempFile {
    let real = fs::read(spreadsheet("merged.xlsx")).unwrap();
    let mut archive = zip::ZipArchive::new(Cursor::new(real)).unwrap();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let mut writer = zip::ZipWriter::new(file.as_file_mut());
    for at in 0..archive.len() {
        let entry = archive.by_index(at).unwrap();
        if entry.name().unwrap() != part {
            writer.raw_copy_file(entry).unwrap();
        }
    }
    writer.start_file(part, SimpleFileOptions::default()).unwrap();
    writer.write_all(xml).unwrap();
    writer.finish().unwrap();
    file
}

/// A file of a few kilobytes that unpacks to more than its reader could keep is refused before it is read.
#[test]
fn bombs_are_refused() {
    let sheet =
        |cells: &str| format!("<worksheet><sheetData><row r=\"1\">{cells}</row></sheetData></worksheet>");
    let long = sheet(&format!("<c r=\"A1\" t=\"str\"><v>{}</v></c>", "x".repeat(40 << 20)));
    let in_parts = sheet(&format!(
        "<c r=\"A1\" t=\"inlineStr\"><is>{}</is></c>",
        "<r><t>xxxxxxxx</t></r>".repeat(2 << 20)
    ));
    let texts = format!("<sst>{}</sst>", "<si/>".repeat(8 << 20));
    let hidden = sheet(&format!("<c>{}</c>", "<si></si>".repeat(4 << 20)));
    for (part, xml, says) in [
        ("xl/worksheets/sheet1.xml", long, "one value is longer than 16 MiB"),
        ("xl/worksheets/sheet1.xml", in_parts, "one value is longer than 16 MiB"),
        ("xl/worksheets/sheet1.xml", sheet(&"<x>".repeat(1_000)), "nested more than 256 deep"),
        ("xl/sharedStrings.xml", texts, "need more than 256 MiB of memory"),
        (
            "xl/sharedStrings.xml",
            "<sst uniqueCount=\"99999999999999\"></sst>".to_owned(),
            "need more than 256 MiB of memory",
        ),
        ("xl/worksheets/sheet1.xml", hidden, "one value is longer than 16 MiB"),
    ] {
        let file = xlsx_with(part, xml.as_bytes());
        let size = file.as_file().metadata().unwrap().len();
        assert!(size < 400_000, "{size}");
        let refused = refusal(file.path());
        assert!(refused.contains(&format!("{part}: ")) && refused.contains(says), "{refused}");
    }
    let mut many = tempfile::NamedTempFile::new().unwrap();
    let mut writer = zip::ZipWriter::new(many.as_file_mut());
    for part in 0..10_001 {
        writer.start_file(format!("{part}"), SimpleFileOptions::default()).unwrap();
    }
    writer.finish().unwrap();
    assert!(refusal(many.path()).contains("more than 10000 files"));
}
