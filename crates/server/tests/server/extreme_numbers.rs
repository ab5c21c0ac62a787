//! Extreme and invalid values for every number in a request: no response is a server error, none takes long or much memory.

use std::time::Duration;

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use performer::server::Server;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{Api, start_of_time};

/// Stands for the number in a body.
const PLACEHOLDER: &str = "<number>";

const EXTREMES: [&str; 21] = [
    "0",
    "-0",
    "1",
    "-1",
    "0.5",
    "1.0",
    "-1.5e300",
    "1e400",
    "-1e400",
    "2147483647",
    "2147483648",
    "-2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "\"4294967295\"",
    "\"NaN\"",
];

/// For URIs and headers, where each number is parsed in one place.
const SOME_EXTREMES: [&str; 8] = [
    "0",
    "-1",
    "1.5",
    "1e400",
    "2147483648",
    "9223372036854775807",
    "-9223372036854775808",
    "18446744073709551616",
];

const UNKNOWN_KEY: &str = "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11";

/// The bodies of a route, each with one placeholder for a number.
fn bodies(name: &str, job: &str) -> Vec<Value> {
    let claim = |item: Value, token: Value| json!({"item": item, "job": job, "token": token});
    let exchange = |reports: Value, take: Value| json!({"id": UNKNOWN_KEY, "reports": reports, "take": take});
    let take = |count: Value, robot: Value| json!({"queue": "Invoices", "job": job, "robot": robot, "count": count, "reference": null});
    let report = |item: Value, token: Value| json!([{"claim": claim(item, token), "result": {"successful": {"output": null}}, "progress": null}]);
    let start = |process: Value, robots: Value, lease: Value| json!({"queue": "Invoices", "machine": "m", "processId": process, "version": "1", "robots": robots, "lease": lease});
    let figures = |name: &str| {
        let mut figures = json!({"busy": {"secs": 1, "nanos": 1}});
        if name == "secs" || name == "nanos" {
            figures["busy"][name] = PLACEHOLDER.into();
        } else {
            figures[name] = PLACEHOLDER.into();
        }
        json!({"job": job, "state": "Successful", "info": null, "figures": figures})
    };
    let queue = |member: &str| {
        let mut queue = json!({"Name": format!("with {member}"), "RetentionPeriod": 30, "RetentionAction": "Delete", "ReleaseId": 1});
        queue[member] = PLACEHOLDER.into();
        queue
    };
    let of_queue = || {
        let members = [
            "Id",
            "MaxNumberOfRetries",
            "SlaInMinutes",
            "RiskSlaInMinutes",
            "ReleaseId",
            "RetentionPeriod",
            "StaleRetentionPeriod",
            "RetentionAction",
            "RetentionBucketId",
            "PerformerAbandonAfterSeconds",
        ];
        members.into_iter().map(queue).collect()
    };
    let versioned = |id: Value, version: Value| json!([{"Id": id, "RowVersion": version}]);
    let placeholder = || Value::from(PLACEHOLDER);
    match name {
        "PostQueueDefinition" | "PutQueueDefinition" | "CreateQueue" | "EditQueue" => of_queue(),
        "AddQueueItem" => ["Priority", "DeferDate", "DueDate", "Reference"]
            .into_iter()
            .map(|member| {
                let mut item = json!({"Name": "Invoices", "SpecificContent": {"a": 1}});
                item[member] = placeholder();
                json!({ "itemData": item })
            })
            .chain([json!({"itemData": {"Name": "Invoices", "SpecificContent": {"a": PLACEHOLDER}}})])
            .collect(),
        "BulkAddQueueItems" => vec![
            json!({"queueName": "Invoices", "commitType": PLACEHOLDER, "queueItems": []}),
            json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": [{"Priority": PLACEHOLDER}]}),
        ],
        "SetTransactionResult" => vec![
            json!({"transactionResult": {"IsSuccessful": true, "Output": {"a": PLACEHOLDER}}}),
            json!({"transactionResult": {"IsSuccessful": true, "Analytics": {"a": PLACEHOLDER}}}),
            json!({"transactionResult": {"IsSuccessful": false, "ProcessingException": {"Reason": "r", "Type": PLACEHOLDER}}}),
            json!({"transactionResult": {"IsSuccessful": false, "DeferDate": PLACEHOLDER}}),
        ],
        "SetTransactionProgress" => vec![json!({ "progress": PLACEHOLDER })],
        "StartTransaction" => vec![
            json!({"transactionData": {"Name": "Empty", "ReferenceFilterOption": PLACEHOLDER, "Reference": "x"}}),
            json!({"transactionData": {"Name": "Empty", "RobotIdentifier": PLACEHOLDER}}),
        ],
        "PutQueueItem" => vec![json!({ "Priority": PLACEHOLDER }), json!({ "DueDate": PLACEHOLDER })],
        "DeleteBulk" | "UnsetItemReviewer" | "SetItemReviewer" | "SetItemReviewStatus" => vec![
            json!({"queueItems": versioned(placeholder(), "AAAAAAAAAAE=".into()), "status": "InReview"}),
            json!({"queueItems": versioned(1.into(), placeholder()), "status": "InReview"}),
            json!({"queueItems": versioned(1.into(), placeholder()), "status": PLACEHOLDER, "userId": null}),
            json!({"queueItems": versioned(1.into(), "AAAAAAAAAAE=".into()), "userId": PLACEHOLDER, "status": "InReview"}),
        ],
        "PostQueueItemComment" => vec![json!({"Text": "t", "QueueItemId": PLACEHOLDER})],
        "PutQueueRetention" => vec![
            json!({"Action": "Delete", "Period": PLACEHOLDER}),
            json!({"Action": PLACEHOLDER, "Period": 30}),
            json!({"Action": "Delete", "Period": 30, "Type": PLACEHOLDER}),
        ],
        "ShareToFolders" => vec![
            json!({"QueueIds": [PLACEHOLDER]}),
            json!({"QueueIds": [1], "ToAddFolderIds": [PLACEHOLDER]}),
            json!({"QueueIds": [1], "ToRemoveFolderIds": [PLACEHOLDER]}),
        ],
        "PostFolder" => vec![json!({"DisplayName": "F", "ParentId": PLACEHOLDER})],
        "PutFolder" => vec![json!({"DisplayName": "Shared", "ParentId": PLACEHOLDER})],
        "AssignUsers" => vec![
            json!({"assignments": {"UserIds": [PLACEHOLDER], "RolesPerFolder": [{"FolderId": 1, "RoleIds": []}]}}),
            json!({"assignments": {"UserIds": [1], "RolesPerFolder": [{"FolderId": PLACEHOLDER, "RoleIds": []}]}}),
            json!({"assignments": {"UserIds": [1], "RolesPerFolder": [{"FolderId": 1, "RoleIds": [PLACEHOLDER]}]}}),
        ],
        "RemoveUserFromFolder" => vec![json!({ "userId": PLACEHOLDER })],
        "PostUser" | "PutUser" => vec![json!({"UserName": "u", "Type": PLACEHOLDER})],
        "AssignRoles" => vec![json!({ "roleIds": [PLACEHOLDER] })],
        "StartJob" => vec![
            start(placeholder(), 1.into(), 30_000.into()),
            start(1.into(), placeholder(), 30_000.into()),
            start(1.into(), 1.into(), placeholder()),
        ],
        "EndJob" => ["successful", "retried", "abandonedOfOthers", "secs", "nanos"].map(figures).into(),
        "Exchange" => vec![
            exchange(json!([]), take(placeholder(), 1.into())),
            exchange(json!([]), take(1.into(), placeholder())),
            exchange(report(placeholder(), 1.into()), Value::Null),
            exchange(report(1.into(), placeholder()), Value::Null),
        ],
        "AddAndStart" => [(placeholder(), 1.into()), (1.into(), placeholder())]
            .map(|(count, robot)| {
                json!({"id": UNKNOWN_KEY, "take": take(count, robot), "item": {"SpecificContent": {"a": 1}}})
            })
            .into(),
        "Progress" => vec![
            json!({"claim": claim(placeholder(), 1.into()), "progress": "p"}),
            json!({"claim": claim(1.into(), placeholder()), "progress": "p"}),
        ],
        "Wait" => vec![
            json!({"queue": "Invoices", "seen": PLACEHOLDER, "atMost": 1}),
            json!({"queue": "Invoices", "seen": 0, "atMost": PLACEHOLDER}),
        ],
        "Jobs" | "Retention" => vec![json!({ "limit": PLACEHOLDER })],
        "EditLimits" => vec![
            json!({"queue": "Invoices", "edit": {"maxInProgress": PLACEHOLDER}}),
            json!({"queue": "Invoices", "edit": {"maxStarts": {"count": PLACEHOLDER, "per": {"secs": 60, "nanos": 0}}}}),
            json!({"queue": "Invoices", "edit": {"maxStarts": {"count": 1, "per": {"secs": PLACEHOLDER, "nanos": 0}}}}),
            json!({"queue": "Invoices", "edit": {"maxStarts": {"count": 1, "per": {"secs": 60, "nanos": PLACEHOLDER}}}}),
        ],
        "StopJob" => vec![json!({"job": UNKNOWN_KEY, "strategy": PLACEHOLDER})],
        "Reasons" => vec![
            json!({ "id": PLACEHOLDER }),
            json!({ "top": PLACEHOLDER }),
            json!({"after": [PLACEHOLDER, 1]}),
            json!({"after": [1, PLACEHOLDER], "lastSeenFirst": true}),
        ],
        "EditReason" => vec![
            json!({"id": PLACEHOLDER, "edit": {"note": "n"}}),
            json!({"id": 1, "edit": {"owner": PLACEHOLDER}}),
        ],
        "Reveal" => vec![json!({"id": PLACEHOLDER, "reason": "r"})],
        "Correct" => vec![
            json!({"id": PLACEHOLDER, "rowVersion": 1}),
            json!({"id": 1, "rowVersion": PLACEHOLDER}),
        ],
        _ => Vec::new(),
    }
}

