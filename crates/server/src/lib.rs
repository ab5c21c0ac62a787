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
//! | `access.rs`, `access/logins.rs`, `secret.rs`, `login.rs` | users and tokens; logins; generation and hashing of secrets; the token endpoints |
//! | `login_limit.rs`, `login_failures.rs`, `password_limit.rs` | limits concurrent logins of a network, failed logins, and password comparisons |
//! | `proxies.rs` | the address of the client behind a trusted proxy |
//! | `queues.rs`, `transactions.rs`, `items.rs`, `comments.rs`, `statistics.rs` | queues; add, start and end items; read, edit and review items; comments and events; statistics and retention |
//! | `buckets.rs`, `bucket_content.rs` | storage buckets; files at signed addresses |
//! | `folders.rs`, `users.rs`, `status.rs` | folders; users, roles and robots; health, version and `$metadata` |
//! | `review_protocol.rs` | groups of failures, and corrected retries |
//! | `insight_protocol.rs`, `operation_rights.rs` | acts on many items, the audit, what is due, and figures; who may act on many items |
//! | `lease_protocol.rs` | jobs, leases, claims and batches for performers over HTTP |
//! | `strict.rs`, `fault_injection.rs`, `rate_limit.rs` | options for testing clients: strict bodies, injected faults, the cloud's rate limits |
//! | `operator.rs` | a desk of one person: the pages alone, on this machine |
//! | `desk/` | pages for the people who look after failed work |
//! | `access_admin.rs` | administration of applications, users, tokens, robots and folders from the command line |
//! | `config.rs`, `metrics.rs`, `maintenance.rs`, `background.rs` | settings with their defaults and ranges; metrics; background maintenance; supervision of background tasks |
//! | `fuzzing.rs` | the handler without a connection, for the fuzz targets and a test of their seeds |
//!
//! Where the vendor's documentation is silent, `docs/reference/choices.md` decides.

mod absent;
mod access;
mod access_admin;
mod alerts;
mod api_error;
mod assets;
mod audit_logs;
mod authorization;
mod background;
mod bucket_content;
mod buckets;
mod builder;
mod call;
mod certificate;
mod comments;
mod config;
mod connection;
mod connection_limit;
mod connection_monitor;
mod cors;
mod desk;
pub mod directory;
mod directory_store;
mod fault_injection;
mod folder_navigation;
mod folders;
#[cfg(any(feature = "fuzzing", test))]
#[doc(hidden)]
pub mod fuzzing;
mod handler;
mod idempotency_cache;
mod insight_protocol;
mod items;
mod jobs;
mod lease_protocol;
mod listener;
mod login;
mod login_failures;
mod login_limit;
mod logs;
mod machines;
mod maintenance;
mod memory_budget;
mod metrics;
mod operation_rights;
mod operator;
mod password_limit;
pub mod permission;
mod processes;
mod proxies;
mod queues;
mod rank;
mod rate_limit;
mod request_body;
mod request_head;
mod response;
mod review_protocol;
mod roles;
mod router;
mod routes;
mod secret;
mod server_facts;
mod shared_resources;
mod statistics;
mod status;
mod strict;
mod tasks;
mod tls;
mod transactions;
mod users;
mod webhooks;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Notify, OnceCell, Semaphore, watch};
use uuid::Uuid;

use self::access::Access;
use self::background::Tasks;
use self::config::Config;
use self::desk::{Live, Sessions};
use self::fault_injection::FaultInjector;
use self::idempotency_cache::IdempotencyCache;
use self::lease_protocol::JobOwnerCache;
use self::memory_budget::MemoryBudget;
use self::metrics::Metrics;
use self::operator::Operator;
use self::proxies::Proxies;
use self::rate_limit::RateLimit;
use self::router::Router;
use self::statistics::StatisticsCache;
use self::tls::Tls;
use crate::directory::Directory;
use performer_core::model::clock::Clock;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{OrchestratorError, Result};
use performer_store::Store;

pub use access_admin::{AccessAdmin, Roles};
pub use builder::ServerBuilder;
#[doc(hidden)]
pub use certificate::validity as certificate_validity;
pub use cors::Origin;
pub use desk::DeskMode;
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
    /// The person whose own desk this is; `None` for a server.
    operator: Option<Operator>,
    /// The Orchestrator whose work that desk shows, in place of the store's.
    remote: Option<desk::RemoteQueues>,
    routes: Router,
    faults: FaultInjector,
    rate_limit: Option<RateLimit>,
    metrics: Metrics,
    tasks: Tasks,
    statistics: StatisticsCache,
    idempotency: IdempotencyCache,
    job_owners: JobOwnerCache,
    desk_sessions: Sessions,
    desk_live: Live,
    /// An operation was started or resumed: its next step is due.
    operations_changed: Notify,
    /// Something is to be sent to a webhook at once.
    webhooks_changed: Notify,
    /// The key that addresses of files are signed with.
    file_signing: OnceCell<ring::hmac::Key>,
    receivers: webhooks::receiver::Receivers,
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

impl Server {
    /// Configures a server over a store.
    pub fn builder(store: Store) -> ServerBuilder {
        ServerBuilder::new(store)
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

    /// The path of a link that signs in the person who runs [a desk of their own](ServerBuilder::own_desk). It works once, within five minutes.
    ///
    /// # Errors
    ///
    /// Invalid for a server that is none.
    pub async fn desk_link(&self) -> Result<String> {
        let operator = self.inner.operator.as_ref();
        let missing = || OrchestratorError::invalid("only a desk of one person has such a link".to_owned());
        operator.ok_or_else(missing)?;
        desk::link(&self.inner, Operator::NUMBER).await.map_err(api_error::orchestrator_error)
    }

    /// The application that this start created; `None` if the store already had users.
    pub fn first_client(&self) -> Option<&FirstClient> {
        self.first.as_ref()
    }

    /// All routes of the desk as method, path and permissions, for tests that walk through them.
    #[doc(hidden)]
    pub fn desk_routes() -> Vec<(String, String, String)> {
        desk::all_routes()
    }

    /// All routes as name, method, path and required access, for tests that walk through them.
    #[doc(hidden)]
    pub fn routes() -> Vec<(String, String, String, String)> {
        let path = |route: &router::Route| {
            let entity = route.entity;
            // Under `/odata` unless it names another root.
            let is_odata = !entity.contains('/');
            match (is_odata, route.keyed, route.action) {
                (true, false, "") => format!("/odata/{entity}"),
                (true, true, "") => format!("/odata/{entity}(1)"),
                (true, false, action) => format!("/odata/{entity}/UiPathODataSvc.{action}"),
                (true, true, action) => format!("/odata/{entity}(1)/UiPathODataSvc.{action}"),
                (false, _, "") => format!("/{entity}"),
                (false, false, action) => format!("/{entity}/{action}"),
                (false, true, action) => format!("/{entity}/1/{action}"),
            }
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
