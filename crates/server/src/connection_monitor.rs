//! Observes a connection at its socket, outside of hyper: whether requests arrive and whether the client reads responses.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::Buf;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::memory_budget::Reservation;

/// How long an idle connection may stay open after a graceful shutdown was requested.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// A head up to this size, in bytes, is not counted as memory.
const UNCOUNTED_HEAD: usize = 8 * 1024;
/// The number of bytes that a client has to read within the timeout to count as making progress, unless it reads a response
/// to its end.
const PROGRESS_STEP: usize = 256 * 1024;
/// How long, and up to how many bytes, input is read and discarded after an early response. Closing a socket with unread
/// input resets the connection, and the client might lose the response.
const DISCARD_LIMIT: (Duration, usize) = (Duration::from_secs(5), 64 * 1024 * 1024);

/// The timeouts for clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct ClientTimeouts {
    /// For the TLS handshake, for a head from its first to its last byte, and for the first request with HTTP/2.
    pub(super) head: Duration,
    /// For the next request. Longer than clients keep idle connections, so that a request does not race with the close.
    pub(super) idle: Duration,
    /// For a client that does not read its response.
    pub(super) stalled: Duration,
}

impl Default for ClientTimeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(40),
            stalled: Duration::from_secs(30),
        }
    }
}

/// The version of HTTP on a connection. HTTP/2 is agreed on by TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HttpVersion {
    Http1,
    Http2,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionAction {
    Keep,
    /// It has been idle for too long: shut it down gracefully.
    ShutDown,
    /// The client has stalled: close it.
    Close,
}

/// The observed state of a connection.
pub(super) struct ConnectionMonitor(Mutex<MonitorState>);

struct MonitorState {
    /// When it was accepted, or its TLS handshake was completed.
    since: Instant,
    requests: u64,
    /// Requests without a response so far.
    active: usize,
    /// When the last request or response ended.
    idle_since: Instant,
    /// When the first byte of the current head arrived, and its bytes so far.
    head_since: Option<Instant>,
    head_bytes: usize,
    head_reservation: Reservation,
    /// Since when the socket has accepted no bytes.
    blocked_since: Option<Instant>,
    /// Responses that are not completely sent.
    unsent: usize,
    /// When the client last made progress in reading responses, and the bytes sent since then.
    progress_at: Instant,
    progress_bytes: usize,
    /// Whether input is read and discarded before the connection is closed.
    discards_input: bool,
}

impl ConnectionMonitor {
    pub(super) fn new(head_reservation: Reservation) -> Self {
        let now = Instant::now();
        Self(Mutex::new(MonitorState {
            since: now,
            requests: 0,
            active: 0,
            idle_since: now,
            head_since: None,
            head_bytes: 0,
            head_reservation,
            blocked_since: None,
            unsent: 0,
            progress_at: now,
            progress_bytes: 0,
            discards_input: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, MonitorState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn handshake_done(&self) {
        let mut state = self.state();
        let now = Instant::now();
        (state.since, state.idle_since, state.head_since, state.head_bytes) = (now, now, None, 0);
        state.head_reservation.set(0);
    }

    /// What to do with the connection now. `stopping_since` is when its shutdown was requested.
    pub(super) fn action(
        &self,
        version: HttpVersion,
        timeouts: ClientTimeouts,
        stopping_since: Option<Instant>,
        now: Instant,
    ) -> ConnectionAction {
        self.state().action(version, timeouts, stopping_since, now)
    }

    /// Reads and discards input before the connection is closed.
    pub(super) fn discard_input(&self) {
        self.state().discards_input = true;
    }

    /// Records received bytes. An error if no memory for a large head.
    fn bytes_received(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state();
        if bytes == 0 || state.active > 0 {
            return Ok(());
        }
        state.head_since.get_or_insert_with(Instant::now);
        state.head_bytes += bytes;
        if state.head_bytes > UNCOUNTED_HEAD && !state.head_reservation.grow(bytes) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "no memory for a large head"));
        }
        Ok(())
    }

    /// Records whether the socket accepted bytes.
    fn socket_wrote(&self, any: bool) {
        let mut state = self.state();
        if any {
            state.blocked_since = None;
        } else {
            state.blocked_since.get_or_insert_with(Instant::now);
        }
    }
}

impl MonitorState {
    /// Records that the client made progress.
    fn record_progress(&mut self) {
        (self.progress_at, self.progress_bytes) = (Instant::now(), 0);
    }

