//! Status and ReviewStatus, and the moves that exist (orchestrator-api 12.2, 13.1 and 13.6).
//!
//! | from \ to | New | InProgress | Failed | Successful | Abandoned | Retried | Deleted |
//! |---|---|---|---|---|---|---|---|
//! | **New** | edit | take | | | | | delete |
//! | **InProgress** | postpone, give back | progress | result | result | its robot is gone | result, its robot is gone | delete |
//! | **Failed** | | | review | | | | delete |
//! | **Successful** | | | | purge | | | delete |
//! | **Abandoned** | | | | | review | | delete |
//! | **Retried** | | | | | | purge | delete |
//! | **Deleted** | | | | | | | purge |
//!
//! Review moves, on Failed and Abandoned items only:
//!
//! | from \ to | None | InReview | Verified | Retried |
//! |---|---|---|---|---|
//! | **None** | | yes | yes | yes |
//! | **InReview** | yes | | yes | yes |
//! | **Verified** | | | | |
//! | **Retried** | | | | |

use crate::enumeration;

enumeration! {
    /// The processing state of an item.
    pub Status {
        /// Waiting. Also a postponed item, and a fresh copy for a retry.
        New = 0,
        /// Claimed by a robot.
        InProgress = 1,
        /// Ended by a BusinessException, or by an ApplicationException with no retry left.
        Failed = 2,
        /// Ended with success.
        Successful = 3,
        /// Was InProgress, and its robot disappeared.
        Abandoned = 4,
        /// Failed, and replaced by a retry copy.
        Retried = 5,
        /// Deleted; still readable.
        Deleted = 6,
    }
}

enumeration! {
    /// The review status of a failed item.
    pub ReviewStatus {
        /// Not reviewed.
        None = 0,
        /// Being reviewed.
        InReview = 1,
        /// Reviewed, and not to be retried.
        Verified = 2,
        /// Retried by hand: a copy replaces it.
        Retried = 3,
    }
}

impl Status {
    /// Whether an item in this state can only be deleted.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::New | Self::InProgress)
    }

    /// Whether an item in this state may move to that one (the first table above; staying is a move
    /// when something about the item changes).
    pub const fn may_become(self, next: Self) -> bool {
        use Status::{Abandoned, Deleted, Failed, InProgress, New, Retried, Successful};
        matches!(
            (self, next),
            (New, New | InProgress | Deleted)
                | (InProgress, _)
                | (Failed, Failed | Deleted)
                | (Successful, Successful | Deleted)
                | (Abandoned, Abandoned | Deleted)
                | (Retried, Retried | Deleted)
                | (Deleted, Deleted)
        )
    }

    /// Whether an item in this state may be given new values.
    pub const fn is_editable(self) -> bool {
        matches!(self, Self::New)
    }

    /// Whether the content of an item in this state may be blanked.
    pub const fn is_purgeable(self) -> bool {
        matches!(self, Self::Successful | Self::Retried | Self::Deleted)
    }

    /// Whether an item in this state counts in a queue that enforces unique references (orchestrator-api 6): a deleted
    /// item does not, and of a retried item the copy does.
    pub const fn counts_for_reference(self) -> bool {
        !matches!(self, Self::Deleted | Self::Retried)
    }

    /// Whether items in this state can be reviewed.
    pub const fn is_reviewable(self) -> bool {
        matches!(self, Self::Failed | Self::Abandoned)
    }
}

impl ReviewStatus {
    /// Whether a review may move from this status to that one (the second table above).
    pub const fn may_become(self, next: Self) -> bool {
        use ReviewStatus::{InReview, None, Retried, Verified};
        matches!((self, next), (None, InReview | Verified | Retried) | (InReview, None | Verified | Retried))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_documented_ones() {
        let numbers: Vec<(u8, &str)> = Status::ALL.iter().map(|s| (s.number(), s.name())).collect();
        let expected = ["New", "InProgress", "Failed", "Successful", "Abandoned", "Retried", "Deleted"];
        assert_eq!(numbers, (0..).zip(expected).collect::<Vec<_>>());
        let numbers: Vec<(u8, &str)> = ReviewStatus::ALL.iter().map(|s| (s.number(), s.name())).collect();
        assert_eq!(numbers, (0..).zip(["None", "InReview", "Verified", "Retried"]).collect::<Vec<_>>());
    }

    #[test]
    fn a_status_is_read_from_its_name_in_any_case_or_its_number() {
        assert_eq!("inprogress".parse(), Ok(Status::InProgress));
        assert_eq!("1".parse(), Ok(Status::InProgress));
        assert_eq!(serde_json::from_str::<Status>("\"SUCCESSFUL\"").unwrap(), Status::Successful);
        assert_eq!(serde_json::from_str::<Status>("3").unwrap(), Status::Successful);
        assert_eq!(serde_json::to_string(&Status::Successful).unwrap(), "\"Successful\"");
        let error = "Done".parse::<Status>().unwrap_err().to_string();
        assert!(error.starts_with("\"Done\" is not a Status; it is one of New, InProgress"), "{error}");
        assert!(serde_json::from_str::<Status>("7").is_err());
        assert!(serde_json::from_str::<Status>("18446744073709551615").is_err());
        assert!(serde_json::from_str::<Status>("true").is_err());
    }
}
