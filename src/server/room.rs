//! Memory for bodies, answers and large heads: one budget for the whole server, counted in bytes from the moment they
//! come or are made until they are dropped, with a share for each caller.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use prometheus_client::metrics::gauge::Gauge;

use super::access::network;

/// What a caller may hold even while others hold all the rest, in bytes.
const ALWAYS: usize = 1024 * 1024;

/// The part of the budget for callers that are not known yet, and what may be used above the budget so that each
/// caller has at least [`ALWAYS`]: one in so many.
const PART: usize = 8;

/// On whose account bytes are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Owner {
    /// A caller with a token: the number of the user.
    User(i64),
    /// One without: the network the connection comes from.
    Network(IpAddr),
}

impl Owner {
    /// A caller without a token.
    pub(super) fn of_network(address: IpAddr) -> Self {
        Self::Network(network(address))
    }
}

/// The budget.
#[derive(Debug)]
pub(super) struct Room {
    most: usize,
    used: Mutex<Used>,
    gauge: Gauge,
}

#[derive(Debug, Default)]
struct Used {
    all: usize,
    /// What networks hold, of it.
    unknown: usize,
    by_owner: HashMap<Owner, usize>,
}

impl Room {
    /// A budget of so many bytes; `gauge` always shows what is held.
    pub(super) fn new(most: usize, gauge: Gauge) -> Arc<Self> {
        Arc::new(Self { most, used: Mutex::default(), gauge })
    }

    /// Nothing yet, on somebody's account.
    pub(super) fn account(self: &Arc<Self>, owner: Owner) -> Held {
        Held { room: self.clone(), owner, bytes: 0, is_refused: true }
    }

    /// The most bytes that are expected of one answer, so that a caller alone can always have it.
    pub(super) fn largest_expected(&self) -> usize {
        self.most / PART
    }

    /// So many bytes, or `None` when they are more than the owner's share.
    pub(super) fn take(self: &Arc<Self>, owner: Owner, bytes: usize) -> Option<Held> {
        let mut held = self.account(owner);
        held.grow(bytes).then_some(held)
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether an owner may have more. An owner may hold as much as is free afterwards; so one alone has at most half of
    /// the budget, two have a third each, and something is left for one more.
    fn has(&self, used: &Used, owner: Owner, more: usize) -> bool {
        let own = used.by_owner.get(&owner).copied().unwrap_or(0).saturating_add(more);
        let all = used.all.saturating_add(more);
        let within_share = own <= self.most.saturating_sub(all);
        match owner {
            Owner::User(_) => within_share || own <= ALWAYS && all <= self.most + self.most / PART,
            Owner::Network(_) => {
                let unknown = used.unknown.saturating_add(more);
                within_share && own <= (self.most / PART).saturating_sub(unknown)
            }
        }
    }

    fn add(&self, used: &mut Used, owner: Owner, bytes: usize) {
        used.all += bytes;
        if matches!(owner, Owner::Network(_)) {
            used.unknown += bytes;
        }
        *used.by_owner.entry(owner).or_default() += bytes;
        self.show(used);
    }

    fn remove(&self, used: &mut Used, owner: Owner, bytes: usize) {
        used.all -= bytes;
        if matches!(owner, Owner::Network(_)) {
            used.unknown -= bytes;
        }
        if let Some(own) = used.by_owner.get_mut(&owner) {
            *own -= bytes;
            if *own == 0 {
                used.by_owner.remove(&owner);
            }
        }
        self.show(used);
    }

    fn show(&self, used: &Used) {
        self.gauge.set(i64::try_from(used.all).unwrap_or(i64::MAX));
    }
}

/// Bytes that are held, until this is dropped.
#[derive(Debug)]
pub(super) struct Held {
    room: Arc<Room>,
    owner: Owner,
    bytes: usize,
    /// What is more than the owner's share is refused.
    is_refused: bool,
}

impl Held {
    /// Counts what it holds, and refuses nothing: for calls that are light, and on which others depend.
    pub(super) fn beyond_the_share(mut self) -> Self {
        self.is_refused = false;
        self
    }

    /// Holds so many bytes more. `false`: they are more than the owner's share, and nothing changed.
    #[must_use]
    pub(super) fn grow(&mut self, more: usize) -> bool {
        if more == 0 {
            return true;
        }
        let mut used = self.room.used();
        let has = !self.is_refused || self.room.has(&used, self.owner, more);
        if has {
            self.room.add(&mut used, self.owner, more);
            self.bytes += more;
        }
        has
    }

