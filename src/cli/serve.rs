//! `performer serve`.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tracing_subscriber::EnvFilter;

use super::output::{self, Done, Problem};
use crate::orchestrator::local::Local;
use crate::server::{Fault, FirstClient, Server};

/// Serves queues over HTTP, as an Orchestrator does: for the vendor's SDKs, for integrations, for curl, for robots
/// elsewhere.
#[derive(Args)]
#[command(after_help = "\
The first start makes a tenant, the folder Shared, and an application that may do everything; its id and secret are\n\
printed once. For scripts they are given by PERFORMER_CLIENT_ID and PERFORMER_CLIENT_SECRET.\n\n\
Testing your own robot: --strict is as hard as the cloud (only robots are handed items, unknown fields are refused);\n\
--rate-limit 100 answers 429 as the cloud does; --fault makes things go wrong. A fault is OPERATION=WHAT@SHARE:\n  \
  --fault 'StartTransaction=503@10%'        one in ten is answered 503, and nothing is done\n  \
  --fault 'SetTransactionResult=lost@5%'    done, but the connection closes before the answer\n  \
  --fault 'AddQueueItem=done:502@1/20'      done, and answered 502 all the same\n  \
  --fault '*=300ms@50%'                     every second answer comes 300 ms late\n  \
  --fault 'StartTransaction=abandon@5%'     the item is abandoned as soon as it is handed out")]
pub(super) struct Serve {
    /// Where the queues are kept: sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE, or memory: for what may be lost
    #[arg(long, default_value = "sqlite:orchestrator.db", value_name = "URL")]
    store: String,
    /// The address to listen at
    #[arg(long, default_value = "127.0.0.1:8095", value_name = "HOST:PORT")]
    listen: String,
    /// A PEM file with the chain of certificates, for TLS
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// A PEM file with the key of the certificate
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// A proxy stands before this server: it ends TLS, and its X-Forwarded-… headers are believed
    #[arg(long)]
    behind_proxy: bool,
    /// As hard on clients as the cloud: items for robots alone, bodies with unknown fields refused
    #[arg(long)]
    strict: bool,
    /// So many lists of items a minute, as in the cloud (100); more are answered 429
    #[arg(long, value_name = "N")]
    rate_limit: Option<usize>,
    /// Something that goes wrong on purpose (see below); may be given several times
    #[arg(long, value_name = "FAULT")]
    fault: Vec<Fault>,
    /// The largest body of a request, in MiB; bulk adds may have it, others a sixteenth of it
    #[arg(long, default_value_t = 64, value_name = "MIB")]
    max_body: usize,
    /// The most requests under way; more are answered 503
    #[arg(long, default_value_t = 2_000, value_name = "N")]
    max_requests: usize,
    /// The most open connections; more wait
    #[arg(long, default_value_t = 10_000, value_name = "N")]
    max_connections: usize,
    /// How long a request may take, in seconds
    #[arg(long, default_value_t = 30, value_name = "SECONDS")]
    request_timeout: u64,
    /// What is logged, as in info, debug or performer::server::access=info
    #[arg(long, env = "RUST_LOG", default_value = "warn", value_name = "FILTER")]
    log: String,
    /// Logs in JSON, one object a line
    #[arg(long)]
    log_json: bool,
}

