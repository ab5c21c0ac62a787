//! `performer serve`: runs the Orchestrator server.

use std::fs::File;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::environment::text_of;
use super::log::Log;
use super::output::{self, CliError, CommandResult};
use super::signals::Signals;
use super::store_url::StoreUrl;
use super::up_to;
use performer_core::model::alert::DEFAULT_ALERT_DAYS;
use performer_core::model::log::{DEFAULT_LOG_DAYS, DEFAULT_MAX_LINES};
use performer_core::private_file::read_secret;
use performer_server::{DeskMode, Fault, FirstClient, Origin, Server, ServerBuilder, TrustedProxy};
use performer_store::{FileStorage, STORAGE_VARIABLE, Store};

/// Serve queues over HTTP with the API of an Orchestrator
///
/// The server works with the vendor's SDKs, with integrations, with curl, and with robots on other machines.
#[derive(Args)]
#[command(after_help = "\
The first start creates a tenant, the folder Shared, and an application with all permissions. Its id and secret are\n\
printed once, or the secret is written to --first-secret-file. Scripts can set them with PERFORMER_CLIENT_ID and\n\
PERFORMER_CLIENT_SECRET, or with PERFORMER_CLIENT_SECRET_FILE, a file that contains the secret. In the same way,\n\
PERFORMER_STORE_FILE is a file that contains the URL of the store.\n\n\
SIGTERM and SIGINT stop the server after the open requests; a second signal stops it at once. SIGHUP reloads the\n\
certificate and its key.\n\n\
To test a robot: --strict is as strict as the cloud (only robots are handed items, unknown fields are refused);\n\
--rate-limit 100 answers 429 as the cloud does; --fault injects faults. A fault is OPERATION=FAULT@SHARE:\n  \
  --fault 'StartTransaction=503@10%'        every tenth call is answered 503 and not executed\n  \
  --fault 'SetTransactionResult=lost@5%'    executed, but the connection is closed before the answer\n  \
  --fault 'AddQueueItem=done:502@1/20'      executed, but answered 502\n  \
  --fault '*=300ms@50%'                     every second answer is delayed by 300 ms\n  \
  --fault 'StartTransaction=abandon@5%'     the item is abandoned as soon as it is handed out")]
