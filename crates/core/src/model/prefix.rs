//! A prefix as a range of texts, so that an index finds what begins with it.

/// The first text behind all those that begin with `prefix`, in the order of code points (which is that of UTF-8 bytes). `None`: every
/// text that is not less than the prefix begins with it.
///
/// A text begins with `p` exactly if `p <= text` and, where there is one, `text < end_of_prefix(p)`. The last character is replaced
/// by the next one there is: surrogates are no characters, and behind U+10FFFF comes nothing, so that such characters are left off.
///
/// ```
/// use performer::model::end_of_prefix;
///
/// assert_eq!(end_of_prefix("INV-9").as_deref(), Some("INV-:"));
/// assert_eq!(end_of_prefix("a\u{10ffff}").as_deref(), Some("b"));
/// assert_eq!(end_of_prefix(""), None);
/// ```
pub fn end_of_prefix(prefix: &str) -> Option<String> {
    let mut end: String = prefix.trim_end_matches(char::MAX).to_owned();
    let last = end.pop()?;
    // The step over the surrogates is the range's.
    end.extend((last..=char::MAX).nth(1));
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_a_range() {
        let texts = [
            "",
            "a",
            "ab",
            "ab\u{0}",
            "abc",
            "ac",
            "a\u{d7ff}",
            "a\u{d7ff}x",
            "a\u{e000}",
            "a\u{e000}x",
            "a\u{ffff}",
            "a\u{10000}",
            "a\u{10fffe}z",
            "a\u{10ffff}",
            "a\u{10ffff}\u{10ffff}",
            "b",
            "\u{7f}",
            "\u{80}",
            "Ü",
            "Üb",
            "\u{10ffff}",
            "\u{10ffff}\u{10ffff}x",
            "A",
            "ß",
            "e\u{301}",
        ];
        for prefix in texts {
            let end = end_of_prefix(prefix);
            for text in texts {
                let is_inside = prefix <= text && end.as_deref().is_none_or(|end| text < end);
                assert_eq!(is_inside, text.starts_with(prefix), "{text:?} and {prefix:?}");
            }
        }
    }
}
