//! Identities: of items, of retry chains, of jobs, and of claims.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use uuid::Uuid;

/// The number of an item. Every attempt has its own; a number is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct ItemId(pub i64);

/// The number of a queue. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
pub struct QueueId(pub i64);

/// The number of a job. Never used again; 0 if the Orchestrator does not number its jobs.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
pub struct JobId(pub i64);

/// The number of a folder. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FolderId(pub i64);

impl FolderId {
    /// The folder that always exists. An embedded store without a server has no other.
    pub const SHARED: Self = Self(1);
}

impl fmt::Display for FolderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

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

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
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
    /// The key of an item. The `Key` is shared by all attempts of a retry chain, and is the idempotency key for the
    /// systems that a transaction changes; the `UniqueKey` belongs to one attempt (orchestrator-api 12.1).
    ItemKey
}

guid! {
    /// The identity of a job: one run of a performer. Random at every start, so that an identity that was used before a
    /// restart cannot hide the items it left behind.
    JobKey
}

guid! {
    /// The key of a queue, the same wherever the queue is shared.
    QueueKey
}

guid! {
    /// The key of an asset, the same wherever the asset is shared.
    AssetKey
}

guid! {
    /// The key of a webhook.
    WebhookKey
}

guid! {
    /// The key of an alert.
    AlertKey
}

guid! {
    /// The identifier of a bucket, the same wherever the bucket is shared.
    BucketKey
}

guid! {
    /// The key of a process.
    ProcessKey
}

guid! {
    /// The key of a machine.
    MachineKey
}

guid! {
    /// The key of the session of an agent.
    SessionKey
}

guid! {
    /// The key of a task.
    TaskKey
}

guid! {
    /// The key of a catalog of tasks, the same wherever the catalog is shared.
    CatalogKey
}

macro_rules! read_from_text {
    ($($name:ident),+) => {
        $(impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        })+
    };
}

read_from_text!(
    AlertKey, AssetKey, BucketKey, CatalogKey, ItemKey, JobKey, MachineKey, ProcessKey, SessionKey, TaskKey,
    WebhookKey
);

impl JobKey {
    /// The holder of items that were claimed over HTTP without a job of ours. It has no heartbeat; such items are held
    /// until there is a result, or until the queue abandons them.
    pub const CALLER: Self = Self(Uuid::nil());

    /// The number that a store writes beside each item the job holds: 63 of the key's random bits.
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
/// The token rises with every claim of the item and with everything that voids a claim, and is never used again; so the
/// first claim of an item that was postponed and claimed again is void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// The item.
    pub item: ItemId,
    /// The job that holds it.
    pub job: JobKey,
    /// The number of the claim: it rises with every claim of the item, and is never used again.
    pub token: u64,
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

    /// The token of the claim.
    pub fn token(&self) -> u64 {
        self.token
    }

    /// The holder that the store compares with.
    pub fn holder(&self) -> Holder {
        Holder { job: self.job.number(), token: self.token }
    }
}

/// A claim as the item's row stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// The job that holds it.
    pub job: JobNumber,
    /// The token of the claim.
    pub token: u64,
}

/// Makes keys. With a seed, so that a simulation can make the same ones again.
///
/// The keys of items rise: each is greater than every key that was made, or [seen](Self::saw), before it. So a store
/// that numbers its items in the order in which it makes their keys finds an item by its key without an index.
#[derive(Debug)]
pub struct KeyMaker {
    random: fastrand::Rng,
    last_item: u128,
}

/// The random bits of a GUID of version 7, below its 48 bits of time.
const RANDOM_BITS: u32 = 74;

impl Default for KeyMaker {
    fn default() -> Self {
        Self::new()
    }
}

impl KeyMaker {
    /// Keys from the randomness of the system.
    pub fn new() -> Self {
        Self { random: fastrand::Rng::new(), last_item: 0 }
    }

