//! Connections: accepted up to a number, with TLS or without, with an end to every wait, and ended in order.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::background::Task;
use super::places::{Kind, Place, Places};
use super::tls::Tls;
use super::{Inner, Server, connection, upkeep};
use crate::orchestrator::Result;

/// How long requests that are under way may go on when the server stops.
const GRACE: Duration = Duration::from_secs(30);
/// How often the log tells that there are too many connections.
const BETWEEN_WARNINGS: Duration = Duration::from_secs(60);

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
        let upkeep = upkeep::start(&self.inner);
        let places = Places::new(self.inner.config.most_connections);
        let mut warned = None;
        // Every connection has one end of it, so it is closed when the last one is.
        let (open, mut all_closed) = mpsc::channel::<()>(1);
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                // A panic of what writes the log does not end the server.
                accepted = AssertUnwindSafe(accept(&self.inner, &listener, &places, &mut warned)).catch_unwind() => accepted,
            };
            let accepted = accepted.unwrap_or_else(|_| {
                self.inner.metrics.restarted(Task::Accept.name());
                None
            });
            let Some((stream, peer, place)) = accepted else { continue };
            let (server, open) = (self.inner.clone(), open.clone());
            let tls = server.tls.as_ref().map(Tls::acceptor);
            tokio::spawn(async move {
                let _open = open;
                let _counted = server.metrics.connection();
                connection::serve(stream, peer, place, server.clone(), tls).await;
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
            () = tokio::time::sleep(GRACE) => {
                tracing::warn!("some requests were not finished within {GRACE:?}");
            }
        }
        upkeep.abort();
        Ok(())
    }
}

/// The next connection, as soon as there is a place for one.
async fn accept(
    server: &Inner,
    listener: &TcpListener,
    places: &Arc<Places>,
    warned: &mut Option<Duration>,
) -> Option<(TcpStream, Peer, Place)> {
    places.any().await;
    let (stream, peer) = match listener.accept().await {
        Ok((stream, address)) => (stream, Peer(address.ip())),
        Err(error) => {
            // Out of file descriptors, mostly: it passes when others are closed.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            return None;
        }
    };
    let place = places.enter(peer.0, server.proxies.trusts(peer.0));
    if place.as_ref().is_none_or(|place| place.kind() == Kind::Spare) {
        server.metrics.refused();
        let now = server.elapsed();
        if warned.is_none_or(|last| last + BETWEEN_WARNINGS <= now) {
            *warned = Some(now);
            tracing::warn!(from = %peer.0, most = server.config.most_connections, "there are too many connections");
        }
    }
    place.map(|place| (stream, peer, place))
}
