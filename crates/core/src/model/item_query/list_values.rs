//! The values of a filter, as people write them.

use super::super::code::ErrorCode;
use super::super::refusal::Refusal;

/// The values of a list, between which there are commas.
pub(super) fn values(name: &str, text: &str) -> Result<Vec<String>, Refusal> {
    let (mut values, mut value, mut letters) = (Vec::new(), String::new(), text.chars());
    let mut kept = 0; // up to here it is not trimmed
    loop {
        match letters.next() {
            Some('\\') => {
                value.extend(letters.next());
                kept = value.len();
            }
            Some(letter) if value.is_empty() && letter.is_whitespace() => {}
            Some(letter) if letter != ',' => value.push(letter),
            other => {
                value.truncate(value.trim_end().len().max(kept));
                if value.is_empty() {
                    let message = format!("{name}: a value is missing in {text:?}");
                    return Err(Refusal::new(ErrorCode::INVALID_REQUEST, message));
                }
                values.push(std::mem::take(&mut value));
                kept = 0;
                if other.is_none() {
                    return Ok(values);
                }
            }
        }
    }
}

/// A text as it is written among the values of a filter, such as the name of a queue: with a backslash before each comma and backslash,
/// and before spaces around it.
pub fn list_value(text: &str) -> String {
    let mut written = escaped(text, ',');
    if let Some(last) = written.chars().next_back().filter(|last| last.is_whitespace()) {
        written.insert(written.len() - last.len_utf8(), '\\');
    }
    if written.starts_with(char::is_whitespace) {
        written.insert(0, '\\');
    }
    written
}

/// The text with a backslash before each backslash and each `special` letter.
pub(super) fn escaped(text: &str, special: char) -> String {
    text.chars()
        .flat_map(|letter| {
            ['\\'].into_iter().filter(move |_| letter == '\\' || letter == special).chain([letter])
        })
        .collect()
}
