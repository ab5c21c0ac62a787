//! Every request that the client can send: each body is compared with `golden/`, and each request is validated against the
//! vendor's OpenAPI document, if that is present.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use performer::model::{NewJob, TransactionResult};
use performer::orchestrator::uipath::Uipath;
use performer::orchestrator::{ClaimRequest, CommitType, ErrorKind, Report};
use performer::prelude::*;
use performer::{
    ExceptionType, ItemEdit, ItemFilter, LimitsEdit, Output, Page, Person, ProcessingException,
    ReferenceFilter, RetryDelay, ReviewStatus, SpecificContent, StopStrategy,
};
use serde_json::{Value, json};

use performer_proofs::openapi;
use performer_proofs::scripted_orchestrator::world::{JOB_KEY, World};
use performer_proofs::scripted_orchestrator::{RecordedRequest, ScriptedOrchestrator};

use crate::client;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn job() -> NewJob {
    NewJob::new("Invoices").machine("m").process_id(1).version("1").robots(1).lease(Duration::from_secs(30))
}

/// Calls everything there is, with everything that can be said.
async fn everything(server: &ScriptedOrchestrator, orchestrator: &Uipath) {
    let full = || {
        NewQueueItem::new(json!({"amount": 10.5, "customer": "ACME", "when": "2019-12-06T17:00:05.000Z", "paid": false, "note": null}))
            .reference("INV-17")
            .priority(Priority::High)
            .due_date(at("2026-09-01T00:00:00Z"))
            .defer_date(at("2026-01-01T00:00:00.1234567Z"))
            .risk_sla_date(at("2026-08-31T00:00:00Z"))
            .progress("new")
    };
    let bare = |reference: &str| NewQueueItem::new(json!({"a": 1})).reference(reference);
    let added = orchestrator.add_queue_item("invoices", full()).await.unwrap();
    assert_eq!(added.due_date, Some(at("2026-09-01T00:00:00Z")));
    assert_eq!(added.specific_content.to_value()["when"], "2019-12-06T17:00:05.000Z");
    for commit in
        [CommitType::AllOrNothing, CommitType::StopOnFirstFailure, CommitType::ProcessAllIndependently]
    {
        let bulk =
            orchestrator.bulk_add_queue_items("Invoices", commit, vec![full(), bare("b")]).await.unwrap();
        assert_eq!((bulk.added, bulk.failed.len()), (2, 0));
    }
    for number in 0..6 {
        orchestrator.add_queue_item("Invoices", bare(&format!("r{number}"))).await.unwrap();
    }

    let job_key = orchestrator.start_job(job()).await.unwrap();
    let take = |reference| ClaimRequest::new("Invoices", job_key, 1).robot(1).reference(reference);
    let exception = |kind| {
        Some(
            ProcessingException::new(kind, "the reason", at("2026-08-20T10:00:00Z"))
                .details(Some("the details".to_owned()))
                .image(Some("c:\\a.png".to_owned())),
        )
    };
    let results = [
        TransactionResult::Successful {
            output: Some(Output::new(&json!({"id": 7, "at": "2026-08-20T10:00:00Z"})).unwrap()),
        },
        TransactionResult::Successful { output: None },
        TransactionResult::Failed {
            exception: exception(ExceptionType::BusinessException),
            defer_date: None,
        },
        TransactionResult::Failed {
            exception: exception(ExceptionType::ApplicationException),
            defer_date: Some(at("2026-08-20T11:00:00Z")),
        },
        TransactionResult::Failed { exception: None, defer_date: None },
        TransactionResult::Postponed {
            defer_date: at("2099-01-01T00:00:00Z"),
            due_date: Some(at("2099-01-02T00:00:00Z")),
        },
        TransactionResult::GivenBack,
    ];
    for (number, result) in results.into_iter().enumerate() {
        let filter = match number {
            0 => Some(ReferenceFilter::Equals("b".to_owned())),
            1 => Some(ReferenceFilter::StartsWith("r".to_owned())),
            _ => None,
        };
        let taken = orchestrator.report_and_claim(Vec::new(), Some(take(filter))).await.claimed.unwrap();
        let claim = taken.items[0].claim;
        orchestrator.set_transaction_progress(claim, "half of it".to_owned()).await.unwrap();
        let mut report = Report::new(claim, result.clone());
        report.progress = (number == 0).then(|| "all of it".to_owned());
        let answers = orchestrator.report_and_claim(vec![report.clone()], None).await.reports;
        let status = *answers[0].as_ref().unwrap();
        assert_eq!(status, Status::ALL[[3, 3, 2, 5, 2, 0, 0][number]], "{result:?}");
        // The same report once more is answered without a call.
        let again = orchestrator.report_and_claim(vec![report], None).await.reports;
        assert_eq!(*again[0].as_ref().unwrap(), status);
    }
    let started = orchestrator.add_and_start_transaction(take(None), bare("started")).await.unwrap();
    assert_eq!(started.item.status, Status::InProgress);
    let both = vec![Report::new(started.claim, TransactionResult::Successful { output: None })];
    assert!(orchestrator.report_and_claim(both, None).await.reports[0].is_ok());
    orchestrator.beat(job_key).await.unwrap();
    orchestrator.sweep().await.unwrap();
    orchestrator.end_job(job_key, performer::JobState::Successful.into()).await.unwrap();

    people(server, orchestrator).await;
    queues(orchestrator).await;
}

