//! `performer store`, `doctor` and `access whoami`: on a file, and over HTTP.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::{Server, command, done, json, run, text};

/// The exit code, and what was printed to stdout and stderr.
fn said(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn at(folder: &Path, words: &[&str]) -> Command {
    let mut command = command(folder, words);
    command.env("PERFORMER_URL", "sqlite:queues.db");
    command
}

fn execute(folder: &Path, sql: &str) {
    let path = folder.join("queues.db");
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    rusqlite::Connection::open_with_flags(path, flags).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn a_store_is_described_checked_and_copied() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, _, error) = said(at(folder, &["store", "info"]));
    assert!(code == 5 && error.contains("queues.db does not exist"), "{error}");
    assert!(!folder.join("queues.db").exists(), "nothing was created");

    done(at(folder, &["queue", "create", "Invoices"]));
    for n in 0..3 {
        done(at(folder, &["item", "add", "Invoices", &format!("n={n}")]));
    }
    let info = json(at(folder, &["store", "info", "--json"]));
    assert_eq!((&info["Engine"], &info["Counts"]["Items"]), (&json!("SQLite"), &json!(3)));
    assert_eq!(info["SchemaVersion"], info["NewestSchemaVersion"]);
    let shown = done(at(folder, &["store", "info"]));
    assert!(shown.contains("Items               3, 3 ready, 0 postponed"), "{shown}");

    let (code, shown, remark) = said(at(folder, &["store", "check"]));
    assert_eq!((code, shown.as_str()), (0, ""));
    assert!(remark.starts_with("the store is sound; "), "{remark}");
    assert_eq!(json(at(folder, &["store", "check", "--json"])), json!([]));

    let copied = done(at(folder, &["store", "backup", "copy.db"]));
    assert!(copied.starts_with("copy.db is a copy with 3 items"), "{copied}");
    let (code, _, error) = said(at(folder, &["store", "backup", "copy.db"]));
    assert!(code == 1 && error.contains("does not write over a file"), "{error}");
    let of_copy = run(folder, &["stats", "Invoices", "--json", "--url", "sqlite:copy.db"]);
    let figures: Value = serde_json::from_str(&text(&of_copy.stdout)).unwrap();
    assert_eq!(figures["Invoices"]["NumberOfRemainingTransactions"], 3);
    let (code, _, error) =
        said(at(folder, &["store", "backup", "x.dump", "--url", "postgres://ann@127.0.0.1:1/queues"]));
    assert!(
        code == 1 && error.contains("pg_dump --format=custom") && error.contains("--dbname=queues"),
        "{error}"
    );

    execute(folder, "DELETE FROM item_ready WHERE item_id = 2");
    let (code, shown, _) = said(at(folder, &["store", "check"]));
    assert_eq!(code, 1);
    assert!(shown.contains("new-items-wait-once\t1\titems that are New are not among"), "{shown}");
    let (code, shown, _) = said(at(folder, &["store", "check", "--json"]));
    let found: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((code, &found[0]["Ids"]), (1, &json!([2])));

    assert!(done(at(folder, &["store", "migrate"])).contains("nothing is to be done"));
    execute(folder, "PRAGMA user_version = 0");
    let shown = done(at(folder, &["store", "migrate", "--dry-run"]));
    assert!(shown.contains("has the version 0; it would be migrated to "), "{shown}");
    execute(folder, "PRAGMA user_version = 999");
    let (code, shown, _) = said(at(folder, &["store", "migrate"]));
    assert!(code == 1 && shown.contains("it is too old for this store"), "{shown}");
    for words in
        [&["store", "info", "--url", "http://127.0.0.1:9"][..], &["store", "check", "--url", "uipath:"]]
    {
        let (code, _, error) = said(at(folder, words));
        assert!(code == 2 && error.contains("not reached over HTTP"), "{error}");
    }
    let (code, _, error) = said(at(folder, &["store", "info", "--url", "memory:"]));
    assert!(code == 1 && error.contains("memory: is not a store that can be looked at"), "{error}");
}

/// The findings of a doctor, by the names of the checks.
fn findings(report: &Value) -> Vec<(&str, &str)> {
    let all = report["Findings"].as_array().unwrap().iter();
    all.map(|finding| (finding["Check"].as_str().unwrap(), finding["Level"].as_str().unwrap())).collect()
}

