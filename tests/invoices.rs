//! The invoices example: the real program with real files and real signals.
#![cfg(feature = "sqlite")]

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use performer::{ItemFilter, Page, QueueItem, Status, connect};

/// The example, which `cargo test` builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().unwrap().parent().unwrap().join("examples/invoices");
    assert!(
        program.exists(),
        "{} is not built; run cargo test without a filter on targets",
        program.display()
    );
    program
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The number behind a name in the program's table.
fn row(output: &Output, name: &str) -> u64 {
    let stdout = text(&output.stdout);
    let line =
        stdout.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} in {stdout}"));
    line[24..34].trim().parse().unwrap()
}

/// All items of the queue, read through the library.
async fn items(folder: &Path) -> Vec<QueueItem> {
    let store = connect(&format!("sqlite:{}", folder.join("invoices.db").display())).await.unwrap();
    let mut items = Vec::new();
    loop {
        let page = Page::default().skip(items.len());
        let found = store.list_queue_items(ItemFilter::default(), page).await.unwrap().items;
        if found.is_empty() {
            return items;
        }
        items.extend(found);
    }
}

/// Nothing lost, nothing recorded twice: each invoice has one chain, each chain one end, at most one success.
fn check(items: &[QueueItem], invoices: usize) {
    let mut ends = std::collections::BTreeMap::<&str, Vec<Status>>::new();
    for item in items {
        let reference = item.reference.as_deref().unwrap();
        let statuses = ends.entry(reference).or_default();
        if item.status != Status::Retried {
            statuses.push(item.status);
        }
    }
    assert_eq!(ends.len(), invoices, "every invoice is there");
    for (reference, statuses) in ends {
        let ended = matches!(statuses.as_slice(), [Status::Successful | Status::Failed | Status::Abandoned]);
        assert!(ended, "{reference}: {statuses:?}");
    }
}

#[tokio::test]
async fn a_second_run_adds_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let first = run(folder.path(), &[]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stdout).contains("queue Invoices: 200 added, 0 were there already"));
    assert!(text(&first.stderr).contains("200 of 200 items, "), "plain lines where there is no terminal");
    assert_eq!(row(&first, "business exceptions"), 10);
    assert_eq!(row(&first, "application exceptions"), 2);
    assert_eq!(row(&first, "abandoned"), 0);
    assert_eq!(row(&first, "successful"), 188);
    assert_eq!(row(&first, "posted") + row(&first, "refused") + row(&first, "failed"), 200);
    assert_eq!((row(&first, "waiting"), row(&first, "all in the queue")), (0, 200));
    assert!(row(&first, "retried") > 0 && row(&first, "postponed") > 0);
    check(&items(folder.path()).await, 200);

    let second = run(folder.path(), &[]);
    assert!(second.status.success());
    assert!(text(&second.stdout).contains("queue Invoices: 0 added, 200 were there already"));
    assert_eq!(row(&second, "successful"), 0);
    assert_eq!(row(&second, "posted"), 188);
}

/// Runs the program until it says how far it is for the `lines`-th time, then does something to it.
fn interrupt(folder: &Path, lines: usize, signal: &str) -> std::process::ExitStatus {
    let mut child = command(folder, &[]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    for _ in 0..lines {
        said.next().unwrap().unwrap();
    }
    let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    std::thread::spawn(move || said.for_each(drop)); // so that it never waits for a reader
    child.wait().unwrap()
}

#[tokio::test]
async fn a_run_after_a_kill_loses_and_doubles_nothing() {
    for lines in [1, 3, 5, 8] {
        let folder = tempfile::tempdir().unwrap();
        assert!(!interrupt(folder.path(), lines, "-KILL").success());
        let before = items(folder.path()).await;
        assert!(before.iter().any(|item| !item.status.is_final()), "it was in the middle");
        let second = run(folder.path(), &[]);
        assert!(second.status.success(), "{}", text(&second.stderr));
        assert_eq!(row(&second, "waiting"), 0);
        let after = items(folder.path()).await;
        check(&after, 200);
        for ended in before.iter().filter(|item| item.status.is_final()) {
            assert!(after.contains(ended), "what was recorded before the kill stays as it was");
        }
    }
}

#[tokio::test]
async fn a_run_after_a_stop_continues() {
    for signal in ["-INT", "-TERM"] {
        let folder = tempfile::tempdir().unwrap();
        assert!(interrupt(folder.path(), 2, signal).success(), "stopped in good order");
        let between = items(folder.path()).await;
        assert!(between.iter().all(|item| item.status != Status::InProgress), "nothing is left in progress");
        assert!(between.iter().any(|item| item.status == Status::New), "it was in the middle");
        assert!(run(folder.path(), &[]).status.success());
        let after = items(folder.path()).await;
        check(&after, 200);
        assert_eq!(after.iter().filter(|item| item.status == Status::Successful).count(), 188);
    }
}

fn with_csv(contents: &[u8]) -> (tempfile::TempDir, Output) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("in.csv"), contents).unwrap();
    let output = run(folder.path(), &["in.csv"]);
    (folder, output)
}

