//! The stored record of a failure, limited in size.

use jiff::Timestamp;
use serde::Serialize;

use super::code::ErrorCode;
use super::content::units_over;
use super::refusal::Refusal;
use super::stored_time::stored;
use crate::enumeration;

/// The longest reason and the longest details, in UTF-16 code units (orchestrator-api 3).
pub const EXCEPTION_TEXT_LIMIT: usize = 102_400;

enumeration! {
    /// What went wrong (orchestrator-api 12.2).
    pub ExceptionType {
        /// Something outside the data failed; the queue's policy decides about a retry.
        ApplicationException = 0,
        /// The data is wrong; never retried.
        BusinessException = 1,
    }
}

/// The exception stored with a failed item: texts and a time, readable for years.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ProcessingException {
    /// The kind of exception.
    #[serde(rename = "Type")]
    pub exception_type: ExceptionType,
    /// One sentence, at most [`EXCEPTION_TEXT_LIMIT`] code units.
    pub reason: String,
    /// Details for an investigation, at most [`EXCEPTION_TEXT_LIMIT`] code units. For an error that came through `?`,
    /// its chain of sources, one a line.
    pub details: Option<String>,
    /// The path of an image on the robot's machine; the image is not uploaded.
    pub associated_image_file_path: Option<String>,
    /// When it happened.
    pub creation_time: Timestamp,
}

impl ProcessingException {
    /// A record; texts over the limit are cut, and say so at their end.
    pub fn new(exception_type: ExceptionType, reason: impl Into<String>, creation_time: Timestamp) -> Self {
        Self {
            exception_type,
            reason: bounded(reason.into(), EXCEPTION_TEXT_LIMIT),
            details: None,
            associated_image_file_path: None,
            creation_time,
        }
    }

    /// Adds details; a text over the limit is cut, and says so at its end.
    #[must_use]
    pub fn details(mut self, details: Option<String>) -> Self {
        self.details = details.map(|text| bounded(text, EXCEPTION_TEXT_LIMIT));
        self
    }

    /// Adds the path of a picture.
    #[must_use]
    pub fn image(mut self, path: Option<String>) -> Self {
        self.associated_image_file_path = path.map(|text| bounded(text, EXCEPTION_TEXT_LIMIT));
        self
    }

    /// The record as it is stored: texts within the limit, and a time that every store can keep.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        self.creation_time = stored(self.creation_time);
        self.reason = bounded(self.reason, EXCEPTION_TEXT_LIMIT);
        self.details = self.details.map(|text| bounded(text, EXCEPTION_TEXT_LIMIT));
        self.associated_image_file_path =
            self.associated_image_file_path.map(|text| bounded(text, EXCEPTION_TEXT_LIMIT));
        self
    }
}

/// Checks a text whose author is told that it is too long, instead of truncating it.
///
/// # Errors
///
/// Code 1870 if it is longer than [`EXCEPTION_TEXT_LIMIT`].
pub fn validate_exception_text(text: &str) -> Result<(), Refusal> {
    units_over(text, EXCEPTION_TEXT_LIMIT).map_or(Ok(()), |units| {
        let message =
            format!("a text of an exception has {units} code units, the limit is {EXCEPTION_TEXT_LIMIT}");
        Err(Refusal::new(ErrorCode::QUEUE_PROCESSING_EXCEPTION_FIELD_SIZE_EXCEEDED, message))
    })
}

/// The text, truncated to the limit of UTF-16 code units, with the number of code units that were cut off.
pub fn bounded(mut text: String, limit: usize) -> String {
    let Some(units) = units_over(&text, limit) else { return text };
    let mark = format!("… [truncated from {units} code units]");
    let room = limit.saturating_sub(mark.encode_utf16().count());
    let mut used = 0;
    let end = text
        .char_indices()
        .find(|(_, character)| {
            used += character.len_utf16();
            used > room
        })
        .map_or(text.len(), |(at, _)| at);
    text.truncate(end);
    text.push_str(&mark);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_within_the_limit_is_kept() {
        let text = "ü".repeat(EXCEPTION_TEXT_LIMIT);
        assert_eq!(bounded(text.clone(), EXCEPTION_TEXT_LIMIT), text);
    }

    #[test]
    fn a_longer_text_is_cut_between_characters_and_says_so() {
        for character in ["x", "ü", "漢", "🦀"] {
            let cut = bounded(character.repeat(EXCEPTION_TEXT_LIMIT + 1), EXCEPTION_TEXT_LIMIT);
            let units = cut.encode_utf16().count();
            assert!(units <= EXCEPTION_TEXT_LIMIT && units + 2 > EXCEPTION_TEXT_LIMIT, "{units}");
            assert!(cut.ends_with("code units]"), "{}", &cut[cut.len() - 60..]);
        }
    }

    #[test]
    fn every_text_of_a_record_is_bounded() {
        let long = "x".repeat(EXCEPTION_TEXT_LIMIT + 1);
        let record =
            ProcessingException::new(ExceptionType::BusinessException, long.clone(), Timestamp::UNIX_EPOCH)
                .details(Some(long.clone()))
                .image(Some(long));
        assert_eq!(record.clone().within_limits(), record);
        assert!(record.reason.contains("truncated"));
        assert!(record.details.unwrap().contains("truncated"));
        assert!(record.associated_image_file_path.unwrap().contains("truncated"));
    }
}
