//! Bugs that real queues have, one at a time, and which invariants of `docs/reference/lifecycle.md` they break.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutant {
    /// A result is applied to whatever attempt is InProgress.
    CompletionChecksStateOnly,
    /// A result is applied by the item's id, whatever its state.
    CompletionChecksIdOnly,
    /// All claims of a row by one job are equal.
    PostponeKeepsTheToken,
    /// A result is accepted for an item that was deleted meanwhile.
    DeleteKeepsTheClaim,
    /// The retry copy is written in a second transaction.
    CopyInASecondTransaction,
    /// The sweeper does not check the beat again.
    SweepDecidesOnAnOldBeat,
    /// A result is accepted for an item that was abandoned.
    AbandonKeepsTheClaim,
    /// One retry too many.
    RetryOffByOne,
    /// A BusinessException is retried.
    BusinessIsRetried,
    /// A failure without an exception is retried.
    UnspecifiedIsRetried,
    /// A verified item can be retried by hand.
    VerifiedIsRetried,
    /// An item can be retried by hand twice.
    SupersededIsRetried,
    /// A report is acknowledged before it is committed.
    AcknowledgedBeforeCommit,
    /// An add is acknowledged before it is committed.
    AddAcknowledgedBeforeCommit,
    /// The retry copy is not counted.
    CopyIsNotCounted,
    /// Items are claimed by id.
    OrderIgnoresDueDate,
    /// The event of a transition is written in a second transaction.
    EventOutsideTheTransaction,
}

impl Mutant {
    pub const ALL: [Self; 17] = [
        Self::CompletionChecksStateOnly,
        Self::CompletionChecksIdOnly,
        Self::PostponeKeepsTheToken,
        Self::DeleteKeepsTheClaim,
        Self::CopyInASecondTransaction,
        Self::SweepDecidesOnAnOldBeat,
        Self::AbandonKeepsTheClaim,
        Self::RetryOffByOne,
        Self::BusinessIsRetried,
        Self::UnspecifiedIsRetried,
        Self::VerifiedIsRetried,
        Self::SupersededIsRetried,
        Self::AcknowledgedBeforeCommit,
        Self::AddAcknowledgedBeforeCommit,
        Self::CopyIsNotCounted,
        Self::OrderIgnoresDueDate,
        Self::EventOutsideTheTransaction,
    ];

    /// The invariants of which at least one must detect it.
    pub fn detected_by(self) -> &'static [&'static str] {
        match self {
            Self::CompletionChecksStateOnly | Self::AbandonKeepsTheClaim => &["I3", "I4", "I6"],
            Self::CompletionChecksIdOnly => &["I1", "I3", "I4", "I5", "I8", "I9"],
            Self::PostponeKeepsTheToken => &["I3", "I6", "I19"],
            Self::DeleteKeepsTheClaim => &["I3", "I4"],
            Self::CopyInASecondTransaction => &["I8", "I13"],
            Self::SweepDecidesOnAnOldBeat => &["I20"],
            Self::RetryOffByOne => &["I10"],
            Self::BusinessIsRetried | Self::UnspecifiedIsRetried => &["I9"],
            Self::VerifiedIsRetried => &["I11", "I8", "V"],
            Self::SupersededIsRetried => &["I7"],
            Self::AcknowledgedBeforeCommit => &["I5"],
            Self::AddAcknowledgedBeforeCommit => &["I14"],
            Self::CopyIsNotCounted => &["I18"],
            Self::OrderIgnoresDueDate => &["I16"],
            Self::EventOutsideTheTransaction => &["I17"],
        }
    }
}
