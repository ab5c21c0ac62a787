//! One connection: HTTP over it, with an end to every wait. hyper ends some of them (the time a head may take from the
//! last answer on, pings that are not answered); the others are seen from outside of it, at the socket (`link.rs`).

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::Inner;
use super::door::{self, Lost, Spare, Unread};
use super::link::{Link, Sending, UnderWay, Verdict, Version, Wire};
use super::listen::Peer;
use super::places::{Kind, Place};
use super::room::Owner;
use super::tls::H2;

/// How long an HTTP/2 client may take to answer a ping.
const PING: Duration = Duration::from_secs(10);
/// How long a connection beside the places may last.
const SPARE: Duration = Duration::from_secs(5);
/// The most bytes of a head.
const LARGEST_HEAD: usize = 64 * 1024;

/// Serves a connection until it ends.
pub(super) async fn serve(
    stream: TcpStream,
    peer: Peer,
    place: Place,
    server: Arc<Inner>,
    tls: Option<TlsAcceptor>,
) {
    let _ = stream.set_nodelay(true);
    let patience = server.config.patience;
    let is_spare = place.kind() == Kind::Spare;
    let link = Arc::new(Link::new(server.room.account(Owner::of_network(peer.0))));
    let wire = Wire::new(stream, link.clone());
    let served = async {
        let Some(tls) = tls else {
            return run(wire, peer, is_spare, server, Version::One, link).await;
        };
        // A handshake that fails is the other side's business.
        if let Ok(Ok(stream)) = tokio::time::timeout(patience.head, tls.accept(wire)).await {
            link.established();
            let agreed = stream.get_ref().1.alpn_protocol();
            let version = if agreed == Some(H2) { Version::Two } else { Version::One };
            run(stream, peer, is_spare, server, version, link).await;
        }
    };
    if is_spare {
        let _ = tokio::time::timeout(SPARE, served).await;
    } else {
        served.await;
    }
    drop(place);
}

async fn run(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: Peer,
    is_spare: bool,
    server: Arc<Inner>,
    version: Version,
    link: Arc<Link>,
) {
    let patience = server.config.patience;
    let mut stopping = server.stopping.subscribe();
    let service = hyper::service::service_fn({
        let link = link.clone();
        move |mut request: hyper::Request<Incoming>| {
            let (server, link) = (server.clone(), link.clone());
            let under_way = UnderWay::new(link.clone());
            if is_spare {
                request.extensions_mut().insert(Spare);
            }
            async move {
                let response = door::answer(&server, peer, request.map(Body::new)).await;
                if response.extensions().get::<Lost>().is_some() {
                    let error = "the answer is lost on purpose";
                    return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
                }
                if response.extensions().get::<Unread>().is_some() {
                    link.linger();
                }
                let response = response.map(|bytes| Full::new(Sending::new(bytes, link)));
                drop(under_way);
                Ok(response)
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
        .header_read_timeout(patience.idle)
        .max_buf_size(LARGEST_HEAD)
        .keep_alive(!is_spare);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(LARGEST_HEAD).unwrap_or(u32::MAX))
        .max_concurrent_streams(256)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(PING);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stop = pin!(stopping.wait_for(|stopping| *stopping));
    let every = patience.head.min(patience.idle).min(patience.stalled) / 4;
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    let mut ending: Option<Instant> = None;
    loop {
        let verdict = tokio::select! {
            biased;
            // It ends in an error when the other side goes away, which is no news.
            _ = connection.as_mut() => return,
            _ = stop.as_mut(), if ending.is_none() => Verdict::Idle,
            now = ticks.tick() => link.judged(version, patience, ending, now),
        };
        match verdict {
            Verdict::Fine => {}
            Verdict::Idle if ending.is_some() => {}
            Verdict::Idle => {
                ending = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            Verdict::Hopeless => return,
        }
    }
}
