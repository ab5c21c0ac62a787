//! The TLS configuration: the ring provider and the certificate authorities of the operating system.

use std::sync::Arc;

use rustls::crypto::ring::default_provider;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::address::Address;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// TLS 1.2 and 1.3. For an http: address no certificate authorities are loaded, because the machine may have none.
pub(super) fn configuration(address: &Address) -> Result<ClientConfig> {
    let failed = |error: rustls::Error| {
        OrchestratorError::new(
            ErrorKind::Other,
            "TLS cannot be set up: the system's certificate authorities are missing or cannot be read",
        )
        .with_source(error)
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let mut configuration = if address.base.starts_with("https:") {
        builder.with_platform_verifier().map_err(failed)?.with_no_client_auth()
    } else {
        builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
    };
    configuration.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(configuration)
}
