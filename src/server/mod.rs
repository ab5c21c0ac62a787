//! Floor 3: an Orchestrator in a box. The queue part of the vendor's API over any of our stores.
//!
//! A request comes in at `listen.rs`, passes `door.rs`, and goes along `route.rs` to the file of its resource. The files
//! of resources translate: they read what was asked, ask the store, and write what is answered. They know no rules.
//!
//! | file | what it does |
//! |---|---|
//! | `listen.rs`, `places.rs` | connections: how many there may be and whose, an orderly end |
//! | `tls.rs`, `certificate.rs` | certificates, read again when they were renewed; until when they are good |
//! | `connection.rs`, `link.rs` | one connection: HTTP over it, and an end to every wait |
//! | `door.rs` | one request: its log, its metrics, its way through the rest |
//! | `head.rs`, `authorize.rs`, `body.rs`, `respond.rs` | what the head says; who calls, where, may they; the body as it comes; what answers look like |
//! | `room.rs`, `exchanges.rs` | memory for bodies and answers, with a share for each caller; answers that are kept for a while |
//! | `cors.rs` | pages of other origins |
//! | `route.rs`, `routes.rs` | how paths are read, and the table of all routes with what each needs |
//! | `call.rs`, `failure.rs` | one call and its answer; why it fails |
//! | `access.rs`, `secret.rs`, `identity.rs` | who calls: tokens, secrets, logging in |
//! | `passwords.rs` | how many passwords are compared, and for whom |
//! | `proxies.rs` | which proxies are believed, and where a request behind them comes from |
//! | `queues.rs`, `transactions.rs`, `items.rs`, `notes.rs`, `records.rs` | queues, adding and starting and ending, items, comments and events, figures and retention |
//! | `folders.rs`, `users.rs`, `status.rs` | folders; users, roles and robots; health and `$metadata` |
//! | `leased.rs` | for performers over HTTP: jobs, leases, claims, many at once |
//! | `strict.rs`, `weather.rs`, `limits.rs` | switches for those who test clients: strict bodies, faults, rate limits |
//! | `keeper.rs` | who may do what, as an operator sets it |
//! | `config.rs` | how a server behaves |
//! | `metrics.rs`, `upkeep.rs`, `background.rs` | what is counted; what is done by itself; how that is supervised |
//! | `fuzzing.rs` | the door without a connection, for the fuzz targets |
//!
//! What the vendor leaves open is decided in `docs/reference/choices.md`.

mod access;
mod authorize;
mod background;
mod body;
mod call;
mod certificate;
mod config;
mod connection;
mod cors;
mod door;
mod exchanges;
mod failure;
mod folders;
#[cfg(fuzzing)]
pub mod fuzzing;
mod head;
mod identity;
mod items;
mod keeper;
mod leased;
mod limits;
mod link;
mod listen;
mod metrics;
mod notes;
mod passwords;
mod places;
mod proxies;
mod queues;
mod records;
mod respond;
mod room;
mod route;
mod routes;
mod secret;
mod status;
mod strict;
mod tls;
mod transactions;
mod upkeep;
mod users;
mod weather;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{Semaphore, watch};
use uuid::Uuid;

use self::access::{Access, new_user};
use self::background::Tasks;
use self::config::{Config, MOST_LISTS};
use self::exchanges::Exchanges;
use self::failure::Failure;
use self::leased::JobOwners;
use self::limits::RateLimit;
use self::link::Patience;
use self::metrics::Metrics;
use self::proxies::Proxies;
use self::records::Figures;
use self::room::Room;
use self::route::Routes;
use self::tls::Tls;
use self::weather::Weather;
use crate::model::clock::Clock;
use crate::model::directory::{ADMINISTRATOR, Change, Directory};
use crate::model::key::FolderId;
use crate::model::permission::Scopes;
use crate::model::user::UserType;
use crate::orchestrator::store::Store;
use crate::orchestrator::{ErrorKind, OrchestratorError, Result};

pub use cors::Origin;
pub use keeper::{Keeper, Roles};
pub use proxies::TrustedProxy;
pub use weather::Fault;

