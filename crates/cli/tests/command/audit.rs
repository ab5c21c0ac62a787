//! `performer audit`: what people changed, listed, checked and exported.

use std::path::Path;

use serde_json::Value;

use super::{command, done, json, run, text};

/// The command as ann runs it, on one file.
fn ann(folder: &Path, arguments: &[&str]) -> std::process::Command {
    let mut command = command(folder, arguments);
    command.args(["--url", "sqlite:queue.db"]).env("USER", "ann");
    command
}

fn lines(printed: &str) -> Vec<Value> {
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn acts_are_listed_checked_and_exported() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    done(ann(here, &["queue", "create", "Invoices"]));
    done(ann(here, &["queue", "pause", "Invoices"]));
    let mut bob = ann(here, &["queue", "resume", "Invoices"]);
    bob.env("USER", "bob");
    done(bob);

    let all = json(ann(here, &["audit", "list", "--json"]));
    let told: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|record| {
            (
                record["Act"].as_str().unwrap(),
                record["Actor"]["UserName"].as_str().unwrap(),
                record["Subject"].as_str().unwrap(),
            )
        })
        .collect();
    let queue = "queue Invoices";
    assert_eq!(
        told,
        [("LimitsEdited", "bob", queue), ("LimitsEdited", "ann", queue), ("QueueCreated", "ann", queue)]
    );
    assert!(all.as_array().unwrap().iter().all(|record| record["Actor"]["Source"] == "Command"));
    let of_ann = done(ann(
        here,
        &["audit", "list", "--user", "ann", "--act", "LimitsEdited", "--when", "1h", "-o", "csv"],
    ));
    assert_eq!(of_ann.lines().count(), 2, "{of_ann}");
    assert!(of_ann.contains("paused"), "{of_ann}");
    let wrong = ann(here, &["audit", "list", "--act", "Nonsense"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(text(&wrong.stderr).contains("QueueEdited"), "the acts there are: {}", text(&wrong.stderr));

    let verified = done(ann(here, &["audit", "verify"]));
    let (records, head) = verified.trim_end().split_once("\nhead ").unwrap();
    assert_eq!(records, "3 records, unbroken");
    done(ann(here, &["audit", "verify", "--head", head]));

    let exported = done(ann(here, &["audit", "export"]));
    assert_eq!(lines(&exported).last().unwrap()["Digest"], head);
    let rest = done(ann(here, &["audit", "export", "--after", "2"]));
    assert_eq!(exported.lines().last().unwrap(), rest.trim_end());

    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let file = rusqlite::Connection::open_with_flags(here.join("queue.db"), flags).unwrap();
    file.execute("UPDATE audit SET entry = replace(entry, 'bob', 'ann'), user_name = 'ann' WHERE id = 3", [])
        .unwrap();
    drop(file);
    let broken = ann(here, &["audit", "verify"]).output().unwrap();
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stdout).starts_with("broken at record 3: "), "{}", text(&broken.stdout));
    let broken = ann(here, &["audit", "verify", "--json"]).output().unwrap();
    let check: Value = serde_json::from_slice(&broken.stdout).unwrap();
    assert_eq!(check["Broken"]["Id"], 3);
}

#[test]
fn over_http_the_store_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let refused = run(folder.path(), &["audit", "list", "--url", "http://127.0.0.1:1"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("sqlite:FILE"), "{}", text(&refused.stderr));
}
