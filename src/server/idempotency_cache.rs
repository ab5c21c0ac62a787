//! Calls that were answered a short while ago, kept by their names so that one whose answer was lost is not made twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::model::key::FolderId;

/// How long an answer is kept: longer than a client goes on asking.
const CACHE_LIFETIME: Duration = Duration::from_secs(120);
/// The most calls of one user that are remembered. Clients say which answers they have heard, so there are few.
const MAX_CALLS_PER_USER: usize = 2_000;
/// The part of the server's memory for kept answers of one user: one in so many.
const USER_SHARE: usize = 16;
/// The same for those of all users.
const TOTAL_SHARE: usize = 4;

/// What a call is answered whose own answer is not kept any more. The client cannot read it, and asks what its job holds.
pub(super) const EVICTED: &[u8] = b"null";

/// The calls of each user. Nobody else's are forgotten for them, unless all together need too much memory.
pub(super) struct IdempotencyCache {
    calls: Mutex<HashMap<i64, VecDeque<CachedCall>>>,
    /// The most bytes of the answers of one user, and of all.
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

    /// Keeps the name and not the answer. A call that is under way is left alone.
    fn evict(&mut self) {
        if self.response.initialized() {
            self.response = Arc::new(OnceCell::new_with(Some(Bytes::from_static(EVICTED))));
        }
    }
}

impl IdempotencyCache {
    /// For a server that has so many bytes of memory for bodies and answers.
    pub(super) fn new(memory: usize) -> Self {
        Self { calls: Mutex::default(), user_limit: memory / USER_SHARE, total_limit: memory / TOTAL_SHARE }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<CachedCall>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to this call is, or comes. Those that were heard are forgotten.
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
        // From the end: nearly always it is a new one, and a repetition comes soon.
        if let Some(found) = cached.iter().rev().find(|call| call.id == id && call.folder == folder)
        {
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

    /// Forgets what is old, also of users who do not call any more, and what is too much for all users together.
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

    fn answered(exchanges: &IdempotencyCache, user: i64, folder: i64, id: u128, bytes: usize, now: Duration) {
        let response = exchanges.entry(user, FolderId(folder), Uuid::from_u128(id), &[], now);
        assert!(response.set(vec![b'x'; bytes].into()).is_ok(), "it is a new call");
    }

    fn bytes(exchanges: &IdempotencyCache) -> usize {
        exchanges.calls().values().flatten().map(CachedCall::bytes).sum()
    }

    #[test]
    fn a_call_is_cached_until_it_is_acknowledged() {
        let exchanges = IdempotencyCache::new(16_000);
        answered(&exchanges, 1, 1, 7, 10, at(0));
        let of = |user, folder, acknowledged: &[Uuid]| {
            exchanges.entry(user, FolderId(folder), Uuid::from_u128(7), acknowledged, at(1)).get().map(Bytes::len)
        };
        assert_eq!(of(1, 1, &[]), Some(10));
        assert_eq!((of(2, 1, &[]), of(1, 2, &[])), (None, None), "names are those of a user in a folder");
        let acknowledged = [Uuid::from_u128(7)];
        exchanges.entry(1, FOLDER, Uuid::from_u128(8), &acknowledged, at(1));
        assert_eq!(of(1, 1, &[]), None);
    }

    #[test]
    fn the_limit_of_a_user_spans_folders() {
        let exchanges = IdempotencyCache::new(16_000);
        for n in 0..100 {
            answered(&exchanges, 1, n, n.unsigned_abs().into(), 600, at(0));
        }
        assert!(bytes(&exchanges) <= 1_000 + 600 + 100 * EVICTED.len(), "{}", bytes(&exchanges));
        let first = exchanges.entry(1, FolderId(0), Uuid::from_u128(0), &[], at(1));
        assert_eq!(first.get().map(|response| &response[..]), Some(EVICTED), "it is not made twice");
    }

    #[test]
    fn responses_are_evicted_over_the_total_limit_and_expire() {
        let exchanges = IdempotencyCache::new(16_000);
        for user in 0..50 {
            answered(&exchanges, user, 1, 1, 900, at(user.unsigned_abs()));
        }
        exchanges.sweep(at(50));
        assert!(bytes(&exchanges) <= 4_000 + 50 * EVICTED.len(), "{}", bytes(&exchanges));
        let newest = exchanges.entry(49, FOLDER, Uuid::from_u128(1), &[], at(50));
        assert_eq!(newest.get().map(Bytes::len), Some(900), "the oldest are forgotten first");
        exchanges.sweep(at(200));
        assert!(exchanges.calls().is_empty());
    }

    #[test]
    fn a_running_call_is_not_evicted() {
        let exchanges = IdempotencyCache::new(16);
        let under_way = exchanges.entry(1, FOLDER, Uuid::from_u128(1), &[], at(0));
        answered(&exchanges, 1, 1, 2, 900, at(0));
        exchanges.sweep(at(1));
        answered(&exchanges, 1, 1, 3, 900, at(1));
        let again = exchanges.entry(1, FOLDER, Uuid::from_u128(1), &[], at(1));
        assert!(Arc::ptr_eq(&under_way, &again));
    }
}
