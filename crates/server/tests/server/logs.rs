//! Robot logs (orchestrator-api 16), over stores in memory, in a file and in PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use performer::ItemId;
use performer::model::ManualClock;
use performer::model::log::{LogFilter, LogRetention};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::robot_logs::robot_logs;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;

use crate::{Api, start_of_time};
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};

const SUBMIT: &str = "/api/Logs/SubmitLogs";
const TOTAL: &str = "/odata/RobotLogs/UiPath.Server.Configuration.OData.GetTotalCount";

async fn both(test: impl AsyncFn(Api)) {
    let folder = tempfile::tempdir().unwrap();
    let clock = || Arc::new(ManualClock::new(start_of_time()));
    let (of_memory, of_file) = (clock(), clock());
    let file = Store::sqlite_with_clock(folder.path().join("q.db"), of_file.clone()).await.unwrap();
    test(Api::over(Store::memory_with_clock(of_memory.clone()), of_memory, |server| server).await).await;
    test(Api::over(file, of_file, |server| server).await).await;
}

fn entry(message: &str, level: &str, time: &str, more: &Value) -> String {
    let mut entry = json!({"message": message, "level": level, "timeStamp": time, "processName": "Invoices"});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry.to_string()
}

/// The messages that a query lists, and their number.
async fn listed(api: &Api, query: &str) -> (Vec<String>, Value) {
    let got = api.get(&format!("/odata/RobotLogs?{query}")).await;
    assert_eq!(got.status, 200, "{query}: {}", got.text);
    let rows = got.body["value"].as_array().unwrap();
    let messages = rows.iter().map(|row| row["Message"].as_str().unwrap_or("-").to_owned()).collect();
    (messages, got.body["@odata.count"].clone())
}

#[tokio::test]
async fn submitted_lines_are_listed_filtered_and_counted() {
    both(async |mut api| {
        api.clock.advance(Duration::from_secs(86_400));
        api.token = api.login(CLIENT, SECRET, None).await.unwrap();
        api.queue(&json!({"Name": "Invoices"})).await;
        let job = crate::bad_requests::job(&api).await;
        let other = "8066c309-cef8-4b47-9163-b273fc14cc43";
        let lines = json!([
            entry("b", "Warning", "2026-03-01T10:00:02.5+01:00", &json!({"jobId": job, "robotName": "R1", "item": "7"})),
            entry("a", "Information", "2026-03-01T09:00:01Z", &json!({"jobId": job, "machineName": "m", "custom": {"x": 1}})),
            entry("c", "Critical", "2026-03-01T09:00:03Z", &json!({"jobId": other, "windowsIdentity": "D\\u"})),
        ]);
        let sent = api.post(SUBMIT, &lines).await;
        assert_eq!((sent.status, sent.text.as_str()), (200, ""));
        let one = json!({"message": "d", "level": "Trace", "timeStamp": "2030-01-01T00:00:00Z", "processName": "Other"});
        assert_eq!(api.post("/api/Logs", &one).await.status, 200);

        let rows = api.get("/odata/RobotLogs").await.body["value"].clone();
        let first = &rows[0];
        for (member, expected) in [
            ("Level", json!("Info")),
            ("ProcessName", json!("Invoices")),
            ("TimeStamp", json!("2026-03-01T09:00:01Z")),
            ("Message", json!("a")),
            ("JobKey", json!(job)),
            ("HostMachineName", json!("m")),
            ("RobotName", Value::Null),
        ] {
            assert_eq!(first[member], expected, "{member}: {first}");
        }
        let raw: Value = serde_json::from_str(first["RawMessage"].as_str().unwrap()).unwrap();
        assert_eq!(raw["custom"]["x"], 1);
        assert_eq!((&rows[1]["RobotName"], &rows[2]["WindowsIdentity"]), (&json!("R1"), &json!("D\\u")));
        // A time that is still to come is the server's.
        assert_eq!((&rows[3]["Message"], &rows[3]["TimeStamp"]), (&json!("d"), &json!("2026-03-02T08:00:00Z")));

        let second = "2026-03-01T09:00:02.5Z";
        for (query, expected) in [
            (String::new(), &["a", "b", "c", "d"][..]),
            ("$orderby=TimeStamp desc".to_owned(), &["d", "c", "b", "a"]),
            ("$orderby=TimeStamp desc,Id desc&$top=2".to_owned(), &["d", "c"]),
            ("$orderby=Id&$skip=1&$top=2".to_owned(), &["a", "c"]),
            ("$orderby=Level desc&$top=1".to_owned(), &["c"]),
            (format!("$filter=JobKey eq {job}"), &["a", "b"]),
            (format!("$filter=JobKey in ('{job}','{other}') and Level ge 'Warn'"), &["b", "c"]),
            (format!("$filter=JobKey eq {job} and JobKey ne {job}"), &[]),
            ("$filter=Level eq 'Fatal' or Level eq '0'".to_owned(), &["c", "d"]),
            ("$filter=Level in (2,3)".to_owned(), &["a", "b"]),
            ("$filter=Level lt 'Trace'".to_owned(), &[]),
            (format!("$filter=TimeStamp ge {second}"), &["b", "c", "d"]),
            (format!("$filter=TimeStamp gt {second}"), &["c", "d"]),
            (format!("$filter=TimeStamp le {second}"), &["a", "b"]),
            (format!("$filter=TimeStamp lt {second}"), &["a"]),
            (format!("$filter=TimeStamp eq {second}"), &["b"]),
            (format!("$filter=TimeStamp ne {second} and TimeStamp lt 2026-03-02"), &["a", "c"]),
            ("$filter=TimeStamp gt 2026-03-01T09:00:02.4999999Z and TimeStamp lt 2026-03-02".to_owned(), &["b", "c"]),
            ("$filter=ProcessName eq 'Other'".to_owned(), &["d"]),
            ("$filter=contains(tolower(Message),'a') or endswith(RobotName,'1')".to_owned(), &["a", "b"]),
            ("$filter=not (Level eq 'Info') and ProcessName ne 'Other'".to_owned(), &["b", "c"]),
        ] {
            let (messages, count) = listed(&api, &format!("{query}&$count=true")).await;
            assert_eq!(messages, expected, "{query}");
            if !query.contains("$top") {
                assert_eq!(count, json!(expected.len()), "{query}");
                if let Some(filter) = query.strip_prefix("$filter=") {
                    let total = api.get(&format!("{TOTAL}?$filter={filter}")).await.body["value"].clone();
                    assert_eq!(total, json!(expected.len()), "{query}");
                }
            }
        }
        assert_eq!(api.get(TOTAL).await.body["value"], 4);
        assert_eq!(api.get("/odata/RobotLogs/$count?$filter=Level eq 'Warn'").await.text, "1");
        for wrong in ["$filter=Level eq 'Loud'", "$filter=Nope eq 1", "$orderby=Nope", "$top=1001", "$expand=Robot"] {
            let got = api.get(&format!("/odata/RobotLogs?{wrong}")).await;
            assert_eq!((got.status, got.code()), (400, 1000), "{wrong}: {}", got.text);
        }
    })
    .await;
}

