//! `performer item` and `performer reason`: items are found by filters, and acted on.

use std::sync::Arc;

use performer::orchestrator::store::Store;
use performer::prelude::*;
use serde_json::{Value, json};

use super::{command, done, json, text};

/// Fails for even numbers: every fourth with a business exception.
struct Flaky {
    works: bool,
}

#[derive(serde::Deserialize)]
struct Number {
    n: u64,
}

#[async_trait]
impl Transaction for Flaky {
    type Content = Number;
    type Output = ();

    async fn process(&mut self, number: Number, _: &TransactionItem) -> Result<(), Exception> {
        match number.n {
            n if self.works || n % 2 == 1 => Ok(()),
            n if n % 4 == 0 => Err(BusinessException::new(format!("customer {n} is unknown")).into()),
            n => Err(ApplicationException::new(format!("the ledger did not answer for {n}")).into()),
        }
    }
}

async fn drain(store: &Store, works: bool) {
    let performer = Performer::new("Invoices", move || Flaky { works }).handle_signals(false);
    performer.run_until_empty(Arc::new(store.clone())).await.unwrap();
}

/// A file with forty items, of which ten failed by each kind of exception.
struct Failures {
    folder: tempfile::TempDir,
    store: Store,
}

impl Failures {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path().join("failures.db")).await.unwrap();
        let mut queue = NewQueueDefinition::new("Invoices");
        queue.policy.max_number_of_retries = 0;
        store.create_queue(queue).await.unwrap();
        for n in 0..40 {
            let item = NewQueueItem::new(json!({ "n": n })).reference(format!("INV-{n:02}"));
            store.add_queue_item("Invoices", item).await.unwrap();
        }
        drain(&store, false).await;
        Self { folder, store }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = command(self.folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:failures.db");
        command
    }

    /// The references of the items that a list finds.
    fn list(&self, filters: &[&str]) -> Vec<String> {
        let items = json(self.command(&[&["item", "list", "--json"], filters].concat()));
        let reference = |item: &Value| item["Reference"].as_str().unwrap().to_owned();
        items.as_array().unwrap().iter().map(reference).collect()
    }

    /// The exit code, and what was printed to stdout and stderr.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_find_items() {
    let failures = Failures::new().await;
    let count = |filters: &[&str]| failures.list(filters).len();
    assert_eq!(count(&["--status", "Failed"]), 20);
    assert_eq!(count(&["--status", "failed,Successful", "--queue", "invoices"]), 40);
    assert_eq!(count(&["--type", "Business", "--status", "Failed", "--ended", "1h"]), 10);
    assert_eq!(count(&["--type", "Application", "--ended", "..2001-01-01"]), 0);
    assert_eq!(count(&["--ref", "INV-1*"]), 10);
    assert_eq!(count(&["--reviewer", "none", "--priority", "Normal,High", "--created", "24h.."]), 40);
    assert_eq!(count(&["--robot", "7"]), 0);
    assert_eq!(failures.list(&["--sort", "ref", "--top", "2"]), ["INV-00", "INV-01"]);
    assert_eq!(failures.list(&["--sort", "-ref", "--skip", "38"]), ["INV-01", "INV-00"]);
    assert_eq!(failures.list(&["--oldest", "--top", "1"]), ["INV-00"]);

    let (_, first, said) = failures.run(&["item", "list", "--top", "3"]);
    assert!(first.contains("INV-39") && said.contains("3 of 40 items"), "{first}{said}");
    let position = said.trim().rsplit(' ').next().unwrap();
    assert_eq!(failures.list(&["--after", position, "--top", "1"]), ["INV-36"]);
    let lines = done(failures.command(&["item", "list", "--output", "jsonl", "--status", "Failed"]));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.len() == 20 && lines.iter().all(|item| item["Status"] == "Failed"));

    for (wrong, says) in [
        (&["--status", "Broken"][..], "\"Broken\" is not a Status"),
        (&["--status", ","], "a value is missing in \",\""),
        (&["--status", ""], "--status has no value"),
        (&["--ref", ""], "--ref has no value"),
        (&["--ended", "soon"], "\"soon\" is not a time"),
        (&["--sort", "colour"], "one of id, created"),
    ] {
        let (code, _, said) = failures.run(&[&["item", "list"], wrong].concat());
        assert!(code == 2 && said.contains(says), "{wrong:?}: {said}");
    }
    let (code, ..) = failures.run(&["item", "list", "--queue", "Nothing"]);
    assert_eq!(code, 5, "there is no such queue");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_filters_select_is_shown_before_it_is_changed() {
    let failures = Failures::new().await;
    let business = ["--status", "Failed", "--type", "Business"];
    let (code, shown, said) =
        failures.run(&[&["item", "review", "Verified"], &business[..], &["--dry-run"]].concat());
    assert_eq!((code, shown.lines().count()), (0, 11), "{shown}");
    assert!(said.contains("10 items would be reviewed"), "{said}");
    let (code, _, said) = failures.run(&[&["item", "review", "Verified"], &business[..]].concat());
    assert!(code == 2 && said.contains("--yes"), "nobody can be asked: {said}");
    assert_eq!(failures.list(&["--review", "Verified"]).len(), 0, "nothing was changed");

    let (code, shown, _) =
        failures.run(&[&["item", "review", "Verified"], &business[..], &["--yes"]].concat());
    assert_eq!((code, shown.trim()), (0, "10 items are reviewed"));
    assert_eq!(failures.list(&["--review", "Verified"]).len(), 10);

    let id =
        failures.store.list_queue_items(performer::ItemFilter::default(), performer::Page::first(1)).await;
    let id = id.unwrap().items[0].id.to_string();
    let (code, _, said) = failures.run(&["item", "retry", &id]);
    assert!(code == 3 && said.contains(&format!("item {id} is refused")), "it is Verified: {said}");
    done(failures.command(&["item", "comment", "the customer called", &id, "--author", "Ada"]));
    let comments = failures.store.comments(performer::ItemId(id.parse().unwrap())).await.unwrap();
    assert_eq!(
        (&*comments[0].text, comments[0].author.user_name.as_deref()),
        ("the customer called", Some("Ada"))
    );
    let (code, _, said) = failures.run(&["item", "comment", " ", &id]);
    assert!(code == 3 && said.contains("a comment has"), "{said}");
    done(failures.command(&["item", "assign", "17", "--status", "Failed", "--type", "Application", "--yes"]));
    assert_eq!(failures.list(&["--reviewer", "17"]).len(), 10);
    done(failures.command(&["item", "assign", "none", "--reviewer", "17", "--top", "4", "--yes"]));
    assert_eq!(failures.list(&["--reviewer", "17"]).len(), 6);
    let deleted = json(failures.command(&["item", "delete", "--status", "Failed", "--yes", "--json"]));
    assert_eq!(deleted, json!({ "Deleted": 20, "Refused": 0 }));
    done(failures.command(&["item", "purge", "--status", "Deleted", "--top", "2", "--yes"]));
    let (code, ..) = failures.run(&["item", "delete"]);
    assert_eq!(code, 2, "which items?");
    let (code, ..) = failures.run(&["item", "delete", "1", "--status", "New", "--yes"]);
    assert_eq!(code, 2, "ids or filters");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_of_one_reason_are_retried_after_a_canary() {
    let failures = Failures::new().await;
    let reasons = json(failures.command(&["reason", "list", "--queue", "Invoices", "--json"]));
    let reasons = reasons.as_array().unwrap();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    let of = |kind: &str| reasons.iter().find(|reason| reason["Type"] == kind).unwrap();
    let ledger = of("ApplicationException");
    assert_eq!((&ledger["Open"], &ledger["Total"]), (&json!(10), &json!(10)));
    let table = done(failures.command(&["reason", "list"]));
    assert!(table.contains("the ledger did not answer for") && table.contains("Application"), "{table}");

    let number = ledger["Id"].to_string();
    let canary = ["item", "retry", "--reason", &number, "--status", "Failed", "--canary", "5", "--yes"];
    // Nothing has been mended: the first five fail again, and the others stay as they are.
    let again = failures.command(&canary).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let output = drain_until_ended(&failures.store, again, false).await;
    let said = text(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("the others are not retried"), "{said}");
    assert_eq!(failures.list(&["--reason", &number, "--status", "Failed", "--review", "Retried"]).len(), 5);
    let open = failures.list(&["--reason", &number, "--status", "Failed", "--review", "None"]);
    assert_eq!(open.len(), 10, "five are left, and five have failed once more");

    let canary = [&canary[..], &["--review", "None"]].concat();
    let again = failures.command(&canary).stdout(std::process::Stdio::piped()).spawn().unwrap();
    let output = drain_until_ended(&failures.store, again, true).await;
    assert_eq!((output.status.code(), text(&output.stdout).trim()), (Some(0), "10 items are retried"));
    drain(&failures.store, true).await;
    assert_eq!(failures.list(&["--reason", &number, "--status", "Failed", "--review", "None"]).len(), 0);
    let all_failed = done(failures.command(&["item", "retry", "--all-failed", "Invoices", "--yes"]));
    assert_eq!(all_failed.trim(), "10 items are retried");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_exported_can_be_imported() {
    let folder = tempfile::tempdir().unwrap();
    let of = |words: &[&str]| {
        let mut command = command(folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:trip.db");
        command
    };
    done(of(&["queue", "create", "From"]));
    let store = Store::sqlite(folder.path().join("trip.db")).await.unwrap();
    let contents = [
        r#"{"Total":1234567890123.25,"Code":"007","Open":true,"Reference":"in the content","Text":"a \"b\", c\nd"}"#,
        r#"{"Code":"=1+1","Open":null,"Priority":7}"#,
        "{}",
    ];
    for (n, content) in contents.iter().enumerate() {
        let mut item = NewQueueItem::from_json(content).reference(format!("R-{n}")).group("one");
        if n == 1 {
            item = item.priority(Priority::High).due_date("2031-01-01T00:00:00.5Z".parse().unwrap());
        }
        store.add_queue_item("From", item).await.unwrap();
    }
    for format in ["jsonl", "csv"] {
        let queue = format!("To{format}");
        done(of(&["queue", "create", &queue]));
        let (first, second) = (format!("first.{format}"), format!("second.{format}"));
        done(of(&["item", "export", &first, "--queue", "From", "--with-history"]));
        let imported = json(of(&["item", "import", &queue, &first, "--json"]));
        assert_eq!(imported, json!({ "Added": 3, "Refused": 0 }), "{format}");
        done(of(&["item", "export", &second, "--queue", &queue]));
        assert_eq!(exported(&of, &queue), exported(&of, "From"), "{format}");
        let twice = of(&["item", "export", &first]).output().unwrap();
        assert!(twice.status.code() == Some(2) && text(&twice.stderr).contains("--force"));
    }
    let stdout = done(of(&["item", "export", "-", "--ref", "R-0", "--queue", "From"]));
    assert!(stdout.contains(r#""content.Total":1234567890123.25"#), "{stdout}");
    let guarded = done(of(&["item", "export", "-", "--format", "csv", "--spreadsheet", "--queue", "From"]));
    assert!(guarded.contains("'=1+1"), "{guarded}");
    let unknown = of(&["item", "export", "rows.xlsx"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

/// The items of a queue as they are exported, in any order of their members. CSV does not tell null from a member that is absent.
fn exported(
    of: &impl Fn(&[&str]) -> std::process::Command,
    queue: &str,
) -> Vec<serde_json::Map<String, Value>> {
    let lines = done(of(&["item", "export", "-", "--queue", queue]));
    let item = |line: &str| {
        let mut item: serde_json::Map<String, Value> = serde_json::from_str(line).unwrap();
        item.retain(|_, value| !value.is_null());
        item
    };
    lines.lines().map(item).collect()
}

/// Processes what is retried until the command has ended.
async fn drain_until_ended(store: &Store, child: std::process::Child, works: bool) -> std::process::Output {
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let performer = Performer::new("Invoices", move || Flaky { works }).handle_signals(false);
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(Arc::new(store.clone())));
    let output = ended.await.unwrap();
    stop.stop();
    running.await.unwrap().unwrap();
    output
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_item_is_corrected_and_retried() {
    let failures = Failures::new().await;
    let failed = json(failures.command(&["item", "list", "--ref", "INV-04", "--json"]));
    let id = failed[0]["Id"].to_string();
    let copy = json(failures.command(&["item", "correct", &id, "n=5", "--priority", "High", "--json"]));
    assert_eq!((&copy["Status"], &copy["Priority"]), (&"New".into(), &"High".into()));
    assert_eq!(copy["SpecificContent"], json!({ "n": 5 }));
    let original = json(failures.command(&["item", "show", &id, "--json"]));
    assert!(original.to_string().contains(r#""ReviewStatus":"Retried""#), "{original}");
    for (words, code, says) in [
        (&["item", "correct", &id, "n=5"][..], 1, "cannot be reviewed"),
        (&["item", "correct", &id], 2, "nothing to correct was given"),
        (&["item", "correct", "999", "n=5"], 5, "999"),
        (&["item", "correct", &id, "n=5", "--url", "http://127.0.0.1:1"], 4, "no credentials"),
    ] {
        let (found, _, error) = failures.run(words);
        assert!(found == code && error.contains(says), "{words:?}: {found} {error}");
    }
    let listed = json(failures.command(&["audit", "list", "--act", "ItemEdited", "--json"]));
    assert_eq!(listed[0]["Items"][0], copy["Id"]);
}
