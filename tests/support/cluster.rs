//! A PostgreSQL of a test's own, which may do with it what it likes.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub struct Cluster {
    pub folder: tempfile::TempDir,
    pub port: u16,
    programs: PathBuf,
}

impl Cluster {
    /// Makes one and starts it, with these files in its folder and these settings. None, loudly, where PostgreSQL's server is
    /// not installed.
    pub fn start(files: &[(&str, String)], settings: &str) -> Option<Self> {
        let Some(programs) = programs() else {
            eprintln!(
                "\n*** SKIPPED: the programs of PostgreSQL's server are not installed; run this by scripts/test. ***\n"
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let this = Self { folder: tempfile::tempdir().unwrap(), port, programs };
        let folder = this.folder.path();
        if is_root() {
            own(folder);
        }
        let data = this.data();
        this.run(
            "initdb",
            &["-D", &data, "-U", "performer", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
        );
        for (name, text) in files {
            let path = Path::new(&data).join(name);
            std::fs::write(&path, text).unwrap();
            // The key of a server that others may read is refused.
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
            std::fs::set_permissions(&path, mode).unwrap();
            if is_root() {
                own(&path);
            }
        }
        let log = folder.join("log").display().to_string();
        let options = format!(
            "-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='{}' -c fsync=off {settings}",
            folder.display()
        );
        this.run("pg_ctl", &["-D", &data, "-w", "-t", "60", "-l", &log, "-o", &options, "start"]);
        Some(this)
    }

    fn data(&self) -> String {
        self.folder.path().join("data").display().to_string()
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let Output { status, stdout, stderr } = self.command(program).args(arguments).output().unwrap();
        let said = [stdout, stderr].concat();
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(status.success(), "{program}: {}{log}", String::from_utf8_lossy(&said));
    }

    /// PostgreSQL refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = Command::new(if is_root() { Path::new("setpriv") } else { &program });
        if is_root() {
            let (user, group) = postgres();
            command.args([
                "--reuid",
                &user.to_string(),
                "--regid",
                &group.to_string(),
                "--clear-groups",
                "--",
            ]);
            command.arg(program);
        }
        command.current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let data = self.data();
        let _ = self.command("pg_ctl").args(["-D", &data, "-m", "immediate", "-w", "stop"]).output(); // it may not run
    }
}

fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = std::env::var_os("PG_BIN").map(PathBuf::from).into_iter().collect();
    folders.extend(std::env::split_paths(&path));
    let of_distributions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    folders.extend(of_distributions.map(|version| version.path().join("bin")));
    folders
        .into_iter()
        .find(|folder| ["initdb", "pg_ctl"].iter().all(|program| folder.join(program).is_file()))
}

fn id(arguments: &[&str]) -> u32 {
    let output = Command::new("id").args(arguments).output().unwrap();
    String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
}

fn is_root() -> bool {
    id(&["-u"]) == 0
}

fn postgres() -> (u32, u32) {
    (id(&["-u", "postgres"]), id(&["-g", "postgres"]))
}

fn own(path: &Path) {
    let (user, group) = postgres();
    std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
}