    fn action(
        &self,
        version: HttpVersion,
        timeouts: ClientTimeouts,
        stopping_since: Option<Instant>,
        now: Instant,
    ) -> ConnectionAction {
        let longer = |since: Option<Instant>, than: Duration| since.is_some_and(|since| since + than < now);
        let unsent_since = (self.unsent > 0).then_some(self.progress_at);
        if longer(self.blocked_since, timeouts.stalled) || longer(unsent_since, timeouts.stalled) {
            return ConnectionAction::Close;
        }
        if self.active > 0 || self.unsent > 0 {
            return ConnectionAction::Keep;
        }
        if longer(stopping_since, SHUTDOWN_TIMEOUT.min(timeouts.idle)) {
            return ConnectionAction::Close;
        }
        match version {
            // Input of HTTP/2 need not be a head; for HTTP/1 hyper has the timeout between requests.
            HttpVersion::Http1 if longer(self.head_since, timeouts.head) => ConnectionAction::Close,
            HttpVersion::Http2 if self.requests == 0 && longer(Some(self.since), timeouts.head) => {
                ConnectionAction::ShutDown
            }
            HttpVersion::Http2 if longer(Some(self.idle_since), timeouts.idle) => ConnectionAction::ShutDown,
            _ => ConnectionAction::Keep,
        }
    }
}

/// Counts a request as active until it is dropped.
pub(super) struct ActiveRequest(Arc<ConnectionMonitor>);

impl ActiveRequest {
    pub(super) fn new(monitor: Arc<ConnectionMonitor>) -> Self {
        let mut state = monitor.state();
        state.requests += 1;
        state.active += 1;
        (state.head_since, state.head_bytes) = (None, 0);
        state.head_reservation.set(0);
        drop(state);
        Self(monitor)
    }
}

impl Drop for ActiveRequest {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.active -= 1;
        state.idle_since = Instant::now();
    }
}

/// The body of a response, which records progress while it is sent.
pub(super) struct MonitoredBody {
    rest: Bytes,
    monitor: Option<Arc<ConnectionMonitor>>,
}

impl MonitoredBody {
    pub(super) fn new(rest: Bytes, monitor: Arc<ConnectionMonitor>) -> Self {
        if rest.is_empty() {
            return Self { rest, monitor: None };
        }
        let mut state = monitor.state();
        if state.unsent == 0 {
            state.record_progress();
        }
        state.unsent += 1;
        drop(state);
        Self { rest, monitor: Some(monitor) }
    }
}

impl Drop for MonitoredBody {
    fn drop(&mut self) {
        let Some(monitor) = &self.monitor else { return };
        let mut state = monitor.state();
        state.unsent -= 1;
        state.record_progress();
        state.idle_since = state.progress_at;
    }
}

/// hyper advances it as the socket, or with HTTP/2 the flow control window of the client, accepts the bytes.
impl Buf for MonitoredBody {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
        if let Some(monitor) = self.monitor.as_ref().filter(|_| !self.rest.is_empty()) {
            let mut state = monitor.state();
            state.progress_bytes += count;
            if state.progress_bytes >= PROGRESS_STEP {
                state.record_progress();
            }
        }
    }
}

/// The socket, observed.
pub(super) struct MonitoredStream {
    stream: TcpStream,
    monitor: Arc<ConnectionMonitor>,
    discarding: Option<(Pin<Box<Sleep>>, usize)>,
}

impl MonitoredStream {
    pub(super) fn new(stream: TcpStream, monitor: Arc<ConnectionMonitor>) -> Self {
        Self { stream, monitor, discarding: None }
    }