pub(super) struct Serve {
    #[command(flatten)]
    store: StoreUrl,
    /// Write the secret of the first application to this new file, readable only by its owner, instead of printing it
    #[arg(long, value_name = "FILE")]
    first_secret_file: Option<PathBuf>,
    /// Trust the clock of this machine, and remove items past their retention at once. Otherwise nothing is removed until the
    /// clock has been steady for ten minutes, or for an hour after a jump or a long stop of the server
    #[arg(long)]
    trust_clock: bool,
    /// The address to listen on
    #[arg(long, default_value = "127.0.0.1:8095", value_name = "HOST:PORT")]
    listen: String,
    /// The PEM file with the certificate chain for TLS
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// The PEM file with the private key of the certificate
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Expect a reverse proxy that terminates TLS, on this machine unless --trusted-proxy is given
    #[arg(long)]
    behind_proxy: bool,
    /// The address or network of the proxy, such as 10.1.2.3 or 10.0.0.0/8; can be repeated. X-Forwarded-… headers from other
    /// addresses are ignored
    #[arg(long, value_name = "ADDRESS")]
    trusted_proxy: Vec<TrustedProxy>,
    /// Be as strict as the cloud: hand items only to robots, and refuse bodies with unknown fields
    #[arg(long)]
    strict: bool,
    /// The maximum number of item lists per minute (100 in the cloud); more are answered 429
    #[arg(long, value_name = "N", value_parser = up_to(1_000_000))]
    rate_limit: Option<usize>,
    /// A fault to inject (see below); can be repeated
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// Allow web pages of this origin to call the server: https://HOST, http://HOST:PORT, or * for all; can be repeated
    #[arg(long, value_name = "ORIGIN")]
    cors_origin: Vec<Origin>,
    /// The maximum size of a bulk request's body, in MiB; other bodies are limited to a sixteenth of it
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = up_to(512))]
    max_body: usize,
    /// The memory for bodies and answers, in MiB; one caller may use half of it, and more is answered 503 [default: 512, or
    /// four times --max-body if that is more]
    #[arg(long, value_name = "MIB")]
    max_memory: Option<usize>,
    /// The maximum number of concurrent requests; more are answered 503
    #[arg(long, default_value_t = 2_000, value_name = "N", value_parser = up_to(1_000_000))]
    max_requests: usize,
    /// The maximum number of connections; one address may have about half of them, and more are answered 503 or closed
    #[arg(long, default_value_t = 10_000, value_name = "N", value_parser = up_to(1_000_000))]
    max_connections: usize,
    /// The time limit for a request, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    request_timeout: u64,
    /// The time limit for the search of a list, in seconds; a longer one is answered 400
    #[arg(long, default_value_t = 10, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    list_timeout: u64,
    /// For how many days lines of robot logs are kept
    #[arg(long, default_value_t = DEFAULT_LOG_DAYS, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_logs: u32,
    /// The maximum number of lines of robot logs; the oldest are removed first
    #[arg(long, default_value_t = DEFAULT_MAX_LINES, value_name = "N")]
    max_log_lines: u64,
    /// For how many days alerts are kept; of more than 10,000 the oldest are removed
    #[arg(long, default_value_t = DEFAULT_ALERT_DAYS, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=36_500))]
    keep_alerts: u32,
    /// The desk, pages for the people who look after failed work, under /desk: with all that their permissions allow (on), to look
    /// only (read-only), or not at all (off)
    #[arg(long, default_value = "on", value_name = "on|read-only|off")]
    desk: DeskMode,
    /// Send events to webhooks at addresses of this machine and of its network too, and not only of the public internet. Users with the
    /// permission Webhooks.Create or Webhooks.Edit can then have requests sent to every address that this machine reaches
    /// Where the files of storage buckets are: a folder, or, where the command is built for it, s3://…, az://… or gs://…
    /// [default: beside a SQLite file the folder of its name and .buckets]
    #[arg(long, env = STORAGE_VARIABLE, value_name = "URL")]
    buckets: Option<String>,
    /// The maximum size of a file of a storage bucket, in MiB
    #[arg(long, default_value_t = 4_096, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=5_242_880))]
    max_file: u64,
    /// Send events to webhooks at addresses of this machine and of its network too, and not only of the public internet: whoever may make
    /// webhooks can then have requests sent to whatever this machine reaches
    #[arg(long)]
    webhooks_allow_private: bool,
    /// The log filter, such as info, debug or performer_server::access=info
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Log in JSON, one object per line
    #[arg(long)]
    log_json: bool,
}