async fn people(server: &ScriptedOrchestrator, orchestrator: &Uipath) {
    let everything = ItemFilter::default()
        .queue("Invoices")
        .status([Status::Failed, Status::Abandoned])
        .review_status([ReviewStatus::None])
        .priority(Priority::Normal)
        .reference(ReferenceFilter::StartsWith("r".to_owned()))
        .exception_type(ExceptionType::BusinessException)
        .created_from(at("2020-01-01T00:00:00Z"))
        .created_before(at("2100-01-01T00:00:00Z"));
    let page =
        orchestrator.list_queue_items(everything, Page::first(50).skip(0).descending(true)).await.unwrap();
    assert_eq!(page.items.len() as u64, page.count);
    let failed = ItemFilter::default().status([Status::Failed]);
    let failed = orchestrator.list_queue_items(failed, Page::default()).await.unwrap().items;
    assert_eq!(failed.len(), 2);
    let one = orchestrator.get_queue_item(failed[0].id).await.unwrap();
    assert_eq!(one, failed[0]);

    // Reviews: what is refused comes with a reason that the API does not give.
    assert!(orchestrator.set_reviewer(Some(7), vec![one.version()]).await.unwrap().is_empty());
    let stale = orchestrator.set_reviewer(None, vec![one.version()]).await.unwrap();
    assert_eq!(stale[0].1.code(), performer::ErrorCode::OPTIMISTIC_CONCURRENCY);
    let one = orchestrator.get_queue_item(one.id).await.unwrap();
    assert!(orchestrator.set_reviewer(None, vec![one.version()]).await.unwrap().is_empty());
    let one = orchestrator.get_queue_item(one.id).await.unwrap();
    assert!(
        orchestrator.set_review_status(ReviewStatus::Retried, vec![one.version()]).await.unwrap().is_empty()
    );
    let one = orchestrator.get_queue_item(one.id).await.unwrap();
    let twice = orchestrator.set_review_status(ReviewStatus::Retried, vec![one.version()]).await.unwrap();
    assert_eq!(twice[0].1.code(), performer::ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY);
    assert!(orchestrator.delete_queue_items(Vec::new()).await.unwrap().is_empty());
    assert!(orchestrator.delete_queue_items(vec![failed[1].version()]).await.unwrap().is_empty());
    assert_eq!(orchestrator.get_queue_item(failed[1].id).await.unwrap().status, Status::Deleted);

    assert_eq!(orchestrator.processing_history(one.id).await.unwrap().len(), 2);
    assert!(orchestrator.item_events(one.id).await.unwrap().len() >= 2);
    let comment = orchestrator.add_comment(one.id, Person::default(), "why?".to_owned()).await.unwrap();
    orchestrator.edit_comment(comment.id, Person::default(), Some("why not?".to_owned())).await.unwrap();
    assert_eq!(orchestrator.comments(one.id).await.unwrap()[0].text, "why not?");
    orchestrator.edit_comment(comment.id, Person::default(), None).await.unwrap();
    let somebody = Person { user_id: Some(1), user_name: None };
    let error = orchestrator.add_comment(one.id, somebody, "x".to_owned()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);

    let waiting = ItemFilter::default().status([Status::New]);
    let waiting = orchestrator.list_queue_items(waiting, Page::default()).await.unwrap().items;
    let edit = ItemEdit::default()
        .priority(Priority::Low)
        .due_date(at("2026-12-01T00:00:00Z"))
        .specific_content(SpecificContent::new(&json!({"a": 2})).unwrap());
    let edited = orchestrator.edit_queue_item(waiting[0].id, edit.clone()).await.unwrap();
    assert_eq!((edited.priority, edited.specific_content.to_value()), (Priority::Low, json!({"a": 2})));
    let error = orchestrator.edit_queue_item(one.id, edit).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    orchestrator.purge_content(failed[1].id).await.unwrap();
    assert_eq!(orchestrator.purge_content(waiting[0].id).await.unwrap_err().kind(), ErrorKind::Conflict);

    let statistics = orchestrator.queue_statistics("Invoices").await.unwrap();
    assert_eq!(statistics.total(), server.world().items.len() as i64);
    assert_eq!((statistics.successful, statistics.deleted, statistics.retried), (3, 1, 1));
}

