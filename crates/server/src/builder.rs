//! The settings of a server, and how it is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Notify, OnceCell, Semaphore, watch};

use super::access::{Access, new_user};
use super::api_error::{ApiError, orchestrator_error};
use super::background::Tasks;
use super::config::{Config, MAX_LISTS_PER_MINUTE};
use super::connection_monitor::ClientTimeouts;
use super::cors::Origin;
use super::desk::{DeskMode, Live, RemoteQueues, Sessions};
use super::directory::{ADMINISTRATOR, Change, Directory};
use super::fault_injection::{Fault, FaultInjector};
use super::idempotency_cache::IdempotencyCache;
use super::lease_protocol::JobOwnerCache;
use super::memory_budget::MemoryBudget;
use super::metrics::Metrics;
use super::operator::Operator;
use super::permission::Scopes;
use super::proxies::{Proxies, TrustedProxy};
use super::rate_limit::RateLimit;
use super::router::Router;
use super::statistics::StatisticsCache;
use super::tls::Tls;
use super::webhooks::receiver::Receivers;
use super::{FirstClient, Inner, MAX_CONCURRENT_LOGINS, Server, routes, secret};
use performer_core::model::audit::Actor;
use performer_core::model::log::LogRetention;
use performer_core::model::user::UserType;
use performer_core::orchestrator::{Administration, BoxFuture, ErrorKind, OrchestratorError, Result};
use performer_store::Store;

/// Configures a server. Created by [`Server::builder`].
#[must_use = "nothing happens before open()"]
#[derive(Debug)]
pub struct ServerBuilder {
    store: Store,
    config: Config,
    faults: Vec<Fault>,
    rate_limit: Option<usize>,
    first: Option<(String, SecretText)>,
    log_lines_dropped: Option<Arc<AtomicU64>>,
    operator: Option<Operator>,
    remote: Option<RemoteQueues>,
}

