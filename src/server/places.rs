//! How many connections there may be, and who gets them: a share for each network, and some for those who have none.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::access::network;

/// The part of the places that only networks without a connection get: one in so many.
const PART_FOR_NEWCOMERS: usize = 16;

/// How many connections there may be beside the places: each is answered once, so that a health check gets through and
/// other clients are told to come again.
const SPARE: usize = 16;

/// All places.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    taken: Mutex<Taken>,
    freed: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    places: usize,
    spare: usize,
    by_network: HashMap<IpAddr, usize>,
}

/// What a connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A place of its own, as long as it is used.
    Whole,
    /// One answer.
    Spare,
}

impl Places {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default(), freed: Notify::new() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until there is a place for somebody, of either kind.
    pub(super) async fn any(&self) {
        loop {
            let freed = self.freed.notified();
            {
                let taken = self.taken();
                if taken.places < self.most || taken.spare < SPARE {
                    return;
                }
            }
            freed.await;
        }
    }

    /// A place for a connection; `None` when it has to be closed. A network may have as many connections as are still free:
    /// one alone about half of all, two a third each. Where a proxy stands for all clients there are no shares.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr, is_proxy: bool) -> Option<Place> {
        let network = network(address);
        let mut taken = self.taken();
        let free = self.most.saturating_sub(taken.places);
        let own = taken.by_network.get(&network).copied().unwrap_or(0);
        let for_newcomers = self.most / PART_FOR_NEWCOMERS;
        let has_place = free > 0 && (is_proxy || own == 0 || own + for_newcomers < free);
        let kind = if has_place {
            taken.places += 1;
            *taken.by_network.entry(network).or_default() += 1;
            Kind::Whole
        } else if taken.spare < SPARE {
            taken.spare += 1;
            Kind::Spare
        } else {
            return None;
        };
        Some(Place { places: self.clone(), network, kind })
    }
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: IpAddr,
    kind: Kind,
}

impl Place {
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        match self.kind {
            Kind::Spare => taken.spare -= 1,
            Kind::Whole => {
                taken.places -= 1;
                if let Some(own) = taken.by_network.get_mut(&self.network) {
                    *own -= 1;
                    if *own == 0 {
                        taken.by_network.remove(&self.network);
                    }
                }
            }
        }
        drop(taken);
        self.places.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    fn whole(places: &Arc<Places>, address: IpAddr, most: usize) -> Vec<Place> {
        let entered = (0..most).map_while(|_| places.enter(address, false));
        entered.take_while(|place| place.kind() == Kind::Whole).collect()
    }

    #[test]
    fn one_network_cannot_have_all() {
        let places = Places::new(160);
        let first = whole(&places, four(1), 1_000);
        assert_eq!(first.len(), 75);
        let second = whole(&places, four(2), 1_000);
        assert!((35..=40).contains(&second.len()), "{}", second.len());
        let others: Vec<Vec<Place>> = (3..=200).map(|n| whole(&places, four(n), 1)).collect();
        let entered = others.iter().filter(|entered| !entered.is_empty()).count();
        assert_eq!(first.len() + second.len() + entered, 160, "a newcomer gets the last of them");
    }

    #[test]
    fn a_network_of_ipv6_is_a_64() {
        let places = Places::new(100);
        let of = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 7, 0, 0, 0, n]);
        let all: Vec<Place> = (0..100).filter_map(|n| places.enter(of(n), false)).collect();
        let wholes = all.iter().filter(|place| place.kind() == Kind::Whole).count();
        assert!(wholes < 50, "{wholes}");
        let mapped = places.enter("::ffff:10.0.0.1".parse().unwrap(), false);
        assert_eq!(mapped.map(|place| place.network), Some(four(1)));
    }

    #[test]
    fn what_is_too_much_is_answered_once_or_closed() {
        let places = Places::new(1);
        let only = places.enter(four(1), false).unwrap();
        let spare: Vec<Place> = (0..SPARE).map(|_| places.enter(four(1), false).unwrap()).collect();
        assert!(only.kind() == Kind::Whole && spare.iter().all(|place| place.kind() == Kind::Spare));
        assert!(places.enter(four(2), false).is_none());
        drop(only);
        assert_eq!(places.enter(four(2), false).map(|place| place.kind()), Some(Kind::Whole));
        drop(spare);
        assert!(places.taken().by_network.is_empty() && places.taken().places == 0);
    }

    #[test]
    fn behind_a_proxy_there_are_no_shares() {
        let places = Places::new(100);
        let all: Vec<Place> = (0..100).filter_map(|_| places.enter(four(1), true)).collect();
        assert!(all.iter().all(|place| place.kind() == Kind::Whole));
    }

    #[tokio::test]
    async fn who_waits_for_a_place_hears_of_it() {
        let places = Places::new(1);
        let mut all: Vec<Place> = (0..=SPARE).filter_map(|_| places.enter(four(1), false)).collect();
        assert_eq!(all.len(), 1 + SPARE);
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.any().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        all.pop();
        waiting.await.unwrap();
    }
}
