//! Parses the JSON of the API. The server parses every request body with [`request`], and the client every response body with
//! [`response`].
//!
//! Both accept a byte order mark, and replace an unpaired surrogate by U+FFFD. In a response, invalid UTF-8 is replaced too,
//! because the client cannot get another one. A request with invalid UTF-8 is refused; its member names are
//! case-insensitive, because clients write them in the style of their language.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Collection;

#[cfg(feature = "server")]
use performer_core::model::json::{JsonKind, Members};
use performer_core::model::json::{repaired, rest_after_text};

/// Parses the body of a request.
///
/// # Errors
///
/// If it is not JSON, or does not match the type.
#[cfg(feature = "server")]
pub fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let body = repaired(without_bom(body));
    let mut reader = serde_json::Deserializer::from_slice(&body);
    let read = T::deserialize(super::any_case::AnyCase(&mut reader))?;
    reader.end()?;
    Ok(read)
}

/// Parses the body of a request, and calls `unknown` with the path of each unknown member.
///
/// # Errors
///
/// The errors of [`request`].
#[cfg(feature = "server")]
pub fn request_reporting_unknown<T: DeserializeOwned>(
    body: &[u8],
    mut unknown: impl FnMut(String),
) -> Result<T, serde_json::Error> {
    let body = repaired(without_bom(body));
    let mut reader = serde_json::Deserializer::from_slice(&body);
    // serde_ignored writes an Option as a question mark in the path.
    let mut told = |path: serde_ignored::Path<'_>| unknown(path.to_string().replace("?.", ""));
    let read = serde_ignored::deserialize(super::any_case::AnyCase(&mut reader), &mut told)?;
    reader.end()?;
    Ok(read)
}

/// The message for a body that cannot be parsed.
#[cfg(feature = "server")]
pub fn error_text(error: &serde_json::Error, body: &[u8]) -> String {
    performer_core::model::json::syntax_error(error, without_bom(body))
}

/// The text of a body, to walk through its [`Part`]s.
#[cfg(feature = "server")]
pub fn text(body: &[u8]) -> Cow<'_, str> {
    match repaired(without_bom(body)) {
        Cow::Borrowed(body) => String::from_utf8_lossy(body),
        Cow::Owned(body) => Cow::Owned(String::from_utf8_lossy(&body).into_owned()),
    }
}

/// A part of a JSON text that is only split into its members or elements. An invalid text has no parts.
#[cfg(feature = "server")]
#[derive(Clone, Copy, Debug)]
pub struct Part<'a>(pub &'a str);

#[cfg(feature = "server")]
impl<'a> Part<'a> {
    pub fn is_array(self) -> bool {
        JsonKind::of(self.0) == JsonKind::Array
    }

    /// The members of an object.
    pub fn members(self) -> Vec<(String, Part<'a>)> {
        let members = Members::read(self.0);
        let members =
            members.iter().flat_map(|members| members.iter().map(|(name, part)| (name.to_owned(), part)));
        members.map(|(name, part)| (name, Part(part.get()))).collect()
    }

    /// The elements of an array.
    pub fn elements(self) -> Vec<Part<'a>> {
        let elements: Vec<&'a RawValue> = serde_json::from_str(self.0).unwrap_or_default();
        elements.into_iter().map(|part| Part(part.get())).collect()
    }
}

/// Parses the body of a response.
///
/// # Errors
///
/// If it is not JSON, or does not match the type.
pub fn response<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let body = repaired(without_bom(body));
    serde_json::from_slice(&body).or_else(|error| match String::from_utf8_lossy(&body) {
        Cow::Owned(lossy) => serde_json::from_str(&lossy),
        Cow::Borrowed(_) => Err(error),
    })
}

/// The body without a byte order mark, which some editors and servers write.
pub fn without_bom(body: &[u8]) -> &[u8] {
    body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)
}

/// The rows of a page as separate texts, so that an invalid row does not affect the others. `None` if it is not a page.
pub fn rows(page: &[u8]) -> Option<Vec<Box<str>>> {
    if let Ok(page) = response::<Collection<Box<RawValue>>>(page) {
        return Some(page.value.into_iter().map(Into::into).collect());
    }
    // Some part is not valid JSON. Brackets and quotes still delimit the rows.
    let page = String::from_utf8_lossy(without_bom(page));
    let begin = page.find("\"value\"")? + "\"value\"".len();
    let list = page[begin..].trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')?;
    let (mut rows, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    let mut rest = list.as_bytes();
    while let [first, behind @ ..] = rest {
        let at = list.len() - rest.len();
        rest = behind;
        match first {
            b'"' => rest = rest_after_text(behind),
            b'{' | b'[' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b']' if depth == 0 => return Some(rows),
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    rows.push(list.get(start..=at)?.into());
                }
            }
            _ => {}
        }
    }
    None
}

