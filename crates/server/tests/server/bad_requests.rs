//! Thousands of generated bad requests: each is answered 4xx in the format of the API, and changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use performer::server::Server;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value, json};

use crate::{Api, start_of_time};

/// The id of a call in bodies, which identifies a repeated call.
pub(crate) const CALL: &str = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";

/// A valid body for a route, from the owner of a job. `None`: the route takes no body.
///
/// # Panics
///
/// For a route with a body that has none here.
pub(crate) fn valid_body(name: &str, method: &str, job: &str) -> Option<Value> {
    if method == "GET"
        || method == "DELETE"
        || ["MoveFolder", "PingWebhook", "ValidateExistingJob"].contains(&name)
    {
        return None;
    }
    let versioned = json!([{"Id": 1, "RowVersion": "AAAAAAAAAAE="}]);
    let take =
        json!({"queue": "Invoices", "job": job, "robot": 1, "count": 1, "reference": {"startsWith": "zzz"}});
    let claim = json!({"item": 1, "job": job, "token": 2});
    Some(match name {
        "Authenticate" => {
            json!({"tenancyName": "Default", "usernameOrEmailAddress": "u", "password": "long enough"})
        }
        "PostQueueDefinition" | "PutQueueDefinition" => json!({
            "Name": "Other", "Description": "d", "MaxNumberOfRetries": 1, "AcceptAutomaticallyRetry": true,
            "RetryAbandonedItems": false, "EnforceUniqueReference": false, "Encrypted": false, "SpecificDataJsonSchema": "{}",
            "SlaInMinutes": 0, "ReleaseId": 1, "Tags": [{"Name": "t"}],
        }),
        "CreateQueue" => json!({"Name": "Other", "RetentionAction": "Delete", "RetentionPeriod": 30}),
        "EditQueue" => json!({
            "Id": 1, "Name": "Invoices", "RetentionAction": "Delete", "RetentionPeriod": 60, "StaleRetentionAction": "Delete",
            "StaleRetentionPeriod": 90, "PerformerAbandonAfterSeconds": 3_600,
        }),
        "AddQueueItem" => json!({"itemData": {
            "Name": "Invoices", "Priority": "Normal", "Reference": "r", "SpecificContent": {"a": 1}, "DeferDate": null,
            "DueDate": "2026-09-01T00:00:00Z", "Progress": "p", "Source": "Manual", "ParentOperationId": "o"}}),
        "BulkAddQueueItems" => {
            json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": [{"Reference": "r"}]})
        }
        "StartTransaction" => json!({"transactionData": {
            "Name": "Invoices", "RobotIdentifier": "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11", "Reference": "zzz",
            "ReferenceFilterOption": "StartsWith"}}),
        "SetTransactionResult" => json!({"transactionResult": {
            "IsSuccessful": false, "ProcessingException": {"Reason": "r", "Details": "d", "Type": "BusinessException"},
            "Output": {"a": 1}, "Analytics": {}, "Progress": "p", "OperationId": "o"}}),
        "SetTransactionProgress" => json!({"progress": "p"}),
        "PutQueueItem" => {
            json!({"Priority": "Low", "SpecificContent": {"a": 2}, "DueDate": null, "DeferDate": null})
        }
        "DeleteBulk" | "UnsetItemReviewer" => json!({ "queueItems": versioned }),
        "SetItemReviewStatus" => json!({"status": "InReview", "queueItems": versioned}),
        "SetItemReviewer" => json!({"userId": 5, "queueItems": versioned}),
        "PostQueueItemComment" | "PutQueueItemComment" => json!({"Text": "t", "QueueItemId": 1}),
        "PutQueueRetention" => json!({"Action": "Delete", "Period": 30, "Type": "Final"}),
        "PostFolder" => json!({"DisplayName": "F", "Description": "d", "ParentId": 1}),
        "PutFolder" => json!({"DisplayName": "Other", "Description": "d", "ParentId": null}),
        "AssignUsers" => {
            json!({"assignments": {"UserIds": [1], "RolesPerFolder": [{"FolderId": 1, "RoleIds": [1]}]}})
        }
        "RemoveUserFromFolder" => json!({"userId": 1}),
        "PostUser" => {
            json!({"UserName": "u", "Password": "long enough", "Type": "User", "RolesList": ["Viewer"]})
        }
        "PutUser" => {
            json!({"Name": "n", "Surname": "s", "EmailAddress": "e", "IsActive": true, "RolesList": ["Administrator"]})
        }
        "AssignRoles" => json!({"roleIds": [1]}),
        "PatchUser" => json!({"Name": "n", "Surname": null, "EmailAddress": "e", "IsActive": true}),
        "ToggleRole" => json!({"role": "Viewer", "toggle": true}),
        "SetUsers" => json!({"addedUserIds": [5], "removedUserIds": [7]}),
        "PatchNameDescription" => json!({"name": "Other", "description": "d"}),
        "RemoveUserFromFolderByKey" => json!({ "userKey": CALL }),
        "PostRole" | "PutRole" => {
            json!({"Name": "R", "Permissions": [{"Name": "Queues.View", "IsGranted": true}]})
        }
        "ShareToFolders" => json!({"QueueIds": [1], "ToAddFolderIds": [1], "ToRemoveFolderIds": []}),
        "PostAsset" | "PutAsset" => json!({
            "Name": "Threshold", "ValueScope": "PerRobot", "ValueType": "Integer", "IntValue": 5, "Description": "d",
            "HasDefaultValue": true, "UserValues": [{"UserId": 5, "MachineId": 0, "IntValue": 6, "CredentialPassword": "x"}],
            "RobotValues": null, "KeyValueList": [{"Key": "k", "Value": "v"}], "Tags": [],
        }),
        "GetRobotAssetByNameForRobotKey" => {
            json!({"robotKey": CALL, "assetName": "Threshold", "supportsCredentialsProxyDisconnected": true})
        }
        "SetRobotAssetByRobotKey" => {
            json!({"robotKey": CALL, "robotAsset": {"Name": "Threshold", "ValueType": "Integer", "IntValue": 5}})
        }
        "PostBucket" | "PutBucket" => json!({
            "Name": "Files", "Description": "d", "Identifier": CALL, "StorageProvider": null, "Options": "None", "Tags": [],
        }),
        "ShareBucketsToFolders" => json!({"BucketIds": [1], "ToAddFolderIds": [1], "ToRemoveFolderIds": []}),
        "ShareAssetsToFolders" => json!({"AssetIds": [1], "ToAddFolderIds": [1], "ToRemoveFolderIds": []}),
        "PostWebhook" | "PutWebhook" | "PatchWebhook" => json!({
            "Name": "W", "Description": "d", "Url": "https://example.com/hook", "Enabled": true, "Secret": "s",
            "SubscribeToAllEvents": false, "AllowInsecureSsl": false, "Events": [{"EventType": "custom"}],
        }),
        "TriggerCustomEvent" => json!({"a": 1}),
        "WebhookDeliveries" => json!({"webhook": 1, "dead": true, "after": 0}),
        "MarkAlertsAsRead" => json!({ "ids": [CALL] }),
        "RaiseProcessAlert" => json!({"processAlert": {
            "Message": "m", "Severity": "Warn", "RobotName": "R", "ProcessName": "P"}}),
        "RetryWebhook" => json!({"webhook": 1, "deliveries": [1]}),
        "PostRelease" | "PutRelease" | "PatchRelease" => json!({
            "Name": "P", "ProcessKey": "true", "ProcessVersion": "1.0.0", "Description": "d", "InputArguments": "{}",
            "EnvironmentVariables": "A=1", "PerformerCommand": ["true", "x"],
        }),
        "StartJobs" | "ValidateDynamicJob" => json!({"startInfo": {
            "ReleaseName": "Nothing", "Strategy": "ModernJobsCount", "JobsCount": 1, "RuntimeType": "Unattended",
            "InputArguments": "{}", "EnvironmentVariables": "A=1", "Reference": "r", "RobotIds": [1], "MachineSessionIds": [],
            "MachineRobots": [{"MachineName": "m"}]}}),
        "RestartJob" => json!({"jobId": 1}),
        "ResumeJob" => json!({ "jobKey": job }),
        "PostMachine" | "PutMachine" | "PatchMachine" => {
            json!({"Name": "M", "Description": "d", "UnattendedSlots": 1})
        }
        "DeleteMachines" => json!({"machineIds": [1]}),
        "SetMaintenanceMode" => {
            json!({"sessionId": 1, "maintenanceMode": "Enabled", "stopJobsStrategy": "SoftStop"})
        }
        "DeleteInactiveUnattendedSessions" => json!({"sessionIds": [1]}),
        "OpenSession" => json!({"agent": {
            "Machine": "M", "Host": "h", "Version": "1", "Platform": "linux", "Runtimes": 1, "LeaseSeconds": 30}}),
        "BeatSession" => json!({"session": CALL, "beat": {"running": [CALL], "room": 1}}),
        "CloseSession" => json!({ "session": CALL }),
        "StartJob" => {
            json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000})
        }
        "Beat" => json!({ "job": job }),
        "EndJob" => json!({"job": job, "state": "Successful", "info": "i", "figures": {
            "successful": 1, "businessExceptions": 0, "busy": {"secs": 1, "nanos": 0}}}),
        "Sweep" | "Robots" | "Views" | "DeskLink" | "Sessions" | "WebhookStates" => json!({}),
        "Exchange" => json!({"id": CALL, "heard": [CALL], "take": take, "reports": [
            {"claim": claim, "result": {"successful": {"output": {"a": 1}}}, "progress": "p"},
            {"claim": claim, "result": {"failed": {"exception": {"Reason": "r", "Type": "BusinessException"}, "defer_date": null}},
             "progress": null},
        ]}),
        "Held" => json!({"job": job, "void": [CALL]}),
        "AddAndStart" => json!({"id": CALL, "take": take, "item": {
            "Priority": "Normal", "Reference": "r", "DueDate": "2026-09-01T00:00:00Z", "Source": "Manual"}}),
        "Progress" => json!({"claim": claim, "progress": "p"}),
        "Wait" => json!({"queue": "Invoices", "seen": 0, "atMost": 1}),
        "Jobs" | "Retention" => json!({"limit": 5}),
        "EditLimits" => json!({"queue": "Invoices", "edit": {
            "paused": false, "maxInProgress": 5, "maxStarts": {"count": 100, "per": {"secs": 60, "nanos": 0}}}}),
        "StartLimit" => json!({"queue": "Invoices"}),
        "StopJob" => json!({"job": job, "strategy": "SoftStop"}),
        "SubmitLogs" => {
            json!([r#"{"message":"m","level":"Information","timeStamp":"2026-08-20T10:00:00Z"}"#])
        }
        "PostLog" => {
            json!({"message": "m", "level": "Warning", "timeStamp": "2026-08-20T10:00:00Z", "processName": "P"})
        }
        "StopOneJob" => json!({"strategy": "SoftStop"}),
        "StopJobs" => json!({"jobIds": [1], "strategy": "SoftStop"}),
        "Reasons" => json!({
            "queues": ["Invoices"], "id": null, "lastSeenFirst": true, "after": [1, 1], "openOnly": true, "top": 5,
        }),
        "PrepareOperation" => json!({
            "act": "Retry", "reviewer": 5, "pace": 60, "canary": {"first": 1, "withinSeconds": 60}, "comment": "c",
            "items": [[1, 1]], "filter": "status=Failed",
        }),
        "Operation" | "StartOperation" | "StopOperation" | "ResumeOperation" | "TakeOperationBack" => {
            json!({"operation": 1})
        }
        "Operations" => json!({"before": 1, "top": 5}),
        "OperationItems" => json!({"operation": 1, "refusedOnly": true, "from": 0, "top": 5}),
        "Audit" => json!({
            "acts": ["QueueEdited"], "userName": "u", "from": "2026-02-01T00:00:00Z", "to": "2026-09-01T00:00:00Z", "before": 9,
            "top": 5,
        }),
        "AuditLines" => json!({"after": 0}),
        "DueWork" => json!({"queue": "Invoices"}),
        "Figures" => json!({
            "queues": ["Invoices"], "since": "2026-03-01T07:00:00Z", "until": "2026-03-01T08:00:00Z", "byHour": false,
        }),
        "Reveal" => json!({"id": 1, "reason": "asked by the customer"}),
        "EditReason" => json!({"id": 1, "edit": {"note": "n", "owner": 5}}),
        "Correct" => json!({
            "id": 1, "rowVersion": 1, "priority": "High", "dueDate": null, "deferDate": "2026-09-01T00:00:00Z", "progress": "p",
            "content": "{\"a\":1}",
        }),
        "CreateTask" => json!({
            "type": "ExternalTask", "title": "Approve", "priority": "High", "data": {"a": [1]}, "taskCatalogName": null,
            "externalTag": "x", "tags": [{"Name": "n", "DisplayName": "d", "Value": "v", "DisplayValue": "w"}],
            "parentOperationId": "o",
        }),
        "CompleteTask" | "SaveTaskData" => json!({"taskId": 1, "data": {"a": 1}, "action": "approve"}),
        "SaveTaskTags" => json!({"taskId": 1, "tags": [{"Name": "n"}]}),
        "SaveAndReassignTask" => json!({
            "SaveData": true, "Data": {"a": 1}, "NoteText": "n", "TaskId": 1, "UserId": 5, "UserNameOrEmail": "u",
            "AssignmentCriteria": "SingleUser", "AssigneeNamesOrEmails": [], "AssigneeUserIds": [],
        }),
        "AssignTasks" | "ReassignTasks" => json!({"taskAssignments": [
            {"TaskId": 1, "UserId": 5, "UserNameOrEmail": "u", "AssignmentCriteria": "SingleUser"}]}),
        "UnassignTasks" | "DeleteTasks" => json!({"taskIds": [1]}),
        "EditTaskMetadata" => json!({
            "TaskId": 1, "Title": "t", "TaskCatalogId": 1, "UnsetTaskCatalog": false, "Priority": "Low", "NoteText": "n",
        }),
        "CreateTaskNote" => json!({"TaskId": 1, "Text": "t"}),
        "CreateTaskCatalog" | "UpdateTaskCatalog" => {
            json!({"Name": "Approvals", "Description": "d", "Encrypted": false, "Tags": [{"Name": "n"}]})
        }
        "ShareTaskCatalogsToFolders" => {
            json!({"TaskCatalogIds": [1], "ToAddFolderIds": [1], "ToRemoveFolderIds": []})
        }
        "Answer" => json!({ "item": CALL }),
        _ => panic!("no body is known that is right for {name}: add it, so that every route is tried"),
    })
}

