//! `performer item import` of spreadsheets, decimal commas and ragged rows, and the file of refused rows. The spreadsheets are those
//! of `crates/tables/tests/spreadsheets`, which `make.py` there wrote.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::{Value, json};
use zip::write::SimpleFileOptions;

use super::import::{Files, contents};
use super::{done, json as answer, text};

const KINDS: [&str; 5] = ["kinds.xlsx", "kinds-1904.xlsx", "kinds.xls", "kinds-1904.xls", "kinds.ods"];

fn spreadsheet(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../tables/tests/spreadsheets");
    fs::read(Path::new(folder).join(name)).unwrap()
}

impl Files {
    fn import_sheet(&self, name: &str, options: &[&str]) -> Output {
        self.import(name, spreadsheet(name), options)
    }
}

/// Each kind of cell in each format: numbers keep their digits and texts their zeros, dates are texts of ISO 8601, formulas have
/// their values, an error is refused with the name of its cell, and lines are the numbers of the rows.
#[test]
fn each_kind_of_cell_is_imported() {
    let first = json!({
        "amount": 20.4, "code": "007", "count": 3, "paid": true, "day": "2026-09-01", "at": "2026-09-01T14:30:00",
        "time": "14:30:00", "took": "PT36H30M", "total": 40.8, "label": "R-1!",
    });
    let second = json!({
        "amount": 20, "code": "12", "count": 1_000_000, "paid": false, "day": "2026-09-01", "at": "2026-09-01T14:30:00",
        "time": "14:30:00", "took": "PT36H30M", "total": 40, "label": "R-2!",
    });
    let last = json!({
        "amount": null, "code": "010", "count": null, "paid": null, "day": null, "at": null, "time": null, "took": null,
        "total": null, "label": null,
    });
    for file in KINDS {
        let files = Files::new();
        let output = files.import_sheet(file, &[]);
        let (told, said) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{file}: {said}");
        assert!(said.contains("line 8: cell J8 has the error #N/A"), "{file}: {said}");
        // Between the rows two are empty; those above the header are not counted.
        assert!(
            told.starts_with("3 items were added to \"Q\", 1 rows were refused, 2 rows without any value"),
            "{file}: {told}"
        );
        let items = files.items();
        assert_eq!(contents(&items), [first.clone(), second.clone(), last.clone()], "{file}");
        let fields: Vec<Value> =
            items.iter().map(|item| json!([item["Reference"], item["DueDate"]])).collect();
        let due = "2031-09-01T00:00:00Z";
        assert_eq!(Value::from(fields), json!([["R-1", due], ["R-2", due], ["R-4", null]]), "{file}");
    }
}

#[test]
fn a_sheet_is_chosen_by_name_or_number() {
    for file in ["kinds.xlsx", "kinds.xls", "kinds.ods"] {
        let files = Files::new();
        for (sheet, expected) in [("March 2026", json!({"n": 7})), ("4", json!({"n": 7}))] {
            let output = files.import_sheet(file, &["--sheet", sheet, "--dry-run"]);
            assert!(text(&output.stdout).starts_with("1 items could"), "{file}: {}", text(&output.stderr));
            files.import_sheet(file, &["--sheet", sheet]);
            assert_eq!(contents(&files.items()).last(), Some(&expected), "{file}");
        }
        // A hidden sheet is read when it is named.
        let hidden = files.import_sheet(file, &["--sheet", "Notes"]);
        assert_eq!(hidden.status.code(), Some(0), "{file}: {}", text(&hidden.stderr));
        let count = files.items().len();
        for (sheet, code, says) in [
            (
                "April",
                2,
                "there is no sheet \"April\"; the sheets are \"Empty\" (1), \"Notes\" (2, hidden), \"Invoices\" (3)",
            ),
            ("0", 2, "there is no sheet \"0\""),
            ("Empty", 1, "nothing is in the sheet \"Empty\"; nothing was added"),
        ] {
            let refused = files.import_sheet(file, &["--sheet", sheet]);
            assert_eq!(refused.status.code(), Some(code), "{file}: {}", text(&refused.stdout));
            assert!(text(&refused.stderr).contains(says), "{file}: {}", text(&refused.stderr));
        }
        assert_eq!(files.items().len(), count, "{file}");
    }
    let files = Files::new();
    for (options, says) in [
        (&["--delimiter", ";"][..], "only be used with CSV"),
        (&["--encoding", "utf-8"], "only be used with CSV and JSON"),
    ] {
        let refused = files.import_sheet("kinds.xlsx", options);
        assert!(
            refused.status.code() == Some(2) && text(&refused.stderr).contains(says),
            "{}",
            text(&refused.stderr)
        );
    }
    let csv = files.import("rows.csv", "n\n1\n", &["--sheet", "1"]);
    assert!(
        csv.status.code() == Some(2) && text(&csv.stderr).contains("a spreadsheet"),
        "{}",
        text(&csv.stderr)
    );
}