async fn queues(orchestrator: &Uipath) {
    let policy = QueuePolicy::default()
        .max_number_of_retries(3)
        .retry_abandoned_items(true)
        .enforce_unique_reference(true)
        .retention_days(60);
    let new = NewQueueDefinition::new("Payments").description("what we pay").policy(policy.clone());
    let made = orchestrator.create_queue(new.clone()).await.unwrap();
    assert_eq!((made.policy.clone(), made.name.as_str()), (policy.clone(), "Payments"));
    assert_eq!(orchestrator.create_queue(new.clone()).await.unwrap_err().kind(), ErrorKind::Conflict);
    let changed = policy.max_number_of_retries(5).stale_retention_days(90);
    let changed = orchestrator.update_queue("payments", new.policy(changed)).await.unwrap();
    assert_eq!((changed.policy.max_number_of_retries, changed.policy.stale_retention_days), (5, 90));
    assert_eq!(orchestrator.list_queues().await.unwrap().len(), 2);
    assert_eq!(orchestrator.get_queue("PAYMENTS").await.unwrap(), changed);
    orchestrator.delete_queue("Payments").await.unwrap();
    assert!(orchestrator.get_queue("Payments").await.unwrap_err().is_not_found());
    let jobs = orchestrator.list_jobs(2).await.unwrap();
    let [job] = &jobs[..] else { panic!("{jobs:?}") };
    assert_eq!(
        (job.id.0, job.key.to_string().as_str(), job.state),
        (77, JOB_KEY, performer::JobState::Running)
    );
    assert_eq!((job.about.queue.as_str(), job.about.machine.as_str()), ("PostInvoices", "M1"));
    assert_eq!((job.start_time.to_string().as_str(), job.end_time), ("2026-03-01T08:00:00Z", None));
    let too_many = orchestrator.list_jobs(10_001).await.unwrap_err();
    assert_eq!(too_many.code().unwrap().number(), 1015);
    orchestrator.stop_job(JOB_KEY.parse().unwrap(), StopStrategy::SoftStop).await.unwrap();
}

