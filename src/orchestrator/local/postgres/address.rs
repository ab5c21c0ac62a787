//! Where a database is: the URL, as libpq reads it, and one option of ours.
//!
//! `postgres://user:password@host:port/database?sslmode=verify-full&schema=performer`

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{SslMode, TargetSessionAttrs};
use tokio_postgres::{Client, Config, NoTls};

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::{error, pooled, tls};

/// The schema that the tables are in, unless the URL says another.
const SCHEMA: &str = "performer";

/// The longest name of PostgreSQL, in bytes.
const LONGEST_NAME: usize = 63;

/// How long it may take to reach one host, unless the URL says so (`connect_timeout`). Short, because of several hosts the
/// first may be the one that is gone.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// After so long without an answer to what was sent, the host is taken to be gone, unless the URL says otherwise
/// (`tcp_user_timeout`). Without it a host that vanishes (power, network) is waited for as long as for a statement.
const USER_TIMEOUT: Duration = Duration::from_secs(10);

/// When nothing was sent for so long, the host is asked whether it is there, and how often (`keepalives_idle` and the like).
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(5), Duration::from_secs(2), 3);

/// How the certificate of a server is looked at (libpq's `sslmode`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trust {
    /// There is no TLS at all.
    NoTls,
    /// What is sent is encrypted, whoever is at the other end: `prefer`, `allow` and `require`.
    Anybody,
    /// The certificate must come from a known authority; `named`: and be the host's.
    Authorities { root: Option<PathBuf>, named: bool },
}

/// A database, and a schema in it.
#[derive(Clone)]
pub(super) struct Address {
    config: Config,
    schema: String,
    trust: Trust,
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
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// Invalid. The URL is not repeated: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut schema, mut sslmode, mut root) = (SCHEMA.to_owned(), None, None);
        let mut rest = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "schema" => schema = value.to_owned(),
                "sslmode" => sslmode = Some(value),
                "sslrootcert" => root = Some(value).filter(|value| *value != "system").map(PathBuf::from),
                _ => rest.push(pair),
            }
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if schema.is_empty() || schema.len() > LONGEST_NAME || !schema.chars().all(is_name) {
            return Err(invalid(format!(
                "schema {schema:?} is no name: it has 1 to {LONGEST_NAME} small letters, digits and underscores"
            )));
        }
        let trust = match sslmode.unwrap_or("prefer") {
            "disable" => Trust::NoTls,
            "allow" | "prefer" | "require" => Trust::Anybody,
            "verify-ca" => Trust::Authorities { root, named: false },
            "verify-full" => Trust::Authorities { root, named: true },
            other => {
                return Err(invalid(format!(
                    "sslmode {other:?} is unknown; it is disable, allow, prefer, require, verify-ca or verify-full"
                )));
            }
        };
        let says = |name: &str| rest.iter().any(|pair| pair.starts_with(name));
        let url = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config: Config = url.parse().map_err(|error| {
            invalid(
                "this is no address of PostgreSQL; write postgres://user:password@host/database".to_owned(),
            )
            .because(error)
        })?;
        config.ssl_mode(match (&trust, sslmode) {
            (Trust::NoTls, _) => SslMode::Disable,
            (Trust::Anybody, Some("allow" | "prefer") | None) => SslMode::Prefer,
            _ => SslMode::Require,
        });
        // Where a password should not stand in an address.
        if config.get_password().is_none()
            && let Ok(password) = std::env::var("PGPASSWORD")
        {
            config.password(password);
        }
        if config.get_application_name().is_none() {
            config.application_name("performer");
        }
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
        // Of several hosts the one that can be written to.
        if config.get_hosts().len() > 1 {
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        Ok(Self { config, schema, trust })
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// The schema as statements name it. It has no character that would have to be escaped.
    pub(super) fn quoted_schema(&self) -> String {
        format!("\"{}\"", self.schema)
    }

    /// Where those who add tell those who wait.
    pub(super) fn channel(&self) -> String {
        format!("performer_{}", self.schema)
    }

    /// A connection, whose other half runs on the runtime that this is called on.
    pub(super) async fn connect(&self) -> Result<Client> {
        let failed = |error| error::explain(error, self);
        if self.trust == Trust::NoTls {
            let (client, connection) = self.config.connect(NoTls).await.map_err(failed)?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let (client, connection) = self.config.connect(tls::connector(&self.trust)?).await.map_err(failed)?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A connection that listens: `heard` is called for each notification, until the connection ends.
    pub(super) async fn listen(&self, heard: impl Fn() + Send + Sync) -> Result<()> {
        match &self.trust {
            Trust::NoTls => {
                let (client, connection) =
                    self.config.connect(NoTls).await.map_err(|error| error::explain(error, self))?;
                self.listen_on(client, connection, heard).await
            }
            trust => {
                let connected = self.config.connect(tls::connector(trust)?).await;
                let (client, connection) = connected.map_err(|error| error::explain(error, self))?;
                self.listen_on(client, connection, heard).await
            }
        }
    }

    async fn listen_on<S, T>(
        &self,
        client: Client,
        mut connection: tokio_postgres::Connection<S, T>,
        heard: impl Fn(),
    ) -> Result<()>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let failed = |error| error::explain(error, self);
        let messages = async {
            while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let tokio_postgres::AsyncMessage::Notification(_) = message.map_err(failed)? {
                    heard();
                }
            }
            Ok(())
        };
        let sql = format!("LISTEN \"{}\"", self.channel());
        let listening = async {
            let row = client.query_typed_one("SELECT pg_backend_pid()", &[]).await.map_err(failed)?;
            if pooled::is_behind_a_proxy(&client, row.get(0)).await.map_err(failed)? {
                let message = format!("{self} is behind a proxy, which cannot be listened through");
                return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
            }
            client.batch_execute(&sql).await.map_err(failed)?;
            heard(); // what happened before is looked for once
            std::future::pending::<Result<()>>().await
        };
        tokio::select! {
            ended = messages => ended,
            failed = listening => failed,
        }
    }
}