/// A job of the first application.
pub(crate) async fn job(api: &Api) -> String {
    start_job(api, "Invoices").await
}

/// Starts a job on a queue, as the first application.
pub(crate) async fn start_job(api: &Api, queue: &str) -> String {
    let mut body = valid_body("StartJob", "POST", "").unwrap();
    body["queue"] = queue.into();
    let started = api.post("/api/Performer/StartJob", &body).await;
    started.body["job"].as_str().unwrap_or_else(|| panic!("{}", started.text)).to_owned()
}

/// Values that are invalid for nearly every member.
fn wrong_values() -> Vec<Value> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    vec![
        json!({"a": {"b": 1}}),
        json!([[1]]),
        json!(-1),
        json!(1.5),
        json!(99_999_999_999_999_999_u64),
        json!("\u{0}"),
        json!("x".repeat(300_000)),
        json!({"k.k": 1}),
        json!("'; DROP TABLE item; --"),
        deep,
    ]
}

/// Copies of the body, each with one member at any level replaced.
fn mutations(body: &Value, with: &Value) -> Vec<Value> {
    match body {
        Value::Object(members) => {
            let mut all = vec![with.clone()];
            for (name, member) in members {
                for changed in mutations(member, with) {
                    let mut copy: Map<String, Value> = members.clone();
                    copy.insert(name.clone(), changed);
                    all.push(Value::Object(copy));
                }
            }
            all
        }
        Value::Array(list) if !list.is_empty() => {
            let mut all = vec![with.clone()];
            all.extend(mutations(&list[0], with).into_iter().map(|changed| json!([changed])));
            all
        }
        _ => vec![with.clone()],
    }
}

