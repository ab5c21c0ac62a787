//! `performer operation`, and a retry that is one.

use std::sync::Arc;

use performer::model::operation::{Act, OperationId, Plan};
use performer::model::{FolderId, LimitsEdit, Person};
use performer::orchestrator::store::{OperationItems, Store};
use performer::prelude::*;
use serde_json::json;

use super::{command, done, json, text};

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

#[test]
fn over_http_there_are_no_operations() {
    let folder = tempfile::tempdir().unwrap();
    for words in [
        &["operation", "list"][..],
        &["operation", "show", "1"],
        &["operation", "stop", "1"],
        &["operation", "resume", "1"],
        &["operation", "take-back", "1"],
    ] {
        let words = [words, &["--url", "http://127.0.0.1:9"]].concat();
        let output = command(folder.path(), &words).output().unwrap();
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("use the desk of the server"), "{said}");
    }
    let paced = ["item", "retry", "17", "--pace", "60", "--url", "http://127.0.0.1:9"];
    let output = command(folder.path(), &paced).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
}
