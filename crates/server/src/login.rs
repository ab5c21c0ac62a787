//! The OAuth token endpoint, and the older login by user name and password (orchestrator-api 1.1, 1.2 and 1.4).

use std::net::IpAddr;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::Inner;
use super::access::{ACCESS_TOKEN_SECONDS, USER_TOKEN_SECONDS};
use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::strict;
use crate::permission::Scopes;
use performer_wire::requests::LoginRequest;
use performer_wire::responses;

/// Whether a path is the token endpoint, with or without an organisation and a tenant before it.
pub(super) fn is_token_endpoint(path: &str) -> bool {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let Some(at) = segments.len().checked_sub(3) else { return false };
    at <= 2
        && segments[..at].iter().all(|segment| !segment.is_empty())
        && (segments[at].eq_ignore_ascii_case("identity") || segments[at].eq_ignore_ascii_case("identity_"))
        && segments[at + 1].eq_ignore_ascii_case("connect")
        && segments[at + 2].eq_ignore_ascii_case("token")
}

/// The result of a token request. Errors have the format of OAuth.
pub(super) enum TokenGrant {
    Issued(Value),
    /// The error code and its description.
    Refused(&'static str, &'static str),
}

/// Issues a token for `grant_type=client_credentials`, with the secret in the body or in the header.
pub(super) async fn issue_token(
    server: &Inner,
    from: IpAddr,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<TokenGrant, ApiError> {
    let kind = headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
        return Ok(TokenGrant::Refused(
            "invalid_request",
            "the body must be a form (application/x-www-form-urlencoded)",
        ));
    }
    let form: Vec<(String, String)> = form_urlencoded::parse(body).into_owned().take(50).collect();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    match field("grant_type").as_deref() {
        Some("client_credentials") => {}
        Some(_) => {
            return Ok(TokenGrant::Refused(
                "unsupported_grant_type",
                "only client_credentials is supported here",
            ));
        }
        None => return Ok(TokenGrant::Refused("invalid_request", "grant_type is missing")),
    }
    let credentials =
        basic_credentials(headers).or_else(|| Some((field("client_id")?, field("client_secret")?)));
    let Some((id, secret)) = credentials else {
        return Ok(TokenGrant::Refused("invalid_request", "client_id or client_secret is missing"));
    };
    let Some((user, registered)) = server.access.authenticate_client(from, &id, &secret).await? else {
        return Ok(TokenGrant::Refused(
            "invalid_client",
            "the application is not known, or its secret is wrong",
        ));
    };
    let scopes = match field("scope").filter(|scope| !scope.trim().is_empty()) {
        None => registered,
        Some(scope) => match Scopes::parse(&scope) {
            Ok(requested) if registered.include(&requested) => requested,
            _ => {
                return Ok(TokenGrant::Refused(
                    "invalid_scope",
                    "the application was not registered for this scope",
                ));
            }
        },
    };
    let scope = scopes.to_string();
    let life = Duration::from_secs(ACCESS_TOKEN_SECONDS);
    let _permit = server.logins.try_acquire().map_err(|_| ApiError::unavailable())?;
    let token = server.access.issue(None, user, Some(id), None, scopes, life).await?;
    Ok(TokenGrant::Issued(responses::token_response(&token, ACCESS_TOKEN_SECONDS, &scope)))
}

/// The credentials of `Authorization: Basic`.
fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get("authorization")?.to_str().ok()?;
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    Some((id.to_owned(), secret.to_owned()))
}

/// `/api/Account/Authenticate`.
pub(super) async fn authenticate(call: &Call) -> Result<ApiResponse, ApiError> {
    let body: LoginRequest = call.body(&strict::UNCHECKED)?;
    let access = &call.server.access;
    let Some(user) =
        access.authenticate_user(call.from, &body.username_or_email_address, &body.password).await?
    else {
        let message = "Invalid credentials, failed to login.";
        return Err(ApiError::new(StatusCode::BAD_REQUEST, 1000, message));
    };
    let life = Duration::from_secs(USER_TOKEN_SECONDS);
    let _permit = call.server.logins.try_acquire().map_err(|_| ApiError::unavailable())?;
    let token = access.issue(None, user, None, None, Scopes::all(), life).await?;
    ApiResponse::ok(&responses::authenticate_response(&token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_endpoint_accepts_all_paths_of_clients() {
        for path in [
            "/identity/connect/token",
            "/identity_/connect/token",
            "/acme/identity_/connect/token",
            "/acme/Prod/identity_/connect/token",
            "/IDENTITY_/Connect/Token",
        ] {
            assert!(is_token_endpoint(path), "{path}");
        }
        for path in [
            "/connect/token",
            "/a/b/c/identity_/connect/token",
            "//identity/connect/token",
            "/identity/connect/token/",
            "/",
            "",
        ] {
            assert!(!is_token_endpoint(path), "{path}");
        }
    }
}
