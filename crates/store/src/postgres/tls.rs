//! TLS to a database, as libpq's `sslmode` means it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::address::Trust;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// TLS 1.2 and 1.3, with this trust.
pub(super) fn connector(trust: &Trust) -> Result<MakeRustlsConnect> {
    let failed = |error: Error| other("TLS cannot be set up".to_owned()).with_source(error);
    let provider = Arc::new(default_provider());
    let inner: Option<Arc<dyn ServerCertVerifier>> = match trust {
        Trust::NoTls | Trust::Anybody => None,
        Trust::Authorities { root: None, .. } => {
            Some(Arc::new(Verifier::new(provider.clone()).map_err(failed)?))
        }
        Trust::Authorities { root: Some(path), .. } => {
            let unusable =
                |why: String| other(format!("{} cannot be used as sslrootcert: {why}", path.display()));
            let certificates =
                CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
            let mut roots = RootCertStore::empty();
            for certificate in certificates {
                let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
                roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
            }
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
            Some(verifier.map_err(|error| unusable(error.to_string()))?)
        }
    };
    let checks_name = matches!(trust, Trust::Authorities { checks_name: true, .. });
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let verifier = Arc::new(SslModeVerifier { inner, checks_name, provider: provider.clone(), schemes });
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

fn other(message: String) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Other, message)
}

/// Verifies as the URL says. `require` asks for encryption only, as in libpq.
#[derive(Debug)]
struct SslModeVerifier {
    inner: Option<Arc<dyn ServerCertVerifier>>,
    checks_name: bool,
    provider: Arc<rustls::crypto::CryptoProvider>,
    schemes: Vec<SignatureScheme>,
}

impl ServerCertVerifier for SslModeVerifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, Error> {
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        match inner.verify_server_cert(certificate, chain, name, ocsp, now) {
            // `verify-ca`: the authority is known, whatever the name.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.checks_name => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, Error> {
        let known = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}
