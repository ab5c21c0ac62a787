//! Connects to the first host, and the first address of a host, that accepts the connection. Each has its own time
//! limit, so that one that does not answer leaves time for the others. With and without TLS, in the order of libpq's
//! `sslmode`.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_postgres::config::{Host, LoadBalanceHosts, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Address;
use super::{error, tls};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// A client, and the connection that drives it.
pub(super) type NewConnection =
    (Client, Connection<Socket, <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream>);

/// Why a connection failed.
enum ConnectFailure {
    /// No other host would accept it.
    Everywhere(OrchestratorError),
    /// It may work with TLS, or without.
    ThisWay(OrchestratorError),
    Here(OrchestratorError),
}

impl Address {
    /// The first connection that is accepted.
    pub(super) async fn open(&self) -> Result<NewConnection> {
        let tls = tls::connector(self.trust())?;
        let config = self.config();
        let mut hosts: Vec<_> = (0..config.get_hosts().len().max(config.get_hostaddrs().len())).collect();
        if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
            fastrand::shuffle(&mut hosts);
        } else {
            // The host of the last connection first, so that one that does not answer costs its time limit only once.
            hosts.sort_by_key(|at| *at != self.last_host().load(Ordering::Relaxed));
        }
        let limit = self.limit();
        let mut why = OrchestratorError::new(ErrorKind::Invalid, format!("{self} has no host"));
        for at in hosts {
            let addresses = match self.addresses(at, limit).await {
                Ok(addresses) => addresses,
                Err(error) => {
                    why = error;
                    continue;
                }
            };
            for target in addresses {
                for mode in self.tries() {
                    match self.try_connect(&target, *mode, &tls, limit).await {
                        Ok(opened) => {
                            self.last_host().store(at, Ordering::Relaxed);
                            return Ok(opened);
                        }
                        Err(ConnectFailure::Everywhere(error)) => return Err(error),
                        Err(ConnectFailure::ThisWay(error)) => why = error,
                        Err(ConnectFailure::Here(error)) => {
                            why = error;
                            break;
                        }
                    }
                }
            }
        }
        Err(why)
    }

    async fn try_connect(
        &self,
        target: &Config,
        mode: SslMode,
        tls: &MakeRustlsConnect,
        limit: Duration,
    ) -> std::result::Result<NewConnection, ConnectFailure> {
        let mut target = target.clone();
        let is_here = target.get_hosts().iter().any(|host| !matches!(host, Host::Tcp(_)));
        target.ssl_mode(if is_here { SslMode::Disable } else { mode }); // a Unix socket has no TLS
        let Ok(answered) = tokio::time::timeout(limit, target.connect(tls.clone())).await else {
            return Err(ConnectFailure::Here(error::too_slow(self, "to connect")));
        };
        answered.map_err(|refused| {
            let failure = match refused.code() {
                // The server has no rule for this way to connect.
                Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION) => ConnectFailure::ThisWay,
                // A wrong password is wrong at the next host too.
                Some(&SqlState::INVALID_PASSWORD) => ConnectFailure::Everywhere,
                None if error::tls_failed(&refused).is_some() => ConnectFailure::ThisWay,
                _ => ConnectFailure::Here,
            };
            failure(error::cannot_connect(refused, self))
        })
    }

    /// The addresses of a host, each as a configuration of its own.
    async fn addresses(&self, at: usize, limit: Duration) -> Result<Vec<Config>> {
        let all = self.config();
        let port = all.get_ports().get(at).or(all.get_ports().first()).copied().unwrap_or(5432);
        let mut target = without_hosts(all);
        target.port(port);
        let name = match all.get_hosts().get(at) {
            #[cfg(unix)]
            Some(Host::Unix(path)) => {
                target.host_path(path);
                return Ok(vec![target]);
            }
            Some(Host::Tcp(name)) => {
                target.host(name);
                name
            }
            None => "",
        };
        if let Some(address) = all.get_hostaddrs().get(at) {
            target.hostaddr(*address);
            return Ok(vec![target]);
        }
        let unknown = |error: std::io::Error| {
            let message = format!("the host {name} of {self} is not known");
            OrchestratorError::new(ErrorKind::Unavailable, message).with_source(error)
        };
        let found = tokio::time::timeout(limit, tokio::net::lookup_host((name, port))).await;
        let found = found.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into())).map_err(unknown)?;
        let addresses = found.map(|found| {
            let mut target = target.clone();
            target.hostaddr(found.ip());
            target
        });
        Ok(addresses.collect())
    }
}

/// The configuration without its hosts.
fn without_hosts(all: &Config) -> Config {
    let mut one = Config::new();
    if let Some(user) = all.get_user() {
        one.user(user);
    }
    if let Some(password) = all.get_password() {
        one.password(password);
    }
    if let Some(database) = all.get_dbname() {
        one.dbname(database);
    }
    if let Some(options) = all.get_options() {
        one.options(options);
    }
    if let Some(name) = all.get_application_name() {
        one.application_name(name);
    }
    if let Some(limit) = all.get_connect_timeout() {
        one.connect_timeout(*limit);
    }
    if let Some(limit) = all.get_tcp_user_timeout() {
        one.tcp_user_timeout(*limit);
    }
    one.keepalives(all.get_keepalives()).keepalives_idle(all.get_keepalives_idle());
    if let Some(interval) = all.get_keepalives_interval() {
        one.keepalives_interval(interval);
    }
    if let Some(retries) = all.get_keepalives_retries() {
        one.keepalives_retries(retries);
    }
    one.ssl_negotiation(all.get_ssl_negotiation());
    one.target_session_attrs(all.get_target_session_attrs()).channel_binding(all.get_channel_binding());
    one
}
