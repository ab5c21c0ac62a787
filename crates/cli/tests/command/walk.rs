//! A morning in the terminal: yesterday's failures are found by their reason, retried after a canary, reviewed and exported; on the
//! file of a store, and over the server that serves it.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use performer::model::{Clock as _, ManualClock, SystemClock};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use serde_json::{Value, json};

use super::{Server, command, done, json, text};

/// Posts invoices; while the ledger is down, those of every third number fail, and those of unknown customers always do.
struct Posting {
    ledger_is_up: bool,
}

#[derive(serde::Deserialize)]
struct Invoice {
    number: u64,
    customer: String,
}

#[async_trait]
impl Transaction for Posting {
    type Content = Invoice;
    type Output = ();

    async fn process(&mut self, invoice: Invoice, _: &TransactionItem) -> Result<(), Exception> {
        let Invoice { number, customer } = invoice;
        if customer == "unknown" {
            return Err(BusinessException::new(format!("customer {number} is unknown")).into());
        }
        if number % 3 == 0 && !self.ledger_is_up {
            return Err(ApplicationException::new(format!("the ledger did not answer for {number}")).into());
        }
        Ok(())
    }
}

/// The invoices of yesterday: 30 failed because of the ledger, 12 because of their customers, and 48 were posted.
async fn yesterday(path: &std::path::Path) {
    let clock = ManualClock::new(SystemClock::new().now() - Duration::from_secs(86_400));
    let store = Store::sqlite_with_clock(path, Arc::new(clock)).await.unwrap();
    let mut queue = NewQueueDefinition::new("Invoices");
    queue.policy.max_number_of_retries = 0;
    store.create_queue(queue).await.unwrap();
    for number in 0..90 {
        let customer = if number % 3 != 0 && number % 5 == 0 { "unknown" } else { "ACME" };
        let item = NewQueueItem::new(json!({ "number": number, "customer": customer }));
        store.add_queue_item("Invoices", item.reference(format!("INV-{number:02}"))).await.unwrap();
    }
    let performer = Performer::new("Invoices", || Posting { ledger_is_up: false }).handle_signals(false);
    performer.run_until_empty(Arc::new(store)).await.unwrap();
}

/// Runs a command while a performer works on the file, whose ledger is up.
async fn beside_a_performer(path: &std::path::Path, mut command: Command) -> (i32, String) {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap());
    let store = Store::sqlite(path).await.unwrap();
    let performer = Performer::new("Invoices", || Posting { ledger_is_up: true }).handle_signals(false);
    let stop = performer.stop_handle();
    let running = tokio::spawn(performer.run(Arc::new(store)));
    let output = ended.await.unwrap();
    stop.stop();
    running.await.unwrap().unwrap();
    (output.status.code().unwrap(), text(&output.stdout) + &text(&output.stderr))
}

async fn a_morning(folder: &std::path::Path, with: impl Fn(&[&str]) -> Command) {
    let path = folder.join("invoices.db");
    let listed = |words: &[&str]| -> Vec<Value> {
        let list =
            json(with(&[&["item", "list", "--queue", "Invoices", "--json", "--top", "200"], words].concat()));
        list.as_array().unwrap().clone()
    };
    // Yesterday's failures, by their reasons.
    let day = ["--ended", "yesterday"];
    assert_eq!(listed(&[&["--status", "Failed"], &day[..]].concat()).len(), 42);
    let reasons = json(with(&["reason", "list", "--queue", "Invoices", "--json"]));
    let open: Vec<_> = reasons
        .as_array()
        .unwrap()
        .iter()
        .map(|reason| (reason["Open"].as_i64().unwrap(), reason["Sample"].as_str().unwrap()))
        .collect();
    assert_eq!(open.len(), 2, "{reasons:#}");
    assert!(open[0].0 == 30 && open[0].1.starts_with("the ledger did not answer for "), "{reasons:#}");
    assert!(open[1].0 == 12 && open[1].1.starts_with("customer "), "{reasons:#}");
    let (ledger, customer) = (reasons[0]["Id"].to_string(), reasons[1]["Id"].to_string());
    done(with(&["reason", "note", &ledger, "the ledger was restored at 07:00"]));
    assert!(done(with(&["reason", "list"])).contains("the ledger was restored at 07:00"));

    // Five of those of the ledger first, and then the rest.
    let of_ledger = ["--reason", &ledger, "--status", "Failed", "--review", "None", "--ended", "yesterday"];
    let shown = with(&[&["item", "retry", "--dry-run"], &of_ledger[..]].concat()).output().unwrap();
    assert!(text(&shown.stderr).contains("30 items would be retried"), "{}", text(&shown.stderr));
    let retry = with(&[&["item", "retry", "--canary", "5", "--yes"], &of_ledger[..]].concat());
    let (code, said) = beside_a_performer(&path, retry).await;
    assert!(
        code == 0 && said.contains("30 items are retried") && said.contains("5 items are retried first"),
        "{said}"
    );
    let done_now = || listed(&["--status", "Successful", "--created", "1h"]).len();
    let ended = tokio::time::timeout(Duration::from_secs(60), async {
        // The last of them may still be on their way.
        while done_now() < 30 {
            beside_a_performer(&path, with(&["stats", "Invoices", "--follow", "-q"])).await;
        }
    });
    ended.await.unwrap();
    assert_eq!(listed(&of_ledger), [Value::Null; 0]);

    // Ten of those of unknown customers are verified; one is corrected, and what is left is exported.
    let of_customer = ["--reason", &customer, "--status", "Failed", "--review", "None"];
    let verify =
        [&["item", "review", "Verified", "--top", "10", "--yes", "--json"], &of_customer[..]].concat();
    assert_eq!(json(with(&verify)), json!({ "Reviewed": 10, "Refused": 0 }));
    let left = listed(&of_customer);
    assert_eq!(left.len(), 2);
    let id = left[0]["Id"].to_string();
    let copy = json(with(&[
        "item",
        "correct",
        &id,
        "customer=ACME",
        "--comment",
        "the customer was renamed",
        "--json",
    ]));
    assert_eq!((&copy["Status"], &copy["SpecificContent"]["customer"]), (&json!("New"), &json!("ACME")));
    let diff = json(with(&["item", "diff", &id, &copy["Id"].to_string(), "--json"]));
    let content: Vec<_> = diff.as_array().unwrap().iter().filter(|row| row["Part"] == "Content").collect();
    assert_eq!((content.len(), &content[0]["After"]), (1, &json!("\"ACME\"")));
    let file = folder.join("left.csv");
    let export = ["item", "export", file.to_str().unwrap(), "--queue", "Invoices"];
    done(with(&[&export[..], &of_customer[..]].concat()));
    let exported = std::fs::read_to_string(&file).unwrap();
    assert_eq!(exported.lines().count(), 2, "a header and an invoice: {exported}");
    assert!(exported.contains("unknown"), "{exported}");
    let reason = json(with(&["reason", "show", &customer, "--json"]));
    assert_eq!((&reason["Open"], &reason["Total"]), (&json!(1), &json!(12)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_morning_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    yesterday(&folder.path().join("invoices.db")).await;
    a_morning(folder.path(), |words| {
        let mut command = command(folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:invoices.db");
        command
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_morning_over_a_server() {
    let folder = tempfile::tempdir().unwrap();
    yesterday(&folder.path().join("invoices.db")).await;
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0", "--store", "sqlite:invoices.db"]);
    a_morning(folder.path(), |words| server.command(folder.path(), words)).await;
    assert_eq!(server.stop(), 0);
}