    fn record_write<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.monitor.socket_wrote(written.is_ready());
        written
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.monitor.bytes_received(buffer.filled().len() - before))
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.record_write(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.record_write(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx) // a socket has no buffer to flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let stream = &mut *self;
        if stream.discarding.is_none() {
            ready!(Pin::new(&mut stream.stream).poll_shutdown(cx))?;
            if !stream.monitor.state().discards_input {
                return Poll::Ready(Ok(()));
            }
        }
        let (until, left) = stream
            .discarding
            .get_or_insert_with(|| (Box::pin(tokio::time::sleep(DISCARD_LIMIT.0)), DISCARD_LIMIT.1));
        let mut scratch = [0; 8 * 1024];
        while until.as_mut().poll(cx).is_pending() && *left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut stream.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {
                    *left = left.saturating_sub(buffer.filled().len());
                }
                _ => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::gauge::Gauge;

    use super::super::memory_budget::{BudgetOwner, MemoryBudget};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn monitor() -> Arc<ConnectionMonitor> {
        let budget = MemoryBudget::new(1024 * 1024, Gauge::default());
        Arc::new(ConnectionMonitor::new(budget.reservation(BudgetOwner::of_network([10, 0, 0, 1].into()))))
    }

    fn after(monitor: &ConnectionMonitor, version: HttpVersion, time: Duration) -> ConnectionAction {
        monitor.action(version, ClientTimeouts::default(), None, Instant::now() + time)
    }

    #[tokio::test(start_paused = true)]
    async fn http2_connections_have_idle_timeouts() {
        let monitor = monitor();
        assert_eq!(after(&monitor, HttpVersion::Http2, 9 * SECOND), ConnectionAction::Keep);
        assert_eq!(after(&monitor, HttpVersion::Http2, 11 * SECOND), ConnectionAction::ShutDown);
        drop(ActiveRequest::new(monitor.clone()));
        assert_eq!(after(&monitor, HttpVersion::Http2, 39 * SECOND), ConnectionAction::Keep);
        assert_eq!(after(&monitor, HttpVersion::Http2, 41 * SECOND), ConnectionAction::ShutDown);
        let active = ActiveRequest::new(monitor.clone());
        assert_eq!(
            after(&monitor, HttpVersion::Http2, 1_000 * SECOND),
            ConnectionAction::Keep,
            "the request has its own limit"
        );
        drop(active);
        let action = monitor.action(
            HttpVersion::Http2,
            ClientTimeouts::default(),
            Some(Instant::now()),
            Instant::now() + 6 * SECOND,
        );
        assert_eq!(action, ConnectionAction::Close, "it stays open after a shutdown request");
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_head_times_out() {
        let monitor = monitor();
        assert_eq!(after(&monitor, HttpVersion::Http1, 1_000 * SECOND), ConnectionAction::Keep);
        monitor.bytes_received(10).unwrap();
        tokio::time::advance(9 * SECOND).await;
        monitor.bytes_received(10).unwrap();
        assert_eq!(after(&monitor, HttpVersion::Http1, SECOND / 2), ConnectionAction::Keep);
        assert_eq!(after(&monitor, HttpVersion::Http1, 2 * SECOND), ConnectionAction::Close);
        drop(ActiveRequest::new(monitor.clone()));
        assert_eq!(after(&monitor, HttpVersion::Http1, 2 * SECOND), ConnectionAction::Keep);
    }

    #[tokio::test(start_paused = true)]
    async fn unread_responses_time_out() {
        let monitor = monitor();
        let small = MonitoredBody::new(Bytes::from_static(b"x"), monitor.clone());
        assert_eq!(after(&monitor, HttpVersion::Http2, 29 * SECOND), ConnectionAction::Keep);
        assert_eq!(after(&monitor, HttpVersion::Http2, 31 * SECOND), ConnectionAction::Close);
        drop(small);
        let mut large = MonitoredBody::new(vec![0; 1024 * 1024].into(), monitor.clone());
        tokio::time::advance(20 * SECOND).await;
        large.advance(PROGRESS_STEP - 1);
        assert_eq!(
            after(&monitor, HttpVersion::Http2, 11 * SECOND),
            ConnectionAction::Close,
            "a little is not enough"
        );
        large.advance(1);
        assert_eq!(
            after(&monitor, HttpVersion::Http2, 29 * SECOND),
            ConnectionAction::Keep,
            "it made progress"
        );
        drop(large);
        assert_eq!(monitor.state().unsent, 0);
        let active = ActiveRequest::new(monitor.clone());
        assert_eq!(after(&monitor, HttpVersion::Http1, 31 * SECOND), ConnectionAction::Keep);
        monitor.socket_wrote(false);
        assert_eq!(
            after(&monitor, HttpVersion::Http1, 31 * SECOND),
            ConnectionAction::Close,
            "the socket accepts no bytes"
        );
        monitor.socket_wrote(true);
        assert_eq!(after(&monitor, HttpVersion::Http1, 31 * SECOND), ConnectionAction::Keep);
        drop(active);
    }

    #[test]
    fn large_heads_are_counted_until_they_are_complete() {
        let gauge = Gauge::default();
        let budget = MemoryBudget::new(8 * 60_000 * 4, gauge.clone());
        let network = BudgetOwner::of_network([10, 0, 0, 1].into());
        let monitors: Vec<Arc<ConnectionMonitor>> =
            (0..10).map(|_| Arc::new(ConnectionMonitor::new(budget.reservation(network)))).collect();
        let refused = monitors.iter().filter(|monitor| monitor.bytes_received(60_000).is_err()).count();
        assert_eq!((refused, gauge.get()), (8, 120_000));
        for monitor in &monitors {
            drop(ActiveRequest::new(monitor.clone()));
        }
        assert_eq!(gauge.get(), 0);
        monitors[0].bytes_received(5_000).unwrap();
        assert_eq!(gauge.get(), 0, "heads of a usual size are not counted");
    }
}
