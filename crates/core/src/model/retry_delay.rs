//! How long the copy of an item waits before its automatic retry (lifecycle T6 and T15).
//!
//! The Orchestrator has nothing like it: there, only the exception of an attempt can defer the retry.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::key::ItemId;
use super::refusal::Refusal;

/// The shortest retry delay. Delays are whole milliseconds.
pub const MIN_RETRY_DELAY: Duration = Duration::from_millis(1);
/// The longest retry delay: not longer than the shortest period after which a queue removes items that were never finished.
pub const MAX_RETRY_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long the copy of an item waits before its automatic retry: its DeferDate is the end of the attempt plus this delay.
///
/// It holds for every automatic retry: after an ApplicationException, and of abandoned items if
/// [`retry_abandoned_items`](super::queue::QueuePolicy::retry_abandoned_items) is set. A delay that the exception itself asks
/// for ([`ApplicationException::retry_after`](crate::exception::ApplicationException::retry_after)) is used instead, also if
/// it is shorter. A retry by hand does not wait.
///
/// As text, which the command uses: `none`, `30s`, `10s..10m` or `10s..10m~50%`.
///
/// ```
/// use std::time::Duration;
///
/// use performer::{ExponentialDelay, QueuePolicy, RetryDelay};
///
/// let half_a_minute = QueuePolicy::default().retry_delay(Duration::from_secs(30));
/// let growing = ExponentialDelay::new(Duration::from_secs(10), Duration::from_secs(600));
/// let doubling = QueuePolicy::default().max_number_of_retries(5).retry_delay(growing);
/// assert_eq!("10s..10m".parse(), Ok(doubling.retry_delay));
/// assert_eq!("30s".parse(), Ok(half_a_minute.retry_delay));
/// assert_eq!(QueuePolicy::default().retry_delay, RetryDelay::None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Json", into = "Json")]
#[non_exhaustive]
pub enum RetryDelay {
    /// The copy can be claimed at once, behind everything that waits.
    #[default]
    None,
    /// A delay that does not grow from retry to retry: [`MIN_RETRY_DELAY`] to [`MAX_RETRY_DELAY`].
    Fixed(Duration),
    /// A delay that doubles with every retry.
    Exponential(ExponentialDelay),
}

/// A delay that doubles with every retry, up to a cap, and is shortened by a jitter.
///
/// The jitter spreads retries whose attempts failed at the same time, for instance because an application was down. It only
/// shortens, so no delay is longer than the cap, and delays that have reached the cap are spread too. It is computed from
/// the id of the item and the number of the retry: the same retry always waits equally long, in every store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ExponentialDelay {
    /// The delay before the first retry: [`MIN_RETRY_DELAY`] to `cap`.
    pub first: Duration,
    /// The longest delay, at most [`MAX_RETRY_DELAY`].
    pub cap: Duration,
    /// By how many percent a delay is shortened at most, 0 to 100. Default: 25.
    pub jitter_percent: u8,
}

/// The jitter of a delay that does not state one.
const DEFAULT_JITTER_PERCENT: u8 = 25;

impl ExponentialDelay {
    /// `first` before the first retry, twice as long before each further one, at most `cap`; with a jitter of 25 percent.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, jitter_percent: DEFAULT_JITTER_PERCENT }
    }

    /// Sets by how many percent a delay is shortened at most: 0 (none) to 100. Default: 25.
    #[must_use]
    pub fn jitter_percent(mut self, jitter_percent: u8) -> Self {
        self.jitter_percent = jitter_percent;
        self
    }

    fn before(&self, item: ItemId, retry_number: u32) -> Duration {
        let doublings = retry_number.saturating_sub(1).min(63);
        let delay = self.first.as_micros().saturating_mul(1 << doublings).min(self.cap.as_micros());
        // At most 24 hours in a valid policy. A policy from elsewhere must not overflow either.
        let delay = u64::try_from(delay).unwrap_or(u64::MAX);
        let percent = u128::from(self.jitter_percent.min(100));
        let cut = (u128::from(delay) * percent / 100 * u128::from(share(item, retry_number))) >> 32;
        Duration::from_micros(delay - u64::try_from(cut).unwrap_or(delay))
    }
}

