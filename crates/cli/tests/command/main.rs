//! The command as a user runs it: the real program on real files, over real HTTP and TLS, with real signals.

mod alerts;
mod assets;
mod audit;
mod buckets;
mod crash;
mod deadlines;
#[cfg(unix)]
mod desk;
mod help;
mod import;
mod inspect;
mod items;
mod jobs;
mod limits;
mod new;
#[cfg(unix)]
mod new_project;
mod operate;
mod operations;
mod output;
mod own_desk;
mod personal;
mod profiles;
mod queues_and_items;
mod robots;
mod serve;
#[cfg(unix)]
mod server_operation;
mod stats;
mod tables;
mod tasks;
mod walk;
mod webhooks;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const CLIENT: &str = "tests";
const SECRET: &str = "a secret for tests alone";

/// The command, with nothing of the user's environment that could change what it does.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_performer"));
    command.current_dir(folder).args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("UIPATH_") || name.starts_with("PERFORMER_") || name.starts_with("SSL_CERT") {
            command.env_remove(name);
        }
    }
    command.env("PERFORMER_CONFIG", folder.join("profiles.toml"));
    command
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// What it prints when all is well.
fn done(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn json(command: Command) -> Value {
    let printed = done(command);
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error}: {printed}"))
}

/// A server that is killed when this is dropped.
struct Server {
    child: Child,
    url: String,
    greeting: String,
}

impl Server {
    /// Starts one, and waits until it says where it is.
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(first) = lines.next() else {
            let mut why = String::new();
            child.stderr.take().unwrap().read_to_string(&mut why).unwrap();
            panic!("the server did not start: {why}");
        };
        let greeting = first.unwrap();
        let url = greeting.rsplit(' ').next().unwrap().to_owned();
        // The rest of a greeting comes in one go; a server that was started before says nothing more.
        let (told, rest) = std::sync::mpsc::channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| told.send(line)));
        let mut server = Self { child, url, greeting };
        while let Ok(line) = rest.recv_timeout(std::time::Duration::from_millis(300)) {
            server.greeting.push('\n');
            server.greeting.push_str(&line);
        }
        std::thread::spawn({
            let stderr = server.child.stderr.take().unwrap();
            move || std::io::copy(&mut BufReader::new(stderr), &mut std::io::sink())
        });
        server
    }

    /// With a secret that the tests know.
    fn known(folder: &Path, arguments: &[&str]) -> Self {
        let mut command = command(folder, &["serve", "--log", "warn"]);
        command.args(arguments).env("PERFORMER_CLIENT_ID", CLIENT).env("PERFORMER_CLIENT_SECRET", SECRET);
        Self::start(command)
    }

    /// A command against it.
    fn command(&self, folder: &Path, arguments: &[&str]) -> Command {
        let mut command = command(folder, arguments);
        command.env("PERFORMER_URL", &self.url).env("UIPATH_CLIENT_ID", CLIENT);
        command.env("UIPATH_CLIENT_SECRET", SECRET).env("UIPATH_FOLDER_PATH", "Shared");
        command
    }

    /// Ends it as a service manager does.
    fn stop(mut self) -> i32 {
        let killed = Command::new("kill").arg(self.child.id().to_string()).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code().unwrap()
    }

    /// Ends it as a power failure does.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}
