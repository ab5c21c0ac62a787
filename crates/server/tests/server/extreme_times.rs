//! Times at and beyond the edges of a calendar, by every way in and on every store: whatever is accepted can be read, listed,
//! taken, edited and deleted, also after the server is started again.

use std::sync::Arc;

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use performer::server::Server;
use serde_json::{Value, json};

use crate::{Api, ApiResponse, start_of_time};

/// What clients send for "never" and "always", and the neighbours of these times.
const TIMES: [&str; 9] = [
    "9999-12-31T23:59:59.9999999Z", // DateTime.MaxValue of .NET
    "9999-12-31T23:59:59.9999999",
    "9999-12-31T23:59:59.999999999+00:00",
    "9999-12-31",
    "9999-12-30T22:00:00.9999999Z", // a tenth of a microsecond after the last time that is stored
    "0001-01-01T00:00:00Z",         // DateTime.MinValue of .NET
    "0001-01-01T00:00:00",
    "0001-01-01T00:00:00+14:00", // in the year before
    "1969-12-31T23:59:59.9999999Z",
];

/// The reads of an item or its queue, which must succeed. Other reads must not be answered as a mistake of the server.
const READS_OF_ITEMS: [&str; 14] = [
    "GetQueueItems",
    "GetQueueItem",
    "GetItemLastRetry",
    "GetItemLastRetryByKey",
    "GetItemProcessingHistory",
    "GetQueueItemEvents",
    "GetQueueItemEventsHistory",
    "GetQueueItemComments",
    "GetQueueItemCommentsHistory",
    "GetQueueDefinitions",
    "GetQueueDefinition",
    "RetrieveLastDaysProcessingRecords",
    "RetrieveQueuesProcessingStatus",
    "GetQueueRetention",
];

/// A queue for one time.
struct Queue {
    time: &'static str,
    name: String,
    id: i64,
    /// The items that were added to it, with the copies for retries.
    items: Vec<Value>,
}

/// Sends a request that must not be answered as a mistake of the server.
async fn call(api: &Api, method: &str, path: &str, body: &Value) -> ApiResponse {
    let got = api.call(method, path, body).await;
    assert!(got.status < 500, "{method} {path} {body}: {} {}", got.status, got.text);
    got
}

async fn post(api: &Api, path: &str, body: &Value) -> ApiResponse {
    call(api, "POST", path, body).await
}

/// As [`post`], and the answer is this one.
async fn done(api: &Api, path: &str, body: &Value, status: u16) -> Value {
    let got = post(api, path, body).await;
    assert_eq!(got.status, status, "{path} {body}: {}", got.text);
    got.body
}