/// How many tokens are given out at a time.
const MOST_LOGINS: usize = 256;
/// An Orchestrator in a box, over a store.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use performer::orchestrator::store::Store;
/// use performer::server::Server;
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

/// The application that the first start made. Its secret is told once.
#[derive(Clone)]
pub struct FirstClient {
    /// What it calls itself.
    pub id: String,
    /// Its secret; `None` when it was given from outside.
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
    routes: Routes,
    weather: Weather,
    rate_limit: Option<RateLimit>,
    metrics: Metrics,
    tasks: Tasks,
    figures: Figures,
    exchanges: Exchanges,
    owners: JobOwners,
    /// Another one after each start.
    run: Uuid,
    tls: Option<Tls>,
    /// Requests of those who are known, under way.
    requests: Semaphore,
    /// Tokens that are being given out.
    logins: Semaphore,
    proxies: Proxies,
    /// Memory for bodies and answers.
    room: Arc<Room>,
    /// True when nothing new is taken.
    stopping: watch::Sender<bool>,
}

impl Inner {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Whether everybody who may take items gets some, or robots alone (orchestrator-api 8).
    fn hands_out_to_everybody(&self) -> bool {
        !self.config.strict
    }

    /// The full name of a folder: lists show it. Names of folders that lie in others are put together, and not shown.
    fn folder_name<'a>(&self, directory: &'a Directory, folder: FolderId) -> Option<&'a str> {
        directory.folder(folder).filter(|folder| folder.parent.is_none()).map(|folder| folder.name.as_str())
    }
}

/// How to make a server. Made by [`Server::builder`].
#[must_use = "nothing happens before open()"]
#[derive(Debug)]
pub struct ServerBuilder {
    store: Store,
    config: Config,
    faults: Vec<Fault>,
    rate_limit: Option<usize>,
    first: Option<(String, Given)>,
    log_lines_dropped: Option<Arc<AtomicU64>>,
}

