//! The answer of a rule that refuses an event.

use super::code::ErrorCode;

/// A refusal: the Orchestrator's numeric code and a sentence for people.
///
/// The message is a lower-case fragment without a full stop.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    code: ErrorCode,
    message: String,
    claim_lost: bool,
}

impl Refusal {
    /// A refusal with a code and the reason, a lower-case fragment without a full stop.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), claim_lost: false }
    }

    /// The claim presented is not the one the item is held by. Nothing was changed.
    pub fn claim_lost(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), claim_lost: true }
    }

    /// The Orchestrator's numeric code.
    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// Whether the caller no longer holds the item it reported on.
    pub fn is_claim_lost(&self) -> bool {
        self.claim_lost
    }
}
