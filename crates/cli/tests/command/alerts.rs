//! `performer alert`, `performer log` and `performer job logs`, over a file and over a server.

use std::process::Command;

use performer::model::alert::{AlertSeverity, NewAlert};
use performer::model::log::{LogLevel, LogLine};
use performer::model::{Clock as _, FolderId, SystemClock};
use performer::orchestrator::Orchestrator as _;
use performer::orchestrator::store::Store;
use performer::{JobEnd, JobState};
use performer_proofs::new_job;
use serde_json::Value;

use super::{Server, command, done, json, text};

/// Makes alerts and lines in the store. Returns the key of the job.
fn prepare(folder: &std::path::Path) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Store::sqlite(folder.join("orchestrator.db")).await.unwrap();
        let job = store.start_job(new_job()).await.unwrap();
        let now = SystemClock::new().now();
        let lines =
            [(LogLevel::Info, "began"), (LogLevel::Error, "the ERP is down")].map(|(level, message)| {
                let entry =
                    serde_json::json!({"message": message, "processName": "Load", "jobId": job.to_string()})
                        .to_string();
                let mut line = LogLine::new(now, level, entry);
                (line.job, line.process) = (Some(job), "Load".to_owned());
                line
            });
        store.add_log_lines(lines.into()).await.unwrap();
        store.end_job(job, JobEnd::new(JobState::Faulted).info("the ERP is down")).await.unwrap();
        let names = ("Load", "R1");
        let new = NewAlert::of_process(AlertSeverity::Warn, FolderId::SHARED, names, "half is done").unwrap();
        store.raise_alert(new).await.unwrap();
        job.to_string()
    })
}

fn lives(job: &str, with: &dyn Fn(&[&str]) -> Command) {
    let alerts: Value = json(with(&["alert", "list", "--json"]));
    assert_eq!(
        (&alerts[0]["Severity"], &alerts[1]["Component"]),
        (&"Warn".into(), &"Jobs".into()),
        "{alerts}"
    );
    let table = done(with(&["alert", "list", "--unread"]));
    assert!(table.contains("half is done") && table.contains("has faulted: the ERP is down"), "{table}");
    let key = alerts[0]["UserNotificationId"].as_str().unwrap();
    assert_eq!(done(with(&["alert", "read", key])), "1 alerts are not read\n");
    let left: Value = json(with(&["alert", "list", "--unread", "--json"]));
    assert_eq!(left.as_array().unwrap().len(), 1, "{left}");
    let read: Value = json(with(&["alert", "read", "--all", "--json"]));
    assert_eq!(read["Unread"], 0);
    assert_eq!(done(with(&["alert", "read", "--all"])), "0 alerts are not read\n");

    let lines: Value = json(with(&["log", "list", "--json"]));
    let messages: Vec<&str> =
        lines.as_array().unwrap().iter().map(|line| line["Message"].as_str().unwrap()).collect();
    assert_eq!(messages, ["began", "the ERP is down"]);
    let severe = done(with(&["log", "list", "--level", "warn", "--process", "Load", "--when", "1h"]));
    assert!(severe.contains("the ERP is down") && !severe.contains("began"), "{severe}");
    let of_job: Value = json(with(&["job", "logs", job, "--top", "1", "--json"]));
    assert_eq!(of_job[0]["Message"], "the ERP is down", "{of_job}");
    for (arguments, code) in [
        (&["alert", "read"][..], 2),
        (&["alert", "read", "no-key"], 2),
        (&["log", "list", "--level", "loud"], 2),
        (&["log", "list", "--top", "10001"], 2),
        (&["job", "logs", "zzzz"], 1),
    ] {
        let output = with(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn alerts_and_logs_are_read_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    done(command(
        folder.path(),
        &["queue", "create", performer_proofs::QUEUE, "--url", "sqlite:orchestrator.db"],
    ));
    let job = prepare(folder.path());
    lives(&job, &|arguments| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:orchestrator.db");
        command
    });
}

#[test]
fn alerts_and_logs_are_read_from_a_server() {
    let folder = tempfile::tempdir().unwrap();
    done(command(
        folder.path(),
        &["queue", "create", performer_proofs::QUEUE, "--url", "sqlite:orchestrator.db"],
    ));
    let job = prepare(folder.path());
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    lives(&job, &|arguments| {
        let mut command = server.command(folder.path(), arguments);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Monitoring OR.Jobs");
        command
    });
    let mut refused = server.command(folder.path(), &["alert", "list"]);
    refused.env("UIPATH_SCOPE", "OR.Queues");
    let output = refused.output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.code() == Some(4) && error.contains("OR.Monitoring"), "{error}");
}
