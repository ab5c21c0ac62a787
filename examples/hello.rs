//! The smallest performer: a queue, three items, one transaction.
//!
//! `cargo run --example hello`

use performer::prelude::*;

struct Greet;

#[async_trait]
impl Transaction for Greet {
    type Content = Person;
    type Output = ();

    async fn process(&mut self, person: Person, item: &TransactionItem) -> Result<(), Exception> {
        if person.name.is_empty() {
            return Err(BusinessException::new("nobody to greet").into());
        }
        println!("item {}: hello, {}", item.id(), person.name);
        Ok(())
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Person {
    name: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let orchestrator = connect("memory:").await?;
    orchestrator.create_queue(NewQueueDefinition::new("People")).await?;
    for name in ["Ada", "", "Grace"] {
        let item = NewQueueItem::new(Person { name: name.to_owned() });
        orchestrator.add_queue_item("People", item).await?;
    }
    let summary = Performer::new("People", || Greet).run_until_empty(orchestrator).await?;
    println!("{summary}");
    Ok(())
}
