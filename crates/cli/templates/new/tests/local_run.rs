//! The real program on a real queue: a SQLite file in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

/// An empty folder.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = std::fs::remove_dir_all(&folder); // that of an earlier run
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Runs the program from the root of the project, on a queue in the folder.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("PERFORMER_")) {
        command.env_remove(name);
    }
    let url = format!("sqlite:{}", folder.join("queue.db").display());
    command
        .args(arguments)
        .env("PERFORMER_URL", url)
        .output()
        .unwrap()
}

fn check(output: &Output, code: i32, text: &str) {
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}{log}");
    assert!(said.contains(text), "{said}{log}");
}

#[test]
fn invoices_are_dispatched_once_and_posted_once() {
    let folder = folder("invoices");
    check(
        &run(&folder, &["dispatch"]),
        0,
        "12 added, 0 were there already",
    );
    check(
        &run(&folder, &["dispatch"]),
        0,
        "0 added, 12 were there already",
    );
    // One invoice has no amount.
    let posted = run(&folder, &["perform", "--until-empty"]);
    check(
        &posted,
        3,
        "Successful: 11 successful, 1 business exceptions",
    );
    let nothing_left = run(&folder, &["perform", "--until-empty"]);
    check(
        &nothing_left,
        0,
        "Successful: 0 successful, 0 business exceptions",
    );
}

#[test]
fn an_unknown_command_is_refused() {
    check(&run(&folder("usage"), &["perform", "--forever"]), 2, "");
}
