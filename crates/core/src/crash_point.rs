//! Named points at which a test can end the process, at once and without destructors, as a kill would.
//!
//! They are compiled only with the feature `crash-points`, which is for the tests of this project. With it,
//! `PERFORMER_CRASH_POINT=claim.after_commit=3` ends the process when it reaches that point for the third time. The proof `kill`
//! covers all of them.

/// Marks a crash point. Without the feature `crash-points` it expands to nothing.
#[cfg(feature = "crash-points")]
#[macro_export]
macro_rules! crash_point {
    // An operation begins: the following `within` points carry its name, until another operation begins or resumes.
    (begins $operation:expr) => {
        $crate::crash_point::begins($operation)
    };
    // An operation that began earlier resumes: the following `within` points carry its name.
    (resumes $operation:expr) => {
        $crate::crash_point::resumes($operation)
    };
    // A point within the current operation.
    (within $place:literal) => {
        $crate::crash_point::within($place)
    };
    // All operations that have begun are committed, and their callers are not notified yet.
    (committed) => {
        $crate::crash_point::committed()
    };
    ($place:literal) => {
        $crate::crash_point::reached($place)
    };
}

/// Marks a crash point. Without the feature `crash-points` it expands to nothing.
#[cfg(not(feature = "crash-points"))]
#[macro_export]
macro_rules! crash_point {
    ($($point:tt)*) => {};
}

#[cfg(feature = "crash-points")]
pub use points::{begins, committed, reached, resumes, within};

#[cfg(feature = "crash-points")]
mod points {
    use std::cell::{Cell, RefCell};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    thread_local! {
        /// The operations of the open transaction.
        static BEGUN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
        /// The current operation.
        static CURRENT: Cell<&'static str> = const { Cell::new("none") };
    }

    /// An operation begins.
    pub fn begins(operation: &'static str) {
        BEGUN.with_borrow_mut(|begun| begun.push(operation));
        resumes(operation);
        within("before");
    }

    /// An operation that began earlier resumes.
    pub fn resumes(operation: &'static str) {
        CURRENT.set(operation);
    }

    /// A point within the current operation.
    pub fn within(place: &str) {
        reached(&format!("{}.{place}", CURRENT.get()));
    }

    /// All operations that have begun are committed.
    pub fn committed() {
        for operation in BEGUN.take() {
            reached(&format!("{operation}.after_commit"));
        }
    }

    /// Ends the process if this is the point that was asked for, as often as was asked for.
    pub fn reached(place: &str) {
        static ASKED: OnceLock<Option<(String, u64)>> = OnceLock::new();
        static HITS: AtomicU64 = AtomicU64::new(0);
        let asked = ASKED.get_or_init(|| {
            let asked = std::env::var("PERFORMER_CRASH_POINT").ok()?;
            let (place, hit) = asked.split_once('=')?;
            Some((place.to_owned(), hit.parse().ok()?))
        });
        if let Some((point, hit)) = asked
            && point == place
            && HITS.fetch_add(1, Ordering::SeqCst) + 1 == *hit
        {
            std::process::abort();
        }
    }
}
