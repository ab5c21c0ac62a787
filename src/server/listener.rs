//! Connections: accepted up to a number, with TLS or without, with an end to every wait, and ended in order.

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
use crate::orchestrator::Result;

/// How long requests that are under way may go on when the server stops.
const GRACE_PERIOD: Duration = Duration::from_secs(30);
/// How often the log tells that there are too many connections.
const WARNING_INTERVAL: Duration = Duration::from_secs(60);

/// Who is at the other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) IpAddr);

impl Server {
    /// Serves until `stop` is over. Then it takes nothing new, finishes what is under way (for at most 30 seconds), and
    /// returns.
    ///
    /// # Errors
    ///
    /// None at present.
    pub async fn serve(self, listener: TcpListener, stop: impl Future<Output = ()>) -> Result<()> {
        self.serve_until(listener, stop, std::future::pending()).await
    }

    /// As [`serve`](Self::serve); when `at_once` is over, what is still under way is not waited for any longer.
    ///
    /// # Errors
    ///
    /// None at present.
    pub async fn serve_until(
        self,
        listener: TcpListener,
        stop: impl Future<Output = ()>,
        at_once: impl Future<Output = ()>,
    ) -> Result<()> {
        let maintenance = maintenance::start(&self.inner);
        let limit = ConnectionLimit::new(self.inner.config.max_connections);
        let mut warned = None;
        // Every connection has one end of it, so it is closed when the last one is.
        let (open, mut all_closed) = mpsc::channel::<()>(1);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                // A panic of what writes the log does not end the server.
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
        tracing::info!("the server stops: nothing new is taken");
        self.inner.stopping.send_replace(true); // whoever waits for items is answered at once, and connections end
        tokio::select! {
            biased;
            _ = all_closed.recv() => {}
            () = at_once => tracing::warn!("some requests were not finished; they are not waited for"),
            () = tokio::time::sleep(GRACE_PERIOD) => {
                tracing::warn!("some requests were not finished within {GRACE_PERIOD:?}");
            }
        }
        maintenance.abort();
        Ok(())
    }
}

/// The next connection, as soon as there is a place for one.
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
            // Out of file descriptors, mostly: it passes when others are closed.
            tracing::warn!(%error, "a connection could not be accepted");
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
            tracing::warn!(from = %peer.0, max = server.config.max_connections, "there are too many connections");
        }
    }
    slot.map(|slot| (stream, peer, slot))
}
