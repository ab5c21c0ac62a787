//! The type is the schema: queues whose schemas are made from types, and performers that compare theirs when they start.
#![cfg(feature = "schema")]

use std::sync::Arc;

use performer::prelude::*;
use performer::schemars::{self, JsonSchema};
use performer::{ErrorCode, ErrorKind, JobSummary, PerformerError, Schemas};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Invoice {
    number: String,
    pence: u32,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Posted {
    document: String,
}

async fn orchestrator() -> Arc<dyn Administration> {
    connect("memory:").await.unwrap()
}

async fn run<C, O>(
    orchestrator: &Arc<dyn Administration>,
    performer: impl FnOnce(Performer) -> Performer,
    output: impl Fn(&C) -> O + Clone + Send + Sync + 'static,
) -> Result<JobSummary, PerformerError>
where
    C: serde::de::DeserializeOwned + Send + Sync + 'static,
    O: Serialize + Send + 'static,
{
    let process = move |content: C, _| std::future::ready(Ok(output(&content)));
    let made = Performer::from_fn("Invoices", process).handle_signals(false);
    performer(made).run_until_empty(orchestrator.clone()).await
}

fn posted(invoice: &Invoice) -> Posted {
    Posted { document: format!("ERP-{}", invoice.number) }
}

#[tokio::test]
async fn the_schemas_of_a_queue_are_those_of_the_types() {
    let o = orchestrator().await;
    let queue = o.ensure_queue(NewQueueDefinition::of::<Invoice, Posted>("Invoices")).await.unwrap();
    assert_eq!(queue.schemas, Schemas::of_types::<Invoice, Posted>());
    let content: Value = serde_json::from_str(queue.schemas.specific_data.as_ref().unwrap()).unwrap();
    assert_eq!(content["required"], json!(["number", "pence"]), "what has a default may be absent");
    assert_eq!(content["properties"]["pence"]["minimum"], json!(0));
    o.ensure_queue(NewQueueDefinition::of::<Invoice, Posted>("Invoices"))
        .await
        .expect("the same types agree");

    o.add_queue_item("Invoices", NewQueueItem::new(json!({ "number": "1", "pence": 5 }))).await.unwrap();
    for wrong in
        [json!({ "number": "1" }), json!({ "number": 1, "pence": 5 }), json!({ "number": "1", "pence": -5 })]
    {
        let refused = o.add_queue_item("Invoices", NewQueueItem::new(wrong)).await.unwrap_err();
        assert_eq!(refused.code(), Some(ErrorCode::QUEUE_ITEM_SCHEMA_VIOLATION));
    }
    let summary = run(&o, Performer::check_schemas::<Invoice, Posted>, posted).await.unwrap();
    assert_eq!(summary.successful, 1);
}

#[tokio::test]
async fn a_type_that_is_no_struct_has_no_schema() {
    let schemas = Schemas::of_types::<Value, ()>();
    assert_eq!(schemas, Schemas::default());
    assert_eq!(Schemas::of_types::<u64, String>(), Schemas::default());
}

#[tokio::test]
async fn a_performer_whose_types_do_not_fit_says_so_before_it_claims_anything() {
    let o = orchestrator().await;
    let content = json!({
        "type": "object",
        "properties": { "number": { "type": ["string", "null"] }, "pence": { "type": "number" } },
        "required": ["number"],
    });
    let output =
        json!({ "type": "object", "properties": { "document": { "type": "string", "maxLength": 10 } } });
    let schemas = Schemas {
        specific_data: Some(content.to_string().into()),
        output_data: Some(output.to_string().into()),
        ..Schemas::default()
    };
    o.create_queue(NewQueueDefinition::new("Invoices").schemas(schemas)).await.unwrap();
    let item = NewQueueItem::new(json!({ "number": "1", "pence": 5 }));
    let added = o.add_queue_item("Invoices", item).await.unwrap();

    let refused = run(&o, Performer::check_schemas::<Invoice, Posted>, posted).await.unwrap_err();
    let PerformerError::NotStarted(error) = &refused else { panic!("{refused}") };
    assert_eq!(error.kind(), ErrorKind::Invalid);
    let shown = refused.to_string();
    for part in [
        "queue \"Invoices\" allows content that schema::Invoice does not accept",
        "\"number\" may be null",
        "\"pence\" may be absent",
        "\"pence\" may be 0.5",
        "queue \"Invoices\" does not accept each output of schema::Posted",
        "\"document\" may be",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let untouched = o.get_queue_item(added.id).await.unwrap();
    assert_eq!(untouched.status, Status::New);
    assert!(o.list_jobs(10).await.unwrap().is_empty(), "no job was registered");
    // Without the check it runs, and this item fits.
    assert_eq!(run(&o, |performer| performer, posted).await.unwrap().successful, 1);
}

#[tokio::test]
async fn a_queue_without_schemas_fits_and_a_missing_one_is_named() {
    let o = orchestrator().await;
    let missing = run(&o, Performer::check_schemas::<Invoice, Posted>, posted).await.unwrap_err();
    let PerformerError::NotStarted(error) = missing else { panic!("{missing}") };
    assert!(error.is_not_found(), "{error}");
    o.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    run(&o, Performer::check_schemas::<Invoice, Posted>, posted).await.unwrap();
}
