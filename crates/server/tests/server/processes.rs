//! Processes, starts of jobs, machines and agents over the API: what each call does, and what it refuses.

use std::time::Duration;

use performer::model::{JobEnd, JobState};
use performer_core::model::machine::{MachineSettings, NewSession, SessionBeat, SessionState};
use performer_core::model::process::{ProcessSelector, ProcessSettings, StartJobs};
use performer_core::orchestrator::{FleetAdministration as _, Orchestrator as _, ProcessAdministration as _};
use serde_json::{Value, json};

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET};

const ODATA: &str = "UiPath.Server.Configuration.OData";

fn jobs(action: &str) -> String {
    format!("/odata/Jobs/{ODATA}.{action}")
}

async fn process(api: &Api, name: &str) -> Value {
    let body = json!({"Name": name, "ProcessKey": "invoices", "ProcessVersion": "1.0.0",
        "PerformerCommand": ["invoices", "--robots", "4"], "InputArguments": "{\"limit\":5}"});
    let made = api.post("/odata/Releases", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body
}

async fn open(api: &Api, machine: &str) -> Value {
    let agent = json!({"Machine": machine, "Host": "host-1", "Version": "1", "Platform": "linux", "Runtimes": 2,
        "LeaseSeconds": 30});
    let opened = api.post("/api/Performer/OpenSession", &json!({ "agent": agent })).await;
    assert_eq!(opened.status, 200, "{}", opened.text);
    opened.body
}

async fn beat(api: &Api, session: &Value, running: &[&Value], room: u32) -> Value {
    let body = json!({"session": session["Key"], "beat": {"running": running, "room": room}});
    let told = api.post("/api/Performer/BeatSession", &body).await;
    assert_eq!(told.status, 200, "{}", told.text);
    told.body
}

#[tokio::test]
async fn processes_are_made_changed_and_deleted() {
    let api = Api::start().await;
    let made = process(&api, "Invoices").await;
    assert_eq!((&made["ProcessKey"], &made["OrganizationUnitId"]), (&json!("invoices"), &json!(1)));
    let one = format!("/odata/Releases({})", made["Id"]);
    // A client that knows nothing of commands keeps the one that is there.
    let put =
        json!({"Name": "Invoices", "ProcessKey": "invoices", "ProcessVersion": "1.0.0", "Description": "d"});
    assert_eq!(api.call("PUT", &one, &put).await.status, 200);
    let read = api.get(&one).await.body;
    assert_eq!(read["PerformerCommand"], json!(["invoices", "--robots", "4"]));
    assert_eq!((&read["Description"], &read["InputArguments"]), (&json!("d"), &json!("{\"limit\":5}")));
    assert_eq!(api.call("PATCH", &one, &json!({"EnvironmentVariables": "A=1\nB=2"})).await.status, 200);
    assert_eq!(api.get(&one).await.body["EnvironmentVariables"], "A=1\nB=2");
    for (method, path, body, expected) in [
        ("POST", "/odata/Releases", json!({"Name": "INVOICES", "ProcessKey": "x"}), (409, 1001)),
        ("POST", "/odata/Releases", json!({"Name": "X"}), (400, 1009)),
        ("POST", "/odata/Releases", json!({"ProcessKey": "x"}), (400, 1009)),
        (
            "POST",
            "/odata/Releases",
            json!({"Name": "X", "ProcessKey": "x", "InputArguments": "[]"}),
            (400, 1009),
        ),
        (
            "POST",
            "/odata/Releases",
            json!({"Name": "X", "ProcessKey": "x", "EnvironmentVariables": "A"}),
            (400, 1009),
        ),
        ("PATCH", &one, json!({"PerformerCommand": []}), (400, 1009)),
        ("GET", "/odata/Releases(999)", Value::Null, (404, 1002)),
        ("PUT", "/odata/Releases(999)", put.clone(), (404, 1002)),
        ("DELETE", "/odata/Releases(999)", Value::Null, (404, 1002)),
        (
            "DELETE",
            "/api/Releases/DeleteByKey?key=b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11",
            Value::Null,
            (404, 1674),
        ),
        ("DELETE", "/api/Releases/DeleteByKey", Value::Null, (400, 1014)),
    ] {
        let got = api.call(method, path, &body).await;
        assert_eq!((got.status, got.code()), expected, "{method} {path} {body}: {}", got.text);
    }
    api.served.access_admin.add_folder("Finance").await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    let elsewhere = api.call_as(&api.token, Some("Finance"), "GET", &one, &Value::Null).await;
    assert_eq!((elsewhere.status, elsewhere.code()), (404, 1002), "of another folder");
    assert_eq!(api.call("DELETE", &one, &Value::Null).await.status, 204);
    assert_eq!(api.get(&one).await.status, 404);
    let gone = api.post(&format!("{one}/{ODATA}.RollbackToPreviousReleaseVersion"), &json!({})).await;
    assert_eq!(gone.status, 404);
    assert!(gone.text.contains("has no versions"), "{}", gone.text);
}

#[tokio::test]
async fn jobs_are_started_run_and_started_again() {
    let api = Api::start().await;
    let process = process(&api, "Invoices").await;
    let start = |more: Value| {
        let mut info = json!({"ReleaseKey": process["Key"], "Strategy": "ModernJobsCount", "JobsCount": 1});
        info.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "startInfo": info })
    };
    let asked = start(json!({"JobsCount": 2, "Reference": "R-1", "EnvironmentVariables": "TOKEN=hunter2"}));
    let started = api.post(&jobs("StartJobs"), &asked).await;
    assert_eq!(started.status, 201, "{}", started.text);
    assert!(!started.text.contains("hunter2"), "variables may be secret");
    let rows = started.body["value"].as_array().unwrap().clone();
    assert_eq!(rows.len(), 2);
    for (name, value) in [
        ("State", json!("Pending")),
        ("StartTime", Value::Null),
        ("ReleaseName", json!("Invoices")),
        ("Reference", json!("R-1")),
        ("InputArguments", json!("{\"limit\":5}")),
    ] {
        assert_eq!(rows[0][name], value, "{name}");
    }
    let listed = api.get("/odata/Jobs?$filter=State eq 'Pending' and Reference eq 'R-1'").await;
    assert_eq!(listed.body["value"].as_array().unwrap().len(), 2, "{}", listed.text);
    assert_eq!(listed.body["value"][0]["InputArguments"], Value::Null, "a list leaves them out");

    let session = open(&api, "M").await;
    let told = beat(&api, &session, &[], 1).await;
    assert_eq!((told["taken"].as_array().unwrap().len(), &told["taken"][0]["key"]), (1, &rows[0]["Key"]));
    assert_eq!(told["taken"][0]["run"]["Environment"]["TOKEN"], "hunter2", "for the program");
    let job = format!("/odata/Jobs({})", rows[0]["Id"]);
    let running = api.get(&job).await.body;
    assert_eq!((&running["State"], &running["HostMachineName"]), (&json!("Running"), &json!("host-1")));
    assert!(running["StartTime"].is_string());
    let stop = api.post(&format!("{job}/{ODATA}.StopJob"), &json!({"strategy": "SoftStop"})).await;
    assert_eq!(stop.status, 200);
    let told = beat(&api, &session, &[&rows[0]["Key"]], 0).await;
    assert_eq!(told["states"], json!([[rows[0]["Key"], "Stopping"]]));
    let delete = format!("/odata/Releases({})", process["Id"]);
    let refused = api.call("DELETE", &delete, &Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, 1666), "{}", refused.text);
    let refused = api.post(&jobs("RestartJob"), &json!({"jobId": rows[0]["Id"]})).await;
    assert_eq!((refused.status, refused.code()), (409, 1300), "{}", refused.text);
    let end = json!({"job": rows[0]["Key"], "state": "Stopped"});
    assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
    let again = api.post(&jobs("RestartJob"), &json!({"jobId": rows[0]["Id"]})).await;
    assert_eq!((again.status, &again.body["State"]), (200, &json!("Pending")), "{}", again.text);
    let refused = api.post(&jobs("ResumeJob"), &json!({"jobKey": rows[0]["Key"]})).await;
    assert_eq!((refused.status, refused.code()), (409, 1300));
    assert!(refused.text.contains("Suspended"), "{}", refused.text);
    let unknown = api.post(&jobs("ResumeJob"), &json!({"jobKey": session["Key"]})).await;
    assert_eq!((unknown.status, unknown.code()), (404, 1002));

    for (more, expected) in [
        (json!({"ReleaseKey": "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11"}), (404, 1674)),
        (json!({"ReleaseKey": "x"}), (404, 1674)),
        (json!({"ReleaseKey": null}), (400, 1014)),
        (json!({"ReleaseKey": null, "ReleaseName": "Nothing"}), (404, 1674)),
        (json!({"JobsCount": -1}), (400, 1015)),
        (json!({"JobsCount": 1_001}), (400, 1015)),
        (json!({"Strategy": "Sometimes"}), (400, 1009)),
        (json!({"RuntimeType": "Sometimes"}), (400, 1009)),
        (json!({"InputArguments": "5"}), (400, 1009)),
        (json!({"InputFile": "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11"}), (400, 1009)),
        (json!({"KillProcessExpression": "60"}), (400, 1009)),
        (json!({"Strategy": "Specific", "RobotIds": [999]}), (400, 1671)),
        (json!({"Strategy": "Specific"}), (400, 1671)),
        (json!({"MachineSessionIds": [999]}), (404, 1002)),
        (json!({"MachineRobots": [{"MachineId": 999}]}), (404, 1002)),
    ] {
        let body = start(more);
        let got = api.post(&jobs("StartJobs"), &body).await;
        assert_eq!((got.status, got.code()), expected, "{body}: {}", got.text);
        let got = api.post(&jobs("ValidateDynamicJob"), &body).await;
        assert_eq!((got.status, &got.body["IsValid"]), (200, &json!(false)), "{body}: {}", got.text);
    }
    let valid = api.post(&jobs("ValidateDynamicJob"), &start(json!({}))).await;
    assert_eq!(valid.body["IsValid"], true, "{}", valid.text);
    // One for each agent, where it is.
    let all = api.post(&jobs("StartJobs"), &start(json!({"Strategy": "All", "JobsCount": 0}))).await;
    assert_eq!(all.body["value"].as_array().unwrap().len(), 1, "{}", all.text);
    let there = json!({"MachineSessionIds": [session["Id"]], "JobsCount": 3});
    let there = api.post(&jobs("StartJobs"), &start(there)).await;
    assert_eq!(there.body["value"].as_array().unwrap().len(), 3, "{}", there.text);
    api.post("/api/Performer/CloseSession", &json!({"session": session["Key"]})).await;
    let none = api.post(&jobs("StartJobs"), &start(json!({"Strategy": "All"}))).await;
    assert_eq!((none.status, none.code()), (409, 1678), "{}", none.text);
}

