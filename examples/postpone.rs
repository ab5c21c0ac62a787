//! Postpones an item to a later time, which is not a failure and uses no retry.
//!
//! `cargo run --example postpone`

use std::time::Duration;

use performer::prelude::*;
use performer::{PerformerEvent, Status};

struct Ship;

#[async_trait]
impl Transaction for Ship {
    type Content = Order;
    type Output = ();

    async fn process(&mut self, order: Order, item: &TransactionItem) -> Result<(), Exception> {
        check_stock(&order, item)?; // `?` carries a postponement from any depth
        println!("shipped {} (attempt {})", order.article, item.retry_number());
        Ok(())
    }
}

fn check_stock(order: &Order, item: &TransactionItem) -> Result<(), Exception> {
    let first_look = item.queue_item().defer_date.is_none();
    if order.article == "umbrella" && first_look {
        println!("no {} in stock, look again in two seconds", order.article);
        return Err(Exception::postpone_for(Duration::from_secs(2)));
    }
    Ok(())
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Order {
    article: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let orchestrator = connect("memory:").await?;
    let no_retries = QueuePolicy::default().max_number_of_retries(0);
    orchestrator.create_queue(NewQueueDefinition::new("Orders").policy(no_retries)).await?;
    for article in ["umbrella", "raincoat"] {
        orchestrator
            .add_queue_item("Orders", NewQueueItem::new(Order { article: article.to_owned() }))
            .await?;
    }

    // `run` goes on until it is stopped, here after the second parcel. (`run_until_empty` would leave what waits
    // for a later time where it is.)
    let performer = Performer::new("Orders", || Ship);
    let stop = performer.stop_handle();
    let shipped = std::sync::atomic::AtomicU32::new(0);
    let performer = performer.on_event(move |event| {
        let successful = matches!(
            event,
            PerformerEvent::TransactionEnded { outcome: performer::TransactionOutcome::Successful, .. }
        );
        if successful && shipped.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 1 {
            stop.stop();
        }
    });
    let summary = performer.run(orchestrator.clone()).await?;
    println!("{summary}");
    assert_eq!(orchestrator.queue_statistics("Orders").await?.with_status(Status::Successful), 2);
    Ok(())
}