/// What was asked for is not good because it could not be looked at.
#[test]
fn a_doctor_that_could_not_look_finds_that_bad() {
    let folder = tempfile::tempdir().unwrap();
    let http = ["--url", "http://127.0.0.1:1"];
    for wanted in [&["--check", "jobs"][..], &["--check", "jobs", "--check", "queues", "-o", "nagios"]] {
        let (code, shown, error) = said(command(folder.path(), &[&["doctor"], wanted, &http[..]].concat()));
        assert!(code == 1 || code == 2, "{wanted:?}: {code} {shown}{error}");
    }
    // Tables of a newer program.
    done(at(folder.path(), &["queue", "create", "Invoices"]));
    execute(folder.path(), "PRAGMA user_version = 999");
    let (code, shown, _) = said(at(folder.path(), &["doctor", "--check", "jobs", "--json"]));
    assert!(code == 1 && shown.contains("too old for this store"), "{code} {shown}");
}

#[test]
fn a_doctor_looks_at_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (code, _, error) = said(at(folder, &["doctor"]));
    assert!(code == 5 && error.contains("queues.db does not exist"), "{error}");

    done(at(folder, &["queue", "create", "Invoices"]));
    let report = json(at(folder, &["doctor", "--json"]));
    let found = findings(&report);
    for check in ["reach", "schema", "durability", "disk", "queues", "jobs", "retention", "figures"] {
        assert!(found.contains(&(check, "Good")), "{check}: {report:#}");
    }
    assert!(report["LatencyInSeconds"].as_f64().unwrap() > 0.0);

    done(at(folder, &["item", "add", "Invoices", "n=1"]));
    done(at(folder, &["queue", "pause", "Invoices"]));
    let (code, shown, _) = said(at(folder, &["doctor", "--check", "queues"]));
    assert_eq!(code, 0, "a warning: {shown}");
    assert_eq!(
        shown.lines().next(),
        Some("! queues  Invoices: The queue is paused: it hands out nothing until it is resumed.")
    );
    assert_eq!(shown.lines().nth(1), Some("          → performer queue resume \"Invoices\""));
    assert_eq!(said(at(folder, &["doctor", "--check", "queues", "--strict"])).0, 1);
    assert_eq!(said(at(folder, &["doctor", "--check", "schema", "--strict"])).0, 0);
    let (code, shown, _) = said(at(folder, &["doctor", "--check", "queues", "-o", "nagios"]));
    assert_eq!(code, 1);
    assert!(shown.starts_with("PERFORMER WARNING - Invoices: The queue is paused"), "{shown}");
    assert!(shown.lines().next().unwrap().contains(" | latency=0."), "{shown}");
    let metrics = done(at(folder, &["doctor", "-o", "prometheus"]));
    for line in ["performer_doctor_check{check=\"reach\"} 0", "performer_doctor_check{check=\"queues\"} 1"] {
        assert!(metrics.lines().any(|found| found == line), "{metrics}");
    }

    // An older schema is told and not migrated.
    execute(folder, "PRAGMA user_version = 0; PRAGMA journal_mode = DELETE;");
    let (code, shown, _) = said(at(folder, &["doctor", "--json"]));
    let report: Value = serde_json::from_str(&shown).unwrap();
    let found = findings(&report);
    assert!(
        code == 1 && found.contains(&("schema", "Warning")) && found.contains(&("durability", "Bad")),
        "{report:#}"
    );
    assert!(!found.iter().any(|(check, _)| *check == "queues"));
    let info = json(at(folder, &["store", "info", "--json"]));
    assert_eq!(info["SchemaVersion"], 0);
    for (words, says) in [
        (&["doctor", "--check", "weather"][..], "invalid value"),
        (&["doctor", "-o", "text", "--json"], "different formats"),
        (&["doctor", "--url", "mysql://x"], "use sqlite: with a file"),
        (&["doctor", "--url", "memory:"], "nothing to check"),
    ] {
        let (code, _, error) = said(at(folder, words));
        assert!(code == 2 && error.contains(says), "{words:?}: {code} {error}");
    }
}

