//! `performer robot` runs the jobs of processes: real programs with real signals, a server that goes away, and `kill -9` of the agent.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use performer::orchestrator::store::Store;
use performer_core::model::log::{LogFilter, LogLevel};
use serde_json::Value;

use super::{Server, command, done, json, run, text};

/// How long anything may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a store, in which commands run.
struct World {
    folder: PathBuf,
    url: String,
    secrets: Vec<(String, String)>,
}

impl World {
    fn new(folder: &Path) -> Self {
        let world =
            Self { folder: folder.to_owned(), url: "sqlite:robots.db".to_owned(), secrets: Vec::new() };
        done(world.of(&["queue", "create", "Invoices"])); // the store is there from then on
        world
    }

    fn of(&self, words: &[&str]) -> Command {
        let mut command = command(&self.folder, words);
        command.env("PERFORMER_URL", &self.url);
        command.envs(self.secrets.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Defines a process that runs a script.
    fn process(&self, name: &str, script: &str) {
        done(self.of(&["process", "create", name, "--replace", "--", "sh", "-c", script]));
    }

    fn start(&self, words: &[&str]) -> String {
        let printed = done(self.of(&[&["process", "start"], words].concat()));
        printed.trim().to_owned()
    }

    fn job(&self, key: &str) -> Value {
        json(self.of(&["job", "show", key, "--json"]))
    }

    /// The job when it is in a state. Each look takes as long as a command does.
    #[expect(clippy::disallowed_methods, reason = "what another process does takes real time")]
    fn when(&self, key: &str, state: &str) -> Value {
        let since = Instant::now();
        loop {
            let job = self.job(key);
            if job["State"] == state {
                return job;
            }
            let ended = ["Faulted", "Successful", "Stopped"].iter().any(|end| job["State"] == *end);
            assert!(!ended && since.elapsed() < PATIENCE, "{state} was expected: {job}");
        }
    }

    fn robot(&self, words: &[&str]) -> Agent {
        let lease: &[&str] = if words.contains(&"--lease") { &[] } else { &["--lease", "3s"] };
        let mut robot = self.of(&[&["robot", "--machine", "m"], lease, words].concat());
        let mut child = robot.stdout(Stdio::piped()).spawn().unwrap();
        let mut greeting = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut greeting).unwrap();
        assert!(greeting.contains("runs jobs in session"), "{greeting}");
        Agent(child)
    }

    /// The lines that the program of a job wrote.
    fn lines(&self, key: &str) -> Vec<(LogLevel, String)> {
        let mut filter = LogFilter::default();
        filter.jobs = Some(vec![key.parse().unwrap()]);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let lines = runtime.block_on(async {
            let store = Store::sqlite(self.file("robots.db")).await.unwrap();
            store.log_lines(filter).await.unwrap()
        });
        let message = |entry: &str| {
            serde_json::from_str::<Value>(entry).unwrap()["message"].as_str().unwrap().to_owned()
        };
        lines.iter().map(|line| (line.level, message(&line.entry))).collect()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The text of a file, as soon as it has some.
    #[expect(clippy::disallowed_methods, reason = "what another process does takes real time")]
    fn text_of(&self, name: &str) -> String {
        let since = Instant::now();
        loop {
            match std::fs::read_to_string(self.file(name)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => assert!(since.elapsed() < PATIENCE, "{name} is not written"),
            }
            std::thread::yield_now();
        }
    }
}

/// An agent that is ended with the test.
struct Agent(Child);

impl Agent {
    fn signal(&self, signal: &str) {
        let number = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &number]).status().unwrap().success());
    }

    fn wait(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn is_there(process: &str) -> bool {
    // A zombie has ended.
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim().starts_with(['Z', 'X']))
}

#[expect(clippy::disallowed_methods, reason = "what another process does takes real time")]
fn until_gone(process: &str) {
    let since = Instant::now();
    while is_there(process) {
        assert!(since.elapsed() < PATIENCE, "process {process} is still there");
        std::thread::yield_now();
    }
}

#[test]
fn programs_run_with_their_environment_and_end_as_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    world.process("Good", "echo out: $UIPATH_JOB_KEY $PERFORMER_INPUT_ARGUMENTS $COLOUR; echo err >&2");
    world.process("Bad", "echo why it failed >&2; exit 3");
    let missing = ["process", "create", "Missing", "--", "/does/not/exist"];
    done(world.of(&missing));
    let good = world.start(&["Good", "--input", "{\"a\":1}", "--env", "COLOUR=blue"]);
    let (bad, lost) = (world.start(&["Bad"]), world.start(&["Missing"]));
    assert_eq!(world.job(&good)["State"], "Pending");
    let mut robot = world.robot(&["--jobs", "2"]);
    let ended = world.when(&good, "Successful");
    assert_eq!(ended["Run"]["ProcessName"], "Good");
    let why = world.when(&bad, "Faulted")["Info"].clone();
    assert_eq!(why, "the program ended with exit code 3: why it failed");
    let why = world.when(&lost, "Faulted")["Info"].clone();
    assert!(why.as_str().unwrap().contains("could not be started"), "{why}");
    let lines = world.lines(&good);
    assert_eq!(lines.len(), 2, "{lines:?}");
    let out = (LogLevel::Info, format!("out: {good} {{\"a\":1}} blue"));
    assert!(lines.contains(&out) && lines.contains(&(LogLevel::Warn, "err".to_owned())), "{lines:?}");
    let sessions = json(world.of(&["machine", "sessions", "--json"]));
    assert_eq!((&sessions[0]["MachineName"], &sessions[0]["State"]), (&"m".into(), &"Available".into()));
    let listed = done(world.of(&["job", "list", "--all"]));
    assert!(listed.contains("process Good"), "{listed}");
    robot.signal("-TERM");
    assert_eq!(robot.wait(), Some(0));
    let sessions = json(world.of(&["machine", "sessions", "--json"]));
    assert_eq!(sessions[0]["State"], "Disconnected", "it said that it ends");
}

