//! `performer item import`: the formats of files, the errors that are found before anything is added, and the resumption of
//! interrupted imports.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use performer::model::Schemas;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{NewQueueDefinition, PerformerError};
use serde_json::{Value, json};

use super::{Server, command, done, json as answer, run, text};
use performer_proofs::postgres::Schema;

/// A folder with a queue in a file.
pub(super) struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    pub(super) fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        done(files.of(&["queue", "create", "Q"]));
        files
    }

    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path().join(name), bytes).unwrap();
    }

    pub(super) fn of(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:queues.db");
        command
    }

    /// Imports a file with these bytes.
    pub(super) fn import(&self, name: &str, bytes: impl AsRef<[u8]>, options: &[&str]) -> Output {
        self.write(name, bytes);
        self.of(&[&["item", "import", "Q", name], options].concat()).output().unwrap()
    }

    /// The items of a queue of its own, after a file with these bytes was imported.
    pub(super) fn imported(name: &str, bytes: impl AsRef<[u8]>, options: &[&str]) -> Vec<Value> {
        let files = Self::new();
        let output = files.import(name, bytes, options);
        assert_eq!(output.status.code(), Some(0), "{name}: {}", text(&output.stderr));
        files.items()
    }

    pub(super) fn items(&self) -> Vec<Value> {
        items(self.of(&["item", "list", "--queue", "Q", "--oldest", "--top", "100000", "--json"]))
    }

    pub(super) fn sql(&self, statement: &str) {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
        let file = rusqlite::Connection::open_with_flags(self.path().join("queues.db"), flags).unwrap();
        file.execute_batch(statement).unwrap();
    }
}

fn items(command: Command) -> Vec<Value> {
    answer(command).as_array().cloned().unwrap()
}

pub(super) fn contents(items: &[Value]) -> Vec<Value> {
    items.iter().map(|item| item["SpecificContent"].clone()).collect()
}

#[test]
fn the_delimiter_is_detected() {
    let expected = [json!({"A": "x", "B": 1}), json!({"A": "y", "B": 2})];
    for (name, file, options) in [
        ("rows.csv", "A;B\nx;1\ny;2\n", &[][..]),
        ("rows.csv", "A\tB\r\nx\t1\r\ny\t2\r\n", &[]),
        ("rows.csv", "A|B\nx|1\ny|2\n", &[]),
        ("rows.csv", "sep=;\r\nA;B\r\nx;1\r\ny;2\r\n", &[]),
        ("rows.csv", "A,B\rx,1\ry,2\r", &[]),
        ("rows.csv", "A^B\nx^1\ny^2\n", &["--delimiter", "^"]),
        ("rows.csv", "A;B\nx;1\ny;2\n", &["--separator", ";"]),
        ("rows.tsv", "A\tB\nx\t1\ny\t2\n", &[]),
        ("rows.txt", "A\tB\nx\t1\ny\t2\n", &["--delimiter", "tab"]),
    ] {
        assert_eq!(contents(&Files::imported(name, file, options)), expected, "{file:?}");
    }
    let files = Files::new();
    let both = files.import("rows.csv", "Name, Vorname;Betrag\nMaier, Anna;12\n", &[]);
    assert_eq!(both.status.code(), Some(2), "{}", text(&both.stdout));
    assert!(text(&both.stderr).contains("--delimiter"), "{}", text(&both.stderr));
    assert!(files.items().is_empty());
}

