//! What an operation is to do with its items. T17 to T24 are transitions of `docs/reference/lifecycle.md`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::super::code::ErrorCode;
use super::super::key::FolderId;
use super::super::lifecycle::{self, Event, ItemState};
use super::super::refusal::Refusal;
use super::super::review::validate_comment;
use super::super::status::ReviewStatus;
use super::{CHUNK, Canary, OperationId};

/// The most items a minute that a pace may have.
pub const MAX_PACE: u32 = 60_000;

/// What is done with each item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "Name")]
pub enum Act {
    /// T21: a copy of it is New.
    Retry,
    /// T20: its review status becomes Verified.
    Verify,
    /// T18: its review status becomes InReview.
    PutInReview,
    /// T22: its reviewer is set, or cleared.
    Assign {
        /// The id of the user.
        #[serde(rename = "ReviewerUserId")]
        reviewer: Option<i64>,
        /// The folders in which this user may not review.
        #[serde(rename = "NotPermittedIn", default)]
        not_in: Vec<FolderId>,
    },
    /// It gets the comment of the plan, and nothing else happens to it.
    Comment,
    /// T17: it is deleted.
    Delete,
    /// T24: its content is removed.
    Purge,
    /// T17 for the copies that another operation made, if they are still New.
    TakeBack {
        /// The other operation.
        #[serde(rename = "Operation")]
        of: OperationId,
    },
}

impl Act {
    /// Its name, as people read it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Retry => "Retry",
            Self::Verify => "Verified",
            Self::PutInReview => "InReview",
            Self::Assign { .. } => "Assign",
            Self::Comment => "Comment",
            Self::Delete => "Delete",
            Self::Purge => "Purge",
            Self::TakeBack { .. } => "TakeBack",
        }
    }

    /// The event of an item in a folder, which [`lifecycle::transition`] decides about. `None`: a comment is not an event.
    pub fn event(&self, row_version: u64, folder: FolderId) -> Option<Event> {
        let review = |to| Event::Review { to, row_version };
        Some(match self {
            Self::Retry => review(ReviewStatus::Retried),
            Self::Verify => review(ReviewStatus::Verified),
            Self::PutInReview => review(ReviewStatus::InReview),
            Self::Assign { reviewer, not_in } => {
                Event::SetReviewer { reviewer: *reviewer, permitted: !not_in.contains(&folder), row_version }
            }
            Self::Comment => return None,
            Self::Delete | Self::TakeBack { .. } => Event::Delete { row_version: Some(row_version) },
            Self::Purge => Event::Purge,
        })
    }

    /// Checks what the event does not: an item of a preview is acted on as it was seen, and a copy is taken back while nothing has
    /// begun with it.
    ///
    /// # Errors
    ///
    /// Code 1020 if the item has changed; 1867 for a copy that is not New.
    pub fn check(&self, item: &ItemState, row_version: u64) -> Result<(), Refusal> {
        lifecycle::check_version(item, row_version)?;
        if matches!(self, Self::TakeBack { .. }) && !item.status.is_editable() {
            let message =
                format!("a copy that is {} cannot be taken back: only one that is New can", item.status);
            return Err(Refusal::new(ErrorCode::QUEUE_ITEM_INVALID_STATUS_FOR_RETRY, message));
        }
        Ok(())
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an operation does, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Plan {
    /// What is done with each item.
    pub act: Act,
    /// How many items a minute are acted on; `None` for as many as possible.
    pub pace: Option<u32>,
    /// Retry a few items first.
    pub canary: Option<Canary>,
    /// A comment that each item gets with the act.
    pub comment: Option<String>,
}

impl Plan {
    /// An act on all items at once.
    pub fn new(act: Act) -> Self {
        Self { act, pace: None, canary: None, comment: None }
    }

    /// How many items a minute are acted on, up to [`MAX_PACE`]. Default: as many as possible.
    #[must_use]
    pub fn pace(mut self, pace: impl Into<Option<u32>>) -> Self {
        self.pace = pace.into();
        self
    }

    /// Retry a few items first, and the rest only if those succeed. Default: all at once.
    #[must_use]
    pub fn canary(mut self, canary: impl Into<Option<Canary>>) -> Self {
        self.canary = canary.into();
        self
    }

    /// A comment for all items. Default: none.
    #[must_use]
    pub fn comment(mut self, comment: impl Into<Option<String>>) -> Self {
        self.comment = comment.into();
        self
    }

    /// Checks the options.
    ///
    /// # Errors
    ///
    /// Code 1015 for a pace, a canary or a comment out of its range, a canary of another act than Retry, and an act Comment without a
    /// comment.
    pub fn validate(&self) -> Result<(), Refusal> {
        let wrong = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        if let Some(pace) = self.pace.filter(|pace| !(1..=MAX_PACE).contains(pace)) {
            return wrong(format!("a pace is between 1 and {MAX_PACE} items a minute, and not {pace}"));
        }
        if let Some(canary) = self.canary {
            if self.act != Act::Retry {
                return wrong(format!("a canary is for Retry, and not for {}", self.act));
            }
            canary.validate(CHUNK as u64)?;
        }
        match &self.comment {
            Some(comment) => validate_comment(comment),
            None if self.act == Act::Comment => wrong("the comment is missing".to_owned()),
            None => Ok(()),
        }
    }
}
