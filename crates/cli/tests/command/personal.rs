//! Personal fields are masked in what the command prints, on a store and over HTTP, and revealed by an act of the audit; saved views.

use std::process::Command;

use performer::model::FolderId;
use performer::model::view::ViewContent;
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{ItemId, Schemas};
use serde_json::json;

use super::{Server, command, done, json, text};

const IBAN: &str = "DE89370400440532013000";

/// A file with an item whose field Iban is personal.
struct Personal {
    folder: tempfile::TempDir,
    store: Store,
    item: String,
}

impl Personal {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path().join("queue.db")).await.unwrap();
        let schema = r#"{"properties":{"Iban":{"x-personal":true}}}"#;
        let schemas = Schemas { specific_data: Some(schema.into()), ..Schemas::default() };
        store.create_queue(NewQueueDefinition::new("Invoices").schemas(schemas)).await.unwrap();
        let new = NewQueueItem::new(json!({"Iban": IBAN, "Total": 1})).reference("INV-1");
        let item = store.add_queue_item("Invoices", new).await.unwrap().id.to_string();
        Self { folder, store, item }
    }

    fn local(&self, words: &[&str]) -> Command {
        let mut command = command(self.folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:queue.db");
        command
    }
}

fn prints(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let printed = text(&output.stdout) + &text(&output.stderr);
    (output.status.code().unwrap(), printed)
}

/// What each command prints, made by `with`.
async fn is_masked_and_revealed(made: &Personal, with: &dyn Fn(&[&str]) -> Command) {
    let item = made.item.as_str();
    for words in [
        &["item", "show", item][..],
        &["item", "show", item, "--json"],
        &["item", "list", "--json"],
        &["item", "list", "-o", "jsonl"],
        &["item", "delete", "--dry-run", "--json", "--queue", "Invoices"],
    ] {
        let (code, printed) = prints(with(words));
        assert_eq!(code, 0, "{words:?}: {printed}");
        assert!(printed.contains("***") && !printed.contains(IBAN), "{words:?}: {printed}");
    }
    let (_, printed) = prints(with(&["item", "show", item]));
    assert!(printed.contains("masked: SpecificContent.Iban; --reveal REASON shows them"), "{printed}");
    let before = made.store.audit_from(0).await.unwrap().len();
    let (code, printed) = prints(with(&["item", "show", item, "--reveal", " "]));
    assert!(code != 0 && printed.contains("a reason is needed") && !printed.contains(IBAN), "{printed}");
    let shown = done(with(&["item", "show", item, "--reveal", "asked on the phone"]));
    assert!(shown.contains(IBAN), "{shown}");
    let mut records = made.store.audit_from(0).await.unwrap();
    assert_eq!(records.len(), before + 1);
    let entry = serde_json::to_value(&records.pop().unwrap().entry).unwrap();
    assert_eq!(
        (&entry["Act"], &entry["Changes"][0]["After"]),
        (&json!("PersonalRevealed"), &json!("asked on the phone"))
    );
    // What is left masked keeps its value.
    let edited = json(with(&["item", "edit", item, "--content", r#"{"Iban":"***","Total":2}"#, "--json"]));
    assert_eq!(edited["SpecificContent"], json!({"Iban": "***", "Total": 2}));
    done(with(&["item", "edit", item, "Total=3"]));
    let stored = made.store.get_queue_item(made.item.parse().map(ItemId).unwrap()).await.unwrap();
    assert_eq!(stored.specific_content.to_value(), json!({"Iban": IBAN, "Total": 3}));
    // A file that an import reads again has the values.
    let file = done(with(&["item", "export", "-", "--format", "jsonl"]));
    assert!(file.contains(IBAN), "{file}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn personal_fields_of_a_store_are_masked() {
    let made = Personal::new().await;
    is_masked_and_revealed(&made, &|words| made.local(words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn personal_fields_are_masked_over_http() {
    let made = Personal::new().await;
    let server =
        Server::known(made.folder.path(), &["--store", "sqlite:queue.db", "--listen", "127.0.0.1:0"]);
    is_masked_and_revealed(&made, &|words| server.command(made.folder.path(), words)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_saved_view_is_listed_by_its_name() {
    let made = Personal::new().await;
    let new = NewQueueItem::new(json!({"Total": 2})).reference("INV-2").priority(Priority::High);
    made.store.add_queue_item("Invoices", new).await.unwrap();
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let view = |name: &str| ViewContent {
        name: name.to_owned(),
        query: vec![pair("priority", "High"), pair("sort", "id"), pair("columns", "status,why")],
        folder: Some(FolderId::SHARED),
    };
    for user in [7, 8] {
        let store = made.store.in_scope(FolderId::SHARED, Some(user));
        store.add_view(view("twice")).await.unwrap();
    }
    let first = made.store.in_scope(FolderId::SHARED, Some(7)).add_view(view("Urgent ones")).await.unwrap();
    let server =
        Server::known(made.folder.path(), &["--store", "sqlite:queue.db", "--listen", "127.0.0.1:0"]);
    for is_local in [true, false] {
        let with = |words: &[&str]| {
            if is_local { made.local(words) } else { server.command(made.folder.path(), words) }
        };
        let references = |words: &[&str]| -> Vec<String> {
            let items = json(with(&[&["item", "list", "--json", "--view"], words].concat()));
            items
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["Reference"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(references(&["Urgent ones"]), ["INV-2"]);
        assert_eq!(references(&[&first.id.to_string()]), ["INV-2"]);
        assert_eq!(
            references(&["Urgent ones", "--priority", "Normal"]),
            ["INV-1"],
            "an option takes its place"
        );
        assert_eq!(
            references(&["Urgent ones", "--priority", "Normal,High", "--sort", "-id"]),
            ["INV-2", "INV-1"]
        );
        let (code, printed) = prints(with(&["item", "list", "--view", "unknown"]));
        assert_eq!(code, 5, "{printed}");
        assert!(printed.contains("views are") && printed.contains("\"Urgent ones\""), "{printed}");
        let (code, printed) = prints(with(&["item", "list", "--view", "twice"]));
        assert_eq!(code, 2, "{printed}");
        assert!(printed.contains("name one by its number"), "{printed}");
    }
}