/// The value of merged cells belongs to the upper left one; the others are empty, whatever a program left behind it.
#[test]
fn merged_cells_have_one_value() {
    let expected = [
        json!({"group": "A", "n": 1, "note": null}),
        json!({"group": null, "n": 2, "note": null}),
        json!({"group": "B", "n": 3, "note": "both"}),
        json!({"group": null, "n": 4, "note": null}),
    ];
    for file in ["merged.xlsx", "merged.xls", "merged.ods"] {
        assert_eq!(contents(&Files::imported(file, spreadsheet(file), &[])), expected, "{file}");
    }
}

#[test]
fn the_types_of_columns_are_asked_for_as_in_csv() {
    let texts = Files::imported("odd-values.xlsx", spreadsheet("merged.xlsx"), &["--text", "N"]);
    assert_eq!(contents(&texts)[0], json!({"group": "A", "n": "1", "note": null}));
    let files = Files::new();
    let numbers = files.import_sheet("odd-values.xlsx", &["--number", "text"]);
    let said = text(&numbers.stderr);
    assert!(said.contains("line 3: column \"text\": \"two\\nlines\" is not a number"), "{said}");
    assert_eq!(contents(&files.items()), [json!({"number": 0.3, "text": 1, "day": "2026-09-01"})]);
    let dates = text(&files.import_sheet("odd-values.xlsx", &[]).stderr);
    assert!(dates.contains("line 3: cell C3 is formatted as a date, and 60 is not a date"), "{dates}");
    assert!(dates.contains("line 4: cell C4 is formatted as a date, and -1 is not a date"), "{dates}");
    // The row of the header is the first one that is not empty, or the one that is asked for.
    let lower = Files::imported("merged.xlsx", spreadsheet("merged.xlsx"), &["--header", "4"]);
    assert_eq!(contents(&lower), [json!({"B": null, "3": 4, "both": null})]);
    let csv = Files::imported("rows.csv", "A report\n\na;b\n1;2\n", &["--header", "2", "--delimiter", ";"]);
    assert_eq!(contents(&csv), [json!({"a": 1, "b": 2})]);
}

#[test]
fn a_formula_without_a_value_is_refused() {
    let files = Files::new();
    let output = files.import_sheet("formula-without-value.xlsx", &[]);
    let said = text(&output.stderr);
    assert!(said.contains("line 2: cell B2 has a formula whose value is not in the file"), "{said}");
    assert_eq!(contents(&files.items()), [json!({"n": 2, "twice": 4, "day": null})]);
}

