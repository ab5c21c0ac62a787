//! Access tokens: shared by all calls, and renewed before they expire (orchestrator-api 1).

use std::fmt;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::address::Address;
use super::request::{Answer, Http, Outgoing};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::identity::{AuthenticateRequest, AuthenticateResponse, TokenResponse};

/// The credentials of the caller.
#[derive(Clone)]
pub(super) enum Credentials {
    /// A confidential external application.
    Client { id: String, secret: SecretString, scope: String },
    /// A personal access token, or the token of a running job. It cannot be renewed.
    Token(SecretString),
    /// A user of a standalone installation.
    User { tenant: String, name: String, password: SecretString },
}

/// Shows names, but no secret.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client { id, scope, .. } => {
                f.debug_struct("Client").field("id", id).field("scope", scope).finish_non_exhaustive()
            }
            Self::Token(_) => f.write_str("Token"),
            Self::User { tenant, name, .. } => {
                f.debug_struct("User").field("tenant", tenant).field("name", name).finish_non_exhaustive()
            }
        }
    }
}

/// The default scope: queues, and the state of the job that the performer runs in.
pub(super) const DEFAULT_SCOPE: &str = "OR.Queues OR.Jobs.Read";

/// The caller's credentials and current token.
pub(super) struct Identity {
    credentials: Credentials,
    token: RwLock<Option<Token>>,
    /// Held by the one task that renews the token; contains the last failure.
    renewing: Mutex<Option<FailedRenewal>>,
}

/// A failed renewal. Its error is returned to all callers that waited for it, and to all others until the retry delay is over.
struct FailedRenewal {
    error: OrchestratorError,
    at: Instant,
    until: Instant,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    /// Incremented by every renewal.
    generation: u64,
    renew_at: Instant,
    expires_at: Instant,
}

/// The header with a token, and the generation of the token.
pub(super) struct Authorization {
    pub(super) header: HeaderValue,
    pub(super) generation: u64,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.credentials.fmt(f)
    }
}

impl Identity {
    pub(super) fn new(credentials: Credentials) -> Result<Self> {
        let token = match &credentials {
            Credentials::Token(token) => {
                let far = Instant::now() + Duration::from_secs(365 * 86_400);
                Some(Token { header: bearer(token)?, generation: 1, renew_at: far, expires_at: far })
            }
            _ => None,
        };
        Ok(Self { credentials, token: RwLock::new(token), renewing: Mutex::new(None) })
    }

    /// A name that identifies the caller and contains no secret.
    pub(super) fn name(&self) -> String {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        match &self.credentials {
            Credentials::Client { id, .. } => id.clone(),
            Credentials::User { tenant, name, .. } => format!("{tenant} {name}"),
            Credentials::Token(token) => {
                let mut hash = DefaultHasher::new();
                token.expose_secret().hash(&mut hash);
                hash.finish().to_string()
            }
        }
    }

    /// The current token. Renews it if there is none, or after four fifths of its lifetime.
    pub(super) async fn authorization(&self, http: &Http) -> Result<Authorization> {
        let Some(token) = self.current() else { return self.renew(http, 0).await };
        let now = Instant::now();
        if now < token.renew_at {
            return Ok(token.authorization());
        }
        // One caller renews; the others use the old token while it is valid.
        match self.renewing.try_lock() {
            Err(_) if now < token.expires_at => return Ok(token.authorization()),
            guard => drop(guard),
        }
        match self.renew(http, token.generation).await {
            Err(_) if now < token.expires_at => Ok(token.authorization()),
            renewed => renewed,
        }
    }

