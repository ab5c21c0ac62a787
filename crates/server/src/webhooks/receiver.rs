//! Requests to the addresses of webhooks: signed, with time limits, without redirects and proxies, to public addresses only.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, Url};
use ring::hmac;
use secrecy::{ExposeSecret as _, SecretString};

use super::addresses::is_public;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::webhook::WebhookSettings;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a request may take with everything, up to the head of the answer. The body of an answer is not read.
pub(super) const REQUEST_LIMIT: Duration = Duration::from_secs(10);

const SIGNATURE: &str = "X-UiPath-Signature";

/// Sends events.
pub(in super::super) struct Receivers {
    /// Made when they are needed first: a server without webhooks need not have what they need, such as the authorities of the system.
    checked: OnceLock<Client>,
    /// For webhooks that allow insecure connections.
    unchecked: OnceLock<Client>,
    allow_private: bool,
}

impl Receivers {
    pub(in super::super) fn new(allow_private: bool) -> Self {
        Self { checked: OnceLock::new(), unchecked: OnceLock::new(), allow_private }
    }

    fn client(&self, is_insecure: bool) -> Result<&Client, String> {
        let cell = if is_insecure { &self.unchecked } else { &self.checked };
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        // Both clients need one; a program that has chosen another one keeps it.
        _ = rustls::crypto::ring::default_provider().install_default();
        let builder = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(REQUEST_LIMIT)
            .dns_resolver(PublicNames { allow_private: self.allow_private });
        let builder = match is_insecure {
            true => builder.tls_danger_accept_invalid_certs(true),
            false => builder.https_only(true),
        };
        let client = builder.build().map_err(described)?;
        Ok(cell.get_or_init(|| client))
    }

    /// Sends a body, and returns the status of the answer.
    ///
    /// # Errors
    ///
    /// What went wrong, for people: without the URL, which may have a token in it.
    pub(super) async fn send(
        &self,
        settings: &WebhookSettings,
        secret: Option<&SecretString>,
        body: Vec<u8>,
    ) -> Result<u16, String> {
        let url = Url::parse(&settings.url).map_err(|error| format!("the URL cannot be read: {error}"))?;
        self.check_literal(&url)?;
        let mut request = self
            .client(settings.allow_insecure_ssl)?
            .post(url)
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header(USER_AGENT, concat!("performer/", env!("CARGO_PKG_VERSION")));
        if let Some(secret) = secret {
            request = request.header(SIGNATURE, signature(secret, &body));
        }
        match request.body(body).send().await {
            Ok(answer) => Ok(answer.status().as_u16()),
            Err(error) => Err(described(error)),
        }
    }

    /// An address in the URL itself is not resolved.
    fn check_literal(&self, url: &Url) -> Result<(), String> {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match literal {
            Ok(address) if !self.allow_private && !is_public(address) => Err(NotPublic.to_string()),
            _ => Ok(()),
        }
    }
}

/// The signature of a body: base64 of HMAC-SHA-256 with the secret as the key.
fn signature(secret: &SecretString, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret().as_bytes());
    STANDARD.encode(hmac::sign(&key, body))
}

/// An error and its causes.
fn described(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// Checks the URL of a webhook as a whole.
///
/// # Errors
///
/// Code 1009 if requests cannot be sent to it.
pub(in super::super) fn check_url(url: &str) -> Result<(), Refusal> {
    let invalid = |why: String| {
        Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("the URL of a webhook cannot be used: {why}"))
    };
    let parsed = Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    if parsed.has_host() { Ok(()) } else { Err(invalid("it names no host".to_owned())) }
}

/// Resolves names, and passes over addresses that are not public. As the connection is made to what this returns, a name cannot be
/// resolved to one address when it is checked and to another one when it is used.
struct PublicNames {
    allow_private: bool,
}

#[derive(Debug)]
struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the address is not one of the public internet; a server that is started with --webhooks-allow-private sends to it",
        )
    }
}

impl std::error::Error for NotPublic {}

impl Resolve for PublicNames {
    fn resolve(&self, name: Name) -> Resolving {
        let allow_private = self.allow_private;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await?
                .filter(|address| allow_private || is_public(address.ip()))
                .collect();
            if found.is_empty() {
                return Err(Box::from(NotPublic));
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The value is the one of RFC 4231, test case 2, in base64.
    #[test]
    fn a_signature_is_base64_of_an_hmac() {
        let signed = signature(&"Jefe".to_owned().into(), b"what do ya want for nothing?");
        assert_eq!(signed, "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM=");
    }

    #[tokio::test]
    async fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        let receivers = Receivers::new(false);
        for url in [
            "http://127.0.0.1:9/",
            "http://2130706433:9/",
            "http://0x7f.1:9/",
            "http://0177.0.0.1:9/",
            "http://localhost:9/",
            "http://[::1]:9/",
            "http://[::ffff:127.0.0.1]:9/",
            "http://169.254.169.254/latest/meta-data",
            "http://0.0.0.0:9/",
        ] {
            let mut settings = WebhookSettings::new("x", url);
            settings.allow_insecure_ssl = true;
            let error = receivers.send(&settings, None, Vec::new()).await.unwrap_err();
            assert!(error.contains("public internet"), "{url}: {error}");
        }
    }
}