/// A number below 2³² that is spread evenly over items and their retries.
///
/// The rules are pure and have no source of random numbers: a store may apply one report several times until a commit
/// succeeds, and a simulation has to come to the same end again. SplitMix64's finalizer is a fixed function, which a hash of
/// the standard library is not.
fn share(item: ItemId, retry_number: u32) -> u32 {
    let mixed = mix(mix(item.0.cast_unsigned()) ^ u64::from(retry_number));
    u32::try_from(mixed >> 32).unwrap_or(u32::MAX)
}

/// The output function of SplitMix64.
fn mix(seed: u64) -> u64 {
    let z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl RetryDelay {
    /// The delay of a retry. `item`: whose attempt has ended; `retry_number`: of its copy, 1 for the first retry.
    pub fn before_retry(&self, item: ItemId, retry_number: u32) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Fixed(delay) => Some(*delay),
            Self::Exponential(delay) => Some(delay.before(item, retry_number)),
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// Code 1015 for a delay that is shorter than [`MIN_RETRY_DELAY`], longer than [`MAX_RETRY_DELAY`] or no whole number of
    /// milliseconds, a first delay that is longer than its cap, or a jitter of more than 100 percent.
    pub fn validate(&self) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        let (first, cap, jitter) = match self {
            Self::None => return Ok(()),
            Self::Fixed(delay) => (*delay, *delay, 0),
            Self::Exponential(delay) => (delay.first, delay.cap, delay.jitter_percent),
        };
        for delay in [first, cap] {
            if !(MIN_RETRY_DELAY..=MAX_RETRY_DELAY).contains(&delay) || delay.subsec_nanos() % 1_000_000 != 0
            {
                let (shown, low, high) = (shown(delay), shown(MIN_RETRY_DELAY), shown(MAX_RETRY_DELAY));
                return invalid(format!(
                    "a retry delay is {shown}; it should be between {low} and {high}, in whole milliseconds"
                ));
            }
        }
        if first > cap {
            let (first, cap) = (shown(first), shown(cap));
            return invalid(format!("the first retry delay, {first}, is longer than the longest one, {cap}"));
        }
        if jitter > 100 {
            return invalid(format!("the jitter of the retry delay is {jitter}%; it should be at most 100%"));
        }
        Ok(())
    }
}

impl From<Duration> for RetryDelay {
    fn from(delay: Duration) -> Self {
        Self::Fixed(delay)
    }
}

impl From<ExponentialDelay> for RetryDelay {
    fn from(delay: ExponentialDelay) -> Self {
        Self::Exponential(delay)
    }
}

fn shown(delay: Duration) -> String {
    format!("{:#}", SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX))
}

impl fmt::Display for RetryDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Fixed(delay) => f.write_str(&shown(*delay)),
            Self::Exponential(ExponentialDelay { first, cap, jitter_percent }) => {
                write!(f, "{}..{}~{jitter_percent}%", shown(*first), shown(*cap))
            }
        }
    }
}

/// A text that is no [`RetryDelay`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRetryDelay {
    text: String,
}

impl fmt::Display for InvalidRetryDelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a retry delay, such as none, 30s, 10s..10m or 10s..10m~50%", self.text)
    }
}

impl std::error::Error for InvalidRetryDelay {}

impl FromStr for RetryDelay {
    type Err = InvalidRetryDelay;

    /// Reads the text, and not whether it is [valid](RetryDelay::validate).
    fn from_str(text: &str) -> Result<Self, InvalidRetryDelay> {
        read(text.trim()).ok_or_else(|| InvalidRetryDelay { text: text.to_owned() })
    }
}

