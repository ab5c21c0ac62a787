//! HTTP over one connection, with a timeout for every wait. hyper has timeouts for the head of the next request and for
//! pings; `connection_monitor.rs` observes the socket for the others.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt as _;
use http_body_util::{Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::Inner;
use super::connection_limit::{ConnectionSlot, SlotKind};
use super::connection_monitor::{
    ActiveRequest, ClientTimeouts, ConnectionAction, ConnectionMonitor, HttpVersion, MonitoredBody,
    MonitoredStream,
};
use super::handler::{self, DropConnection, OverflowConnection, UnreadBody};
use super::listener::Peer;
use super::memory_budget::BudgetOwner;
use super::response::StreamedBody;
use super::tls::H2;

/// The timeout for the response to an HTTP/2 ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// The lifetime of a connection over the limit.
const OVERFLOW_LIFETIME: Duration = Duration::from_secs(5);
/// The maximum size of a head, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Serves a connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    slot: ConnectionSlot,
    server: Arc<Inner>,
    tls: Option<TlsAcceptor>,
) {
    let _ = stream.set_nodelay(true);
    let timeouts = server.config.timeouts;
    let is_overflow = slot.kind() == SlotKind::Overflow;
    let monitor =
        Arc::new(ConnectionMonitor::new(server.memory.reservation(BudgetOwner::of_network(peer.0))));
    let stream = MonitoredStream::new(stream, monitor.clone());
    let served = async {
        let Some(tls) = tls else {
            return run(stream, peer, is_overflow, server, HttpVersion::Http1, monitor).await;
        };
        // A failed handshake is not an error of the server.
        if let Ok(Ok(stream)) = tokio::time::timeout(timeouts.head, tls.accept(stream)).await {
            monitor.handshake_done();
            let agreed = stream.get_ref().1.alpn_protocol();
            let version = if agreed == Some(H2) { HttpVersion::Http2 } else { HttpVersion::Http1 };
            run(stream, peer, is_overflow, server, version, monitor).await;
        }
    };
    if is_overflow {
        let _ = tokio::time::timeout(OVERFLOW_LIFETIME, served).await;
    } else {
        served.await;
    }
    drop(slot);
}

/// Serves HTTP over a stream until it ends, the client stalls, or the server shuts down.
async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    is_overflow: bool,
    server: Arc<Inner>,
    version: HttpVersion,
    monitor: Arc<ConnectionMonitor>,
) {
    let timeouts = server.config.timeouts;
    let mut stopping = server.stopping.subscribe();
    let service = hyper::service::service_fn({
        let monitor = monitor.clone();
        move |mut request: hyper::Request<Incoming>| {
            let (server, monitor) = (server.clone(), monitor.clone());
            let active = ActiveRequest::new(monitor.clone());
            if is_overflow {
                request.extensions_mut().insert(OverflowConnection);
            }
            async move {
                let response = handler::handle(&server, peer, request.map(Body::new)).await;
                if response.extensions().get::<DropConnection>().is_some() {
                    let error = "an injected fault drops the response";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
                }
                if response.extensions().get::<UnreadBody>().is_some() {
                    monitor.discard_input();
                }
                let streamed = response.extensions().get::<StreamedBody>().and_then(StreamedBody::take);
                Ok(response.map(|bytes| match streamed {
                    None => Either::Left(Full::new(MonitoredBody::new(bytes, monitor))),
                    Some(pieces) => Either::Right(StreamBody::new(pieces.map(move |piece| {
                        let _ = &active; // the request ends with the last piece
                        Ok::<_, Infallible>(Frame::data(MonitoredBody::new(piece, monitor.clone())))
                    }))),
                }))
            }
        }
    });
    let builder = http_builder(version, timeouts, is_overflow);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
    let every = timeouts.head.min(timeouts.idle).min(timeouts.stalled) / 4;
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    let mut stopping_since: Option<Instant> = None;
    loop {
        let action = tokio::select! {
            biased;
            // An error only means that the client closed the connection.
            _ = connection.as_mut() => return,
            _ = stop.as_mut(), if stopping_since.is_none() => ConnectionAction::ShutDown,
            now = ticks.tick() => monitor.action(version, timeouts, stopping_since, now),
        };
        match action {
            ConnectionAction::Keep => {}
            ConnectionAction::ShutDown if stopping_since.is_some() => {}
            ConnectionAction::ShutDown => {
                stopping_since = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            ConnectionAction::Close => return,
        }
    }
}

fn http_builder(version: HttpVersion, timeouts: ClientTimeouts, is_overflow: bool) -> Builder<TokioExecutor> {
    // The version is fixed: automatic detection would wait for the first byte without a timeout.
    let builder = Builder::new(TokioExecutor::new());
    let mut builder = match version {
        HttpVersion::Http1 => builder.http1_only(),
        HttpVersion::Http2 => builder.http2_only(),
    };
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.idle)
        .max_buf_size(MAX_HEAD)
        .keep_alive(!is_overflow);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
