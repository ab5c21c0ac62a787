//! `performer queue`, `item` and `stats`, on a file and over HTTP.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use super::{Server, command, done, json, run, text};

/// The schema of the output, because the items of this day have contents of many kinds.
fn schemas_are_set_and_removed(folder: &Path, with: &impl Fn(&[&str]) -> Command) {
    let schema = r#"{"type": "object", "properties": {"document": {"type": "string"}, "n": {"maximum": 99999999999999999999}}}"#;
    fs::write(folder.join("posted.json"), format!("\u{feff}{schema}\n")).unwrap();
    fs::write(folder.join("wrong.json"), r#"{"type": "nonsense"}"#).unwrap();
    fs::write(folder.join("broken.json"), "{").unwrap();
    let none = json!({ "SpecificData": null, "OutputData": null, "AnalyticsData": null });
    assert_eq!(json(with(&["queue", "schema", "Invoices", "--json"])), none);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let set = ["queue", "schema", "Invoices", "--output", &path("posted.json"), "--json"];
    let expected: serde_json::Value = serde_json::from_str(schema).unwrap();
    assert_eq!(json(with(&set))["OutputData"], expected);
    let shown = done(with(&["queue", "schema", "Invoices"]));
    assert!(shown.contains("\n    \"properties\": {\n"), "it can be read");
    assert!(shown.contains("\"maximum\": 99999999999999999999\n"), "it keeps its digits: {shown}");
    for (file, part) in [("wrong.json", "1858"), ("broken.json", "no JSON"), ("missing.json", "No such file")]
    {
        let refused = with(&["queue", "schema", "Invoices", "--content", &path(file)]).output().unwrap();
        assert_eq!(refused.status.code(), Some(1), "{file}");
        assert!(text(&refused.stderr).contains(part), "{part}: {}", text(&refused.stderr));
    }
    let twice = with(&["queue", "schema", "Invoices", "--content", "-", "--output", "-"]).output().unwrap();
    assert_eq!(twice.status.code(), Some(2));
    assert_eq!(
        json(with(&["queue", "schema", "Invoices", "--json"]))["OutputData"],
        expected,
        "it is as before"
    );
    let shown = json(with(&["queue", "show", "Invoices", "--json"]));
    assert_eq!((&shown["MaxNumberOfRetries"], &shown["EnforceUniqueReference"]), (&json!(2), &json!(true)));
    assert_eq!(json(with(&["queue", "schema", "Invoices", "--output", "none", "--json"])), none);
}

/// A queue of its own, which is edited; with another one beside it, which is not.
fn settings_are_shown_and_edited(with: &impl Fn(&[&str]) -> Command) {
    let create = ["queue", "create", "Retries", "--max-retries", "3", "--retry-delay", "30s", "--json"];
    let made = json(with(&create));
    assert_eq!(made["PerformerRetryDelay"], json!({ "Kind": "Fixed", "Seconds": 30.0 }));
    let edit =
        ["queue", "edit", "Retries", "--retry-delay", "10s..10m", "--description", "tried again", "--json"];
    let edited = json(with(&edit));
    let growing =
        json!({ "Kind": "Exponential", "FirstSeconds": 10.0, "CapSeconds": 600.0, "JitterPercent": 25 });
    assert_eq!((&edited["PerformerRetryDelay"], &edited["MaxNumberOfRetries"]), (&growing, &json!(3)));
    assert_eq!((&edited["Description"], &edited["Id"]), (&json!("tried again"), &made["Id"]));
    let shown = done(with(&["queue", "show", "Retries"]));
    assert!(shown.contains("Retry delay") && shown.contains("10s..10m~25%"), "{shown}");
    let more =
        ["queue", "edit", "Retries", "--max-retries", "0", "--retry-abandoned", "true", "--retention", "7"];
    let shown = done(with(&more));
    assert!(shown.contains("7 days, unfinished items 180 days"), "{shown}");
    let all =
        ["queue", "edit", "Retries", "--retry-delay", "none", "--description", "", "--abandon-after", "1h"];
    done(with(&all));
    let shown = json(with(&["queue", "show", "Retries", "--json"]));
    assert_eq!((&shown["PerformerRetryDelay"], &shown["Description"]), (&json!(null), &json!(null)));
    assert_eq!(
        (&shown["AcceptAutomaticallyRetry"], &shown["RetryAbandonedItems"], &shown["RetentionPeriod"]),
        (&json!(false), &json!(true), &json!(7))
    );
    assert_eq!(shown["PerformerAbandonAfterSeconds"], 3_600);
    for (arguments, code, part) in [
        (&["--retry-delay", "often"][..], 2, "is not a retry delay, such as none, 30s, 10s..10m"),
        (&["--retry-delay", "25h"], 1, "it should be between 1ms and 24h"),
        (&[], 2, "no setting was given"),
    ] {
        let refused = with(&[&["queue", "edit", "Retries"][..], arguments].concat()).output().unwrap();
        assert_eq!(refused.status.code(), Some(code), "{arguments:?}");
        assert!(text(&refused.stderr).contains(part), "{part}: {}", text(&refused.stderr));
    }
    assert_eq!(json(with(&["queue", "show", "Retries", "--json"])), shown, "it is as before");
}

/// A day with the command, wherever the queues are.
fn a_day(folder: &Path, with: impl Fn(&[&str]) -> Command) {
    assert!(
        done(with(&["queue", "create", "Invoices", "--unique-reference", "--max-retries", "2"]))
            .contains("Invoices")
    );
    let again = with(&["queue", "create", "Invoices"]).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stderr));
    assert!(text(&again.stderr).contains("Invoices"), "{}", text(&again.stderr));
    let queues = json(with(&["queue", "list", "--json"]));
    assert_eq!(queues.as_array().unwrap().len(), 1, "{queues}");
    assert!(done(with(&["queue", "show", "Invoices"])).contains("Invoices"));

    schemas_are_set_and_removed(folder, &with);
    settings_are_shown_and_edited(&with);
    let added = json(with(&[
        "item",
        "add",
        "Invoices",
        "amount=10.5",
        "customer=ACME",
        "--reference",
        "A-1",
        "--json",
    ]));
    let shown = json(with(&["item", "show", &added["Id"].to_string(), "--json"]));
    assert!(shown.to_string().contains("ACME"), "{shown}");
    // Digits stay, and half a character is no reason to refuse a text.
    done(with(&["queue", "create", "Digits"]));
    let digits = r#"{"amount":1234567890123456.78,"cut":"\ud83d","huge":1e400,"iban":100000000000000000000000000001,"x":1.50}"#;
    let one = done(with(&["item", "add", "Digits", "--reference", "N-1", "--content", digits, "--json"]));
    let pairs = [
        "iban=100000000000000000000000000001",
        "amount=1234567890123456.78",
        "x=1.50",
        "huge=1e400",
        "cut=\"\\ud83d\"",
    ];
    let mut arguments = vec!["item", "add", "Digits", "--reference", "N-2", "--json"];
    arguments.extend(pairs);
    for printed in [one, done(with(&arguments)), done(with(&["item", "list", "--queue", "Digits", "--json"]))]
    {
        for part in
            ["\"iban\":100000000000000000000000000001", "1234567890123456.78", "1e400", "1.50", "\u{fffd}"]
        {
            assert!(printed.contains(part), "{part}: {printed}");
        }
    }
    for (bad, part) in [("a=1 a=2", "\"a\" is given twice"), ("--content {\"a\":1,\"a\":2}", "\"a\"")] {
        let mut arguments = vec!["item", "add", "Digits"];
        arguments.extend(bad.split(' '));
        let refused = with(&arguments).output().unwrap();
        assert!(
            !refused.status.success() && text(&refused.stderr).contains(part),
            "{}",
            text(&refused.stderr)
        );
    }
    let twice = with(&["item", "add", "Invoices", "--reference", "A-1"]).output().unwrap();
    assert_eq!(twice.status.code(), Some(1), "{}", text(&twice.stderr));

    fs::write(folder.join("rows.csv"), "InvoiceNo,amount,code\nB-1,1.5,007\nB-2,2.5,008\nA-1,0,009\n")
        .unwrap();
    let imported =
        with(&["item", "import", "Invoices", "rows.csv", "--reference", "InvoiceNo"]).output().unwrap();
    assert_eq!(imported.status.code(), Some(3), "one is there already: {}", text(&imported.stderr));
    assert!(text(&imported.stdout).starts_with("2 items were added"), "{}", text(&imported.stdout));
    assert!(text(&imported.stderr).contains("line 4"), "{}", text(&imported.stderr));
    fs::write(
        folder.join("rows.jsonl"),
        "\u{feff}{\"Reference\":\"C-1\",\"n\":1}\n\n{\"Reference\":\"C-2\"}\n",
    )
    .unwrap();
    assert_eq!(
        json(with(&["item", "import", "Invoices", "rows.jsonl", "--json"])),
        json!({"Added": 2, "Refused": 0})
    );
    fs::write(folder.join("rows.json"), r#"[{"Reference":"D-1"},{"Reference":"D-1"}]"#).unwrap();
    let whole = with(&["item", "import", "Invoices", "rows.json", "--all-or-nothing"]).output().unwrap();
    assert!(!whole.status.success(), "{}", text(&whole.stdout));
    fs::write(folder.join("rows.tsv"), "Reference\tn\nE-1\t1\n").unwrap();
    assert_eq!(json(with(&["item", "import", "Invoices", "rows.tsv", "--dry-run", "--json"]))["Added"], 1);
    assert_eq!(json(with(&["item", "import", "Invoices", "rows.tsv", "--json"]))["Added"], 1);
    for (file, rows, says) in [
        ("twice.csv", "a,a\n1,2\n", "two columns"),
        ("empty.csv", "a,,c\n1,2,3\n", "no name"),
        ("missing.csv", "a,b\n1,2\n", "no column"),
    ] {
        fs::write(folder.join(file), rows).unwrap();
        let refused = with(&["item", "import", "Invoices", file, "--priority", "Urgency"]).output().unwrap();
        assert!(text(&refused.stderr).contains(says), "{file}: {}", text(&refused.stderr));
        assert!(matches!(refused.status.code(), Some(1 | 2)));
    }

    let items = json(with(&["item", "list", "--queue", "Invoices", "--json"]));
    assert_eq!(items.as_array().unwrap().len(), 6, "{items}");
    let some = json(with(&[
        "item",
        "list",
        "--queue",
        "Invoices",
        "--reference",
        "B*",
        "--status",
        "New",
        "--json",
    ]));
    assert_eq!(some.as_array().unwrap().len(), 2, "{some}");
    assert!(some.to_string().contains("\"007\""), "what begins with a zero stays a text: {some}");
    let nothing = with(&["item", "retry", &added["Id"].to_string()]).output().unwrap();
    assert!(!nothing.status.success(), "an item that waits is not retried: {}", text(&nothing.stdout));
    let stats = done(with(&["stats"]));
    assert!(stats.contains("Invoices") && stats.contains('6'), "{stats}");
    let gone = with(&["item", "show", "999999"]).output().unwrap();
    assert_eq!(
        (gone.status.code(), text(&gone.stderr).contains("999999")),
        (Some(5), true),
        "{}",
        text(&gone.stderr)
    );
}