async fn all_calls() -> Vec<RecordedRequest> {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator = client(&server).job_key(JOB_KEY).connect().await.unwrap();
    everything(&server, &orchestrator).await;
    {
        use performer::robot_logs::robot_logs;
        use tracing_subscriber::layer::SubscriberExt as _;
        let (layer, shipping) = robot_logs(Arc::new(orchestrator.clone()), "PostInvoices");
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, || tracing::info!(item = 7, "started"));
        assert_eq!(shipping.finish().await, 0);
    }
    assert_eq!(orchestrator.api_version(), Some(20));
    let user = Uipath::builder(&server.url)
        .user("ann", performer_proofs::scripted_orchestrator::world::CLIENT_SECRET)
        .folder_id(3)
        .connect()
        .await;
    user.unwrap();
    server.seen()
}

/// What differs from run to run.
fn without_chance(value: &mut Value, of_now: bool) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match (key.as_str(), &value) {
                    ("OperationId", Value::String(text)) => {
                        let parts: Vec<&str> = text.split('/').collect();
                        *value = format!("{}/<job>/{}/{}", parts[0], parts[2], parts[3]).into();
                    }
                    ("CreationTime", Value::String(date)) if !date.starts_with("2026-08-20") => {
                        *value = "<then>".into();
                    }
                    ("DeferDate", Value::String(_)) if of_now => *value = "<soon>".into(),
                    _ => without_chance(value, of_now),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| without_chance(value, of_now)),
        Value::String(text) if text.contains("timeStamp") => {
            let mut line: Value = serde_json::from_str(text).unwrap();
            line["timeStamp"] = "<now>".into();
            line["machineName"] = "<machine>".into();
            *text = line.to_string();
        }
        _ => {}
    }
}

/// Every body that is sent, as it was when somebody looked at it last. To look at changes and keep them:
/// `PERFORMER_GOLDEN=write cargo test -p performer-uipath --test uipath golden`.
#[tokio::test]
async fn every_body_is_the_golden_one() {
    let mut bodies: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for seen in all_calls().await {
        if seen.body.is_empty() {
            continue;
        }
        let mut body = match seen.operation {
            "Token" => Value::String(String::from_utf8_lossy(&seen.body).into_owned()),
            _ => seen.json(),
        };
        let result = &body["transactionResult"];
        let given_back = result["DeferDate"]
            .as_str()
            .is_some_and(|date| !date.starts_with("2099") && result["ProcessingException"].is_null());
        without_chance(&mut body, given_back);
        let bodies = bodies.entry(seen.operation.to_owned()).or_default();
        if !bodies.contains(&body) {
            bodies.push(body);
        }
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/uipath/golden");
    let write = std::env::var_os("PERFORMER_GOLDEN").is_some();
    for (operation, bodies) in &bodies {
        let file = folder.join(format!("{operation}.json"));
        let text = serde_json::to_string_pretty(bodies).unwrap() + "\n";
        if write {
            std::fs::write(&file, &text).unwrap();
        }
        let golden = std::fs::read_to_string(&file).unwrap_or_default();
        assert_eq!(text, golden, "{operation} is not what golden/{operation}.json says");
    }
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, bodies.len(), "every golden file is of a body that is sent");
}

fn complaints_about(document: &Value, seen: &RecordedRequest) -> Vec<String> {
    let Some((path, operations)) = openapi::path_template(document, &seen.path) else {
        return vec![format!("{} {} is not in the document", seen.method, seen.path)];
    };
    let operation = &operations[seen.method.as_str().to_lowercase()];
    if operation.is_null() {
        return vec![format!("{path} has no {}", seen.method)];
    }
    let mut complaints = Vec::new();
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    for (name, _) in &seen.query {
        if !parameters
            .iter()
            .any(|parameter| parameter["in"] == "query" && parameter["name"] == name.as_str())
        {
            complaints.push(format!("{path} has no option {name}"));
        }
    }
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    match (seen.body.is_empty(), schema.is_null()) {
        (true, _) => {}
        (false, true) => complaints.push(format!("{} {path} takes no body", seen.method)),
        (false, false) => {
            let errors = openapi::violations(document, schema, &seen.json());
            let errors = errors.into_iter().map(|error| format!("{path}: {error}"));
            complaints.extend(errors);
        }
    }
    complaints
}

