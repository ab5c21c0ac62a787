//! `performer serve`.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use super::log::Log;
use super::output::{self, Done, Problem};
use super::up_to;
use crate::orchestrator::private_file::read_secret;
use crate::orchestrator::store::Store;
use crate::server::{Fault, FirstClient, Origin, Server, TrustedProxy};

/// Serves queues over HTTP, as an Orchestrator does: for the vendor's SDKs, for integrations, for curl, for robots
/// elsewhere.
#[derive(Args)]
#[command(after_help = "\
The first start makes a tenant, the folder Shared, and an application that may do everything; its id and secret are\n\
printed once, or the secret is written to --first-secret-file. Scripts give them by PERFORMER_CLIENT_ID and\n\
PERFORMER_CLIENT_SECRET, or PERFORMER_CLIENT_SECRET_FILE, which names a file with the secret.\n\n\
SIGTERM and SIGINT stop it when open requests are finished, a second one at once. SIGHUP reads the certificate and its\n\
key again.\n\n\
Testing your own robot: --strict is as hard as the cloud (only robots are handed items, unknown fields are refused);\n\
--rate-limit 100 answers 429 as the cloud does; --fault makes things go wrong. A fault is OPERATION=WHAT@SHARE:\n  \
  --fault 'StartTransaction=503@10%'        one in ten is answered 503, and nothing is done\n  \
  --fault 'SetTransactionResult=lost@5%'    done, but the connection closes before the answer\n  \
  --fault 'AddQueueItem=done:502@1/20'      done, and answered 502 all the same\n  \
  --fault '*=300ms@50%'                     every second answer comes 300 ms late\n  \
  --fault 'StartTransaction=abandon@5%'     the item is abandoned as soon as it is handed out")]
