//! Identities: of items, of the rows of a retry chain, of jobs, and of claims.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

/// The number of an item. Every attempt has its own; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ItemId(pub i64);

/// The number of a queue. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub i64);

impl fmt::Display for ItemId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A text that is not a GUID.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GUID")]
pub struct InvalidKey(String);

macro_rules! guid {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes of the GUID.
            pub fn to_bytes(self) -> [u8; 16] {
                self.0.into_bytes()
            }

            /// The GUID with these 16 bytes.
            pub fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.hyphenated())
            }
        }

        impl FromStr for $name {
            type Err = InvalidKey;
            fn from_str(text: &str) -> Result<Self, InvalidKey> {
                Uuid::parse_str(text).map(Self).map_err(|_| InvalidKey(text.to_owned()))
            }
        }
    };
}

guid! {
    /// The key of an item. The `Key` is shared by all attempts of a retry chain, the `UniqueKey` is one
    /// attempt's own (contract section 12.1). Key and retry number together are the idempotency key of
    /// an attempt for the systems that a transaction touches.
    ItemKey
}

guid! {
    /// The identity of a job: one run of a performer. Random at every start, so that an identity used
    /// before a restart cannot hide what it left behind.
    JobKey
}

guid! {
    /// The key of a queue, the same wherever the queue is shared.
    QueueKey
}

impl JobKey {
    /// What a store writes beside each item the job holds: 63 of the key's random bits.
    pub fn number(self) -> JobNumber {
        let bytes = self.to_bytes();
        let mut half = [0; 8];
        half.copy_from_slice(&bytes[8..]);
        JobNumber(i64::from_be_bytes(half) & i64::MAX)
    }
}

/// The part of a [`JobKey`] by which items refer to their job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobNumber(pub i64);

/// The right to report on one attempt: a job and a token.
///
/// The token rises with every take of the item and with everything that voids a claim, and is never
/// used again; so the first claim of an item that was postponed and taken again is worth nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    pub(crate) item: ItemId,
    pub(crate) job: JobKey,
    pub(crate) token: u64,
}

impl Claim {
    /// The item the claim is on.
    pub fn item(&self) -> ItemId {
        self.item
    }

    /// The job that holds the item.
    pub fn job(&self) -> JobKey {
        self.job
    }

    /// Which take of the item this was.
    pub fn token(&self) -> u64 {
        self.token
    }

    pub(crate) fn holder(&self) -> Holder {
        Holder { job: self.job.number(), token: self.token }
    }
}

/// A claim as the item's row keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The job that holds it.
    pub job: JobNumber,
    /// Which take of the item it was.
    pub token: u64,
}

/// Makes keys. Seeded, so that a simulation can make the same ones again.
#[derive(Debug)]
pub(crate) struct KeyMaker(fastrand::Rng);

impl KeyMaker {
    pub(crate) fn new() -> Self {
        Self(fastrand::Rng::new())
    }

    #[cfg(test)]
    pub(crate) fn with_seed(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(crate) fn item(&mut self, now: Timestamp) -> ItemKey {
        ItemKey(self.guid(now))
    }

    pub(crate) fn queue(&mut self, now: Timestamp) -> QueueKey {
        QueueKey(self.guid(now))
    }

    pub(crate) fn job(&mut self, now: Timestamp) -> JobKey {
        JobKey(self.guid(now))
    }

    /// Version 7: the time first, so that an index over keys grows at its end; then 74 random bits.
    fn guid(&mut self, now: Timestamp) -> Uuid {
        let mut random = [0; 10];
        self.0.fill(&mut random);
        let milliseconds = u64::try_from(now.as_millisecond()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_from_their_text_and_their_bytes() {
        let key = KeyMaker::new().item(Timestamp::UNIX_EPOCH);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(ItemKey::from_bytes(key.to_bytes()), key);
        assert_eq!("x".parse::<ItemKey>().unwrap_err().to_string(), "\"x\" is not a GUID");
    }

    #[test]
    fn a_seed_makes_the_same_keys_again() {
        let make = |seed| KeyMaker::with_seed(seed).job(Timestamp::UNIX_EPOCH);
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }

    #[test]
    fn the_number_of_a_job_is_never_negative() {
        let mut keys = KeyMaker::with_seed(1);
        assert!((0..1_000).all(|_| keys.job(Timestamp::UNIX_EPOCH).number().0 >= 0));
    }
}
