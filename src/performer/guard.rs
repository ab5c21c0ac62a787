//! User code, run so that its panics stay with it.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use super::watch::Watch;
use crate::exception::panic_text;

/// Writes to the log as `tracing` does. A subscriber of the user's may panic (its pipe is closed, its disk is full): that
/// costs the line, and neither a robot nor the heart.
macro_rules! log {
    ($level:ident, $($event:tt)+) => {
        drop($crate::performer::guard::call(|| tracing::$level!($($event)+)))
    };
}
pub(super) use log;

/// A future of user code, as async-trait makes them.
pub(super) type UserFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a future to its end; a panic is an error with its text. The future is left in place, to be dropped
/// with [`drop_quietly`].
pub(super) async fn run<T>(future: &mut UserFuture<'_, T>, watch: &Watch) -> Result<T, String> {
    poll_fn(|context| {
        watch.enter();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        watch.leave();
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic_text(&*panic))),
        }
    })
    .await
}

/// Calls user code; a panic is an error with its text.
pub(super) fn call<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| panic_text(&*panic))
}

/// Drops a value of the user's, whose destructor may panic too.
pub(super) fn drop_quietly<T>(value: T) {
    if let Err(text) = call(move || drop(value)) {
        log!(warn, panic = text, "a destructor panicked");
    }
}
