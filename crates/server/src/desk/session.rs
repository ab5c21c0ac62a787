//! Sessions: a signed-in user, recognised by a cookie.
//!
//! A session is a token of its own scope in the store, which keeps its digest: it survives a restart, ends with its user, a change of the
//! password and after twelve hours, and the API refuses it. When a session was last used is known only to this process: after a
//! restart that time begins anew, and each of several servers over one store has its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use jiff::Timestamp;

use crate::Inner;
use crate::access::Caller;
use crate::api_error::ApiError;
use crate::permission::Scopes;
use crate::secret;

/// How long a session lasts in all.
const LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);
/// How long a session lasts without being used.
const IDLE: Duration = Duration::from_secs(30 * 60);
/// How many sessions are remembered before those are forgotten whose tokens have expired.
const MAX_REMEMBERED: usize = 10_000;

/// When each session was first seen and last used, by the digest of its token. One that is idle is remembered until its token has
/// expired: a session that is not known counts as just used.
#[derive(Debug, Default)]
pub(crate) struct Sessions(Mutex<HashMap<String, Use>>);

#[derive(Clone, Copy, Debug)]
struct Use {
    first: Duration,
    last: Duration,
}

/// Whether a request begins the time without use anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counts {
    AsUse,
    /// It goes on by itself: a tab that is left open does not keep its session.
    AsNoUse,
}

impl Sessions {
    fn used(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The signed-in user of a request.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable.
    pub(super) async fn caller(
        &self,
        server: &Inner,
        headers: &HeaderMap,
        is_secure: bool,
        counts: Counts,
    ) -> Result<Option<Caller>, ApiError> {
        let name = cookie_name(server, headers, is_secure);
        let Some(token) = cookie(headers, &name) else { return Ok(None) };
        let (digest, now) = (secret::digest_of(token), server.elapsed());
        let known = self.used().get(&digest).copied();
        // Whoever runs a desk of their own would have to start it again.
        let may_end = server.operator.is_none();
        if may_end && known.is_some_and(|known| now.saturating_sub(known.last) > IDLE) {
            self.end(server, token).await?;
            return Ok(None);
        }
        let caller = server.access.caller(token).await?.filter(|caller| caller.scopes.are_of_desk());
        if caller.is_some() {
            let mut used = self.used();
            if known.is_none() && used.len() >= MAX_REMEMBERED {
                used.retain(|_, known| now.saturating_sub(known.first) <= LIFETIME);
            }
            let used = used.entry(digest).or_insert(Use { first: now, last: now });
            if counts == Counts::AsUse {
                used.last = now;
            }
        }
        Ok(caller)
    }

    /// How long ago a session was last used, as far as this process knows.
    pub(super) fn idle_for(&self, digest: &str, now: Duration) -> Option<Duration> {
        Some(now.saturating_sub(self.used().get(digest)?.last))
    }

    /// Begins a session. Returns its cookie.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable.
    pub(super) async fn begin(
        &self,
        server: &Inner,
        headers: &HeaderMap,
        user: i64,
        is_secure: bool,
    ) -> Result<String, ApiError> {
        let token = server.access.issue(None, user, None, None, Scopes::of_desk(), LIFETIME).await?;
        let rest = if is_secure { "Path=/; Secure" } else { "Path=/desk" };
        let (name, life) = (cookie_name(server, headers, is_secure), LIFETIME.as_secs());
        Ok(format!("{name}={token}; {rest}; HttpOnly; SameSite=Lax; Max-Age={life}"))
    }

    /// Ends the session of a request. Returns the cookie that replaces its own.
    ///
    /// # Errors
    ///
    /// 503 if the store is unavailable.
    pub(super) async fn end_of(
        &self,
        server: &Inner,
        headers: &HeaderMap,
        is_secure: bool,
    ) -> Result<String, ApiError> {
        let name = cookie_name(server, headers, is_secure);
        if let Some(token) = cookie(headers, &name) {
            self.end(server, token).await?;
        }
        let rest = if is_secure { "Path=/; Secure" } else { "Path=/desk" };
        Ok(format!("{name}=; {rest}; HttpOnly; SameSite=Lax; Max-Age=0"))
    }

    async fn end(&self, server: &Inner, token: &str) -> Result<(), ApiError> {
        if secret::is_well_formed(token) {
            server.access.revoke_token(token).await?;
        }
        self.used().remove(&secret::digest_of(token)); // the token is gone from the store
        Ok(())
    }
}

/// With TLS no other host can set a cookie of this name, and none is sent without TLS. A browser accepts such a name only with `Secure`,
/// which it does not accept over plain HTTP: there, where the server listens on a loopback address only, the name is a plain one.
///
/// The cookies of one host are those of all its ports: each desk of one person has a name of its own, beside a server and others.
fn cookie_name(server: &Inner, headers: &HeaderMap, is_secure: bool) -> Cow<'static, str> {
    if server.operator.is_some() {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        return format!("own-desk-{port}").into();
    }
    if is_secure { "__Host-desk" } else { "desk" }.into()
}

/// The digest of the session of a request.
pub(super) fn digest_of_request(server: &Inner, headers: &HeaderMap, is_secure: bool) -> Option<String> {
    cookie(headers, &cookie_name(server, headers, is_secure)).map(secret::digest_of)
}

/// When a session began, from the time at which its token expires.
pub(super) fn began(expires: Timestamp) -> Timestamp {
    expires.checked_sub(LIFETIME).unwrap_or(expires)
}

/// The value of a cookie of the request.
pub(super) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs
        .into_iter()
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, "a=1; xdesk=no; desk=yes; desk-note=x".parse().unwrap());
        headers.append(header::COOKIE, "later=2".parse().unwrap());
        let found = ["desk", "xdesk", "later", "esk", "none"].map(|name| cookie(&headers, name));
        assert_eq!(found, [Some("yes"), Some("no"), Some("2"), None, None]);
    }
}
