//! Limits concurrent comparisons of passwords, which take tens of milliseconds and some memory by design. Those who wait are
//! counted by network: one network gets a limited number of slots, and some slots and half of the comparisons are reserved
//! for networks with a recent login. So many attempts from unknown networks do not lock out known users.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::api_error::ApiError;

/// The maximum number of attempts that wait or are compared, from unknown networks.
const MAX_WAITING_UNKNOWN: usize = 192;
/// The maximum of one network.
const MAX_WAITING_PER_NETWORK: usize = 64;
/// How long a network is known after a login.
const KNOWN_FOR: Duration = Duration::from_secs(7 * 86_400);
/// The maximum number of known networks.
const MAX_KNOWN_NETWORKS: usize = 10_000;

/// The limit of concurrent comparisons.
pub(super) struct PasswordLimit {
    /// One permit for all networks.
    shared: Arc<Semaphore>,
    /// One more permit for known networks.
    reserved: Arc<Semaphore>,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    unknown: usize,
    by_network: HashMap<IpAddr, usize>,
    /// Known networks, and until when they are known.
    known: HashMap<IpAddr, Duration>,
}

/// A slot of an attempt that waits or is compared; freed on drop.
pub(super) struct WaitingSlot {
    network: IpAddr,
    is_known: bool,
    waiting: Arc<Mutex<Waiting>>,
}

/// A permit to compare one password; released on drop.
pub(super) struct PasswordPermit {
    _slot: WaitingSlot,
    _permit: OwnedSemaphorePermit,
}

impl Default for PasswordLimit {
    fn default() -> Self {
        let one = || Arc::new(Semaphore::new(1));
        Self { shared: one(), reserved: one(), waiting: Arc::default() }
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl PasswordLimit {
    /// Waits until a password from this address may be compared.
    ///
    /// # Errors
    ///
    /// 503 if too many attempts of its network, or of unknown networks, wait.
    pub(super) async fn acquire(&self, from: IpAddr, now: Duration) -> Result<PasswordPermit, ApiError> {
        let slot = self.slot(from, now)?;
        let closed = |_| ApiError::internal("the semaphore of password comparisons is closed");
        let permit = if slot.is_known {
            tokio::select! {
                biased;
                permit = self.reserved.clone().acquire_owned() => permit,
                permit = self.shared.clone().acquire_owned() => permit,
            }
        } else {
            self.shared.clone().acquire_owned().await
        };
        Ok(PasswordPermit { _slot: slot, _permit: permit.map_err(closed)? })
    }

    /// A slot of an attempt, which does not wait yet.
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire).
    pub(super) fn slot(&self, from: IpAddr, now: Duration) -> Result<WaitingSlot, ApiError> {
        let network = site_network(from);
        let mut waiting = lock(&self.waiting);
        let is_known = waiting.known.get(&network).is_some_and(|until| *until > now);
        let of_network = waiting.by_network.get(&network).copied().unwrap_or(0);
        if of_network >= MAX_WAITING_PER_NETWORK || !is_known && waiting.unknown >= MAX_WAITING_UNKNOWN {
            return Err(ApiError::unavailable());
        }
        waiting.by_network.insert(network, of_network + 1);
        waiting.unknown += usize::from(!is_known);
        drop(waiting);
        Ok(WaitingSlot { network, is_known, waiting: self.waiting.clone() })
    }

    /// Records a successful login from this address, with any kind of secret.
    pub(super) fn logged_in(&self, from: IpAddr, now: Duration) {
        let network = site_network(from);
        let mut waiting = lock(&self.waiting);
        if waiting.known.len() >= MAX_KNOWN_NETWORKS && !waiting.known.contains_key(&network) {
            let oldest = waiting.known.iter().min_by_key(|(_, until)| **until).map(|(network, _)| *network);
            oldest.and_then(|oldest| waiting.known.remove(&oldest));
        }
        waiting.known.insert(network, now + KNOWN_FOR);
    }
}

impl Drop for WaitingSlot {
    fn drop(&mut self) {
        let mut waiting = lock(&self.waiting);
        waiting.unknown -= usize::from(!self.is_known);
        let left = waiting.by_network.get(&self.network).map_or(0, |count| count - 1);
        if left == 0 {
            waiting.by_network.remove(&self.network);
        } else {
            waiting.by_network.insert(self.network, left);
        }
    }
}

/// The network of one site: IPv4 /24, IPv6 /48.
pub(super) fn site_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(four) => IpAddr::V4((u32::from(four) & (u32::MAX << 8)).into()),
        IpAddr::V6(six) => IpAddr::V6((u128::from(six) & (u128::MAX << 80)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn from(network: u8, host: u8) -> IpAddr {
        IpAddr::from([10, 0, network, host])
    }

    #[test]
    fn a_network_has_a_limited_number_of_slots() {
        let passwords = PasswordLimit::default();
        let mut slots: Vec<WaitingSlot> =
            (0..64).map(|host| passwords.slot(from(1, host), NOW).ok().unwrap()).collect();
        let refused = passwords.slot(from(1, 99), NOW).err().unwrap();
        assert_eq!((refused.status.as_u16(), refused.retry_after), (503, Some(1)));
        assert!(passwords.slot(from(2, 99), NOW).is_ok(), "another network");
        slots.pop();
        slots.push(passwords.slot(from(1, 99), NOW).ok().unwrap());
        drop(slots);
        assert!(lock(&passwords.waiting).by_network.is_empty(), "nothing is left behind");
        // The same with IPv6: 65,536 networks of /64 are one site.
        let six = |n: u16| format!("2001:db8:7:{n:x}::1").parse().unwrap();
        let _slots: Vec<WaitingSlot> = (0..64).map(|n| passwords.slot(six(n), NOW).ok().unwrap()).collect();
        assert!(passwords.slot(six(9_999), NOW).is_err());
        assert!(passwords.slot("2001:db8:8::1".parse().unwrap(), NOW).is_ok());
    }

    /// Attempts from two hundred unknown networks do not delay a known one.
    #[tokio::test]
    async fn unknown_networks_do_not_block_known_ones() {
        let passwords = PasswordLimit::default();
        passwords.logged_in(from(250, 1), NOW);
        let _compared = passwords.acquire(from(0, 1), NOW).await.ok().unwrap();
        let slots: Vec<_> = (1..200).map(|network| passwords.slot(from(network, 1), NOW)).collect();
        assert_eq!(slots.iter().filter(|slot| slot.is_ok()).count(), MAX_WAITING_UNKNOWN - 1);
        assert!(passwords.acquire(from(201, 1), NOW).await.is_err(), "over the limit of unknown networks");
        let permit =
            tokio::time::timeout(Duration::from_secs(5), passwords.acquire(from(250, 77), NOW)).await;
        assert!(permit.unwrap().is_ok(), "the same network as before");
        assert!(passwords.slot(from(250, 77), NOW + KNOWN_FOR).is_err(), "it is known for a week");
    }

    #[test]
    fn the_oldest_known_network_is_dropped() {
        let passwords = PasswordLimit::default();
        for n in 0..u32::try_from(MAX_KNOWN_NETWORKS).unwrap() + 50 {
            passwords.logged_in(IpAddr::V4((n << 8).into()), NOW + Duration::from_secs(n.into()));
        }
        assert_eq!(lock(&passwords.waiting).known.len(), MAX_KNOWN_NETWORKS);
    }
}
