//! What a transaction reads of assets: values of its types, credentials, for a minute each. Time is tokio's and paused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use performer::model::{AssetValue, KeyValue, NewAsset, NewValue, RobotAsset, ValueOf};
use performer::orchestrator::store::Store;
use performer::orchestrator::{AssetAdministration as _, Decorator, Result};
use performer::prelude::*;
use performer::secrecy::ExposeSecret as _;
use performer::testing::TestRun;
use serde_json::{Value, json};

fn plain(name: &str, value: AssetValue) -> NewAsset {
    NewAsset::global(name, NewValue::plain(ValueOf::Everybody, value))
}

fn text(name: &str, text: &str) -> NewAsset {
    plain(name, AssetValue::Text(text.to_owned()))
}

fn sap() -> NewAsset {
    NewAsset::global("SAP", NewValue::credential(ValueOf::Everybody, "ann", Some("hunter2".into())))
}

fn item() -> NewQueueItem {
    NewQueueItem::new(json!({}))
}

#[derive(serde::Deserialize, Debug, PartialEq)]
struct Mapping {
    #[serde(rename = "DE")]
    germany: String,
}

#[tokio::test]
async fn a_transaction_reads_values_of_its_types() {
    let performer = Performer::from_fn("Invoices", async |_: Value, item| {
        assert_eq!(item.asset::<i32>("Threshold").await?, 5);
        assert_eq!(item.asset::<u8>("threshold").await?, 5);
        assert!(item.asset::<bool>("Enabled").await?);
        assert_eq!(item.asset::<String>("Rate").await?, "0.25");
        assert!((item.asset::<f64>("Rate").await? - 0.25).abs() < f64::EPSILON);
        assert_eq!(item.asset::<Vec<String>>("Names").await?, ["a", "b"]);
        assert_eq!(item.asset::<Mapping>("Countries").await?, Mapping { germany: "Germany".to_owned() });
        assert_eq!(item.asset::<BTreeMap<String, String>>("Countries").await?.len(), 1);
        let sap = item.credential("SAP").await?;
        assert_eq!((sap.user_name.as_str(), sap.password.expose_secret()), ("ann", "hunter2"));
        assert!(!format!("{sap:?}").contains("hunter2"));
        assert_eq!(item.secret("Token").await?.expose_secret(), "hunter3");
        Ok(())
    });
    let pair = KeyValue { key: "DE".to_owned(), value: "Germany".to_owned() };
    let tested = TestRun::new(performer)
        .asset(plain("Threshold", AssetValue::Integer(5)))
        .asset(plain("Enabled", AssetValue::Bool(true)))
        .asset(text("Rate", "0.25"))
        .asset(text("Names", r#"["a","b"]"#))
        .asset(plain("Countries", AssetValue::KeyValueList(vec![pair])))
        .asset(sap())
        .asset(NewAsset::global("Token", NewValue::secret(ValueOf::Everybody, "hunter3".into())))
        .run(item())
        .await;
    assert_eq!(tested.status(), Status::Successful, "{:?}", tested.reason());
}

#[tokio::test]
async fn what_does_not_fit_is_said_without_the_value() {
    let performer = Performer::from_fn("Invoices", async |_: Value, item| {
        for (error, expected) in [
            (item.asset::<i32>("Nope").await.unwrap_err(), "asset \"Nope\" does not exist"),
            (
                item.asset::<i32>("Rate").await.unwrap_err(),
                "the value of the asset \"Rate\", a Text, is no i32",
            ),
            (
                item.asset::<u8>("Low").await.unwrap_err(),
                "the value of the asset \"Low\", a Integer, is no u8",
            ),
            (
                item.asset::<String>("SAP").await.unwrap_err(),
                "the asset \"SAP\" is a Credential: read it with its own method",
            ),
            (
                item.credential("Rate").await.unwrap_err(),
                "the value of the asset \"Rate\", a Text, is no credential",
            ),
            (
                item.secret("SAP").await.unwrap_err(),
                "the value of the asset \"SAP\", a Credential, is no secret",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
        let _: i32 = item.asset("Rate").await?;
        Ok(())
    });
    let run =
        TestRun::new(performer).asset(text("Rate", "hunter4")).asset(plain("Low", AssetValue::Integer(-1)));
    let tested = run.asset(sap()).run(item()).await;
    assert_eq!(tested.reason(), Some("the value of the asset \"Rate\", a Text, is no i32"));
    assert_eq!(tested.exception_type(), Some(performer::ExceptionType::ApplicationException));
}

/// Counts how often assets are read.
#[derive(Debug)]
struct Counting {
    store: Store,
    reads: AtomicUsize,
}

#[async_trait]
impl Decorator for Counting {
    fn inner(&self) -> &dyn Orchestrator {
        &self.store
    }

    async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await; // in tokio's time
        self.store.read_asset(name).await
    }
}

/// Reads the value, has it changed, and reads it before and after its minute.
async fn read_for_a_minute(store: Store, item: TransactionItem) -> Result<(), Exception> {
    let first: i32 = item.asset("Threshold").await?;
    let changed = plain("Threshold", AssetValue::Integer(2));
    store.update_asset("Threshold", changed).await?;
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(item.asset::<i32>("THRESHOLD").await?, first, "it is kept");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(item.asset::<i32>("Threshold").await?, 2, "it is read again");
    // An error is not kept.
    assert!(item.asset::<i32>("Later").await.is_err());
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_value_is_used_for_a_minute_by_all_robots() {
    let store = Store::memory();
    store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    store.create_asset(plain("Threshold", AssetValue::Integer(1))).await.unwrap();
    for _ in 0..8 {
        store.add_queue_item("Invoices", item()).await.unwrap();
    }
    let counting = Arc::new(Counting { store: store.clone(), reads: AtomicUsize::new(0) });
    let of_robots = counting.clone();
    let performer =
        Performer::from_fn("Invoices", move |_: Value, item| read_for_a_minute(store.clone(), item));
    let summary = performer.robots(4).handle_signals(false).run_until_empty(of_robots).await.unwrap();
    assert_eq!(summary.successful, 8);
    let reads = counting.reads.load(Ordering::Relaxed);
    // Two or three readings of the one, and one of the other for each item that does not find it.
    assert!((10..=12).contains(&reads), "{reads}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_performer_over_a_file_reads_what_another_program_wrote() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("a.db").display());
    let other = connect(&url).await.unwrap();
    other.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    other.add_queue_item("Invoices", item()).await.unwrap();
    other.assets().unwrap().create_asset(sap()).await.unwrap();
    let performer = Performer::from_fn("Invoices", async |_: Value, item| {
        Ok(json!({ "length": item.credential("SAP").await?.password.expose_secret().len() }))
    });
    let orchestrator = connect(&url).await.unwrap();
    performer.handle_signals(false).run_until_empty(orchestrator.clone()).await.unwrap();
    let items = orchestrator.list_queue_items(Default::default(), Default::default()).await.unwrap().items;
    assert_eq!(items[0].output.as_ref().unwrap().parse::<Value>().unwrap(), json!({"length": 7}));
}
