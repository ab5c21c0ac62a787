//! `?refresh=30`: how often a browser without JavaScript loads a page again.

use crate::api_error::ApiError;

/// The shortest and the longest time, in seconds.
const SECONDS: std::ops::RangeInclusive<u32> = 10..=3_600;

/// The pairs of a query.
type Query = Vec<(String, String)>;

/// Takes the time out of a query, which is not a filter.
///
/// # Errors
///
/// 400 for what is no number of seconds, or too few or too many.
pub(super) fn split(query: Query) -> Result<(Option<u32>, Query), ApiError> {
    let (named, rest): (Query, Query) = query.into_iter().partition(|(name, _)| name == "refresh");
    let seconds = named.last().map(|(_, value)| value.as_str()).filter(|value| !value.is_empty());
    let wrong = |text: &str| {
        let (least, most) = (SECONDS.start(), SECONDS.end());
        ApiError::invalid(format!("refresh: {text:?} is not a number of seconds from {least} to {most}."))
    };
    let read = |text: &str| {
        let seconds = text.parse().ok().filter(|seconds| SECONDS.contains(seconds));
        seconds.ok_or_else(|| wrong(text))
    };
    Ok((seconds.map(read).transpose()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_loaded_again_after_some_seconds() {
        let query = |text: &str| form_urlencoded::parse(text.as_bytes()).into_owned().collect::<Query>();
        for (text, seconds) in [("", None), ("refresh=", None), ("a=1&refresh=30&b=2", Some(30))] {
            let (found, rest) = split(query(text)).unwrap();
            assert_eq!((found, rest.iter().any(|(name, _)| name == "refresh")), (seconds, false), "{text}");
        }
        for text in ["refresh=9", "refresh=3601", "refresh=x", "refresh=-30"] {
            let failure = split(query(text)).err().unwrap();
            assert_eq!(failure.status.as_u16(), 400, "{text}");
        }
    }
}
