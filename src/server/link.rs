//! What is seen of a connection from outside of hyper: whether requests come, and whether answers go.

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

use super::room::Held;

/// How long a connection that was told to end may go on when nothing is under way.
const ENDING: Duration = Duration::from_secs(5);
/// A head of so many bytes is not counted.
const USUAL_HEAD: usize = 8 * 1024;
/// How many bytes of answers a client has to take so that it is not called stalled, unless it takes one to its end.
const STEP: usize = 256 * 1024;
/// How long, and for how many bytes, what a client still sends is read when the answer came before its request was over:
/// a connection with bytes that were not read is reset, and the client may not see its answer.
const LINGER: (Duration, usize) = (Duration::from_secs(5), 64 * 1024 * 1024);

/// How long a server waits for its clients.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// For the TLS handshake, for a head from its first byte to its last, and with HTTP/2 for the first request.
    pub(super) head: Duration,
    /// For the next request. Longer than clients keep a connection for which they have no use, so that no request meets
    /// the moment in which it is closed.
    pub(super) idle: Duration,
    /// For a client that takes nothing of what is sent to it.
    pub(super) stalled: Duration,
}

impl Default for Patience {
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
pub(super) enum Version {
    One,
    Two,
}

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Fine,
    /// It has been of no use for so long that it is ended in order.
    Idle,
    /// The client does not do its part: it is closed.
    Hopeless,
}

/// What is known of a connection from outside of hyper.
pub(super) struct Link(Mutex<State>);

struct State {
    /// Since when it has been there, its TLS handshake done.
    since: Instant,
    requests: u64,
    /// Requests that are not answered yet.
    under_way: usize,
    /// Since when there has been neither a request nor an answer.
    idle_since: Instant,
    /// Since when a head has been coming, and how many bytes of it came.
    head_since: Option<Instant>,
    head_bytes: usize,
    head_held: Held,
    /// Since when the socket has taken nothing.
    blocked_since: Option<Instant>,
    /// Answers that are not sent to their end yet.
    unsent: usize,
    /// When the first of them was made, another one was sent to its end, or the last step was; and the bytes sent since.
    moved: Instant,
    moved_bytes: usize,
    /// Whether what the client still sends is read before the connection is closed.
    lingers: bool,
}

