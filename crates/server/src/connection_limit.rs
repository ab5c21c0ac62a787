//! The limit of open connections, with a share for each network and a reserve for networks without a connection.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::login_failures::client_network;

/// 1/16 of the slots is reserved for networks without a connection.
const NEWCOMER_SHARE: usize = 16;

/// The maximum number of connections over the limit. Each gets one response, so that health checks work and other clients
/// learn when to retry.
const MAX_OVERFLOW: usize = 16;

/// The limit, and the slots in use.
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

/// The kind of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlotKind {
    /// Within the limit, for the lifetime of the connection.
    Regular,
    /// Over the limit, for one response.
    Overflow,
}

impl ConnectionLimit {
    pub(super) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, usage: Mutex::default(), freed: Notify::new() })
    }

    fn usage(&self) -> MutexGuard<'_, SlotUsage> {
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a slot of either kind is free.
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

    /// A slot for a connection; `None` if the connection has to be closed. A network may hold as many slots as are still
    /// free: about half of all if it is the only one, a third each for two. Proxies are exempt, as they stand for many
    /// clients.
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

/// The slot of one connection; freed on drop.
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

    fn regular_slots(limit: &Arc<ConnectionLimit>, address: IpAddr, max: usize) -> Vec<ConnectionSlot> {
        let slots = (0..max).map_while(|_| limit.acquire(address, false));
        slots.take_while(|slot| slot.kind() == SlotKind::Regular).collect()
    }

    #[test]
    fn one_network_cannot_use_all_slots() {
        let limit = ConnectionLimit::new(160);
        let first = regular_slots(&limit, four(1), 1_000);
        assert_eq!(first.len(), 75);
        let second = regular_slots(&limit, four(2), 1_000);
        assert!((35..=40).contains(&second.len()), "{}", second.len());
        let others: Vec<Vec<ConnectionSlot>> = (3..=200).map(|n| regular_slots(&limit, four(n), 1)).collect();
        let entered = others.iter().filter(|entered| !entered.is_empty()).count();
        assert_eq!(first.len() + second.len() + entered, 160, "new networks get the last slots");
    }

    #[test]
    fn an_ipv6_network_is_a_64() {
        let limit = ConnectionLimit::new(100);
        let of = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, n]);
        let all: Vec<ConnectionSlot> = (0..100).filter_map(|n| limit.acquire(of(n), false)).collect();
        let regular = all.iter().filter(|slot| slot.kind() == SlotKind::Regular).count();
        assert!(regular < 50, "{regular}");
        let mapped = limit.acquire("::ffff:10.0.0.1".parse().unwrap(), false);
        assert_eq!(mapped.map(|slot| slot.network), Some(four(1)));
    }

    #[test]
    fn connections_over_the_limit_are_answered_once_or_closed() {
        let limit = ConnectionLimit::new(1);
        let only = limit.acquire(four(1), false).unwrap();
        let overflow: Vec<ConnectionSlot> =
            (0..MAX_OVERFLOW).map(|_| limit.acquire(four(1), false).unwrap()).collect();
        assert!(
            only.kind() == SlotKind::Regular && overflow.iter().all(|slot| slot.kind() == SlotKind::Overflow)
        );
        assert!(limit.acquire(four(2), false).is_none());
        drop(only);
        assert_eq!(limit.acquire(four(2), false).map(|slot| slot.kind()), Some(SlotKind::Regular));
        drop(overflow);
        assert!(limit.usage().by_network.is_empty() && limit.usage().slots == 0);
    }

    #[test]
    fn proxies_are_exempt_from_shares() {
        let limit = ConnectionLimit::new(100);
        let all: Vec<ConnectionSlot> = (0..100).filter_map(|_| limit.acquire(four(1), true)).collect();
        assert!(all.iter().all(|slot| slot.kind() == SlotKind::Regular));
    }

    #[tokio::test]
    async fn a_freed_slot_wakes_the_waiter() {
        let limit = ConnectionLimit::new(1);
        let mut all: Vec<ConnectionSlot> =
            (0..=MAX_OVERFLOW).filter_map(|_| limit.acquire(four(1), false)).collect();
        assert_eq!(all.len(), 1 + MAX_OVERFLOW);
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { limit.wait_for_slot().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        all.pop();
        waiting.await.unwrap();
    }
}