impl Queue {
    /// Adds items with the time by every request that adds one.
    async fn filled(api: &Api, number: usize, time: &'static str) -> Self {
        let name = format!("Q{number}");
        let id = api.queue(&json!({"Name": name, "MaxNumberOfRetries": 1})).await;
        let mut queue = Self { time, name, id, items: Vec::new() };
        let name = &queue.name;
        let content = json!({"a": 1});
        for times in [
            json!({"DueDate": time}),
            json!({"DueDate": time, "DeferDate": time, "RiskSlaDate": time}),
            json!({"DeferDate": time}),
        ] {
            let mut item = times;
            item["Name"] = name.as_str().into();
            item["SpecificContent"] = content.clone();
            let body = json!({ "itemData": item });
            done(api, "/odata/Queues/UiPathODataSvc.AddQueueItem", &body, 201).await;
        }
        let item =
            json!({"DueDate": time, "DeferDate": time, "RiskSlaDate": time, "SpecificContent": content});
        let bulk = json!({"queueName": name, "commitType": "AllOrNothing", "queueItems": [item, item]});
        let bulk = done(api, "/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &bulk, 200).await;
        assert_eq!(bulk["Success"], true, "{bulk}");
        let started = json!({"transactionData": {
            "Name": name, "SpecificContent": content, "DueDate": time, "DeferDate": time}});
        let started = done(api, "/odata/Queues/UiPathODataSvc.StartTransaction", &started, 200).await;
        let failed = json!({"IsSuccessful": false, "DeferDate": time, "DueDate": time, "ProcessingException": {
            "Reason": "down", "Type": "ApplicationException", "CreationTime": time}});
        let recorded = api.result(&started, &failed).await;
        assert_eq!(recorded.status, 200, "{time}: {}", recorded.text);
        queue.list(api).await;
        assert_eq!(queue.items.len(), 7, "three, two, the one that was started, and its retry");
        queue
    }

    /// Reads the list of the queue's items.
    async fn list(&mut self, api: &Api) {
        let path = format!("/odata/QueueItems?$filter=QueueDefinitionId%20eq%20{}&$orderby=Id", self.id);
        let got = call(api, "GET", &path, &Value::Null).await;
        assert_eq!(got.status, 200, "{}", got.text);
        self.items = got.body["value"].as_array().unwrap().clone();
    }

    /// Every read of the server.
    async fn read(&mut self, api: &Api) {
        self.list(api).await;
        let first = self.items[0].clone();
        for (name, method, path, _) in Server::routes() {
            if method != "GET" {
                continue;
            }
            let is_of_item = path.contains("QueueItems(1)");
            let some = if is_of_item { self.items.as_slice() } else { std::slice::from_ref(&first) };
            for item in some {
                let id = if path.contains("/Queue") && !is_of_item { &self.id.into() } else { &item["Id"] };
                let path = path.replace("(1)", &format!("({id})"));
                let key = item["UniqueKey"].as_str().unwrap();
                let path = format!(
                    "{path}?daysNo=1&queueDefinitionId={}&queueItemId={}&key={key}&id={id}",
                    self.id, item["Id"]
                );
                let got = call(api, "GET", &path, &Value::Null).await;
                let must_succeed = READS_OF_ITEMS.contains(&name.as_str());
                assert!(got.status == 200 || !must_succeed, "{}: {path}: {}", self.time, got.text);
            }
        }
        let time = self.time.replace('+', "%2B");
        for query in [
            "$orderby=DueDate".to_owned(),
            "$orderby=DeferDate%20desc,RiskSlaDate".to_owned(),
            "$expand=Robot,ReviewerUser".to_owned(),
            format!("$filter=DueDate%20eq%20{time}"),
            format!("$filter=DeferDate%20le%20{time}%20or%20RiskSlaDate%20gt%20{time}"),
            format!("$filter=CreationTime%20lt%20{time}"),
        ] {
            call(api, "GET", &format!("/odata/QueueItems?{query}"), &Value::Null).await;
        }
        done(api, "/api/Performer/Robots", &json!({}), 200).await;
        done(api, "/api/Performer/Jobs", &json!({"limit": 100}), 200).await;
    }

    /// Takes items until none is left, and records results with the time.
    async fn take(&mut self, api: &Api) {
        let result =
            |item: &Value| format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", item["Id"]);
        let mut taken = 0;
        while let Some(item) = api.take(&self.name).await {
            taken += 1;
            let progress = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", item["Id"]);
            done(api, &progress, &json!({"progress": "half"}), 200).await;
            let postponed = json!({"IsSuccessful": true, "DeferDate": self.time, "DueDate": self.time});
            done(api, &result(&item), &json!({ "transactionResult": postponed }), 200).await;
            self.read(api).await;
            assert!(taken < 10, "{}: what was recorded is taken again", self.time);
        }
        assert!(taken > 0, "{}: an item without a DeferDate is waiting", self.time);
    }

    /// Sends the time in the requests of performers: in an item that is added and started, and in results.
    async fn exchange(&mut self, api: &Api) {
        let time = self.time;
        let start = json!({"queue": self.name, "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
        let job = done(api, "/api/Performer/StartJob", &start, 200).await["job"].clone();
        let take = json!({"queue": self.name, "job": job, "robot": 1, "count": 1, "reference": null});
        let exception = json!({"Reason": "down", "Type": "ApplicationException", "CreationTime": time});
        for (call, result) in [
            json!({"postponed": {"defer_date": time, "due_date": time}}),
            json!({"failed": {"exception": exception, "defer_date": time}}),
        ]
        .into_iter()
        .enumerate()
        {
            let id = |part: usize| format!("b66c1df3-3c8e-4f3c-{:04x}-{part:06x}{call:06x}", self.id);
            let item =
                json!({"SpecificContent": {"a": 1}, "DueDate": time, "DeferDate": time, "RiskSlaDate": time});
            let added = json!({"id": id(1), "take": take, "item": item});
            let started = done(api, "/api/Performer/AddAndStart", &added, 200).await;
            let claim = find_claim(&started).unwrap_or_else(|| panic!("no claim in {started}"));
            let report = json!({"claim": claim, "result": result, "progress": null});
            let exchange = json!({"id": id(2), "heard": [], "reports": [report], "take": take});
            done(api, "/api/Performer/Exchange", &exchange, 200).await;
            self.read(api).await;
        }
        let ended = json!({"job": job, "state": "Successful", "info": null, "figures": {"busy": {"secs": 1, "nanos": 0}}});
        done(api, "/api/Performer/EndJob", &ended, 200).await;
        self.read(api).await;
    }

    /// Edits all items that still wait and another one, to the time, and deletes them. Then the queue is deleted.
    async fn edit_and_delete(&mut self, api: &Api) {
        api.add(&self.name, "without a time").await;
        self.list(api).await;
        let waiting: Vec<Value> = self.items.iter().filter(|item| item["Status"] == "New").cloned().collect();
        for item in waiting {
            let path = format!("/odata/QueueItems({})", item["Id"]);
            let edit = json!({"SpecificContent": {"a": 2}, "DueDate": self.time, "DeferDate": self.time, "RiskSlaDate": self.time});
            let edited = call(api, "PUT", &path, &edit).await;
            assert_eq!(edited.status, 200, "{}: {}", self.time, edited.text);
            let deleted = call(api, "DELETE", &path, &Value::Null).await;
            assert_eq!(deleted.status, 204, "{}: {}", self.time, deleted.text);
        }
        self.read(api).await;
        let path = format!("/odata/QueueDefinitions({})", self.id);
        assert_eq!(call(api, "DELETE", &path, &Value::Null).await.status, 204, "{}", self.time);
        done(api, "/api/Performer/Sweep", &json!({}), 200).await;
    }
}

/// The claim in an answer, wherever it is.
fn find_claim(answer: &Value) -> Option<&Value> {
    match answer {
        Value::Object(members) => {
            members.get("claim").or_else(|| members.values().find_map(|member| find_claim(member)))
        }
        Value::Array(list) => list.iter().find_map(find_claim),
        _ => None,
    }
}

/// `open` opens the same store again, unless it is in memory.
async fn each_can_be_used(times: &[&'static str], open: impl AsyncFn(Arc<ManualClock>) -> Store) {
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let start = async || Api::over(open(clock.clone()).await, clock.clone(), |server| server).await;
    let api = start().await;
    let mut queues = Vec::new();
    for (number, time) in times.iter().enumerate() {
        let mut queue = Queue::filled(&api, number, time).await;
        queue.read(&api).await;
        queues.push(queue);
    }
    api.served.end().await;
    drop(api);
    let api = start().await;
    for queue in &mut queues {
        queue.read(&api).await;
        queue.take(&api).await;
        queue.exchange(&api).await;
    }
    api.served.end().await;
    drop(api);
    let api = start().await;
    for mut queue in queues {
        queue.read(&api).await;
        queue.edit_and_delete(&api).await;
    }
    let left = api.get("/odata/QueueDefinitions").await;
    assert_eq!((left.status, left.body["value"].as_array().map(Vec::len)), (200, Some(0)), "{}", left.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_time_can_be_used_in_memory() {
    let kept = std::sync::OnceLock::new();
    each_can_be_used(&TIMES, async |clock| kept.get_or_init(|| Store::memory_with_clock(clock)).clone())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_time_can_be_used_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("q.db");
    each_can_be_used(&TIMES, async |clock| Store::sqlite_with_clock(&path, clock).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extreme_times_can_be_used_on_postgres() {
    let schema = performer_proofs::postgres::Schema::new();
    // Fewer, because each takes two seconds there.
    let times = [TIMES[0], TIMES[5], TIMES[8]];
    each_can_be_used(&times, async |clock| Store::postgres_with_clock(&schema.url, clock).await.unwrap())
        .await;
}