#[tokio::test]
async fn an_invalid_row_is_reported_and_the_others_are_added() {
    let csv = b"InvoiceNo,InvoiceDate,CustomerID,TotalPrice\n\
        1,2026-01-01,30001,10.00\n\
        2,2026-01-01,30001,ten\n\
        3,2026-01-01\n\
        ,2026-01-01,30001,5\n\
        5,2026-01-01,30001,1e99\n\
        6,2026-01-\xff01,30001,1\n\
        7,2026-01-01,30001,7,00\n";
    let (folder, output) = with_csv(csv);
    assert!(output.status.success());
    let said = text(&output.stderr);
    for part in [
        "in.csv: row 2: column TotalPrice: \"ten\" is not a number; the row is left out",
        "in.csv: row 3: column CustomerID: there is no value",
        "in.csv: row 4: column InvoiceNo: there is no value",
        "in.csv: row 5: column TotalPrice: \"1e99\" is out of range",
        "in.csv: row 6: cannot be read",
        "in.csv: row 7: there are 5 values for 4 columns",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(
        text(&output.stdout).contains("1 invoices read (10.00 GBP), 6 rows left out"),
        "{}",
        text(&output.stdout)
    );
    let references: Vec<_> =
        items(folder.path()).await.into_iter().filter_map(|item| item.reference).collect();
    assert_eq!(references, ["1"]);
}

#[tokio::test]
async fn a_reference_that_is_too_long_is_reported_and_the_others_are_added() {
    let long = "9".repeat(129);
    let csv = format!("InvoiceNo,InvoiceDate,CustomerID,TotalPrice\n{long},d,30001,1\n2,d,30001,1\n");
    let (folder, output) = with_csv(csv.as_bytes());
    assert!(output.status.success());
    let said = text(&output.stderr);
    assert!(said.contains("9: a reference has 129 code units; it should be between 1 and 128"), "{said}");
    assert_eq!(items(folder.path()).await.len(), 1);
}

#[tokio::test]
async fn files_of_other_systems_are_read() {
    let (folder, output) = with_csv(
        "\u{feff}InvoiceNo,InvoiceDate,CustomerID,TotalPrice\r\nÜ-1,2026-01-01,30001,1.5\r\n".as_bytes(),
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(items(folder.path()).await[0].reference.as_deref(), Some("Ü-1"));
}

#[test]
fn a_file_without_invoices_is_refused() {
    for (contents, part) in [
        (&b""[..], "in.csv is empty"),
        (b"InvoiceNo,CustomerID,TotalPrice\n1,2,3\n", "the column InvoiceDate is missing"),
        (b"a;b\n", "the column InvoiceNo is missing (there are: a;b)"),
    ] {
        let (folder, output) = with_csv(contents);
        assert_eq!(output.status.code(), Some(1));
        let said = text(&output.stderr);
        assert!(said.contains(part), "{part} in {said}");
        assert!(!folder.path().join("invoices.db").exists(), "nothing was begun");
    }
    let folder = tempfile::tempdir().unwrap();
    for (arguments, part) in [
        (&["no.csv"][..], "no.csv"),
        (&["--robots", "many"], "--robots: invalid digit"),
        (&["--robots", "0"], "at least one robot"),
        (&["--url"], "--url needs a value"),
        (&["--what"], "unknown option --what"),
        (&["--url", "nonsense"], "is not a URL"),
    ] {
        let output = run(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{part} in {}", text(&output.stderr));
    }
    let help = run(folder.path(), &["--help"]);
    assert!(help.status.success() && text(&help.stdout).starts_with("usage: invoices"));
}

#[tokio::test]
async fn a_read_only_queue_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(run(folder.path(), &[]).status.success());
    let file = folder.path().join("invoices.db");
    let mut permissions = fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&file, permissions).unwrap();
    let output = run(folder.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("invoices.db is read-only"), "{}", text(&output.stderr));
}

/// Extra, with 18,532 real invoices; left out where the file is not there.
#[tokio::test]
async fn real_invoices_add_up() {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/online-retail-invoices.csv");
    let file = std::env::var("PERFORMER_INVOICES").unwrap_or_else(|_| beside.to_owned());
    if !Path::new(&file).exists() {
        println!("left out: {file} is not there (PERFORMER_INVOICES names another)");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let output = run(folder.path(), &[&file, "--robots", "64"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    assert!(said.contains("18532 invoices read (8911407.90 GBP), 0 rows left out"), "{said}");
    assert_eq!(row(&output, "all in the queue"), 18_532);
    assert!(
        said.lines().any(|line| line.starts_with("all in the queue") && line.ends_with("8911407.90 GBP")),
        "{said}"
    );
    check(&items(folder.path()).await, 18_532);
}