#[test]
fn the_commands_work_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    a_day(folder.path(), |arguments| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:queues.db");
        command
    });
}

#[test]
fn the_commands_work_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    a_day(folder.path(), |arguments| server.command(folder.path(), arguments));
    assert_eq!(server.stop(), 0);
}

#[test]
fn usage_errors_name_the_correct_usage() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["queue", "list"][..], "PERFORMER_URL"),
        (&["queue", "list", "--url", "mysql://x"], "sqlite:"),
        (&["item", "add"], "<QUEUE>"),
        (&["item", "add", "Q", "--priority", "Urgent", "--url", "sqlite:q.db"], "High, Normal, Low"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&["serve", "--max-requests", "18446744073709551615"], "is not in 1..=1000000"),
        (&["serve", "--max-connections", "0"], "is not in 1..=1000000"),
        (&["serve", "--max-body", "513"], "is not in 1..=512"),
        (&["serve", "--request-timeout", "18446744073709551615"], "is not in 1..=3600"),
        (&["serve", "--trusted-proxy", "proxy.example"], "10.0.0.0/8"),
        (&["job", "list", "--limit", "4294967295", "--url", "sqlite:q.db"], "is not in 1..=10000"),
        (
            &["item", "list", "--skip", "18446744073709551615", "--url", "sqlite:q.db"],
            "is not in 0..=2147483647",
        ),
        (&["access", "add-token", "ann", "--days", "3651"], "is not in 1..=3650"),
    ] {
        let output = run(folder.path(), arguments);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
    for arguments in
        [&["--help"][..], &["serve", "--help"], &["item", "import", "--help"], &["access", "--help"]]
    {
        let output = run(folder.path(), arguments);
        assert!(output.status.success() && text(&output.stdout).len() > 500, "{arguments:?}");
    }
    assert!(fs::read_dir(folder.path()).unwrap().next().is_none(), "nothing was made");
}