pub(super) struct Serve {
    /// Where the queues are kept: sqlite:FILE, postgres://USER@HOST/DATABASE (the password in PGPASSFILE or PGPASSWORD),
    /// or memory: for what may be lost
    #[arg(
        long,
        env = "PERFORMER_STORE",
        default_value = "sqlite:orchestrator.db",
        value_name = "URL",
        hide_env_values = true
    )]
    store: String,
    /// A new file for the secret of the first application, which is not printed then; only its owner may read it
    #[arg(long, value_name = "FILE")]
    first_secret_file: Option<PathBuf>,
    /// The clock of this machine is right: what is past its retention is removed at once. Otherwise nothing is until the
    /// clock has been steady for ten minutes, or for an hour after it jumped or the server was stopped for long
    #[arg(long)]
    trust_clock: bool,
    /// The address to listen at
    #[arg(long, default_value = "127.0.0.1:8095", value_name = "HOST:PORT")]
    listen: String,
    /// A PEM file with the chain of certificates, for TLS
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the key of the certificate
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A proxy stands before this server and ends TLS; on this machine, unless --trusted-proxy says where
    #[arg(long)]
    behind_proxy: bool,
    /// Where that proxy is, as in 10.1.2.3 or 10.0.0.0/8; may be given several times. The X-Forwarded-… headers of
    /// other addresses are ignored
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<TrustedProxy>,
    /// As hard on clients as the cloud: items for robots alone, bodies with unknown fields refused
    #[arg(long)]
    strict: bool,
    /// So many lists of items a minute, as in the cloud (100); more are answered 429
    #[arg(long, value_name = "N", value_parser = up_to(1_000_000))]
    rate_limit: Option<usize>,
    /// Something that goes wrong on purpose (see below); may be given several times
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// Pages of this origin may use the server from a browser: https://HOST, http://HOST:PORT, or * for all; may be given
    /// several times
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<Origin>,
    /// The largest body of a request, in MiB; bulk adds may have it, others a sixteenth of it
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = up_to(512))]
    max_body: usize,
    /// How much memory bodies and answers may take, in MiB; a caller alone may have half of it, and more is answered 503
    /// [default: 512, or four times --max-body if that is more]
    #[arg(long, value_name = "MIB")]
    max_memory: Option<usize>,
    /// The most requests under way; more are answered 503
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = up_to(1_000_000))]
    max_requests: usize,
    /// The most open connections; one address alone may have about half of them, and more are answered 503 or closed
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = up_to(1_000_000))]
    max_connections: usize,
    /// How long a request may take, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    request_timeout: u64,
    /// How long one list may be looked for, in seconds; one that takes longer is answered 400
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    list_timeout: u64,
    /// What is logged, as in info, debug or performer::server::access=info
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Logs in JSON, one object a line
    #[arg(long)]
    log_json: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Done {
        let log = self.start_logging()?;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.listen)
            .await
            .map_err(|error| Problem::usage(format!("--listen {}: {error}", self.listen)))?
            .collect();
        self.check_safety(&addresses)?;
        // Before anything is made: a first start that fails here would lose the secret that is shown once.
        let listener = TcpListener::bind(&addresses[..])
            .await
            .map_err(|error| Problem::failed(format!("cannot listen at {}: {error}", self.listen)))?;
        let store = Store::open(&self.store).await?;
        if self.trust_clock {
            store.trust_clock();
        }
        let mut builder = Server::builder(store)
            .log_lines_dropped(log.dropped())
            .strict(self.strict)
            .behind_proxy(self.behind_proxy)
            .largest_body(self.max_body * 1024 * 1024)
            .most_requests(self.max_requests)
            .most_connections(self.max_connections)
            .request_limit(Duration::from_secs(self.request_timeout))
            .list_limit(Duration::from_secs(self.list_timeout));
        if let Some(memory) = self.max_memory {
            builder = builder.memory(memory.saturating_mul(1024 * 1024));
        }
        for origin in &self.cors_origin {
            builder = builder.cors_origin(origin.clone());
        }
        if let Some(limit) = self.rate_limit {
            builder = builder.rate_limit(limit);
        }
        for proxy in &self.trusted_proxy {
            builder = builder.trusted_proxy(*proxy);
        }
        for fault in &self.fault {
            builder = builder.fault(fault.clone());
        }
        if let (Some(certificates), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.tls(certificates, key);
        }
        if let Some((id, secret)) = first_from_environment()? {
            if self.first_secret_file.is_some() {
                return Err(Problem::usage(
                    "--first-secret-file is for a secret that is made here, and PERFORMER_CLIENT_SECRET gives one",
                ));
            }
            builder = builder.first_client(id, secret);
        }
        // Before anything is made, for the same reason.
        let secret_file = match &self.first_secret_file {
            Some(path) if builder.is_first_start().await? => Some((path.as_path(), new_private_file(path)?)),
            _ => None,
        };
        let opened = builder.open().await;
        if let (Err(_), Some((path, _))) = (&opened, &secret_file) {
            let _ = std::fs::remove_file(path); // it is empty, and the next start makes it
        }
        let server = opened?;
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let written =
            secret_file.map(|(path, file)| write_secret(path, file, server.first_client())).transpose()?;
        // Before the greeting: the starting process may send a signal as soon as it has read it.
        let (stop, at_once) = signals(&server, &log);
        self.greet(&url, server.first_client(), written);
        server.serve_until(listener, stop.cancelled_owned(), at_once.cancelled_owned()).await?;
        log.remark("performer: stopped");
        log.finish();
        Ok(ExitCode::SUCCESS)
    }

    /// Panics go to the log too: the standard library would wait for a pipe that is full.
    fn start_logging(&self) -> Result<Log, Problem> {
        let filter =
            EnvFilter::try_new(&self.log).map_err(|error| Problem::usage(format!("--log: {error}")))?;
        let remark = if self.log_json { json_remark } else { plain_remark };
        let log = Log::start(std::io::stderr(), remark)?;
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
        if self.log_json {
            subscriber.json().init();
        } else {
            subscriber.with_ansi(false).init();
        }
        let panics = log.clone();
        std::panic::set_hook(Box::new(move |panic| panics.remark(&panic.to_string())));
        Ok(log)
    }

    /// Tokens and data do not travel in the clear but on this machine.
    fn check_safety(&self, addresses: &[SocketAddr]) -> Result<(), Problem> {
        let is_here = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        let has_proxy = self.behind_proxy || !self.trusted_proxy.is_empty();
        if addresses.iter().all(is_here) || self.tls_cert.is_some() || has_proxy {
            return Ok(());
        }
        Err(Problem::usage(format!(
            "{} is not only this machine: tokens and data would travel in the clear. Give --tls-cert and --tls-key, or \
             --trusted-proxy ADDRESS when a proxy before this server ends TLS",
            self.listen
        )))
    }

    /// Says where it is, and on a first start how to get in. Whoever reads may stop reading: the server goes on.
    fn greet(&self, url: &str, first: Option<&FirstClient>, file: Option<&Path>) {
        let mut text = format!("performer serves {} at {url}\n", without_password(&self.store));
        if let Some(FirstClient { id, secret }) = first {
            // Not as an argument of curl: everybody on this machine sees those.
            let (shown, given) = match (secret, file) {
                (_, Some(file)) => {
                    (format!("in {}", file.display()), format!("client_secret@{}", quoted(file)))
                }
                (Some(secret), None) => (format!("{secret}   (shown once)"), "client_secret@-".to_owned()),
                (None, None) => ("as it was given".to_owned(), "client_secret@-".to_owned()),
            };
            let (put, from) = if file.is_some() {
                ("", "")
            } else {
                (" with the secret in UIPATH_CLIENT_SECRET", FROM_ENVIRONMENT)
            };
            let keep = match file {
                Some(file) => format!("UIPATH_CLIENT_SECRET_FILE={}", quoted(file)),
                None => "UIPATH_CLIENT_SECRET".to_owned(),
            };
            text.push_str(&format!(
                "\nThis is its first start. It made the folder Shared and an application that may do everything:\n  \
                 client id      {id}\n  client secret  {shown}\n\n\
                 Try it{put}:\n  \
                 TOKEN=$({from}curl -s {url}/identity_/connect/token -d grant_type=client_credentials -d client_id={id} \
                 --data-urlencode {given} | sed 's/.*\"access_token\":\"\\([^\"]*\\).*/\\1/')\n  \
                 curl -s {url}/odata/QueueDefinitions -H \"Authorization: Bearer $TOKEN\" -H 'X-UIPATH-FolderPath: Shared'\n\n\
                 Use it from a program (--url {url}):\n  \
                 export UIPATH_CLIENT_ID={id} UIPATH_FOLDER_PATH=Shared {keep}\n"
            ));
        }
        let mut out = std::io::stdout().lock();
        if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            tracing::warn!(%error, "the greeting could not be written");
        }
    }
}

