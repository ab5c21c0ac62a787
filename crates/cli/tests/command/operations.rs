//! `performer operation`, and a retry that is one.

use std::sync::Arc;

use performer::model::operation::{Act, OperationId, Plan};
use performer::model::{FolderId, LimitsEdit, Person};
use performer::orchestrator::store::{OperationItems, Store};
use performer::prelude::*;
use serde_json::json;

use super::{Server, command, done, json, text};

/// Fails always.
struct Broken;

#[async_trait]
impl Transaction for Broken {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: serde_json::Value, _: &TransactionItem) -> Result<(), Exception> {
        Err(BusinessException::new("the total is wrong").into())
    }
}

struct Failures {
    folder: tempfile::TempDir,
    store: Store,
}

impl Failures {
    /// A file with so many failed items.
    async fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path().join("failures.db")).await.unwrap();
        store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
        for n in 0..count {
            store.add_queue_item("Invoices", NewQueueItem::new(json!({ "n": n }))).await.unwrap();
        }
        let performer = Performer::new("Invoices", || Broken).handle_signals(false);
        performer.run_until_empty(Arc::new(store.clone())).await.unwrap();
        Self { folder, store }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        let mut command = command(self.folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:failures.db");
        command
    }

    /// The exit code, and what was printed to stdout and stderr.
    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }

    /// Makes a preview of an act on all failed items, as the desk does.
    async fn preview(&self, act: Act) -> OperationId {
        let by = Person { user_id: Some(3), user_name: Some("Ann".to_owned()) };
        let which =
            OperationItems::Matching(Box::new(performer::ItemFilter::default().status([Status::Failed])));
        let (folders, filter) = (Arc::new([FolderId::SHARED]), Some("status=Failed".to_owned()));
        self.store.preview_operation(folders, (Plan::new(act), by), which, filter).await.unwrap().id
    }

    /// Starts an operation on all failed items, and leaves it to others.
    async fn start(&self, act: Act) -> String {
        let id = self.preview(act).await;
        self.store.start_operation(id, None).await.unwrap();
        id.to_string()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_at_a_pace_is_an_operation() {
    let failures = Failures::new(3).await;
    let retry = ["item", "retry", "--queue", "Invoices", "--status", "Failed", "--pace", "6000", "--yes"];
    let (code, out, said) = failures.run(&retry);
    assert_eq!((code, out.trim()), (0, "3 items are retried"), "{said}");
    assert!(said.contains("operation 1 was started"), "{said}");
    let listed = json(failures.command(&["operation", "list", "--json"]));
    let operation = &listed[0];
    assert_eq!(
        (&operation["State"], &operation["Done"], &operation["Plan"]["Pace"], &operation["Filter"]),
        (&json!("Done"), &json!(3), &json!(6000), &json!("queue=Invoices&status=Failed"))
    );
    let table = done(failures.command(&["operation", "list", "-o", "csv"]));
    assert!(table.starts_with("OPERATION,ACT,STATE,") && table.contains("1,Retry,Done,3,3,0"), "{table}");
    assert_eq!(done(failures.command(&["operation", "list", "-o", "jsonl"])).lines().count(), 1);
    let (code, ..) = failures.run(&["item", "retry", "--status", "Failed", "--pace", "0", "--yes"]);
    assert_eq!(code, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_says_what_a_retry_means_for_its_queue() {
    let failures = Failures::new(3).await;
    failures.store.add_queue_item("Invoices", NewQueueItem::new(json!({}))).await.unwrap();
    let limits = LimitsEdit::default().max_in_progress(4);
    failures.store.edit_queue_limits("Invoices", limits).await.unwrap();
    let id = failures.preview(Act::Retry).await.to_string();
    let load =
        "Invoices: 3 copies, 4 items would wait, 0 are InProgress; 0 of at most 4 items are InProgress";
    let shown = done(failures.command(&["operation", "show", &id]));
    assert!(shown.contains(load) && shown.contains("a minute") | shown.contains("15 minutes"), "{shown}");
    failures.store.edit_queue_limits("Invoices", LimitsEdit::default().paused(true)).await.unwrap();
    let shown = done(failures.command(&["operation", "show", &id]));
    assert!(shown.contains("the queue is paused") && shown.contains("before it is resumed"), "{shown}");
    let select = ["item", "retry", "--queue", "Invoices", "--status", "Failed,New", "--dry-run"];
    let (code, _, said) = failures.run(&select);
    assert!(code == 0 && said.contains("Invoices: 3 copies, 4 items would wait"), "{said}");
    let id = failures.preview(Act::Delete).await.to_string();
    assert!(!done(failures.command(&["operation", "show", &id])).contains("copies"), "only a retry has some");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_is_stopped_resumed_and_taken_back() {
    let failures = Failures::new(3).await;
    let id = failures.start(Act::Retry).await;
    let (code, out, _) = failures.run(&["operation", "stop", &id]);
    assert_eq!((code, out.trim()), (0, "operation 1 is Stopped: 0 of 3 items done, 0 refused"));
    let shown = done(failures.command(&["operation", "show", &id]));
    assert!(shown.contains("it was stopped") && shown.contains("status=Failed"), "{shown}");
    let (code, _, said) = failures.run(&["operation", "stop", &id]);
    assert!(code == 1 && said.contains("operation 1 is not running"), "{said}");
    let (code, out, said) = failures.run(&["operation", "resume", &id]);
    assert!(code == 0 && out.contains("is Running") && said.contains("--follow"), "{out}{said}");
    failures.run(&["operation", "stop", &id]);
    let (code, out, _) = failures.run(&["operation", "resume", &id, "--follow"]);
    assert_eq!((code, out.trim()), (0, "operation 1 is Done: 3 of 3 items done, 0 refused"));
    let (code, out, _) = failures.run(&["operation", "take-back", &id, "--follow"]);
    assert_eq!((code, out.trim()), (0, "operation 2 is Done: 3 of 3 items done, 0 refused"));
    let deleted = json(failures.command(&["item", "list", "--status", "Deleted", "--json"]));
    assert_eq!(deleted.as_array().unwrap().len(), 3);
    let (code, _, said) = failures.run(&["operation", "take-back", &id]);
    assert!(code == 1 && said.contains("taken back already, by operation 2"), "{said}");
    assert!(done(failures.command(&["operation", "show", &id])).contains("operation 2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_is_listed_and_selected() {
    let failures = Failures::new(3).await;
    let id = failures.start(Act::Verify).await;
    failures.run(&["item", "review", "InReview", "2"]);
    failures.run(&["operation", "stop", &id]);
    let (code, out, _) = failures.run(&["operation", "resume", &id, "--follow"]);
    assert_eq!((code, out.trim()), (3, "operation 1 is Done: 2 of 3 items done, 1 refused"));
    let refused = done(failures.command(&["operation", "show", &id, "--refused", "-o", "csv"]));
    assert!(refused.starts_with("ITEM,CODE,REASON") && refused.contains("2,1020,"), "{refused}");
    let refused = json(failures.command(&["operation", "show", &id, "--refused", "--json"]));
    assert_eq!((&refused[0]["Id"], &refused[0]["Code"]), (&json!(2), &json!(1020)));
    let items = json(failures.command(&["item", "list", "--refused", &id, "--json"]));
    assert_eq!((items.as_array().unwrap().len(), &items[0]["Id"]), (1, &json!(2)));
    let (code, _, said) = failures.run(&["operation", "show", "99"]);
    assert!(code == 5 && said.contains("operation 99 does not exist"), "{said}");
}

/// A server over a file with failed items, and commands against it.
struct Served {
    failures: Failures,
    server: Server,
}

impl Served {
    async fn new(count: usize) -> Self {
        let failures = Failures::new(count).await;
        let server = Server::known(
            failures.folder.path(),
            &["--listen", "127.0.0.1:0", "--store", "sqlite:failures.db"],
        );
        Self { failures, server }
    }

    fn command(&self, words: &[&str]) -> std::process::Command {
        self.server.command(self.failures.folder.path(), words)
    }

    fn run(&self, words: &[&str]) -> (i32, String, String) {
        let output = self.command(words).output().unwrap();
        (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
    }
}

/// Only the URL changes: the same commands as over a file, and the server does the steps.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_keeps_operations_and_does_their_steps() {
    let served = Served::new(4).await;
    let retry =
        ["item", "retry", "--queue", "Invoices", "--status", "Failed", "--top", "3", "--pace", "6000", "-y"];
    let (code, out, said) = served.run(&retry);
    assert_eq!((code, out.trim()), (0, "3 items are retried"), "{said}");
    assert!(said.contains("operation 1 was started"), "{said}");
    let listed = json(served.command(&["operation", "list", "--json"]));
    let operation = &listed[0];
    assert_eq!(
        (&operation["State"], &operation["Done"], &operation["Plan"]["Pace"], &operation["Filter"]),
        (&json!("Done"), &json!(3), &json!(6000), &json!("queue=Invoices&status=Failed"))
    );
    assert!(operation["UserName"].is_string() && operation.get("Actor").is_none(), "{operation}");
    let table = done(served.command(&["operation", "list", "-o", "csv"]));
    assert!(table.contains("1,Retry,Done,3,3,0"), "{table}");
    let (code, out, said) = served.run(&["operation", "take-back", "1", "--follow"]);
    assert_eq!((code, out.trim()), (0, "operation 2 is Done: 3 of 3 items done, 0 refused"), "{said}");
    let (code, _, said) = served.run(&["operation", "take-back", "1"]);
    assert!(code == 1 && said.contains("taken back already, by operation 2"), "{said}");
    assert!(done(served.command(&["operation", "show", "1"])).contains("operation 2"));
    let (code, _, said) = served.run(&["operation", "show", "99"]);
    assert!(code == 5 && said.contains("peration 99 does not exist"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operation_on_a_server_is_stopped_and_resumed_and_says_what_it_refused() {
    let served = Served::new(3).await;
    // So slow that it waits behind its first item until it is stopped.
    let slow = Plan::new(Act::Retry).pace(1);
    let by = Person { user_id: Some(3), user_name: Some("Ann".to_owned()) };
    let which = OperationItems::Matching(Box::new(performer::ItemFilter::default().status([Status::Failed])));
    let store = &served.failures.store;
    let made = store.preview_operation(Arc::new([FolderId::SHARED]), (slow, by), which, None).await.unwrap();
    store.start_operation(made.id, None).await.unwrap();
    let (code, out, said) = served.run(&["operation", "stop", "1"]);
    assert!(code == 0 && out.contains("operation 1 is Stopped"), "{out}{said}");
    let (code, _, said) = served.run(&["operation", "stop", "1"]);
    assert!(code == 1 && said.contains("peration 1 is not running"), "{said}");
    let (code, out, said) = served.run(&["operation", "resume", "1"]);
    assert!(code == 0 && out.contains("is Running") && !said.contains("--follow"), "{out}{said}");
    served.run(&["operation", "stop", "1"]);

    let id = served.failures.start(Act::Verify).await;
    // It may have acted on the item already; then nothing is left to be refused, and the item is Verified.
    let (code, out, said) = served.run(&["operation", "resume", "1"]);
    assert!(code == 0, "{out}{said}");
    let shown = loop {
        let shown = json(served.command(&["operation", "show", &id, "--json"]));
        if shown["State"] == "Done" {
            break shown;
        }
    };
    let refused = json(served.command(&["operation", "show", &id, "--refused", "--json"]));
    assert_eq!(refused.as_array().unwrap().len() as u64, shown["Refused"].as_u64().unwrap(), "{refused}");
    let listed = json(served.command(&["item", "list", "--refused", &id, "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), refused.as_array().unwrap().len(), "{listed}");
}

/// What a UiPath Orchestrator lacks is said, and is no wrong usage of a list.
#[test]
fn a_uipath_orchestrator_keeps_no_operations() {
    let folder = tempfile::tempdir().unwrap();
    // In strict mode our server is like one.
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0", "--strict", "--store", "memory:"]);
    for (words, told) in [
        (&["operation", "list"][..], "keeps no operations"),
        (&["operation", "show", "1"], "keeps no operations"),
        (&["operation", "stop", "1"], "keeps no operations"),
        (&["operation", "resume", "1"], "keeps no operations"),
        (&["operation", "take-back", "1"], "keeps no operations"),
        (&["audit", "list"], "has no audit"),
        (&["audit", "verify"], "has no audit"),
        (&["audit", "export"], "has no audit"),
    ] {
        let output = server.command(folder.path(), words).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(told), "{words:?}: {said}");
    }
    let paced = server.command(folder.path(), &["item", "retry", "17", "--pace", "60"]).output().unwrap();
    let said = text(&paced.stderr);
    assert!(paced.status.code() == Some(2) && said.contains("keeps no operations"), "{said}");
}
