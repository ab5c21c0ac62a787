//! Who the caller is, what it may do, and what the connection to the server is like: for people who look why something does not
//! work.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822;
use reqwest::tls::TlsInfo;
use reqwest::{Client, header};
use tokio::time::Instant;

use super::call::Call;
use super::{Uipath, tls};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::caller::{CurrentUserDto, UserPermissionsDto};

/// The caller, as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Caller {
    /// The number of the user.
    pub id: i64,
    /// The name of the user, or of the application.
    pub user_name: String,
    /// What it may do in the tenant or in any of its folders, such as `Queues.View`, sorted.
    pub permissions: Vec<String>,
}

/// What a connection to the server is like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionProbe {
    /// How long a new connection and one request took.
    pub took: Duration,
    /// The time of day of the server, in whole seconds, if it says so.
    pub server_time: Option<Timestamp>,
    /// The certificate of the server in DER; `None` without TLS.
    pub certificate: Option<Vec<u8>>,
}

impl Uipath {
    /// Whether the server is performer's own, with leases, claims and jobs of performers.
    pub fn has_leases(&self) -> bool {
        self.inner.supports_leases()
    }

    /// Reads who the caller is and what it may do.
    ///
    /// # Errors
    ///
    /// Unauthorized if the server does not know it; Unavailable if the server cannot be reached.
    pub async fn caller(&self) -> Result<Caller> {
        let path = |name: &str| format!("/odata/Users/UiPath.Server.Configuration.OData.{name}");
        let http = &self.inner.http;
        let user: CurrentUserDto = http.json(Call::get("GetCurrentUser", path("GetCurrentUser"))).await?;
        let may: UserPermissionsDto =
            http.json(Call::get("GetCurrentPermissions", path("GetCurrentPermissions"))).await?;
        let mut permissions = may.permissions;
        permissions.sort();
        Ok(Caller { id: user.id, user_name: user.user_name.unwrap_or_default(), permissions })
    }

    /// Makes a new connection and one request without credentials, whatever its answer is.
    ///
    /// # Errors
    ///
    /// Unavailable if the server cannot be reached, or its certificate is not accepted.
    pub async fn probe(&self) -> Result<ConnectionProbe> {
        let address = &self.inner.http.address;
        let failed = |error: reqwest::Error| {
            let message = format!("{} cannot be reached", address.base);
            OrchestratorError::new(ErrorKind::Unavailable, message).with_source(error.without_url())
        };
        let builder = Client::builder()
            .tls_backend_preconfigured(tls::configuration(address)?)
            .tls_info(true)
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(10));
        // As for other requests: unencrypted ones do not go through a proxy.
        let builder = if address.base.starts_with("http:") { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(failed)?;
        let began = Instant::now();
        let answer = client.get(format!("{}/api/status", address.base)).send().await.map_err(failed)?;
        let took = began.elapsed();
        let date = answer.headers().get(header::DATE).and_then(|date| date.to_str().ok());
        let certificate = answer.extensions().get::<TlsInfo>().and_then(TlsInfo::peer_certificate);
        Ok(ConnectionProbe {
            took,
            server_time: date.and_then(|date| rfc2822::parse(date).ok()).map(|at| at.timestamp()),
            certificate: certificate.map(<[u8]>::to_vec),
        })
    }
}