fn read(text: &str) -> Option<RetryDelay> {
    let duration = |text: &str| {
        let signed: SignedDuration = text.trim().parse().ok()?;
        Duration::try_from(signed).ok()
    };
    if text.eq_ignore_ascii_case("none") {
        return Some(RetryDelay::None);
    }
    let Some((first, rest)) = text.split_once("..") else {
        return duration(text).map(RetryDelay::Fixed);
    };
    let (cap, jitter) = match rest.split_once('~') {
        Some((cap, jitter)) => (cap, jitter.trim().strip_suffix('%')?.trim_end().parse().ok()?),
        None => (rest, DEFAULT_JITTER_PERCENT),
    };
    Some(ExponentialDelay::new(duration(first)?, duration(cap)?).jitter_percent(jitter).into())
}

/// A retry delay as it is stored and sent.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Json {
    None,
    Fixed { milliseconds: u64 },
    Exponential { first_milliseconds: u64, cap_milliseconds: u64, jitter_percent: u8 },
}

impl From<Json> for RetryDelay {
    fn from(json: Json) -> Self {
        match json {
            Json::None => Self::None,
            Json::Fixed { milliseconds } => Self::Fixed(Duration::from_millis(milliseconds)),
            Json::Exponential { first_milliseconds, cap_milliseconds, jitter_percent } => {
                let first = Duration::from_millis(first_milliseconds);
                let cap = Duration::from_millis(cap_milliseconds);
                Self::Exponential(ExponentialDelay { first, cap, jitter_percent })
            }
        }
    }
}

