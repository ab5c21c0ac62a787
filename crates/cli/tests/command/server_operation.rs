//! The operation of a server: its log, its files, its secrets, its signals.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use performer::jiff::Timestamp;
use performer::model::ManualClock;
use performer::orchestrator::QueueAdministration as _;
use performer::orchestrator::store::Store;
use performer::{NewQueueDefinition, NewQueueItem, Orchestrator as _};

use super::{CLIENT, SECRET, Server, command, done, json, run, text};

/// The monotone time: these tests look at other processes, in real time.
#[expect(clippy::disallowed_methods, reason = "what another process does takes real time")]
fn elapsed() -> std::time::Instant {
    std::time::Instant::now()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// A server whose log goes somewhere, and its URL.
struct Logging {
    child: Child,
    url: String,
    address: String,
}

impl Logging {
    fn start(folder: &Path, arguments: &[&str], log: Stdio) -> Self {
        let mut command = command(folder, &["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).env("PERFORMER_CLIENT_ID", CLIENT).env("PERFORMER_CLIENT_SECRET", SECRET);
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let first = BufReader::new(child.stdout.take().unwrap()).lines().next().unwrap().unwrap();
        let url = first.rsplit(' ').next().unwrap().to_owned();
        let address = url.rsplit('/').next().unwrap().to_owned();
        Self { child, url, address }
    }

    fn stream(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Asks for the status so often, on one connection. Each has to be answered.
    fn ask(&self, times: usize) {
        let mut stream = self.stream();
        for number in 0..times {
            assert_eq!(status(&mut stream), 200, "request {number}");
        }
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }

    /// Whether it ends within a time, and how.
    fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let until = elapsed() + limit;
        while elapsed() < until {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::yield_now();
        }
        None
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        drop((self.child.kill(), self.child.wait()));
    }
}

/// Asks for the status. An answer without a body ends with its head.
fn status(stream: &mut TcpStream) -> u16 {
    stream.write_all(b"GET /api/Status/Get HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let mut byte = [0];
    while !answer.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "the connection was closed: {}", text(&answer));
        answer.push(byte[0]);
    }
    text(&answer).split(' ').nth(1).unwrap().parse().unwrap()
}

/// One line of a server's log after the other.
fn read_log(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<String>> {
    let log = Arc::new(Mutex::new(String::new()));
    let written = log.clone();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = written.lock().unwrap();
            log.push_str(&line);
            log.push('\n');
        }
    });
    log
}

fn wait_for(log: &Mutex<String>, part: &str) {
    let until = elapsed() + Duration::from_secs(20);
    while !log.lock().unwrap().contains(part) {
        assert!(elapsed() < until, "{part} is not in the log:\n{}", log.lock().unwrap());
        std::thread::yield_now();
    }
}

#[test]
fn requests_are_answered_if_the_log_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    let full = || Stdio::from(File::options().write(true).open("/dev/full").unwrap());
    for (case, log) in [("closed", Stdio::piped()), ("not read", Stdio::piped()), ("full", full())] {
        let mut server = Logging::start(folder.path(), &["--log", "info"], log);
        let pipe = server.child.stderr.take().filter(|_| case == "not read");
        server.ask(1_000); // more than a pipe holds
        if case == "full" {
            let metrics = metrics(&server);
            let dropped = metrics.lines().find(|line| line.starts_with("performer_log_lines_dropped_total "));
            let dropped: u64 = dropped.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
            assert!(dropped >= 1_000, "{dropped}");
        }
        server.signal("-TERM");
        assert_eq!(server.ends_within(Duration::from_secs(20)), Some(0), "{case}");
        drop(pipe);
    }
}

fn metrics(server: &Logging) -> String {
    let ask = |head: &str, body: &str| {
        let mut stream = server.stream();
        let length = body.len();
        write!(stream, "{head}\r\nHost: here\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let form: String = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "client_credentials"),
            ("client_id", CLIENT),
            ("client_secret", SECRET),
        ])
        .finish();
    let login = "POST /identity_/connect/token HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded";
    let answer = ask(login, &form);
    let token = answer.split("\"access_token\":\"").nth(1).unwrap_or_else(|| panic!("{answer}"));
    let token = token.split('"').next().unwrap();
    ask(&format!("GET /metrics HTTP/1.1\r\nAuthorization: Bearer {token}"), "")
}

