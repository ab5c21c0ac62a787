//! A performer on a back end that is made with the public API alone: `back_end.rs`, and the files beside it.
//!
//! `cargo run --example back_end`

use std::sync::Arc;

use performer::model::SystemClock;
use performer::orchestrator::Observed;
use performer::prelude::*;

use back_end::SimpleBackEnd;

#[path = "back_end.rs"] // so its own modules are the files beside it, for the test that includes it too
mod back_end;

#[derive(serde::Serialize, serde::Deserialize)]
struct Payment {
    amount: u32,
}

struct Pay;

#[async_trait]
impl Transaction for Pay {
    type Content = Payment;
    type Output = ();

    async fn process(&mut self, payment: Payment, item: &TransactionItem) -> Result<(), Exception> {
        println!("item {}: pay {} (attempt {})", item.id(), payment.amount, item.retry_number());
        match payment.amount {
            0 => Err(BusinessException::new("there is nothing to pay").into()),
            1_000.. if item.retry_number() == 0 => Err(ApplicationException::new("the bank is busy").into()),
            _ => Ok(()),
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `connect` wraps its back ends in `Observed`, too: the calls are traced.
    let back_end = Arc::new(Observed::new(SimpleBackEnd::new(Arc::new(SystemClock::new()))));
    back_end.create_queue(NewQueueDefinition::new("Payments")).await?;
    for amount in [12, 0, 1_700] {
        back_end.add_queue_item("Payments", NewQueueItem::new(Payment { amount })).await?;
    }
    let summary = Performer::new("Payments", || Pay).robots(2).run_until_empty(back_end).await?;
    println!("{summary}");
    Ok(())
}