#[test]
fn a_program_is_asked_to_stop_and_killed_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    world.process("Kind", "trap 'echo bye > bye; exit 0' TERM; echo $$ > kind; while :; do sleep 0.1; done");
    world.process("Deaf", "trap '' TERM; sleep 1000 & echo $! > child; echo $$ > deaf; wait");
    let mut robot = world.robot(&["--jobs", "2"]);
    let (kind, deaf) = (world.start(&["Kind"]), world.start(&["Deaf"]));
    let (_, child, shell) = (world.text_of("kind"), world.text_of("child"), world.text_of("deaf"));
    done(world.of(&["job", "stop", &kind]));
    let ended = world.when(&kind, "Stopped");
    assert_eq!(
        (&ended["Info"], world.text_of("bye").as_str()),
        (&"its program was asked to stop".into(), "bye")
    );
    assert!(is_there(&child) && is_there(&shell));
    done(world.of(&["job", "kill", &deaf]));
    assert_eq!(world.when(&deaf, "Stopped")["Info"], "its program was killed");
    until_gone(&child);
    until_gone(&shell);
    // An agent that stops asks its programs to stop.
    std::fs::remove_file(world.file("kind")).unwrap();
    let again = world.start(&["Kind"]);
    world.text_of("kind");
    robot.signal("-TERM");
    assert_eq!(robot.wait(), Some(0));
    assert_eq!(world.job(&again)["State"], "Stopped");
}

#[test]
fn the_jobs_of_a_killed_agent_end_faulted_and_its_programs_end() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    world.process("Long", "sleep 1000 & echo $! > child; echo $$ > long; wait");
    let mut robot = world.robot(&[]);
    let job = world.start(&["Long"]);
    let (child, shell) = (world.text_of("child"), world.text_of("long"));
    world.when(&job, "Running");
    robot.signal("-KILL");
    robot.wait();
    until_gone(&child);
    until_gone(&shell);
    let _other = world.robot(&[]); // somebody has to look
    let ended = world.when(&job, "Faulted");
    assert!(ended["Info"].as_str().unwrap().contains("beat"), "{ended}");
    let restarted = done(world.of(&["process", "restart", &job]));
    std::fs::remove_file(world.file("long")).unwrap();
    world.text_of("long");
    done(world.of(&["job", "kill", restarted.trim()]));
    world.when(restarted.trim(), "Stopped");
}

#[test]
fn an_agent_of_a_server_survives_its_absence() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    let url = server.url.clone();
    let listen = url.strip_prefix("http://").unwrap().to_owned();
    let secrets = [
        ("UIPATH_CLIENT_ID", super::CLIENT),
        ("UIPATH_CLIENT_SECRET", super::SECRET),
        ("UIPATH_FOLDER_PATH", "Shared"),
        ("UIPATH_SCOPE", "OrchestratorApiUserAccess"),
    ];
    let secrets = secrets.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let world = World { folder: folder.path().to_owned(), url: url.clone(), secrets: secrets.into() };
    world.process("Waits", "echo $UIPATH_URL > begun; while [ ! -e go ]; do sleep 0.1; done; echo done");
    let mut robot = world.robot(&["--lease", "60s"]);
    let job = world.start(&["Waits"]);
    assert_eq!(world.text_of("begun"), url);
    server.kill();
    std::fs::write(world.file("go"), "").unwrap();
    server = Server::known(folder.path(), &["--listen", &listen]);
    world.when(&job, "Successful");
    std::fs::remove_file(world.file("begun")).unwrap();
    std::fs::remove_file(world.file("go")).unwrap();
    let next = world.start(&["Waits"]);
    world.text_of("begun"); // it goes on taking jobs
    done(world.of(&["job", "stop", &next]));
    world.when(&next, "Stopped");
    robot.signal("-TERM");
    assert_eq!(robot.wait(), Some(0));
    drop(server);
}

#[test]
fn what_is_wrong_with_processes_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::new(folder.path());
    for (words, code, expected) in [
        (&["process", "start", "Nothing"][..], 5, "process \"Nothing\" does not exist"),
        (&["process", "create", "X", "--env", "A", "--", "true"], 2, "not NAME=VALUE"),
        (&["process", "create", "X", "--input", "5", "--", "true"], 1, "not a JSON object"),
        (&["process", "create", "X"], 2, "COMMAND"),
        (&["machine", "delete", "Nothing"], 5, "does not exist"),
        (&["robot", "--lease", "0s"], 2, "lease"),
        (&["robot", "--jobs", "0"], 2, "jobs"),
    ] {
        let mut failed = world.of(words);
        let output = failed.output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        assert!(said.contains(expected), "{words:?}: {said}");
    }
    world.process("X", "true");
    let taken = world.of(&["process", "create", "x", "--", "true"]).output().unwrap();
    assert!(text(&taken.stderr).contains("already used"), "{}", text(&taken.stderr));
    assert!(run(&world.folder, &["process", "list"]).status.code() == Some(2), "no location");
}