/// The id of the entity in a response that cannot be parsed: the member `Id` of the outermost object. The response may be
/// truncated elsewhere.
pub fn id_in(answer: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Entity {
        id: i64,
    }
    if let Ok(Entity { id }) = response(answer) {
        return Some(id);
    }
    let (mut depth, mut rest) = (0_usize, without_bom(answer));
    loop {
        rest = match rest {
            [] => return None,
            [b'{' | b'[', behind @ ..] => {
                depth += 1;
                behind
            }
            [b'}' | b']', behind @ ..] => {
                depth = depth.checked_sub(1)?;
                behind
            }
            [b'"', behind @ ..] => {
                if depth == 1
                    && let Some(value) = behind.strip_prefix(b"Id\"")
                    && let Some(id) = whole_number(value)
                {
                    return Some(id);
                }
                rest_after_text(behind)
            }
            [_, behind @ ..] => behind,
        };
    }
}

/// The number after a colon. A number at the end of the response may be truncated, so it is refused.
fn whole_number(json: &[u8]) -> Option<i64> {
    let json = json.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let end = json.iter().position(|byte| !byte.is_ascii_digit())?;
    std::str::from_utf8(&json[..end]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_response_with_truncated_texts_is_parsed() {
        let read = |body: &[u8]| response::<Value>(body);
        assert_eq!(read(b"\xef\xbb\xbf{\"a\":\"cut \\ud83d\"}").unwrap()["a"], "cut \u{fffd}");
        assert_eq!(read(b"{\"cut \\udc00\":1}").unwrap()["cut \u{fffd}"], 1);
        assert_eq!(read(b"{\"a\":\"cut \xf0\x9f\"}").unwrap()["a"], "cut \u{fffd}");
        assert!(read(b"{\"a\":\xf0\x9f}").is_err() && read(b"{").is_err());
    }

    #[cfg(feature = "server")]
    #[test]
    fn a_request_with_invalid_utf8_is_refused() {
        let read = |body: &[u8]| request::<Value>(body);
        assert_eq!(read(b"\xef\xbb\xbf{\"a\":\"cut \\ud83d\"}").unwrap()["a"], "cut \u{fffd}");
        for bad in [&b"{\"a\":\"cut \xf0\x9f\"}"[..], b"{} {}", b"{", b""] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_invalid_row_does_not_affect_the_others() {
        let all = |page: &str| {
            rows(page.as_bytes()).map(|rows| rows.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let whole = r#"{"@odata.context":"c","@odata.count":2,"value":[{"Id":1,"a":1e400}, {"Id":2,"a":"cut \ud83d"}]}"#;
        assert_eq!(all(whole).unwrap(), [r#"{"Id":1,"a":1e400}"#, r#"{"Id":2,"a":"cut \ufffd"}"#]);
        let broken = r#"{"@odata.context":"c","value" : [ {"Id":1,"a":"\x"},{"Id":2,"a":["]}",{}]},{"Id":3,"a":NaN} ],"x":1}"#;
        assert_eq!(
            all(broken).unwrap(),
            [r#"{"Id":1,"a":"\x"}"#, r#"{"Id":2,"a":["]}",{}]}"#, r#"{"Id":3,"a":NaN}"#]
        );
        assert_eq!(all(r#"{"value":[]}"#), Some(Vec::new()));
        for no_page in ["", "<html>", r#"{"value":[{"Id":1}"#, r#"{"value":7}"#, r#"{"value":[}"#, "[]"] {
            assert_eq!(all(no_page), None, "{no_page}");
        }
    }

    #[test]
    fn the_id_of_an_unparsable_response_is_found() {
        for (found, json) in [
            (Some(7), r#"{"Key":5,"Id":7}"#),
            (Some(7), r#"{"SpecificContent":{"Id":1,"a":"\x"},"Id" : 7,"Key":"#),
            (Some(7), r#"{"a":"\"Id\":1","Id":7,"#),
            (Some(7), "{\"a\":\"\u{1}\",\"Id\":7 ,\"b\":NaN}"),
            (None, r#"{"a":"\x","Id":7"#),
            (None, r#"{"a":"\x","Id":-7}"#),
            (None, r#"{"a":"\x","Id":"7"}"#),
            (None, r#"{"a":{"Id":7}}"#),
            (None, r#"[{"Id":7}"#),
            (None, "<html>\"Id\":7,"),
            (None, "}{\"Id\":7,"),
            (None, ""),
        ] {
            assert_eq!(id_in(json.as_bytes()), found, "{json}");
        }
        assert_eq!(id_in(b"{\"a\":\"\xff\\x\",\"Id\":7}"), Some(7));
    }
}
