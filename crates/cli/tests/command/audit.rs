//! `performer audit`: what people changed, listed, checked and exported.

use std::path::Path;

use serde_json::Value;

use super::{Server, command, done, json, text};

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

/// Only the URL changes; and what is broken in the server's store is found by the command.
#[test]
fn over_http_the_audit_is_read_from_the_server_and_checked_here() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    let server = Server::known(here, &["--listen", "127.0.0.1:0", "--store", "sqlite:queue.db"]);
    let command = |words: &[&str]| {
        let mut command = server.command(here, words);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Audit.Read");
        command
    };
    done(command(&["queue", "create", "Invoices"]));
    done(command(&["queue", "pause", "Invoices"]));
    let listed = json(command(&["audit", "list", "--act", "LimitsEdited", "--json"]));
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(
        (&listed[0]["Actor"]["Source"], &listed[0]["Subject"]),
        (&"Api".into(), &"queue Invoices".into())
    );
    let verified = done(command(&["audit", "verify"]));
    let (records, head) = verified.trim_end().split_once("\nhead ").unwrap();
    assert!(records.ends_with(" records, unbroken"), "{records}");
    done(command(&["audit", "verify", "--head", head]));
    let exported = done(command(&["audit", "export"]));
    assert_eq!(exported, done(ann(here, &["audit", "export"])), "as from the file itself");
    assert_eq!(lines(&exported).last().unwrap()["Digest"], head);

    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let file = rusqlite::Connection::open_with_flags(here.join("queue.db"), flags).unwrap();
    let changed = file.execute("UPDATE audit SET entry = 'no JSON' WHERE id = 2", []).unwrap();
    assert_eq!(changed, 1);
    drop(file);
    let broken = command(&["audit", "verify"]).output().unwrap();
    assert_eq!(broken.status.code(), Some(1));
    assert!(text(&broken.stdout).starts_with("broken at record 2: "), "{}", text(&broken.stdout));
    let no_right = server.command(here, &["audit", "list"]).output().unwrap();
    let said = text(&no_right.stderr);
    assert!(no_right.status.code() == Some(4) && said.contains("OR.Audit.Read, in UIPATH_SCOPE"), "{said}");
}
