//! `queue why`, `delete` and `retention`, `item edit`, `history` and `diff`, on a file and over HTTP.

use std::process::Command;

use serde_json::{Value, json};

use super::{Server, command, done, json, text};

/// The exit code, and what was printed to stdout and stderr.
fn said(mut command: Command) -> (i32, String, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

/// The names of what holds claims back.
fn why(with: &impl Fn(&[&str]) -> Command) -> Vec<String> {
    let found = json(with(&["queue", "why", "invoices", "--json"]));
    found.as_array().unwrap().iter().map(|row| row["Name"].as_str().unwrap().to_owned()).collect()
}

fn claims_are_explained(with: &impl Fn(&[&str]) -> Command) {
    done(with(&["queue", "create", "Invoices"]));
    assert_eq!(why(with), ["NoNewItems", "NoRunningJob"]);
    done(with(&["item", "add", "Invoices", "n=1", "--defer", "2126-01-01"]));
    assert_eq!(why(with), ["AllPostponed", "NoRunningJob"]);
    let shown = done(with(&["queue", "why", "Invoices"]));
    let line = shown.lines().nth(1).unwrap();
    assert!(line.starts_with("Invoices\tAllPostponed\tyes\t2126-01-01T00:00:00Z\tThe only item"), "{shown}");
    done(with(&["item", "edit", "1", "--defer", "none"]));
    assert_eq!(why(with), ["NoRunningJob"]);
    let (code, _, remarks) = said(with(&["queue", "why"]));
    assert_eq!((code, remarks.trim()), (0, "queue \"Invoices\": a robot that asks now is handed an item"));
    done(with(&["queue", "pause", "Invoices"]));
    assert_eq!(why(with), ["Paused", "NoRunningJob"]);
    let csv = done(with(&["queue", "why", "-o", "csv"]));
    assert!(csv.starts_with("QUEUE,REASON,CERTAIN,UNTIL,MESSAGE\r\nInvoices,Paused,yes,,"), "{csv}");
    let lines = done(with(&["queue", "why", "-o", "jsonl"]));
    let first: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert_eq!((&first["QueueDefinitionName"], &first["IsCertain"]), (&json!("Invoices"), &json!(true)));
    done(with(&["queue", "resume", "Invoices"]));
    let (code, _, error) = said(with(&["queue", "why", "Orders", "--json"]));
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!((code, &error["code"]), (5, &json!(1002)));
}

fn items_are_edited_and_compared(with: &impl Fn(&[&str]) -> Command) {
    let add = [
        "item",
        "add",
        "Invoices",
        "--content",
        r#"{"amount":1.50,"big":12345678901234567890123,"note":"x"}"#,
    ];
    let id = json(with(&[&add[..], &["--json"]].concat()))["Id"].to_string();
    let edit = ["item", "edit", &id, "amount=2.50", "new=a b", "--remove", "note", "--priority", "High"];
    assert_eq!(done(with(&edit)).trim(), format!("item {id} was changed"));
    let shown = done(with(&["item", "show", &id]));
    assert!(shown.contains(r#"{"amount":2.50,"big":12345678901234567890123,"new":"a b"}"#), "{shown}");
    assert!(shown.contains("Priority        High"), "{shown}");
    let due = json(with(&["item", "edit", &id, "--due", "2126-01-02", "--json"]));
    assert_eq!(due["DueDate"], "2126-01-02T00:00:00Z");
    assert_eq!(json(with(&["item", "edit", &id, "--due", "none", "--json"]))["DueDate"], json!(null));

    // The first item has other content.
    let diff = json(with(&["item", "diff", "1", &id, "--json"]));
    let names: Vec<_> = diff.as_array().unwrap().iter().map(|row| (&row["Part"], &row["Name"])).collect();
    let pair = |part: &str, name: &str| (json!(part), json!(name));
    let expected = [
        pair("Item", "Priority"),
        pair("Content", "amount"),
        pair("Content", "big"),
        pair("Content", "n"),
        pair("Content", "new"),
    ];
    assert_eq!(names, expected.iter().map(|(part, name)| (part, name)).collect::<Vec<_>>());
    let table = done(with(&["item", "diff", "1", &id]));
    assert!(table.contains("Content\tamount\t\t2.50\n") && table.contains("Content\tn\t1\t\n"), "{table}");
    let (code, shown, remark) = said(with(&["item", "diff", &id, &id]));
    assert_eq!((code, shown.lines().count()), (0, 1), "only the head");
    assert!(remark.contains("they do not differ"), "{remark}");
    let (code, _, error) = said(with(&["item", "diff", &id]));
    assert!(code == 2 && error.contains("the first attempt of its chain"), "{error}");

    done(with(&["item", "comment", "asked the customer", &id]));
    let history = json(with(&["item", "history", &id, "--json"]));
    let actions: Vec<_> =
        history.as_array().unwrap().iter().map(|row| row["Action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["Create", "Edit", "Edit", "Edit", "Comment"]);
    assert_eq!(history[4]["Text"], "asked the customer");
    let table = done(with(&["item", "history", &id]));
    assert!(table.starts_with("TIME\tITEM\tEVENT\tSTATUS\tREVIEW\tUSER\tTEXT\n"), "{table}");
    assert!(table.contains("\tCreate\tNew\tNone\t"), "{table}");

    for (words, expected, says) in [
        (&["item", "edit", &id][..], 2, "nothing to change was given"),
        (&["item", "edit", &id, "--remove", "colour"], 2, "its members are amount, big, new"),
        (&["item", "edit", &id, "--content", "{\"a\":[1]}"], 1, "a"),
        (&["item", "edit", &id, "--due", "soon"], 2, "soon"),
        (&["item", "edit", "999", "a=1"], 5, "999"),
        (&["item", "history", "999"], 5, "999"),
        (&["item", "diff", &id, "999"], 5, "999"),
    ] {
        let (code, _, error) = said(with(words));
        assert!(code == expected && error.contains(says), "{words:?}: {code} {error}");
    }
    done(with(&["item", "delete", &id]));
    let (code, _, error) = said(with(&["item", "edit", &id, "a=1"]));
    assert!(code == 1 && error.contains("Deleted"), "{error}");
}

fn queues_are_removed(with: &impl Fn(&[&str]) -> Command) {
    done(with(&["queue", "edit", "Invoices", "--retention", "7"]));
    let kept = json(with(&["queue", "retention", "--json"]));
    let expected = json!([{
        "QueueDefinitionName": "Invoices", "RetentionPeriod": 7, "StaleRetentionPeriod": 180, "Expired": 0,
        "IsCountExact": true,
    }]);
    assert_eq!(kept, expected);
    let table = done(with(&["queue", "retention", "Invoices"]));
    assert_eq!(table.lines().nth(1), Some("Invoices\t7\t180\t0"));
    assert_eq!(json(with(&["queue", "retention", "--apply", "10", "--json"])), json!({ "Removed": 0 }));
    let (code, ..) = said(with(&["queue", "retention", "Orders"]));
    assert_eq!(code, 5);

    let (code, _, error) = said(with(&["queue", "delete", "Invoices"]));
    assert!(code == 2 && error.contains("use --yes"), "{error}");
    let deleted = json(with(&["queue", "delete", "invoices", "--yes", "--json"]));
    assert_eq!(deleted, json!({ "Deleted": "Invoices", "Items": 2 }));
    let (code, _, _) = said(with(&["queue", "delete", "Invoices", "--yes"]));
    assert_eq!(code, 5);
    assert_eq!(json(with(&["queue", "list", "--json"])), json!([]));
}

fn everything(with: &impl Fn(&[&str]) -> Command) {
    claims_are_explained(with);
    items_are_edited_and_compared(with);
    queues_are_removed(with);
}

#[test]
fn queues_and_items_are_inspected_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    everything(&|words: &[&str]| {
        let mut command = command(folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:queues.db");
        command
    });
}

#[test]
fn queues_and_items_are_inspected_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    everything(&|words: &[&str]| server.command(folder.path(), words));
    assert_eq!(server.stop(), 0);
}

/// An address where nothing listens.
#[test]
fn a_server_that_cannot_be_reached_is_told_from_other_failures() {
    let folder = tempfile::tempdir().unwrap();
    for words in [&["queue", "why"][..], &["item", "history", "1"], &["queue", "retention"]] {
        let mut command = command(folder.path(), words);
        command.args(["--url", "http://127.0.0.1:9"]).env("UIPATH_PAT", "x");
        assert_eq!(said(command).0, 6, "{words:?}");
    }
}
