//! Connections: accepted up to a number, with TLS or without, with an end to every wait, and ended in order.

use std::io;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

use super::background::Task;
use super::door::{self, Lost};
use super::tls::{H2, Tls};
use super::{Inner, Server, upkeep};
use crate::orchestrator::Result;

/// How long a TLS handshake may take, and an answer to a ping.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the head of a request may take to come, counted from the end of the last one: longer than clients keep a
/// connection for which they have no use, so that no request meets the moment in which it is closed.
const IDLE: Duration = Duration::from_secs(40);
/// How long requests that are under way may go on when the server stops.
const GRACE: Duration = Duration::from_secs(30);
/// The most bytes of a head.
const LARGEST_HEAD: usize = 64 * 1024;

/// The version of HTTP on a connection. HTTP/2 is agreed on by TLS.
#[derive(Clone, Copy, Debug)]
enum Version {
    One,
    Two,
}

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
        let connections = Arc::new(Semaphore::new(self.inner.config.most_connections));
        let graceful = GracefulShutdown::new();
        tokio::pin!(stop);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut stop => break,
                // A panic of what writes the log does not end the server.
                accepted = AssertUnwindSafe(accept(&listener, &connections)).catch_unwind() => accepted,
            };
            let accepted = accepted.unwrap_or_else(|_| {
                self.inner.metrics.restarted(Task::Accept.name());
                None
            });
            let Some((stream, peer, room)) = accepted else { continue };
            let server = self.inner.clone();
            let tls = server.tls.as_ref().map(Tls::acceptor);
            let watcher = graceful.watcher();
            tokio::spawn(async move {
                let _room = room;
                let _counted = server.metrics.connection();
                let _ = stream.set_nodelay(true);
                match tls {
                    None => connection(stream, peer, server.clone(), Version::One, watcher).await,
                    Some(tls) => {
                        // A handshake that fails is the other side's business.
                        if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                            let agreed = stream.get_ref().1.alpn_protocol();
                            let version = if agreed == Some(H2) { Version::Two } else { Version::One };
                            connection(stream, peer, server.clone(), version, watcher).await;
                        }
                    }
                }
            });
        }
        drop(listener);
        tracing::info!("the server stops: nothing new is taken");
        self.inner.stopping.send_replace(true); // whoever waits for items is answered at once
        tokio::select! {
            biased;
            () = graceful.shutdown() => {}
            () = at_once => tracing::warn!("some requests were not finished; they are not waited for"),
            () = tokio::time::sleep(GRACE) => {
                tracing::warn!("some requests were not finished within {GRACE:?}");
            }
        }
        upkeep.abort();
        Ok(())
    }
}

type Room = tokio::sync::OwnedSemaphorePermit;

/// The next connection, as soon as there is room for one.
async fn accept(listener: &TcpListener, connections: &Arc<Semaphore>) -> Option<(TcpStream, Peer, Room)> {
    let room = connections.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, address)) => Some((stream, Peer(address.ip()), room)),
        Err(error) => {
            // Out of file descriptors, mostly: it passes when others are closed.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(Duration::from_millis(100)).await;
            None
        }
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    server: Arc<Inner>,
    version: Version,
    watcher: Watcher,
) {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let server = server.clone();
        async move {
            let response = door::answer(&server, peer, request.map(Body::new)).await;
            match response.extensions().get::<Lost>() {
                None => Ok(response),
                Some(Lost) => {
                    Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the answer is lost on purpose"))
                }
            }
        }
    });
    // One version and no other: what finds out by itself waits for ever for a first byte.
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match version {
        Version::One => builder.http1_only(),
        Version::Two => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(HANDSHAKE);
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    // It ends in an error when the other side goes away, which is no news.
    let _ = watcher.watch(connection).await;
}
