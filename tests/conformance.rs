//! The conformance suite (`crates/conformance`) on every back end: a back end is complete if it passes.

mod support;

use performer_conformance::suite;

suite!(memory, support::memory);
#[cfg(feature = "sqlite")]
suite!(sqlite, support::sqlite);
#[cfg(feature = "postgres")]
suite!(postgres, support::postgres);
#[cfg(all(feature = "server", feature = "sqlite"))]
suite!(http, support::http);