impl Serve {
    pub(super) async fn run(self) -> CommandResult {
        let log = start_logging(&self.log, self.log_json)?;
        let store_url = self.store.get()?;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.listen)
            .await
            .map_err(|error| CliError::usage(format!("--listen {}: {error}", self.listen)))?
            .collect();
        self.check_encryption(&addresses)?;
        // Before anything is created: if a first start failed here afterwards, its secret would be lost.
        let listener = TcpListener::bind(&addresses[..])
            .await
            .map_err(|error| CliError::failed(format!("cannot listen on {}: {error}", self.listen)))?;
        let mut store = Store::open(&store_url).await?;
        if let Some(url) = &self.buckets {
            store = store.with_files(FileStorage::open(url)?);
        }
        if self.trust_clock {
            store.trust_clock();
        }
        let mut builder = self.configure(Server::builder(store).log_lines_dropped(log.dropped()));
        if let Some((id, secret)) = first_client_from_environment()? {
            if self.first_secret_file.is_some() {
                return Err(CliError::usage(
                    "--first-secret-file cannot be used with PERFORMER_CLIENT_SECRET, which sets the secret",
                ));
            }
            builder = builder.first_client(id, secret);
        }
        // Before anything is created, for the same reason.
        let secret_file = match &self.first_secret_file {
            Some(path) if builder.is_first_start().await? => Some((path.as_path(), new_private_file(path)?)),
            _ => None,
        };
        let opened = builder.open().await;
        if let (Err(_), Some((path, _))) = (&opened, &secret_file) {
            let _ = std::fs::remove_file(path); // it is empty, and the next start must be able to create it
        }
        let server = opened?;
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let written =
            secret_file.map(|(path, file)| write_secret(path, file, server.first_client())).transpose()?;
        // Before the greeting, because the parent process may send a signal as soon as it has read that.
        let signals = handle_signals(&server, &log)?;
        self.greet(&store_url, &url, server.first_client(), written);
        let (stop, force) = (signals.stop.cancelled_owned(), signals.force.cancelled_owned());
        server.serve_until(listener, stop, force).await?;
        log.remark("performer: stopped");
        log.finish();
        Ok(ExitCode::SUCCESS)
    }

    /// Sets the options of the command line.
    fn configure(&self, builder: ServerBuilder) -> ServerBuilder {
        let mut builder = builder
            .strict(self.strict)
            .behind_proxy(self.behind_proxy)
            .desk(self.desk)
            .webhooks_allow_private(self.webhooks_allow_private)
            .largest_file(self.max_file * 1024 * 1024)
            .largest_body(self.max_body * 1024 * 1024)
            .most_requests(self.max_requests)
            .most_connections(self.max_connections)
            .request_limit(Duration::from_secs(self.request_timeout))
            .list_limit(Duration::from_secs(self.list_timeout))
            .keep_logs(self.keep_logs, self.max_log_lines)
            .keep_alerts(self.keep_alerts);
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
        builder
    }

    /// Refuses to serve other machines without encryption.
    fn check_encryption(&self, addresses: &[SocketAddr]) -> Result<(), CliError> {
        let is_here = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        let has_proxy = self.behind_proxy || !self.trusted_proxy.is_empty();
        if addresses.iter().all(is_here) || self.tls_cert.is_some() || has_proxy {
            return Ok(());
        }
        Err(CliError::usage(format!(
            "{} can be reached from other machines, and tokens and data would be sent unencrypted; use --tls-cert and \
             --tls-key, or --trusted-proxy ADDRESS if a proxy terminates TLS",
            self.listen
        )))
    }

    /// Prints the URL and, on the first start, the credentials. The server continues if stdout is closed.
    fn greet(&self, store: &str, url: &str, first: Option<&FirstClient>, file: Option<&Path>) {
        let mut text = format!("performer serves {} at {url}\n", without_password(store));
        text.push_str(&self.desk_line(url));
        if let Some(FirstClient { id, secret }) = first {
            // The secret must not be an argument of curl, which every user of the machine can see.
            let (shown, given) = match (secret, file) {
                (_, Some(file)) => {
                    (format!("in {}", file.display()), format!("client_secret@{}", quoted(file)))
                }
                (Some(secret), None) => (format!("{secret}   (shown once)"), "client_secret@-".to_owned()),
                (None, None) => ("as given".to_owned(), "client_secret@-".to_owned()),
            };
            let (put, from) = if file.is_some() {
                ("", "")
            } else {
                (" with the secret in UIPATH_CLIENT_SECRET", SECRET_FROM_ENVIRONMENT)
            };
            let keep = match file {
                Some(file) => format!("UIPATH_CLIENT_SECRET_FILE={}", quoted(file)),
                None => "UIPATH_CLIENT_SECRET".to_owned(),
            };
            text.push_str(&format!(
                "\nThe first start created the folder Shared and an application with all permissions:\n  \
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

    /// The line that says where the desk is, and who can sign in.
    fn desk_line(&self, url: &str) -> String {
        let mode = match self.desk {
            DeskMode::Off => return String::new(),
            DeskMode::ReadOnly => ", read-only",
            DeskMode::On => "",
        };
        format!(
            "The desk{mode}: {url}/desk (for users with a password, see performer access add-user; and for applications with all scopes)\n"
        )
    }
}

/// Starts the log. Panics are logged too, because the standard library would block on a full pipe.
pub(super) fn start_logging(filter: &str, is_json: bool) -> Result<Log, CliError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| CliError::usage(format!("--log: {error}")))?;
    let remark = if is_json { json_remark } else { plain_remark };
    let log = Log::start(std::io::stderr(), remark)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(log.clone());
    if is_json {
        subscriber.json().init();
    } else {
        subscriber.with_ansi(false).init();
    }
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |panic| panics.remark(&panic.to_string())));
    Ok(log)
}

