//! Named places where a test can end the process: at once and without a destructor, as a kill would.
//!
//! Without the feature `crash-points`, which only this crate's tests turn on, nothing of it is compiled. With it,
//! `PERFORMER_CRASH_POINT=claim.after_commit=3` ends the process when it comes by that place for the third time.
//! `tests/kill` does so at every one of them.

/// A place that a process may come by and not leave.
macro_rules! crash_point {
    // An operation begins: the places behind carry its name, until the next one.
    (begins $operation:expr) => {{
        #[cfg(feature = "crash-points")]
        $crate::crash_point::begins($operation);
    }};
    // What was begun before goes on: the places behind carry its name.
    (resumes $operation:expr) => {{
        #[cfg(feature = "crash-points")]
        $crate::crash_point::resumes($operation);
    }};
    // A place in the operation that was begun, or went on, last.
    (within $place:literal) => {{
        #[cfg(feature = "crash-points")]
        $crate::crash_point::within($place);
    }};
    // Everything that was begun is committed, and nobody has heard of it.
    (committed) => {{
        #[cfg(feature = "crash-points")]
        $crate::crash_point::committed();
    }};
    ($place:literal) => {{
        #[cfg(feature = "crash-points")]
        $crate::crash_point::reached($place);
    }};
}
pub(crate) use crash_point;

#[cfg(feature = "crash-points")]
pub(crate) use points::{begins, committed, reached, resumes, within};

#[cfg(feature = "crash-points")]
mod points {
    use std::cell::{Cell, RefCell};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    thread_local! {
        /// The operations of the open transaction.
        static BEGUN: RefCell<Vec<&'static str>> = const { RefCell::new(Vec::new()) };
        /// The one that is being applied.
        static CURRENT: Cell<&'static str> = const { Cell::new("none") };
    }

    pub(crate) fn begins(operation: &'static str) {
        BEGUN.with_borrow_mut(|begun| begun.push(operation));
        resumes(operation);
        within("before");
    }

    pub(crate) fn resumes(operation: &'static str) {
        CURRENT.set(operation);
    }

    pub(crate) fn within(place: &str) {
        reached(&format!("{}.{place}", CURRENT.get()));
    }

    pub(crate) fn committed() {
        for operation in BEGUN.take() {
            reached(&format!("{operation}.after_commit"));
        }
    }

    pub(crate) fn reached(place: &str) {
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
