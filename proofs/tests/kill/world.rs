//! One test case: a directory with a ledger, a store (a file, or a schema of PostgreSQL), processes on both, and the
//! check at the end.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::{Administration, QueueItem};

use super::victim::{self, QUEUE, Work, runtime};
use performer_proofs::observers;
use performer_proofs::observers::checker::{Evidence, StoreState, check};
use performer_proofs::observers::ledger::{self, Ledger, Record};
use performer_proofs::tables::{damage_of, damage_of_file};

/// One test case.
pub struct World {
    folder: tempfile::TempDir,
    /// The URL of a database; `None` for the file in the directory.
    database: Option<String>,
    pub ledger: Ledger,
    /// The lease of its processes' jobs.
    pub lease: Duration,
    processes: usize,
    noise: Vec<String>,
}

/// A process of the case.
pub struct Process {
    pub name: String,
    child: Child,
    stderr: PathBuf,
}

impl World {
    pub fn new() -> Self {
        Self::in_folder(tempfile::tempdir().unwrap())
    }

    fn in_folder(folder: tempfile::TempDir) -> Self {
        let ledger = Ledger::file(&folder.path().join("ledger"));
        let lease = Duration::from_secs(30);
        Self { folder, database: None, ledger, lease, processes: 0, noise: Vec::new() }
    }

    /// On a database, where only the lease shows that a process has ended.
    pub fn on(url: &str, lease: Duration) -> Self {
        Self { database: Some(url.to_owned()), lease, ..Self::new() }
    }

    /// A copy of another case: its file, its lock files and its ledger.
    pub fn copy_of(template: &Path) -> Self {
        // In memory, if there is a directory for it: what a killed process leaves behind is the same there.
        let memory = Path::new("/dev/shm");
        let world = if memory.is_dir() {
            Self::in_folder(tempfile::tempdir_in(memory).unwrap())
        } else {
            Self::new()
        };
        for name in ["queue.db", "ledger"] {
            std::fs::copy(template.join(name), world.folder.path().join(name)).unwrap();
        }
        let (from, to) = (template.join("queue.db-jobs"), world.folder.path().join("queue.db-jobs"));
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(from).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
        world
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self) -> PathBuf {
        self.folder.path().join("queue.db")
    }

    /// The store, as an argument of a victim.
    pub fn store(&self) -> String {
        self.database.clone().unwrap_or_else(|| self.file().to_str().unwrap().to_owned())
    }

    /// Starts a victim; with a crash point it ends there by itself.
    pub fn spawn(&mut self, program: &str, number: usize, crash_point: Option<&str>) -> Process {
        self.processes += 1;
        let name = format!("p{}", self.processes);
        let stderr = self.folder.path().join(format!("{name}.stderr"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["victim", program, &name])
            .args([self.store(), number.to_string(), self.lease.as_millis().to_string()])
            .arg(self.folder.path().join("ledger"))
            .env_remove("PERFORMER_CRASH_POINT")
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&stderr).unwrap());
        if let Some(point) = crash_point {
            command.env("PERFORMER_CRASH_POINT", point);
        }
        Process { child: command.spawn().unwrap(), name, stderr }
    }

    /// Kills a process (SIGKILL). Returns when.
    pub fn kill(&mut self, mut process: Process) -> Timestamp {
        process.child.kill().unwrap();
        let when = Timestamp::now();
        self.wait_for_end(process);
        when
    }

    /// Sends a process SIGTERM, as a service manager does.
    pub fn terminate(&self, process: &Process) {
        let sent = Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Waits until a process has ended, by itself or not.
    pub fn wait_for_end(&mut self, mut process: Process) -> ExitStatus {
        let status = process.child.wait().unwrap();
        self.ledger.write(Record::Died { process: process.name.clone() });
        let said = std::fs::read_to_string(&process.stderr).unwrap();
        self.noise.extend(said.lines().filter(|line| !line.is_empty()).map(str::to_owned));
        status
    }

    pub fn connect(&self, runtime: &tokio::runtime::Runtime) -> Arc<dyn Administration> {
        runtime.block_on(victim::open(&self.store())).unwrap()
    }

    /// Drains the queue in this process, and returns the evidence.
    pub fn evidence(mut self, recoveries: Vec<(Timestamp, Timestamp)>) -> Evidence {
        let runtime = runtime();
        let store = self.connect(&runtime);
        self.processes += 1;
        let work = Work::new(self.ledger.clone(), &format!("p{}", self.processes), self.lease);
        let story = runtime.block_on(async {
            let drained = tokio::time::timeout(Duration::from_secs(60), work.drain(&store, 4, 0)).await;
            (drained.is_ok(), StoreState::of(&*store, QUEUE).await)
        });
        let (drained, mut store_says) = story;
        let given = |item: &QueueItem| {
            let content: victim::Content = item.specific_content.parse().unwrap();
            if content.what == victim::WITH_FOLLOW_UPS { victim::FOLLOW_UPS } else { 0 }
        };
        let follow_ups =
            runtime.block_on(observers::follow_ups::violations(&*store, QUEUE, victim::NEXT, given));
        if !drained {
            self.noise.push("the queue could not be drained".to_owned());
        }
        drop(store);
        store_says.damage = match &self.database {
            None => damage_of_file(&self.file()),
            Some(url) => damage_of(url),
        };
        store_says.damage.extend(follow_ups);
        Evidence {
            records: ledger::read(&self.folder.path().join("ledger")),
            store: store_says,
            drained: true,
            manual_retries: 1,
            recoveries,
            noise: std::mem::take(&mut self.noise),
        }
    }

    /// Drains the queue, and checks everything. Returns how many items there were.
    pub fn check(self, case: &str) -> usize {
        let evidence = self.evidence(Vec::new());
        let violations = check(&evidence);
        assert!(violations.is_empty(), "{case}: {violations:#?}");
        evidence.store.items.len()
    }
}

/// A test that fails leaves no process behind.
impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it has ended already, if all went well
        let _ = self.child.wait();
    }
}

impl Process {
    /// Its standard error.
    pub fn stderr_text(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}