/// A shell command that passes the secret to curl on its standard input.
const SECRET_FROM_ENVIRONMENT: &str = "printf %s \"${UIPATH_CLIENT_SECRET:-$PERFORMER_CLIENT_SECRET}\" | ";

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string();
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    if path.chars().all(is_plain) { path } else { format!("'{}'", path.replace('\'', "'\\''")) }
}

/// Formats a text as a line of the plain log.
fn plain_remark(text: &str) -> String {
    format!("{}\n", output::printable(text))
}

/// Formats a text as a line of the JSON log.
fn json_remark(text: &str) -> String {
    format!("{}\n", serde_json::json!({ "target": "performer", "fields": { "message": text } }))
}

/// Creates a file that only its owner may read.
fn new_private_file(path: &Path) -> Result<File, CliError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| CliError::failed(format!("--first-secret-file {}: {error}", path.display())))
}

/// Writes the secret that this start has created.
fn write_secret<'a>(
    path: &'a Path,
    mut file: File,
    first: Option<&FirstClient>,
) -> Result<&'a Path, CliError> {
    let secret = first.and_then(|first| first.secret.as_deref()).unwrap_or_default();
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| CliError::failed(format!("--first-secret-file {}: {error}", path.display())))?;
    Ok(path)
}

/// The URL of a store without its password.
pub(super) fn without_password(url: &str) -> String {
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

fn first_client_from_environment() -> Result<Option<(String, String)>, CliError> {
    const FILE: &str = "PERFORMER_CLIENT_SECRET_FILE";
    let get = |name: &str| text_of(name, std::env::var_os(name));
    let secret = match (get("PERFORMER_CLIENT_SECRET")?, get(FILE)?) {
        (Some(_), Some(_)) => {
            return Err(CliError::usage(format!("set PERFORMER_CLIENT_SECRET or {FILE}, not both")));
        }
        (None, Some(path)) => {
            Some(read_secret(FILE, &path).map_err(|error| CliError::usage(error.to_string()))?)
        }
        (secret, None) => secret,
    };
    match (get("PERFORMER_CLIENT_ID")?, secret) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(CliError::usage(
            "set both PERFORMER_CLIENT_ID and PERFORMER_CLIENT_SECRET (or PERFORMER_CLIENT_SECRET_FILE), or neither",
        )),
    }
}

/// Handles the signals of a server: see [`Signals`].
fn handle_signals(server: &Server, log: &Log) -> Result<Signals, CliError> {
    let (server, log) = (server.clone(), log.clone());
    let on_stop =
        move || log.remark("performer: stopping after the open requests; a second signal stops at once");
    let on_hangup = move || match server.reload_certificates() {
        Ok(true) => tracing::info!("the TLS certificate was reloaded"),
        Ok(false) => tracing::info!("TLS is off; there is no certificate to reload"),
        Err(error) => {
            tracing::error!(%error, "the TLS certificate could not be reloaded; the old one stays in use");
        }
    };
    Signals::handle(on_stop, on_hangup)
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