/// Whoever starts a server may read its first line and go away.
#[test]
fn the_server_continues_if_its_stdout_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let mut command = command(folder.path(), &["serve", "--listen", &address]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    drop(child.stdout.take());
    let server = Logging { child, url: format!("http://{address}"), address };
    let until = elapsed() + Duration::from_secs(20);
    while TcpStream::connect(&server.address).is_err() {
        assert!(elapsed() < until, "it does not listen at {}", server.url);
    }
    server.ask(2);
}

#[test]
fn the_database_is_private_and_an_open_one_is_warned_about() {
    let folder = tempfile::tempdir().unwrap();
    let database = folder.path().join("orchestrator.db");
    let server = Server::known(folder.path(), &["--listen", "127.0.0.1:0"]);
    done(server.command(folder.path(), &["queue", "create", "Invoices"]));
    for name in ["orchestrator.db", "orchestrator.db-wal", "orchestrator.db-shm"] {
        assert_eq!(mode(&folder.path().join(name)), 0o600, "{name}");
    }
    assert_eq!(server.stop(), 0);
    let warned = |is_warned: bool| {
        let mut server = Logging::start(folder.path(), &["--log", "warn"], Stdio::piped());
        let log = read_log(server.child.stderr.take().unwrap());
        server.ask(1);
        server.signal("-TERM");
        assert_eq!(server.ends_within(Duration::from_secs(20)), Some(0));
        wait_for(&log, "stopped");
        let log = log.lock().unwrap();
        assert_eq!(log.contains("read by every user") && log.contains("orchestrator.db"), is_warned, "{log}");
    };
    warned(false);
    set_mode(&database, 0o644);
    warned(true);
}

#[test]
fn the_first_secret_goes_to_a_file_that_only_its_owner_reads() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("first.secret");
    let serve = ["serve", "--listen", "127.0.0.1:0", "--first-secret-file", "first.secret"];
    fs::write(&file, "of another").unwrap();
    let refused = run(folder.path(), &serve);
    assert_eq!(refused.status.code(), Some(1), "it is not overwritten: {}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("first.secret"), "{}", text(&refused.stderr));
    fs::remove_file(&file).unwrap();
    let server = Server::start(command(folder.path(), &serve));
    let secret = fs::read_to_string(&file).unwrap();
    assert!(secret.starts_with("pf_") && secret.trim() == secret, "{secret:?}");
    assert_eq!(mode(&file), 0o600);
    let greeting = &server.greeting;
    assert!(!greeting.contains("pf_") && greeting.contains("first.secret"), "{greeting}");
    let pasted: Vec<&str> = lines_after(greeting, "Try it");
    let output = Command::new("sh").args(["-c", &pasted.join("\n")]).output().unwrap();
    assert!(text(&output.stdout).contains("\"value\":[]"), "{greeting} {}", text(&output.stdout));
    // Programs take it from there.
    let id = greeting.split("client id").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let mut list = command(folder.path(), &["queue", "list", "--json"]);
    list.env("PERFORMER_URL", &server.url).env("UIPATH_CLIENT_ID", id).env("UIPATH_FOLDER_PATH", "Shared");
    list.env("UIPATH_CLIENT_SECRET_FILE", &file);
    assert_eq!(json(list), serde_json::json!([]));
    assert_eq!(server.stop(), 0);
    let again = Server::start(command(folder.path(), &serve));
    assert!(!again.greeting.contains("client secret"), "a later start makes no secret: {}", again.greeting);
}

/// The indented lines below a heading.
pub(super) fn lines_after<'a>(greeting: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = greeting.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    lines.take_while(|line| line.starts_with("  ")).collect()
}

