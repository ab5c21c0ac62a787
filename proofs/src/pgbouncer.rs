//! A PgBouncer in front of the database of the tests, which ends with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

/// The number of connections to the database that its clients share.
pub const SERVERS: usize = 3;

pub struct PgBouncer {
    child: Child,
    folder: tempfile::TempDir,
    port: u16,
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where distributions put it, and where the path of a user often does not lead.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join("pgbouncer")).find(|program| program.is_file())
}

impl PgBouncer {
    /// Starts it for the database of this URL; `mode` is its `pool_mode`.
    ///
    /// # Panics
    ///
    /// Without PgBouncer: a test that did nothing would count as one that passed.
    pub async fn start(url: &str, mode: &str) -> Self {
        let program = program().expect(
            "pgbouncer is not installed, so nothing shows that a pool works; install it with your package manager, or run \
             scripts/test",
        );
        let server: tokio_postgres::Config =
            url.split('?').next().unwrap().parse().expect("a URL of a database");
        let tokio_postgres::config::Host::Tcp(host) = &server.get_hosts()[0] else { panic!("a host") };
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let password = server
            .get_password()
            .map(|password| format!(" password='{}'", String::from_utf8_lossy(password).replace('\'', "''")));
        let config = format!(
            "[databases]\n\
             pooled = host={host} port={server_port} dbname={database} user={user}{password}\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = any\npool_mode = {mode}\ndefault_pool_size = {size}\nmax_client_conn = 200\n",
            server_port = server.get_ports().first().unwrap_or(&5432),
            database = server.get_dbname().unwrap_or("postgres"),
            user = server.get_user().expect("a URL with a user"),
            password = password.unwrap_or_default(),
            size = if mode == "session" { 20 } else { SERVERS },
        );
        let path = folder.path().join("pgbouncer.ini");
        std::fs::write(&path, config).unwrap();
        let mut command = Command::new(program);
        // It refuses to run as root, and then has to read its file as somebody else.
        if is_root() {
            for path in [folder.path(), &path] {
                let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
                std::fs::set_permissions(path, mode).unwrap();
            }
            command.args(["-u", "nobody"]);
        }
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        command.arg(&path).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut this = Self { child: command.spawn().unwrap(), folder, port };
        let until = Instant::now() + Duration::from_secs(10);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = this.child.try_wait().unwrap();
            assert!(ended.is_none() && Instant::now() < until, "pgbouncer does not start: {}", this.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        this
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The URL of a schema through it.
    pub fn url(&self, schema: &str) -> String {
        format!("{}?schema={schema}", self.plain_url())
    }

    pub fn plain_url(&self) -> String {
        format!("postgres://anybody@127.0.0.1:{}/pooled", self.port)
    }
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
    }
}
