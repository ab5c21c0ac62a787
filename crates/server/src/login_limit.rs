//! Limits the concurrent logins of one network. It is checked before the store is read and before anything waits, so that the
//! cost of refused logins is bounded whatever their names are.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::api_error::ApiError;
use super::password_limit::site_network;

/// How long after its beginning a refused login by name and password is answered. Longer than the comparisons of ten attempts,
/// after which a name is blocked (choices 24).
pub(super) const FAILED_LOGIN_TIME: Duration = Duration::from_millis(500);

/// The maximum number of concurrent logins of applications from one network.
const MAX_CLIENT_LOGINS: usize = 128;
/// The maximum number of concurrent logins of users from one network. Refused ones wait for [`FAILED_LOGIN_TIME`].
const MAX_USER_LOGINS: usize = 64;

/// The limit of concurrent logins of each network.
pub(super) struct LoginLimit {
    max: usize,
    by_network: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// The slot of one login; freed on drop.
#[derive(Debug)]
pub(super) struct LoginSlot {
    network: IpAddr,
    by_network: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

fn lock(by_network: &Mutex<HashMap<IpAddr, usize>>) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
    by_network.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoginLimit {
    pub(super) fn of_clients() -> Self {
        Self { max: MAX_CLIENT_LOGINS, by_network: Arc::default() }
    }

    pub(super) fn of_users() -> Self {
        Self { max: MAX_USER_LOGINS, by_network: Arc::default() }
    }

    /// A slot for a login from this address.
    ///
    /// # Errors
    ///
    /// 503 if its network has no free slot.
    pub(super) fn acquire(&self, from: IpAddr) -> Result<LoginSlot, ApiError> {
        let network = site_network(from);
        let mut by_network = lock(&self.by_network);
        let active = by_network.entry(network).or_default();
        if *active >= self.max {
            return Err(ApiError::unavailable());
        }
        *active += 1;
        Ok(LoginSlot { network, by_network: self.by_network.clone() })
    }
}

impl Drop for LoginSlot {
    fn drop(&mut self) {
        let mut by_network = lock(&self.by_network);
        if let Some(active) = by_network.get_mut(&self.network) {
            *active -= 1;
            if *active == 0 {
                by_network.remove(&self.network);
            }
        }
    }
}