#[tokio::test]
async fn wrong_lines_are_refused_together() {
    both(async |api| {
        let good = entry("a", "Information", "2026-03-01T08:00:00Z", &json!({}));
        for (lines, why) in [
            (json!([good, "{"]), "entry 2"),
            (json!([good, good, "[]"]), "entry 3"),
            (json!([entry("a", "Loud", "2026-03-01T08:00:00Z", &json!({}))]), "level"),
            (json!([entry("a", "Error", "soon", &json!({}))]), "timeStamp"),
            (json!([{"message": "an object"}]), "request is invalid"),
            (json!({"message": "an object"}), "request is invalid"),
            (json!([]), "no entries"),
            (json!(vec![good.clone(); 10_001]), "10001 entries"),
        ] {
            let got = api.post(SUBMIT, &lines).await;
            assert!(got.status == 400 && got.is_api_error(), "{}", got.text);
            assert!(got.body["message"].as_str().unwrap().contains(why), "{why}: {}", got.text);
        }
        let got = api.post("/api/Logs", &json!({"level": "Loud"})).await;
        assert_eq!((got.status, got.code()), (400, 1009), "{}", got.text);
        assert_eq!(api.get(TOTAL).await.body["value"], 0, "nothing of them is kept");
        let long = entry(&"x".repeat(100_000), "Error", "2026-03-01T08:00:00Z", &json!({"other": "y"}));
        assert_eq!(api.post(SUBMIT, &json!([long])).await.status, 200);
        let row = api.get("/odata/RobotLogs").await.body["value"][0].clone();
        assert_eq!(row["Message"].as_str().unwrap().len(), 10_000);
    })
    .await;
}

