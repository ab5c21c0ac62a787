//! Runs user code and turns its panics into errors.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;

use super::watchdog::Watchdog;
use crate::exception::panic_text;

/// Logs with `tracing`. The user's subscriber may panic (a closed pipe, a full disk): then the line is lost, but the robot
/// or the heartbeat that logged it continues.
macro_rules! log {
    ($level:ident, $($event:tt)+) => {
        drop($crate::runtime::catch_panic::call(|| tracing::$level!($($event)+)))
    };
}
pub(super) use log;

/// A future of user code, as async-trait returns it.
pub(super) type UserFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Runs a future to completion. A panic becomes an error with the panic's message. The caller must drop the future with
/// [`drop_quietly`].
pub(super) async fn run<T>(future: &mut UserFuture<'_, T>, watchdog: &Watchdog) -> Result<T, String> {
    poll_fn(|context| {
        watchdog.enter_user_code();
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context)));
        watchdog.leave_user_code();
        match polled {
            Ok(polled) => polled.map(Ok),
            Err(panic) => std::task::Poll::Ready(Err(panic_text(&*panic))),
        }
    })
    .await
}

/// Calls user code. A panic becomes an error with the message of the panic.
pub(super) fn call<T>(act: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).map_err(|panic| panic_text(&*panic))
}

/// Drops a user's value, whose destructor may panic.
pub(super) fn drop_quietly<T>(value: T) {
    if let Err(text) = call(move || drop(value)) {
        log!(warn, panic = text, "a destructor panicked");
    }
}