#[tokio::test]
async fn every_request_is_valid_against_the_openapi_document() {
    let Some(document) = openapi::document() else {
        println!(
            "the vendor's OpenAPI document is not here (ORCHESTRATOR_OPENAPI): requests are not checked against it"
        );
        return;
    };
    let document = openapi::with_defects_fixed(document);
    let calls = all_calls().await;
    // Not in the document of version 20, and still there on servers.
    let known: Vec<&RecordedRequest> =
        calls.iter().filter(|seen| !matches!(seen.operation, "Token" | "Authenticate")).collect();
    let complaints: Vec<String> = known.iter().flat_map(|seen| complaints_about(&document, seen)).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    let operations: std::collections::BTreeSet<&str> = known.iter().map(|seen| seen.operation).collect();
    assert!(
        operations.len() >= 30 && known.len() > 90,
        "{} operations in {} calls",
        operations.len(),
        known.len()
    );

    // The check sees what it is there to see.
    let wrong = |path: &str, body: Value| {
        let seen =
            RecordedRequest { path: path.to_owned(), body: body.to_string().into(), ..known[0].clone() };
        complaints_about(
            &document,
            &RecordedRequest { method: "POST".parse().unwrap(), query: Vec::new(), ..seen },
        )
    };
    let add = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    assert!(wrong(add, json!({"itemData": {"Name": "Q", "Priority": "Normal", "SpecificContent": {"a": 1}, "DueDate": null}})).is_empty());
    for body in [
        json!({"itemData": {"Name": "Q", "Priority": "Urgent"}}),
        json!({"itemData": {"Name": "Q", "Prio": "High"}}),
        json!({"itemData": {"Name": 7}}),
        json!({"itemdata": {}}),
        json!({"itemData": {"DueDate": "tomorrow"}}),
        json!({"itemData": {"Reference": "x".repeat(129)}}),
    ] {
        assert!(!wrong(add, body.clone()).is_empty(), "{body}");
    }
    assert!(!wrong("/odata/Queues/UiPathODataSvc.AddQueueItems", json!({})).is_empty());
}

#[tokio::test]
async fn every_call_names_its_folder_and_its_caller() {
    for seen in all_calls().await {
        if matches!(seen.operation, "Token" | "Authenticate") {
            assert_eq!(seen.header("authorization"), None);
            assert_eq!(seen.header("x-uipath-folderpath"), None, "an identity server knows no folders");
            continue;
        }
        let folders = ["x-uipath-folderpath", "x-uipath-organizationunitid"].map(|name| seen.header(name));
        assert_eq!(folders.iter().flatten().count(), 1, "{}: {folders:?}", seen.operation);
        assert!(seen.header("authorization").unwrap().starts_with("Bearer "));
        assert!(!seen.raw_query.contains([' ', '\'', '+']), "strict proxies: {}", seen.raw_query);
    }
}

