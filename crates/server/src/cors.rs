//! Cross-origin requests from browsers (CORS; the fetch standard, section 3.2). Callers authenticate by a token that a
//! browser does not send on its own, so allowing an origin grants no permissions; its pages may only read responses.

use std::fmt;
use std::str::FromStr;

use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use performer_wire::lease_protocol;

/// The allowed methods.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE";
/// How long a browser may cache the response to a preflight request, in seconds.
const PREFLIGHT_MAX_AGE: &str = "600";
/// The request headers that a page may send, besides those with [`VENDOR_PREFIX`].
const ALLOWED_HEADERS: [&str; 9] = [
    "authorization",
    "content-type",
    "accept",
    "prefer",
    "odata-version",
    "odata-maxversion",
    "traceparent",
    "x-requested-with",
    lease_protocol::AUTHOR_HEADER,
];
const VENDOR_PREFIX: &str = "x-uipath-";
/// The response headers that a page may read, besides those that are always readable.
const EXPOSED_HEADERS: &str = "Location, Retry-After, Allow, WWW-Authenticate, OData-Version, api-supported-versions, \
                       X-RateLimit-Remaining, X-Correlation-Id, performer-leases";

/// An origin whose pages may use a server from a browser: `https://app.example.com`, `http://localhost:5173`, or `*` for
/// every origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

impl Origin {
    fn is_any(&self) -> bool {
        self.0 == "*"
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or_default())
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no origin: an origin is SCHEME://HOST or SCHEME://HOST:PORT without a path, or *"
            )
        };
        if text != "*" {
            let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
            let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
                && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
            let is_host = !host.is_empty()
                && host
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']'));
            if !is_scheme || !is_host {
                return Err(wrong());
            }
        }
        // Browsers send origins in lower case.
        HeaderValue::from_str(&text.to_ascii_lowercase()).map(Self).map_err(|_| wrong())
    }
}

/// Whether a request is a CORS preflight.
pub(super) fn is_preflight(head: &Parts) -> bool {
    head.method == Method::OPTIONS
        && head.headers.contains_key(header::ORIGIN)
        && head.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The CORS part of a request, kept until its response is built.
pub(super) struct CorsRequest {
    /// The value of `Access-Control-Allow-Origin`.
    allowed: Option<HeaderValue>,
    /// Whether the response depends on the origin.
    varies: bool,
    /// For a preflight: the allowed request headers.
    preflight: Option<String>,
}

impl CorsRequest {
    /// Reads the headers of a request; `None` if no origin is allowed.
    pub(super) fn of(origins: &[Origin], head: &Parts) -> Option<Self> {
        let varies = match origins {
            [] => return None,
            origins => !origins.iter().any(Origin::is_any),
        };
        let origin = head.headers.get(header::ORIGIN);
        let allowed = match origin {
            Some(_) if !varies => Some(HeaderValue::from_static("*")),
            Some(origin) => origins.iter().find(|known| known.0 == origin).map(|_| origin.clone()),
            None => None,
        };
        let preflight = (allowed.is_some() && is_preflight(head)).then(|| allowed_headers(&head.headers));
        Some(Self { allowed, varies, preflight })
    }

    /// Whether the request is a preflight from an allowed origin.
    pub(super) fn is_allowed_preflight(&self) -> bool {
        self.preflight.is_some()
    }

    /// Adds the CORS headers to the response.
    pub(super) fn add_headers(self, headers: &mut HeaderMap) {
        if self.varies {
            let by = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers";
            headers.append(header::VARY, HeaderValue::from_static(by));
        }
        let Some(origin) = self.allowed else { return };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        // Browsers refuse credentials with "*", and they would let every page act with the credentials of the browser.
        if self.varies {
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let Some(allowed) = self.preflight else {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
            return;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(METHODS));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE));
        if let Ok(allowed) = HeaderValue::from_str(&allowed) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed);
        }
    }
}

/// Those of the requested headers that are allowed. They are listed one by one, because the standard has no pattern for
/// X-UIPATH-*.
fn allowed_headers(headers: &HeaderMap) -> String {
    let requested = headers.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS).iter();
    let requested = requested.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let names = requested.filter_map(|name| HeaderName::from_str(name.trim()).ok());
    let allowed = names
        .filter(|name| ALLOWED_HEADERS.contains(&name.as_str()) || name.as_str().starts_with(VENDOR_PREFIX));
    allowed.map(|name| name.as_str().to_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn answer(origins: &[&str], method: &str, headers: &[(&str, &str)]) -> HeaderMap {
        let origins: Vec<Origin> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let mut request = Request::builder().method(method);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut answer = HeaderMap::new();
        if let Some(page) = CorsRequest::of(&origins, &request.body(()).unwrap().into_parts().0) {
            page.add_headers(&mut answer);
        }
        answer
    }

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for origin in [
            "https://app.example.com",
            "http://localhost:5173",
            "http://[::1]:80",
            "*",
            "app://host",
            "HTTPS://A",
        ] {
            assert!(origin.parse::<Origin>().is_ok(), "{origin}");
        }
        for origin in [
            "",
            "null",
            "example.com",
            "https://",
            "https://a/",
            "https://a/b",
            "https://*.a",
            "://a",
            "a b://c",
        ] {
            let wrong = origin.parse::<Origin>().unwrap_err();
            assert!(wrong.contains("SCHEME://HOST"), "{wrong}");
        }
    }

    #[test]
    fn only_configured_origins_are_allowed() {
        let named = ["https://a.example", "http://localhost:1"];
        let yes = answer(&named, "GET", &[("origin", "http://localhost:1")]);
        assert_eq!(yes["access-control-allow-origin"], "http://localhost:1");
        assert_eq!(yes["access-control-allow-credentials"], "true");
        assert!(yes["vary"].to_str().unwrap().starts_with("Origin"));
        assert!(yes["access-control-expose-headers"].to_str().unwrap().contains("Retry-After"));
        for other in ["https://b.example", "null", "https://a.example.evil", "https://a.example:444", ""] {
            let no = answer(&named, "GET", &[("origin", other)]);
            assert!(!no.contains_key("access-control-allow-origin") && no.contains_key("vary"), "{other}");
        }
        assert!(answer(&[], "GET", &[("origin", "https://a.example")]).is_empty());
    }

    #[test]
    fn a_wildcard_origin_allows_no_credentials() {
        let any = answer(&["https://a", "*"], "GET", &[("origin", "https://b")]);
        assert_eq!(any["access-control-allow-origin"], "*");
        assert!(!any.contains_key("access-control-allow-credentials"));
    }

    #[test]
    fn a_preflight_lists_methods_and_headers() {
        let requested = "authorization, X-UIPATH-FolderPath,x-uipath-jobkey,content-type, cookie, x-evil";
        let yes = answer(
            &["https://a"],
            "OPTIONS",
            &[
                ("origin", "https://a"),
                ("access-control-request-method", "PUT"),
                ("access-control-request-headers", requested),
            ],
        );
        assert_eq!(
            yes["access-control-allow-headers"],
            "authorization, x-uipath-folderpath, x-uipath-jobkey, content-type"
        );
        assert_eq!(yes["access-control-allow-methods"], METHODS);
        assert_eq!(yes["access-control-max-age"], PREFLIGHT_MAX_AGE);
    }
}
