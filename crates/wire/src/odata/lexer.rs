//! Splits an expression into tokens.

use super::{invalid, quoted};
use performer_core::model::Refusal;

/// One token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    Open,
    Close,
    Comma,
    /// A keyword, a property, a number, a date, a GUID.
    Word(String),
    /// A quoted text, with the prefix for its type, as in `guid'…'`.
    Text(Option<String>, String),
}

/// Splits a text into tokens.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Refusal> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match first {
            ' ' | '\t' => rest = &rest[1..],
            '(' | ')' | ',' => {
                tokens.push(match first {
                    '(' => Token::Open,
                    ')' => Token::Close,
                    _ => Token::Comma,
                });
                rest = &rest[1..];
            }
            '\'' => {
                let (value, behind) = quoted_text(rest)?;
                tokens.push(Token::Text(None, value));
                rest = behind;
            }
            first if is_in_word(first) => {
                let end = rest.find(|c| !is_in_word(c)).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                rest = behind;
                if rest.starts_with('\'') {
                    let (value, behind) = quoted_text(rest)?;
                    tokens.push(Token::Text(Some(word.to_owned()), value));
                    rest = behind;
                } else {
                    tokens.push(Token::Word(word.to_owned()));
                }
            }
            other => return Err(invalid(format!("$filter: {other:?} is not expected"))),
        }
    }
    Ok(tokens)
}

/// A quoted text and the rest behind it. Quotes in the text are doubled.
fn quoted_text(text: &str) -> Result<(String, &str), Refusal> {
    let mut value = String::new();
    let mut rest = &text[1..];
    while let Some(end) = rest.find('\'') {
        value.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if !rest.starts_with('\'') {
            return Ok((value, rest));
        }
        value.push('\'');
        rest = &rest[1..];
    }
    Err(invalid(format!("$filter: the text that begins with {} has no end", quoted(text))))
}

fn is_in_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ':' | '+' | '/')
}

/// Whether a text is a property name or a path of names.
pub(super) fn is_path(text: &str) -> bool {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.len() <= 100
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    text.split('/').all(is_name) && text.split('/').count() <= 3
}