/// A secret from outside.
struct Given(String);

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl ServerBuilder {
    /// The application that the first start makes, where the store has no users yet. Default: one with an id and a secret
    /// of its own making, told by [`Server::first_client`]. A secret from outside has at least 8 bytes.
    pub fn first_client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.first = Some((id.into(), Given(secret.into())));
        self
    }

    /// As hard on clients as the hardest server: items are handed out to robots alone, and bodies with fields that there
    /// are not are refused. Default: off.
    pub fn strict(mut self, strict: bool) -> Self {
        self.config.strict = strict;
        self
    }

    /// The rate limit of the cloud: so many lists of items a minute, up to 1,000,000. Default: none.
    pub fn rate_limit(mut self, a_minute: usize) -> Self {
        self.rate_limit = Some(a_minute.min(MOST_LISTS));
        self
    }

    /// Something that goes wrong on purpose. May be given several times.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A proxy stands before this server and ends TLS. Unless [`trusted_proxy`](Self::trusted_proxy) says where it is, it is
    /// on this machine: its `X-Forwarded-For`, `X-Forwarded-Host` and `X-Forwarded-Proto` are believed when they come from a
    /// loopback address, and ignored from anywhere else. Default: off.
    pub fn behind_proxy(mut self, behind_proxy: bool) -> Self {
        self.config.behind_proxy = behind_proxy;
        self
    }

    /// Where a proxy before this server is whose `X-Forwarded-…` headers are believed. May be given several times; those of
    /// anybody else are ignored. Default: none.
    pub fn trusted_proxy(mut self, proxy: TrustedProxy) -> Self {
        self.config.trusted_proxies.push(proxy);
        self
    }

    /// TLS with a chain of certificates and a key, both in PEM files.
    pub fn tls(mut self, certificates: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.config.tls = Some((certificates.into(), key.into()));
        self
    }

    /// How many connections may be open, up to 1,000,000. Default: 10,000. One address, or a /64 of IPv6, may have as many as are still free,
    /// so about half of all when it is alone; a part is kept for addresses that have none. A proxy that is trusted
    /// has no share. Of those that are too many a few are answered once, 503 or the server's health; others are closed.
    pub fn most_connections(mut self, most: usize) -> Self {
        self.config.most_connections = most.max(1);
        self
    }

    /// How many requests may be under way, up to 1,000,000. More are answered 503. Default: 2,000.
    pub fn most_requests(mut self, most: usize) -> Self {
        self.config.most_requests = most.max(1);
        self
    }

    /// The largest body of a bulk add, in bytes, up to 512 MiB. Others may have a sixteenth of it. Default: 64 MiB.
    pub fn largest_body(mut self, bytes: usize) -> Self {
        (self.config.largest_bulk, self.config.largest_body) = (bytes, (bytes / 16).max(1_024));
        self
    }

    /// How much memory bodies and answers may take, in bytes, from their first byte until they are sent. Default: 512 MiB,
    /// or four times the largest body if that is more; it cannot be less than that. A caller may have as much as is still
    /// free, so half when it is alone; what is more is answered 503. Callers without a token have an eighth together.
    pub fn memory(mut self, bytes: usize) -> Self {
        self.config.memory = Some(bytes);
        self
    }

    /// Pages of this origin may use the server from a browser. May be given several times. Default: none may.
    pub fn cors_origin(mut self, origin: Origin) -> Self {
        self.config.origins.push(origin);
        self
    }

    /// How long a request may take, its body included, up to an hour. Default: 30 seconds.
    pub fn request_limit(mut self, limit: Duration) -> Self {
        self.config.request_limit = limit;
        self
    }

    /// Where the program counts lines of the log that it could not write: `/metrics` shows it. Default: none.
    pub fn log_lines_dropped(mut self, counted: Arc<AtomicU64>) -> Self {
        self.log_lines_dropped = Some(counted);
        self
    }

    /// How long one list may be looked for, the wait for its turn not counted. One that takes longer is answered 400, and told
    /// what to ask for instead. In a store in memory lists have no limit. Default: 10 seconds.
    pub fn list_limit(mut self, limit: Duration) -> Self {
        self.config.list_limit = limit;
        self
    }

    /// How long clients are waited for: for a head, for the next request, and when they take nothing of what is sent. For
    /// tests that do not wait as long.
    #[doc(hidden)]
    pub fn patience(mut self, head: Duration, idle: Duration, stalled: Duration) -> Self {
        self.config.patience = Patience { head, idle, stalled };
        self
    }

    /// Does nothing by itself: no sweeps, no retention. For tests with a clock of their own.
    #[doc(hidden)]
    pub fn without_upkeep(mut self) -> Self {
        self.config.upkeep = false;
        self
    }

    /// Whether this is the first start on the store: it has no users yet, and [`open`](Self::open) makes the first
    /// application.
    ///
    /// # Errors
    ///
    /// Those of the store.
    pub async fn is_first_start(&self) -> Result<bool> {
        let access = Access::open(&self.store, self.store.clock()).await.map_err(told)?;
        Ok(access.is_none())
    }

    /// Opens the store's directory, or makes it.
    ///
    /// # Errors
    ///
    /// Those of the store; Invalid for a number outside its range, or for a secret from outside that is too short; Other
    /// for TLS files that cannot be used.
    pub async fn open(self) -> Result<Server> {
        self.config.validate()?;
        let clock = self.store.clock();
        let memory = self.config.memory()?;
        // Before a secret is made that is shown once.
        let tls = match &self.config.tls {
            Some((certificates, key)) => Some(Tls::open(certificates, key, clock.now())?),
            None => None,
        };
        let (access, first) = match Access::open(&self.store, clock.clone()).await.map_err(told)? {
            Some(access) => (access, None),
            None => {
                let first = self.make_directory().await.map_err(told)?;
                let access = Access::open(&self.store, clock.clone()).await.map_err(told)?;
                let missing = || OrchestratorError::new(ErrorKind::Other, "the new directory is not there");
                (access.ok_or_else(missing)?, Some(first))
            }
        };
        let metrics = Metrics::new();
        if let Some(counted) = self.log_lines_dropped {
            metrics.count_dropped_lines(counted);
        }
        let inner = Inner {
            tls,
            clock,
            access,
            routes: Routes::new(routes::ROUTES),
            weather: Weather::new(self.faults),
            rate_limit: self.rate_limit.map(RateLimit::new),
            room: Room::new(memory, metrics.memory()),
            metrics,
            tasks: Tasks::default(),
            figures: Figures::default(),
            exchanges: Exchanges::new(memory),
            owners: JobOwners::default(),
            run: secret::new_key().map_err(told)?,
            requests: Semaphore::new(self.config.most_requests),
            logins: Semaphore::new(MOST_LOGINS),
            proxies: Proxies::new(self.config.behind_proxy, &self.config.trusted_proxies),
            stopping: watch::Sender::new(false),
            store: self.store,
            config: self.config,
        };
        Ok(Server { inner: Arc::new(inner), first })
    }

    /// The directory of the first start: the application that may do everything.
    async fn make_directory(&self) -> std::result::Result<FirstClient, Failure> {
        let (id, secret, kept) = match &self.first {
            Some((id, Given(secret))) => {
                let given = secret.clone();
                let kept = tokio::task::spawn_blocking(move || secret::kept_slowly(&given)).await;
                let kept = kept.map_err(|_| Failure::internal("a secret could not be hashed"))??;
                (id.clone(), None, kept)
            }
            None => {
                let secret = secret::new_secret()?;
                let kept = secret::kept(&secret);
                (secret::new_key()?.to_string(), Some(secret), kept)
            }
        };
        let template = Directory::new(secret::new_key()?, secret::new_key()?);
        let administrator = template.role_named(ADMINISTRATOR).map(|role| role.id);
        let mut user = new_user("first-application", UserType::DirectoryExternalApplication)?;
        user.tenant_roles.extend(administrator);
        let add = Change::AddClient {
            id: id.clone(),
            name: "The first application".to_owned(),
            secret: kept,
            scopes: Scopes::all(),
            user: Box::new(user),
        };
        Access::make(&self.store, template, vec![add]).await?;
        Ok(FirstClient { id, secret })
    }
}

