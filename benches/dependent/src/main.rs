//! Drains a queue with 64 robots that do nothing, and prints how many seconds it took.
//!
//! Built by the bench `drain` outside of the workspace, with nothing set: `sqlite.drain.dependent` compares it with the
//! same program as the workspace builds it. Arguments: an empty folder, how many items, how many to claim ahead.

#![expect(clippy::disallowed_methods, reason = "a bench reads the machine's clock")]

use std::time::Instant;

use performer::CommitType;
use performer::prelude::*;
use serde::{Deserialize, Serialize};

const QUEUE: &str = "Bench";

/// About 200 bytes of it.
#[derive(Serialize, Deserialize)]
struct Content {
    invoice: String,
    customer: u32,
    amount: f64,
    text: String,
}

struct Nothing;

#[async_trait]
impl Transaction for Nothing {
    type Content = Content;
    type Output = ();

    async fn process(&mut self, content: Content, _: &TransactionItem) -> Result<(), Exception> {
        std::hint::black_box((content.invoice, content.customer, content.amount, content.text));
        Ok(())
    }
}

async fn drain(folder: &str, count: usize, ahead: usize) -> f64 {
    let orchestrator = connect(&format!("sqlite:{folder}/dependent.db")).await.expect("a file");
    orchestrator.create_queue(NewQueueDefinition::new(QUEUE)).await.expect("a queue");
    let content = || Content {
        invoice: "INV-536365".to_owned(),
        customer: 17_850,
        amount: 139.12,
        text: "x".repeat(130),
    };
    let items = (0..count).map(|_| NewQueueItem::new(content())).collect();
    let added = orchestrator.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await;
    assert_eq!(added.expect("added").added, count as u64);
    let performer = Performer::new(QUEUE, || Nothing).robots(64).claim_ahead(ahead).handle_signals(false);
    let started = Instant::now();
    let summary = performer.run_until_empty(orchestrator).await.expect("a summary");
    assert_eq!(summary.successful, count as u64);
    started.elapsed().as_secs_f64()
}

pub fn main() {
    // The arguments before these, if there are any, are those of a program that contains this one.
    let arguments: Vec<String> = std::env::args().collect();
    let [.., folder, count, ahead] = arguments.as_slice() else { panic!("folder, count, ahead") };
    let (count, ahead) = (count.parse().expect("a count"), ahead.parse().expect("how many ahead"));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    println!("{}", runtime.block_on(drain(folder, count, ahead)));
}