    /// Keys that are the same for the same seed.
    pub fn with_seed(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), last_item: 0 }
    }

    /// Another process made this key; the next ones are greater.
    pub fn saw(&mut self, key: ItemKey) {
        self.last_item = self.last_item.max(number_of(key.0));
    }

    /// The greatest key of an item so far.
    pub fn last_item(&self) -> ItemKey {
        ItemKey(guid_of(self.last_item))
    }

    /// The key of a new item: greater than all before it.
    pub fn item(&mut self, now: Timestamp) -> ItemKey {
        let fresh = self.fresh(now);
        // Within a millisecond, or after the clock was set back: a random step above the last one (RFC 9562, 6.2).
        let next =
            if fresh > self.last_item { fresh } else { self.last_item + 1 + u128::from(self.random.u32(..)) };
        self.last_item = next;
        ItemKey(guid_of(next))
    }

    /// The key of a new queue.
    pub fn queue(&mut self, now: Timestamp) -> QueueKey {
        QueueKey(guid_of(self.fresh(now)))
    }

    /// The key of a new asset.
    pub fn asset(&mut self, now: Timestamp) -> AssetKey {
        AssetKey(guid_of(self.fresh(now)))
    }

    /// The key of a new alert.
    pub fn alert(&mut self, now: Timestamp) -> AlertKey {
        AlertKey(guid_of(self.fresh(now)))
    }

    /// The identifier of a new bucket.
    pub fn bucket(&mut self, now: Timestamp) -> BucketKey {
        BucketKey(guid_of(self.fresh(now)))
    }

    /// The key of a new webhook.
    pub fn webhook(&mut self, now: Timestamp) -> WebhookKey {
        WebhookKey(guid_of(self.fresh(now)))
    }

    /// The key of a new process.
    pub fn process(&mut self, now: Timestamp) -> ProcessKey {
        ProcessKey(guid_of(self.fresh(now)))
    }

    /// The key of a new machine.
    pub fn machine(&mut self, now: Timestamp) -> MachineKey {
        MachineKey(guid_of(self.fresh(now)))
    }

    /// The key of a new session of an agent.
    pub fn session(&mut self, now: Timestamp) -> SessionKey {
        SessionKey(guid_of(self.fresh(now)))
    }

    /// The key of a new task.
    pub fn task(&mut self, now: Timestamp) -> TaskKey {
        TaskKey(guid_of(self.fresh(now)))
    }

    /// The key of a new catalog of tasks.
    pub fn catalog(&mut self, now: Timestamp) -> CatalogKey {
        CatalogKey(guid_of(self.fresh(now)))
    }

    /// The key of a new event.
    pub fn event(&mut self, now: Timestamp) -> String {
        guid_of(self.fresh(now)).hyphenated().to_string()
    }

    /// The key of a new job.
    pub fn job(&mut self, now: Timestamp) -> JobKey {
        JobKey(guid_of(self.fresh(now)))
    }

    /// The time in milliseconds first, then random bits.
    fn fresh(&mut self, now: Timestamp) -> u128 {
        let milliseconds = u128::try_from(now.as_millisecond()).unwrap_or(0);
        (milliseconds << RANDOM_BITS) | (self.random.u128(..) >> (u128::BITS - RANDOM_BITS))
    }
}

/// The time and the random bits of a GUID of version 7 as one number, without version and variant.
fn number_of(guid: Uuid) -> u128 {
    let bits = guid.as_u128();
    ((bits >> 80) << RANDOM_BITS) | (((bits >> 64) & 0xfff) << 62) | (bits & ((1 << 62) - 1))
}

fn guid_of(number: u128) -> Uuid {
    let (time, random) = (number >> RANDOM_BITS, number & ((1 << RANDOM_BITS) - 1));
    let (high, low) = (random >> 62, random & ((1 << 62) - 1));
    Uuid::from_u128((time << 80) | (0x7 << 76) | (high << 64) | (0b10 << 62) | low)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_back_from_their_text_and_their_bytes() {
        let key = KeyMaker::new().item(Timestamp::UNIX_EPOCH);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(ItemKey::from_bytes(key.to_bytes()), key);
        assert_eq!((ItemId(7).to_string(), QueueId(8).to_string()), ("7".to_owned(), "8".to_owned()));
        assert!(format!("{key:?}").contains(&key.to_string()));
        assert_eq!("x".parse::<ItemKey>().unwrap_err().to_string(), "\"x\" is not a GUID");
    }

    #[test]
    fn a_seed_makes_the_same_keys_again() {
        let make = |seed| KeyMaker::with_seed(seed).job(Timestamp::UNIX_EPOCH);
        assert_eq!(make(7), make(7));
        assert_ne!(make(7), make(8));
    }

    #[test]
    fn the_keys_of_items_rise_whatever_the_clock_does() {
        let mut keys = KeyMaker::with_seed(1);
        let mut last = keys.item(Timestamp::UNIX_EPOCH);
        for second in [0, 0, 5, 3, 3, 9] {
            for _ in 0..1_000 {
                let next = keys.item(Timestamp::from_second(second).unwrap());
                assert!(next > last, "{last} {next}");
                last = next;
            }
        }
        let mut other = KeyMaker::with_seed(2);
        other.saw(last);
        other.saw(KeyMaker::with_seed(1).item(Timestamp::UNIX_EPOCH)); // an older one changes nothing
        assert!(other.item(Timestamp::UNIX_EPOCH) > last);
    }

    #[test]
    fn a_key_is_a_guid_of_version_7_with_its_time() {
        let at = Timestamp::from_millisecond(0x0123_4567_89ab).unwrap();
        let key = KeyMaker::with_seed(3).item(at);
        assert_eq!(key.0.get_version_num(), 7);
        assert_eq!(key.0.get_variant(), uuid::Variant::RFC4122);
        assert!(key.to_string().starts_with("01234567-89ab-7"), "{key}");
        assert_eq!(guid_of(number_of(key.0)), key.0);
    }

    #[test]
    fn the_number_of_a_job_is_never_negative() {
        let mut keys = KeyMaker::with_seed(1);
        assert!((0..1_000).all(|_| keys.job(Timestamp::UNIX_EPOCH).number().0 >= 0));
    }
}
