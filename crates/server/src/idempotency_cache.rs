//! Responses of recent calls, kept by call id: a call that a client repeats because its response was lost is not executed
//! twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::OnceCell;
use uuid::Uuid;

use performer_core::model::key::FolderId;

/// How long a response is kept: longer than a client repeats a call.
const CACHE_LIFETIME: Duration = Duration::from_secs(120);
/// The maximum number of cached calls per user. Clients acknowledge responses, so there are few.
const MAX_CALLS_PER_USER: usize = 2_000;
/// The cached responses of one user may use 1/16 of the server's memory.
const USER_SHARE: usize = 16;
/// The cached responses of all users may use 1/4 of the server's memory.
const TOTAL_SHARE: usize = 4;

/// The response to a repeated call whose own response was evicted. The client cannot parse it, and asks for the claims that
/// its job holds.
pub(super) const EVICTED: &[u8] = b"null";

/// The cached calls by user. One user's calls evict those of another only if all together need too much memory.
pub(super) struct IdempotencyCache {
    calls: Mutex<HashMap<i64, VecDeque<CachedCall>>>,
    /// The maximum bytes of cached responses of one user, and of all users.
    user_limit: usize,
    total_limit: usize,
}

struct CachedCall {
    folder: FolderId,
    id: Uuid,
    since: Duration,
    response: Arc<OnceCell<Bytes>>,
}

impl CachedCall {
    fn bytes(&self) -> usize {
        self.response.get().map_or(0, Bytes::len)
    }

    /// Drops the response and keeps the id. A call that is still being executed is not touched.
    fn evict(&mut self) {
        if self.response.initialized() {
            self.response = Arc::new(OnceCell::new_with(Some(Bytes::from_static(EVICTED))));
        }
    }
}

impl IdempotencyCache {
    /// A cache for a server with this much memory for bodies and responses, in bytes.
    pub(super) fn new(memory: usize) -> Self {
        Self { calls: Mutex::default(), user_limit: memory / USER_SHARE, total_limit: memory / TOTAL_SHARE }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<CachedCall>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cell with the response to a call, which is empty until the call was executed. Drops acknowledged calls.
    pub(super) fn entry(
        &self,
        user: i64,
        folder: FolderId,
        id: Uuid,
        acknowledged: &[Uuid],
        now: Duration,
    ) -> Arc<OnceCell<Bytes>> {
        let mut all = self.calls();
        let cached = all.entry(user).or_default();
        cached.retain(|call| call.folder != folder || !acknowledged.contains(&call.id));
        // Searched from the end: most calls are new, and a repetition follows soon.
        if let Some(found) = cached.iter().rev().find(|call| call.id == id && call.folder == folder) {
            return found.response.clone();
        }
        expire(cached, now);
        if cached.len() >= MAX_CALLS_PER_USER {
            cached.pop_front();
        }
        let mut bytes: usize = cached.iter().map(CachedCall::bytes).sum();
        for call in cached.iter_mut() {
            if bytes <= self.user_limit {
                break;
            }
            bytes -= call.bytes();
            call.evict();
            bytes += call.bytes();
        }
        let response = Arc::new(OnceCell::new());
        cached.push_back(CachedCall { folder, id, since: now, response: response.clone() });
        response
    }

    /// Drops expired calls of all users, and evicts the oldest responses over the total limit.
    pub(super) fn sweep(&self, now: Duration) {
        let mut all = self.calls();
        all.retain(|_, cached| {
            expire(cached, now);
            !cached.is_empty()
        });
        let mut bytes: usize = all.values().flatten().map(CachedCall::bytes).sum();
        if bytes <= self.total_limit {
            return;
        }
        let mut cached: Vec<&mut CachedCall> = all.values_mut().flatten().collect();
        cached.sort_unstable_by_key(|call| call.since);
        for call in cached {
            if bytes <= self.total_limit {
                break;
            }
            bytes -= call.bytes();
            call.evict();
            bytes += call.bytes();
        }
    }
}

fn expire(cached: &mut VecDeque<CachedCall>, now: Duration) {
    while cached.front().is_some_and(|first| first.since + CACHE_LIFETIME < now) {
        cached.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: FolderId = FolderId(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn add_response(cache: &IdempotencyCache, user: i64, folder: i64, id: u128, bytes: usize, now: Duration) {
        let response = cache.entry(user, FolderId(folder), Uuid::from_u128(id), &[], now);
        assert!(response.set(vec![b'x'; bytes].into()).is_ok(), "it is a new call");
    }

    fn bytes(cache: &IdempotencyCache) -> usize {
        cache.calls().values().flatten().map(CachedCall::bytes).sum()
    }

    #[test]
    fn a_call_is_cached_until_it_is_acknowledged() {
        let cache = IdempotencyCache::new(16_000);
        add_response(&cache, 1, 1, 7, 10, at(0));
        let cached = |user, folder, acknowledged: &[Uuid]| {
            cache.entry(user, FolderId(folder), Uuid::from_u128(7), acknowledged, at(1)).get().map(Bytes::len)
        };
        assert_eq!(cached(1, 1, &[]), Some(10));
        assert_eq!(
            (cached(2, 1, &[]), cached(1, 2, &[])),
            (None, None),
            "ids are scoped to a user and a folder"
        );
        let acknowledged = [Uuid::from_u128(7)];
        cache.entry(1, FOLDER, Uuid::from_u128(8), &acknowledged, at(1));
        assert_eq!(cached(1, 1, &[]), None);
    }

    #[test]
    fn the_limit_of_a_user_spans_folders() {
        let cache = IdempotencyCache::new(16_000);
        for n in 0..100 {
            add_response(&cache, 1, n, n.unsigned_abs().into(), 600, at(0));
        }
        assert!(bytes(&cache) <= 1_000 + 600 + 100 * EVICTED.len(), "{}", bytes(&cache));
        let first = cache.entry(1, FolderId(0), Uuid::from_u128(0), &[], at(1));
        assert_eq!(first.get().map(|response| &response[..]), Some(EVICTED), "it is not executed twice");
    }

    #[test]
    fn responses_are_evicted_over_the_total_limit_and_expire() {
        let cache = IdempotencyCache::new(16_000);
        for user in 0..50 {
            add_response(&cache, user, 1, 1, 900, at(user.unsigned_abs()));
        }
        cache.sweep(at(50));
        assert!(bytes(&cache) <= 4_000 + 50 * EVICTED.len(), "{}", bytes(&cache));
        let newest = cache.entry(49, FOLDER, Uuid::from_u128(1), &[], at(50));
        assert_eq!(newest.get().map(Bytes::len), Some(900), "the oldest are evicted first");
        cache.sweep(at(200));
        assert!(cache.calls().is_empty());
    }

    #[test]
    fn a_running_call_is_not_evicted() {
        let cache = IdempotencyCache::new(16);
        let running = cache.entry(1, FOLDER, Uuid::from_u128(1), &[], at(0));
        add_response(&cache, 1, 1, 2, 900, at(0));
        cache.sweep(at(1));
        add_response(&cache, 1, 1, 3, 900, at(1));
        let again = cache.entry(1, FOLDER, Uuid::from_u128(1), &[], at(1));
        assert!(Arc::ptr_eq(&running, &again));
    }
}
