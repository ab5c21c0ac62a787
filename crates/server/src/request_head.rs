//! Validates the head of a request, and reads its query and base URL.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, Version, header};

use super::Inner;
use super::api_error::ApiError;
use super::proxies::ClientAddress;
use performer_wire::lease_protocol;

/// The maximum length of a URI, in bytes.
const MAX_URI_LENGTH: usize = 16 * 1024;

/// Headers that may occur only once: this server and a proxy before it might use different ones of two values.
const SINGLE_VALUED: [&str; 14] = [
    "authorization",
    "host",
    "x-uipath-organizationunitid",
    "x-uipath-folderkey",
    "x-uipath-folderpath",
    "x-uipath-folderpath-encoded",
    "x-uipath-jobkey",
    lease_protocol::AUTHOR_HEADER,
    "content-type",
    "content-length",
    "transfer-encoding",
    "expect",
    "origin",
    "access-control-request-method",
];

/// Refuses an ambiguous head, and one that announces a body that cannot be read.
///
/// # Errors
///
/// 400 for a repeated header and for a missing or malformed host, 414 for a long URI, 415 for an unsupported charset or
/// content encoding, 501 for an unsupported transfer coding.
pub(super) fn check(head: &Parts) -> Result<(), ApiError> {
    if head.uri.path_and_query().is_some_and(|target| target.as_str().len() > MAX_URI_LENGTH) {
        return Err(ApiError::new(StatusCode::URI_TOO_LONG, 0, "The URI is too long."));
    }
    // As many values as names: no header is repeated, which is the usual case.
    if head.headers.len() != head.headers.keys_len() {
        let repeated = SINGLE_VALUED.iter().find(|name| head.headers.get_all(**name).iter().nth(1).is_some());
        if let Some(name) = repeated {
            return Err(ApiError::invalid(format!("The header {name} must not be repeated.")));
        }
    }
    check_host(head)?;
    check_encoding(&head.headers)
}

fn check_host(head: &Parts) -> Result<(), ApiError> {
    let Some(host) = head.headers.get(header::HOST) else {
        let is_needed = head.version == Version::HTTP_11
            || head.version == Version::HTTP_2 && head.uri.authority().is_none();
        return if is_needed { Err(ApiError::invalid("The header host is missing.")) } else { Ok(()) };
    };
    let host = host.to_str().ok().map(str::trim);
    if !host.is_some_and(|host| host.is_empty() || is_host(host)) {
        return Err(ApiError::invalid("The header host is not the name of a host."));
    }
    // With HTTP/1.1 an absolute URI in the first line takes precedence over the header (RFC 9112, section 3.2.2); with
    // HTTP/2 the two must be equal (RFC 9113, section 8.3.1).
    let other = head.uri.authority().map(|authority| authority.as_str()).zip(host);
    if head.version == Version::HTTP_2
        && other.is_some_and(|(authority, host)| !authority.eq_ignore_ascii_case(host))
    {
        return Err(ApiError::invalid("The header host differs from the authority of the request."));
    }
    Ok(())
}

/// Refuses a body that is encoded, or whose charset is not UTF-8.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    let text = |name| headers.get(name).map(|value: &header::HeaderValue| value.to_str().unwrap_or("?"));
    if text(header::TRANSFER_ENCODING).is_some_and(|coding| !coding.trim().eq_ignore_ascii_case("chunked")) {
        let message = "The header transfer-encoding must be chunked.";
        return Err(ApiError::new(StatusCode::NOT_IMPLEMENTED, 0, message));
    }
    let unsupported = |message: String| ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, 0, message);
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().unwrap_or("?");
        let is_none = |coding: &str| coding.is_empty() || coding.eq_ignore_ascii_case("identity");
        if let Some(coding) = value.split(',').map(str::trim).find(|coding| !is_none(coding)) {
            let coding: String = coding.chars().take(50).collect();
            let message = format!("The content encoding {coding} is not supported: send the body as it is.");
            return Err(unsupported(message));
        }
    }
    if let Some(charset) = text(header::CONTENT_TYPE).and_then(unserved_charset) {
        let charset: String = charset.chars().take(50).collect();
        return Err(unsupported(format!("The charset {charset} is not supported: send the body in utf-8.")));
    }
    Ok(())
}

/// The charset of a media type, if it is not supported.
fn unserved_charset(kind: &str) -> Option<&str> {
    let parameters = kind.split(';').skip(1);
    let charsets = parameters.filter_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    // ASCII is a subset of UTF-8.
    let is_served =
        |charset: &str| ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known));
    charsets.into_iter().find(|charset| !is_served(charset))
}

/// The memory of a head in bytes; 0 for a head of the usual size, which is not counted.
pub(super) fn size(head: &Parts) -> usize {
    const USUAL: usize = 8 * 1024;
    let headers = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    let bytes = headers.sum::<usize>() + head.uri.path_and_query().map_or(0, |target| target.as_str().len());
    if bytes > USUAL { bytes } else { 0 }
}

