//! PostgreSQL servers for a single test, in a temporary folder and on free ports. They do not wait for the disk, because
//! committed data must survive only the server's processes.

use std::io::{Read as _, Seek as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio_postgres::{Client, NoTls};

/// The address and the user.
const HOST: &str = "127.0.0.1";
const USER: &str = "performer";

/// A primary, and a standby of it if there is one.
pub struct Cluster {
    /// The folder of the servers, with their sockets.
    pub folder: tempfile::TempDir,
    programs: PathBuf,
    /// The user and group that run PostgreSQL if the test runs as root, which PostgreSQL refuses.
    instead_of_root: Option<(u32, u32)>,
    /// The ports of the primary and of the standbys.
    ports: Vec<u16>,
    primary: Server,
    standby: Option<Server>,
}

struct Server {
    data: PathBuf,
    port: u16,
}

impl Cluster {
    /// Starts a server with these files in its folder, of which this many standbys can be made.
    ///
    /// # Panics
    ///
    /// Without PostgreSQL's server: a test that did nothing would count as one that passed.
    pub fn start(standbys: usize, files: &[(&str, String)]) -> Self {
        let programs = programs().expect(
            "the programs of PostgreSQL's server are not installed (PG_BIN names their folder); scripts/test installs them",
        );
        let folder = tempfile::tempdir().unwrap();
        let instead_of_root = (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])));
        let ports = free_ports(1 + standbys);
        let primary = Server { data: folder.path().join(ports[0].to_string()), port: ports[0] };
        let cluster = Self { folder, programs, instead_of_root, ports, primary, standby: None };
        cluster.give(cluster.folder.path());
        let data = &cluster.primary.data;
        let how = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        cluster.complete(cluster.program("initdb").args(how).arg(data));
        for (name, text) in files {
            let path = data.join(name);
            std::fs::write(&path, text).unwrap();
            // The key of a server that others may read is refused.
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
            cluster.give(&path);
        }
        cluster.run_primary();
        cluster
    }

    /// The port of the primary.
    pub fn port(&self) -> u16 {
        self.primary.port
    }

    /// The URL for performers, which lists all servers.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("{HOST}:{port}")).collect();
        format!("postgres://{USER}@{}/postgres", hosts.join(","))
    }

    /// Stops the primary in immediate mode.
    pub fn stop_at_once(&self) {
        self.complete(self.control(&self.primary).args(["-m", "immediate", "-w", "stop"]));
    }

    /// Starts the primary, and waits until it accepts connections.
    pub fn run_primary(&self) {
        self.run(&self.primary);
    }

    /// Adds a synchronous standby.
    pub fn add_standby(&mut self) {
        let next = self.ports.iter().position(|port| *port == self.primary.port).unwrap() + 1;
        let port = self.ports[next];
        let data = self.folder.path().join(port.to_string());
        let standby = Server { data: data.clone(), port };
        let port = self.primary.port.to_string();
        let how =
            ["-h", HOST, "-p", &port, "-U", USER, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"];
        self.complete(self.program("pg_basebackup").args(how).arg(data));
        self.run(&standby);
        self.standby = Some(standby);
        self.waits_for_standby();
    }

    /// Kills one of the primary's processes that serve a connection. The server then ends the others and recovers without a
    /// restart.
    pub fn kill_a_process(&self) {
        const AT_WORK: &str = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' \
                               AND pid <> pg_backend_pid() ORDER BY state = 'idle', state_change DESC LIMIT 1";
        let process: i32 = self.ask(async |client| client.query_one(AT_WORK, &[]).await.unwrap().get(0));
        self.complete(Command::new("kill").args(["-KILL", &process.to_string()]));
    }

    /// Runs a query on the primary.
    fn ask<T>(&self, ask: impl AsyncFnOnce(Client) -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("postgres://{USER}@{HOST}:{}/postgres", self.port());
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            ask(client).await
        })
    }

    /// Makes the replication synchronous.
    fn waits_for_standby(&self) {
        self.ask(async |client| {
            client.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", &[]).await.unwrap();
            client.execute("SELECT pg_reload_conf()", &[]).await.unwrap();
            let follows = "SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'";
            let waiting = async {
                while client.query(follows, &[]).await.unwrap().is_empty() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("the standby follows");
        });
    }

    /// Removes the primary and promotes the standby.
    pub fn fail_over(&mut self) {
        self.stop_at_once();
        self.primary = self.standby.take().expect("a standby");
        self.complete(self.control(&self.primary).args(["-w", "promote"]));
    }

    fn run(&self, server: &Server) {
        let options = format!(
            "-c listen_addresses={HOST} -c port={} -c unix_socket_directories='{}' -c fsync=off -c full_page_writes=off",
            server.port,
            self.folder.path().display()
        );
        let how = ["-w", "-t", "60", "-o", &options, "-l"];
        self.complete(self.control(server).args(how).arg(self.log()).arg("start"));
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn control(&self, server: &Server) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(&server.data);
        command
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = match self.instead_of_root {
            None => Command::new(program),
            Some((user, group)) => {
                let (user, group) = (user.to_string(), group.to_string());
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &user, "--regid", &group, "--clear-groups", "--"]).arg(program);
                command
            }
        };
        command.current_dir("/");
        command
    }

    /// Gives a file or a folder to the user of the server.
    fn give(&self, path: &Path) {
        if let Some((user, group)) = self.instead_of_root {
            chown(path, Some(user), Some(group)).unwrap();
        }
    }

    /// Runs a command to its end. Its output goes to a file, because a server that it starts would keep a pipe open.
    fn complete(&self, command: &mut Command) {
        let mut file = tempfile::tempfile().unwrap();
        let (out, err) = (file.try_clone().unwrap(), file.try_clone().unwrap());
        let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap();
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        assert!(status.success(), "{command:?}: {text}{log}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in std::iter::once(&self.primary).chain(&self.standby) {
            let _ = self.control(server).args(["-m", "immediate", "-w", "stop"]).output(); // it may have ended
        }
    }
}

/// The folder of the server's programs: from PG_BIN (`scripts/postgres` sets it), from the PATH, or that of a distribution.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let led_to = |folder: PathBuf| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let of_distributions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders = named
        .into_iter()
        .chain(std::env::split_paths(&path).filter_map(led_to))
        .chain(of_distributions.map(|version| version.path().join("bin")));
    let all = ["initdb", "pg_ctl", "postgres", "pg_basebackup"];
    folders.find(|folder| all.iter().all(|name| folder.join(name).is_file()))
}

/// Ports that are free at the moment.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind((HOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}