/// Gives curl the secret on its standard input.
const FROM_ENVIRONMENT: &str = "printf %s \"${UIPATH_CLIENT_SECRET:-$PERFORMER_CLIENT_SECRET}\" | ";

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// A line of the log that no subscriber formats.
fn plain_remark(text: &str) -> String {
    format!("{}\n", output::printable(text))
}

/// A remark as one JSON object, for `--log-json`.
fn json_remark(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "target": "performer", "fields": { "message": text } }))
}

/// A new file that only its owner may read.
fn new_private_file(path: &Path) -> Result<File, Problem> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| Problem::failed(format!("--first-secret-file {}: {error}", path.display())))
}

/// Writes the secret that this start made, if it made one.
fn write_secret<'a>(
    path: &'a Path,
    mut file: File,
    first: Option<&FirstClient>,
) -> Result<&'a Path, Problem> {
    let secret = first.and_then(|first| first.secret.as_deref()).unwrap_or_default();
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| Problem::failed(format!("--first-secret-file {}: {error}", path.display())))?;
    Ok(path)
}

/// The address of a store, as everybody may see it.
fn without_password(url: &str) -> String {
    let (url, query) = url.split_once('?').map_or((url, None), |(url, query)| (url, Some(query)));
    let is_shown = |pair: &&str| !pair.starts_with("password=");
    let query = query.map_or_else(Vec::new, |query| query.split('&').filter(is_shown).collect());
    let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
    let Some((scheme, rest)) = url.split_once("://") else { return format!("{url}{query}") };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}{}{query}", &rest[end..])
        }
        None => format!("{url}{query}"),
    }
}