#[tokio::test]
async fn an_agent_is_its_users_and_makes_a_machine_only_if_it_may() {
    let api = Api::start().await;
    let role = json!({"Name": "Agent", "Permissions": [
        {"Name": "Jobs.View", "IsGranted": true}, {"Name": "Jobs.Edit", "IsGranted": true}]});
    assert_eq!(api.post("/odata/Roles", &role).await.status, 201);
    let token = api.application_token("agent", "OrchestratorApiUserAccess", &["Agent"], &[]).await;
    let agent = json!({"agent": {"Machine": "M", "Host": "h", "Runtimes": 1, "LeaseSeconds": 30}});
    let open =
        async || api.call_as(&token, Some("Shared"), "POST", "/api/Performer/OpenSession", &agent).await;
    let refused = open().await;
    assert_eq!((refused.status, refused.code()), (404, 1002), "{}", refused.text);
    assert_eq!(api.post("/odata/Machines", &json!({"Name": "M"})).await.status, 201);
    let session = open().await.body;
    let body = json!({"session": session["Key"], "beat": {"running": [], "room": 1}});
    let other = api.post("/api/Performer/BeatSession", &body).await;
    assert_eq!((other.status, other.code()), (404, 1002), "of another user: {}", other.text);
    let own = api.call_as(&token, Some("Shared"), "POST", "/api/Performer/BeatSession", &body).await;
    assert_eq!(own.status, 200, "{}", own.text);
    let runtimes = format!("/odata/Machines/{ODATA}.GetRuntimesForFolder(folderId=1)");
    let got = api.get(&runtimes).await.body["value"][0].clone();
    assert_eq!((&got["Total"], &got["Connected"], &got["Available"]), (&json!(1), &json!(1), &json!(1)));
    let refused = api.call_as(&token, None, "GET", &runtimes, &Value::Null).await;
    assert_eq!(refused.status, 403, "neither machines nor starts: {}", refused.text);
    let busy = api.call("DELETE", "/odata/Machines(1)", &Value::Null).await;
    assert_eq!((busy.status, busy.code()), (409, 1206), "{}", busy.text);
}