#[test]
fn what_is_no_spreadsheet_is_refused_before_anything_is_added() {
    let files = Files::new();
    let cut = spreadsheet("kinds.xlsx")[..4_000].to_vec();
    let cut_xls = spreadsheet("kinds.xls")[..2_000].to_vec();
    for (name, bytes, says) in [
        ("password.xlsx", spreadsheet("password.xlsx"), "protected with a password; save it without one"),
        ("password.xls", spreadsheet("password.xlsx"), "protected with a password; save it without one"),
        ("password.ods", spreadsheet("password.ods"), "protected with a password; save it without one"),
        ("cut.xlsx", cut, "the spreadsheet is broken"),
        ("cut.xls", cut_xls, "the spreadsheet is broken"),
        ("wide.xls", spreadsheet("wide.xls"), "save the file as .xlsx"),
        ("repeated.ods", spreadsheet("repeated.ods"), "more than 4 GiB"),
        ("text.xls", b"a\tb\n1\t2\n".to_vec(), "is not a spreadsheet: it begins with \"a\\tb"),
        ("empty.xlsx", spreadsheet("empty.xlsx"), "nothing is in any visible sheet"),
        ("none.xlsx", Vec::new(), "is not a spreadsheet"),
    ] {
        let refused = files.import(name, bytes, &[]);
        let said = text(&refused.stderr);
        assert_eq!(refused.status.code(), Some(1), "{name}: {}", text(&refused.stdout));
        assert!(
            said.contains(name) && said.contains(says) && said.contains("nothing was added"),
            "{name}: {said}"
        );
        assert_eq!(said.lines().count(), 1, "{name}: {said}");
    }
    assert!(files.items().is_empty());
    // What has the name of a text is no text.
    let csv = files.import("rows.csv", spreadsheet("kinds.xlsx"), &[]);
    assert!(text(&csv.stderr).contains("--format sheet"), "{}", text(&csv.stderr));
    let given = files.import("rows.csv", spreadsheet("merged.ods"), &["--format", "sheet"]);
    assert_eq!(given.status.code(), Some(0), "{}", text(&given.stderr));
}

/// A file of a few hundred kilobytes whose texts would need gigabytes.
#[cfg(target_os = "linux")]
#[test]
fn a_bomb_is_refused_in_bounded_memory() {
    let files = Files::new();
    let mut writer = zip::ZipWriter::new(fs::File::create(files.path().join("bomb.xlsx")).unwrap());
    for (part, xml) in [
        ("[Content_Types].xml", "<Types/>".to_owned()),
        ("xl/sharedStrings.xml", format!("<sst>{}</sst>", "<si><t>x</t></si>".repeat(6 << 20))),
    ] {
        writer.start_file(part, SimpleFileOptions::default()).unwrap();
        writer.write_all(xml.as_bytes()).unwrap();
    }
    writer.finish().unwrap();
    assert!(fs::metadata(files.path().join("bomb.xlsx")).unwrap().len() < 1_000_000);
    let mut import = files.of(&["item", "import", "Q", "bomb.xlsx"]).stderr(Stdio::piped()).spawn().unwrap();
    let mut most = 0;
    // The memory of the process is seen until it has ended.
    while import.try_wait().unwrap().is_none() {
        let status = fs::read_to_string(format!("/proc/{}/status", import.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0));
    }
    let output = import.wait_with_output().unwrap();
    assert!(text(&output.stderr).contains("more than 256 MiB of memory"), "{}", text(&output.stderr));
    assert!((1..200_000).contains(&most), "{most} KB");
}

