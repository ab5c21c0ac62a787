//! The interface to the queues, and its back ends.
//!
//! [`Orchestrator`] has the operations of a performer; [`Administration`] adds those of people. [`connect`] selects the back
//! end by a URL and wraps it in [`Observed`], which traces every call.

use std::sync::Arc;

use performer_core::model::audit::Actor;
pub use performer_core::orchestrator::*;
#[cfg(feature = "uipath")]
pub use performer_uipath as uipath;

pub use performer_store as store;

/// Connects to the Orchestrator at a URL.
///
/// | URL | back end |
/// |---|---|
/// | `sqlite:invoices.db`, `sqlite:///var/lib/robots.db` | a SQLite file, which is created if it does not exist (feature `sqlite`, on by default) |
/// | `postgres://user@host/database`, `postgresql://…` | a PostgreSQL database (feature `postgres`) |
/// | `memory:` | the memory of this process |
/// | `https://cloud.uipath.com/acme/Prod/orchestrator_`, `https://orchestrator.example.com` | a UiPath Orchestrator, or performer's own server (feature `uipath`, on by default), with [settings from the environment](uipath::UipathBuilder::environment) |
/// | `uipath:` | the Orchestrator in whose job this program runs, at the URL in `UIPATH_URL` |
///
/// # Errors
///
/// Invalid for an invalid URL, Unsupported for a scheme whose feature is off; otherwise the errors of opening the back end.
pub async fn connect(url: &str) -> Result<Arc<dyn Administration>> {
    connect_boxed(url, None).await
}

/// As [`connect`], and the audit of a store names this actor for what is changed through it. An Orchestrator over HTTP names the
/// user that the credentials are of.
///
/// # Errors
///
/// As [`connect`].
pub async fn connect_as(url: &str, actor: Actor) -> Result<Arc<dyn Administration>> {
    connect_boxed(url, Some(actor)).await
}

#[inline(never)]
fn connect_boxed(url: &str, actor: Option<Actor>) -> BoxFuture<'_, Result<Arc<dyn Administration>>> {
    Box::pin(connect_to(url, actor))
}

async fn connect_to(url: &str, actor: Option<Actor>) -> Result<Arc<dyn Administration>> {
    let (scheme, rest) = split_url(url)?;
    match scheme.to_ascii_lowercase().as_str() {
        "memory" | "sqlite" | "postgres" | "postgresql" => {
            let store = store::Store::open(url).await?;
            let store = match actor {
                Some(actor) => store.acting_as(actor),
                None => store,
            };
            Ok(Arc::new(Observed::new(store)))
        }
        "http" | "https" => connect_uipath(url).await,
        "uipath" if rest.is_empty() => {
            let url = std::env::var("UIPATH_URL");
            connect_uipath(&url.map_err(|_| {
                OrchestratorError::invalid("uipath: requires UIPATH_URL, which is set in a job".to_owned())
            })?)
            .await
        }
        // The rest of the URL is not quoted, because it may contain a secret.
        scheme => Err(OrchestratorError::invalid(format!(
            "unknown scheme {scheme:?}; known are sqlite:, postgres:, memory:, https: and uipath:"
        ))),
    }
}

#[cfg(feature = "uipath")]
async fn connect_uipath(url: &str) -> Result<Arc<dyn Administration>> {
    Ok(Arc::new(Observed::new(uipath::Uipath::builder(url).environment()?.connect().await?)))
}

#[cfg(not(feature = "uipath"))]
async fn connect_uipath(_url: &str) -> Result<Arc<dyn Administration>> {
    let message = "performer was built without its feature \"uipath\"; build it with --features uipath";
    Err(OrchestratorError::new(ErrorKind::Unsupported, message))
}
