//! What the answer of a receiver means for a delivery.

/// What the answer of a receiver means for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It was delivered.
    Delivered,
    /// It is sent again later, and the others wait behind it.
    Again,
    /// The receiver does not take this one: it is a dead letter at once, and the next one is sent.
    Refused,
    /// The receiver wants no more: the webhook is disabled.
    Gone,
}

/// What a status code means. `None`: there was no answer.
pub fn verdict_of(status: Option<u16>) -> Verdict {
    match status {
        Some(200..=299) => Verdict::Delivered,
        // What is wrong with these is in the body, which is the same with the next try.
        Some(400 | 413 | 415 | 422) => Verdict::Refused,
        Some(410) => Verdict::Gone,
        _ => Verdict::Again,
    }
}