/// A sheet is imported as a file of CSV is: checked on request, in one transaction, continued.
#[test]
fn an_import_of_a_sheet_is_resumed() {
    let files = Files::new();
    let at_once = files.import_sheet("kinds.ods", &["--all-or-nothing"]);
    assert_eq!(at_once.status.code(), Some(1), "{}", text(&at_once.stdout));
    assert!(files.items().is_empty());
    let dry = files.import_sheet("kinds.xlsx", &["--dry-run", "--json"]);
    let counted: Value = serde_json::from_str(&text(&dry.stdout)).unwrap();
    assert_eq!(counted, json!({"Added": 3, "Refused": 1, "Empty": 2}));

    files.write("rows.xlsx", spreadsheet("merged.xlsx"));
    files.sql(
        "CREATE TRIGGER refuses BEFORE INSERT ON item WHEN NEW.content LIKE '%\"n\":3%' \
         BEGIN SELECT RAISE(ABORT, 'the test says no'); END",
    );
    let broken = files.of(&["item", "import", "Q", "rows.xlsx"]).output().unwrap();
    assert!(text(&broken.stderr).contains("the test says no"), "{}", text(&broken.stderr));
    files.sql("DROP TRIGGER refuses");
    let resume = |options: &[&str]| {
        let arguments = [&["item", "import", "Q", "rows.xlsx", "--resume", "--json"], options].concat();
        answer(files.of(&arguments))
    };
    assert_eq!(resume(&[]), json!({"Added": 4, "Refused": 0, "Skipped": 0}));
    assert_eq!(resume(&[]), json!({"Added": 0, "Refused": 0, "Skipped": 4}));
    // Values of another sheet are other rows, though the file has the name.
    files.write("rows.xlsx", spreadsheet("odd-values.xlsx"));
    let changed = files.of(&["item", "import", "Q", "rows.xlsx", "--resume"]).output().unwrap();
    assert!(text(&changed.stderr).contains("other contents"), "{}", text(&changed.stderr));
    assert_eq!(files.items().len(), 4);
}

#[test]
fn a_sheet_comes_through_a_pipe() {
    let files = Files::new();
    let mut import =
        files.of(&["item", "import", "Q", "-", "--format", "sheet"]).stdin(Stdio::piped()).spawn().unwrap();
    import.stdin.take().unwrap().write_all(&spreadsheet("merged.ods")).unwrap();
    assert!(import.wait().unwrap().success());
    assert_eq!(files.items().len(), 4);
}

#[test]
fn a_decimal_comma_is_read_on_request() {
    let file = "name;net;gross\r\nA;1.234,50;1,5\r\nB;7;-0,25\r\nC;\"2 000,00\";3\r\n";
    let items = Files::imported("rows.csv", file, &["--decimal-comma"]);
    let expected = [
        json!({"name": "A", "net": 1234.5, "gross": 1.5}),
        json!({"name": "B", "net": 7, "gross": -0.25}),
        json!({"name": "C", "net": 2000.0, "gross": 3}),
    ];
    assert_eq!(contents(&items), expected);
    let without = Files::imported("rows.csv", file, &[]);
    assert_eq!(contents(&without)[1], json!({"name": "B", "net": "7", "gross": "-0,25"}));
    let files = Files::new();
    let refused =
        files.import("rows.csv", "n\n1,5\n1.5\n", &["--decimal-comma", "--number", "n", "--delimiter", ";"]);
    assert!(
        text(&refused.stderr).contains("line 3: column \"n\": \"1.5\" is not a number"),
        "{}",
        text(&refused.stderr)
    );
    // Numbers of a sheet are numbers, and have no comma.
    let sheet = Files::imported("merged.xlsx", spreadsheet("merged.xlsx"), &["--decimal-comma"]);
    assert_eq!(contents(&sheet)[0]["n"], json!(1));
    assert_eq!(files.import("rows.jsonl", "{}\n", &["--decimal-comma"]).status.code(), Some(2));
}

