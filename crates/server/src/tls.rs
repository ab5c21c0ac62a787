//! TLS: the certificate and its key, loaded from files and reloaded on request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use super::certificate;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_core::private_file::warn_if_open_to_others;

/// The ALPN name of HTTP/2.
pub(super) const H2: &[u8] = b"h2";

/// A certificate that expires within this time causes a warning.
const EXPIRY_WARNING: Duration = Duration::from_secs(30 * 86_400);

/// The certificate of a server, as last loaded.
pub(super) struct Tls {
    certificates: PathBuf,
    key: PathBuf,
    loaded: RwLock<Loaded>,
}

#[derive(Clone)]
struct Loaded {
    acceptor: TlsAcceptor,
    /// The start and end of the validity of the certificate, if they can be parsed.
    validity: Option<(Timestamp, Timestamp)>,
}

impl Tls {
    /// Loads the files.
    ///
    /// # Errors
    ///
    /// Other, with the name of the file that cannot be used.
    pub(super) fn open(certificates: &Path, key: &Path, now: Timestamp) -> Result<Self> {
        let loaded = RwLock::new(load(certificates, key)?);
        let tls = Self { certificates: certificates.to_owned(), key: key.to_owned(), loaded };
        tls.warn_about_expiry(now);
        Ok(tls)
    }

    /// Reloads the files for new connections. If they cannot be used, the old certificate stays in use.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub(super) fn reload(&self, now: Timestamp) -> Result<()> {
        let loaded = load(&self.certificates, &self.key)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        self.warn_about_expiry(now);
        Ok(())
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        self.loaded().acceptor
    }

    fn loaded(&self) -> Loaded {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Logs a warning if the certificate in use is not valid now or expires soon.
    pub(super) fn warn_about_expiry(&self, now: Timestamp) {
        let Some((from, until)) = self.loaded().validity else { return };
        let path = self.certificates.display();
        if until <= now {
            tracing::warn!(%path, %until, "the certificate for TLS has expired; clients refuse it");
        } else if from > now {
            tracing::warn!(%path, %from, "the certificate for TLS is not valid yet; clients refuse it");
        } else if until.duration_since(now).unsigned_abs() < EXPIRY_WARNING {
            tracing::warn!(%path, %until, "the certificate for TLS expires soon");
        }
    }
}

/// Builds the TLS configuration from the files.
fn load(certificates: &Path, key: &Path) -> Result<Loaded> {
    let tls_error = |path: &Path, why: String| {
        OrchestratorError::new(ErrorKind::Other, format!("{} cannot be used for TLS: {why}", path.display()))
    };
    let chain: std::result::Result<Vec<CertificateDer<'static>>, _> =
        CertificateDer::pem_file_iter(certificates).and_then(Iterator::collect);
    let chain = chain.map_err(|error| tls_error(certificates, error.to_string()))?;
    let Some(first) = chain.first() else {
        return Err(tls_error(certificates, "there is no certificate in it".to_owned()));
    };
    let validity = certificate::validity(first);
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| tls_error(key, error.to_string()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| tls_error(certificates, error.to_string()))?
        .with_no_client_auth()
        .with_single_cert(chain, private);
    let mut config = config.map_err(|error| tls_error(key, error.to_string()))?;
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    warn_if_open_to_others(key, "the private key for TLS");
    Ok(Loaded { acceptor: TlsAcceptor::from(Arc::new(config)), validity })
}
