//! Where a form may come from: only from a page of this server.
//!
//! A browser says so itself, in a header that no page of another site can set: `Sec-Fetch-Site`, or, where that is not sent (an older
//! browser, or HTTP without TLS), `Origin`. So a page needs no secret in its forms, and its compression can betray none.

use axum::http::{HeaderMap, StatusCode};

use crate::api_error::ApiError;

/// Refuses a form of another site.
///
/// # Errors
///
/// 403 unless the request comes from a page of this server. `base`: the scheme, host and port of the server as the caller sees it.
pub(super) fn check(headers: &HeaderMap, base: &str) -> Result<(), ApiError> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let is_ours = match (headers.contains_key("sec-fetch-site"), text("sec-fetch-site")) {
        (true, site) => site == Some("same-origin"),
        (false, _) => text("origin").is_some_and(|origin| origin.eq_ignore_ascii_case(base)),
    };
    if is_ours {
        return Ok(());
    }
    let message = "This form did not come from a page of this server, so nothing was changed. Open the page again and repeat it there.";
    Err(ApiError::new(StatusCode::FORBIDDEN, 0, message))
}

/// Refuses a link that the page of another site leads to: it would sign a reader in as somebody whom that site has chosen. One that is
/// typed, pasted or opened by another program has no page before it.
///
/// # Errors
///
/// 403.
pub(super) fn check_link(headers: &HeaderMap) -> Result<(), ApiError> {
    let site = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or("unreadable"));
    if site.is_none_or(|site| matches!(site, "none" | "same-origin")) {
        return Ok(());
    }
    let message = "A page of another site led here. Copy the link, and paste it where addresses are typed.";
    Err(ApiError::new(StatusCode::FORBIDDEN, 0, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_not_followed_from_the_page_of_another_site() {
        for (site, expected) in [
            (None, true),
            (Some("none"), true),
            (Some("same-origin"), true),
            (Some("same-site"), false),
            (Some("cross-site"), false),
            (Some(""), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.extend(
                site.map(|site| {
                    (axum::http::HeaderName::from_static("sec-fetch-site"), site.parse().unwrap())
                }),
            );
            assert_eq!(check_link(&headers).is_ok(), expected, "{site:?}");
        }
    }

    #[test]
    fn only_a_page_of_this_server_may_send_a_form() {
        let base = "http://127.0.0.1:8095";
        for (headers, expected) in [
            (&[("sec-fetch-site", "same-origin")][..], true),
            (&[("sec-fetch-site", "same-origin"), ("origin", "https://evil.test")][..], true),
            (&[("origin", "http://127.0.0.1:8095")][..], true),
            (&[][..], false),
            (&[("origin", "null")][..], false),
            (&[("origin", "http://127.0.0.1:8096")][..], false),
            (&[("origin", "https://127.0.0.1:8095")][..], false),
            (&[("sec-fetch-site", "none")][..], false),
            (&[("sec-fetch-site", "same-site"), ("origin", "http://127.0.0.1:8095")][..], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://127.0.0.1:8095")][..], false),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(*name, value.parse().unwrap());
            }
            assert_eq!(check(&map, base).is_ok(), expected, "{headers:?}");
        }
    }
}
