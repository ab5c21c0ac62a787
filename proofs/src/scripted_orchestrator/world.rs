//! The state of the scripted Orchestrator: queues, items, and an independent implementation of orchestrator-api 6 to 13.

use std::collections::HashMap;

use axum::http::Method;
use jiff::Timestamp;
use performer::model::{Clock, SystemClock};
use serde_json::{Map, Value, json};

use super::RecordedRequest;

/// A status and a body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub body: String,
}

impl Answer {
    pub fn empty(status: u16) -> Self {
        Self { status, body: String::new() }
    }

    fn json(status: u16, body: &Value) -> Self {
        Self { status, body: body.to_string() }
    }

    /// An error in the shape of orchestrator-api 5.1.
    fn error(status: u16, code: u16, message: &str) -> Self {
        let body =
            json!({"message": message, "errorCode": code, "traceId": "00-scripted-01", "resourceIds": null});
        Self::json(status, &body)
    }
}

/// A recorded result.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    pub item: i64,
    pub status: String,
    pub operation_id: Option<String>,
}

#[derive(Default)]
pub struct World {
    pub items: Vec<Map<String, Value>>,
    pub queues: Vec<Map<String, Value>>,
    pub comments: Vec<Map<String, Value>>,
    pub events: Vec<Value>,
    pub retention: HashMap<(i64, String), Value>,
    pub logs: Vec<Value>,
    /// The number of times that each item was handed out.
    pub handed_out: HashMap<i64, u32>,
    pub recorded: Vec<Recorded>,
    /// The keys and ids of the robots. Other callers are handed nothing, unless `anybody` is set.
    pub robots: HashMap<String, i64>,
    pub anybody: bool,
    /// The number of waiting items in the processing status; `None` for the real number.
    pub claims_to_have: Option<i64>,
    /// The state of the Orchestrator's job 77.
    pub job_state: &'static str,
    pub tokens_issued: u32,
    /// The first token that is still accepted.
    pub tokens_from: u32,
    pub token_lives_for: Value,
    next_id: i64,
}

/// The only folder.
pub const FOLDER: &str = "Shared";
pub const JOB_KEY: &str = "7b1f9a54-2a0c-4a57-9a3e-6f1f6b0f5a77";
pub const ROBOT_KEY: &str = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";
pub const ROBOT_ID: i64 = 17;
pub const CLIENT_SECRET: &str = "canary-client-secret";

/// The vendor's name of an operation.
pub fn operation(method: &Method, path: &str) -> &'static str {
    let of = |part: &str| path.contains(part);
    match method.as_str() {
        "POST" if of("/connect/token") => "Token",
        "POST" if of("/api/Account/Authenticate") => "Authenticate",
        "POST" if of("StartTransaction") => "StartTransaction",
        "POST" if of("SetTransactionResult") => "SetTransactionResult",
        "POST" if of("SetTransactionProgress") => "SetTransactionProgress",
        "POST" if of("BulkAddQueueItems") => "BulkAddQueueItems",
        "POST" if of("AddQueueItem") => "AddQueueItem",
        "POST" if of("UnsetItemReviewer") => "UnsetItemReviewer",
        "POST" if of("SetItemReviewer") => "SetItemReviewer",
        "POST" if of("SetItemReviewStatus") => "SetItemReviewStatus",
        "POST" if of("DeleteBulk") => "DeleteBulk",
        "POST" if of("StopJob") => "StopJob",
        "POST" if of("SubmitLogs") => "SubmitLogs",
        "POST" if path.ends_with("/odata/QueueItemComments") => "PostQueueItemComment",
        "POST" if path.ends_with("/odata/QueueDefinitions") => "PostQueueDefinition",
        "PUT" if of("/odata/QueueItemComments(") => "PutQueueItemComment",
        "PUT" if of("/odata/QueueItems(") => "PutQueueItem",
        "PUT" if of("/odata/QueueDefinitions(") => "PutQueueDefinition",
        "PUT" if of("/odata/QueueRetention(") => "PutQueueRetention",
        "DELETE" if of("/odata/QueueItemComments(") => "DeleteQueueItemComment",
        "DELETE" if of("/odata/QueueDefinitions(") => "DeleteQueueDefinition",
        "GET" if of("GetItemProcessingHistory") => "GetItemProcessingHistory",
        "GET" if of("GetQueueItemEventsHistory") => "GetQueueItemEventsHistory",
        "GET" if of("GetQueueItemCommentsHistory") => "GetQueueItemCommentsHistory",
        "GET" if of("RetrieveQueuesProcessingStatus") => "RetrieveQueuesProcessingStatus",
        "GET" if of("/odata/QueueItemComments(") => "GetQueueItemComment",
        "GET" if of("/odata/QueueItems(") => "GetQueueItem",
        "GET" if path.ends_with("/odata/QueueItems") => "GetQueueItems",
        "GET" if path.ends_with("/odata/QueueDefinitions") => "GetQueueDefinitions",
        "GET" if of("/odata/QueueRetention(") => "GetQueueRetention",
        "GET" if path.ends_with("/odata/QueueRetention") => "ListQueueRetention",
        "GET" if of("/odata/Jobs(") => "GetJob",
        "GET" if path.ends_with("/odata/Jobs") => "GetJobs",
        _ => "unknown",
    }
}

