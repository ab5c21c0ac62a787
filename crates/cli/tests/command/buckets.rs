//! `performer bucket` on a file and over HTTP.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Server, command, done, json, text};

/// The exit code, and what was printed to stderr.
fn refused(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    (output.status.code().unwrap(), text(&output.stderr))
}

fn lives(with: &impl Fn(&[&str]) -> Command, folder: &Path) {
    let file = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let create = |arguments: &[&str]| done(with(&[&["bucket", "create"], arguments].concat()));
    assert_eq!(create(&["Invoices", "--description", "scans"]), "bucket \"Invoices\" was created\n");
    create(&["Audited", "--options", "audit-reads"]);
    let listed = done(with(&["bucket", "list"]));
    let rows: Vec<Vec<&str>> =
        listed.lines().skip(1).map(|line| line.split('\t').skip(1).collect()).collect();
    assert_eq!(rows, [["Audited", "AuditReadAccess", ""], ["Invoices", "None", "scans"]]);
    assert_eq!(json(with(&["bucket", "show", "invoices", "--json"]))["Name"], "Invoices");

    let content: Vec<u8> = (0..400_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    std::fs::write(folder.join("scan 1.pdf"), &content).unwrap();
    let put = done(with(&["bucket", "file", "put", "Invoices", &file("scan 1.pdf")]));
    assert_eq!(put, "file \"scan 1.pdf\" was written to bucket \"Invoices\"\n");
    done(with(&["bucket", "file", "put", "Invoices", &file("scan 1.pdf"), "--path", "/2026/ü.pdf"]));
    let mut piped = with(&["bucket", "file", "put", "Invoices", "-", "--path", "2026/note.txt"]);
    let mut child = piped.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"typed").unwrap();
    assert!(child.wait().unwrap().success());
    let files = done(with(&["bucket", "file", "list", "Invoices"]));
    let paths: Vec<&str> = files.lines().skip(1).map(|line| line.split('\t').next().unwrap()).collect();
    assert_eq!(paths, ["2026/note.txt", "2026/ü.pdf", "scan 1.pdf"]);
    let some = json(with(&["bucket", "file", "list", "Invoices", "2026/n", "--json"]));
    assert_eq!((&some[0]["FullPath"], &some[0]["Size"]), (&json!("/2026/note.txt"), &json!(5)));
    let got = file("got.pdf");
    done(with(&["bucket", "file", "get", "Invoices", "2026/ü.pdf", "--to", &got]));
    assert!(std::fs::read(&got).unwrap() == content);
    assert_eq!(done(with(&["bucket", "file", "get", "Invoices", "2026/note.txt", "--to", "-"])), "typed");
    done(with(&["bucket", "edit", "invoices", "--name", "Old", "--options", "read-only"]));
    let shown = json(with(&["bucket", "show", "Old", "--json"]));
    assert_eq!((&shown["Options"], &shown["Description"]), (&json!("ReadOnly"), &json!("scans")));
    for (arguments, code, said) in [
        (&["bucket", "file", "put", "Old", &*got][..], 4, "read-only"),
        (&["bucket", "file", "delete", "Old", "scan 1.pdf"], 4, "read-only"),
        (&["bucket", "file", "get", "Old", "nothing", "--to", &*got], 5, "does not exist"),
        (&["bucket", "file", "get", "Old", "../x", "--to", &*got], 1, "1009"),
        (&["bucket", "file", "put", "Old", "-"], 2, "--path is needed"),
        (&["bucket", "file", "put", "Old", "nowhere"], 1, "nowhere"),
        (&["bucket", "file", "list", "Nope"], 5, "Nope"),
        (&["bucket", "create", "old"], 1, "1001"),
        (&["bucket", "show", "Nope"], 5, "Nope"),
        (&["bucket", "edit", "Old"], 2, "required"),
    ] {
        let (found, stderr) = refused(with(arguments));
        assert!(found == code && stderr.contains(said), "{arguments:?}: {found} {stderr}");
    }
    assert!(std::fs::read(&got).unwrap() == content, "what is refused replaces no file");
    done(with(&["bucket", "edit", "Old", "--options", "none", "--description", ""]));
    done(with(&["bucket", "file", "delete", "Old", "scan 1.pdf"]));
    assert_eq!(refused(with(&["bucket", "file", "delete", "Old", "scan 1.pdf"])).0, 5);
    assert_eq!(done(with(&["bucket", "delete", "Old"])), "bucket \"Old\" was deleted\n");
    assert_eq!(refused(with(&["bucket", "show", "Old"])).0, 5);
    let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".part")), "{left:?}");
}

#[test]
fn buckets_have_a_life_on_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let with = |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_URL", "sqlite:a.db");
        command
    };
    lives(&with, folder.path());
    assert!(folder.path().join("a.db.buckets").is_dir());
    // In another place, which is named by the environment.
    let elsewhere = |arguments: &[&str]| {
        let mut command = with(arguments);
        command.env("PERFORMER_BUCKETS", folder.path().join("files"));
        command
    };
    done(elsewhere(&["bucket", "create", "Elsewhere"]));
    std::fs::write(folder.path().join("x"), "x").unwrap();
    done(elsewhere(&["bucket", "file", "put", "Elsewhere", "x"]));
    assert!(folder.path().join("files/buckets").is_dir());
    assert_eq!(refused(with(&["bucket", "file", "get", "Elsewhere", "x", "--to", "-"])).0, 5);
    let mut wrong = with(&["bucket", "file", "list", "Elsewhere"]);
    wrong.env("PERFORMER_BUCKETS", "ftp://user:hunter2@host/");
    let (code, error) = refused(wrong);
    assert!(code == 1 && error.contains("ftp") && !error.contains("hunter2"), "{error}");
}

#[test]
fn buckets_have_a_life_over_http() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let with = |arguments: &[&str]| {
        let mut command = server.command(folder.path(), arguments);
        command.env("UIPATH_SCOPE", "OR.Queues OR.Administration");
        command
    };
    lives(&with, folder.path());
}
