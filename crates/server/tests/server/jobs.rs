//! Jobs as people see and stop them (orchestrator-api 15), over stores in memory and in a file.

use std::sync::Arc;
use std::time::Duration;

use performer::model::{JobEnd, JobKey, JobState, ManualClock, NewJob};
use performer::orchestrator::store::Store;
use performer::prelude::*;
use serde_json::{Value, json};

use crate::{Api, start_of_time};
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};

const STOP_JOBS: &str = "/odata/Jobs/UiPath.Server.Configuration.OData.StopJobs";

fn new_job(queue: &str, machine: &str) -> NewJob {
    NewJob::new(queue).machine(machine).process_id(7).version("1.2").robots(2).lease(Duration::from_secs(600))
}

/// Both kinds of store that need no server of their own.
async fn both(test: impl AsyncFn(Api)) {
    let folder = tempfile::tempdir().unwrap();
    let clock = || Arc::new(ManualClock::new(start_of_time()));
    let (of_memory, of_file) = (clock(), clock());
    let file = Store::sqlite_with_clock(folder.path().join("q.db"), of_file.clone()).await.unwrap();
    test(Api::over(Store::memory_with_clock(of_memory.clone()), of_memory, |server| server).await).await;
    test(Api::over(file, of_file, |server| server).await).await;
}

/// A job that the first application starts, a minute later each.
async fn start(api: &Api, machine: &str) -> String {
    let body = json!({"queue": "Invoices", "machine": machine, "processId": 7, "version": "1.2", "robots": 2, "lease": 600_000});
    let started = api.post("/api/Performer/StartJob", &body).await;
    api.clock.advance(Duration::from_secs(60));
    started.body["job"].as_str().unwrap_or_else(|| panic!("{}", started.text)).to_owned()
}

/// The machines of the jobs that a query lists, and their number.
async fn listed(api: &Api, query: &str) -> (Vec<String>, Value) {
    let got = api.get(&format!("/odata/Jobs?{query}")).await;
    assert_eq!(got.status, 200, "{query}: {}", got.text);
    let rows = got.body["value"].as_array().unwrap();
    let machines = rows.iter().map(|row| row["HostMachineName"].as_str().unwrap_or("-").to_owned());
    (machines.collect(), got.body["@odata.count"].clone())
}

async fn beat(api: &Api, job: &str) -> Value {
    api.post("/api/Performer/Beat", &json!({ "job": job })).await.body["state"].clone()
}