/// Copies of the body, each with an unknown field in one of its objects.
fn with_unknown_field(body: &Value) -> Vec<Value> {
    let Value::Object(members) = body else { return Vec::new() };
    let mut first = members.clone();
    first.insert("tooMany".to_owned(), json!(1));
    let mut all = vec![Value::Object(first)];
    // An output may have any field, and of the forms of a reference an object has one.
    for (name, member) in members.iter().filter(|(name, _)| *name != "output" && *name != "reference") {
        for changed in with_unknown_field(member) {
            let mut copy = members.clone();
            copy.insert(name.clone(), changed);
            all.push(Value::Object(copy));
        }
    }
    all
}

/// JSON values that are hard to parse or to keep unchanged.
const HARD_VALUES: [&str; 12] = [
    r#""cut \ud83d""#,
    r#""\udc00\ud83d""#,
    r#"{"cut \ud83d":"\ud83d"}"#,
    "1e400",
    "100000000000000000000000000001",
    "-0",
    "NaN",
    r#"{"a":1,"A":2,"a":3}"#,
    r#""9999-12-31T23:59:59.9999999Z""#,
    r#""0001-01-01T00:00:00-14:00""#,
    r#""275760-09-13T00:00:00Z""#,
    r#""2026-02-30T25:61:61""#,
];