impl From<RetryDelay> for Json {
    fn from(delay: RetryDelay) -> Self {
        let milliseconds = |delay: Duration| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        match delay {
            RetryDelay::None => Self::None,
            RetryDelay::Fixed(delay) => Self::Fixed { milliseconds: milliseconds(delay) },
            RetryDelay::Exponential(ExponentialDelay { first, cap, jitter_percent }) => Self::Exponential {
                first_milliseconds: milliseconds(first),
                cap_milliseconds: milliseconds(cap),
                jitter_percent,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn exponential(first: u64, cap: u64, jitter_percent: u8) -> ExponentialDelay {
        ExponentialDelay::new(seconds(first), seconds(cap)).jitter_percent(jitter_percent)
    }

    #[test]
    fn delays_double_up_to_the_cap() {
        let delay = RetryDelay::from(exponential(10, 60, 0));
        let delays: Vec<_> =
            (1..=5).map(|retry| delay.before_retry(ItemId(7), retry).unwrap().as_secs()).collect();
        assert_eq!(delays, [10, 20, 40, 60, 60]);
        assert_eq!(RetryDelay::from(seconds(30)).before_retry(ItemId(7), 3), Some(seconds(30)));
        assert_eq!(RetryDelay::None.before_retry(ItemId(7), 3), None);
    }

    /// Any policy, valid or not, any item and any retry: no delay is negative, above the cap, or shorter than the jitter allows.
    #[test]
    fn no_delay_leaves_its_bounds() {
        let mut random = fastrand::Rng::with_seed(11);
        let any = |random: &mut fastrand::Rng| match random.u8(..8) {
            0 => Duration::MAX,
            1 => Duration::ZERO,
            _ => Duration::from_micros(random.u64(..) >> random.u32(..64)),
        };
        for _ in 0..20_000 {
            let delay = ExponentialDelay::new(any(&mut random), any(&mut random));
            let delay = delay.jitter_percent(random.u8(..));
            let (item, retry) = (ItemId(random.i64(..)), random.u32(..) >> random.u32(..32));
            let found = RetryDelay::from(delay).before_retry(item, retry).unwrap();
            assert_eq!(RetryDelay::from(delay).before_retry(item, retry), Some(found), "the same again");
            assert!(found <= delay.cap, "{delay:?}, {retry}: {found:?}");
            let full = delay.jitter_percent(0).before(item, retry);
            let least = full.mul_f64(1.0 - f64::from(delay.jitter_percent.min(100)) / 100.0);
            let rounding = Duration::from_micros(1) + full / 1_000_000_000;
            assert!(found <= full && found + rounding >= least, "{delay:?}, {retry}: {found:?} of {full:?}");
        }
    }

    /// Items that failed together are retried over the whole time that the jitter allows, at the cap as well.
    #[test]
    fn jitter_spreads_evenly() {
        for retry in [1, 2, 9] {
            let delay = RetryDelay::from(exponential(100, 100, 50));
            let mut tenths = [0; 10];
            for item in 1..=10_000 {
                let waits = delay.before_retry(ItemId(item), retry).unwrap();
                let tenth = (waits - seconds(50)).as_millis() / 5_000;
                tenths[usize::try_from(tenth).unwrap().min(9)] += 1;
            }
            assert!(tenths.iter().all(|count| (900..1_100).contains(count)), "{tenths:?}");
        }
        let item = ItemId(1);
        let twice = [1, 2].map(|retry| exponential(100, 100, 50).before(item, retry));
        assert_ne!(twice[0], twice[1], "each retry of an item has a jitter of its own");
    }

    /// The jitter is part of the rules: a store that was upgraded gives the same item the same delay.
    #[test]
    fn jitter_never_changes() {
        let shares = [(1, 1), (1, 2), (2, 1), (i64::MAX, 50)].map(|(item, retry)| share(ItemId(item), retry));
        assert_eq!(shares, [3_925_696_585, 3_168_394_164, 3_765_293_123, 4_223_262_454]);
    }

    #[test]
    fn values_out_of_range_are_refused() {
        let nearly = MAX_RETRY_DELAY + Duration::from_millis(1);
        for (delay, part) in [
            (RetryDelay::Fixed(Duration::ZERO), "0s; it should be between 1ms and 24h"),
            (RetryDelay::Fixed(nearly), "it should be between 1ms and 24h"),
            (RetryDelay::Fixed(Duration::from_micros(1_500)), "in whole milliseconds"),
            (exponential(60, 30, 0).into(), "the first retry delay, 1m, is longer than the longest one, 30s"),
            (exponential(1, 90_000, 0).into(), "a retry delay is 25h"),
            (exponential(0, 60, 0).into(), "a retry delay is 0s"),
            (exponential(1, 60, 101).into(), "101%; it should be at most 100%"),
        ] {
            let refusal = delay.validate().unwrap_err();
            assert_eq!(refusal.code(), ErrorCode::PARAMETER_INVALID);
            assert!(refusal.to_string().contains(part), "{part}: {refusal}");
        }
        for valid in ["none", "1ms", "24h", "1ms..24h~100%", "5s..5s~0%"] {
            assert_eq!(valid.parse::<RetryDelay>().unwrap().validate(), Ok(()), "{valid}");
        }
    }

    #[test]
    fn a_delay_is_read_as_it_is_written() {
        for (text, delay) in [
            ("none", RetryDelay::None),
            ("30s", seconds(30).into()),
            ("1m 30s", seconds(90).into()),
            ("10s..10m~25%", exponential(10, 600, 25).into()),
            (
                "250ms..2h~0%",
                ExponentialDelay::new(Duration::from_millis(250), seconds(7_200)).jitter_percent(0).into(),
            ),
        ] {
            assert_eq!((text.parse(), delay.to_string()), (Ok(delay), text.to_owned()));
            let json = serde_json::to_string(&delay).unwrap();
            assert_eq!(serde_json::from_str::<RetryDelay>(&json).unwrap(), delay, "{json}");
        }
        assert_eq!(" 10s .. 10m ".parse(), Ok(RetryDelay::from(exponential(10, 600, 25))));
        assert_eq!("NONE".parse(), Ok(RetryDelay::None));
        for text in
            ["", "30", "-30s", "10s..", "..10m", "10s..10m~", "10s..10m~50", "10s..10m~300%", "10s~5%"]
        {
            let error = text.parse::<RetryDelay>().unwrap_err();
            assert!(error.to_string().contains("is not a retry delay, such as"), "{text}: {error}");
        }
        let json = |delay: RetryDelay| serde_json::to_value(delay).unwrap();
        assert_eq!(json(seconds(30).into()), serde_json::json!({ "kind": "fixed", "milliseconds": 30_000 }));
        assert_eq!(
            json(exponential(10, 600, 25).into()),
            serde_json::json!({
                "kind": "exponential", "firstMilliseconds": 10_000, "capMilliseconds": 600_000, "jitterPercent": 25
            })
        );
    }
}