/// The refused rows are in a file that is imported again when they are corrected: the types of their columns are those of the whole
/// file, and what is said about them is not imported.
#[test]
fn refused_rows_are_corrected_and_imported() {
    let files = Files::new();
    let file = "Reference;code;net;Priority\r\nA;007;1,5;\r\nB;12;2,5;Urgent\r\nC;13;3,5\r\n\"D;\nd\";14;4,5;\r\nE;;x;Low;more\r\n";
    let import = |name: &str, options: &[&str]| {
        files.of(&[&["item", "import", "Q", name, "--decimal-comma"], options].concat()).output().unwrap()
    };
    files.write("rows.csv", file);
    let output = import("rows.csv", &["--refused", "refused.csv"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    let written = fs::read_to_string(files.path().join("refused.csv")).unwrap();
    let types = "text text comma-number text";
    let expected = [
        "\u{feff}Refused.Line;Refused.Reason;Refused.Types;Reference;code;net;Priority\r\n".to_owned(),
        format!("4;the row has 3 cells, and there are 4 columns;{types};C;13;3,5\r\n"),
        format!("7;the row has 5 cells, and there are 4 columns;{types};E;;x;Low;more\r\n"),
    ];
    for part in expected {
        assert!(written.contains(&part), "{part:?}: {written}");
    }
    assert!(written.contains(&format!(";{types};B;12;2,5;Urgent\r\n")), "{written}");
    assert!(written.contains(&format!(";{types};\"D;\nd\";14;4,5;\r\n")), "{written}");
    assert_eq!(files.items().len(), 1);

    // As it is, each is refused again, and written once more without a second reason.
    let again = import("refused.csv", &["--refused", "again.csv"]);
    assert_eq!(again.status.code(), Some(3), "{}", text(&again.stderr));
    let header = fs::read_to_string(files.path().join("again.csv")).unwrap();
    assert_eq!(header.matches("Refused.Reason").count(), 1, "{header}");
    assert!(header.contains("C;13;3,5\r\n"), "{header}");
    // Without --decimal-comma, too: the file knows it.
    let corrected = written
        .replace("C;13;3,5\r\n", "C;13;3,5;\r\n")
        .replace("E;;x;Low;more", "E;;7;Low")
        .replace("\"D;\nd\"", "D")
        .replace("Urgent", "High");
    files.write("corrected.csv", corrected);
    done(files.of(&["item", "import", "Q", "corrected.csv", "--refused", "none.csv"]));
    assert!(!files.path().join("none.csv").exists(), "no row was refused");
    let expected = [
        json!({"code": "007", "net": 1.5}),
        json!({"code": "12", "net": 2.5}),
        json!({"code": "13", "net": 3.5}),
        json!({"code": "14", "net": 4.5}),
        json!({"code": null, "net": 7}),
    ];
    assert_eq!(contents(&files.items()), expected);
}

#[test]
fn refused_rows_of_json_and_of_sheets_are_corrected_and_imported() {
    let files = Files::new();
    let lines =
        "{\"n\":1}\n{\"n\":20.40,\"n\":[2]}\n[3]\n{\"Priority\":\"soon\",\"n\":100000000000000000001}\n";
    let refused = files.import("rows.jsonl", lines, &["--refused", "refused.jsonl"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    let written = fs::read_to_string(files.path().join("refused.jsonl")).unwrap();
    let rows: Vec<&str> = written.lines().collect();
    assert_eq!(rows.len(), 4, "{written}");
    assert!(
        rows[0].starts_with("{\"Refused.Line\":2,\"Refused.Reason\":\"the name \\\"n\\\" is there twice"),
        "{written}"
    );
    assert!(rows[0].ends_with(",\"n\":20.40,\"n\":[2]}"), "{written}");
    assert!(rows[1].starts_with("{\"Refused.Line\":3,") && rows[2] == "[3]", "{written}");
    assert!(rows[3].ends_with(",\"Priority\":\"soon\",\"n\":100000000000000000001}"), "{written}");
    let as_it_is = files.import("refused.jsonl", &written, &[]);
    assert!(
        text(&as_it_is.stdout).contains("0 items were added to \"Q\", 3 rows were refused"),
        "{}",
        text(&as_it_is.stdout)
    );
    let corrected = written.replace(",\"n\":[2]", "").replace("[3]\n", "{\"n\":3}\n").replace("soon", "Low");
    let corrected = corrected.replace("\"n\":100000000000000000001", "\"n\":\"100000000000000000001\"");
    files.import("corrected.jsonl", corrected, &[]);
    let expected =
        [json!({"n": 1}), json!({"n": 20.4}), json!({"n": 3}), json!({"n": "100000000000000000001"})];
    assert_eq!(contents(&files.items()), expected);
    // An array of JSON has its refused rows as lines.
    files.import("rows.json", "[{\"n\":4},\n {\"n\":\n 5, \"Priority\": 9}]", &["--refused", "array.jsonl"]);
    let array = fs::read_to_string(files.path().join("array.jsonl")).unwrap();
    assert!(
        array.starts_with("{\"Refused.Line\":2,") && array.ends_with("\"n\":5,\"Priority\":9}\n"),
        "{array}"
    );

    let sheets = Files::new();
    let refused = sheets.import_sheet("kinds.xlsx", &["--refused", "refused.csv"]);
    assert_eq!(refused.status.code(), Some(3), "{}", text(&refused.stderr));
    let written = fs::read_to_string(sheets.path().join("refused.csv")).unwrap();
    let row = "8,cell J8 has the error #N/A,text number text number boolean text text text text number text text,R-3,,009,,,,,,,#N/A,,";
    assert!(written.contains(row), "{written}");
    // What is not corrected is refused again.
    assert_eq!(sheets.import("refused.csv", &written, &["--dry-run"]).status.code(), Some(3));
    let again = sheets.import("corrected.csv", written.replace(",,#N/A", ",,12.5"), &[]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stderr));
    let last = &contents(&sheets.items())[3];
    assert_eq!((&last["code"], &last["total"], &last["count"]), (&json!("009"), &json!(12.5), &Value::Null));
}

/// A row that only the queue refuses is in the file, too; and no file is written over.
#[test]
fn the_file_of_refused_rows_is_a_new_one() {
    let files = Files::new();
    done(files.of(&["queue", "create", "Unique", "--unique-reference"]));
    done(files.of(&["item", "add", "Unique", "--reference", "B"]));
    files.write("rows.csv", "Reference,n\nA,1\nB,2\nC,3\n");
    let import = |options: &[&str]| {
        files.of(&[&["item", "import", "Unique", "rows.csv"], options].concat()).output().unwrap()
    };
    let refused = |name: &str| fs::read_to_string(files.path().join(name)).unwrap();
    assert_eq!(import(&["--refused", "dry.csv", "--dry-run"]).status.code(), Some(3));
    assert!(refused("dry.csv").contains("text number,B,2\r\n"), "{}", refused("dry.csv"));
    assert_eq!(import(&["--refused", "refused.csv"]).status.code(), Some(3));
    let written = refused("refused.csv");
    assert!(written.contains("3,") && written.contains("text number,B,2\r\n"), "{written}");
    assert_eq!(written.lines().count(), 2, "{written}");

    for (name, says) in [
        ("refused.csv", "exists already"),
        ("rows.csv", "exists already"),
        ("refused.jsonl", "give the file of refused rows the extension .csv"),
        ("refused", "give the file of refused rows the extension .csv"),
    ] {
        let output = import(&["--refused", name]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(says), "{name}: {}", text(&output.stderr));
    }
    let nowhere = import(&["--refused", "nowhere/refused.csv"]);
    assert_eq!(nowhere.status.code(), Some(1), "{}", text(&nowhere.stderr));
    assert_eq!(refused("refused.csv"), written);
    let none = import(&["--refused", "none.csv", "--all-or-nothing"]);
    assert_ne!(none.status.code(), Some(0), "all of them are there");
}

#[test]
fn the_help_describes_sheets_and_refused_rows() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&super::run(folder.path(), &["item", "import", "--help"]).stdout);
    for word in ["--sheet", "--header", "--decimal-comma", "--refused", "#N/A", "merged cells", ".ods"] {
        assert!(help.contains(word), "{word}: {help}");
    }
}

#[test]
fn a_column_is_the_group_of_the_items() {
    let groups =
        |items: &[Value]| -> Vec<Value> { items.iter().map(|item| item["PerformerGroup"].clone()).collect() };
    let items = Files::imported("rows.csv", "Customer,Amount\n17850,1\n,2\n", &["--group", "Customer"]);
    assert_eq!(groups(&items), [json!("17850"), Value::Null]);
    assert_eq!(contents(&items)[0], json!({"Customer": 17_850, "Amount": 1}));
    let items = Files::imported("rows.csv", "PerformerGroup,Group\nwest,1\n", &[]);
    assert_eq!((groups(&items), contents(&items)), (vec![json!("west")], vec![json!({"Group": 1})]));
}
