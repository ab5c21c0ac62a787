//! What people do with items: reviews, comments, and the answers to bulk calls (orchestrator-api 10, 11 and 13.6).

use jiff::Timestamp;

use super::code::ErrorCode;
use super::key::ItemId;
use super::refusal::Refusal;

/// The longest comment, in UTF-16 code units (orchestrator-api 3).
pub const COMMENT_LIMIT: usize = 512;

/// An item as the caller last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemVersion {
    /// Which item.
    pub id: ItemId,
    /// The version the caller read; a stale one is refused with code 1020.
    pub row_version: u64,
}

/// The answer to a bulk call: the refused items, and why. The others were done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "items may have been refused although the call succeeded"]
pub struct FailedItems(pub Vec<(ItemId, Refusal)>);

impl std::ops::Deref for FailedItems {
    type Target = [(ItemId, Refusal)];

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// A person who writes a comment, or sets a review.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The user's number, if there are users.
    pub user_id: Option<i64>,
    /// The user's name.
    pub user_name: Option<String>,
}

/// A comment of a person on an item.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Comment {
    /// Given when the comment is written.
    pub id: i64,
    /// The item it is on.
    pub item_id: ItemId,
    /// Its text.
    pub text: String,
    /// Its author; only they may change it.
    pub author: Person,
    /// When it was written, by the store's clock.
    pub creation_time: Timestamp,
}

impl Comment {
    /// A comment that a person wrote on an item.
    pub fn new(id: i64, item_id: ItemId, text: String, author: Person, creation_time: Timestamp) -> Self {
        Self { id, item_id, text, author, creation_time }
    }
}

/// Checks the text of a comment.
///
/// # Errors
///
/// Code 1015 when it is empty or longer than [`COMMENT_LIMIT`].
pub fn validate_comment(text: &str) -> Result<(), Refusal> {
    let units = text.encode_utf16().count();
    if text.trim().is_empty() || units > COMMENT_LIMIT {
        let message = format!("a comment has {units} code units; it should be between 1 and {COMMENT_LIMIT}");
        return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    }
    Ok(())
}

/// Checks that a comment is changed by the person who wrote it.
///
/// # Errors
///
/// Code 1007 when it was written by somebody else.
pub fn validate_comment_author(comment: &Comment, person: &Person) -> Result<(), Refusal> {
    if comment.author == *person {
        return Ok(());
    }
    Err(Refusal::new(
        ErrorCode::ERROR_UPDATING,
        format!("comment {} was written by somebody else", comment.id),
    ))
}
