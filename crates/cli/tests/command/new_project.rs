//! The project that `performer new` writes: it is formatted, passes its tests and clippy, and runs.
//!
//! It is built into the folder of this workspace, with the profile of this workspace: what has the same features here is not built
//! once more. The rest is: a minute at first, seconds later.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{command, done, json, text};

/// The root of this workspace.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A program in the project, with nothing of the variables that cargo and a user set for this test.
fn clean(program: &Path, project: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(project).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        let is_ours = ["CARGO_PKG_", "CARGO_MANIFEST_", "PERFORMER_", "UIPATH_", "RUST_LOG"];
        if is_ours.iter().any(|start| name.starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

struct Project {
    _folder: tempfile::TempDir,
    root: PathBuf,
    target: PathBuf,
    profile: PathBuf,
}

impl Project {
    /// Writes the project, with the versions of this workspace's dependencies.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let checkout = checkout();
        done(command(
            folder.path(),
            &["new", "post-invoices", "--performer-path", checkout.to_str().unwrap()],
        ));
        let root = folder.path().join("post-invoices");
        std::fs::copy(checkout.join("Cargo.lock"), root.join("Cargo.lock")).unwrap();
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().to_owned();
        let manifest = std::fs::read_to_string(checkout.join("Cargo.toml")).unwrap();
        let (from, to) =
            ["[profile.dev]", "[profile.release]"].map(|table| manifest.find(table).unwrap()).into();
        let profile = folder.path().join("profile.toml");
        std::fs::write(&profile, &manifest[from..to]).unwrap();
        Self { _folder: folder, root, target, profile }
    }

    fn cargo(&self, arguments: &[&str]) {
        let mut cargo = clean(Path::new(env!("CARGO")), &self.root);
        cargo.arg("--config").arg(&self.profile).args(arguments).env("CARGO_TARGET_DIR", &self.target);
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_INCREMENTAL", "0");
        let output = cargo.output().unwrap();
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "cargo {arguments:?}: {said}");
    }

    /// The program, on a file in the project's folder.
    fn program(&self, arguments: &[&str]) -> Command {
        let mut command = clean(&self.target.join("debug/post-invoices"), &self.root);
        command.args(arguments);
        command
    }

    fn code(&self, arguments: &[&str]) -> i32 {
        self.program(arguments).output().unwrap().status.code().unwrap()
    }

    /// The figures of the queue, as the command sees them.
    fn figures(&self) -> impl Fn(&str) -> i64 + use<> {
        let all = json(command(&self.root, &["stats", "Invoices", "--json", "--url", "sqlite:queue.db"]));
        move |name| all["Invoices"][name].as_i64().unwrap_or_else(|| panic!("{name} in {all}"))
    }

    /// Starts the program, and ends it by SIGTERM after its first success. Returns its exit code.
    fn terminate(&self, arguments: &[&str], grace_period: &str) -> i32 {
        let mut command = self.program(arguments);
        command.env("PERFORMER_GRACE_PERIOD_SECONDS", grace_period).env("PERFORMER_LOG_FORMAT", "json");
        command.env("PERFORMER_ROBOTS", "2").env("RUST_LOG", "debug").stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let succeeded = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} is no JSON"));
            line["fields"]["message"] == "successful"
        };
        assert!(lines.any(|line| succeeded(&line.unwrap())), "the first success");
        let sent = Command::new("kill").arg(child.id().to_string()).status().unwrap();
        assert!(sent.success());
        lines.for_each(drop);
        child.wait().unwrap().code().unwrap()
    }
}

#[test]
#[ignore = "builds all dependencies once more: scripts/test and .ci/run run it"]
fn the_project_builds_passes_its_tests_and_drains_at_a_signal() {
    let project = Project::new();
    project.cargo(&["fmt", "--check"]);
    project.cargo(&["test", "--offline"]);
    project.cargo(&["clippy", "--offline", "--all-targets", "--", "-D", "warnings"]);

    assert_eq!(project.code(&["dispatch"]), 0);
    assert_eq!(project.code(&["dispatch"]), 0, "all were there already");
    assert_eq!(project.code(&["perform", "--until-empty"]), 3, "an invoice has no amount");
    assert_eq!(project.code(&["perform", "--until-empty"]), 0, "nothing is left");
    let figures = project.figures();
    assert_eq!((figures("NumberOfSuccessfulTransactions"), figures("NumberOfBusinessExceptions")), (11, 1));

    let rows: String = (0..2_000).map(|number| format!("MORE-{number},ACME,100\n")).collect();
    std::fs::write(project.root.join("more.csv"), format!("number,customer,cents\n{rows}?,?,?\n")).unwrap();
    let mut dispatch = project.program(&["dispatch"]);
    let dispatched = dispatch.env("PERFORMER_DATA", "more.csv").output().unwrap();
    assert_eq!(dispatched.status.code(), Some(3), "a row is left out: {}", text(&dispatched.stderr));
    // What runs is finished, or interrupted and given back; nothing is left in progress.
    let mut successful = 11;
    for (arguments, grace_period, code) in
        [(&["perform"][..], "30", 0), (&["perform"], "0", 0), (&["perform", "--until-empty"], "30", 4)]
    {
        assert_eq!(project.terminate(arguments, grace_period), code, "{arguments:?}");
        let figures = project.figures();
        let before = std::mem::replace(&mut successful, figures("NumberOfSuccessfulTransactions"));
        assert!(successful > before, "it did something");
        assert!(figures("NumberOfRemainingTransactions") > 0, "it was in the middle");
        assert_eq!(figures("NumberOfInProgressTransactions"), 0);
        assert_eq!(figures("NumberOfRetriedItems") + figures("NumberOfAbandonedItems"), 0);
    }
    assert_eq!(project.code(&["perform", "--until-empty"]), 0);
    let figures = project.figures();
    assert_eq!(figures("NumberOfSuccessfulTransactions"), 2_011);
    assert_eq!(figures("NumberOfRemainingTransactions") + figures("NumberOfInProgressTransactions"), 0);
}
