//! Calls that were answered a short while ago, kept by their names so that one whose answer was lost is not made twice.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::model::key::FolderId;

/// How long an answer is kept: longer than a client goes on asking.
const KEPT_FOR: Duration = Duration::from_secs(120);
/// The most calls of one user that are remembered. Clients say which answers they have heard, so there are few.
const MOST_KEPT: usize = 2_000;
/// The part of the server's memory for kept answers of one user: one in so many.
const PART_OF_USER: usize = 16;
/// The same for those of all users.
const PART_OF_ALL: usize = 4;

/// What a call is answered whose own answer is not kept any more. The client cannot read it, and asks what its job holds.
pub(super) const FORGOTTEN: &[u8] = b"null";

/// The calls of each user. Nobody else's are forgotten for them, unless all together need too much memory.
pub(super) struct Exchanges {
    calls: Mutex<HashMap<i64, VecDeque<Exchange>>>,
    /// The most bytes of the answers of one user, and of all.
    of_user: usize,
    of_all: usize,
}

struct Exchange {
    folder: FolderId,
    id: Uuid,
    since: Duration,
    answer: Arc<OnceCell<Bytes>>,
}

impl Exchange {
    fn bytes(&self) -> usize {
        self.answer.get().map_or(0, Bytes::len)
    }

    /// Keeps the name and not the answer. A call that is under way is left alone.
    fn forget(&mut self) {
        if self.answer.initialized() {
            self.answer = Arc::new(OnceCell::new_with(Some(Bytes::from_static(FORGOTTEN))));
        }
    }
}

impl Exchanges {
    /// For a server that has so many bytes of memory for bodies and answers.
    pub(super) fn new(memory: usize) -> Self {
        Self { calls: Mutex::default(), of_user: memory / PART_OF_USER, of_all: memory / PART_OF_ALL }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<i64, VecDeque<Exchange>>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where the answer to this call is, or comes. Those that were heard are forgotten.
    pub(super) fn of(
        &self,
        user: i64,
        folder: FolderId,
        id: Uuid,
        heard: &[Uuid],
        now: Duration,
    ) -> Arc<OnceCell<Bytes>> {
        let mut all = self.calls();
        let kept = all.entry(user).or_default();
        kept.retain(|exchange| exchange.folder != folder || !heard.contains(&exchange.id));
        // From the end: nearly always it is a new one, and a repetition comes soon.
        if let Some(found) = kept.iter().rev().find(|exchange| exchange.id == id && exchange.folder == folder)
        {
            return found.answer.clone();
        }
        expire(kept, now);
        if kept.len() >= MOST_KEPT {
            kept.pop_front();
        }
        let mut bytes: usize = kept.iter().map(Exchange::bytes).sum();
        for exchange in kept.iter_mut() {
            if bytes <= self.of_user {
                break;
            }
            bytes -= exchange.bytes();
            exchange.forget();
            bytes += exchange.bytes();
        }
        let answer = Arc::new(OnceCell::new());
        kept.push_back(Exchange { folder, id, since: now, answer: answer.clone() });
        answer
    }

    /// Forgets what is old, also of users who do not call any more, and what is too much for all users together.
    pub(super) fn sweep(&self, now: Duration) {
        let mut all = self.calls();
        all.retain(|_, kept| {
            expire(kept, now);
            !kept.is_empty()
        });
        let mut bytes: usize = all.values().flatten().map(Exchange::bytes).sum();
        if bytes <= self.of_all {
            return;
        }
        let mut kept: Vec<&mut Exchange> = all.values_mut().flatten().collect();
        kept.sort_unstable_by_key(|exchange| exchange.since);
        for exchange in kept {
            if bytes <= self.of_all {
                break;
            }
            bytes -= exchange.bytes();
            exchange.forget();
            bytes += exchange.bytes();
        }
    }
}

fn expire(kept: &mut VecDeque<Exchange>, now: Duration) {
    while kept.front().is_some_and(|first| first.since + KEPT_FOR < now) {
        kept.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLDER: FolderId = FolderId(1);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn answered(exchanges: &Exchanges, user: i64, folder: i64, id: u128, bytes: usize, now: Duration) {
        let answer = exchanges.of(user, FolderId(folder), Uuid::from_u128(id), &[], now);
        assert!(answer.set(vec![b'x'; bytes].into()).is_ok(), "it is a new call");
    }

    fn bytes(exchanges: &Exchanges) -> usize {
        exchanges.calls().values().flatten().map(Exchange::bytes).sum()
    }

    #[test]
    fn a_call_is_known_until_its_answer_was_heard() {
        let exchanges = Exchanges::new(16_000);
        answered(&exchanges, 1, 1, 7, 10, at(0));
        let of = |user, folder, heard: &[Uuid]| {
            exchanges.of(user, FolderId(folder), Uuid::from_u128(7), heard, at(1)).get().map(Bytes::len)
        };
        assert_eq!(of(1, 1, &[]), Some(10));
        assert_eq!((of(2, 1, &[]), of(1, 2, &[])), (None, None), "names are those of a user in a folder");
        let heard = [Uuid::from_u128(7)];
        exchanges.of(1, FOLDER, Uuid::from_u128(8), &heard, at(1));
        assert_eq!(of(1, 1, &[]), None);
    }

    #[test]
    fn folders_give_a_user_no_more_memory() {
        let exchanges = Exchanges::new(16_000);
        for n in 0..100 {
            answered(&exchanges, 1, n, n.unsigned_abs().into(), 600, at(0));
        }
        assert!(bytes(&exchanges) <= 1_000 + 600 + 100 * FORGOTTEN.len(), "{}", bytes(&exchanges));
        let first = exchanges.of(1, FolderId(0), Uuid::from_u128(0), &[], at(1));
        assert_eq!(first.get().map(|answer| &answer[..]), Some(FORGOTTEN), "it is not made twice");
    }

    #[test]
    fn all_users_together_have_a_limit_and_all_is_forgotten_in_time() {
        let exchanges = Exchanges::new(16_000);
        for user in 0..50 {
            answered(&exchanges, user, 1, 1, 900, at(user.unsigned_abs()));
        }
        exchanges.sweep(at(50));
        assert!(bytes(&exchanges) <= 4_000 + 50 * FORGOTTEN.len(), "{}", bytes(&exchanges));
        let newest = exchanges.of(49, FOLDER, Uuid::from_u128(1), &[], at(50));
        assert_eq!(newest.get().map(Bytes::len), Some(900), "the oldest are forgotten first");
        exchanges.sweep(at(200));
        assert!(exchanges.calls().is_empty());
    }

    #[test]
    fn a_call_under_way_is_not_forgotten_for_its_size() {
        let exchanges = Exchanges::new(16);
        let under_way = exchanges.of(1, FOLDER, Uuid::from_u128(1), &[], at(0));
        answered(&exchanges, 1, 1, 2, 900, at(0));
        exchanges.sweep(at(1));
        answered(&exchanges, 1, 1, 3, 900, at(1));
        let again = exchanges.of(1, FOLDER, Uuid::from_u128(1), &[], at(1));
        assert!(Arc::ptr_eq(&under_way, &again));
    }
}