/// The peak memory of this process in bytes; 0 if the system does not report it.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).map_or(0, |kib: u64| kib * 1024)
}

struct Walk {
    api: Api,
    cases: u64,
    odd: Vec<String>,
}

impl Walk {
    async fn send(
        &mut self,
        what: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
        header: Option<(&str, &str)>,
    ) {
        // A slow call is repeated once, because other processes may use the machine.
        for attempt in 0..2 {
            let mut request = self.api.request(method, path).bearer_auth(&self.api.token);
            match header {
                Some((name, value)) => request = request.header(name, value),
                None => request = request.header("X-UIPATH-FolderPath", "Shared"),
            }
            if let Some(body) = body {
                request = request.header("content-type", "application/json").body(body.to_owned());
            }
            let began = Instant::now();
            let got = tokio::time::timeout(Duration::from_secs(20), self.api.send(request)).await;
            let took = began.elapsed();
            let Ok(got) = got else { panic!("{what}: no answer in twenty seconds") };
            self.cases += 1;
            let is_right = |got: &crate::ApiResponse| got.is_api_error() || got.body["claimLost"] == true;
            if got.status >= 500 || (got.status >= 400 && !is_right(&got)) {
                self.odd.push(format!("{what}: {} {:.200}", got.status, got.text));
            }
            if took < Duration::from_secs(5) {
                return;
            }
            if attempt == 1 {
                self.odd.push(format!("{what}: it took {took:?}"));
            }
        }
    }
}

