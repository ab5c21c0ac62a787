//! Parses error responses in every format that servers and proxies use (orchestrator-api 5.1).

use serde_json::Value;

use performer_core::model::code::ErrorCode;

/// The content of an error response.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorResponse {
    pub code: Option<ErrorCode>,
    /// One line without control characters, at most 500 characters; may be empty.
    pub message: String,
    pub trace_id: Option<String>,
    /// The seconds to wait, if the body has them.
    pub retry_after: Option<f64>,
    /// The claim is no longer valid. Only performer's own server sends this.
    pub claim_lost: bool,
}

/// The maximum length of a message, in characters.
const MESSAGE_LIMIT: usize = 500;

impl ErrorResponse {
    /// Parses the body of an error response, in any format.
    pub fn read(body: &[u8]) -> Self {
        match super::json::response::<Value>(body) {
            Ok(Value::Object(object)) => Self::of_object(&Value::Object(object)),
            Ok(Value::String(text)) => Self { message: one_line(&text), ..Self::default() },
            Ok(_) => Self::default(),
            Err(_) => {
                let page = String::from_utf8_lossy(super::json::without_bom(body));
                Self { message: of_page(&page), ..Self::default() }
            }
        }
    }

    fn of_object(object: &Value) -> Self {
        let text = |value: &Value, keys: &[&str]| {
            keys.iter()
                .find_map(|key| get(value, key)?.as_str().map(one_line))
                .filter(|text| !text.is_empty())
        };
        // In ABP and OData `error` is an object with the details; in OAuth it is a text.
        let inner = get(object, "error").filter(|error| error.is_object()).unwrap_or(object);
        let mut message =
            text(inner, &["message", "error_description", "detail", "title", "error"]).unwrap_or_default();
        for more in
            [validation_errors(inner), model_errors(object), text(inner, &["details"])].into_iter().flatten()
        {
            if message.is_empty() {
                message = more;
            } else if !message.contains(&more) {
                message = format!("{message}: {more}");
            }
        }
        let code = ["errorCode", "code"].iter().find_map(|key| get(inner, key).and_then(code_of));
        Self {
            code,
            message: one_line(&message),
            trace_id: text(object, &["traceId", "requestId"]),
            claim_lost: get(object, "claimLost").and_then(Value::as_bool).unwrap_or(false),
            retry_after: ["retry_after", "retryAfter"]
                .iter()
                .find_map(|key| get(object, key))
                .and_then(|value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())),
        }
    }
}

/// A member by its case-insensitive name: the schema has `Message`, real responses have `message`.
fn get<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// The error code; 0 means none.
fn code_of(value: &Value) -> Option<ErrorCode> {
    let number = value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())?;
    u16::try_from(number).ok().filter(|number| *number != 0).map(ErrorCode::new)
}

fn validation_errors(error: &Value) -> Option<String> {
    let list = get(error, "validationErrors")?.as_array()?;
    let texts: Vec<&str> = list.iter().filter_map(|error| get(error, "message")?.as_str()).collect();
    (!texts.is_empty()).then(|| texts.join("; "))
}

fn model_errors(problem: &Value) -> Option<String> {
    let errors = get(problem, "errors")?.as_object()?;
    let texts = errors.iter().map(|(field, texts)| {
        let texts: Vec<&str> = texts.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        format!("{field}: {}", texts.join(", "))
    });
    let all: Vec<String> = texts.collect();
    (!all.is_empty()).then(|| all.join("; "))
}

/// The title of an HTML page, or the first line of a text.
fn of_page(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    if let Some(start) = lower.find("<title") {
        let rest = &text[start..];
        let title = rest.split_once('>').map_or("", |(_, rest)| rest).split('<').next().unwrap_or_default();
        return one_line(&format!("a web page instead of a JSON response: {}", title.trim()));
    }
    if lower.contains("<html") || lower.trim_start().starts_with('<') {
        return "a web page instead of a JSON response".to_owned();
    }
    one_line(text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

/// Joins a text into one printable line of limited length.
fn one_line(text: &str) -> String {
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
        if line.len() > MESSAGE_LIMIT * 4 {
            break;
        }
    }
    if line.chars().count() > MESSAGE_LIMIT {
        line = line.chars().take(MESSAGE_LIMIT - 1).collect();
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> (u16, String, Option<String>) {
        let failure = ErrorResponse::read(body.as_bytes());
        (failure.code.map_or(0, ErrorCode::number), failure.message, failure.trace_id)
    }

    #[test]
    fn every_format_is_parsed() {
        let (none, trace) = (None, Some("00-abc-1".to_owned()));
        for (body, expected) in [
            (
                r#"{"message":"The provided robot is not configured for the current user.","errorCode":1302,"traceId":"00-abc-1","resourceIds":null}"#,
                (1302, "The provided robot is not configured for the current user.", trace.clone()),
            ),
            (r#"{"Message":"m","ErrorCode":"1016"}"#, (1016, "m", none.clone())),
            (
                r#"{"message":"You are not authenticated!","errorCode":0}"#,
                (0, "You are not authenticated!", none.clone()),
            ),
            (
                r#"{"error":{"code":0,"message":"Your request is not valid!","details":null,"validationErrors":[{"message":"too long","members":["x"]}]},"success":false}"#,
                (0, "Your request is not valid!: too long", none.clone()),
            ),
            (
                r#"{"title":"One or more validation errors occurred.","status":400,"errors":{"Name":["is required","is short"]},"traceId":"00-abc-1"}"#,
                (0, "One or more validation errors occurred.: Name: is required, is short", trace),
            ),
            (
                r#"{"error":{"code":"","message":"The query is not valid."}}"#,
                (0, "The query is not valid.", none.clone()),
            ),
            (r#"{"error":"invalid_scope"}"#, (0, "invalid_scope", none.clone())),
            (
                r#"{"error":"invalid_client","error_description":"no such client"}"#,
                (0, "no such client", none.clone()),
            ),
            (
                "<html><head><TITLE>502 Bad\nGateway</title></head>",
                (0, "a web page instead of a JSON response: 502 Bad Gateway", none.clone()),
            ),
            ("<!doctype html><p>x", (0, "a web page instead of a JSON response", none.clone())),
            ("\n upstream connect error \nmore", (0, "upstream connect error", none.clone())),
            ("\u{feff}\"quoted\"", (0, "quoted", none.clone())),
            ("", (0, "", none.clone())),
            ("[1]", (0, "", none.clone())),
            ("{}", (0, "", none)),
        ] {
            let (code, message, trace_id) = expected;
            assert_eq!(read(body), (code, message.to_owned(), trace_id), "{body}");
        }
    }

    #[test]
    fn a_message_is_one_printable_line_of_limited_length() {
        let (_, message, _) = read(&format!(r#"{{"message":"a\u001b[31m\nb {}"}}"#, "x".repeat(9_999)));
        assert!(message.starts_with("a [31m b x") && message.chars().count() == MESSAGE_LIMIT, "{message}");
        let failure = ErrorResponse::read(&[0xff, 0xfe, b'a', 0]);
        assert!(failure.message.chars().all(|c| !c.is_control()));
    }

    #[test]
    fn the_time_to_wait_is_read_from_the_body() {
        assert_eq!(ErrorResponse::read(br#"{"retry_after": 17}"#).retry_after, Some(17.0));
        assert_eq!(ErrorResponse::read(br#"{"retry_after": "2.5"}"#).retry_after, Some(2.5));
    }
}