/// The server's clock.
pub fn now() -> Timestamp {
    SystemClock::default().now()
}

fn written(at: Timestamp) -> Value {
    let hundred_nanoseconds = Timestamp::from_nanosecond(at.as_nanosecond() / 100 * 100).unwrap();
    Value::from(hundred_nanoseconds.to_string())
}

fn guid(number: i64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The number in `Items(17)` or `queueItemId=17)`.
fn number_in(path: &str) -> i64 {
    let behind =
        path.rsplit_once("queueItemId=").or_else(|| path.split_once('(')).map_or("", |(_, behind)| behind);
    behind.split(')').next().unwrap().parse().unwrap_or(-1)
}

impl World {
    /// A world with a queue that retries once, and the robot of the tests.
    pub fn new() -> Self {
        let mut world = Self { token_lives_for: json!(3600), job_state: "Running", ..Self::default() };
        world.robots.insert(ROBOT_KEY.to_owned(), ROBOT_ID);
        world.add_queue(
            json!({"Name": "Invoices", "MaxNumberOfRetries": 1, "AcceptAutomaticallyRetry": true}),
        );
        world
    }

    pub fn add_queue(&mut self, body: Value) -> Map<String, Value> {
        let Value::Object(body) = body else { panic!("a queue is an object") };
        let id = 100 + self.queues.len() as i64;
        let defaults = json!({
            "Id": id, "Key": guid(id), "Description": null, "EnforceUniqueReference": false, "RetryAbandonedItems": false,
            "Encrypted": false, "SlaInMinutes": 0, "Tags": [], "CreationTime": written(now()),
        });
        let Value::Object(mut queue) = defaults else { unreachable!() };
        queue.extend(body);
        self.queues.push(queue.clone());
        queue
    }

    /// Adds an item to the first queue.
    pub fn add(&mut self, reference: &str, content: Value) -> i64 {
        let data = json!({"Reference": reference, "Priority": "Normal", "SpecificContent": content});
        self.new_item(100, data.as_object().unwrap())
    }

    fn new_item(&mut self, queue: i64, data: &Map<String, Value>) -> i64 {
        self.next_id += 1;
        let id = 1_000 + self.next_id;
        let item = json!({
            "Id": id, "Key": guid(id), "UniqueKey": guid(id + 500_000), "QueueDefinitionId": queue, "Status": "New",
            "ReviewStatus": "None", "ReviewerUserId": null, "Priority": "High", "Reference": null, "SpecificContent": null,
            "SpecificData": null, "Output": null, "OutputData": null, "Analytics": null, "AnalyticsData": null,
            "ProcessingException": null, "ProcessingExceptionType": null, "DueDate": null, "DeferDate": null,
            "RiskSlaDate": null, "CreationTime": written(now()), "StartProcessing": null, "EndProcessing": null,
            "SecondsInPreviousAttempts": 0, "RetryNumber": 0, "AncestorId": null, "ManualRetryNumber": 0,
            "ManualAncestorId": null, "Progress": null, "RobotId": null, "ExecutorJobKey": null, "OperationId": null,
            "RowVersion": row_version(1), "Encrypted": false, "OrganizationUnitId": 1,
        });
        let Value::Object(mut item) = item else { unreachable!() };
        let asked_for =
            ["Priority", "Reference", "SpecificContent", "DueDate", "DeferDate", "RiskSlaDate", "Progress"];
        for (key, value) in data {
            if !value.is_null() && asked_for.contains(&key.as_str()) {
                item.insert(key.clone(), without_annotations(value));
            }
        }
        item.insert(
            "SpecificData".to_owned(),
            json!(json!({"DynamicProperties": item["SpecificContent"]}).to_string()),
        );
        self.items.push(item);
        self.event(id, "Create");
        id
    }

    fn event(&mut self, item: i64, action: &str) {
        let (status, review) = {
            let item = self.item(item);
            (item["Status"].clone(), item["ReviewStatus"].clone())
        };
        let id = self.events.len() + 1;
        self.events.push(
            json!({"Id": id, "QueueItemId": item, "Timestamp": written(now()), "Action": action, "Data": null,
            "UserId": 1, "UserName": "admin", "Status": status, "ReviewStatus": review}),
        );
    }

    pub fn item(&self, id: i64) -> &Map<String, Value> {
        self.items.iter().find(|item| item["Id"] == id).unwrap()
    }

    fn at(&self, id: i64) -> Option<usize> {
        self.items.iter().position(|item| item["Id"] == id)
    }

    fn set(&mut self, id: i64, values: Value) {
        let at = self.at(id).unwrap();
        let item = &mut self.items[at];
        let version = version_of(&item["RowVersion"]);
        item.extend(values.as_object().unwrap().clone());
        item.insert("RowVersion".to_owned(), row_version(version + 1));
    }

    fn queue_named(&self, name: &Value) -> Option<&Map<String, Value>> {
        let name = name.as_str()?.to_lowercase();
        self.queues.iter().find(|queue| queue["Name"].as_str().unwrap().to_lowercase() == name)
    }

    fn token(&self) -> String {
        format!("canary-token-{}", self.tokens_issued)
    }

    /// The answer to a request without a valid token or folder.
    fn refusal(&self, seen: &RecordedRequest) -> Option<Answer> {
        if matches!(seen.operation, "Token" | "Authenticate") {
            return None;
        }
        let token = seen.header("authorization").and_then(|text| text.strip_prefix("Bearer canary-token-"));
        let number = token.and_then(|number| number.parse::<u32>().ok());
        if !number.is_some_and(|number| number >= self.tokens_from && number <= self.tokens_issued) {
            return Some(Answer::error(401, 0, "You are not authenticated!"));
        }
        let folder = [
            "x-uipath-folderpath",
            "x-uipath-folderpath-encoded",
            "x-uipath-organizationunitid",
            "x-uipath-folderkey",
        ];
        if folder.iter().all(|name| seen.header(name).is_none()) && !seen.path.contains("/api/") {
            return Some(Answer::error(400, 1101, "A folder is required for this action."));
        }
        if seen.header("x-uipath-folderpath").is_some_and(|path| path != FOLDER) {
            return Some(Answer::error(
                403,
                1100,
                "Folder does not exist or the user does not have access to the folder.",
            ));
        }
        None
    }

    pub fn answer(&mut self, seen: &RecordedRequest) -> Answer {
        if let Some(refusal) = self.refusal(seen) {
            return refusal;
        }
        match seen.operation {
            "Token" => self.issue(seen),
            "Authenticate" => self.authenticate(seen),
            "StartTransaction" => self.start(seen),
            "SetTransactionResult" => self.result(seen),
            "SetTransactionProgress" => self.progress(seen),
            "AddQueueItem" => self.add_one(seen),
            "BulkAddQueueItems" => self.add_many(seen),
            "SetItemReviewStatus" | "SetItemReviewer" | "UnsetItemReviewer" | "DeleteBulk" => self.bulk(seen),
            "GetQueueItem" => self.read(number_in(&seen.path)),
            "PutQueueItem" => self.put(seen),
            "GetQueueItems" => self.list(seen),
            "GetItemProcessingHistory" => {
                let Some(at) = self.at(number_in(&seen.path)) else { return no_item() };
                let key = self.items[at]["Key"].clone();
                let chain: Vec<Value> =
                    self.items.iter().filter(|item| item["Key"] == key).cloned().map(Value::Object).collect();
                collection(chain, seen)
            }
            "GetQueueItemEventsHistory" => {
                let id = number_in(&seen.path);
                collection(
                    self.events.iter().filter(|event| event["QueueItemId"] == id).cloned().collect(),
                    seen,
                )
            }
            "GetQueueItemCommentsHistory" => {
                let id = number_in(&seen.path);
                let of_item = self.comments.iter().filter(|comment| comment["QueueItemId"] == id);
                collection(of_item.cloned().map(Value::Object).collect(), seen)
            }
            "PostQueueItemComment" => {
                let Value::Object(mut comment) = seen.json() else {
                    return Answer::error(400, 1000, "no body");
                };
                comment.insert("Id".to_owned(), json!(self.comments.len() + 1));
                comment.insert("CreationTime".to_owned(), written(now()));
                comment.insert("UserName".to_owned(), json!("admin"));
                self.comments.push(comment.clone());
                Answer::json(201, &Value::Object(comment))
            }
            "GetQueueItemComment" | "PutQueueItemComment" | "DeleteQueueItemComment" => self.comment(seen),
            _ => self.answer_queues(seen),
        }
    }

    /// The operations on queue definitions and their retention.
    fn answer_queues(&mut self, seen: &RecordedRequest) -> Answer {
        match seen.operation {
            "GetQueueDefinitions" => {
                let queues: Vec<Value> = self.queues.iter().cloned().map(Value::Object).collect();
                collection(queues, seen)
            }
            "PostQueueDefinition" => {
                let body = seen.json();
                if self.queue_named(&body["Name"]).is_some() {
                    return Answer::error(409, 1001, "The name is already used.");
                }
                let queue = self.add_queue(body);
                Answer::json(201, &Value::Object(queue))
            }
            "PutQueueDefinition" => {
                let (id, Value::Object(body)) = (number_in(&seen.path), seen.json()) else {
                    return Answer::error(400, 1000, "no body");
                };
                let Some(queue) = self.queues.iter_mut().find(|queue| queue["Id"] == id) else {
                    return no_item();
                };
                queue.extend(body);
                Answer::empty(200)
            }
            "DeleteQueueDefinition" => {
                let (id, before) = (number_in(&seen.path), self.queues.len());
                self.queues.retain(|queue| queue["Id"] != id);
                if self.queues.len() == before { no_item() } else { Answer::empty(204) }
            }
            "GetQueueRetention" => {
                let kind = seen
                    .query
                    .iter()
                    .find(|(name, _)| name == "retentionType")
                    .map_or("Final", |(_, kind)| kind);
                let id = number_in(&seen.path);
                let default = json!({"QueueDefinitionId": id, "Action": "Delete", "Period": if kind == "Final" { 30 } else { 180 }, "BucketId": null, "Type": kind});
                Answer::json(200, self.retention.get(&(id, kind.to_owned())).unwrap_or(&default))
            }
            "PutQueueRetention" => {
                let body = seen.json();
                let kind = body["Type"].as_str().unwrap().to_owned();
                self.retention.insert((number_in(&seen.path), kind), body);
                Answer::empty(200)
            }
            "ListQueueRetention" => collection(self.retention.values().cloned().collect(), seen),
            _ => self.answer_others(seen),
        }
    }

    /// The operations on jobs, logs and statistics.
    fn answer_others(&mut self, seen: &RecordedRequest) -> Answer {
        match seen.operation {
            "RetrieveQueuesProcessingStatus" => {
                let rows = self.queues.iter().map(|queue| {
                    let of = |status: &str| {
                        self.items.iter().filter(|item| item["QueueDefinitionId"] == queue["Id"] && item["Status"] == status).count() as i64
                    };
                    json!({"QueueDefinitionId": queue["Id"], "QueueDefinitionName": queue["Name"],
                        "ItemsToProcess": self.claims_to_have.unwrap_or(of("New")), "ItemsInProgress": of("InProgress")})
                });
                collection(rows.collect(), seen)
            }
            "GetJob" | "GetJobs" => {
                let job = json!({"Id": 77, "Key": JOB_KEY, "State": self.job_state, "Robot": {"Id": ROBOT_ID, "Name": "R"},
                    "ReleaseName": "PostInvoices", "HostMachineName": "M1", "StartTime": "2026-03-01T08:00:00Z", "EndTime": null});
                if seen.operation == "GetJob" { Answer::json(200, &job) } else { collection(vec![job], seen) }
            }
            "StopJob" => {
                self.job_state = if seen.json()["strategy"] == "Kill" { "Terminating" } else { "Stopping" };
                Answer::empty(200)
            }
            "SubmitLogs" => {
                for line in seen.json().as_array().expect("an array of texts") {
                    self.logs
                        .push(serde_json::from_str(line.as_str().expect("a text")).expect("a JSON object"));
                }
                Answer::empty(200)
            }
            _ => Answer::error(404, 0, "no such operation"),
        }
    }

    fn issue(&mut self, seen: &RecordedRequest) -> Answer {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        if !form.contains(&format!("client_secret={CLIENT_SECRET}")) {
            return Answer::json(400, &json!({"error": "invalid_client"}));
        }
        self.tokens_issued += 1;
        Answer::json(
            200,
            &json!({"access_token": self.token(), "expires_in": self.token_lives_for, "token_type": "Bearer", "scope": "OR.Queues"}),
        )
    }

    fn authenticate(&mut self, seen: &RecordedRequest) -> Answer {
        if seen.json()["password"] != CLIENT_SECRET {
            return Answer::error(401, 1000, "Invalid credentials, failed to login.");
        }
        self.tokens_issued += 1;
        Answer::json(
            200,
            &json!({"result": self.token(), "targetUrl": null, "success": true, "error": null, "unAuthorizedRequest": false, "__abp": true}),
        )
    }

    /// orchestrator-api 8: the take form gives items only to robots.
    fn start(&mut self, seen: &RecordedRequest) -> Answer {
        let body = seen.json();
        let data = &body["transactionData"];
        let Some(queue) = self.queue_named(&data["Name"]).map(|queue| queue["Id"].as_i64().unwrap()) else {
            return Answer::error(404, 1002, &format!("{} does not exist.", data["Name"]));
        };
        let robot = data["RobotIdentifier"].as_str().and_then(|key| self.robots.get(key)).copied();
        let content = data["SpecificContent"].as_object().filter(|content| !content.is_empty());
        let id = if content.is_some() {
            self.new_item(queue, data.as_object().unwrap())
        } else {
            if robot.is_none() && !self.anybody {
                return Answer::empty(204);
            }
            let now = now();
            let next = self.items.iter().find(|item| {
                let due = item["DeferDate"].as_str().is_none_or(|at| at.parse::<Timestamp>().unwrap() <= now);
                let reference = item["Reference"].as_str().unwrap_or_default();
                let wanted = match (data["Reference"].as_str(), data["ReferenceFilterOption"].as_str()) {
                    (Some(start), Some("StartsWith")) => reference.starts_with(start),
                    (Some(whole), _) => reference == whole,
                    (None, _) => true,
                };
                item["QueueDefinitionId"] == queue && item["Status"] == "New" && due && wanted
            });
            match next {
                Some(item) => item["Id"].as_i64().unwrap(),
                None => return Answer::empty(204),
            }
        };
        let job = seen.header("x-uipath-jobkey");
        self.set(id, json!({"Status": "InProgress", "StartProcessing": written(now()), "RobotId": robot, "ExecutorJobKey": job}));
        self.event(id, "Status");
        *self.handed_out.entry(id).or_default() += 1;
        let mut item = self.item(id).clone();
        item.insert("@odata.context".to_owned(), json!("https://x/odata/$metadata#Queues/$entity"));
        Answer::json(200, &Value::Object(item))
    }

    /// By orchestrator-api 9.1 and 13.2 final items are locked; a future DeferDate without an exception postpones, whatever
    /// `IsSuccessful` says, and a date that has passed is ignored.
    fn result(&mut self, seen: &RecordedRequest) -> Answer {
        let (id, body) = (number_in(&seen.path), seen.json());
        let result = &body["transactionResult"];
        let Some(at) = self.at(id) else { return no_item() };
        let item = self.items[at].clone();
        match item["Status"].as_str().unwrap() {
            "InProgress" => {}
            "New" => return Answer::error(409, 1852, "The transaction was not started."),
            _ => return Answer::error(409, 1866, "The item is in a final status."),
        }
        let exception = &result["ProcessingException"];
        let success = result["IsSuccessful"] == true;
        let is_ahead = |date: &str| date.parse::<Timestamp>().unwrap() > now();
        if exception.is_null() && result["DeferDate"].as_str().is_some_and(is_ahead) {
            self.set(id, json!({"Status": "New", "DeferDate": result["DeferDate"], "DueDate": result["DueDate"], "StartProcessing": null, "RobotId": null}));
            self.event(id, "Status");
            self.recorded.push(Recorded { item: id, status: "New".to_owned(), operation_id: None });
            return Answer::empty(200);
        }
        let queue = self.queues.iter().find(|queue| queue["Id"] == item["QueueDefinitionId"]).unwrap();
        let retries = exception["Type"] == "ApplicationException"
            && queue["AcceptAutomaticallyRetry"] == true
            && item["RetryNumber"].as_i64() < queue["MaxNumberOfRetries"].as_i64();
        let status = if success {
            "Successful"
        } else if retries {
            "Retried"
        } else {
            "Failed"
        };
        self.set(id, json!({"Status": status, "EndProcessing": written(now()), "Output": without_annotations(&result["Output"]),
            "ProcessingException": exception, "ProcessingExceptionType": exception["Type"], "OperationId": result["OperationId"]}));
        self.event(id, if retries { "Retry" } else { "Status" });
        self.recorded.push(Recorded {
            item: id,
            status: status.to_owned(),
            operation_id: result["OperationId"].as_str().map(str::to_owned),
        });
        if retries {
            self.copy(&item, json!({"RetryNumber": item["RetryNumber"].as_i64().unwrap() + 1, "AncestorId": id, "DeferDate": result["DeferDate"]}));
        }
        Answer::empty(200)
    }

    /// orchestrator-api 13.3: a retry is a new row with the same key, after all waiting items.
    fn copy(&mut self, item: &Map<String, Value>, values: Value) {
        self.new_item(item["QueueDefinitionId"].as_i64().unwrap(), item);
        let id = json!({"Key": item["Key"], "Progress": null, "DeferDate": null});
        let at = self.items.len() - 1;
        self.items[at].extend(id.as_object().unwrap().clone());
        self.items[at].extend(values.as_object().unwrap().clone());
    }

    fn progress(&mut self, seen: &RecordedRequest) -> Answer {
        let id = number_in(&seen.path);
        let Some(at) = self.at(id) else { return no_item() };
        if self.items[at]["Status"] != "InProgress" {
            return Answer::error(409, 1851, "The item is not in progress.");
        }
        self.set(id, json!({"Progress": seen.json()["progress"]}));
        Answer::empty(200)
    }

    /// orchestrator-api 7.1.
    fn add_one(&mut self, seen: &RecordedRequest) -> Answer {
        let body = seen.json();
        let data = &body["itemData"];
        match self.add_checked(&data["Name"], data) {
            Ok(id) => Answer { status: 201, ..self.read(id) },
            Err((status, code, message)) => Answer::error(status, code, &message),
        }
    }

    fn add_checked(&mut self, queue: &Value, data: &Value) -> Result<i64, (u16, u16, String)> {
        let Some(queue) = self.queue_named(queue) else {
            return Err((404, 1002, format!("{queue} does not exist.")));
        };
        let (queue, unique) = (queue["Id"].as_i64().unwrap(), queue["EnforceUniqueReference"] == true);
        let taken = self.items.iter().any(|item| {
            let counts = item["Status"] != "Deleted" && item["Status"] != "Retried";
            item["QueueDefinitionId"] == queue && item["Reference"] == data["Reference"] && counts
        });
        if unique && data["Reference"].is_null() {
            return Err((400, 1850, "Reference is required for Unique Reference Queues.".to_owned()));
        }
        if unique && taken {
            return Err((409, 1016, "Error creating Transaction. Duplicate Reference.".to_owned()));
        }
        Ok(self.new_item(queue, data.as_object().unwrap()))
    }

    /// orchestrator-api 7.2.
    fn add_many(&mut self, seen: &RecordedRequest) -> Answer {
        let body = seen.json();
        let (before, mut failed) = (self.items.len(), Vec::new());
        for (at, data) in body["queueItems"].as_array().unwrap().iter().enumerate() {
            if let Err((status, code, message)) = self.add_checked(&body["queueName"], data) {
                if code == 1002 {
                    return Answer::error(status, code, &message);
                }
                let name = if code == 1016 { "DuplicateReference" } else { "TransactionReferenceRequired" };
                failed.push(json!({"Ordinal": at + 1, "ErrorCode": name, "ErrorMessage": message}));
                match body["commitType"].as_str().unwrap() {
                    "AllOrNothing" => {
                        self.items.truncate(before);
                        break;
                    }
                    "StopOnFirstFailure" => break,
                    _ => {}
                }
            }
        }
        Answer::json(
            200,
            &json!({"@odata.context": "c", "Success": failed.is_empty(), "Message": null, "FailedItems": failed}),
        )
    }

    /// orchestrator-api 10 and 13.6.
    fn bulk(&mut self, seen: &RecordedRequest) -> Answer {
        let body = seen.json();
        let mut failed = Vec::new();
        for named in body["queueItems"].as_array().unwrap() {
            let id = named["Id"].as_i64().unwrap();
            let item = self.at(id).map(|at| self.items[at].clone());
            let Some(item) = item.filter(|item| item["RowVersion"] == named["RowVersion"]) else {
                failed.push(id);
                continue;
            };
            let reviewable = item["Status"] == "Failed" || item["Status"] == "Abandoned";
            match seen.operation {
                "DeleteBulk" if item["Status"] != "Deleted" => self.set(id, json!({"Status": "Deleted"})),
                "SetItemReviewer" if reviewable => self.set(id, json!({"ReviewerUserId": body["userId"]})),
                "UnsetItemReviewer" if reviewable => self.set(id, json!({"ReviewerUserId": null})),
                "SetItemReviewStatus" if reviewable && item["ReviewStatus"] != "Retried" => {
                    self.set(id, json!({"ReviewStatus": body["status"]}));
                    if body["status"] == "Retried" {
                        self.copy(&item, json!({"ManualRetryNumber": 1, "ManualAncestorId": id, "ProcessingException": null, "ProcessingExceptionType": null}));
                    }
                }
                _ => failed.push(id),
            }
        }
        Answer::json(200, &json!({"Success": failed.is_empty(), "Message": null, "FailedItems": failed}))
    }

    fn read(&self, id: i64) -> Answer {
        let Some(at) = self.at(id) else { return no_item() };
        let mut item = self.items[at].clone();
        item.insert("@odata.context".to_owned(), json!("https://x/odata/$metadata#QueueItems/$entity"));
        Answer::json(200, &Value::Object(item))
    }

    fn put(&mut self, seen: &RecordedRequest) -> Answer {
        let (id, body) = (number_in(&seen.path), seen.json());
        if self.at(id).is_none() {
            return no_item();
        }
        let written: Map<String, Value> = ["Progress", "Priority", "DueDate", "DeferDate", "SpecificContent"]
            .iter()
            .map(|key| ((*key).to_owned(), without_annotations(&body[key])))
            .collect();
        self.set(id, Value::Object(written));
        Answer::empty(200)
    }

    fn comment(&mut self, seen: &RecordedRequest) -> Answer {
        let id = number_in(&seen.path);
        let Some(at) = self.comments.iter().position(|comment| comment["Id"] == id) else { return no_item() };
        match seen.operation {
            "GetQueueItemComment" => Answer::json(200, &Value::Object(self.comments[at].clone())),
            "PutQueueItemComment" => {
                self.comments[at].insert("Text".to_owned(), seen.json()["Text"].clone());
                Answer::empty(200)
            }
            _ => {
                self.comments.remove(at);
                Answer::empty(204)
            }
        }
    }

    fn list(&self, seen: &RecordedRequest) -> Answer {
        collection(self.items.iter().cloned().map(Value::Object).collect(), seen)
    }
}

fn no_item() -> Answer {
    Answer::error(404, 1002, "The item does not exist.")
}

pub fn row_version(version: u64) -> Value {
    use base64::Engine as _;
    Value::from(base64::engine::general_purpose::STANDARD.encode(version.to_be_bytes()))
}

fn version_of(text: &Value) -> u64 {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text.as_str().unwrap()).unwrap();
    u64::from_be_bytes(bytes.try_into().unwrap())
}