#[test]
fn errors_in_a_file_are_found_before_anything_is_added() {
    let good: String = (0..3_000).map(|row| format!("{row},x\n")).collect();
    let good = format!("a,b\n{good}");
    for (name, file, line, says) in [
        ("open.csv", format!("{good}1,\"y\n2,z\n"), 3_002, "never closed"),
        ("closed.csv", format!("{good}1,\"y\" and more\n"), 3_002, "text follows"),
        ("open.tsv", "a\tb\r\n1\t2\r\n3\t\"x\r\n4\t5\r\n".to_owned(), 3, "never closed"),
        ("open.json", "[{\"a\":1},\n{\"a\":2}".to_owned(), 2, "not closed"),
        ("wrong.json", "[{\"a\":1},\n\n{\"a\":}]".to_owned(), 3, "not JSON"),
    ] {
        let files = Files::new();
        let output = files.import(name, file, &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(&format!("line {line}:")) && said.contains(says), "{name}: {said}");
        assert!(files.items().is_empty(), "{name}");
    }
    for (name, end) in [("late.csv", &b"1,Zo\xeb\n"[..]), ("late.jsonl", &b"{\"a\":\"Zo\xeb\"}\n"[..])] {
        let files = Files::new();
        let good = if name == "late.csv" { good.clone() } else { "{\"a\":1}\r\n".repeat(3_001) };
        let output = files.import(name, [good.as_bytes(), end].concat(), &[]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains("line 3002:") && said.contains("EB") && said.contains("--encoding"), "{said}");
        assert!(files.items().is_empty(), "{name}");
    }
    let quotes = Files::imported("quotes.tsv", "a\tb\n\"5 inch\t\"x\n", &["--no-quotes"]);
    assert_eq!(contents(&quotes), [json!({"a": "\"5 inch", "b": "\"x"})]);
}

#[test]
fn files_for_the_orchestrators_upload_are_accepted() {
    let file = "Reference;Deadline;Postpone;Priority;Amount\r\n\
                R-1;2031-09-01;2031/08/01 12:30;High;1\r\n\
                R-2;2031 09 01 23:59:59;;1;2\r\n\
                R-3;;2031-08-01 12:30:15;3;3\r\n\
                R-4;;;2;4\r\n";
    let items = Files::imported("upload.csv", file, &[]);
    let fields: Vec<Value> = items
        .iter()
        .map(|item| {
            json!([
                item["Reference"],
                item["DueDate"],
                item["DeferDate"],
                item["Priority"],
                item["SpecificContent"]
            ])
        })
        .collect();
    let expected = json!([
        ["R-1", "2031-09-01T00:00:00Z", "2031-08-01T12:30:00Z", "High", {"Amount": 1}],
        ["R-2", "2031-09-01T23:59:59Z", null, "Low", {"Amount": 2}],
        ["R-3", null, "2031-08-01T12:30:15Z", "High", {"Amount": 3}],
        ["R-4", null, null, "Normal", {"Amount": 4}],
    ]);
    assert_eq!(Value::from(fields), expected);

    let files = Files::new();
    let refused = files.import(
        "wrong.csv",
        "Reference,Deadline,Priority\r\nA,01.09.2031,Low\r\nB,2031-09-01,0\r\nC,,\r\n",
        &[],
    );
    let said = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("line 2: the due date") && said.contains("line 3: 0 is not a priority"), "{said}");
    assert_eq!(files.items().len(), 1);
    let kept = Files::imported("kept.csv", "Deadline,n\nFriday,1\n", &["--data", "deadline"]);
    assert_eq!(contents(&kept), [json!({"Deadline": "Friday", "n": 1})]);
    let in_json = Files::imported("rows.jsonl", "{\"Postpone\":\"2031-08-01\",\"Priority\":0}\n", &[]);
    assert_eq!(in_json[0]["DeferDate"], "2031-08-01T00:00:00Z");
    assert_eq!(in_json[0]["Priority"], "High", "numbers of the API, where the names are those of the API");
}

