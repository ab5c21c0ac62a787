//! An Orchestrator server: the queue part of the vendor's API over any of the stores.
//!
//! `listener.rs` accepts a connection, `handler.rs` handles each request on it, and `router.rs` finds the handler of the
//! resource. The files of resources only translate between the API and the store; they contain no rules about items.
//!
//! | file | what it does |
//! |---|---|
//! | `listener.rs`, `connection_limit.rs` | accepts connections up to a limit with a share for each network; graceful shutdown |
//! | `tls.rs`, `certificate.rs` | TLS; reloads certificates; reads their validity period |
//! | `connection.rs`, `connection_monitor.rs` | HTTP over one connection, and the timeouts for clients that stall |
//! | `handler.rs` | handles one request: access log, metrics, body, limits, faults, and the call of its route |
//! | `request_head.rs`, `authorization.rs`, `request_body.rs`, `response.rs` | validates the head; authenticates and checks permissions; reads the body; builds responses |
//! | `memory_budget.rs`, `idempotency_cache.rs` | memory for bodies and responses, shared among callers; responses that are kept for repeated calls |
//! | `cors.rs`, `router.rs`, `routes.rs` | cross-origin requests of browsers; paths; the table of all routes with the access each needs |
//! | `call.rs`, `api_error.rs` | one API call with its arguments and response; errors of the API |
//! | `directory/`, `permission.rs`, `directory_store.rs` | folders, users and roles, and who may do what; how they are stored |
//! | `access.rs`, `secret.rs`, `login.rs` | users and tokens; generation and hashing of secrets; the token endpoints |
//! | `password_limit.rs`, `proxies.rs` | limits concurrent password comparisons; the address of the client behind a trusted proxy |
//! | `queues.rs`, `transactions.rs`, `items.rs`, `comments.rs`, `statistics.rs` | queues; add, start and end items; read, edit and review items; comments and events; statistics and retention |
//! | `folders.rs`, `users.rs`, `status.rs` | folders; users, roles and robots; health, version and `$metadata` |
//! | `lease_protocol.rs` | jobs, leases, claims and batches for performers over HTTP |
//! | `strict.rs`, `fault_injection.rs`, `rate_limit.rs` | options for testing clients: strict bodies, injected faults, the cloud's rate limits |
//! | `access_admin.rs` | administration of applications, users, tokens, robots and folders from the command line |
//! | `config.rs`, `metrics.rs`, `maintenance.rs`, `background.rs` | settings with their defaults and ranges; metrics; background maintenance; supervision of background tasks |
//! | `fuzzing.rs` | the handler without a connection, for the fuzz targets |
//!
//! Where the vendor's documentation is silent, `docs/reference/choices.md` decides.

mod access;
mod access_admin;
mod api_error;
mod authorization;
mod background;
mod call;
mod certificate;
mod comments;
mod config;
mod connection;
mod connection_limit;
mod connection_monitor;
mod cors;
pub mod directory;
mod directory_store;
mod fault_injection;
mod folders;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handler;
mod idempotency_cache;
mod items;
mod lease_protocol;
mod listener;
mod login;
mod maintenance;
mod memory_budget;
mod metrics;
mod password_limit;
pub mod permission;
mod proxies;
mod queues;
mod rate_limit;
mod request_body;
mod request_head;
mod response;
mod router;
mod routes;
mod secret;
mod statistics;
mod status;
mod strict;
mod tls;
mod transactions;
mod users;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use self::access::{Access, new_user};
use self::api_error::ApiError;
use self::background::Tasks;
use self::config::{Config, MAX_LISTS_PER_MINUTE};
use self::connection_monitor::ClientTimeouts;
use self::fault_injection::FaultInjector;
use self::idempotency_cache::IdempotencyCache;
use self::lease_protocol::JobOwnerCache;
use self::memory_budget::MemoryBudget;
use self::metrics::Metrics;
use self::proxies::Proxies;
use self::rate_limit::RateLimit;
use self::router::Router;
use self::statistics::StatisticsCache;
use self::tls::Tls;
use crate::directory::{ADMINISTRATOR, Change, Directory};
use crate::permission::Scopes;
use performer_core::model::clock::Clock;
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_store::Store;

pub use access_admin::{AccessAdmin, Roles};
pub use cors::Origin;
pub use fault_injection::Fault;
pub use proxies::TrustedProxy;

/// How many tokens are issued at the same time.
const MAX_CONCURRENT_LOGINS: usize = 256;

/// An Orchestrator server over a store.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use performer_server::Server;
/// use performer_store::Store;
///
/// let server = Server::builder(Store::sqlite("orchestrator.db").await?).open().await?;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8095").await?;
/// server.serve(listener, async { tokio::signal::ctrl_c().await.unwrap_or(()) }).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
    first: Option<FirstClient>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

/// The application that the first start created. Its secret is shown only once.
#[derive(Clone)]
pub struct FirstClient {
    /// The client id.
    pub id: String,
    /// The generated secret; `None` if the caller supplied one.
    pub secret: Option<String>,
}

