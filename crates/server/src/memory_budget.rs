//! The memory budget for request bodies, responses and large heads: one for the whole server, in bytes, counted from their
//! arrival or creation until they are dropped, with a share for each caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use prometheus_client::metrics::gauge::Gauge;

use super::login_failures::client_network;

/// The bytes that a caller with a token may always hold, even while others hold all the rest.
const GUARANTEED_BYTES: usize = 1024 * 1024;

/// 1/8 of the budget is for callers without a token, and 1/8 above the budget may be used so that every caller gets
/// [`GUARANTEED_BYTES`].
const RESERVED_SHARE: usize = 8;

/// The owner of reserved bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum BudgetOwner {
    /// A caller with a token: the id of the user.
    User(i64),
    /// A caller without a token: the network of the client.
    Network(IpAddr),
}

impl BudgetOwner {
    /// The owner for a caller without a token.
    pub(super) fn of_network(address: IpAddr) -> Self {
        Self::Network(client_network(address))
    }
}

/// The budget.
#[derive(Debug)]
pub(super) struct MemoryBudget {
    max_bytes: usize,
    usage: Mutex<BudgetUsage>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct BudgetUsage {
    all: usize,
    /// The part of it that networks hold.
    unknown: usize,
    by_owner: HashMap<BudgetOwner, usize>,
}

impl MemoryBudget {
    /// A budget of `max_bytes`. `gauge` shows the reserved bytes.
    pub(super) fn new(max_bytes: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { max_bytes, usage: Mutex::default(), gauge })
    }

    /// An empty reservation for an owner.
    pub(super) fn reservation(self: &Arc<Self>, owner: BudgetOwner) -> Reservation {
        Reservation { budget: self.clone(), owner, bytes: 0, is_limited: true }
    }

    /// The maximum expected size of a response: small enough that a caller alone can always reserve it.
    pub(super) fn max_expected(&self) -> usize {
        self.max_bytes / RESERVED_SHARE
    }

    /// Reserves bytes; `None` if they exceed the owner's share.
    pub(super) fn reserve(self: &Arc<Self>, owner: BudgetOwner, bytes: usize) -> Option<Reservation> {
        let mut held = self.reservation(owner);
        held.grow(bytes).then_some(held)
    }

    fn usage(&self) -> MutexGuard<'_, BudgetUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an owner may reserve more. An owner may hold as much as stays free: one alone at most half of the budget, two a
    /// third each, so that something is left for another one.
    fn fits(&self, usage: &BudgetUsage, owner: BudgetOwner, more: usize) -> bool {
        let own = usage.by_owner.get(&owner).copied().unwrap_or(0).saturating_add(more);
        let all = usage.all.saturating_add(more);
        let within_share = own <= self.max_bytes.saturating_sub(all);
        match owner {
            BudgetOwner::User(_) => {
                within_share
                    || own <= GUARANTEED_BYTES && all <= self.max_bytes + self.max_bytes / RESERVED_SHARE
            }
            BudgetOwner::Network(_) => {
                let unknown = usage.unknown.saturating_add(more);
                within_share && own <= (self.max_bytes / RESERVED_SHARE).saturating_sub(unknown)
            }
        }
    }

    fn add(&self, usage: &mut BudgetUsage, owner: BudgetOwner, bytes: usize) {
        usage.all += bytes;
        if matches!(owner, BudgetOwner::Network(_)) {
            usage.unknown += bytes;
        }
        *usage.by_owner.entry(owner).or_default() += bytes;
        self.update_gauge(usage);
    }

    fn remove(&self, usage: &mut BudgetUsage, owner: BudgetOwner, bytes: usize) {
        usage.all -= bytes;
        if matches!(owner, BudgetOwner::Network(_)) {
            usage.unknown -= bytes;
        }
        if let Some(own) = usage.by_owner.get_mut(&owner) {
            *own -= bytes;
            if *own == 0 {
                usage.by_owner.remove(&owner);
            }
        }
        self.update_gauge(usage);
    }

    fn update_gauge(&self, usage: &BudgetUsage) {
        self.gauge.set(i64::try_from(usage.all).unwrap_or(i64::MAX));
    }
}

/// Reserved bytes; released on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    budget: Arc<MemoryBudget>,
    owner: BudgetOwner,
    bytes: usize,
    /// Whether the owner's share limits it.
    is_limited: bool,
}

impl Reservation {
    /// Removes the limit, for cheap calls that others depend on. The bytes are still counted.
    pub(super) fn without_limit(mut self) -> Self {
        self.is_limited = false;
        self
    }

    /// Reserves more bytes. `false`: they exceed the owner's share, and nothing changed.
    #[must_use]
    pub(super) fn grow(&mut self, more: usize) -> bool {
        if more == 0 {
            return true;
        }
        let mut usage = self.budget.usage();
        let fits = !self.is_limited || self.budget.fits(&usage, self.owner, more);
        if fits {
            self.budget.add(&mut usage, self.owner, more);
            self.bytes += more;
        }
        fits
    }