fn without_annotations(value: &Value) -> Value {
    let Value::Object(map) = value else { return value.clone() };
    Value::Object(
        map.iter()
            .filter(|(key, _)| !key.contains("@odata."))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// orchestrator-api 4.2: `$filter`, `$orderby`, `$skip`, `$top` and `$count`, as far as the client uses them.
fn collection(rows: Vec<Value>, seen: &RecordedRequest) -> Answer {
    let option = |name: &str| seen.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let top: usize = option("$top").map_or(100, |top| top.parse().unwrap());
    if top > 100 {
        return Answer::error(
            400,
            1000,
            "Invalid OData query options. The limit of '100' for Top query has been exceeded.",
        );
    }
    let mut rows: Vec<Value> =
        rows.into_iter().filter(|row| option("$filter").is_none_or(|filter| passes(row, filter))).collect();
    let count = rows.len();
    if option("$orderby").is_some_and(|order| order == "Id desc") {
        rows.reverse();
    }
    let skip = option("$skip").map_or(0, |skip| skip.parse().unwrap());
    let page: Vec<Value> = rows.into_iter().skip(skip).take(top).collect();
    let mut body = json!({"@odata.context": "https://x/odata/$metadata#Rows", "value": page});
    if option("$count") == Some("true") {
        body["@odata.count"] = json!(count);
    }
    Answer::json(200, &body)
}

/// Whether a row matches a filter, for the filters that the client uses.
fn passes(row: &Value, filter: &str) -> bool {
    outside(filter, " and ").iter().all(|condition| {
        let condition = condition.trim();
        if let Some(inner) = condition.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
            return outside(inner, " or ").iter().any(|each| passes(row, each));
        }
        if let Some(arguments) = condition.strip_prefix("startswith(").and_then(|rest| rest.strip_suffix(')'))
        {
            let (field, text) = arguments.split_once(',').unwrap();
            return row[field].as_str().is_some_and(|value| value.starts_with(&unquoted(text)));
        }
        let mut words = condition.splitn(3, ' ');
        let (field, operator, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
        let value = match &row[field] {
            Value::String(value) => value.clone(),
            Value::Null => "null".to_owned(),
            other => other.to_string(),
        };
        match operator {
            "eq" => value.eq_ignore_ascii_case(&unquoted(text)),
            "ge" => value.parse::<Timestamp>().unwrap() >= text.parse().unwrap(),
            "le" => value.parse::<Timestamp>().is_ok_and(|value| value <= text.parse().unwrap()),
            "lt" => value.parse::<Timestamp>().unwrap() < text.parse().unwrap(),
            other => panic!("{other} in {filter}"),
        }
    })
}

fn unquoted(text: &str) -> String {
    text.strip_prefix('\'')
        .and_then(|rest| rest.strip_suffix('\''))
        .map_or_else(|| text.to_owned(), |text| text.replace("''", "'"))
}

/// Splits a text at a word outside of quotes and brackets.
fn outside<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut start, mut depth, mut quoted) = (Vec::new(), 0, 0, false);
    for (at, character) in text.char_indices() {
        match character {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ => {}
        }
        if !quoted && depth == 0 && at >= start && text[at..].starts_with(word) {
            parts.push(&text[start..at]);
            start = at + word.len();
        }
    }
    parts.push(&text[start..]);
    parts
}