#[tokio::test]
async fn performers_are_jobs_with_their_states_machines_and_ends() {
    both(async |api| {
        api.queue(&json!({"Name": "Invoices"})).await;
        let user = api.get("/odata/Users").await.body["value"][0].clone();
        let robot = user["UserName"].as_str().unwrap();
        api.served.access_admin.add_robot("R1", robot).await.unwrap();
        api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
        let (one, two) = (start(&api, "m1").await, start(&api, "m2").await);
        // A process that opened the store itself has no user.
        let own = api.served.store.start_job(new_job("Invoices", "m3")).await.unwrap();
        let faulted = JobEnd::new(JobState::Faulted).info("the disk is full");
        api.served.store.end_job(own, faulted).await.unwrap();

        let job = api.get("/odata/Jobs(1)?$expand=Robot").await.body;
        for (member, expected) in [
            ("Key", json!(one)),
            ("State", json!("Running")),
            ("StartTime", json!("2026-03-01T08:00:00Z")),
            ("CreationTime", json!("2026-03-01T08:00:00Z")),
            ("EndTime", Value::Null),
            ("HostMachineName", json!("m1")),
            ("ReleaseName", json!("Invoices")),
            ("OrganizationUnitFullyQualifiedName", json!("Shared")),
            ("OrchestratorUserIdentity", json!(robot)),
            ("JobError", Value::Null),
            ("InputArguments", Value::Null),
            ("PerformerRobots", json!(2)),
            ("Id", json!(1)),
        ] {
            assert_eq!(job[member], expected, "{member}: {job}");
        }
        assert_eq!((&job["Robot"]["Name"], &job["Robot"]["UserId"]), (&json!("R1"), &user["Id"]));
        let plain = api.get("/odata/Jobs(2)").await.body;
        assert_eq!((&plain["Key"], plain.get("Robot")), (&json!(two), None));
        let by_key = format!("/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey(identifier={own})");
        let ended = api.get(&by_key).await.body;
        assert_eq!((&ended["Id"], &ended["State"], &ended["Info"]), (&json!(3), &json!("Faulted"), &json!("the disk is full")));
        assert_eq!((&ended["JobError"]["code"], &ended["JobError"]["detail"]), (&json!("JobExecutionFaulted"), &json!("the disk is full")));
        assert_eq!((&ended["EndTime"], &ended["OrchestratorUserIdentity"]), (&json!("2026-03-01T08:02:00Z"), &Value::Null));

        // What it did is in the answer for one job, and not in lists.
        let end = json!({"job": two, "state": "Successful", "info": null, "figures": {"successful": 5, "busy": {"secs": 1, "nanos": 0}}});
        assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
        let output = api.get("/odata/Jobs(2)").await.body["OutputArguments"].clone();
        let output: Value = serde_json::from_str(output.as_str().unwrap()).unwrap();
        assert_eq!(output["successful"], 5);
        assert_eq!(api.get("/odata/Jobs?$filter=Id eq 2").await.body["value"][0]["OutputArguments"], Value::Null);

        let all = ["m1", "m2", "m3"];
        for (query, expected) in [
            (String::new(), &all[..]),
            ("$orderby=CreationTime desc".to_owned(), &["m3", "m2", "m1"]),
            ("$orderby=Id desc&$top=1&$skip=1".to_owned(), &["m2"]),
            (format!("$filter=Key in ('{one}','{}','{own}')", JobKey::CALLER), &["m1", "m3"]),
            (format!("$filter=Key eq {two}"), &["m2"]),
            (format!("$filter=Key eq '{two}' and State eq 'Running'"), &[]),
            ("$filter=Id in (1,'3',4)".to_owned(), &["m1", "m3"]),
            ("$filter=Id eq 2.0".to_owned(), &["m2"]),
            ("$filter=Id eq null".to_owned(), &[]),
            ("$filter=not (Id eq 2)".to_owned(), &["m1", "m3"]),
            ("$filter=State eq 'Running'".to_owned(), &["m1"]),
            ("$filter=State in ('4',5)".to_owned(), &["m2", "m3"]),
            ("$filter=State ge 'Faulted' and EndTime ne null".to_owned(), &["m2", "m3"]),
            ("$filter=Robot/Name eq 'r1'".to_owned(), &["m1", "m2"]),
            ("$filter=startswith(tolower(ReleaseName),'inv') and CreationTime gt 2026-03-01T08:00:30Z".to_owned(), &["m2", "m3"]),
            ("$filter=HasVideoRecorded".to_owned(), &[]),
            ("$filter=JobError/code eq 'JobExecutionFaulted'".to_owned(), &["m3"]),
        ] {
            let (machines, count) = listed(&api, &format!("{query}&$count=true")).await;
            assert_eq!(machines, expected, "{query}");
            if !query.contains("$top") {
                assert_eq!(count, json!(expected.len()), "{query}");
            }
        }
        let selected = api.get(&format!("/odata/Jobs?$filter=Key in ('{one}')&$select=id,key")).await;
        assert_eq!(selected.body["value"], json!([{"Id": 1, "Key": one}]), "{}", selected.text);
        assert_eq!(api.get("/odata/Jobs/$count?$filter=State eq 'Running'").await.text, "1");
        for wrong in ["$filter=Nope eq 1", "$filter=State eq 'Done'", "$expand=Nope", "$top=1001", "$orderby=Robot"] {
            let got = api.get(&format!("/odata/Jobs?{wrong}")).await;
            assert_eq!((got.status, got.code()), (400, 1000), "{wrong}: {}", got.text);
        }
    })
    .await;
}

#[tokio::test]
async fn jobs_are_asked_to_stop_and_refused_with_the_published_texts() {
    both(async |api| {
        api.queue(&json!({"Name": "Invoices"})).await;
        let (one, two, ended) = (start(&api, "m1").await, start(&api, "m2").await, start(&api, "m3").await);
        let end = json!({"job": ended, "state": "Successful", "info": null});
        assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
        let stop = async |id: i64, strategy: &str| {
            let path = format!("/odata/Jobs({id})/UiPath.Server.Configuration.OData.StopJob");
            api.post(&path, &json!({ "strategy": strategy })).await
        };
        let several = async |ids: &[i64], strategy: &str| {
            api.post(STOP_JOBS, &json!({"jobIds": ids, "strategy": strategy})).await
        };
        // None is asked where one of them is refused.
        let refused = several(&[1, 3], "SoftStop").await;
        assert_eq!((refused.status, refused.code()), (409, 1658), "{}", refused.text);
        let text = "Cannot cancel a job with status Successful. This can only be applied to Running, Pending or Stopping jobs.";
        assert_eq!(refused.body["message"], text);
        assert_eq!(several(&[1, 99], "Kill").await.status, 404);
        assert_eq!(beat(&api, &one).await, "Running");

        let asked = several(&[1, 2, 2], "SoftStop").await;
        assert_eq!((asked.status, asked.text.as_str()), (200, ""));
        assert_eq!((beat(&api, &one).await, beat(&api, &two).await), (json!("Stopping"), json!("Stopping")));
        let stopping = api.get("/odata/Jobs(1)").await.body;
        assert_eq!((&stopping["State"], &stopping["StopStrategy"]), (&json!("Stopping"), &json!("SoftStop")));
        assert_eq!(stop(1, "SoftStop").await.status, 200, "it is Stopping");
        assert_eq!(stop(1, "kill").await.status, 200);
        assert_eq!(beat(&api, &one).await, "Terminating");
        let softer = stop(1, "SoftStop").await;
        assert_eq!((softer.status, softer.code()), (409, 1658), "{}", softer.text);
        let killed = stop(3, "Kill").await;
        assert_eq!((killed.status, killed.code()), (409, 1659), "{}", killed.text);
        let text = "Cannot terminate a job with status Successful. This can only be applied to Running, Pending or Stopping jobs.";
        assert_eq!(killed.body["message"], text);
        assert_eq!(stop(99, "Kill").await.status, 404);
        assert_eq!(stop(1, "Shoot").await.status, 400);
        let many: Vec<i64> = (1..=1_001).collect();
        assert_eq!(several(&many, "Kill").await.status, 400);
        assert_eq!(several(&[], "Kill").await.status, 200, "nothing is asked for");
    })
    .await;
}