/// A secret that the caller supplied. Its `Debug` output is redacted.
struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ServerBuilder {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            config: Config::default(),
            faults: Vec::new(),
            rate_limit: None,
            first: None,
            log_lines_dropped: None,
            operator: None,
            remote: None,
        }
    }

    /// The id and secret of the application that the first start on a store without users creates. The secret has at least
    /// 8 bytes. Default: both are generated, and returned by [`Server::first_client`].
    pub fn first_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.first = Some((id.into(), SecretText(secret.into())));
        self
    }

    /// Strict mode: only robots get items, and bodies with unknown fields are refused, as by the strictest Orchestrator.
    /// Default: off.
    pub fn strict(mut self, strict: bool) -> Self {
        self.config.strict = strict;
        self
    }

    /// Limits requests for lists of items to this number per minute, as the cloud does; at most 1,000,000. Default: no limit.
    pub fn rate_limit(mut self, a_minute: usize) -> Self {
        self.rate_limit = Some(a_minute.min(MAX_LISTS_PER_MINUTE));
        self
    }

    /// Injects a fault. May be called several times.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The server runs behind a reverse proxy that terminates TLS. `X-Forwarded-For`, `X-Forwarded-Host` and
    /// `X-Forwarded-Proto` are trusted from loopback addresses, or, where [`trusted_proxy`](Self::trusted_proxy) is called, from
    /// those proxies only. Default: off.
    pub fn behind_proxy(mut self, behind_proxy: bool) -> Self {
        self.config.behind_proxy = behind_proxy;
        self
    }

    /// The address or network of a reverse proxy whose `X-Forwarded-…` headers are trusted. May be called several times;
    /// these headers are ignored from all other addresses. Default: none.
    pub fn trusted_proxy(mut self, proxy: TrustedProxy) -> Self {
        self.config.trusted_proxies.push(proxy);
        self
    }

    /// Enables TLS with a certificate chain and a private key, both PEM files.
    pub fn tls(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.config.tls = Some((certificates.into(), key.into()));
        self
    }

    /// The maximum number of open connections, up to 1,000,000. Default: 10,000. One IPv4 address, or one IPv6 /64 network,
    /// may hold as many as are still free, so about half if it is alone; a part is reserved for new addresses. Trusted
    /// proxies are exempt. A few connections over the limit get one response (503, or the health); others are closed.
    pub fn most_connections(mut self, most: usize) -> Self {
        self.config.max_connections = most.max(1);
        self
    }

    /// The maximum number of concurrent requests, up to 1,000,000. Requests over the limit are answered 503. Default: 2,000.
    pub fn most_requests(mut self, most: usize) -> Self {
        self.config.max_requests = most.max(1);
        self
    }

    /// The maximum body of a bulk add, in bytes, up to 512 MiB. Other bodies may have a sixteenth of it. Default: 64 MiB.
    pub fn largest_body(mut self, bytes: usize) -> Self {
        (self.config.max_bulk_body, self.config.max_body) = (bytes, (bytes / 16).max(1_024));
        self
    }

    /// The largest file that is taken for a storage bucket, in bytes. Where the storage of a cloud takes files itself, its own limit
    /// counts. Default: 4 GiB.
    pub fn largest_file(mut self, bytes: u64) -> Self {
        self.config.max_file = bytes;
        self
    }

    /// The memory for request bodies and responses, in bytes, until they are sent. At least four times the maximum body.
    /// Default: 512 MiB, or that minimum. A caller may hold as much as is still free, so half if it is alone; requests over
    /// that are answered 503. Callers without a token share an eighth.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.config.memory = Some(bytes);
        self
    }

    /// Allows pages of this origin to use the server from a browser. May be called several times. Default: none.
    pub fn cors_origin(mut self, origin: Origin) -> Self {
        self.config.origins.push(origin);
        self
    }

    /// The time limit of a request, including its body; at most an hour. Default: 30 seconds.
    pub fn request_limit(mut self, limit: Duration) -> Self {
        self.config.request_limit = limit;
        self
    }

    /// Whether the server has pages for people, under `/desk`, and what they can do there. Default: all that their permissions allow.
    pub fn desk(mut self, mode: DeskMode) -> Self {
        self.config.desk = mode;
        self
    }

    /// Serves the desk alone, to the person who runs this program: no API, no users, and [a link](Server::desk_link) in place of passwords.
    /// The person has all permissions, in the folders that the store has when this is opened; the audit names this actor. Of this nothing is
    /// written to the store: it may have a server, or never get one. Listen on a loopback address only: requests by other names are refused.
    /// Default: a whole server.
    pub fn own_desk(mut self, actor: Actor) -> Self {
        self.operator = Some(Operator::new(actor));
        self
    }

    /// As [`own_desk`](Self::own_desk), over another Orchestrator: its queues, items and jobs, in the folder of this client, and what can be
    /// done with them there. The store of the builder keeps only who is signed in; one in memory will do. Queues are read at most once a
    /// minute.
    pub fn own_desk_of(mut self, orchestrator: Arc<dyn Administration>, actor: Actor) -> Self {
        self.remote = Some(RemoteQueues::new(orchestrator));
        self.own_desk(actor)
    }

    /// Whether events are sent to webhooks whose address is one of this machine or of its network. Somebody who may make webhooks can then
    /// have requests sent to everything that the server reaches. Default: only to addresses of the public internet.
    pub fn webhooks_allow_private(mut self, allow: bool) -> Self {
        self.config.webhooks_allow_private = allow;
        self
    }

    /// A counter of log lines that the program could not write; `/metrics` shows it. Default: none.
    pub fn log_lines_dropped(mut self, counted: Arc<AtomicU64>) -> Self {
        self.log_lines_dropped = Some(counted);
        self
    }

    /// The time limit of a query for a list, not counting the wait in the queue of queries. A query that takes longer is
    /// answered 400 with a hint how to narrow it. The memory store has no limit. Default: 10 seconds.
    pub fn list_limit(mut self, limit: Duration) -> Self {
        self.config.list_limit = limit;
        self
    }

    /// For how many days lines of robot logs are kept, and how many lines at most; the oldest are removed first. The memory store
    /// keeps at most 100,000. Default: 30 days, 10,000,000 lines.
    pub fn keep_logs(mut self, days: u32, max_lines: u64) -> Self {
        self.config.log_retention = LogRetention { days, max_lines };
        self
    }

    /// For how many days alerts are kept; of more than 10,000 the oldest are removed. Default: 30 days.
    pub fn keep_alerts(mut self, days: u32) -> Self {
        self.config.alert_days = days;
        self
    }

    /// The timeouts for a request head, for the next request, and for a client that does not read its response. For tests
    /// that cannot wait for the defaults.
    #[doc(hidden)]
    pub fn client_timeouts(mut self, head: Duration, idle: Duration, stalled: Duration) -> Self {
        self.config.timeouts = ClientTimeouts { head, idle, stalled };
        self
    }

    /// Disables background maintenance (sweeps, retention). For tests with their own clock.
    #[doc(hidden)]
    pub fn without_maintenance(mut self) -> Self {
        self.config.maintenance = false;
        self
    }

    /// Whether this is the first start on the store: it has no users yet, and [`open`](Self::open) will create the first
    /// application.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub async fn is_first_start(&self) -> Result<bool> {
        let access = Access::open(&self.store, self.store.clock()).await.map_err(orchestrator_error)?;
        Ok(access.is_none())
    }

    /// Opens the directory of the store, or creates it.
    ///
    /// # Errors
    ///
    /// Errors of the store; Invalid for a setting outside its range or a supplied secret that is too short; Other for TLS
    /// files that cannot be used.
    pub async fn open(self) -> Result<Server> {
        self.open_boxed().await
    }

    #[inline(never)]
    fn open_boxed(self) -> BoxFuture<'static, Result<Server>> {
        Box::pin(self.open_directory())
    }

    async fn open_directory(self) -> Result<Server> {
        self.config.validate()?;
        let clock = self.store.clock();
        let memory = self.config.memory()?;
        // TLS errors are found before the secret is generated, because it is shown only once.
        let tls = match &self.config.tls {
            Some((certificates, key)) => Some(Tls::open(certificates, key, clock.now())?),
            None => None,
        };
        let (access, first) = match &self.operator {
            Some(operator) => (operator.access(&self.store).await.map_err(orchestrator_error)?, None),
            None => match Access::open(&self.store, clock.clone()).await.map_err(orchestrator_error)? {
                Some(access) => (access, None),
                None => {
                    let first = self.create_directory().await.map_err(orchestrator_error)?;
                    let access =
                        Access::open(&self.store, clock.clone()).await.map_err(orchestrator_error)?;
                    let missing = || OrchestratorError::new(ErrorKind::Other, "the new directory is missing");
                    (access.ok_or_else(missing)?, Some(first))
                }
            },
        };
        let metrics = Metrics::new();
        if let Some(counted) = self.log_lines_dropped {
            metrics.set_dropped_lines(counted);
        }
        let inner = Inner {
            tls,
            clock,
            access,
            operator: self.operator,
            remote: self.remote,
            routes: Router::new(routes::ROUTES),
            faults: FaultInjector::new(self.faults),
            rate_limit: self.rate_limit.map(RateLimit::new),
            memory: MemoryBudget::new(memory, metrics.memory()),
            metrics,
            tasks: Tasks::default(),
            statistics: StatisticsCache::default(),
            idempotency: IdempotencyCache::new(memory),
            job_owners: JobOwnerCache::default(),
            desk_sessions: Sessions::default(),
            desk_live: Live::default(),
            operations_changed: Notify::new(),
            webhooks_changed: Notify::new(),
            file_signing: OnceCell::new(),
            receivers: Receivers::new(self.config.webhooks_allow_private),
            run_id: secret::new_key().map_err(orchestrator_error)?,
            requests: Semaphore::new(self.config.max_requests),
            logins: Semaphore::new(MAX_CONCURRENT_LOGINS),
            proxies: Proxies::new(self.config.behind_proxy, &self.config.trusted_proxies),
            stopping: watch::Sender::new(false),
            store: self.store,
            config: self.config,
        };
        Ok(Server { inner: Arc::new(inner), first })
    }

    /// Creates the directory on the first start, with an application that has all permissions.
    async fn create_directory(&self) -> std::result::Result<FirstClient, ApiError> {
        let (id, secret, stored_hash) = match &self.first {
            Some((id, SecretText(secret))) => {
                let given = secret.clone();
                let stored_hash = tokio::task::spawn_blocking(move || secret::hash_chosen(&given)).await;
                let stored_hash =
                    stored_hash.map_err(|_| ApiError::internal("a secret could not be hashed"))??;
                (id.clone(), None, stored_hash)
            }
            None => {
                let secret = secret::new_secret()?;
                let stored_hash = secret::hash_generated(&secret);
                (secret::new_key()?.to_string(), Some(secret), stored_hash)
            }
        };
        let template = Directory::new(secret::new_key()?, secret::new_key()?);
        let administrator = template.role_named(ADMINISTRATOR).map(|role| role.id);
        let mut user = new_user("first-application", UserType::DirectoryExternalApplication)?;
        user.tenant_roles.extend(administrator);
        let add = Change::AddClient {
            id: id.clone(),
            name: "The first application".to_owned(),
            secret: stored_hash,
            scopes: Scopes::all(),
            user: Box::new(user),
        };
        Access::create_directory(&self.store, template, vec![add]).await?;
        Ok(FirstClient { id, secret })
    }
}