/// `only_bodies`: no store sees the numbers of addresses and headers.
async fn walk(store: Store, clock: std::sync::Arc<ManualClock>, only_bodies: bool) {
    let api = Api::over(store, clock, |server| server).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    api.add("Invoices", "one").await;
    let start = json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": 1, "lease": 30_000});
    let before = memory();
    let mut walk = Walk { cases: 0, odd: Vec::new(), api };
    for (name, method, path, _) in Server::routes() {
        // Some routes delete or rename the queue.
        for queue in ["Invoices", "Empty"] {
            walk.api.post("/odata/QueueDefinitions", &json!({ "Name": queue })).await;
        }
        let start = async |api: &Api| {
            let started = api.post("/api/Performer/StartJob", &start).await.body;
            started["job"].as_str().unwrap_or_else(|| panic!("{name}: {started}")).to_owned()
        };
        let mut job = start(&walk.api).await;
        for at in 0..bodies(&name, &job).len() {
            for number in EXTREMES {
                if name == "EndJob" {
                    job = start(&walk.api).await;
                }
                let body = bodies(&name, &job).swap_remove(at);
                let body = body.to_string().replace(&format!("\"{PLACEHOLDER}\""), number);
                if name == "Wait" && body.contains(&format!("\"atMost\":{number}")) && number.len() > 3 {
                    continue; // a valid wait, which takes its time
                }
                walk.send(&format!("{name} {body}"), &method, &path, Some(&body), None).await;
            }
        }
        let few: &[&str] = if only_bodies { &[] } else { &SOME_EXTREMES };
        for &number in few {
            if path.contains("(1)") {
                let path = path.replace("(1)", &format!("({number})"));
                let body = (method != "GET" && method != "DELETE").then_some("{}");
                walk.send(&format!("{name} {path}"), &method, &path, body, None).await;
            }
            if method == "GET" {
                for query in [
                    format!("$top={number}"),
                    format!("$skip={number}"),
                    format!("$filter=Id%20eq%20{number}"),
                    format!("$filter=Id%20in%20({number},{number})"),
                    format!("skip={number}"),
                    format!("take={number}"),
                    format!(
                        "id={number}&key={number}&daysNo=0&queueDefinitionId={number}&queueItemId={number}"
                    ),
                    format!(
                        "daysNo={number}&queueDefinitionId=1&excludeFolderId={number}&retentionType={number}"
                    ),
                ] {
                    let path = format!("{path}?{query}");
                    walk.send(&format!("{name} {path}"), &method, &path, None, None).await;
                }
            }
            let body = (method != "GET").then_some("{}");
            let header = Some(("X-UIPATH-OrganizationUnitId", number));
            walk.send(&format!("{name} in folder {number}"), &method, &path, body, header).await;
            let header = Some(("performer-author", number));
            walk.send(&format!("{name} by {number}"), &method, &path, body, header).await;
        }
    }
    let lists = [("Jobs", json!({"limit": 10_000})), ("Robots", json!({}))];
    for (what, body) in lists {
        let got = walk.api.post(&format!("/api/Performer/{what}"), &body).await;
        assert_eq!(got.status, 200, "{what}: {}", got.text);
        assert!(got.body.as_array().unwrap().len() <= 10_000 && got.text.len() < 4_000_000, "{what}");
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 512 * 1024 * 1024, "the memory grew by {grown} bytes");
    let Walk { cases, odd, .. } = walk;
    assert!(odd.is_empty(), "{} of {cases} cases:\n{}", odd.len(), odd[..odd.len().min(30)].join("\n"));
    assert!(cases > if only_bodies { 1_500 } else { 5_000 }, "{cases} cases");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extreme_numbers_are_handled_on_sqlite() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("q.db"), clock.clone()).await.unwrap();
    walk(store, clock, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn extreme_numbers_are_handled_on_postgres() {
    let schema = performer_proofs::postgres::Schema::new();
    let clock = std::sync::Arc::new(ManualClock::new(start_of_time()));
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    walk(store, clock, true).await;
}

/// A refused number has a code and the name of its field, and stored data is listed in pages.
#[tokio::test]
async fn numbers_over_a_limit_are_refused_with_the_field() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let start = |robots: u64, lease: u64| json!({"queue": "Invoices", "machine": "m", "processId": 1, "version": "1", "robots": robots, "lease": lease});
    for (what, body, field) in [
        ("StartJob", start(4_294_967_295, 30_000), "robots"),
        ("StartJob", start(10_001, 30_000), "robots"),
        ("StartJob", start(0, 30_000), "robots"),
        ("StartJob", start(1, u64::MAX), "lease"),
        ("Jobs", json!({"limit": 10_001}), "limit"),
        (
            "Exchange",
            json!({"id": UNKNOWN_KEY, "reports": [], "take":
                {"queue": "Invoices", "job": UNKNOWN_KEY, "robot": 1, "count": u64::MAX, "reference": null}}),
            "count",
        ),
        (
            "EditLimits",
            json!({"queue": "Invoices", "edit": {"maxStarts": {"count": 1, "per": {"secs": u64::MAX, "nanos": 0}}}}),
            "window",
        ),
    ] {
        let got = api.post(&format!("/api/Performer/{what}"), &body).await;
        assert_eq!((got.status, got.code()), (400, 1015), "{what} {body}: {}", got.text);
        assert!(got.body["message"].as_str().unwrap().contains(field), "{what}: {}", got.text);
    }
    // Three jobs with the maximum number of robots: the list has a limit.
    for _ in 0..3 {
        assert_eq!(api.post("/api/Performer/StartJob", &start(10_000, 30_000)).await.status, 200);
    }
    let robots = api.post("/api/Performer/Robots", &json!({})).await;
    assert_eq!(robots.body.as_array().unwrap().len(), 10_000);
    // Lists over the limits.
    for (path, body) in [
        ("/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders", json!({"QueueIds": vec![1; 1_001]})),
        (
            "/odata/QueueDefinitions/UiPathODataSvc.ShareToFolders",
            json!({"QueueIds": [], "ToAddFolderIds": vec![1; 1_001]}),
        ),
        (
            "/odata/Folders/UiPathODataSvc.AssignUsers",
            json!({"assignments": {"UserIds": vec![1; 1_001], "RolesPerFolder": []}}),
        ),
        (
            "/odata/Folders/UiPathODataSvc.AssignUsers",
            json!({"assignments": {"UserIds": [], "RolesPerFolder": [{"FolderId": 1, "RoleIds": vec![1; 1_001]}]}}),
        ),
        ("/odata/Users", json!({"UserName": "u", "RolesList": vec!["Viewer"; 1_001]})),
        ("/odata/Roles", json!({"Name": "R", "Permissions": vec![json!({"Name": "Queues.View"}); 1_001]})),
        ("/api/Performer/Held", json!({"job": UNKNOWN_KEY, "void": vec![UNKNOWN_KEY; 10_001]})),
    ] {
        let got = api.post(path, &body).await;
        assert_eq!((got.status, got.code()), (400, 1009), "{path}: {}", got.text);
        assert!(got.text.contains("the limit is"), "{path}: {}", got.text);
    }
}

/// Settings of an operator have ranges too.
#[tokio::test]
async fn invalid_settings_are_refused() {
    let refused = async |builder: performer::server::ServerBuilder| builder.open().await.unwrap_err().kind();
    let server = || Server::builder(Store::memory());
    for builder in [
        server().most_connections(usize::MAX),
        server().most_requests(usize::MAX),
        server().largest_body(usize::MAX),
        server().largest_body(0),
        server().request_limit(Duration::MAX),
        server().request_limit(Duration::ZERO),
    ] {
        assert_eq!(refused(builder).await, performer::ErrorKind::Invalid);
    }
    let api = Api::start().await;
    let access_admin = &api.served.access_admin;
    let roles = performer::server::Roles { roles: vec!["Viewer".to_owned()], folders: Vec::new() };
    access_admin.add_user("ann", performer::model::UserType::User, None, &roles).await.unwrap();
    let day = Duration::from_secs(86_400);
    for life in [Duration::MAX, Duration::from_secs(u64::MAX / 2), day * 3_651] {
        assert!(access_admin.add_token("ann", "t", "OR.Queues", life).await.is_err(), "{life:?}");
    }
    access_admin.add_token("ann", "t", "OR.Queues", day * 3_650).await.unwrap();
}