#[test]
fn the_store_and_the_secret_are_taken_from_the_environment() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), format!("{SECRET}\n")).unwrap();
    let serve = |secret: &[(&str, &str)]| {
        let mut command = command(folder.path(), &["serve", "--listen", "127.0.0.1:0"]);
        command.env("PERFORMER_STORE", "sqlite:other.db").env("PERFORMER_CLIENT_ID", CLIENT);
        command.envs(secret.iter().copied());
        command
    };
    for (wrong, why) in [
        (&[("PERFORMER_CLIENT_SECRET_FILE", "missing")][..], "missing"),
        (&[("PERFORMER_CLIENT_SECRET_FILE", "secret"), ("PERFORMER_CLIENT_SECRET", SECRET)], "not both"),
        (&[], "or neither"),
    ] {
        let refused = serve(wrong).output().unwrap();
        assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
        assert!(text(&refused.stderr).contains(why), "{}", text(&refused.stderr));
    }
    let server = Server::start(serve(&[("PERFORMER_CLIENT_SECRET_FILE", "secret")]));
    assert!(server.greeting.contains("sqlite:other.db"), "{}", server.greeting);
    done(server.command(folder.path(), &["queue", "create", "Invoices"]));
    let mut access = command(folder.path(), &["access", "list"]);
    access.env("PERFORMER_STORE", "sqlite:other.db");
    assert!(done(access).contains(CLIENT));
    drop(server);
    // The URL of the store may contain a password, so it may be in a file too.
    fs::write(folder.path().join("store"), "sqlite:other.db\n").unwrap();
    let from_file = |arguments: &[&str]| {
        let mut command = command(folder.path(), arguments);
        command.env("PERFORMER_STORE_FILE", "store");
        command
    };
    assert!(done(from_file(&["access", "list"])).contains(CLIENT));
    let server = Server::start(from_file(&["serve", "--listen", "127.0.0.1:0"]));
    assert!(server.greeting.contains("sqlite:other.db"), "{}", server.greeting);
    done(server.command(folder.path(), &["queue", "show", "Invoices"]));
    let mut both = from_file(&["serve", "--listen", "127.0.0.1:0"]);
    let refused = both.env("PERFORMER_STORE", "sqlite:other.db").output().unwrap();
    assert_eq!(refused.status.code(), Some(2), "{}", text(&refused.stderr));
    assert!(text(&refused.stderr).contains("not both"), "{}", text(&refused.stderr));
    // So may the token of a client.
    let form = format!(
        "grant_type=client_credentials&client_id={CLIENT}&client_secret={}",
        SECRET.replace(' ', "+")
    );
    let address = server.url.rsplit('/').next().unwrap();
    let mut login = TcpStream::connect(address).unwrap();
    let length = form.len();
    write!(
        login,
        "POST /identity_/connect/token HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\
                   Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{form}"
    )
    .unwrap();
    let mut answer = String::new();
    login.read_to_string(&mut answer).unwrap();
    let token = answer.split("\"access_token\":\"").nth(1).unwrap().split('"').next().unwrap();
    fs::write(folder.path().join("token"), token).unwrap();
    let mut list = command(folder.path(), &["queue", "list"]);
    list.env("PERFORMER_URL", &server.url).env("UIPATH_FOLDER_PATH", "Shared");
    list.env("UIPATH_ACCESS_TOKEN_FILE", "token");
    assert!(done(list).contains("Invoices"));
    assert!(!folder.path().join("orchestrator.db").exists());
}

/// Items that are past their retention by the time of day. Of a clock that may be ahead nothing is believed; what is
/// removed is told.
#[tokio::test]
async fn retention_waits_for_a_trusted_clock_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("orchestrator.db");
    let open = async |now: Timestamp| {
        Store::sqlite_with_clock(&path, Arc::new(ManualClock::new(now))).await.unwrap()
    };
    let long_ago: Timestamp = "2020-01-01T00:00:00Z".parse().unwrap();
    let store = open(long_ago).await;
    store.create_queue(NewQueueDefinition::new("Invoices")).await.unwrap();
    for number in 0..3 {
        store
            .add_queue_item("Invoices", NewQueueItem::new(serde_json::json!({ "a": number })))
            .await
            .unwrap();
    }
    drop(store);
    for (trusted, told, left) in [
        (&[][..], "held back, because the clock may be ahead", 3),
        (&["--trust-clock"], "items past their retention were removed items=3", 0),
    ] {
        let mut server =
            Logging::start(folder.path(), &[&["--log", "info"], trusted].concat(), Stdio::piped());
        let log = read_log(server.child.stderr.take().unwrap());
        wait_for(&log, told);
        server.signal("-TERM");
        assert_eq!(server.ends_within(Duration::from_secs(20)), Some(0));
        assert_eq!(
            log.lock().unwrap().matches("held back").count(),
            usize::from(left > 0),
            "it is told once"
        );
        assert_eq!(open(long_ago).await.queue_statistics("Invoices").await.unwrap().new, left);
    }
}

