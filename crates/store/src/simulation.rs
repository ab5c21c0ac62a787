//! Stores that are called directly, with keys from a seed, for deterministic simulations.

use std::sync::Arc;

use super::clock::StoreClock;
use super::group_commit::GroupCommit;
#[cfg(feature = "postgres")]
use super::postgres;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{Store, memory};
use performer_core::model::clock::Clock;
use performer_core::model::key::KeyMaker;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
use performer_core::orchestrator::Result;

impl Store {
    /// As [`memory`](Self::memory), with keys from a seed.
    #[doc(hidden)]
    pub fn simulated_memory(clock: Arc<dyn Clock>, seed: u64) -> Self {
        Self::in_place(Box::new(memory::Memory::with_keys(KeyMaker::with_seed(seed))), clock)
    }

    /// As [`sqlite`](Self::sqlite), with keys from a seed.
    ///
    /// # Errors
    ///
    /// As [`sqlite`](Self::sqlite).
    #[doc(hidden)]
    #[cfg(feature = "sqlite")]
    pub fn simulated_sqlite(path: &std::path::Path, clock: Arc<dyn Clock>, seed: u64) -> Result<Self> {
        Ok(Self::in_place(Box::new(sqlite::open_one(path, KeyMaker::with_seed(seed))?), clock))
    }

    /// As [`postgres`](Self::postgres), with keys from a seed.
    ///
    /// # Errors
    ///
    /// As [`postgres`](Self::postgres).
    #[doc(hidden)]
    #[cfg(feature = "postgres")]
    pub fn simulated_postgres(url: &str, clock: Arc<dyn Clock>, seed: u64) -> Result<Self> {
        Ok(Self::in_place(Box::new(postgres::open_one(url, KeyMaker::with_seed(seed))?), clock))
    }

    /// A back end that is called directly.
    pub(super) fn in_place(store: Box<dyn super::backend::Backend>, clock: Arc<dyn Clock>) -> Self {
        let clock = Arc::new(StoreClock::new(clock));
        Self::new(GroupCommit::in_place(store, clock.clone()), clock)
    }
}