    /// Returns a token newer than generation `old`. Concurrent callers share one renewal.
    pub(super) async fn renew(&self, http: &Http, old: u64) -> Result<Authorization> {
        let asked = Instant::now();
        let mut last = self.renewing.lock().await;
        if let Some(token) = self.current()
            && token.generation > old
        {
            return Ok(token.authorization());
        }
        if let Some(refused) = last.as_ref().filter(|last| last.at >= asked || last.until > Instant::now()) {
            return Err(refused.error.clone());
        }
        let (token, seconds) = match self.fetch(http).await {
            Ok(fetched) => fetched,
            Err(error) => {
                let at = Instant::now();
                let until = at + error.retry_after().unwrap_or_default();
                *last = Some(FailedRenewal { error: error.clone(), at, until });
                return Err(error);
            }
        };
        *last = None;
        let (now, life) = (Instant::now(), Duration::from_secs(seconds) / http.timing.speedup);
        let token = Token {
            header: bearer(&token)?,
            generation: old + 1,
            renew_at: now + life * 4 / 5,
            expires_at: now + life,
        };
        let authorization = token.authorization();
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
        Ok(authorization)
    }

    fn current(&self) -> Option<Token> {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn fetch(&self, http: &Http) -> Result<(SecretString, u64)> {
        let (url, body, content_type) = self.request(&http.address)?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        let body = Some(body.into_bytes());
        let outgoing = Outgoing { method: Method::POST, url, headers, body, is_secret: true };
        http.exchange_repeatedly("the token request", outgoing, |answer| self.read(answer))
            .await
            .map_err(refused)
    }

    fn request(&self, address: &Address) -> Result<(String, String, &'static str)> {
        match &self.credentials {
            Credentials::Client { id, secret, scope } => {
                let body = [
                    ("grant_type", "client_credentials"),
                    ("client_id", id),
                    ("client_secret", secret.expose_secret()),
                    ("scope", scope),
                ];
                Ok((address.identity.clone(), form(&body), "application/x-www-form-urlencoded"))
            }
            Credentials::User { tenant, name, password } => {
                let body = AuthenticateRequest {
                    tenancy_name: tenant,
                    username_or_email_address: name,
                    password: password.expose_secret(),
                };
                let body = serde_json::to_string(&body).unwrap_or_default();
                Ok((format!("{}/api/Account/Authenticate", address.base), body, "application/json"))
            }
            Credentials::Token(_) => {
                let message =
                    "the access token was refused and cannot be renewed: it has expired or was revoked";
                Err(OrchestratorError::new(ErrorKind::Unauthorized, message))
            }
        }
    }

    fn read(&self, answer: &Answer) -> Option<(SecretString, u64)> {
        match &self.credentials {
            Credentials::User { .. } => answer.json::<AuthenticateResponse>()?.into_token(),
            _ => Some(answer.json::<TokenResponse>()?.into_token()),
        }
    }
}

impl Token {
    fn authorization(&self) -> Authorization {
        Authorization { header: self.header.clone(), generation: self.generation }
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue> {
    let header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret().trim()));
    let mut header = header.map_err(|_| {
        OrchestratorError::new(ErrorKind::Invalid, "the access token contains invalid characters")
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// Every permanent refusal by an identity server is about the credentials.
fn refused(error: OrchestratorError) -> OrchestratorError {
    if error.is_temporary() {
        return error
            .reworded(ErrorKind::Unavailable, |message| format!("no token can be obtained: {message}"));
    }
    error.reworded(ErrorKind::Unauthorized, |message| format!("the credentials were refused: {message}"))
}

/// Encodes the fields of a form.
fn form(fields: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://form").expect("a constant URL");
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded_and_a_header_is_hidden() {
        assert_eq!(form(&[("a", "b c&d=ü"), ("x", "")]), "a=b+c%26d%3D%C3%BC&x=");
        let header = bearer(&"secret-token".to_owned().into()).unwrap();
        assert!(!format!("{header:?}").contains("secret"));
        assert_eq!(bearer(&"a\nb".to_owned().into()).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn no_secret_is_in_any_debug() {
        let secret = || SecretString::from("canary-1".to_owned());
        let all = [
            Credentials::Client { id: "app".to_owned(), secret: secret(), scope: "OR.Queues".to_owned() },
            Credentials::Token(secret()),
            Credentials::User { tenant: "Default".to_owned(), name: "ann".to_owned(), password: secret() },
        ];
        for credentials in all {
            let shown = format!("{credentials:?} {:?}", Identity::new(credentials.clone()).unwrap());
            assert!(!shown.contains("canary"), "{shown}");
        }
    }
}
