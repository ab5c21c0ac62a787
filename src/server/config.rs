//! How a server behaves: what its builder was told, with defaults and bounds.

use std::path::PathBuf;
use std::time::Duration;

use super::cors::Origin;
use super::connection_monitor::ClientTimeouts;
use super::proxies::TrustedProxy;
use crate::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The most bytes of all bodies and answers, unless another number is given.
const DEFAULT_MEMORY: usize = 512 * 1024 * 1024;
/// So many of the largest bodies have to fit into it: a caller has at most half.
const MIN_BODIES_IN_MEMORY: usize = 4;

/// The most connections and requests that a server can be set to.
const MAX_CONNECTIONS: usize = 1_000_000;
const MAX_REQUESTS: usize = 1_000_000;
/// The largest body that a server can be set to take, in bytes.
const MAX_BODY: usize = 512 * 1024 * 1024;
/// The longest time that a request can be given.
const MAX_REQUEST_LIMIT: Duration = Duration::from_secs(3_600);
/// The most lists of items a minute that a rate limit can be set to.
pub(super) const MAX_LISTS_PER_MINUTE: usize = 1_000_000;

/// How a server behaves.
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
    pub(super) request_limit: Duration,
    pub(super) list_limit: Duration,
    /// In bytes; `None` for what suits the largest body.
    pub(super) memory: Option<usize>,
    pub(super) timeouts: ClientTimeouts,
    pub(super) origins: Vec<Origin>,
    pub(super) maintenance: bool,
}

impl Config {
    /// Checks the numbers.
    pub(super) fn validate(&self) -> Result<()> {
        let within = |what: &str, value: usize, most: usize| {
            if (1..=most).contains(&value) {
                return Ok(());
            }
            let message = format!("{what} are {value}; it should be between 1 and {most}");
            Err(OrchestratorError::new(ErrorKind::Invalid, message))
        };
        within("the most connections", self.max_connections, MAX_CONNECTIONS)?;
        within("the most requests", self.max_requests, MAX_REQUESTS)?;
        within("the bytes of the largest body", self.max_bulk_body, MAX_BODY)?;
        if self.request_limit.is_zero() || self.request_limit > MAX_REQUEST_LIMIT {
            let message = format!(
                "a request may take {:?}; it should be more than nothing and at most {MAX_REQUEST_LIMIT:?}",
                self.request_limit
            );
            return Err(OrchestratorError::new(ErrorKind::Invalid, message));
        }
        Ok(())
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }

    /// The most bytes of all bodies and answers.
    pub(super) fn memory(&self) -> Result<usize> {
        let least = self.max_bulk_body.saturating_mul(MIN_BODIES_IN_MEMORY);
        let memory = self.memory.unwrap_or(DEFAULT_MEMORY.max(least));
        if memory >= least {
            return Ok(memory);
        }
        Err(OrchestratorError::new(
            ErrorKind::Invalid,
            format!(
                "{memory} bytes of memory for bodies and responses are too few: with bodies of {} bytes it takes {least}",
                self.max_bulk_body
            ),
        ))
    }

    /// How long a list may take, the wait for its turn included.
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
            request_limit: Duration::from_secs(30),
            list_limit: Duration::from_secs(10),
            memory: None,
            timeouts: ClientTimeouts::default(),
            origins: Vec::new(),
            maintenance: true,
        }
    }
}