    /// How many bytes are held.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the owner may hold so many bytes more at present.
    pub(super) fn could_grow(&self, more: usize) -> bool {
        !self.is_refused || self.room.has(&self.room.used(), self.owner, more)
    }

    /// Holds exactly so many bytes, whatever the share: for what exists already and must not be thrown away.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        let mut used = self.room.used();
        if bytes > self.bytes {
            self.room.add(&mut used, self.owner, bytes - self.bytes);
        } else {
            self.room.remove(&mut used, self.owner, self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// The same budget and owner, with nothing held.
    pub(super) fn another(&self) -> Self {
        self.room.account(self.owner)
    }

    /// Bytes that are counted until the last reference to them is dropped: until they are sent.
    pub(super) fn around(mut self, bytes: Vec<u8>) -> Bytes {
        self.set(bytes.capacity());
        Bytes::from_owner(Counted { bytes, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

struct Counted {
    bytes: Vec<u8>,
    _held: Held,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn room(most: usize) -> (Arc<Room>, Gauge) {
        let gauge = Gauge::default();
        (Room::new(most, gauge.clone()), gauge)
    }

    #[test]
    fn what_is_light_is_counted_and_never_refused() {
        let (room, gauge) = room(8 * MIB);
        let owner = Owner::User(1);
        let _all = room.take(owner, 4 * MIB).unwrap();
        assert!(room.take(owner, 2 * MIB).is_none());
        let mut light = room.account(owner).beyond_the_share();
        assert!(light.could_grow(1_000) && light.grow(1_000));
        assert_eq!(gauge.get(), 4 * 1024 * 1024 + 1_000);
        drop(light);
        assert_eq!(gauge.get(), 4 * 1024 * 1024);
    }

    #[test]
    fn a_caller_alone_can_have_the_largest_answer_that_is_expected() {
        for most in [4 * MIB, 16 * MIB, 512 * MIB] {
            let (room, _) = room(most);
            assert!(room.take(Owner::User(1), room.largest_expected()).is_some(), "{most}");
        }
    }

    #[test]
    fn one_owner_cannot_hold_it_all() {
        let (room, gauge) = room(64 * MIB);
        let hog: Vec<Held> = std::iter::from_fn(|| room.take(Owner::User(1), MIB)).collect();
        assert_eq!(hog.len(), 32);
        let second: Vec<Held> = std::iter::from_fn(|| room.take(Owner::User(2), MIB)).collect();
        assert_eq!(second.len(), 16);
        assert!(room.take(Owner::User(3), 8 * MIB).is_some());
        drop((hog, second));
        assert_eq!(gauge.get(), 0);
        assert!(room.used().by_owner.is_empty(), "nothing is kept of owners who hold nothing");
    }

    #[test]
    fn every_known_caller_has_a_little_up_to_a_hard_limit() {
        let (room, gauge) = room(64 * MIB);
        let all: Vec<Held> = (0..1_000).filter_map(|user| room.take(Owner::User(user), MIB)).collect();
        assert_eq!(all.len(), 72);
        assert_eq!(gauge.get(), i64::try_from(72 * MIB).unwrap());
        assert!(room.take(Owner::User(0), 1).is_none());
    }

    #[test]
    fn all_unknown_callers_have_a_small_part() {
        let (room, _) = room(64 * MIB);
        let network = |n: u8| Owner::Network([10, 0, 0, n].into());
        let mut held = Vec::new();
        for n in 0..255 {
            held.extend(std::iter::from_fn(|| room.take(network(n), 64 * 1024)));
        }
        let used = room.used().all;
        assert!((7 * MIB..=8 * MIB).contains(&used), "{used}");
        assert!(room.take(Owner::User(1), 20 * MIB).is_some(), "known callers have the rest");
    }

    #[test]
    fn what_is_sent_is_counted_until_its_last_part_is_dropped() {
        let (room, gauge) = room(64 * MIB);
        let bytes = room.account(Owner::User(1)).around(vec![7; MIB]);
        let part = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(gauge.get(), i64::try_from(MIB).unwrap());
        drop(part);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn what_is_refused_changes_nothing() {
        let (room, gauge) = room(64 * MIB);
        let mut held = room.take(Owner::User(1), MIB).unwrap();
        assert!(!held.could_grow(40 * MIB) && !held.grow(40 * MIB));
        assert_eq!(gauge.get(), i64::try_from(MIB).unwrap());
        held.set(3 * MIB);
        assert_eq!(gauge.get(), i64::try_from(3 * MIB).unwrap());
        held.set(0);
        assert_eq!(gauge.get(), 0);
    }
}
