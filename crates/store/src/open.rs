//! Opens the store at a URL.

use super::Store;
#[cfg(not(all(feature = "sqlite", feature = "postgres")))]
use performer_core::orchestrator::ErrorKind;
use performer_core::orchestrator::{BoxFuture, OrchestratorError, Result, split_url};

impl Store {
    /// Opens the store at a URL: `sqlite:` and a path, `postgres://…`, or `memory:`.
    ///
    /// # Errors
    ///
    /// Invalid for any other URL; otherwise as [`sqlite`](Self::sqlite) and [`postgres`](Self::postgres).
    pub async fn open(url: &str) -> Result<Self> {
        Self::open_boxed(url).await
    }

    #[inline(never)]
    fn open_boxed(url: &str) -> BoxFuture<'_, Result<Self>> {
        Box::pin(Self::open_url(url))
    }

    async fn open_url(url: &str) -> Result<Self> {
        let (scheme, rest) = split_url(url)?;
        match scheme.to_ascii_lowercase().as_str() {
            "memory" if rest.is_empty() => Ok(Self::memory()),
            "memory" => Err(OrchestratorError::invalid(format!(
                "memory: takes nothing behind the colon, not {rest:?}"
            ))),
            "sqlite" => Self::open_sqlite(rest).await,
            "postgres" | "postgresql" => Self::open_postgres(url).await,
            scheme => {
                let known = "sqlite:, postgres: and memory:";
                Err(OrchestratorError::invalid(format!("{scheme}: is no store; stores are {known}")))
            }
        }
    }

    #[cfg(feature = "sqlite")]
    async fn open_sqlite(rest: &str) -> Result<Self> {
        let path = rest.strip_prefix("//").unwrap_or(rest);
        if path.is_empty() {
            return Err(OrchestratorError::invalid(
                "sqlite: needs the path of a file, as in sqlite:invoices.db".to_owned(),
            ));
        }
        if path == ":memory:" {
            return Err(OrchestratorError::invalid(
                "sqlite::memory: is not a file; use memory: instead".to_owned(),
            ));
        }
        if let Some((_, query)) = path.split_once('?') {
            return Err(OrchestratorError::invalid(format!(
                "unknown option {query:?}: sqlite: takes a path and no options"
            )));
        }
        Self::sqlite(path).await
    }

    #[cfg(feature = "postgres")]
    async fn open_postgres(url: &str) -> Result<Self> {
        Self::postgres(url).await
    }

    #[cfg(not(feature = "postgres"))]
    async fn open_postgres(_url: &str) -> Result<Self> {
        let message =
            "performer was built without its feature \"postgres\"; build it with --features postgres";
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }

    #[cfg(not(feature = "sqlite"))]
    async fn open_sqlite(_rest: &str) -> Result<Self> {
        let message = "performer was built without its feature \"sqlite\"; build it with --features sqlite";
        Err(OrchestratorError::new(ErrorKind::Unsupported, message))
    }
}
