//! Replays and shadow runs over HTTP, with the UiPath client and a caller who may only look.

use std::process::ExitCode;
use std::sync::Arc;

use performer::orchestrator::uipath::Uipath;
use performer::prelude::*;
use performer::testing::{self, Shadow};
use performer::{ItemFilter, Page, ReferenceFilter, TransactionItem};
use serde_json::{Value, json};

use crate::Api;

/// All that can be seen of a queue: its items with their versions, the events of each, and the jobs.
async fn visible(api: &Api) -> String {
    let store = &api.served.store;
    let items = store.list_queue_items(ItemFilter::default(), Page::default()).await.unwrap().items;
    let mut text = format!("{items:?} {:?}", store.list_jobs(100).await.unwrap());
    for item in items {
        text += &format!("{:?}", store.item_events(item.id).await.unwrap());
    }
    text
}

struct NewRule;

#[async_trait]
impl Transaction for NewRule {
    type Content = Value;
    type Output = Value;

    async fn process(&mut self, content: Value, item: &TransactionItem) -> Result<Value, Exception> {
        item.progress("looking");
        match content["amount"].as_f64() {
            Some(amount) if amount > 0.0 => Ok(json!({ "total": amount * 2.0, "text": content["text"] })),
            Some(_) => Err(BusinessException::new("nothing to pay").into()),
            None => Err(ApplicationException::new("no amount").into()),
        }
    }
}

#[tokio::test]
async fn a_caller_who_may_only_look_replays_and_shadows() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
    let business = json!({"Reason": "nothing to pay", "Type": "BusinessException"});
    let failed = |exception: &Value| json!({"IsSuccessful": false, "ProcessingException": exception});
    let successful = |output: Value| json!({"IsSuccessful": true, "Output": output});
    for (reference, content, result) in [
        ("INV-1", json!({"amount": 10.50, "text": "ä"}), successful(json!({"total": 21.0, "text": "ä"}))),
        ("INV-2", json!({"amount": 2, "text": "b"}), successful(json!({"total": 5, "text": "b"}))),
        ("INV-3", json!({"amount": 0}), failed(&business)),
        ("PAY-4", json!({"text": "x"}), failed(&business)),
    ] {
        let item =
            json!({"itemData": {"Name": "Invoices", "Reference": reference, "SpecificContent": content}});
        let added = api.post("/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        assert_eq!(added.status, 201, "{}", added.text);
        let taken = api.take("Invoices").await.unwrap();
        assert_eq!(api.result(&taken, &result).await.status, 200);
    }
    let before = visible(&api).await;

    let roles =
        performer::server::Roles { roles: vec!["Viewer".to_owned()], folders: vec!["Shared".to_owned()] };
    let scopes = "OR.Queues.Read";
    let (id, secret) = api.served.access_admin.add_client("viewer", scopes, &roles).await.unwrap();
    let viewer = Uipath::builder(&api.served.url).client_credentials(id, secret).scope(scopes);
    let viewer: Arc<dyn Administration> = Arc::new(viewer.folder_path("Shared").connect().await.unwrap());
    // This caller would be refused with whatever it wrote.
    let refused = viewer.add_queue_item("Invoices", NewQueueItem::new(json!({"amount": 1}))).await;
    assert!(refused.unwrap_err().is_unauthorized());
    let work = Performer::new("Invoices", || NewRule).handle_signals(false);
    assert!(work.run_until_empty(viewer.clone()).await.is_err());

    let performer = || Performer::new("Invoices", || NewRule).handle_signals(false).robots(2);
    let report = performer().shadow(&*viewer, Shadow::last(10)).await.unwrap();
    assert_eq!((report.compared, report.equal, report.different), (4, 2, 2), "{report}");
    assert_eq!(report.exit_code(), ExitCode::from(3));
    let references: Vec<_> = report.items.iter().map(|item| item.reference.as_deref().unwrap()).collect();
    assert_eq!(references, ["INV-2", "PAY-4"]);
    let invoices = Shadow::last(1).reference(ReferenceFilter::StartsWith("INV-".to_owned()));
    let report = performer().shadow(&*viewer, invoices.status([Status::Successful])).await.unwrap();
    assert_eq!((report.compared, report.items[0].reference.as_deref()), (1, Some("INV-2")));

    let replayed = testing::replay(&*viewer, report.items[0].id, || NewRule).await.unwrap();
    assert_eq!(replayed.here.output::<Value>(), json!({"total": 4.0, "text": "b"}));
    assert_eq!(replayed.recorded.reference.as_deref(), Some("INV-2"));
    assert_eq!(replayed.differences().len(), 1, "{replayed}");
    let missing = testing::replay(&*viewer, performer::ItemId(404), || NewRule).await.unwrap_err();
    assert!(missing.to_string().starts_with("the recorded item could not be read"), "{missing}");

    assert_eq!(visible(&api).await, before);
    api.served.stop().await;
}