#[test]
fn a_column_has_one_type() {
    let file = "amount,code,iban,paid,note\n\
                20.45,007,100000000000000000000000000001,true,1\n\
                20.40,12,5,false,n/a\n\
                20,13,,,\n";
    let items = Files::imported("rows.csv", file, &[]);
    let expected = [
        json!({"amount": 20.45, "code": "007", "iban": "100000000000000000000000000001", "paid": true, "note": "1"}),
        json!({"amount": 20.4, "code": "12", "iban": "5", "paid": false, "note": "n/a"}),
        json!({"amount": 20, "code": "13", "iban": null, "paid": null, "note": null}),
    ];
    assert_eq!(contents(&items), expected);
    let said = Files::imported("rows.csv", "a,b,c\n1,007,1\n2,,2\n", &["--text", "A", "--number", "b"]);
    assert_eq!(contents(&said), [json!({"a": "1", "b": 7, "c": 1}), json!({"a": "2", "b": null, "c": 2})]);
    let texts = Files::imported("rows.csv", "a,b\n1,true\n", &["--texts"]);
    assert_eq!(contents(&texts), [json!({"a": "1", "b": "true"})]);

    let files = Files::new();
    let refused = files.import("rows.csv", "a\r\n1\r\nx\r\n123456789012345678901\r\n", &["--number", "a"]);
    let told = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(3), "{told}");
    assert!(told.contains("line 3: column \"a\": \"x\" is not a number"), "{told}");
    assert!(told.contains("line 4: column \"a\": \"123456789012345678901\" would lose digits"), "{told}");
    for options in [&["--text", "b"][..], &["--text", "a", "--number", "a"]] {
        assert_eq!(files.import("rows.csv", "a\n1\n", options).status.code(), Some(2), "{options:?}");
    }
    assert_eq!(files.import("rows.jsonl", "{\"a\":1}\n", &["--text", "a"]).status.code(), Some(2));
    assert_eq!(files.items().len(), 1);
}

/// Asks a robot for what a content has to be: a schema decides, whatever the cells look like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_schema_of_the_queue_decides_the_types() {
    let files = Files::new();
    let store = Store::sqlite(files.path().join("queues.db")).await.unwrap();
    let schema = json!({
        "type": "object",
        "properties": {
            "code": {"type": "string"}, "amount": {"type": "number"}, "paid": {"type": "boolean"}, "note": {"type": ["string", "null"]},
        },
        "required": ["code"],
    });
    let mut queue = NewQueueDefinition::new("Typed");
    queue.schemas = Schemas { specific_data: Some(schema.to_string().into()), ..Schemas::default() };
    store.create_queue(queue).await.unwrap();
    files.write("rows.csv", "code,amount,paid,note\n1,007.50,TRUE,\n,,,x\n3,abc,,\n");
    let output = files.of(&["item", "import", "Typed", "rows.csv"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("line 4: column \"amount\""), "{}", text(&output.stderr));
    let items = items(files.of(&["item", "list", "--queue", "Typed", "--oldest", "--json"]));
    let expected =
        [json!({"code": "1", "amount": 7.5, "paid": true, "note": null}), json!({"code": "", "note": "x"})];
    assert_eq!(contents(&items), expected);
}

#[test]
fn the_encoding_is_detected() {
    let file = "name,city\r\nZoë,Łódź\r\n";
    let expected = [json!({"name": "Zoë", "city": "Łódź"})];
    let utf_16 =
        |text: &str, bytes: fn(u16) -> [u8; 2]| -> Vec<u8> { text.encode_utf16().flat_map(bytes).collect() };
    for bytes in [
        format!("\u{feff}{file}").into_bytes(),
        utf_16(&format!("\u{feff}{file}"), u16::to_le_bytes),
        utf_16(&format!("\u{feff}{file}"), u16::to_be_bytes),
        utf_16(file, u16::to_le_bytes),
    ] {
        assert_eq!(contents(&Files::imported("rows.csv", &bytes, &[])), expected);
    }
    let windows =
        Files::imported("rows.csv", b"name;price\r\nZo\xeb;5 \x80\r\n", &["--encoding", "windows-1252"]);
    assert_eq!(contents(&windows), [json!({"name": "Zoë", "price": "5 €"})]);
    let lines = utf_16("\u{feff}{\"a\":\"ł\"}\r\n{\"a\":\"b\"}\r\n", u16::to_le_bytes);
    assert_eq!(contents(&Files::imported("rows.jsonl", lines, &[])), [json!({"a": "ł"}), json!({"a": "b"})]);
    let files = Files::new();
    let unknown = files.import("rows.csv", "a\n1\n", &["--encoding", "klingon"]);
    assert!(unknown.status.code() == Some(2) && text(&unknown.stderr).contains("windows-1252"));
}