#[tokio::test]
async fn operations_that_the_api_lacks_are_refused_with_a_reason() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    let orchestrator: Arc<dyn Administration> = Arc::new(client(&server).connect().await.unwrap());
    let mut refusals = vec![
        orchestrator.apply_retention(1).await.map(|_| ()).unwrap_err(),
        orchestrator.list_robots().await.map(|_| ()).unwrap_err(),
    ];
    let quick = QueuePolicy::default().abandon_after(Duration::from_secs(60));
    refusals.push(orchestrator.create_queue(NewQueueDefinition::new("Q").policy(quick)).await.unwrap_err());
    for delay in [RetryDelay::Fixed(Duration::from_secs(1)), "1s..1m".parse().unwrap()] {
        let delayed =
            |name: &str| NewQueueDefinition::new(name).policy(QueuePolicy::default().retry_delay(delay));
        for error in [
            orchestrator.create_queue(delayed("Q")).await.unwrap_err(),
            orchestrator.update_queue("Invoices", delayed("Invoices")).await.unwrap_err(),
        ] {
            assert!(error.to_string().contains("no retry delay of a queue (retry_delay)"), "{error}");
            refusals.push(error);
        }
    }
    for operation in ["PostQueueDefinition", "PutQueueDefinition"] {
        assert_eq!(server.seen_of(operation).len(), 0, "{operation}: nothing is changed in part");
    }
    let job = orchestrator.start_job(job()).await.unwrap();
    let take = || ClaimRequest::new("Invoices", job, 1);
    let item = || NewQueueItem::new(json!({"a": 1}));
    for item in [
        item().priority(Priority::High),
        item().progress("x"),
        item().risk_sla_date(at("2026-01-01T00:00:00Z")),
    ] {
        refusals.push(orchestrator.add_and_start_transaction(take(), item).await.unwrap_err());
    }
    // It would ignore the group: nothing is sent.
    let grouped = || item().group("customer-17850");
    refusals.push(orchestrator.add_and_start_transaction(take(), grouped()).await.unwrap_err());
    refusals.push(orchestrator.add_queue_item("Invoices", grouped()).await.unwrap_err());
    let many =
        orchestrator.bulk_add_queue_items("Invoices", CommitType::AllOrNothing, vec![item(), grouped()]);
    refusals.push(many.await.map(drop).unwrap_err());
    let one_at_a_time = LimitsEdit::default().max_in_progress_per_group(1);
    refusals.push(orchestrator.edit_queue_limits("Invoices", one_at_a_time).await.unwrap_err());
    for operation in ["AddQueueItem", "BulkAddQueueItems", "StartTransaction"] {
        assert!(server.seen_of(operation).is_empty(), "{operation}");
    }
    for error in refusals {
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
        assert!(error.to_string().len() > 30, "{error}");
    }
    let empty =
        orchestrator.add_and_start_transaction(take(), NewQueueItem::new(json!({}))).await.unwrap_err();
    assert_eq!(empty.kind(), ErrorKind::Invalid);
}

/// A performer server that is older than a setting keeps the others, and the caller is told.
#[tokio::test]
async fn an_older_performer_server_is_noticed_that_reads_over_a_retry_delay() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    server.announce_leases();
    let orchestrator: Arc<dyn Administration> = Arc::new(client(&server).connect().await.unwrap());
    let delayed = |name: &str| {
        let policy = QueuePolicy::default().retry_delay(Duration::from_secs(30));
        NewQueueDefinition::new(name).policy(policy)
    };
    let made = orchestrator.create_queue(delayed("New")).await.unwrap();
    assert_eq!(made.policy.retry_delay.to_string(), "30s", "one that has it");
    server.replace("PerformerRetryDelay", "SomethingElse");
    for error in [
        orchestrator.create_queue(delayed("Old")).await.unwrap_err(),
        orchestrator.update_queue("Invoices", delayed("Invoices")).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("its retries do not wait; upgrade the server"), "{error}");
    }
}

#[tokio::test]
async fn an_old_server_receives_no_unknown_members() {
    let server = ScriptedOrchestrator::start(World::new()).await;
    server.versions(Some("11.0"));
    let orchestrator = client(&server).connect().await.unwrap();
    assert_eq!(orchestrator.api_version(), Some(11));
    let retried = QueuePolicy::default().retry_abandoned_items(true);
    let error = orchestrator.create_queue(NewQueueDefinition::new("Q").policy(retried)).await.unwrap_err();
    assert!(error.to_string().contains("version 11 of the API"), "{error}");
    orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let body = server.seen_of("PostQueueDefinition")[0].json();
    assert_eq!(body.get("RetryAbandonedItems"), None);

    server.world().add("a", json!({"do": "succeed"}));
    let (summary, done) = crate::drain(Arc::new(orchestrator), 1).await;
    assert_eq!((summary.unwrap().successful, done.len()), (1, 1));
    assert_eq!(
        server.seen_of("SetTransactionResult")[0].json()["transactionResult"].get("OperationId"),
        None
    );
}