/// A server with a queue and an item, as the generator of bad requests has it.
pub(crate) async fn prepared_server() -> Api {
    prepared(Api::start().await).await
}

async fn prepared(api: Api) -> Api {
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "taken").await;
    let other = api.post("/odata/Folders", &json!({"DisplayName": "Other"})).await;
    assert_eq!(other.body["Id"], OTHER_FOLDER, "{}", other.text);
    api
}

/// A folder of a prepared server other than that of the calls.
const OTHER_FOLDER: i64 = 6;

/// The user of the calls.
const FIRST_USER: i64 = 5;

/// The path for a call; the folder of the calls must keep its name.
pub(crate) fn path_of(name: &str, path: &str) -> String {
    let number = match name {
        "PutFolder" => OTHER_FOLDER,
        "PatchUser" | "ToggleRole" => FIRST_USER,
        _ => return path.to_owned(),
    };
    path.replace("(1)", &format!("({number})"))
}

/// The data without keys, which are random, so that two servers can be compared.
pub(crate) fn comparable(all: &Value) -> Value {
    match all {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(name, _)| !name.ends_with("Key"))
                .map(|(name, member)| (name.clone(), comparable(member)))
                .collect(),
        ),
        Value::Array(list) => list.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

pub(crate) async fn all_lists(api: &Api) -> Value {
    let mut all = Vec::new();
    for path in [
        "/odata/QueueDefinitions",
        "/odata/QueueItems",
        "/odata/QueueItemComments",
        "/odata/QueueItemEvents",
        "/odata/QueueRetention",
        "/odata/Folders",
        "/odata/Users",
        "/odata/Roles",
    ] {
        let got = api.get(path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        // A number may be larger than a `Value` holds; then the text says what there is.
        let value = got.body.get("value").cloned();
        all.push(value.unwrap_or_else(|| Value::from(got.text)));
    }
    Value::Array(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_and_change_nothing() {
    refuses_bad_requests(prepared_server().await).await;
}

/// What a store can write and not read again is answered as a mistake of the server, here and in all that follows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_refused_and_change_nothing_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("q.db"), clock.clone()).await.unwrap();
    refuses_bad_requests(prepared(Api::over(store, clock, |server| server).await).await).await;
}

async fn refuses_bad_requests(api: Api) {
    let (mut cases, mut odd) = (0, Vec::new());
    let calls = AtomicU64::new(0);
    let mut check = async |what: String, got: crate::ApiResponse, may_succeed: bool| {
        cases += 1;
        let fine = [200, 201, 202, 204].contains(&got.status);
        if !((400..500).contains(&got.status) || fine && may_succeed)
            || (got.status >= 400 && !got.is_api_error() && got.body["claimLost"] != true)
        {
            odd.push(format!("{what}: {} {}", got.status, got.text.chars().take(200).collect::<String>()));
        }
        !fine
    };
    let mut expected;
    for (name, method, route, _) in Server::routes() {
        let path = path_of(&name, &route);
        // What was right on the way may have renamed the queue or ended the job.
        api.post("/odata/QueueDefinitions", &json!({"Name": "Invoices"})).await;
        let job = job(&api).await;
        expected = all_lists(&api).await;
        let send = async |body: Vec<u8>, kind: &str| {
            // Each is a call of its own, or it would be answered as the first one was.
            let id = format!("{}{:012x}", &CALL[..24], calls.fetch_add(1, Ordering::Relaxed));
            let body = match String::from_utf8(body) {
                Ok(text) => text.replace(CALL, &id).into_bytes(),
                Err(error) => error.into_bytes(),
            };
            let request =
                api.request(&method, &path).bearer_auth(&api.token).header("X-UIPATH-FolderPath", "Shared");
            api.send(request.header("content-type", kind).body(body)).await
        };
        if let Some(right) = valid_body(&name, &method, &job) {
            for wrong in wrong_values() {
                for body in mutations(&right, &wrong) {
                    let got = send(body.to_string().into_bytes(), "application/json").await;
                    // Some members accept the value: then the request was valid.
                    let refused = check(format!("{name} {body:.200}"), got, true).await;
                    if refused {
                        continue;
                    }
                    expected = all_lists(&api).await;
                }
            }
            for hard in HARD_VALUES {
                for body in mutations(&right, &json!("HARD")) {
                    let body = body.to_string().replace("\"HARD\"", hard);
                    let got = send(body.clone().into_bytes(), "application/json").await;
                    if !check(format!("{name} {body:.200}"), got, hard != "NaN").await {
                        expected = all_lists(&api).await;
                    }
                }
            }
            let text = right.to_string();
            let may_be_empty = right == json!({});
            for end in (usize::from(may_be_empty)..text.len()).step_by(7) {
                let got = send(text.as_bytes()[..end].to_vec(), "application/json").await;
                check(format!("{name} cut at {end}"), got, false).await;
            }
            for body in [
                &b"\xff\xfe{\x00}"[..],
                b"null",
                b"[]",
                b"\"x\"",
                b"{\"a\":NaN}",
                b"{,}",
                &b"[".repeat(5_000),
            ] {
                let got = send(body.to_vec(), "application/json").await;
                check(format!("{name} {:?}", body.get(..10)), got, false).await;
            }
            for kind in [
                "text/plain",
                "application/xml",
                "multipart/form-data",
                "application/x-www-form-urlencoded",
                "",
                "json",
                "application/",
            ] {
                let got = send(text.clone().into_bytes(), kind).await;
                assert!(
                    got.status == 415 || kind.is_empty(),
                    "{name} as {kind:?}: {} {}",
                    got.status,
                    got.text
                );
                let refused = check(format!("{name} as {kind:?}"), got, kind.is_empty()).await;
                if !refused {
                    expected = all_lists(&api).await;
                }
            }
            // Valid bodies with an invalid head: another charset or encoding, a repeated header.
            for (header, value, status) in [
                ("content-type", "application/json; charset=utf-16", 415),
                ("content-type", "application/json;charset=\"iso-8859-1\"", 415),
                ("content-encoding", "gzip", 415),
                ("content-encoding", "br, identity", 415),
                ("x-uipath-folderpath", "Shared", 400),
                ("x-uipath-folderpath", "Other", 400),
                ("authorization", "Bearer other", 400),
                ("host", "other", 400),
            ] {
                let mut headers = HeaderMap::new();
                let host = api.served.url.strip_prefix("http://").unwrap();
                let token = format!("Bearer {}", api.token);
                for (name, value) in
                    [("authorization", token.as_str()), ("x-uipath-folderpath", "Shared"), ("host", host)]
                {
                    headers.append(HeaderName::from_static(name), value.parse().unwrap());
                }
                headers.append(HeaderName::from_static(header), value.parse().unwrap());
                headers.entry("content-type").or_insert(HeaderValue::from_static("application/json"));
                // reqwest keeps one value of a header that it is given alone, and all of a map.
                let request = api.request(&method, &path).headers(headers).body(text.clone());
                let got = api.send(request).await;
                assert_eq!(got.status, status, "{name} with {header}: {value}: {}", got.text);
                check(format!("{name} with {header}: {value}"), got, false).await;
            }
            // Unknown fields for routes of the lease protocol.
            if path.starts_with("/api/performer/") {
                for body in with_unknown_field(&right) {
                    let got = send(body.to_string().into_bytes(), "application/json").await;
                    assert!(got.status == 400 && got.text.contains("tooMany"), "{name} {body}: {}", got.text);
                    check(format!("{name} {body}"), got, false).await;
                }
            }
        }
        // Unsupported methods.
        let reads = Server::routes().iter().any(|(_, method, other, _)| method == "GET" && *other == route);
        for other in ["PATCH", "TRACE", "OPTIONS", "PROPFIND", "HEAD"] {
            let changes = |wanted: &str| {
                Server::routes().iter().any(|(_, method, other, _)| method == wanted && *other == route)
            };
            if other == "PATCH" && changes("PATCH") {
                continue;
            }
            if other == "HEAD" && reads {
                continue;
            }
            let got = api.call(other, &path, &Value::Null).await;
            assert_eq!(got.status, if other == "OPTIONS" { 204 } else { 405 }, "{other} {path}");
            assert!(got.headers["allow"].to_str().unwrap().contains(&method), "{other} {path}");
        }
        assert_eq!(all_lists(&api).await, expected, "{name} changed something although it was refused");
    }
    assert!(odd.is_empty(), "{} of {cases} cases:\n{}", odd.len(), odd[..odd.len().min(20)].join("\n"));
    assert!(cases >= 2_000, "{cases} cases");
}

#[tokio::test]
async fn unknown_paths_are_404() {
    let api = Api::start().await;
    for path in [
        "/",
        "/odata",
        "/odata/",
        "/odata/Nothing",
        "/odata/QueueItems/",
        "/odata/QueueItems(1)/Nothing",
        "//odata/QueueItems",
        "/odata/QueueItems(1)/UiPathODataSvc.Nothing",
        "/api/Nothing/Get",
        "/odata/QueueItems%2f",
        "/odata/QueueItems;x",
        "/favicon.ico",
        "/odata/Packages",
        "/odata/Queues",
        "/%00",
        "/odata/%ff",
        "/a/b/c/odata/QueueItems",
        "/tasks/GenericTasks/Nothing",
        "/forms/TaskForms/GetTaskFormById",
        "/a/b/orchestrator_/tasks/GenericTasks/Nothing",
        "/a/b/api/Buckets/5/ListFiles",
        "/api/Status",
        "/api/Status/Get/5",
        "/odata/$count",
        "/odata/QueueItems(1)/$count",
        "/odata/$metadata/$count",
        "/odata/Users/UiPathODataSvc.GetCurrentUser/$count",
        "/odata/Queues/UiPathODataSvc.AddQueueItem/$count",
    ] {
        let got = api.get(path).await;
        assert!(got.status == 404 && got.is_api_error(), "{path}: {} {}", got.status, got.text);
    }
}

/// The seeds of the fuzz target `bodies`, without the fuzzer: every route that takes a body has one of its name, which is
/// read, and none is answered as the server's mistake.
#[tokio::test]
async fn the_seeds_of_the_fuzzer_are_bodies_of_every_route() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Q"})).await;
    api.add("Q", "r").await;
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/seeds/bodies");
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let routes = Server::routes();
    for (name, method, path, _) in &routes {
        if valid_body(name, method, "").is_some() {
            assert!(names.contains(name), "{name} {path} has no seed in fuzz/seeds/bodies");
        }
    }
    for seed in names {
        let text = std::fs::read_to_string(format!("{folder}/{seed}")).unwrap();
        let (name, body) = text.split_once('\n').unwrap();
        let route = routes.iter().find(|(route, ..)| route == name);
        let (_, method, path, _) = route.unwrap_or_else(|| panic!("{seed}: there is no route {name}"));
        // By its number: one of them gives the folder another name.
        let request =
            api.request(method, path).bearer_auth(&api.token).header("X-UIPATH-OrganizationUnitId", 1);
        let got = api.send(request.header("content-type", "application/json").body(body.to_owned())).await;
        assert!(got.status < 500, "{seed}: {} {}", got.status, got.text);
        let message = got.body["message"].as_str().unwrap_or_default();
        let is_read = !["The request is invalid", "must not be null", "is not known"]
            .iter()
            .any(|unread| message.contains(unread));
        assert!(is_read || seed != name, "{seed} is not read: {}", got.text);
    }
}
