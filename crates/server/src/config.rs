//! The settings of a server, with their defaults and ranges.

use std::path::PathBuf;
use std::time::Duration;

use super::connection_monitor::ClientTimeouts;
use super::cors::Origin;
use super::desk::DeskMode;
use super::proxies::TrustedProxy;
use performer_core::model::alert::DEFAULT_ALERT_DAYS;
use performer_core::model::log::LogRetention;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The default memory for bodies and responses, in bytes.
const DEFAULT_MEMORY: usize = 512 * 1024 * 1024;
/// The memory holds at least this many bodies of the maximum size: one caller can use at most half of it.
const MIN_BODIES_IN_MEMORY: usize = 4;

/// The highest limits of connections and requests that can be configured.
const MAX_CONNECTIONS: usize = 1_000_000;
const MAX_REQUESTS: usize = 1_000_000;
/// The highest limit of a body that can be configured, in bytes.
const MAX_BODY: usize = 512 * 1024 * 1024;
/// The longest time limit of a request that can be configured.
const MAX_REQUEST_LIMIT: Duration = Duration::from_secs(3_600);
/// The longest time for which logs and alerts can be kept, in days.
const MAX_LOG_DAYS: usize = 36_500;
/// The highest rate limit that can be configured, in lists of items per minute.
pub(super) const MAX_LISTS_PER_MINUTE: usize = 1_000_000;

/// The settings of a server. [`ServerBuilder`](super::ServerBuilder) describes each.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) strict: bool,
    pub(super) behind_proxy: bool,
    pub(super) trusted_proxies: Vec<TrustedProxy>,
    pub(super) tls: Option<(PathBuf, PathBuf)>,
    pub(super) max_connections: usize,
    pub(super) max_requests: usize,
    pub(super) max_body: usize,
    pub(super) max_bulk_body: usize,
    pub(super) max_file: u64,
    pub(super) request_limit: Duration,
    pub(super) list_limit: Duration,
    /// In bytes; `None` for the default.
    pub(super) memory: Option<usize>,
    pub(super) timeouts: ClientTimeouts,
    pub(super) origins: Vec<Origin>,
    pub(super) maintenance: bool,
    pub(super) desk: DeskMode,
    pub(super) log_retention: LogRetention,
    /// For how many days alerts are kept.
    pub(super) alert_days: u32,
    /// Whether events are sent to addresses that are not public.
    pub(super) webhooks_allow_private: bool,
}

impl Config {
    /// Checks the ranges of all numbers.
    pub(super) fn validate(&self) -> Result<()> {
        let within = |what: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            let message = format!("{what} is {value}, but must be between 1 and {most}");
            Err(OrchestratorError::new(ErrorKind::Invalid, message))
        };
        within("the maximum number of connections", self.max_connections, MAX_CONNECTIONS)?;
        within("the maximum number of requests", self.max_requests, MAX_REQUESTS)?;
        within("the maximum body size in bytes", self.max_bulk_body, MAX_BODY)?;
        within("the number of days for which logs are kept", self.log_retention.days as usize, MAX_LOG_DAYS)?;
        within("the number of days for which alerts are kept", self.alert_days as usize, MAX_LOG_DAYS)?;
        if self.request_limit.is_zero() || self.request_limit > MAX_REQUEST_LIMIT {
            let message = format!(
                "the time limit of a request is {:?}, but must be more than 0 and at most {MAX_REQUEST_LIMIT:?}",
                self.request_limit
            );
            return Err(OrchestratorError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// The memory for all bodies and responses, in bytes.
    pub(super) fn memory(&self) -> Result<usize> {
        let least = self.max_bulk_body.saturating_mul(MIN_BODIES_IN_MEMORY);
        let memory = self.memory.unwrap_or(DEFAULT_MEMORY.max(least));
        if memory >= least {
            return Ok(memory);
        }
        Err(OrchestratorError::new(
            ErrorKind::Invalid,
            format!(
                "{memory} bytes of memory for bodies and responses are too few: bodies of {} bytes need at least {least}",
                self.max_bulk_body
            ),
        ))
    }

    /// The time limit of a query for a list, including the wait for its turn.
    pub(super) fn query_limit(&self) -> Duration {
        self.request_limit
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            strict: false,
            behind_proxy: false,
            trusted_proxies: Vec::new(),
            tls: None,
            max_connections: 10_000,
            max_requests: 2_000,
            max_body: 4 * 1024 * 1024,
            max_bulk_body: 64 * 1024 * 1024,
            max_file: 4 * 1024 * 1024 * 1024,
            request_limit: Duration::from_secs(30),
            list_limit: Duration::from_secs(10),
            memory: None,
            timeouts: ClientTimeouts::default(),
            origins: Vec::new(),
            maintenance: true,
            desk: DeskMode::default(),
            log_retention: LogRetention::default(),
            alert_days: DEFAULT_ALERT_DAYS,
            webhooks_allow_private: false,
        }
    }
}
