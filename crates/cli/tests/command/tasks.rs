//! `performer task` on a file and over HTTP.

use std::process::Command;

use serde_json::json;

use super::{Server, command, done, json, text};

/// The exit code, and what was printed to stderr.
fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr))
}

fn lives(with: &impl Fn(&[&str]) -> Command) {
    let task = |arguments: &[&str]| with(&[&["task"], arguments].concat());
    assert_eq!(done(task(&["create", "Check it", "--data", r#"{"amount": 7}"#])), "task 1 was created\n");
    let second = json(task(&["create", "second", "--priority", "High", "--json"]));
    assert_eq!((&second["Id"], &second["Priority"]), (&json!(2), &json!("High")));
    let listed = done(task(&["list"]));
    let rows: Vec<Vec<&str>> =
        listed.lines().skip(1).map(|line| line.split('\t').take(4).collect()).collect();
    assert_eq!(rows, [["2", "Unassigned", "High", "second"], ["1", "Unassigned", "Medium", "Check it"]]);
    let completed = done(task(&["complete", "1", "approve", "--data", r#"{"amount": 8}"#]));
    assert_eq!(completed, "task 1 was completed\n");
    let shown = json(task(&["show", "1", "--json"]));
    assert_eq!(
        (&shown["status"], &shown["action"], &shown["data"]),
        (&json!("Completed"), &json!("approve"), &json!({"amount": 8}))
    );
    let shown = done(task(&["show", "1"]));
    assert!(shown.contains("Created") && shown.contains("approve"), "{shown}");
    assert_eq!(json(task(&["list", "--json"])).as_array().unwrap().len(), 1);
    assert_eq!(json(task(&["list", "--all", "--json"])).as_array().unwrap().len(), 2);
    let (code, error) = refused(task(&["complete", "1"]));
    assert!(code != 0 && error.contains("completed already"), "{code} {error}");
    let (code, error) = refused(task(&["show", "99"]));
    assert!(code != 0 && error.contains("99"), "{code} {error}");
    for wrong in [&["create", "a", "--data", "[1]"][..], &["create", "a", "--data", "{"], &["assign", "2"]] {
        assert_eq!(refused(task(wrong)).0, 2, "{wrong:?}");
    }
    assert_ne!(refused(task(&["assign", "2", "--nobody"])).0, 0, "it is not assigned");
    assert_eq!(done(task(&["delete", "2"])), "task 2 was deleted\n");
    assert_ne!(refused(task(&["delete", "2"])).0, 0);
}

#[test]
fn tasks_live_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:a.db");
        command
    };
    lives(&with);
    let (code, error) = refused(with(&["task", "assign", "1", "ann"]));
    assert!(code != 0 && error.contains("no users"), "{code} {error}");
}

#[test]
fn tasks_live_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let with = |arguments: &[&str]| {
        let mut command = server.command(folder.path(), arguments);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Tasks");
        command
    };
    lives(&with);
    done(with(&["task", "create", "third"]));
    let (code, error) = refused(with(&["task", "assign", "3", "nobody"]));
    assert!(code != 0 && error.contains("user does not exist"), "{code} {error}");
}