fn first_from_environment() -> Result<Option<(String, String)>, Problem> {
    const FILE: &str = "PERFORMER_CLIENT_SECRET_FILE";
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let secret = match (get("PERFORMER_CLIENT_SECRET"), get(FILE)) {
        (Some(_), Some(_)) => {
            return Err(Problem::usage(format!("set PERFORMER_CLIENT_SECRET or {FILE}, not both")));
        }
        (None, Some(path)) => {
            Some(read_secret(FILE, &path).map_err(|error| Problem::usage(error.to_string()))?)
        }
        (secret, None) => secret,
    };
    match (get("PERFORMER_CLIENT_ID"), secret) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(Problem::usage(
            "PERFORMER_CLIENT_ID and PERFORMER_CLIENT_SECRET (or PERFORMER_CLIENT_SECRET_FILE) belong together: set both \
             or none",
        )),
    }
}

/// Answers signals: the first Ctrl-C or SIGTERM stops the server, the second ends its wait for open requests. SIGHUP reads
/// the certificate again.
fn signals(server: &Server, log: &Log) -> (CancellationToken, CancellationToken) {
    let (stop, at_once) = (CancellationToken::new(), CancellationToken::new());
    let (stopped, ended, log) = (stop.clone(), at_once.clone(), log.clone());
    // Before the task: a signal that comes at once is not lost.
    let mut terminations = Terminations::new();
    tokio::spawn(async move {
        terminations.next().await;
        log.remark("performer: stops when open requests are finished; a second signal ends that");
        stopped.cancel();
        terminations.next().await;
        ended.cancel();
    });
    #[cfg(unix)]
    if let Ok(mut hangups) = signal(SignalKind::hangup()) {
        let server = server.clone();
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                match server.reload_certificates() {
                    Ok(true) => tracing::info!("the certificate for TLS was read again"),
                    Ok(false) => tracing::info!("there is no TLS, and nothing to read again"),
                    Err(error) => {
                        tracing::error!(%error, "the certificate for TLS that was read before stays in use");
                    }
                }
            }
        });
    }
    #[cfg(not(unix))]
    let _ = server;
    (stop, at_once)
}

/// Ctrl-C, and what a service manager sends.
struct Terminations {
    #[cfg(unix)]
    terminate: Option<Signal>,
    #[cfg(unix)]
    interrupt: Option<Signal>,
}

#[cfg(unix)]
impl Terminations {
    fn new() -> Self {
        Self {
            terminate: signal(SignalKind::terminate()).ok(),
            interrupt: signal(SignalKind::interrupt()).ok(),
        }
    }

    async fn next(&mut self) {
        async fn of(signal: &mut Option<Signal>) {
            match signal {
                Some(signal) => drop(signal.recv().await),
                None => std::future::pending().await,
            }
        }
        tokio::select! {
            () = of(&mut self.terminate) => {}
            () = of(&mut self.interrupt) => {}
        }
    }
}

#[cfg(not(unix))]
impl Terminations {
    fn new() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("sqlite:orchestrator.db", "sqlite:orchestrator.db"),
            ("postgres://ann:s3cret@host:5432/db?schema=x", "postgres://ann@host:5432/db?schema=x"),
            ("postgres://ann:p@ss@host/db", "postgres://ann@host/db"),
            ("postgres://host/db", "postgres://host/db"),
            ("postgres://host/db?user=ann&password=s3cret&schema=x", "postgres://host/db?user=ann&schema=x"),
            ("postgres://host/db?password=s3cret", "postgres://host/db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