impl Link {
    pub(super) fn new(head_held: Held) -> Self {
        let now = Instant::now();
        Self(Mutex::new(State {
            since: now,
            requests: 0,
            under_way: 0,
            idle_since: now,
            head_since: None,
            head_bytes: 0,
            head_held,
            blocked_since: None,
            unsent: 0,
            moved: now,
            moved_bytes: 0,
            lingers: false,
        }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn established(&self) {
        let mut state = self.state();
        let now = Instant::now();
        (state.since, state.idle_since, state.head_since, state.head_bytes) = (now, now, None, 0);
        state.head_held.set(0);
    }

    /// What becomes of the connection. `ending` is when it was told to end.
    pub(super) fn judged(
        &self,
        version: Version,
        patience: Patience,
        ending: Option<Instant>,
        now: Instant,
    ) -> Verdict {
        self.state().judged(version, patience, ending, now)
    }

    /// What the client still sends is read before the connection is closed.
    pub(super) fn linger(&self) {
        self.state().lingers = true;
    }

    /// Bytes came. An error when they are a large head for which there is no memory.
    fn came(&self, bytes: usize) -> io::Result<()> {
        let mut state = self.state();
        if bytes == 0 || state.under_way > 0 {
            return Ok(());
        }
        state.head_since.get_or_insert_with(Instant::now);
        state.head_bytes += bytes;
        if state.head_bytes > USUAL_HEAD && !state.head_held.grow(bytes) {
            return Err(io::Error::new(io::ErrorKind::OutOfMemory, "there is no memory for a large head"));
        }
        Ok(())
    }

    /// The socket took bytes, or none.
    fn took(&self, any: bool) {
        let mut state = self.state();
        if any {
            state.blocked_since = None;
        } else {
            state.blocked_since.get_or_insert_with(Instant::now);
        }
    }
}

impl State {
    /// The client took something.
    fn moved(&mut self) {
        (self.moved, self.moved_bytes) = (Instant::now(), 0);
    }

    fn judged(&self, version: Version, patience: Patience, ending: Option<Instant>, now: Instant) -> Verdict {
        let longer = |since: Option<Instant>, than: Duration| since.is_some_and(|since| since + than < now);
        let unsent_since = (self.unsent > 0).then_some(self.moved);
        if longer(self.blocked_since, patience.stalled) || longer(unsent_since, patience.stalled) {
            return Verdict::Hopeless;
        }
        if self.under_way > 0 || self.unsent > 0 {
            return Verdict::Fine;
        }
        if longer(ending, ENDING.min(patience.idle)) {
            return Verdict::Hopeless;
        }
        match version {
            // What comes of HTTP/2 need not be a head; hyper sees to the time between requests of HTTP/1.
            Version::One if longer(self.head_since, patience.head) => Verdict::Hopeless,
            Version::Two if self.requests == 0 && longer(Some(self.since), patience.head) => Verdict::Idle,
            Version::Two if longer(Some(self.idle_since), patience.idle) => Verdict::Idle,
            _ => Verdict::Fine,
        }
    }
}

/// A request that is under way, until this is dropped.
pub(super) struct UnderWay(Arc<Link>);

impl UnderWay {
    pub(super) fn new(link: Arc<Link>) -> Self {
        let mut state = link.state();
        state.requests += 1;
        state.under_way += 1;
        (state.head_since, state.head_bytes) = (None, 0);
        state.head_held.set(0);
        drop(state);
        Self(link)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.under_way -= 1;
        state.idle_since = Instant::now();
    }
}

/// The body of an answer, until it is sent.
pub(super) struct Sending {
    rest: Bytes,
    link: Option<Arc<Link>>,
}

impl Sending {
    pub(super) fn new(rest: Bytes, link: Arc<Link>) -> Self {
        if rest.is_empty() {
            return Self { rest, link: None };
        }
        let mut state = link.state();
        if state.unsent == 0 {
            state.moved();
        }
        state.unsent += 1;
        drop(state);
        Self { rest, link: Some(link) }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        let Some(link) = &self.link else { return };
        let mut state = link.state();
        state.unsent -= 1;
        state.moved();
        state.idle_since = state.moved;
    }
}

/// hyper advances it as the bytes go into the socket, or with HTTP/2 as the client gives room for them.
impl Buf for Sending {
    fn remaining(&self) -> usize {
        self.rest.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.rest
    }

    fn advance(&mut self, count: usize) {
        self.rest.advance(count);
        if let Some(link) = self.link.as_ref().filter(|_| !self.rest.is_empty()) {
            let mut state = link.state();
            state.moved_bytes += count;
            if state.moved_bytes >= STEP {
                state.moved();
            }
        }
    }
}

/// The socket, watched.
pub(super) struct Wire {
    stream: TcpStream,
    link: Arc<Link>,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, link: Arc<Link>) -> Self {
        Self { stream, link, lingering: None }
    }

    fn wrote<T>(&self, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.link.took(written.is_ready());
        written
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        Poll::Ready(self.link.came(buffer.filled().len() - before))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx) // a socket has nothing to flush
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        if wire.lingering.is_none() {
            ready!(Pin::new(&mut wire.stream).poll_shutdown(cx))?;
            if !wire.link.state().lingers {
                return Poll::Ready(Ok(()));
            }
        }
        let (until, left) =
            wire.lingering.get_or_insert_with(|| (Box::pin(tokio::time::sleep(LINGER.0)), LINGER.1));
        let mut scratch = [0; 8 * 1024];
        while until.as_mut().poll(cx).is_pending() && *left > 0 {
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut wire.stream).poll_read(cx, &mut buffer)) {
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

    use super::super::room::{Owner, Room};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn link() -> Arc<Link> {
        let room = Room::new(1024 * 1024, Gauge::default());
        Arc::new(Link::new(room.account(Owner::of_network([10, 0, 0, 1].into()))))
    }

    fn after(link: &Link, version: Version, time: Duration) -> Verdict {
        link.judged(version, Patience::default(), None, Instant::now() + time)
    }

    #[tokio::test(start_paused = true)]
    async fn h2_is_agreed_to_be_used() {
        let link = link();
        assert_eq!(after(&link, Version::Two, 9 * SECOND), Verdict::Fine);
        assert_eq!(after(&link, Version::Two, 11 * SECOND), Verdict::Idle);
        drop(UnderWay::new(link.clone()));
        assert_eq!(after(&link, Version::Two, 39 * SECOND), Verdict::Fine);
        assert_eq!(after(&link, Version::Two, 41 * SECOND), Verdict::Idle);
        let under_way = UnderWay::new(link.clone());
        assert_eq!(
            after(&link, Version::Two, 1_000 * SECOND),
            Verdict::Fine,
            "the request has its own limit"
        );
        drop(under_way);
        let told =
            link.judged(Version::Two, Patience::default(), Some(Instant::now()), Instant::now() + 6 * SECOND);
        assert_eq!(told, Verdict::Hopeless, "it does not go although it was told");
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_comes_in_one_go() {
        let link = link();
        assert_eq!(after(&link, Version::One, 1_000 * SECOND), Verdict::Fine);
        link.came(10).unwrap();
        tokio::time::advance(9 * SECOND).await;
        link.came(10).unwrap();
        assert_eq!(after(&link, Version::One, SECOND / 2), Verdict::Fine);
        assert_eq!(after(&link, Version::One, 2 * SECOND), Verdict::Hopeless);
        drop(UnderWay::new(link.clone()));
        assert_eq!(after(&link, Version::One, 2 * SECOND), Verdict::Fine);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_taken_in_time() {
        let link = link();
        let small = Sending::new(Bytes::from_static(b"x"), link.clone());
        assert_eq!(after(&link, Version::Two, 29 * SECOND), Verdict::Fine);
        assert_eq!(after(&link, Version::Two, 31 * SECOND), Verdict::Hopeless);
        drop(small);
        let mut large = Sending::new(vec![0; 1024 * 1024].into(), link.clone());
        tokio::time::advance(20 * SECOND).await;
        large.advance(STEP - 1);
        assert_eq!(after(&link, Version::Two, 11 * SECOND), Verdict::Hopeless, "a little is not enough");
        large.advance(1);
        assert_eq!(after(&link, Version::Two, 29 * SECOND), Verdict::Fine, "it may take its time");
        drop(large);
        assert_eq!(link.state().unsent, 0);
        let under_way = UnderWay::new(link.clone());
        assert_eq!(after(&link, Version::One, 31 * SECOND), Verdict::Fine);
        link.took(false);
        assert_eq!(after(&link, Version::One, 31 * SECOND), Verdict::Hopeless, "the socket takes nothing");
        link.took(true);
        assert_eq!(after(&link, Version::One, 31 * SECOND), Verdict::Fine);
        drop(under_way);
    }

    #[test]
    fn large_heads_take_memory_of_their_network_until_they_are_there() {
        let gauge = Gauge::default();
        let room = Room::new(8 * 60_000 * 4, gauge.clone());
        let network = Owner::of_network([10, 0, 0, 1].into());
        let links: Vec<Arc<Link>> = (0..10).map(|_| Arc::new(Link::new(room.account(network)))).collect();
        let refused = links.iter().filter(|link| link.came(60_000).is_err()).count();
        assert_eq!((refused, gauge.get()), (8, 120_000));
        for link in &links {
            drop(UnderWay::new(link.clone()));
        }
        assert_eq!(gauge.get(), 0);
        links[0].came(5_000).unwrap();
        assert_eq!(gauge.get(), 0, "heads of a usual size are not counted");
    }
}
