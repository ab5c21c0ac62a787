//! Limits the concurrent logins of one network, and of one client in it. It is checked before the store is read and before
//! anything waits, so that the cost of refused logins is bounded whatever their names are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::api_error::ApiError;
use super::login_failures::client_network;
use super::password_limit::site_network;

/// How long after its beginning a refused login by name and password is answered. Longer than the comparisons of ten attempts,
/// after which a name is blocked (choices 24).
pub(super) const FAILED_LOGIN_TIME: Duration = Duration::from_millis(500);

/// The maximum number of concurrent logins of applications from one network, and from one client in it.
const MAX_CLIENT_LOGINS: Maximum = Maximum { of_network: 128, of_client: 96 };
/// The maximum number of concurrent logins of users, including refused ones, which wait for [`FAILED_LOGIN_TIME`].
const MAX_USER_LOGINS: Maximum = Maximum { of_network: 64, of_client: 32 };

#[derive(Clone, Copy)]
struct Maximum {
    of_network: usize,
    /// Less than `of_network`, so that one client cannot keep the others of its network out.
    of_client: usize,
}

/// Counts of the logins under way.
#[derive(Default)]
struct Active {
    by_network: HashMap<IpAddr, usize>,
    by_client: HashMap<IpAddr, usize>,
}

/// The limit of concurrent logins of each network.
pub(super) struct LoginLimit {
    max: Maximum,
    active: Arc<Mutex<Active>>,
}

/// The slot of one login; freed on drop.
pub(super) struct LoginSlot {
    from: IpAddr,
    active: Arc<Mutex<Active>>,
}

fn lock(active: &Mutex<Active>) -> MutexGuard<'_, Active> {
    active.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoginLimit {
    pub(super) fn of_clients() -> Self {
        Self { max: MAX_CLIENT_LOGINS, active: Arc::default() }
    }

    pub(super) fn of_users() -> Self {
        Self { max: MAX_USER_LOGINS, active: Arc::default() }
    }

    /// A slot for a login from this address.
    ///
    /// # Errors
    ///
    /// 503 if its network has no free slot, or the client has all that one may have.
    pub(super) fn acquire(&self, from: IpAddr) -> Result<LoginSlot, ApiError> {
        let (network, client) = (site_network(from), client_network(from));
        let mut active = lock(&self.active);
        let Active { by_network, by_client } = &mut *active;
        let count = |counts: &HashMap<IpAddr, usize>, of| counts.get(&of).copied().unwrap_or(0);
        let (of_network, of_client) = (count(by_network, network), count(by_client, client));
        if of_network >= self.max.of_network || of_client >= self.max.of_client {
            return Err(ApiError::unavailable());
        }
        by_network.insert(network, of_network + 1);
        by_client.insert(client, of_client + 1);
        drop(active);
        Ok(LoginSlot { from, active: self.active.clone() })
    }
}

impl Drop for LoginSlot {
    fn drop(&mut self) {
        fn free(counts: &mut HashMap<IpAddr, usize>, of: IpAddr) {
            if let Some(count) = counts.get_mut(&of) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(&of);
                }
            }
        }
        let mut active = lock(&self.active);
        free(&mut active.by_network, site_network(self.from));
        free(&mut active.by_client, client_network(self.from));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One client of a network cannot take all slots of it, whether it has one address or a /64.
    #[test]
    fn one_client_does_not_take_all_slots_of_its_network() {
        for limit in [LoginLimit::of_clients(), LoginLimit::of_users()] {
            let Maximum { of_network, of_client } = limit.max;
            let four = |host: usize| IpAddr::from([10, 0, 7, u8::try_from(host).unwrap()]);
            let six = |n: usize| format!("2001:db8:7:{:x}::{n:x}", n / 1_000).parse::<IpAddr>().unwrap();
            for (greedy, other) in [(vec![four(1)], four(2)), ((1..1_000).map(six).collect(), six(1_000))] {
                let attempts = greedy.iter().cycle().take(1_000);
                let slots: Vec<LoginSlot> = attempts.filter_map(|from| limit.acquire(*from).ok()).collect();
                assert_eq!(slots.len(), of_client);
                let others: Vec<LoginSlot> = std::iter::from_fn(|| limit.acquire(other).ok()).collect();
                assert_eq!(others.len(), of_network - of_client, "the rest of the network's slots");
                drop((slots, others));
                let left = lock(&limit.active);
                assert!(left.by_network.is_empty() && left.by_client.is_empty(), "nothing is left behind");
            }
        }
    }
}
