//! Accepts connections up to a limit, with or without TLS, and shuts them down gracefully.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::background::Task;
use super::connection_limit::{ConnectionLimit, ConnectionSlot, SlotKind};
use super::tls::Tls;
use super::{Inner, Server, connection, maintenance};
use performer_core::orchestrator::{BoxFuture, Result};

/// How long active requests may take when the server shuts down.
const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// How often the log warns about too many connections.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// The address of the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

impl Server {
    /// Serves until `stop` completes. Then it accepts no more connections, finishes active requests for at most 30 seconds,
    /// and returns.
    ///
    /// # Errors
    ///
    /// None at present.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()> + Send) -> Result<()> {
        self.serve_until(listener, stop, std::future::pending()).await
    }

    /// Like [`serve`](Self::serve), but stops waiting for active requests when `at_once` completes.
    ///
    /// # Errors
    ///
    /// None at present.
    pub async fn serve_until(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send,
        at_once: impl Future<Output = ()> + Send,
    ) -> Result<()> {
        self.serve_boxed(listener, Box::pin(stop), Box::pin(at_once)).await
    }

    #[inline(never)]
    fn serve_boxed<'a>(
        self,
        listener: TcpListener,
        stop: BoxFuture<'a, ()>,
        at_once: BoxFuture<'a, ()>,
    ) -> BoxFuture<'a, Result<()>> {
        Box::pin(self.accept_until(listener, stop, at_once))
    }

    async fn accept_until(
        self,
        listener: TcpListener,
        mut stop: BoxFuture<'_, ()>,
        at_once: BoxFuture<'_, ()>,
    ) -> Result<()> {
        let maintenance = maintenance::start(&self.inner);
        let limit = ConnectionLimit::new(self.inner.config.max_connections);
        let mut warned = None;
        // Every connection holds a sender, so the channel closes with the last connection.
        let (open, mut all_closed) = mpsc::channel::<()>(1);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                // A panic in the log writer must not end the server.
                accepted = AssertUnwindSafe(accept(&self.inner, &listener, &limit, &mut warned)).catch_unwind() => accepted,
            };
            let accepted = accepted.unwrap_or_else(|_| {
                self.inner.metrics.record_restart(Task::Accept.name());
                None
            });
            let Some((stream, peer, slot)) = accepted else { continue };
            let (server, open) = (self.inner.clone(), open.clone());
            let tls = server.tls.as_ref().map(Tls::acceptor);
            tokio::spawn(async move {
                let _open = open;
                let _counted = server.metrics.connection();
                connection::serve(stream, peer, slot, server.clone(), tls).await;
            });
        }
        drop(open);
        drop(listener);
        tracing::info!("shutting down: no new connections are accepted");
        self.inner.stopping.send_replace(true); // ends waiting calls and idle connections
        tokio::select! {
            biased;
            _ = all_closed.recv() => {}
            () = at_once => tracing::warn!("some requests were not finished and are no longer waited for"),
            () = tokio::time::sleep(GRACE_PERIOD) => {
                tracing::warn!("some requests were not finished within {GRACE_PERIOD:?}");
            }
        }
        maintenance.abort();
        Ok(())
    }
}

/// Accepts the next connection once there is a slot for it.
async fn accept(
    server: &Inner,
    listener: &TcpListener,
    limit: &Arc<ConnectionLimit>,
    warned: &mut Option<Duration>,
) -> Option<(TcpStream, Peer, ConnectionSlot)> {
    limit.wait_for_slot().await;
    let (stream, peer) = match listener.accept().await {
        Ok((stream, address)) => (stream, Peer(address.ip())),
        Err(error) => {
            // Usually the process is out of file descriptors, until other connections are closed.
            tracing::warn!(%error, "failed to accept a connection");
            tokio::time::sleep(Duration::from_millis(100)).await;
            return None;
        }
    };
    let slot = limit.acquire(peer.0, server.proxies.trusts(peer.0));
    if slot.as_ref().is_none_or(|slot| slot.kind() == SlotKind::Overflow) {
        server.metrics.record_refused_connection();
        let now = server.elapsed();
        if warned.is_none_or(|last| last + WARNING_INTERVAL <= now) {
            *warned = Some(now);
            tracing::warn!(from = %peer.0, max = server.config.max_connections, "too many connections");
        }
    }
    slot.map(|slot| (stream, peer, slot))
}
