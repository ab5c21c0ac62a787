//! Stores that are called in place, with keys from a seed: for simulations, which must be the same each time.

use std::sync::Arc;

use super::group_commit::GroupCommit;
use super::clock::StoreClock;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{Store, memory};
use crate::model::clock::Clock;
use crate::model::key::KeyMaker;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use crate::orchestrator::Result;

impl Store {
    /// Queues in memory.
    #[doc(hidden)]
    pub fn simulated_memory(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::in_place(Box::new(memory::Memory::with_keys(KeyMaker::with_seed(seed))), clock)
    }

    /// Queues in a file.
    ///
    /// # Errors
    ///
    /// As [`sqlite`](Self::sqlite).
    #[doc(hidden)]
    #[cfg(feature = "sqlite")]
    pub fn simulated_sqlite(path: &std::path::Path, clock: Arc<dyn Clock>, seed: u64) -> Result<Self> {
        Ok(Self::in_place(Box::new(sqlite::open_one(path, KeyMaker::with_seed(seed))?), clock))
    }

    /// Queues in a database.
    ///
    /// # Errors
    ///
    /// As [`postgres`](Self::postgres).
    #[doc(hidden)]
    #[cfg(feature = "postgres")]
    pub fn simulated_postgres(url: &str, clock: Arc<dyn Clock>, seed: u64) -> Result<Self> {
        Ok(Self::in_place(Box::new(postgres::open_one(url, KeyMaker::with_seed(seed))?), clock))
    }

    /// A store that is called in place.
    pub(super) fn in_place(store: Box<dyn Backend>, clock: Arc<dyn Clock>) -> Self {
        let clock = Arc::new(StoreClock::new(clock));
        Self::new(GroupCommit::in_place(store, clock.clone()), clock)
    }
}