#[test]
fn a_doctor_looks_at_a_server_and_at_the_caller() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let server = Server::known(folder, &["--listen", "127.0.0.1:0"]);
    done(server.command(folder, &["queue", "create", "Invoices"]));
    let report = json(server.command(folder, &["doctor", "--json"]));
    let found = findings(&report);
    for check in ["reach", "tls", "clock", "access", "empty-answer", "queues", "jobs", "retention"] {
        assert!(found.contains(&(check, "Good")), "{check}: {report:#}");
    }
    let scoped = |words: &[&str]| {
        let mut command = server.command(folder, words);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Jobs OR.Folders.Read OR.Users.Read");
        command
    };
    let report = json(scoped(&["doctor", "--check", "access", "--json"]));
    let message = report["Findings"][0]["Message"].as_str().unwrap();
    assert!(
        message.starts_with("first-application (user ")
            && message.ends_with("may look at queues and process items"),
        "{message}"
    );
    let who = json(scoped(&["access", "whoami", "--json"]));
    assert_eq!((&who["UserName"], &who["HasLeases"]), (&json!("first-application"), &json!(true)));
    assert!(who["Permissions"].as_array().unwrap().contains(&json!("Queues.View")), "{who}");
    let shown = done(scoped(&["access", "whoami"]));
    assert!(
        shown.starts_with("User    first-application\n") && shown.contains("Server  performer"),
        "{shown}"
    );

    let (code, _, error) = said(server.command(folder, &["access", "whoami"]));
    assert!(code == 4 && error.contains("OR.Users.Read"), "{code} {error}");
    let mut stranger = server.command(folder, &["doctor", "--json"]);
    stranger.env("UIPATH_CLIENT_SECRET", "another secret");
    let (code, shown, _) = said(stranger);
    let report: Value = serde_json::from_str(&shown).unwrap();
    assert!(code == 1 && findings(&report).contains(&("access", "Bad")), "{report:#}");
    let mut stranger = server.command(folder, &["access", "whoami"]);
    stranger.env("UIPATH_CLIENT_SECRET", "another secret");
    assert_eq!(said(stranger).0, 4);
    let url = server.url.clone();
    assert_eq!(server.stop(), 0);
    let mut gone = command(folder, &["doctor", "--url", &url, "-o", "nagios"]);
    gone.env("UIPATH_PAT", "x");
    let (code, shown, _) = said(gone);
    assert!(code == 2 && shown.starts_with("PERFORMER CRITICAL - "), "{code} {shown}");
    let (code, _, error) = said(at(folder, &["access", "whoami"]));
    assert!(code == 2 && error.contains("is no user"), "{error}");
}

#[test]
fn a_watch_prints_a_line_with_each_look() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for name in ["Invoices", "Orders"] {
        done(at(folder, &["queue", "create", name]));
    }
    done(at(folder, &["item", "add", "Orders", "n=1"]));
    let printed = done(at(folder, &["watch", "--ticks", "2"]));
    let lines: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{printed}");
    let queues = |line: &Value| -> Vec<(String, i64)> {
        let row = |row: &Value| {
            (row["Name"].as_str().unwrap().to_owned(), row["NumberOfRemainingTransactions"].as_i64().unwrap())
        };
        line["Queues"].as_array().unwrap().iter().map(row).collect()
    };
    assert_eq!(queues(&lines[0]), [("Invoices".to_owned(), 0), ("Orders".to_owned(), 1)]);
    assert_eq!(
        (&lines[0]["Queues"][0]["EndedPerSecond"], &lines[1]["Queues"][0]["EndedPerSecond"]),
        (&json!(null), &json!(0.0))
    );
    assert_eq!((&lines[0]["Failures"], &lines[0]["Error"]), (&json!([]), &json!(null)));
    let one = json(at(folder, &["watch", "orders", "--json", "--ticks", "1"]));
    assert_eq!(queues(&one), [("Orders".to_owned(), 1)]);
    assert_eq!(said(at(folder, &["watch", "Nothing", "--ticks", "1"])).0, 5);
    let (code, _, error) = said(at(folder, &["watch", "--every", "10ms"]));
    assert!(code == 2 && error.contains("at least 1s"), "{error}");

    let server = Server::known(folder, &["--listen", "127.0.0.1:0"]);
    done(server.command(folder, &["queue", "create", "Invoices"]));
    let one = json(server.command(folder, &["watch", "--ticks", "1"]));
    assert_eq!(queues(&one), [("Invoices".to_owned(), 0)]);
    assert_eq!(server.stop(), 0);
}
