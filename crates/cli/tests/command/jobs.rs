//! `performer job`: lists, stops and kills performers. `performer queue`: pauses and limits queues.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use performer::orchestrator::store::Store;
use performer::prelude::*;
use performer::{JobState, JobSummary, PerformerError};

use super::{command, done, json, run, text};

/// Works until somebody wants it to stop, or for ever; says when it has begun.
#[derive(Clone)]
struct Patient {
    begun: Arc<AtomicBool>,
    until_stop: bool,
}

#[async_trait]
impl Transaction for Patient {
    type Content = serde_json::Value;
    type Output = ();

    async fn process(&mut self, _: Self::Content, item: &TransactionItem) -> Result<(), Exception> {
        self.begun.store(true, Ordering::SeqCst);
        item.stop_requested().await;
        if self.until_stop { Ok(()) } else { std::future::pending().await }
    }
}

/// A performer in this process, with two robots of which one is busy.
async fn busy(
    store: &Store,
    until_stop: bool,
) -> tokio::task::JoinHandle<Result<JobSummary, PerformerError>> {
    let begun = Arc::new(AtomicBool::new(false));
    let patient = Patient { begun: begun.clone(), until_stop };
    let performer = Performer::new("Invoices", move || patient.clone());
    let performer = performer.robots(2).lease(Duration::from_secs(3)).handle_signals(false);
    let running = tokio::spawn(performer.run(Arc::new(store.clone())));
    while !begun.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    running
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn performers_are_listed_and_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let of = |words: &[&str]| {
        let mut command = command(folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:fleet.db");
        command
    };
    let store = Store::sqlite(folder.path().join("fleet.db")).await.unwrap();
    done(of(&["queue", "create", "Invoices"]));
    assert_eq!(json(of(&["job", "list", "--json"])), serde_json::json!([]));

    for verb in ["stop", "kill"] {
        let is_stop = verb == "stop";
        done(of(&["item", "add", "Invoices", "--reference", "INV-1", "amount=1"]));
        let running = busy(&store, is_stop).await;
        let list = json(of(&["job", "list", "--json"]));
        let job = &list[0];
        assert_eq!((&job["State"], &job["QueueDefinitionName"]), (&"Running".into(), &"Invoices".into()));
        assert_eq!((&job["BusyRobotCount"], &job["RobotCount"]), (&1.into(), &2.into()));
        assert_eq!(job["ProcessId"], std::process::id());
        let key = job["Key"].as_str().unwrap();
        let table = done(of(&["job", "list"]));
        assert!(table.contains(key) && table.contains("1 of 2 busy"), "{table}");

        let shown = json(of(&["job", "show", &key[..20], "--json"]));
        let robots = shown["Robots"].as_array().unwrap();
        let is_busy = |robot: &&serde_json::Value| robot["State"] == "Busy" && robot["Reference"] == "INV-1";
        assert_eq!((robots.len(), robots.iter().filter(is_busy).count()), (2, 1), "{shown}");

        let asked = done(of(&["job", verb, &key[24..], "--wait", "20s"]));
        assert!(asked.contains("has ended"), "{asked}");
        let summary = running.await.unwrap().unwrap();
        assert_eq!(summary.state, JobState::Stopped);
        assert_eq!((summary.successful, summary.given_back), if is_stop { (1, 0) } else { (0, 1) });
        let ended = json(of(&["job", "list", "--all", "--json"]));
        assert_eq!(ended[0]["Figures"]["Successful"], u64::from(is_stop));
        assert!(done(of(&["job", "list", "--all"])).contains(if is_stop {
            "1 successful"
        } else {
            "1 given back"
        }));
        let twice = run_in(&of(&["job", verb, key]));
        assert!(twice.contains(if is_stop { "code 1658" } else { "code 1659" }), "{twice}");
    }
    assert!(run_in(&of(&["job", "stop", "no such key"])).contains("no job has the key"));
    assert_eq!(run(folder.path(), &["job", "stop"]).status.code(), Some(2), "which one?");
}

/// What a command that fails says.
fn run_in(command: &std::process::Command) -> String {
    let mut again = std::process::Command::new(command.get_program());
    again.args(command.get_args()).current_dir(command.get_current_dir().unwrap());
    let output = again.env("PERFORMER_URL", "sqlite:fleet.db").output().unwrap();
    assert!(!output.status.success());
    text(&output.stderr)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_are_paused_and_limited() {
    let folder = tempfile::tempdir().unwrap();
    let of = |words: &[&str]| {
        let mut command = command(folder.path(), words);
        command.env("PERFORMER_URL", "sqlite:fleet.db");
        command
    };
    done(of(&["queue", "create", "Invoices", "--max-in-progress", "5", "--max-starts", "100/1m"]));
    let queue = json(of(&["queue", "show", "Invoices", "--json"]));
    assert_eq!(
        (&queue["PerformerLimits"]["Paused"], &queue["PerformerLimits"]["MaxInProgress"]),
        (&false.into(), &5.into())
    );
    assert_eq!(queue["PerformerLimits"]["MaxStarts"], serde_json::json!({"Count": 100, "PerSeconds": 60.0}));
    let paused = done(of(&["queue", "pause", "Invoices"]));
    assert!(paused.contains("paused, at most 5 in progress, at most 100 started per 1m"), "{paused}");
    assert!(done(of(&["queue", "show", "Invoices"])).contains("paused, at most 5"));
    let lifted =
        done(of(&["queue", "limit", "Invoices", "--max-in-progress", "none", "--max-starts", "none"]));
    assert!(lifted.contains("\"Invoices\": paused"), "{lifted}");
    let resumed = done(of(&["queue", "resume", "Invoices"]));
    assert!(resumed.contains("running, no limits"), "{resumed}");
    let fair = done(of(&["queue", "limit", "Invoices", "--per-group", "1", "--fair"]));
    assert!(fair.contains("running, at most 1 of a group in progress, groups take turns"), "{fair}");
    let queue = json(of(&["queue", "show", "Invoices", "--json"]));
    assert_eq!(queue["PerformerLimits"]["MaxInProgressPerGroup"], 1);
    assert_eq!(queue["PerformerLimits"]["Fair"], true);
    done(of(&["item", "add", "Invoices", "--group", "customer-17850", "amount=1"]));
    let item = json(of(&["item", "list", "--queue", "Invoices", "--json"]));
    assert!(item.to_string().contains(r#""PerformerGroup":"customer-17850""#), "{item}");
    assert!(done(of(&["item", "show", "1"])).contains("customer-17850"));
    let lifted = done(of(&["queue", "limit", "Invoices", "--per-group", "none", "--fair", "false"]));
    assert!(lifted.contains("running, no limits"), "{lifted}");
    for (wrong, code) in [
        (["queue", "limit", "Invoices"].as_slice(), 2),
        (&["queue", "limit", "Invoices", "--per-group", "0"], 1),
        (&["queue", "limit", "Invoices", "--max-starts", "100"], 2),
        (&["queue", "limit", "Invoices", "--max-starts", "1/25h"], 1),
        (&["queue", "limit", "Invoices", "--max-in-progress", "0"], 1),
        (&["queue", "pause", "Nowhere"], 5),
    ] {
        let output = of(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{wrong:?}: {}", text(&output.stderr));
        assert!(!output.stderr.is_empty());
    }
}
