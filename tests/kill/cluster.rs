//! PostgreSQL servers of the test's own, to be stopped in the middle: in a temporary folder, on free ports, without waiting
//! for the disk (what is committed outlives the server's processes, which is what is killed here).

use std::io::{Read as _, Seek as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio_postgres::NoTls;

/// Where it listens, and for whom.
const HOST: &str = "127.0.0.1";
const USER: &str = "performer";

/// A primary, and a standby of it if there is one.
pub struct Cluster {
    folder: tempfile::TempDir,
    programs: PathBuf,
    /// PostgreSQL refuses to run as root.
    as_postgres: bool,
    /// Of the primary, and of the standbys that follow one another.
    ports: Vec<u16>,
    primary: Server,
    standby: Option<Server>,
}

struct Server {
    data: PathBuf,
    port: u16,
}

impl Cluster {
    /// A server that runs, of which so many standbys can be made. `None`, and a line that says so: its programs are not here.
    pub fn start(standbys: usize) -> Option<Self> {
        let Some(programs) = programs() else {
            println!("PostgreSQL's programs are not here (PG_BIN names their folder): NOT TESTED");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let as_postgres = said(Command::new("id").arg("-u")).trim() == "0";
        if as_postgres {
            said(Command::new("chown").arg("postgres").arg(folder.path()));
        }
        let ports = free_ports(1 + standbys);
        let primary = Server { data: folder.path().join(ports[0].to_string()), port: ports[0] };
        let cluster = Self { folder, programs, as_postgres, ports, primary, standby: None };
        let data = cluster.primary.data.clone();
        let how = ["-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"];
        said(cluster.program("initdb").args(how).arg(&data));
        cluster.run_primary();
        Some(cluster)
    }

    /// Where performers connect to: all servers, whichever is the primary.
    pub fn url(&self) -> String {
        let hosts: Vec<String> = self.ports.iter().map(|port| format!("{HOST}:{port}")).collect();
        format!("postgres://{USER}@{}/postgres", hosts.join(","))
    }

    /// Ends every process of the primary at once. It has no time to put anything away.
    pub fn stop_at_once(&self) {
        said(self.control(&self.primary).args(["-m", "immediate", "-w", "stop"]));
    }

    /// Starts the primary, and waits until it can be used.
    pub fn run_primary(&self) {
        self.run(&self.primary);
    }

    /// A standby that has everything before a commit is answered.
    pub fn add_standby(&mut self) {
        let next = self.ports.iter().position(|port| *port == self.primary.port).unwrap() + 1;
        let port = self.ports[next];
        let data = self.folder.path().join(port.to_string());
        let standby = Server { data: data.clone(), port };
        let port = self.primary.port.to_string();
        let how =
            ["-h", HOST, "-p", &port, "-U", USER, "-R", "-X", "stream", "-c", "fast", "--no-sync", "-D"];
        said(self.program("pg_basebackup").args(how).arg(data));
        self.run(&standby);
        self.standby = Some(standby);
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'");
        self.ask("SELECT pg_reload_conf()");
        for _ in 0..1_000 {
            if self.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'") == 1 {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("the standby does not follow");
    }

    /// The primary is gone for good, and the standby takes over.
    pub fn fail_over(&mut self) {
        self.stop_at_once();
        self.primary = self.standby.take().expect("a standby");
        said(self.control(&self.primary).args(["-w", "promote"]));
    }

    /// How many rows a statement finds.
    fn ask(&self, sql: &str) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let url = format!("postgres://{USER}@{HOST}:{}/postgres", self.primary.port);
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
            tokio::spawn(connection);
            client.query(sql, &[]).await.unwrap().len()
        })
    }

    fn run(&self, server: &Server) {
        let Server { data, port } = server;
        let options = format!(
            "-c listen_addresses={HOST} -c port={port} -c unix_socket_directories='' -c max_connections=100 \
             -c fsync=off -c full_page_writes=off"
        );
        let log = data.with_extension("log");
        let how = ["-w", "-t", "60", "-o", &options, "-l"];
        said(self.control(server).args(how).arg(log).arg("start"));
    }

    fn control(&self, server: &Server) -> Command {
        let mut command = self.program("pg_ctl");
        command.arg("-D").arg(&server.data);
        command
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if self.as_postgres {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for server in std::iter::once(&self.primary).chain(&self.standby) {
            let _ = self.control(server).args(["-m", "immediate", "-w", "stop"]).output(); // it may have ended
        }
    }
}

/// The folder of the server's programs: that of PG_BIN (`scripts/postgres` sets it), or the one that the PATH leads to.
fn programs() -> Option<PathBuf> {
    let named = std::env::var_os("PG_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let led_to = |folder: PathBuf| Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned());
    let mut folders = named.into_iter().chain(std::env::split_paths(&path).filter_map(led_to));
    let all = ["initdb", "pg_ctl", "postgres", "pg_basebackup"];
    folders.find(|folder| all.iter().all(|name| folder.join(name).is_file()))
}

/// Ports that were free a moment ago.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<_> = (0..count).map(|_| std::net::TcpListener::bind((HOST, 0)).unwrap()).collect();
    listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Runs a command to its end. What it says goes to a file: a server that it starts would keep a pipe open.
fn said(command: &mut Command) -> String {
    let mut file = tempfile::tempfile().unwrap();
    let (out, err) = (file.try_clone().unwrap(), file.try_clone().unwrap());
    let status = command.stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap();
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert!(status.success(), "{command:?}: {text}");
    text
}