    /// The number of reserved bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the owner may reserve more bytes at present.
    pub(super) fn can_grow(&self, more: usize) -> bool {
        !self.is_limited || self.budget.fits(&self.budget.usage(), self.owner, more)
    }

    /// Sets the reserved bytes regardless of the share, for data that exists already and must not be dropped.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        let mut usage = self.budget.usage();
        if bytes > self.bytes {
            self.budget.add(&mut usage, self.owner, bytes - self.bytes);
        } else {
            self.budget.remove(&mut usage, self.owner, self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// An empty reservation of the same budget and owner.
    pub(super) fn sibling(&self) -> Self {
        self.budget.reservation(self.owner)
    }

    /// Attaches the reservation to bytes: it is released when the last reference to them is dropped.
    pub(super) fn attach_to(mut self, bytes: Vec<u8>) -> Bytes {
        self.set(bytes.capacity());
        Bytes::from_owner(TrackedBytes { bytes, _reservation: self })
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct TrackedBytes {
    bytes: Vec<u8>,
    _reservation: Reservation,
}

impl AsRef<[u8]> for TrackedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn budget(max_bytes: usize) -> (Arc<MemoryBudget>, Gauge) {
        let gauge = Gauge::default();
        (MemoryBudget::new(max_bytes, gauge.clone()), gauge)
    }

    #[test]
    fn unlimited_reservations_are_counted() {
        let (budget, gauge) = budget(8 * MIB);
        let owner = BudgetOwner::User(1);
        let _all = budget.reserve(owner, 4 * MIB).unwrap();
        assert!(budget.reserve(owner, 2 * MIB).is_none());
        let mut light = budget.reservation(owner).without_limit();
        assert!(light.can_grow(1_000) && light.grow(1_000));
        assert_eq!(gauge.get(), 4 * 1024 * 1024 + 1_000);
        drop(light);
        assert_eq!(gauge.get(), 4 * 1024 * 1024);
    }

    #[test]
    fn one_caller_can_reserve_the_expected_response() {
        for max_bytes in [4 * MIB, 16 * MIB, 512 * MIB] {
            let (budget, _) = budget(max_bytes);
            assert!(budget.reserve(BudgetOwner::User(1), budget.max_expected()).is_some(), "{max_bytes}");
        }
    }

    #[test]
    fn one_owner_cannot_reserve_everything() {
        let (budget, gauge) = budget(64 * MIB);
        let first: Vec<Reservation> =
            std::iter::from_fn(|| budget.reserve(BudgetOwner::User(1), MIB)).collect();
        assert_eq!(first.len(), 32);
        let second: Vec<Reservation> =
            std::iter::from_fn(|| budget.reserve(BudgetOwner::User(2), MIB)).collect();
        assert_eq!(second.len(), 16);
        assert!(budget.reserve(BudgetOwner::User(3), 8 * MIB).is_some());
        drop((first, second));
        assert_eq!(gauge.get(), 0);
        assert!(budget.usage().by_owner.is_empty(), "nothing is kept of owners who hold nothing");
    }

    #[test]
    fn every_user_has_guaranteed_bytes_up_to_a_hard_limit() {
        let (budget, gauge) = budget(64 * MIB);
        let all: Vec<Reservation> =
            (0..1_000).filter_map(|user| budget.reserve(BudgetOwner::User(user), MIB)).collect();
        assert_eq!(all.len(), 72);
        assert_eq!(gauge.get(), i64::try_from(72 * MIB).unwrap());
        assert!(budget.reserve(BudgetOwner::User(0), 1).is_none());
    }

    #[test]
    fn callers_without_a_token_share_a_small_part() {
        let (budget, _) = budget(64 * MIB);
        let network = |n: u8| BudgetOwner::Network([10, 0, 0, n].into());
        let mut reservations = Vec::new();
        for n in 0..255 {
            reservations.extend(std::iter::from_fn(|| budget.reserve(network(n), 64 * 1024)));
        }
        let usage = budget.usage().all;
        assert!((7 * MIB..=8 * MIB).contains(&usage), "{usage}");
        assert!(budget.reserve(BudgetOwner::User(1), 20 * MIB).is_some(), "known callers have the rest");
    }

    #[test]
    fn tracked_bytes_are_counted_until_the_last_reference_is_dropped() {
        let (budget, gauge) = budget(64 * MIB);
        let bytes = budget.reservation(BudgetOwner::User(1)).attach_to(vec![7; MIB]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(gauge.get(), i64::try_from(MIB).unwrap());
        drop(part);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_refused_reservation_changes_nothing() {
        let (budget, gauge) = budget(64 * MIB);
        let mut reservation = budget.reserve(BudgetOwner::User(1), MIB).unwrap();
        assert!(!reservation.can_grow(40 * MIB) && !reservation.grow(40 * MIB));
        assert_eq!(gauge.get(), i64::try_from(MIB).unwrap());
        reservation.set(3 * MIB);
        assert_eq!(gauge.get(), i64::try_from(3 * MIB).unwrap());
        reservation.set(0);
        assert_eq!(gauge.get(), 0);
    }
}
