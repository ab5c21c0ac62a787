//! The address of a database: the URL, as libpq reads it, and our own options.
//!
//! `postgres://user@host:port/database?sslmode=verify-full&schema=performer&writers=2&batch=128`

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config};

use super::{error, pass_file, pooler};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The default schema of the tables.
const SCHEMA: &str = "performer";

/// The default and the largest number of transactions that write at the same time.
const WRITERS: usize = 2;
const MAX_WRITERS: usize = 16;

/// The default and the largest number of operations that have to wait before a transaction is begun beside another one.
/// A robot reports and claims, which is two operations. Measured on two cores: two processes with 64 robots each do
/// half as much again with one transaction each as with two of half the size; one process alone does a tenth more with
/// two.
const BATCH: usize = 128;
const MAX_BATCH: usize = 4_096;

/// The longest name in PostgreSQL, in bytes.
const MAX_NAME_LENGTH: usize = 63;

/// The default time limit for reaching one host (`connect_timeout`). Short, because the first of several hosts may be
/// the one that is down.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The default time limit for connecting to a host, login included (`connect_timeout`); shorter if there are other
/// hosts to try.
const LIMIT: Duration = Duration::from_secs(10);
const LIMIT_OF_SEVERAL: Duration = Duration::from_secs(3);

/// After so long without an acknowledgement the host counts as gone, unless the URL says otherwise
/// (`tcp_user_timeout`). Without it a host that vanishes (power, network) is waited for as long as for a statement.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// When idle connections are probed, how often, and how many times (`keepalives_idle` and the like).
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);

/// How the certificate of a server is checked (libpq's `sslmode`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// No TLS.
    NoTls,
    /// At best encrypted, without a check of the certificate: `allow`, `prefer`, and `require` without `sslrootcert`.
    Anybody,
    /// The certificate must be signed by a known authority. `checks_name`: and be for the host's name.
    Authorities { root: Option<PathBuf>, checks_name: bool },
}

/// A database, and a schema in it.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    schema: String,
    writers: usize,
    batch: usize,
    trust: Trust,
    /// Whether to use TLS: the modes to try at each host, in this order.
    tries: &'static [SslMode],
    /// Time limit for each host.
    limit: Duration,
    /// Index of the host that was connected to last.
    last_host: Arc<AtomicUsize>,
}

/// Without the password.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the database {}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Address {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// Invalid. The message does not repeat the URL, which may contain a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut schema, mut sslmode, mut roots) = (SCHEMA.to_owned(), None, None);
        let (mut writers, mut batch) = (WRITERS, BATCH);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "schema" => schema = value.to_owned(),
                "writers" => writers = number(name, value, MAX_WRITERS)?,
                "batch" => batch = number(name, value, MAX_BATCH)?,
                "sslmode" => sslmode = Some(value),
                "sslrootcert" => roots = Some(value),
                // Each host is asked whether it is writable, which is what `primary` means.
                "target_session_attrs" if value == "primary" => {}
                _ => rest.push(pair),
            }
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > MAX_NAME_LENGTH || !schema.chars().all(is_name) {
            return Err(invalid(format!(
                "schema {schema:?} is no name: it has 1 to {MAX_NAME_LENGTH} small letters, digits and underscores"
            )));
        }
        // Authorities that are named are checked, as in libpq also with `require`; and with those of the system, who
        // vouch for anybody, the host's name has to be checked too.
        let of_system = roots == Some("system");
        let root = roots.filter(|_| !of_system).map(PathBuf::from);
        let sslmode = sslmode.unwrap_or(if of_system { "verify-full" } else { "prefer" });
        let (trust, tries): (_, &[_]) = match sslmode {
            "disable" => (Trust::NoTls, &[SslMode::Disable]),
            "allow" => (Trust::Anybody, &[SslMode::Disable, SslMode::Require]),
            "prefer" => (Trust::Anybody, &[SslMode::Prefer, SslMode::Disable]),
            "require" if root.is_none() => (Trust::Anybody, &[SslMode::Require]),
            "require" | "verify-ca" => (Trust::Authorities { root, checks_name: false }, &[SslMode::Require]),
            "verify-full" => (Trust::Authorities { root, checks_name: true }, &[SslMode::Require]),
            other => {
                return Err(invalid(format!(
                    "sslmode {other:?} is unknown; it is disable, allow, prefer, require, verify-ca or verify-full"
                )));
            }
        };
        if of_system && sslmode != "verify-full" {
            return Err(invalid(format!(
                "sslmode {sslmode} is too weak for sslrootcert=system, whose authorities vouch for anybody: say verify-full"
            )));
        }
        let says = |name: &str| rest.iter().any(|pair| pair.starts_with(name));
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = url.parse().map_err(|error| {
            invalid(
                "this is no address of PostgreSQL; write postgres://user@host/database, and the password in PGPASSFILE or PGPASSWORD".to_owned(),
            )
            .with_source(error)
        })?;
        // A password need not be in the URL.
        if config.get_password().is_none()
            && let Some(password) = std::env::var("PGPASSWORD").ok().or_else(|| pass_file::password(&config))
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("performer");
        }
        let several = config.get_hosts().len().max(config.get_hostaddrs().len()) > 1;
        let limit = if several { LIMIT_OF_SEVERAL } else { LIMIT };
        let limit = config.get_connect_timeout().copied().unwrap_or(limit);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT);
        }
        if !says("tcp_user_timeout") {
            config.tcp_user_timeout(USER_TIMEOUT);
        }
        if !says("keepalives") {
            let (idle, interval, retries) = KEEPALIVE;
            config.keepalives_idle(idle).keepalives_interval(interval).keepalives_retries(retries);
        }
        // Of several hosts the one that is writable.
        if several {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, schema, writers, batch, trust, tries, limit, last_host: Arc::default() })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// How many connections write at the same time.
    pub(super) fn writers(&self) -> usize {
        self.writers
    }

    /// How many operations have to wait before a transaction is begun beside another one.
    pub(super) fn batch(&self) -> usize {
        self.batch
    }

    /// The schema, quoted for statements. It contains no character that has to be escaped.
    pub(super) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) fn trust(&self) -> &Trust {
        &self.trust
    }

    pub(super) fn tries(&self) -> &'static [SslMode] {
        self.tries
    }

    pub(super) fn last_host(&self) -> &AtomicUsize {
        &self.last_host
    }

    pub(super) fn limit(&self) -> Duration {
        self.limit
    }

    /// The notification channel of the schema.
    pub(super) fn channel(&self) -> String {
        format!("performer_{}", self.schema)
    }

    /// Connects. The connection is driven by the runtime that this is called on.
    pub(super) async fn connect(&self) -> Result<Client> {
        let (client, connection) = self.open().await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Listens until the connection ends. Calls `heard` for each notification, with the process that sent it and its
    /// payload, and once with `None` when it begins to listen.
    pub(super) async fn listen(&self, heard: impl Fn(Option<(i32, &str)>) + Send + Sync) -> Result<()> {
        let (client, mut connection) = self.open().await?;
        let failed = |error| error::explain(error, self);
        let messages = async {
            while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let tokio_postgres::AsyncMessage::Notification(said) = message.map_err(failed)? {
                    heard(Some((said.process_id(), said.payload())));
                }
            }
            Ok(())
        };
        let sql = format!("LISTEN \"{}\"", self.channel());
        let listening = async {
            let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await.map_err(failed)?;
            if pooler::is_pooled(&client, row.get(0)).await.map_err(failed)? {
                let message = format!("{self} is behind a proxy, which cannot be listened through");
                return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
            }
            client.batch_execute(&sql).await.map_err(failed)?;
            heard(None); // to look once for what happened before
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            ended = messages => ended,
            failed = listening => failed,
        }
    }
}