/// The whole way by the client.
#[tokio::test]
async fn the_client_defines_processes_and_runs_jobs() {
    let api = Api::start().await;
    let client = api.served.client().connect().await.unwrap();
    let mut settings = ProcessSettings::new("Invoices", vec!["invoices".to_owned(), "a b".to_owned()]);
    settings.environment.insert("A".to_owned(), "1".to_owned());
    let made = client.create_process(settings.clone()).await.unwrap();
    assert_eq!(made.settings, settings);
    assert_eq!(client.get_process("invoices").await.unwrap(), made);
    settings.description = Some("d".to_owned());
    let changed = client.update_process("Invoices", settings.clone()).await.unwrap();
    assert_eq!((changed.id, &changed.settings), (made.id, &settings));
    assert_eq!(client.list_processes().await.unwrap(), [changed]);
    assert_eq!(client.get_process("x").await.unwrap_err().code().unwrap().number(), 1674);
    let machine = client.create_machine(MachineSettings::new("M")).await.unwrap();
    assert_eq!(client.list_machines().await.unwrap(), [machine]);

    let start = StartJobs::new(ProcessSelector::Name("invoices".to_owned())).count(2);
    let jobs = client.start_jobs(start).await.unwrap();
    assert_eq!((jobs.len(), jobs[0].state), (2, JobState::Pending));
    let agent = NewSession::new("M", "host-1").runtimes(2).lease(Duration::from_secs(30));
    let session = client.open_session(agent).await.unwrap();
    let orders = client.beat_session(session.key, SessionBeat::new(Vec::new(), 1)).await.unwrap();
    let run = orders.taken[0].run.clone().unwrap();
    assert_eq!((orders.taken[0].key, &run.command), (jobs[0].key, &settings.command));
    assert_eq!(run.environment, settings.environment);
    let listed = client.list_sessions().await.unwrap();
    assert_eq!((listed.len(), listed[0].state, listed[0].running), (1, SessionState::Busy, 1));
    let known = client.list_jobs(10).await.unwrap();
    let names: Vec<String> = known.iter().map(|job| job.run.as_ref().unwrap().process_name.clone()).collect();
    assert_eq!(names, ["Invoices", "Invoices"]);
    assert!(known.iter().all(|job| job.run.as_ref().unwrap().environment.is_empty()), "it may be secret");
    client.end_job(jobs[0].key, JobEnd::new(JobState::Faulted).info("exit code 3")).await.unwrap();
    let beat = SessionBeat::new(vec![jobs[0].key], 0);
    assert!(client.beat_session(session.key, beat).await.unwrap().states.is_empty());
    let again = client.restart_job(jobs[0].key).await.unwrap();
    assert!(again.state == JobState::Pending && again.key != jobs[0].key);
    client.close_session(session.key).await.unwrap();
    client.delete_machine("m").await.unwrap();
    assert_eq!(client.delete_process("Invoices").await.unwrap_err().code().unwrap().number(), 1666);
}
