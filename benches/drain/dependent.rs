//! What a user builds: a crate that depends on performer and sets nothing, beside the same program as this workspace
//! builds it.
//!
//! The crate is `benches/dependent`. It is built when its figures are wanted, with cargo's default profile, no flags for
//! SQLite and the system's allocator, into a folder of its own below the target folder; the first time takes a minute
//! or two.

use std::path::PathBuf;
use std::process::Command;

use performer_benches::{Bar, Bench, Unit, dependent};

use super::figures::ROUNDS;

/// The program of the dependent crate, compiled with this workspace's profile and flags.
#[path = "../dependent/src/main.rs"]
mod tuned;

const COUNT: usize = 20_000;

/// In another process: the program as it is built here.
pub fn tuned() {
    tuned::main();
}

pub fn all(bench: &Bench) {
    let figures = [("sqlite.drain.dependent", 0), ("sqlite.drain.ahead.dependent", 1_000)];
    if !figures.iter().any(|(name, _)| bench.wants(name)) {
        return;
    }
    let dependent = build();
    let tuned = std::env::current_exe().expect("this program");
    for (name, ahead) in figures {
        let bar = Bar::AtLeast(0.8);
        let limit = || rate(Command::new(&tuned).arg("tuned-process"), ahead);
        let ours = || rate(&mut Command::new(&dependent), ahead);
        bench.figure(name, Unit::PerSecond, bar, ROUNDS, limit, ours);
    }
}

/// Items a second, drained by a process of its own.
fn rate(program: &mut Command, ahead: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let arguments = [folder.path().display().to_string(), COUNT.to_string(), ahead.to_string()];
    let output = program.args(arguments).output().expect("another process");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seconds: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("seconds");
    COUNT as f64 / seconds
}

/// Builds the crate, and says where its program is.
fn build() -> PathBuf {
    let program = std::env::current_exe().expect("this program"); // target/release/deps/drain-…
    let target = program.ancestors().nth(3).expect("a target folder").join("dependent");
    let empty = tempfile::tempdir().expect("a folder");
    let mut cargo = dependent::cargo("build", empty.path());
    let built = cargo.args(["--release", "--quiet", "--target-dir"]).arg(&target).status().expect("cargo");
    assert!(built.success(), "the dependent crate does not build");
    target.join("release/performer-dependent")
}
