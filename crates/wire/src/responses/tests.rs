//! An item is serialized twice, with the same names.

use std::collections::BTreeMap;

use super::*;
use performer_core::model::content::{Analytics, Output, SpecificContent};
use performer_core::model::exception::{ExceptionType, ProcessingException};
use performer_core::model::key::{KeyMaker, QueueId};

/// What a program prints of an item has the names and the values that the API has.
#[test]
fn an_item_serializes_as_its_response_does() {
    let mut keys = KeyMaker::with_seed(1);
    let at: jiff::Timestamp = "2026-09-01T12:00:00.5Z".parse().unwrap();
    let content = SpecificContent::from_json(r#"{"iban":100000000000000000000000000001,"x":1.50}"#).unwrap();
    let mut item = QueueItem::new(ItemId(7), keys.item(at), QueueId(3), content, at);
    item.output = Some(Output::from_json(r#"{"paid":1.50}"#).unwrap());
    item.analytics = Some(Analytics::from_json(r#"{"n":1}"#).unwrap());
    item.outcome = Some(Outcome::BusinessException);
    item.processing_exception =
        Some(ProcessingException::new(ExceptionType::BusinessException, "the data is wrong", at));
    item.reference = Some("INV-1".to_owned());
    (item.due_date, item.start_processing) = (Some(at), Some(at));
    (item.executor_job, item.creator_job) = (Some(keys.job(at)), Some(keys.job(at)));
    let response = serde_json::to_string(&ItemResponse::new(&item, ItemContext::default())).unwrap();
    let response: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&response).unwrap();
    let item = serde_json::to_string(&item).unwrap();
    let item: BTreeMap<String, Box<RawValue>> = serde_json::from_str(&item).unwrap();
    assert!(item.len() > 30, "{item:?}");
    for (name, value) in item {
        match name.as_str() {
            "IsSuperseded" | "RobotNumber" => {
                assert!(!response.contains_key(&name), "{name} is ours");
            }
            "RowVersion" => assert_eq!(value.get(), "1", "a number for Rust, and bytes in the API"),
            "ProcessingException" => {
                let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
                assert_eq!(read(value.get()), read(response[&name].get()));
            }
            _ => assert_eq!(value.get(), response[&name].get(), "{name}"),
        }
    }
}
