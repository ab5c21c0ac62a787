//! How many connections there may be, and who gets them: a share for each network, and some for those who have none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::access::client_network;

/// The part of the places that only networks without a connection get: one in so many.
const NEWCOMER_SHARE: usize = 16;

/// How many connections there may be beside the places: each is answered once, so that a health check gets through and
/// other clients are told to come again.
const MAX_OVERFLOW: usize = 16;

/// All places.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    max: usize,
    usage: Mutex<SlotUsage>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct SlotUsage {
    slots: usize,
    overflow: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// What a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotKind {
    /// A place of its own, as long as it is used.
    Regular,
    /// One answer.
    Overflow,
}

impl ConnectionLimit {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, usage: Mutex::default(), freed: Notify::new() })
    }

    fn usage(&self) -> MutexGuard<'_, SlotUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a place for somebody, of either kind.
    pub(super) async fn wait_for_slot(&self) {
        loop {
            let freed = self.freed.notified();
            {
                let usage = self.usage();
                if usage.slots < self.max || usage.overflow < MAX_OVERFLOW {
                    return;
                }
            }
            freed.await;
        }
    }

    /// A place for a connection; `None` when it has to be closed. A network may have as many connections as are still free:
    /// one alone about half of all, two a third each. Where a proxy stands for all clients there are no shares.
    pub(super) fn acquire(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<ConnectionSlot> {
        let network = client_network(address);
        let mut usage = self.usage();
        let free = self.max.saturating_sub(usage.slots);
        let own = usage.by_network.get(&network).copied().unwrap_or(0);
        let reserved = self.max / NEWCOMER_SHARE;
        let has_slot = free > 0 && (is_proxy || own == 0 || own + reserved < free);
        let kind = if has_slot {
            usage.slots += 1;
            *usage.by_network.entry(network).or_default() += 1;
            SlotKind::Regular
        } else if usage.overflow < MAX_OVERFLOW {
            usage.overflow += 1;
            SlotKind::Overflow
        } else {
            return None;
        };
        Some(ConnectionSlot { limit: self.clone(), network, kind })
    }
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    limit: Arc<ConnectionLimit>,
    network: IpAddr,
    kind: SlotKind,
}

impl ConnectionSlot {
    pub(super) fn kind(&self) -> SlotKind {
        self.kind
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        let mut usage = self.limit.usage();
        match self.kind {
            SlotKind::Overflow => usage.overflow -= 1,
            SlotKind::Regular => {
                usage.slots -= 1;
                if let Some(own) = usage.by_network.get_mut(&self.network) {
                    *own -= 1;
                    if *own == 0 {
                        usage.by_network.remove(&self.network);
                    }
                }
            }
        }
        drop(usage);
        self.limit.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn whole(places: &Arc<ConnectionLimit>, address: IpAddr, max: usize) -> Vec<ConnectionSlot> {
        let entered = (0..max).map_while(|_| places.acquire(address, false));
        entered.take_while(|place| place.kind() == SlotKind::Regular).collect()
    }

    #[test]
    fn one_network_cannot_use_all_slots() {
        let places = ConnectionLimit::new(160);
        let first = whole(&places, four(1), 1_000);
        assert_eq!(first.len(), 75);
        let second = whole(&places, four(2), 1_000);
        assert!((35..=40).contains(&second.len()), "{}", second.len());
        let others: Vec<Vec<ConnectionSlot>> = (3..=200).map(|n| whole(&places, four(n), 1)).collect();
        let entered = others.iter().filter(|entered| !entered.is_empty()).count();
        assert_eq!(first.len() + second.len() + entered, 160, "a newcomer gets the last of them");
    }

    #[test]
    fn an_ipv6_network_is_a_64() {
        let places = ConnectionLimit::new(100);
        let of = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, n]);
        let all: Vec<ConnectionSlot> = (0..100).filter_map(|n| places.acquire(of(n), false)).collect();
        let wholes = all.iter().filter(|place| place.kind() == SlotKind::Regular).count();
        assert!(wholes < 50, "{wholes}");
        let mapped = places.acquire("::ffff:10.0.0.1".parse().unwrap(), false);
        assert_eq!(mapped.map(|place| place.network), Some(four(1)));
    }

    #[test]
    fn connections_over_the_limit_are_answered_once_or_closed() {
        let places = ConnectionLimit::new(1);
        let only = places.acquire(four(1), false).unwrap();
        let overflow: Vec<ConnectionSlot> = (0..MAX_OVERFLOW).map(|_| places.acquire(four(1), false).unwrap()).collect();
        assert!(only.kind() == SlotKind::Regular && overflow.iter().all(|place| place.kind() == SlotKind::Overflow));
        assert!(places.acquire(four(2), false).is_none());
        drop(only);
        assert_eq!(places.acquire(four(2), false).map(|place| place.kind()), Some(SlotKind::Regular));
        drop(overflow);
        assert!(places.usage().by_network.is_empty() && places.usage().slots == 0);
    }

    #[test]
    fn proxies_are_exempt_from_shares() {
        let places = ConnectionLimit::new(100);
        let all: Vec<ConnectionSlot> = (0..100).filter_map(|_| places.acquire(four(1), true)).collect();
        assert!(all.iter().all(|place| place.kind() == SlotKind::Regular));
    }

    #[tokio::test]
    async fn a_freed_slot_wakes_the_waiter() {
        let places = ConnectionLimit::new(1);
        let mut all: Vec<ConnectionSlot> = (0..=MAX_OVERFLOW).filter_map(|_| places.acquire(four(1), false)).collect();
        assert_eq!(all.len(), 1 + MAX_OVERFLOW);
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.wait_for_slot().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        all.pop();
        waiting.await.unwrap();
    }
}