fn invalid(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_where_and_whom_to_trust() {
        let read = |url: &str| Address::parse(url).unwrap();
        let plain = read("postgres://u:p@h/d");
        assert_eq!((plain.schema(), &plain.trust), ("performer", &Trust::Anybody));
        assert_eq!(plain.config.get_ssl_mode(), SslMode::Prefer);
        let full =
            read("postgresql://u@h/d?sslmode=verify-full&sslrootcert=/a/b.pem&schema=x_1&connect_timeout=3");
        assert_eq!(full.trust, Trust::Authorities { root: Some("/a/b.pem".into()), named: true });
        assert_eq!((full.schema(), full.config.get_ssl_mode()), ("x_1", SslMode::Require));
        let system = read("postgres://h/d?sslmode=verify-ca&sslrootcert=system");
        assert_eq!(system.trust, Trust::Authorities { root: None, named: false });
        assert_eq!(read("postgres://h/d?sslmode=disable").trust, Trust::NoTls);
        assert_eq!(read("postgres://h/d?sslmode=require").config.get_ssl_mode(), SslMode::Require);
        let two = read("postgres://a,b/d");
        assert_eq!(two.config.get_target_session_attrs(), TargetSessionAttrs::ReadWrite);
        let ports = read("postgres://a:1,b:2/d?target_session_attrs=read-write");
        assert_eq!((ports.config.get_hosts().len(), ports.config.get_ports()), (2, &[1, 2][..]));
    }

    #[test]
    fn a_host_that_vanishes_is_not_waited_for_unless_the_url_says_so() {
        let said = |url: &str| {
            let config = Address::parse(url).unwrap().config;
            let idle = config.get_keepalives_idle();
            (config.get_connect_timeout().copied(), config.get_tcp_user_timeout().copied(), idle)
        };
        assert_eq!(said("postgres://h/d"), (Some(CONNECT_TIMEOUT), Some(USER_TIMEOUT), KEEPALIVE.0));
        let seconds = Duration::from_secs;
        let own = "postgres://h/d?connect_timeout=7&tcp_user_timeout=8&keepalives_idle=9";
        assert_eq!(said(own), (Some(seconds(7)), Some(seconds(8)), seconds(9)));
    }

    #[test]
    fn a_url_that_is_wrong_is_refused_without_its_password() {
        for wrong in [
            "postgres://u:secret@h/d?schema=a b",
            "postgres://u:secret@h/d?schema=",
            "postgres://u:secret@h/d?schema=\"x",
            "postgres://u:secret@h/d?sslmode=maybe",
            "postgres://u:secret@h:port/d",
            "postgres://u:secret@h/d?unknown=1",
        ] {
            let error = Address::parse(wrong).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid, "{wrong}");
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
