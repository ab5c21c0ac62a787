//! Counts of failed logins: how often a name, and an address, may fail before it is blocked, and what the log is told.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

/// Failed logins of one name from one address before it is blocked, and for how long failures count.
const MAX_FAILURES: u32 = 10;
/// Failed logins of one address, under all names, before it is blocked.
const MAX_FAILURES_PER_ADDRESS: u32 = 100;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);
/// The maximum number of names, or of addresses, whose failures are counted.
const MAX_FAILURE_ENTRIES: usize = 10_000;

/// How many failed logins of one address are logged at `warn` within [`FAILURE_WINDOW`]; the others are logged at `debug`.
const MAX_WARNINGS_PER_ADDRESS: u32 = 20;

/// The part of a name that is compared and logged, in characters.
pub(super) const MAX_NAME_LENGTH: usize = 100;

/// Counts of failed logins, and until when each counts.
#[derive(Default)]
pub(super) struct LoginFailures {
    names: HashMap<(IpAddr, String), (u32, Duration)>,
    addresses: HashMap<IpAddr, (u32, Duration)>,
    /// Failures by address, for the log alone: they block no login.
    warnings: HashMap<IpAddr, (u32, Duration)>,
}

impl LoginFailures {
    /// Whether the address may try at all, under any name. The error is as that of `check_login_allowed`.
    pub(super) fn check_address_allowed(&self, from: IpAddr, now: Duration) -> Result<(), u64> {
        check(self.addresses.get(&client_network(from)), MAX_FAILURES_PER_ADDRESS, now)
    }

    /// The error is the number of seconds until the next attempt is allowed.
    pub(super) fn check_login_allowed(&self, from: IpAddr, name: &str, now: Duration) -> Result<(), u64> {
        check(self.names.get(&key(client_network(from), name)), MAX_FAILURES, now)?;
        self.check_address_allowed(from, now)
    }

    pub(super) fn count(&mut self, from: IpAddr, name: &str, now: Duration) {
        let from = client_network(from);
        count_failure(&mut self.names, key(from, name), now);
        count_failure(&mut self.addresses, from, now);
    }

    /// Counts a failure of an address and returns whether it is logged at `warn`, so that clients cannot fill the log.
    pub(super) fn should_warn(&mut self, from: IpAddr, now: Duration) -> bool {
        let from = client_network(from);
        count_failure(&mut self.warnings, from, now);
        self.warnings.get(&from).is_some_and(|(count, _)| *count <= MAX_WARNINGS_PER_ADDRESS)
    }

    pub(super) fn forget(&mut self, from: IpAddr, name: &str) {
        self.names.remove(&key(client_network(from), name));
    }
}

fn check(counted: Option<&(u32, Duration)>, most: u32, now: Duration) -> Result<(), u64> {
    match counted {
        Some((count, until)) if *count >= most && *until > now => Err((*until - now).as_secs().max(1)),
        _ => Ok(()),
    }
}

fn count_failure<K: Eq + Hash + Clone>(counts: &mut HashMap<K, (u32, Duration)>, of: K, now: Duration) {
    if counts.len() >= MAX_FAILURE_ENTRIES && !counts.contains_key(&of) {
        counts.retain(|_, (_, until)| *until > now);
        // The oldest entry is dropped: a full table must not block other callers.
        let oldest = counts.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest.filter(|_| counts.len() >= MAX_FAILURE_ENTRIES) {
            counts.remove(&oldest);
        }
    }
    let (count, until) = counts.entry(of).or_insert((0, now));
    if *until <= now {
        *count = 0;
    }
    (*count, *until) = (*count + 1, now + FAILURE_WINDOW);
}

/// The unit in which clients are counted: an IPv4 address, or an IPv6 /64 network.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((u128::from(six) & (u128::MAX << 64)).into()),
        four @ IpAddr::V4(_) => four,
    }
}

fn key(from: IpAddr, name: &str) -> (IpAddr, String) {
    (from, name.chars().take(MAX_NAME_LENGTH).collect::<String>().to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn from(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn failed_logins_block_only_their_own_name() {
        let mut failures = LoginFailures::default();
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.check_login_allowed(from(1), "ann", NOW), Ok(()));
            failures.count(from(1), "Ann", NOW);
        }
        assert_eq!(failures.check_login_allowed(from(1), "ANN", NOW), Err(FAILURE_WINDOW.as_secs()));
        assert_eq!(failures.check_login_allowed(from(1), "bob", NOW), Ok(()));
        assert_eq!(failures.check_login_allowed(from(2), "ann", NOW), Ok(()), "from elsewhere");
        assert_eq!(failures.check_login_allowed(from(1), "ann", NOW + FAILURE_WINDOW), Ok(()));
    }

    #[test]
    fn failed_logins_under_many_names_block_the_address() {
        let mut failures = LoginFailures::default();
        for n in 0..MAX_FAILURES_PER_ADDRESS {
            failures.count(from(1), &n.to_string(), NOW);
        }
        assert!(failures.check_login_allowed(from(1), "another", NOW).is_err());
        assert_eq!(failures.check_address_allowed(from(1), NOW), Err(FAILURE_WINDOW.as_secs()));
        assert_eq!(failures.check_login_allowed(from(2), "another", NOW), Ok(()));
        // A whole network of IPv6 is one address.
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..MAX_FAILURES_PER_ADDRESS {
            failures.count(six(&format!("2001:db8::{n:x}")), "x", NOW);
        }
        assert!(failures.check_login_allowed(six("2001:db8::ffff:1"), "y", NOW).is_err());
        assert_eq!(failures.check_login_allowed(six("2001:db8:0:1::1"), "y", NOW), Ok(()));
    }

    /// The table is full of other names, and a new one can still log in.
    #[test]
    fn a_full_table_of_failures_blocks_nobody() {
        let mut failures = LoginFailures::default();
        for n in 0..u32::try_from(MAX_FAILURE_ENTRIES).unwrap() + 200 {
            failures.count(from(n), "flood", NOW + Duration::from_millis(n.into()));
        }
        assert!(
            failures.names.len() <= MAX_FAILURE_ENTRIES && failures.addresses.len() <= MAX_FAILURE_ENTRIES
        );
        assert!(
            (0..MAX_WARNINGS_PER_ADDRESS).all(|_| failures.should_warn(from(1), NOW))
                && !failures.should_warn(from(1), NOW)
        );
        assert!(failures.should_warn(from(2), NOW) && failures.should_warn(from(1), NOW + FAILURE_WINDOW));
        assert_eq!(failures.check_login_allowed(from(9_999_999), "ann", NOW), Ok(()));
    }
}