impl Serve {
    pub(super) async fn run(self) -> Done {
        self.start_logging()?;
        let addresses: Vec<SocketAddr> = tokio::net::lookup_host(&self.listen)
            .await
            .map_err(|error| Problem::usage(format!("--listen {}: {error}", self.listen)))?
            .collect();
        self.check_safety(&addresses)?;
        // Before anything is made: a first start that fails here would lose the secret that is shown once.
        let listener = TcpListener::bind(&addresses[..])
            .await
            .map_err(|error| Problem::failed(format!("cannot listen at {}: {error}", self.listen)))?;
        let store = Local::open(&self.store).await?;
        let mut builder = Server::builder(store)
            .strict(self.strict)
            .behind_proxy(self.behind_proxy)
            .largest_body(self.max_body.saturating_mul(1024 * 1024))
            .most_requests(self.max_requests)
            .most_connections(self.max_connections)
            .request_limit(Duration::from_secs(self.request_timeout.max(1)));
        if let Some(limit) = self.rate_limit {
            builder = builder.rate_limit(limit);
        }
        for fault in &self.fault {
            builder = builder.fault(fault.clone());
        }
        if let (Some(certificates), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.tls(certificates, key);
        }
        if let Some((id, secret)) = first_from_environment()? {
            builder = builder.first_client(id, secret);
        }
        let server = builder.open().await?;
        let scheme = if self.tls_cert.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        self.greet(&url, server.first_client())?;
        server.serve(listener, stopped()).await?;
        output::remark("performer: stopped");
        Ok(ExitCode::SUCCESS)
    }

    fn start_logging(&self) -> Result<(), Problem> {
        let filter =
            EnvFilter::try_new(&self.log).map_err(|error| Problem::usage(format!("--log: {error}")))?;
        let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
        if self.log_json {
            subscriber.json().init();
        } else {
            subscriber.with_ansi(false).init();
        }
        Ok(())
    }

    /// Tokens and data do not travel in the clear but on this machine.
    fn check_safety(&self, addresses: &[SocketAddr]) -> Result<(), Problem> {
        let is_here = |address: &SocketAddr| match address.ip() {
            IpAddr::V4(ip) => ip.is_loopback(),
            IpAddr::V6(ip) => ip.is_loopback(),
        };
        if addresses.iter().all(is_here) || self.tls_cert.is_some() || self.behind_proxy {
            return Ok(());
        }
        Err(Problem::usage(format!(
            "{} is not only this machine: tokens and data would travel in the clear. Give --tls-cert and --tls-key, or \
             --behind-proxy when a proxy before this server ends TLS",
            self.listen
        )))
    }

    fn greet(&self, url: &str, first: Option<&FirstClient>) -> Result<(), Problem> {
        output::line(format!("performer serves {} at {url}", without_password(&self.store)))?;
        let Some(FirstClient { id, secret }) = first else { return Ok(()) };
        let (shown, secret) = match secret {
            Some(secret) => (format!("{secret}   (shown once)"), secret.as_str()),
            None => ("as in PERFORMER_CLIENT_SECRET".to_owned(), "$PERFORMER_CLIENT_SECRET"),
        };
        output::line(
            "\nThis is its first start. It made the folder Shared and an application that may do everything:",
        )?;
        output::line(format!("  client id      {id}\n  client secret  {shown}"))?;
        output::line(format!(
            "\nTry it:\n  TOKEN=$(curl -s {url}/identity_/connect/token -d grant_type=client_credentials -d client_id={id} \
             --data-urlencode \"client_secret={secret}\" | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n  \
             curl -s {url}/odata/QueueDefinitions -H \"Authorization: Bearer $TOKEN\" -H 'X-UIPATH-FolderPath: Shared'"
        ))?;
        output::line(format!(
            "\nUse it from a program (--url {url}):\n  export UIPATH_CLIENT_ID={id} UIPATH_CLIENT_SECRET={secret} UIPATH_FOLDER_PATH=Shared"
        ))
    }
}

/// The address of a store, as everybody may see it.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((who, host)) => {
            let user = who.split(':').next().unwrap_or_default();
            format!("{scheme}://{user}@{host}{}", &rest[end..])
        }
        None => url.to_owned(),
    }
}

fn first_from_environment() -> Result<Option<(String, String)>, Problem> {
    let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (get("PERFORMER_CLIENT_ID"), get("PERFORMER_CLIENT_SECRET")) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => Err(Problem::usage(
            "PERFORMER_CLIENT_ID and PERFORMER_CLIENT_SECRET belong together: set both or none",
        )),
    }
}

/// Ctrl-C, or what a service manager sends.
async fn stopped() {
    #[cfg(unix)]
    {
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
        if let Ok(mut terminate) = terminate {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
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
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