#[test]
fn rows_are_reported_with_the_line_numbers_of_an_editor() {
    let files = Files::new();
    let file = "\u{feff}Reference,n\r\n\r\nA,1\r\n,\r\n\"B\r\nb\",2\r\nC\r\nD,4,5\r\nE,5,\r\n";
    let output = files.import("rows.csv", file, &[]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    // The reference of B has a line end, which no reference may have.
    for part in ["line 5: a reference", "line 7: the row has 1 cell,", "line 8: the row has 3 cells"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let told = text(&output.stdout);
    assert!(told.contains("2 items were added") && told.contains("3 rows were refused"), "{told}");
    assert!(told.contains("2 rows without any value were left out"), "{told}");
    assert_eq!(files.items().len(), 2);
    let counted = answer({
        files.write("more.csv", "n\n1\n \n");
        files.of(&["item", "import", "Q", "more.csv", "--json"])
    });
    assert_eq!(counted, json!({"Added": 1, "Refused": 0, "Empty": 1}));
    let lines = files.import("rows.jsonl", "{\"n\":1}\r\n\r\n{\"n\":1,\"n\":2}\r\n[1]\r\n", &["--json"]);
    let said = text(&lines.stderr);
    assert!(said.contains("line 3: the name \"n\" is there twice") && said.contains("line 4:"), "{said}");
    for (name, file, says) in [
        ("twice.csv", "a,b,a\n1,2,3\n", "two columns \"a\", the columns 1 and 3"),
        ("empty.csv", "", "no header line"),
        ("point.csv", "Net.amount\n1\n", "contains '.'"),
        ("same.csv", "Deadline,DueDate\n2031-01-01,2031-01-01\n", "the same field"),
    ] {
        let output = files.import(name, file, &[]);
        assert_eq!(output.status.code(), Some(1), "{name}");
        assert!(text(&output.stderr).contains(says), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn a_dry_run_checks_references() {
    let files = Files::new();
    done(files.of(&["queue", "create", "Unique", "--unique-reference"]));
    done(files.of(&["item", "add", "Unique", "--reference", "B"]));
    files.write("rows.csv", "Reference,n\r\nA,1\r\nB,2\r\nC,3\r\nA,4\r\n,5\r\n");
    for options in [&["--dry-run"][..], &[]] {
        let output =
            files.of(&[&["item", "import", "Unique", "rows.csv"], options].concat()).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(3), "{said}");
        assert!(said.contains("line 3:") && said.contains("\"B\""), "{said}");
        assert!(said.contains("line 5: the reference \"A\" is in line 2 already"), "{said}");
        assert!(said.contains("line 6:"), "{said}");
        assert!(text(&output.stdout).starts_with("2 items"), "{}", text(&output.stdout));
        assert!(text(&output.stdout).contains("3 rows were refused"), "{}", text(&output.stdout));
    }
    // In a queue that does not ask for it, references may be there twice.
    let twice = files.of(&["item", "import", "Q", "rows.csv"]).output().unwrap();
    assert!(text(&twice.stdout).starts_with("5 items"), "{}", text(&twice.stdout));
}

#[test]
fn item_add_accepts_the_times_of_an_import() {
    let files = Files::new();
    let added = answer(files.of(&[
        "item",
        "add",
        "Q",
        "--due",
        "2031/09/01 14:30",
        "--defer",
        "2031 08 01",
        "--json",
    ]));
    assert_eq!(added["DueDate"], "2031-09-01T14:30:00Z");
    assert_eq!(added["DeferDate"], "2031-08-01T00:00:00Z");
    let refused = files.of(&["item", "add", "Q", "--due", "01.09.2031"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("2026-09-01 14:30"), "{}", text(&refused.stderr));
}

#[test]
fn stdin_is_checked_like_a_file() {
    let files = Files::new();
    let piped = |bytes: &[u8]| {
        let mut child = files
            .of(&["item", "import", "Q", "-", "--format", "csv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(piped(b"a;b\n1;2\n1;\"2\n").status.code(), Some(1));
    assert!(files.items().is_empty());
    assert_eq!(piped(b"a;b\n1;2\n").status.code(), Some(0));
    assert_eq!(contents(&files.items()), [json!({"a": 1, "b": 2})]);
    let folder = files.of(&["item", "import", "Q", ".", "--format", "csv"]).output().unwrap();
    assert!(folder.status.code() == Some(1) && text(&folder.stderr).contains("is a folder"));
}

/// Rows enough for several calls.
fn rows(count: usize) -> String {
    let rows: String = (0..count).map(|row| format!("R-{row},{row}\n")).collect();
    format!("Reference,n\n{rows}")
}

/// From now on the database refuses the rows from this one on.
const REFUSES: &str = "CREATE TRIGGER refuses BEFORE INSERT ON item WHEN NEW.reference = 'R-2500' \
                       BEGIN SELECT RAISE(ABORT, 'the test says no'); END";

/// Every row is there once.
fn assert_once(items: &[Value], count: usize) {
    let mut numbers: Vec<i64> =
        items.iter().map(|item| item["SpecificContent"]["n"].as_i64().unwrap()).collect();
    numbers.sort_unstable();
    let expected: Vec<i64> = (0..i64::try_from(count).unwrap()).collect();
    assert_eq!(numbers.len(), count);
    assert_eq!(numbers, expected);
}

#[test]
fn an_interrupted_import_is_resumed() {
    for unique in [false, true] {
        let files = Files::new();
        let queue = if unique { "Unique" } else { "Q" };
        if unique {
            done(files.of(&["queue", "create", "Unique", "--unique-reference"]));
        }
        files.write("rows.csv", rows(3_500));
        let import = |options: &[&str]| {
            files.of(&[&["item", "import", queue, "rows.csv"], options].concat()).output().unwrap()
        };
        let list = || items(files.of(&["item", "list", "--queue", queue, "--top", "100000", "--json"]));
        files.sql(REFUSES);
        let broken = import(&[]);
        let said = text(&broken.stderr);
        assert_eq!(broken.status.code(), Some(1), "{said}");
        assert!(said.contains("2000 items were added") && said.contains("--resume"), "{said}");
        assert!(said.contains("the test says no"), "the cause is told: {said}");
        assert_eq!(list().len(), 2_000);
        files.sql("DROP TRIGGER refuses");
        // As if items had been removed since: their rows were done, and are not done again.
        files.sql("UPDATE item SET parent_operation_id = NULL WHERE reference IN ('R-3', 'R-4')");

        let tried = import(&["--resume", "--dry-run"]);
        let counted = "1500 items could be added";
        assert!(text(&tried.stdout).starts_with(counted), "{}", text(&tried.stdout));
        assert!(text(&tried.stdout).contains("2000 rows were done before"), "{}", text(&tried.stdout));
        assert_eq!(tried.status.code(), Some(0), "{}", text(&tried.stderr));
        // It added rows in calls, so it is not known to have added all or nothing.
        let at_once = import(&["--resume", "--all-or-nothing"]);
        assert_eq!(at_once.status.code(), Some(1), "{}", text(&at_once.stdout));
        assert_eq!(list().len(), 2_000);
        let resumed = import(&["--resume", "--json"]);
        assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
        let counted: Value = serde_json::from_str(&text(&resumed.stdout)).unwrap();
        assert_eq!(counted, json!({"Added": 1_500, "Refused": 0, "Skipped": 2_000}));
        assert_once(&list(), 3_500);
        let again = import(&["--resume"]);
        assert!(text(&again.stdout).starts_with("0 items were added"), "{}", text(&again.stdout));
        assert_eq!(list().len(), 3_500);

        // Of a file that was changed, or whose rows are others because it is read otherwise, what was added is not known.
        let otherwise = import(&["--resume", "--no-quotes"]);
        assert_eq!(otherwise.status.code(), Some(1), "{}", text(&otherwise.stdout));
        files.write("rows.csv", rows(3_600));
        let changed = import(&["--resume"]);
        assert_eq!(changed.status.code(), Some(1), "{}", text(&changed.stdout));
        assert!(text(&changed.stderr).contains("other contents"), "{}", text(&changed.stderr));
        assert_eq!(list().len(), 3_500);
    }
}

#[test]
fn a_resumed_import_without_items_begins_with_the_first_row() {
    let files = Files::new();
    let first = files.import("rows.csv", "n\n1\n", &["--resume"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("begins with the first row"), "{}", text(&first.stderr));
    // Without it the same file is another import, and adds everything.
    assert_eq!(files.import("rows.csv", "n\n1\n", &[]).status.code(), Some(0));
    assert_eq!(files.items().len(), 2);
    // What all rows at once have added is known as a whole.
    assert_eq!(files.import("all.csv", "n\n2\n3\n", &["--all-or-nothing"]).status.code(), Some(0));
    assert_eq!(
        files.import("all.csv", "n\n2\n3\n", &["--resume", "--all-or-nothing"]).status.code(),
        Some(0)
    );
    assert_eq!(files.items().len(), 4);
}

#[test]
fn an_import_over_http_is_resumed() {
    let files = Files::new();
    let server = Server::known(files.path(), &["--listen", "127.0.0.1:0", "--store", "sqlite:queues.db"]);
    files.write("rows.csv", rows(3_500));
    let import = |options: &[&str]| {
        let arguments = [&["item", "import", "Q", "rows.csv"], options].concat();
        server.command(files.path(), &arguments).output().unwrap()
    };
    done(server.command(files.path(), &["queue", "create", "Q", "--if-missing"]));
    files.sql(REFUSES);
    let broken = import(&[]);
    assert_eq!(broken.status.code(), Some(1), "{}", text(&broken.stdout));
    files.sql("DROP TRIGGER refuses");
    let resumed = import(&["--resume", "--json"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    let counted: Value = serde_json::from_str(&text(&resumed.stdout)).unwrap();
    assert_eq!(counted, json!({"Added": 1_500, "Refused": 0, "Skipped": 2_000}));
    let list = server.command(files.path(), &["item", "list", "--queue", "Q", "--top", "100000", "--json"]);
    assert_once(&items(list), 3_500);
}

#[test]
fn an_import_into_postgres_is_resumed() {
    let files = Files::new();
    let schema = Schema::new();
    let of = |arguments: &[&str]| {
        let mut command = command(files.path(), arguments);
        command.env("PERFORMER_URL", &schema.url);
        command
    };
    files.write("rows.csv", rows(3_500));
    let import =
        |options: &[&str]| of(&[&["item", "import", "Q", "rows.csv"], options].concat()).output().unwrap();
    done(of(&["queue", "create", "Q"]));
    schema.run(
        "CREATE FUNCTION {schema}.refuses() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'the test says no'; END $$; \
         CREATE TRIGGER refuses BEFORE INSERT ON {schema}.item FOR EACH ROW WHEN (NEW.reference = 'R-2500') \
         EXECUTE FUNCTION {schema}.refuses()",
    );
    let broken = import(&[]);
    assert_eq!(broken.status.code(), Some(1), "{}: {}", schema.name(), text(&broken.stdout));
    assert!(text(&broken.stderr).contains("the test says no"), "the cause is told: {}", text(&broken.stderr));
    schema.run("DROP TRIGGER refuses ON {schema}.item");
    let resumed = import(&["--resume", "--json"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    let counted: Value = serde_json::from_str(&text(&resumed.stdout)).unwrap();
    assert_eq!(counted, json!({"Added": 1_500, "Refused": 0, "Skipped": 2_000}));
    assert_once(&items(of(&["item", "list", "--queue", "Q", "--top", "100000", "--json"])), 3_500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_import_is_resumed() {
    let files = Files::new();
    let store = Store::sqlite(files.path().join("queues.db")).await.unwrap();
    files.write("rows.csv", rows(8_000));
    let mut import = files.of(&["item", "import", "Q", "rows.csv"]).spawn().unwrap();
    while store.queue_statistics("Q").await.unwrap().new < 2_000 {
        tokio::task::yield_now().await;
    }
    import.kill().unwrap();
    import.wait().unwrap();
    let resumed = files.of(&["item", "import", "Q", "rows.csv", "--resume"]).output().unwrap();
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    assert_once(&files.items(), 8_000);
}

struct Idle;

#[async_trait]
impl Transaction for Idle {
    type Content = Value;
    type Output = ();

    async fn process(&mut self, _: Value, _: &TransactionItem) -> Result<(), Exception> {
        Ok(())
    }
}

/// Why a statement was refused is told by the command and by a performer that cannot go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cause_of_an_error_is_shown() {
    let files = Files::new();
    done(files.of(&["item", "add", "Q"]));
    files.sql(
        "CREATE TRIGGER no_item BEFORE INSERT ON item BEGIN SELECT RAISE(ABORT, 'the test says no item'); END; \
         CREATE TRIGGER no_take BEFORE INSERT ON item_state BEGIN SELECT RAISE(ABORT, 'the test says no take'); END;",
    );
    let refused = files.of(&["item", "add", "Q"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("refused a statement"), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("the test says no item"), "{}", text(&refused.stderr));

    let store = Arc::new(Store::sqlite(files.path().join("queues.db")).await.unwrap());
    let performer = Performer::new("Q", || Idle).handle_signals(false);
    let Err(PerformerError::Faulted(summary)) = performer.run_until_empty(store.clone()).await else {
        panic!("it cannot take");
    };
    assert!(summary.fault.as_deref().unwrap().contains("the test says no take"), "{summary}");
    let jobs = store.list_jobs(1).await.unwrap();
    assert!(jobs[0].info.as_deref().unwrap().contains("the test says no take"));
}

#[test]
fn the_help_of_an_import_describes_the_formats() {
    let folder = tempfile::tempdir().unwrap();
    let help = text(&run(folder.path(), &["item", "import", "--help"]).stdout);
    for word in
        ["Deadline", "Postpone", "--delimiter", "--encoding", "--resume", "--text ", "--number ", "--dry-run"]
    {
        assert!(help.contains(word), "{word}: {help}");
    }
}

/// An imported item has a mark in a member that servers of 2020 refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_server_receives_no_import_marks() {
    use performer_proofs::scripted_orchestrator::ScriptedOrchestrator;
    use performer_proofs::scripted_orchestrator::world::{CLIENT_SECRET, FOLDER, World};

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    fs::write(&file, "Reference,n\nA,1\n").unwrap();
    for (versions, has_mark) in [("11.0", false), ("15.0, 20.0", true)] {
        let server = ScriptedOrchestrator::start(World::new()).await;
        server.versions(Some(versions));
        let mut import = Command::new(env!("CARGO_BIN_EXE_performer"));
        import.args(["item", "import", "Invoices", "--url", &server.url]).arg(&file);
        import.env("UIPATH_CLIENT_ID", "app").env("UIPATH_CLIENT_SECRET", CLIENT_SECRET);
        import.env("UIPATH_FOLDER_PATH", FOLDER).env_remove("UIPATH_PAT");
        let output = tokio::task::spawn_blocking(move || import.output()).await.unwrap().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let body = server.seen_of("BulkAddQueueItems")[0].json();
        let mark = body["queueItems"][0].get("ParentOperationId").and_then(Value::as_str);
        assert_eq!(mark.is_some_and(|mark| mark.starts_with("import:")), has_mark, "{versions}: {body}");
    }
}