impl fmt::Debug for FirstClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstClient").field("id", &self.id).finish_non_exhaustive()
    }
}

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    config: Config,
    access: Access,
    routes: Router,
    faults: FaultInjector,
    rate_limit: Option<RateLimit>,
    metrics: Metrics,
    tasks: Tasks,
    statistics: StatisticsCache,
    idempotency: IdempotencyCache,
    job_owners: JobOwnerCache,
    /// Identifies this run of the server: a new value after each start.
    run_id: Uuid,
    tls: Option<Tls>,
    /// Limits concurrent requests of authenticated callers.
    requests: Semaphore,
    /// Limits concurrent logins.
    logins: Semaphore,
    proxies: Proxies,
    /// Memory for request bodies and responses.
    memory: Arc<MemoryBudget>,
    /// True once the server is shutting down.
    stopping: watch::Sender<bool>,
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether any caller with the permission gets items, or only robots (orchestrator-api 8).
    fn serves_any_caller(&self) -> bool {
        !self.config.strict
    }

    /// The full name of a top-level folder, for lists; `None` for a folder inside another one.
    fn folder_name<'a>(&self, directory: &'a Directory, folder: FolderId) -> Option<&'a str> {
        directory.folder(folder).filter(|folder| folder.parent.is_none()).map(|folder| folder.name.as_str())
    }
}

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
}

/// A secret that the caller supplied. Its `Debug` output is redacted.
struct SecretText(String);

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ServerBuilder {
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
        self.config.validate()?;
        let clock = self.store.clock();
        let memory = self.config.memory()?;
        // TLS errors are found before the secret is generated, because it is shown only once.
        let tls = match &self.config.tls {
            Some((certificates, key)) => Some(Tls::open(certificates, key, clock.now())?),
            None => None,
        };
        let (access, first) =
            match Access::open(&self.store, clock.clone()).await.map_err(orchestrator_error)? {
                Some(access) => (access, None),
                None => {
                    let first = self.create_directory().await.map_err(orchestrator_error)?;
                    let access =
                        Access::open(&self.store, clock.clone()).await.map_err(orchestrator_error)?;
                    let missing = || OrchestratorError::new(ErrorKind::Other, "the new directory is missing");
                    (access.ok_or_else(missing)?, Some(first))
                }
            };
        let metrics = Metrics::new();
        if let Some(counted) = self.log_lines_dropped {
            metrics.set_dropped_lines(counted);
        }
        let inner = Inner {
            tls,
            clock,
            access,
            routes: Router::new(routes::ROUTES),
            faults: FaultInjector::new(self.faults),
            rate_limit: self.rate_limit.map(RateLimit::new),
            memory: MemoryBudget::new(memory, metrics.memory()),
            metrics,
            tasks: Tasks::default(),
            statistics: StatisticsCache::default(),
            idempotency: IdempotencyCache::new(memory),
            job_owners: JobOwnerCache::default(),
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

/// An API error as an error of a back end.
fn orchestrator_error(failure: ApiError) -> OrchestratorError {
    let kind = match failure.status.as_u16() {
        400..=499 => ErrorKind::Invalid,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let message = failure.cause.unwrap_or(failure.message);
    OrchestratorError::new(kind, message.trim_end_matches('.').to_owned())
}

impl Server {
    /// Configures a server over a store.
    pub fn builder(store: Store) -> ServerBuilder {
        ServerBuilder {
            store,
            config: Config::default(),
            faults: Vec::new(),
            rate_limit: None,
            first: None,
            log_lines_dropped: None,
        }
    }

    /// Reloads the TLS files for new connections. Returns whether the server uses TLS.
    ///
    /// # Errors
    ///
    /// Other for files that cannot be used; the old certificate then stays in use.
    pub fn reload_certificates(&self) -> Result<bool> {
        let tls = self.inner.tls.as_ref();
        tls.map_or(Ok(false), |tls| tls.reload(self.inner.now()).map(|()| true))
    }

    /// The application that this start created; `None` if the store already had users.
    pub fn first_client(&self) -> Option<&FirstClient> {
        self.first.as_ref()
    }

    /// All routes as name, method, path and required access, for tests that walk through them.
    #[doc(hidden)]
    pub fn routes() -> Vec<(String, String, String, String)> {
        let path = |route: &router::Route| {
            let key = if route.keyed { "(1)" } else { "" };
            let action = match route.action {
                "" => String::new(),
                action if route.entity.starts_with("api/") => format!("/{action}"),
                action => format!("/UiPathODataSvc.{action}"),
            };
            let root = if route.entity.starts_with("api/") { "" } else { "odata/" };
            format!("/{root}{}{key}{action}", route.entity)
        };
        let needs = |route: &router::Route| match route.needs {
            router::RouteAccess::Public => "public".to_owned(),
            router::RouteAccess::Token { area, write, folder_scope, permissions } => {
                let permissions: Vec<String> = permissions.iter().map(ToString::to_string).collect();
                let access = if write { "Write" } else { "Read" };
                format!("OR.{area}.{access} {folder_scope:?} {}", permissions.join(","))
            }
        };
        let all = routes::ROUTES.iter();
        all.map(|route| (route.name.to_owned(), route.method.to_string(), path(route), needs(route)))
            .collect()
    }
}
