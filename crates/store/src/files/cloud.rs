//! The storage services of clouds: S3 and what is compatible with it, Azure Blob Storage, Google Cloud Storage. What they need besides the
//! URL (keys, regions, endpoints) is read from their usual variables of the environment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::signer::Signer;
use object_store::{ClientOptions, ObjectStore};
use rustls_platform_verifier::BuilderVerifierExt as _;

use super::{AddressUse, FileStorage, StorageAddress, StorageKind};
use performer_core::orchestrator::{OrchestratorError, Result};

/// How long a call to the service may get no answer.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

impl FileStorage {
    pub(super) fn cloud(scheme: &str, url: &str) -> Result<Self> {
        let needs_blob_type = !matches!(scheme, "s3" | "s3a" | "gs");
        match scheme {
            "s3" | "s3a" => {
                let builder = AmazonS3Builder::from_env().with_url(url).with_http_connector(Connector);
                Self::of_cloud(url, builder.build(), needs_blob_type)
            }
            "gs" => {
                let builder =
                    GoogleCloudStorageBuilder::from_env().with_url(url).with_http_connector(Connector);
                Self::of_cloud(url, builder.build(), needs_blob_type)
            }
            _ => {
                let builder = MicrosoftAzureBuilder::from_env().with_url(url).with_http_connector(Connector);
                Self::of_cloud(url, builder.build(), needs_blob_type)
            }
        }
    }

    fn of_cloud<S: ObjectStore + Signer>(
        url: &str,
        service: object_store::Result<S>,
        needs_blob_type: bool,
    ) -> Result<Self> {
        let service = Arc::new(service.map_err(|error| unusable(&error))?);
        // `s3://bucket/a/b`: what is behind the bucket stands before all paths.
        let behind = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
        let prefix = behind.map_or("", |(_, prefix)| prefix.trim_matches('/'));
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        let new = Self::new(service.clone(), StorageKind::Cloud { needs_blob_type });
        Ok(Self { signer: Some(service), prefix, ..new })
    }

    pub(super) async fn signed(
        &self,
        signer: &dyn Signer,
        path: &str,
        address_use: AddressUse,
        valid_for: Duration,
    ) -> Result<StorageAddress> {
        let needs_blob_type = matches!(self.kind, StorageKind::Cloud { needs_blob_type: true });
        let (method, headers) = match address_use {
            AddressUse::Read => (http::Method::GET, Vec::new()),
            AddressUse::Write if needs_blob_type => {
                (http::Method::PUT, vec![("x-ms-blob-type", "BlockBlob")])
            }
            AddressUse::Write => (http::Method::PUT, Vec::new()),
        };
        let signed = signer.signed_url(method, &self.place(path)?, valid_for).await;
        let uri = signed.map_err(super::failed)?.to_string();
        Ok(StorageAddress { uri, headers })
    }
}

/// The message names settings, and no secrets.
fn unusable(error: &dyn fmt::Display) -> OrchestratorError {
    OrchestratorError::invalid(format!("the storage of files cannot be used: {error}"))
}

/// Connects with the TLS of this project: certificates are judged as the operating system judges them.
#[derive(Debug)]
struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| object_store::Error::Generic {
            store: "the storage of files",
            source,
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider);
        let tls = tls.with_safe_default_protocol_versions().map_err(|error| failed(error.into()))?;
        let tls = tls.with_platform_verifier().map_err(|error| failed(error.into()))?.with_no_client_auth();
        let client = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build();
        Ok(HttpClient::new(client.map_err(|error| failed(error.into()))?))
    }
}