/// Whether a method changes nothing.
pub(super) fn is_read_only(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The decoded pairs of the query.
pub(super) fn query(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    const MAX_PAIRS: usize = 100;
    let text = uri.query().unwrap_or_default();
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(text.as_bytes()).into_owned().take(MAX_PAIRS + 1).collect();
    if pairs.len() > MAX_PAIRS {
        return Err(ApiError::invalid("The query has too many parts."));
    }
    Ok(pairs)
}

/// Whether a text is a host name or address, with or without a port.
fn is_host(host: &str) -> bool {
    !host.is_empty()
        && host.len() <= 255
        && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']' | '_'))
}

/// The base URL of the API as the caller sees it.
pub(super) fn base(
    server: &Inner,
    client: ClientAddress,
    headers: &HeaderMap,
    uri: &Uri,
    prefix: &str,
) -> String {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let forwarded = |name: &str| text(name).filter(|_| client.through_proxy);
    // With HTTP/2 the host is in the URI.
    let own = uri.authority().map(|authority| authority.as_str()).or_else(|| text("host"));
    let host = forwarded("x-forwarded-host").or(own).filter(|host| is_host(host)).unwrap_or("localhost");
    let https =
        server.config.tls.is_some() || forwarded("x-forwarded-proto").is_some_and(|proto| proto == "https");
    format!("{}://{host}{prefix}", if https { "https" } else { "http" })
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn status(version: Version, uri: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let mut request = Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match check(&request.body(()).unwrap().into_parts().0) {
            Ok(()) => (200, String::new()),
            Err(failure) => (failure.status.as_u16(), failure.message),
        }
    }

    #[test]
    fn an_ambiguous_head_is_refused_with_the_header_name() {
        for name in SINGLE_VALUED {
            let (status, message) = status(
                Version::HTTP_11,
                "/odata/QueueItems",
                &[("host", "x"), (name, "chunked"), (name, "chunked")],
            );
            assert_eq!(status, 400, "{name}");
            assert!(message.contains(name) && message.contains("repeated"), "{message}");
        }
        for name in ["accept", "x-forwarded-for", "traceparent", "content-encoding"] {
            let headers = [("host", "x"), (name, ""), (name, "")];
            assert_eq!(status(Version::HTTP_11, "/", &headers).0, 200, "{name}");
        }
    }

    #[test]
    fn the_host_must_be_unique_and_valid() {
        for (version, uri, headers, expected) in [
            (Version::HTTP_11, "/", &[][..], 400),
            (Version::HTTP_10, "/", &[][..], 200),
            (Version::HTTP_2, "/", &[][..], 400),
            (Version::HTTP_2, "https://a:1/", &[][..], 200),
            (Version::HTTP_2, "https://a:1/", &[("host", "A:1")][..], 200),
            (Version::HTTP_2, "https://a:1/", &[("host", "b")][..], 400),
            (Version::HTTP_11, "http://a/", &[("host", "b")][..], 200),
            (Version::HTTP_11, "/", &[("host", "")][..], 200),
            (Version::HTTP_11, "/", &[("host", "[::1]:8095")][..], 200),
            (Version::HTTP_11, "/", &[("host", "a, b")][..], 400),
            (Version::HTTP_11, "/", &[("host", "a/b")][..], 400),
            (Version::HTTP_11, "/", &[("host", "user@a")][..], 400),
        ] {
            let (status, message) = status(version, uri, headers);
            assert_eq!(status, expected, "{version:?} {uri} {headers:?}");
            assert!(status == 200 || message.contains("host"), "{message}");
        }
    }

    #[test]
    fn unsupported_encodings_are_refused() {
        for (name, value, expected) in [
            ("content-type", "application/json", 200),
            ("content-type", "application/json; charset=utf-8", 200),
            ("content-type", "application/json;CHARSET=\"UTF-8\"", 200),
            ("content-type", "application/json; charset=us-ascii; odata.metadata=minimal", 200),
            ("content-type", "application/json; IEEE754Compatible=true", 200),
            ("content-type", "application/json; charset=utf-16", 415),
            ("content-type", "application/json; x=y; charset = windows-1252", 415),
            ("content-type", "application/json; charset=", 415),
            ("content-type", "application/x-www-form-urlencoded; charset=iso-8859-1", 415),
            ("content-type", "application/json; charset=utf-8; charset=utf-16", 415),
            ("content-encoding", "identity", 200),
            ("content-encoding", "", 200),
            ("content-encoding", "gzip", 415),
            ("content-encoding", "identity, br", 415),
            ("content-encoding", "DEFLATE", 415),
            ("transfer-encoding", "Chunked", 200),
            ("transfer-encoding", "gzip, chunked", 501),
        ] {
            let got = status(Version::HTTP_11, "/", &[("host", "x"), (name, value)]);
            assert_eq!(got.0, expected, "{name}: {value}");
        }
        let long = format!("/odata/QueueItems?$filter={}", "x".repeat(20_000));
        assert_eq!(status(Version::HTTP_11, &long, &[("host", "x")]).0, 414);
    }

    #[test]
    fn only_large_heads_are_counted() {
        let size_of = |value: usize| {
            let request = Request::builder().uri("/").header("x", "y".repeat(value)).body(()).unwrap();
            size(&request.into_parts().0)
        };
        assert_eq!((size_of(100), size_of(50_000)), (0, 50_002));
    }
}