/// An option that is a number from 1 to `most`.
fn number(name: &str, text: &str, most: usize) -> Result<usize> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| invalid(format!("{name} {text:?} is no number from 1 to {most}")))
}

fn invalid(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_parsed_into_address_and_trust() {
        let read = |url: &str| Address::parse(url).unwrap();
        let plain = read("postgres://u:p@h/d");
        assert_eq!((plain.schema(), &plain.trust), ("performer", &Trust::Anybody));
        assert_eq!(plain.tries, [SslMode::Prefer, SslMode::Disable]);
        let full =
            read("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/a/b.pem&schema=x_1&connect_timeout=3");
        assert_eq!(full.trust, Trust::Authorities { root: Some("/a/b.pem".into()), checks_name: true });
        assert_eq!((full.schema(), full.tries), ("x_1", &[SslMode::Require][..]));
        let system = read("postgres://h/d?sslrootcert=system");
        assert_eq!(system.trust, Trust::Authorities { root: None, checks_name: true });
        let named = read("postgres://h/d?sslmode=require&sslrootcert=/a.pem");
        assert_eq!(named.trust, Trust::Authorities { root: Some("/a.pem".into()), checks_name: false });
        assert_eq!(read("postgres://h/d?sslmode=disable").trust, Trust::NoTls);
        let encrypted = read("postgres://h/d?sslmode=require");
        assert_eq!((encrypted.trust, encrypted.tries), (Trust::Anybody, &[SslMode::Require][..]));
        let two = read("postgres://a,b/d");
        assert_eq!(two.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let ports = read("postgres://a:1,b:2/d?target_session_attrs=read-write");
        assert_eq!((ports.config.get_hosts().len(), ports.config.get_ports()), (2, &[1, 2][..]));
    }

    #[test]
    fn a_vanished_host_is_not_waited_for_by_default() {
        let said = |url: &str| {
            let config = Address::parse(url).unwrap().config;
            let idle = config.get_keepalives_idle();
            (config.get_connect_timeout().copied(), config.get_tcp_user_timeout().copied(), idle)
        };
        assert_eq!(said("postgres://h/d"), (Some(CONNECT_TIMEOUT), Some(USER_TIMEOUT), KEEPALIVE.0));
        let seconds = Duration::from_secs;
        let limit = |url: &str| Address::parse(url).unwrap().limit;
        let (one, two) = (limit("postgres://h/d"), limit("postgres://g,h/d"));
        assert_eq!((one, two), (LIMIT, LIMIT_OF_SEVERAL));
        assert_eq!(limit("postgres://g,h/d?connect_timeout=7"), Duration::from_secs(7));
        let own = "postgres://h/d?connect_timeout=7&tcp_user_timeout=8&keepalives_idle=9";
        assert_eq!(said(own), (Some(seconds(7)), Some(seconds(8)), seconds(9)));
    }

    #[test]
    fn an_invalid_url_is_refused_without_its_password() {
        for wrong in [
            "postgres://u:secret@h/d?schema=a b",
            "postgres://u:secret@h/d?schema=",
            "postgres://u:secret@h/d?writers=0",
            "postgres://u:secret@h/d?writers=17",
            "postgres://u:secret@h/d?writers=two",
            "postgres://u:secret@h/d?batch=0",
            "postgres://u:secret@h/d?schema=\"x",
            "postgres://u:secret@h/d?sslmode=maybe",
            "postgres://u:secret@h/d?sslmode=verify-ca&sslrootcert=system",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?unknown=1",
        ] {
            let error = Address::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
