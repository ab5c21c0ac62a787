//! The body of a request: read as it comes, within limits of bytes, time and memory; and what is left of it when a
//! request was answered without it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::failure::Failure;
use super::room::Held;

/// The least memory that a body of several pieces gets, in bytes.
const PIECE: usize = 64 * 1024;

/// How much of a body that is not needed is read, in bytes, so that the connection can be used again.
const LARGEST_REST: u64 = 256 * 1024;
/// How long such a rest may take to come.
const REST_LIMIT: Duration = Duration::from_secs(1);

/// A body on its way.
pub(super) struct Incoming {
    body: Body,
    declared: Option<u64>,
    /// The client waits for "100 Continue" before it sends the body, which asking for the body makes hyper send.
    awaits_continue: bool,
}

impl Incoming {
    pub(super) fn new(head: &Parts, body: Body) -> Self {
        let declared = body.size_hint().exact();
        let awaits_continue = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body, declared, awaits_continue }
    }

    /// Whether there is nothing, or nothing more, to read.
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The whole body. What it needs of memory is added to `held` as the bytes come.
    ///
    /// # Errors
    ///
    /// 413 for more than `largest` bytes, 408 when it does not come within `limit`, 503 when there is no memory for it.
    pub(super) async fn read(
        &mut self,
        largest: usize,
        limit: Duration,
        held: &mut Held,
    ) -> Result<Bytes, Failure> {
        if self.is_over() {
            return Ok(Bytes::new());
        }
        let declared = self.declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > largest) {
            return Err(too_large(largest));
        }
        // What there is no memory for now is refused before it is sent.
        if declared.is_some_and(|bytes| !held.could_grow(bytes)) {
            return Err(Failure::unavailable());
        }
        let read = tokio::time::timeout(limit, self.collect(largest, declared, held)).await;
        read.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, 0, "The request took too long to come."))?
    }

    async fn collect(
        &mut self,
        largest: usize,
        declared: Option<usize>,
        held: &mut Held,
    ) -> Result<Bytes, Failure> {
        let mut first = Bytes::new();
        // Pieces are copied together: a piece of one byte that is kept by itself costs many times its size.
        let mut whole: Vec<u8> = Vec::new();
        while let Some(frame) = self.body.frame().await {
            self.awaits_continue = false;
            let frame = frame.map_err(|_| Failure::invalid("The body could not be read."))?;
            let Ok(piece) = frame.into_data() else { continue }; // trailers mean nothing here
            let length = first.len().max(whole.len());
            if piece.len() > largest.saturating_sub(length) {
                return Err(too_large(largest));
            }
            if length == 0 {
                if !held.grow(piece.len()) {
                    return Err(Failure::unavailable());
                }
                first = piece;
                continue;
            }
            let needed = length + piece.len();
            if needed > whole.capacity() {
                let most = declared.unwrap_or(largest).max(needed);
                let capacity = needed.max(2 * whole.capacity()).max(PIECE).min(most);
                if !held.grow(capacity - whole.capacity()) {
                    return Err(Failure::unavailable());
                }
                whole.reserve_exact(capacity - whole.len());
            }
            if whole.is_empty() {
                whole.extend_from_slice(&first);
                first = Bytes::new();
            }
            whole.extend_from_slice(&piece);
        }
        Ok(if whole.is_empty() { first } else { whole.into() })
    }

    /// Reads what is left of the body and throws it away, when it is little and comes soon. `false`: it is not over, and
    /// the connection cannot be used for another request.
    pub(super) async fn finish(mut self) -> bool {
        if self.is_over() {
            return true;
        }
        // A client that waits may never send its body.
        if self.awaits_continue || self.body.size_hint().lower() > LARGEST_REST {
            return false;
        }
        let rest = async {
            let mut bytes = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                if bytes > LARGEST_REST {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(REST_LIMIT, rest).await.unwrap_or(false)
    }
}

fn too_large(largest: usize) -> Failure {
    Failure::new(StatusCode::PAYLOAD_TOO_LARGE, 0, format!("The body is larger than {largest} bytes."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::Request;
    use futures_util::{StreamExt as _, stream};
    use prometheus_client::metrics::gauge::Gauge;

    use super::super::room::{Owner, Room};
    use super::*;

    const MIB: usize = 1024 * 1024;
    const LIMIT: Duration = Duration::from_secs(30);

    fn room(most: usize) -> (Arc<Room>, Gauge) {
        let gauge = Gauge::default();
        (Room::new(most, gauge.clone()), gauge)
    }

    fn coming(body: Body) -> Incoming {
        let (head, body) = Request::new(body).into_parts();
        Incoming::new(&head, body)
    }

    fn pieces(count: usize, size: usize) -> Body {
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(vec![b'x'; size]))))
    }

    #[tokio::test]
    async fn pieces_become_one_body_and_cost_what_they_are() {
        let (room, gauge) = room(64 * MIB);
        for (count, size) in [(0, 1), (1, 1), (1, MIB), (2, 1), (100_000, 1), (300, 4_096)] {
            let mut held = room.account(Owner::User(1));
            let body = coming(pieces(count, size)).read(4 * MIB, LIMIT, &mut held).await.unwrap();
            assert_eq!(body.len(), count * size);
            assert!(body.iter().all(|byte| *byte == b'x'));
            let held = usize::try_from(gauge.get()).unwrap();
            assert!(held >= body.len() && held <= 2 * body.len() + PIECE, "{count} × {size}: {held}");
        }
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn a_body_that_is_too_large_is_refused_as_soon_as_that_is_known() {
        let (room, _) = room(64 * MIB);
        let mut held = room.account(Owner::User(1));
        let declared = coming(Body::from(vec![0; 1_001])).read(1_000, LIMIT, &mut held).await;
        assert_eq!(declared.unwrap_err().status, 413);
        for (count, size) in [(1, 1_001), (2, 501), (1_001, 1)] {
            let came = coming(pieces(count, size)).read(1_000, LIMIT, &mut held).await;
            assert_eq!(came.unwrap_err().status, 413, "{count} × {size}");
        }
        assert_eq!(coming(pieces(1_000, 1)).read(1_000, LIMIT, &mut held).await.unwrap().len(), 1_000);
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_do_not_come_hold_no_memory() {
        let (room, gauge) = room(64 * MIB);
        let mut slow = Vec::new();
        for _ in 0..100 {
            let room = room.clone();
            slow.push(tokio::spawn(async move {
                let one = stream::iter([Ok::<_, std::io::Error>(vec![b'x'])]).chain(stream::pending());
                let mut held = room.account(Owner::User(1));
                coming(Body::from_stream(one)).read(64 * MIB, LIMIT, &mut held).await
            }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(gauge.get(), 100);
        let mut held = room.account(Owner::User(2));
        assert!(coming(pieces(10, MIB)).read(64 * MIB, LIMIT, &mut held).await.is_ok());
        for task in slow {
            assert_eq!(task.await.unwrap().unwrap_err().status, 408);
        }
    }

    #[tokio::test]
    async fn more_than_the_share_of_a_caller_is_refused() {
        let (room, gauge) = room(16 * MIB);
        let mut held = room.account(Owner::User(1));
        for body in [Body::from(vec![0; 9 * MIB]), pieces(9, MIB)] {
            let refused = coming(body).read(64 * MIB, LIMIT, &mut held).await.unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.retry_after), (503, Some(1)));
            held.set(0);
        }
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_rest_is_read_and_a_large_or_slow_one_is_not() {
        assert!(coming(Body::empty()).finish().await);
        assert!(coming(Body::from("x")).finish().await);
        assert!(coming(pieces(100, 1_000)).finish().await);
        assert!(!coming(pieces(300, 1_000)).finish().await);
        assert!(!coming(Body::from(vec![0; 300_000])).finish().await);
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        assert!(!coming(Body::from_stream(never)).finish().await);
        let request = Request::builder().header("expect", "100-continue").body(Body::from("x")).unwrap();
        let (head, body) = request.into_parts();
        assert!(!Incoming::new(&head, body).finish().await);
    }
}