/// Lines are in the folder of the call, else in that of their job; callers of other folders do not see them.
#[tokio::test]
async fn lines_belong_to_folders() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap();
    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let in_shared = crate::bad_requests::job(&api).await;
    let queue = json!({"Name": "Payroll"});
    assert_eq!(
        api.call_as(&finance, Some("Finance"), "POST", "/odata/QueueDefinitions", &queue).await.status,
        201
    );
    let body = json!({"queue": "Payroll", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    let started = api.call_as(&finance, Some("Finance"), "POST", "/api/Performer/StartJob", &body).await.body;
    let in_finance = started["job"].as_str().unwrap();
    let line = |message: &str, more: Value| json!([entry(message, "Info", "2026-03-01T08:00:00Z", &more)]);
    for (message, folder, more) in [
        ("by the header", Some("Finance"), json!({ "jobId": in_shared })),
        ("by the job", None, json!({ "jobId": in_finance })),
        ("by neither", None, json!({})),
        ("by the shared job", None, json!({ "jobId": in_shared })),
    ] {
        let sent = api.call_as(&api.token, folder, "POST", SUBMIT, &line(message, more)).await;
        assert_eq!(sent.status, 200, "{}", sent.text);
    }
    // Another folder than the caller's is not written to.
    let sent = api
        .call_as(&finance, None, "POST", SUBMIT, &line("elsewhere", json!({"organizationUnitId": 1})))
        .await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let messages = async |token: &str, folder: Option<&str>| {
        let got = api.call_as(token, folder, "GET", "/odata/RobotLogs", &Value::Null).await;
        assert_eq!(got.status, 200, "{}", got.text);
        let rows = got.body["value"].as_array().unwrap().clone();
        rows.iter().map(|row| row["Message"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let of_finance = ["by the header", "by the job", "elsewhere"];
    assert_eq!(messages(&finance, None).await, of_finance);
    assert_eq!(messages(&api.token, Some("Finance")).await, of_finance);
    assert_eq!(messages(&api.token, Some("Shared")).await, ["by neither", "by the shared job"]);
    assert_eq!(messages(&api.token, None).await.len(), 5);
}

/// What is old is removed, and so are the oldest of too many, in chunks.
#[tokio::test]
async fn old_lines_are_removed() {
    both(async |mut api| {
        api.served.store.trust_clock();
        for day in 1..=9 {
            let line = entry(&format!("day {day}"), "Info", &format!("2026-03-0{day}T09:00:00Z"), &json!({}));
            let hours = if day == 1 { 2 } else { 24 };
            api.clock.advance(Duration::from_secs(hours * 3_600)); // until 10 o'clock of that day
            api.token = api.login(CLIENT, SECRET, None).await.unwrap();
            assert_eq!(api.post(SUBMIT, &json!([line, line])).await.status, 200);
        }
        let remove = async |days, max_lines| {
            let (mut removed, mut chunks) = (0, 0);
            loop {
                let retention = LogRetention { days, max_lines };
                let lines = api.served.store.remove_log_lines(retention, 3).await.unwrap();
                (removed, chunks) = (removed + lines, chunks + 1);
                if lines < 3 {
                    return (removed, chunks);
                }
            }
        };
        assert_eq!(remove(30, 1_000).await, (0, 1));
        assert_eq!(remove(5, 1_000).await, (8, 3), "of four days, three lines at once");
        assert_eq!(listed(&api, "$top=1").await.0, ["day 5"]);
        assert_eq!(remove(30, 4).await.0, 6, "all but the last four");
        assert_eq!(listed(&api, "").await.0, ["day 8", "day 8", "day 9", "day 9"]);
        let count = api.served.store.count_log_lines(LogFilter::default()).await.unwrap();
        assert_eq!(count, 4);
    })
    .await;
}

struct Logs;

#[async_trait]
impl Transaction for Logs {
    type Content = Value;
    type Output = ();

    async fn process(&mut self, _: Value, _: &TransactionItem) -> Result<(), Exception> {
        tracing::info!(step = 2, "booked");
        tracing::debug!("too fine");
        Ok(())
    }
}

/// What a performer on a store of its own logs is listed with its job and its item.
#[tokio::test]
async fn a_performer_ships_its_log_to_its_store() {
    let api = Api::on(TestServer::start_as(Store::memory(), |server| server).await).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let item = api.add("Invoices", "INV-1").await;
    let store: Arc<dyn Administration> = Arc::new(api.served.store.clone());
    let (layer, shipping) = robot_logs(store.clone(), "PostInvoices");
    let performer = Performer::new("Invoices", || Logs).single_threaded().handle_signals(false);
    let run = {
        let _default = tracing::subscriber::set_default(tracing_subscriber::registry().with(layer));
        performer.run_until_empty(store).await.unwrap()
    };
    assert_eq!((shipping.finish().await, run.successful), (0, 1));
    let job = api.get("/odata/Jobs(1)").await.body["Key"].clone();
    let path = format!("/odata/RobotLogs?$filter=JobKey eq {}", job.as_str().unwrap());
    let lines = api.get(&path).await.body["value"].as_array().unwrap().clone();
    let booked = lines.iter().find(|line| line["Message"] == "booked").unwrap();
    assert_eq!((&booked["Level"], &booked["ProcessName"]), (&json!("Info"), &json!("PostInvoices")));
    let raw: Value = serde_json::from_str(booked["RawMessage"].as_str().unwrap()).unwrap();
    assert_eq!((&raw["step"], &raw["reference"], &raw["jobId"]), (&json!(2), &json!("INV-1"), &job));
    assert!(lines.iter().all(|line| line["Message"] != "too fine"));
    let mut of_item = LogFilter::default();
    of_item.item = Some(ItemId(item["Id"].as_i64().unwrap()));
    assert!(!api.served.store.log_lines(of_item).await.unwrap().is_empty());
}