/// A certificate for localhost that ends in so many days, and its key.
#[expect(clippy::disallowed_methods, reason = "the server reads the time of day to judge it")]
fn certificate(folder: &Path, days: i64) {
    let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let now = std::time::SystemTime::now();
    let time = |days: i64| {
        let by = Duration::from_secs(days.unsigned_abs() * 86_400);
        (if days < 0 { now - by } else { now + by }).into()
    };
    (params.not_before, params.not_after) = (time(-400), time(days));
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(folder.join("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

const TLS: [&str; 4] = ["--tls-cert", "cert.pem", "--tls-key", "key.pem"];

#[test]
fn a_hangup_reloads_the_certificate() {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), 365);
    set_mode(&folder.path().join("key.pem"), 0o600);
    let mut arguments = vec!["--log", "info"];
    arguments.extend(TLS);
    let mut server = Logging::start(folder.path(), &arguments, Stdio::piped());
    let log = read_log(server.child.stderr.take().unwrap());
    let url = format!("https://localhost:{}", server.url.rsplit(':').next().unwrap());
    let list = |trusted: &Path| {
        let mut list = command(folder.path(), &["queue", "list"]);
        list.env("PERFORMER_URL", &url).env("UIPATH_CLIENT_ID", CLIENT).env("UIPATH_CLIENT_SECRET", SECRET);
        list.env("UIPATH_FOLDER_PATH", "Shared").env("SSL_CERT_FILE", trusted);
        list.output().unwrap().status.success()
    };
    let (old, new) = (folder.path().join("old.pem"), folder.path().join("new.pem"));
    fs::copy(folder.path().join("cert.pem"), &old).unwrap();
    certificate(folder.path(), 365);
    fs::copy(folder.path().join("cert.pem"), &new).unwrap();
    assert!(list(&old) && !list(&new), "nobody has told the server");
    server.signal("-HUP");
    wait_for(&log, "was reloaded");
    assert!(list(&new) && !list(&old));
    // One that cannot be used changes nothing.
    fs::write(folder.path().join("cert.pem"), "nonsense").unwrap();
    server.signal("-HUP");
    wait_for(&log, "stays in use");
    assert!(list(&new));
    assert!(log.lock().unwrap().contains("cert.pem"));
    assert!(!log.lock().unwrap().contains("WARN"), "there was nothing to warn of: {}", log.lock().unwrap());
}

#[test]
fn a_hangup_without_tls_is_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let mut server = Logging::start(folder.path(), &["--log", "info"], Stdio::piped());
    let log = read_log(server.child.stderr.take().unwrap());
    server.signal("-HUP");
    wait_for(&log, "TLS is off");
    server.ask(1);
}

#[test]
fn expired_certificates_and_open_keys_are_warned_about() {
    for (days, mode, expected) in [
        (-1, 0o600, Some("has expired")),
        (10, 0o600, Some("expires soon")),
        (300, 0o644, Some("private key for TLS")),
        (300, 0o640, None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        certificate(folder.path(), days);
        set_mode(&folder.path().join("key.pem"), mode);
        let mut server = Logging::start(folder.path(), &TLS, Stdio::piped());
        let log = read_log(server.child.stderr.take().unwrap());
        server.signal("-TERM");
        assert_eq!(server.ends_within(Duration::from_secs(20)), Some(0));
        wait_for(&log, "stopped");
        let log = log.lock().unwrap();
        assert_eq!(log.matches("WARN").count(), usize::from(expected.is_some()), "{log}");
        assert!(expected.is_none_or(|part| log.contains(part)), "{expected:?}: {log}");
    }
}

#[test]
fn a_second_signal_ends_the_wait_for_requests() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--fault", "Status=25000ms@100%"];
    let mut server = Logging::start(folder.path(), &arguments, Stdio::piped());
    let log = read_log(server.child.stderr.take().unwrap());
    let mut slow = server.stream();
    slow.write_all(b"GET /api/Status/Get HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
    // Another request is answered: so the first has come in.
    let mut other = server.stream();
    other.write_all(b"GET /nothing HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    other.read_to_end(&mut Vec::new()).unwrap();
    let began = elapsed();
    server.signal("-TERM");
    wait_for(&log, "a second signal");
    assert_eq!(server.ends_within(Duration::from_millis(300)), None, "it waits for the request");
    server.signal("-INT");
    assert_eq!(server.ends_within(Duration::from_secs(10)), Some(0));
    assert!(began.elapsed() < Duration::from_secs(15));
}