/// A failure in the words of the back ends.
fn told(failure: Failure) -> OrchestratorError {
    let kind = match failure.status.as_u16() {
        400..=499 => ErrorKind::Invalid,
        503 => ErrorKind::Unavailable,
        _ => ErrorKind::Other,
    };
    let message = failure.cause.unwrap_or(failure.message);
    OrchestratorError::new(kind, message.trim_end_matches('.').to_owned())
}

impl Server {
    /// A server over a store.
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

    /// Reads the files of TLS again, for connections from now on. Answers whether there are any: without TLS there is
    /// nothing to read.
    ///
    /// # Errors
    ///
    /// Other for files that cannot be used; then the old certificate stays in use.
    pub fn reload_certificates(&self) -> Result<bool> {
        let tls = self.inner.tls.as_ref();
        tls.map_or(Ok(false), |tls| tls.reload(self.inner.now()).map(|()| true))
    }

    /// The application that this start made; `None` when the store had users already.
    pub fn first_client(&self) -> Option<&FirstClient> {
        self.first.as_ref()
    }

    /// The names of all routes with their methods and paths, for those who check that each is told of.
    #[doc(hidden)]
    pub fn routes() -> Vec<(String, String, String, String)> {
        let path = |route: &route::Route| {
            let key = if route.keyed { "(1)" } else { "" };
            let action = match route.action {
                "" => String::new(),
                action if route.entity.starts_with("api/") => format!("/{action}"),
                action => format!("/UiPathODataSvc.{action}"),
            };
            let root = if route.entity.starts_with("api/") { "" } else { "odata/" };
            format!("/{root}{}{key}{action}", route.entity)
        };
        let needs = |route: &route::Route| match route.needs {
            route::Needs::Public => "public".to_owned(),
            route::Needs::Token { area, write, place, permissions } => {
                let permissions: Vec<String> = permissions.iter().map(ToString::to_string).collect();
                let access = if write { "Write" } else { "Read" };
                format!("OR.{area}.{access} {place:?} {}", permissions.join(","))
            }
        };
        let all = routes::ROUTES.iter();
        all.map(|route| (route.name.to_owned(), route.method.to_string(), path(route), needs(route)))
            .collect()
    }
}