/// Jobs of another folder are answered like ones that do not exist.
#[tokio::test]
async fn jobs_of_another_folder_are_not_found() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    api.queue(&json!({"Name": "Invoices"})).await;
    let job = start(&api, "m1").await;
    let finance =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let by_key = format!("/odata/Jobs/UiPath.Server.Configuration.OData.GetByKey(identifier={job})");
    let one = "/odata/Jobs(1)/UiPath.Server.Configuration.OData.StopJob";
    for (method, path, body) in [
        ("GET", "/odata/Jobs(1)", Value::Null),
        ("GET", by_key.as_str(), Value::Null),
        ("POST", one, json!({"strategy": "Kill"})),
        ("POST", STOP_JOBS, json!({"jobIds": [1], "strategy": "Kill"})),
    ] {
        let got = api.call_as(&finance, Some("Finance"), method, path, &body).await;
        assert_eq!((got.status, got.code()), (404, 1002), "{method} {path}: {}", got.text);
    }
    for folder in [Some("Finance"), None] {
        let got = api.call_as(&finance, folder, "GET", "/odata/Jobs?$count=true", &Value::Null).await;
        assert_eq!((got.status, &got.body["@odata.count"]), (200, &json!(0)), "{}", got.text);
    }
    let everywhere = api.call_as(&api.token, None, "GET", "/odata/Jobs?$count=true", &Value::Null).await;
    assert_eq!(everywhere.body["@odata.count"], 1);
    assert_eq!(beat(&api, &job).await, "Running");
}

struct Waits(Arc<tokio::sync::Notify>);

#[async_trait]
impl Transaction for Waits {
    type Content = Value;
    type Output = ();

    async fn process(&mut self, _: Value, item: &TransactionItem) -> Result<(), Exception> {
        self.0.notify_one();
        item.stop_requested().await;
        Ok(())
    }
}

/// SoftStop over the API reaches a performer that has opened the store itself, and a kill ends what it does.
#[tokio::test]
async fn a_stop_over_the_api_reaches_the_performer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path().join("q.db")).await.unwrap();
    let api = Api::on(TestServer::start_as(store, |server| server).await).await;
    api.queue(&json!({"Name": "Invoices"})).await;
    for (id, strategy, given_back) in [(1, "SoftStop", 0), (2, "Kill", 1)] {
        api.add("Invoices", strategy).await;
        let begun = Arc::new(tokio::sync::Notify::new());
        let here = begun.clone();
        let performer = Performer::new("Invoices", move || Waits(here.clone())).lease(Duration::from_secs(1));
        let running = tokio::spawn(performer.handle_signals(false).run(Arc::new(api.served.store.clone())));
        begun.notified().await;
        let path = format!("/odata/Jobs({id})/UiPath.Server.Configuration.OData.StopJob");
        let asked = api.post(&path, &json!({ "strategy": strategy })).await;
        assert_eq!(asked.status, 200, "{}", asked.text);
        let summary = running.await.unwrap().unwrap();
        assert_eq!(summary.state, JobState::Stopped, "{strategy}");
        if strategy == "SoftStop" {
            assert_eq!((summary.successful, summary.given_back), (1, given_back), "{strategy}");
        }
        let job = api.get(&format!("/odata/Jobs({id})")).await.body;
        assert_eq!((&job["State"], job["EndTime"].is_string()), (&json!("Stopped"), true), "{job}");
    }
}
