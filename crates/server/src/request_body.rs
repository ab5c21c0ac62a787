//! The body of a request: read within limits of size, time and memory, or discarded if the response did not need it.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use super::api_error::ApiError;
use super::memory_budget::Reservation;

/// The initial buffer of a body that arrives in several pieces, in bytes.
const MIN_BUFFER: usize = 64 * 1024;

/// How much of an unneeded body is read and discarded, in bytes, so that the connection can be reused.
const MAX_DISCARDED: u64 = 256 * 1024;
/// The timeout for discarding it.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// A body that has not been read yet.
pub(super) struct RequestBody {
    body: Body,
    declared: Option<u64>,
    /// The client waits for "100 Continue", which hyper sends when the body is first polled.
    awaits_continue: bool,
}

impl RequestBody {
    pub(super) fn new(head: &Parts, body: Body) -> Self {
        let declared = body.size_hint().exact();
        let awaits_continue = head
            .headers
            .get(header::EXPECT)
            .is_some_and(|expect| expect.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        Self { body, declared, awaits_continue }
    }

    /// Whether the body was read to its end or is empty.
    pub(super) fn is_complete(&self) -> bool {
        self.body.is_end_stream()
    }

    /// Reads the whole body. `reservation` grows as the bytes arrive.
    ///
    /// # Errors
    ///
    /// 413 for more than `max` bytes, 408 if it does not arrive within `limit`, 503 without memory for it.
    pub(super) async fn read(
        &mut self,
        max: usize,
        limit: Duration,
        reservation: &mut Reservation,
    ) -> Result<Bytes, ApiError> {
        if self.is_complete() {
            return Ok(Bytes::new());
        }
        let declared = self.declared.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if declared.is_some_and(|bytes| bytes > max) {
            return Err(too_large(max));
        }
        // Without memory for its declared length, the body is refused before the client sends it.
        if declared.is_some_and(|bytes| !reservation.can_grow(bytes)) {
            return Err(ApiError::unavailable());
        }
        let read = tokio::time::timeout(limit, self.collect(max, declared, reservation)).await;
        read.map_err(|_| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, 0, "The request body did not arrive in time.")
        })?
    }

    /// Refuses a body that says that it is longer.
    ///
    /// # Errors
    ///
    /// 413 for more than `max` bytes.
    pub(super) fn check_declared(&self, max: u64) -> Result<(), ApiError> {
        if self.declared.is_some_and(|bytes| bytes > max) { Err(too_large(max)) } else { Ok(()) }
    }

    /// The next piece of a body of which `before` bytes were read; `None` at its end.
    ///
    /// # Errors
    ///
    /// 413 for more than `max` bytes in all, 408 if the piece does not arrive within `limit`.
    pub(super) async fn next_piece(
        &mut self,
        max: u64,
        before: u64,
        limit: Duration,
    ) -> Result<Option<Bytes>, ApiError> {
        let next = async {
            while let Some(frame) = self.body.frame().await {
                self.awaits_continue = false;
                let frame = frame.map_err(|_| ApiError::invalid("The body could not be read."))?;
                let Ok(piece) = frame.into_data() else { continue }; // trailers are ignored
                if piece.len() as u64 > max.saturating_sub(before) {
                    return Err(too_large(max));
                }
                return Ok(Some(piece));
            }
            Ok(None)
        };
        tokio::time::timeout(limit, next).await.map_err(|_| {
            ApiError::new(StatusCode::REQUEST_TIMEOUT, 0, "The request body did not arrive in time.")
        })?
    }

    async fn collect(
        &mut self,
        max: usize,
        declared: Option<usize>,
        reservation: &mut Reservation,
    ) -> Result<Bytes, ApiError> {
        let mut first = Bytes::new();
        // Pieces are copied into one buffer: a one-byte piece costs many times its size.
        let mut whole: Vec<u8> = Vec::new();
        while let Some(frame) = self.body.frame().await {
            self.awaits_continue = false;
            let frame = frame.map_err(|_| ApiError::invalid("The body could not be read."))?;
            let Ok(piece) = frame.into_data() else { continue }; // trailers are ignored
            let length = first.len().max(whole.len());
            if piece.len() > max.saturating_sub(length) {
                return Err(too_large(max));
            }
            if length == 0 {
                if !reservation.grow(piece.len()) {
                    return Err(ApiError::unavailable());
                }
                first = piece;
                continue;
            }
            let needed = length + piece.len();
            if needed > whole.capacity() {
                let max_capacity = declared.unwrap_or(max).max(needed);
                let capacity = needed.max(2 * whole.capacity()).max(MIN_BUFFER).min(max_capacity);
                if !reservation.grow(capacity - whole.capacity()) {
                    return Err(ApiError::unavailable());
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

    /// Reads and discards the rest of the body if it is small and arrives quickly. `false`: the body is not complete, and
    /// the connection cannot be reused.
    pub(super) async fn discard_rest(mut self) -> bool {
        if self.is_complete() {
            return true;
        }
        // A client that waits for "100 Continue" may never send its body.
        if self.awaits_continue || self.body.size_hint().lower() > MAX_DISCARDED {
            return false;
        }
        let rest = async {
            let mut bytes = 0;
            while let Some(frame) = self.body.frame().await {
                let Ok(frame) = frame else { return false };
                bytes += frame.data_ref().map_or(0, Bytes::len) as u64;
                if bytes > MAX_DISCARDED {
                    return false;
                }
            }
            true
        };
        tokio::time::timeout(DISCARD_TIMEOUT, rest).await.unwrap_or(false)
    }
}

fn too_large(max: impl std::fmt::Display) -> ApiError {
    ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, 0, format!("The body is larger than {max} bytes."))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::Request;
    use futures_util::{StreamExt as _, stream};
    use prometheus_client::metrics::gauge::Gauge;

    use super::super::memory_budget::{BudgetOwner, MemoryBudget};
    use super::*;

    const MIB: usize = 1024 * 1024;
    const LIMIT: Duration = Duration::from_secs(30);

    fn budget(max: usize) -> (Arc<MemoryBudget>, Gauge) {
        let gauge = Gauge::default();
        (MemoryBudget::new(max, gauge.clone()), gauge)
    }

    fn request_body(body: Body) -> RequestBody {
        let (head, body) = Request::new(body).into_parts();
        RequestBody::new(&head, body)
    }

    fn pieces(count: usize, size: usize) -> Body {
        Body::from_stream(stream::iter((0..count).map(move |_| Ok::<_, std::io::Error>(vec![b'x'; size]))))
    }

    #[tokio::test]
    async fn pieces_are_joined_and_counted_once() {
        let (budget, gauge) = budget(64 * MIB);
        for (count, size) in [(0, 1), (1, 1), (1, MIB), (2, 1), (100_000, 1), (300, 4_096)] {
            let mut reservation = budget.reservation(BudgetOwner::User(1));
            let body =
                request_body(pieces(count, size)).read(4 * MIB, LIMIT, &mut reservation).await.unwrap();
            assert_eq!(body.len(), count * size);
            assert!(body.iter().all(|byte| *byte == b'x'));
            let reserved = usize::try_from(gauge.get()).unwrap();
            assert!(
                reserved >= body.len() && reserved <= 2 * body.len() + MIN_BUFFER,
                "{count} × {size}: {reserved}"
            );
        }
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_early() {
        let (budget, _) = budget(64 * MIB);
        let mut reservation = budget.reservation(BudgetOwner::User(1));
        let declared = request_body(Body::from(vec![0; 1_001])).read(1_000, LIMIT, &mut reservation).await;
        assert_eq!(declared.unwrap_err().status, 413);
        for (count, size) in [(1, 1_001), (2, 501), (1_001, 1)] {
            let result = request_body(pieces(count, size)).read(1_000, LIMIT, &mut reservation).await;
            assert_eq!(result.unwrap_err().status, 413, "{count} × {size}");
        }
        assert_eq!(
            request_body(pieces(1_000, 1)).read(1_000, LIMIT, &mut reservation).await.unwrap().len(),
            1_000
        );
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_that_do_not_arrive_reserve_no_memory() {
        let (budget, gauge) = budget(64 * MIB);
        let mut slow = Vec::new();
        for _ in 0..100 {
            let budget = budget.clone();
            slow.push(tokio::spawn(async move {
                let one = stream::iter([Ok::<_, std::io::Error>(vec![b'x'])]).chain(stream::pending());
                let mut reservation = budget.reservation(BudgetOwner::User(1));
                request_body(Body::from_stream(one)).read(64 * MIB, LIMIT, &mut reservation).await
            }));
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(gauge.get(), 100);
        let mut reservation = budget.reservation(BudgetOwner::User(2));
        assert!(request_body(pieces(10, MIB)).read(64 * MIB, LIMIT, &mut reservation).await.is_ok());
        for task in slow {
            assert_eq!(task.await.unwrap().unwrap_err().status, 408);
        }
    }

    #[tokio::test]
    async fn a_body_over_the_share_of_its_caller_is_refused() {
        let (budget, gauge) = budget(16 * MIB);
        let mut reservation = budget.reservation(BudgetOwner::User(1));
        for body in [Body::from(vec![0; 9 * MIB]), pieces(9, MIB)] {
            let refused = request_body(body).read(64 * MIB, LIMIT, &mut reservation).await.unwrap_err();
            assert_eq!((refused.status.as_u16(), refused.retry_after), (503, Some(1)));
            reservation.set(0);
        }
        assert_eq!(gauge.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_small_rest_is_discarded_and_a_large_or_slow_one_is_not() {
        assert!(request_body(Body::empty()).discard_rest().await);
        assert!(request_body(Body::from("x")).discard_rest().await);
        assert!(request_body(pieces(100, 1_000)).discard_rest().await);
        assert!(!request_body(pieces(300, 1_000)).discard_rest().await);
        assert!(!request_body(Body::from(vec![0; 300_000])).discard_rest().await);
        let never = stream::pending::<Result<Vec<u8>, std::io::Error>>();
        assert!(!request_body(Body::from_stream(never)).discard_rest().await);
        let request = Request::builder().header("expect", "100-continue").body(Body::from("x")).unwrap();
        let (head, body) = request.into_parts();
        assert!(!RequestBody::new(&head, body).discard_rest().await);
    }
}
