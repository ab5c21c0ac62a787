//! Connections through a pooler that gives each transaction another connection (PgBouncer's `pool_mode=transaction`).
//!
//! State of a connection is lost then: a prepared statement is missing in the next transaction, or is another client's
//! of the same name; notifications reach another client. State of a transaction is safe. So behind a pooler statements
//! are not kept and nothing is listened for; nothing else is different.
//!
//! A pooler does not announce itself, and a test would not be reliable: the same connection may be given ten times. But
//! a pooler shares connections among clients, so it cannot forward the number of the server process by which a client
//! cancels a statement, and advertises a number of its own. The server returns the true one in a query.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::session::{SqlResult, Values};

/// Whether a pooler answers, and not a server of PostgreSQL. `process`: the number that the server returned in a query.
pub(super) async fn is_pooled(client: &Client, process: i32) -> SqlResult<bool> {
    Ok(advertised_process(client).await? != process)
}

/// The process number that was advertised when the connection was made. The library shows it only in a cancel request;
/// so such a request is captured, and not sent.
async fn advertised_process(client: &Client) -> SqlResult<i32> {
    let written = CapturedRequest::default();
    client.cancel_token().cancel_query_raw(written.clone(), PlainStream).await?;
    let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner);
    // Length, code, process number, secret.
    let number = bytes.last_chunk::<16>().map(|request| [request[8], request[9], request[10], request[11]]);
    Ok(number.map_or(0, i32::from_be_bytes))
}

/// A stream that captures what is written. Answers a request for TLS with yes.
#[derive(Clone, Debug, Default)]
struct CapturedRequest(Arc<Mutex<Vec<u8>>>);

/// TLS that does nothing.
struct PlainStream;

impl TlsConnect<CapturedRequest> for PlainStream {
    type Stream = CapturedRequest;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<CapturedRequest>>;

    fn connect(self, stream: CapturedRequest) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}

impl TlsStream for CapturedRequest {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for CapturedRequest {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        into.put_slice(b"S");
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for CapturedRequest {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A prepared statement of a session.
#[derive(Clone)]
pub(super) enum Prepared {
    /// The server keeps it.
    Kept(Statement),
    /// It is sent each time, with the types of its values.
    Typed(TypedStatement),
}

impl Prepared {
    /// The types of its values.
    pub(super) fn types(&self) -> &[Type] {
        match self {
            Self::Kept(statement) => statement.params(),
            Self::Typed(typed) => &typed.of,
        }
    }
}

#[derive(Clone)]
pub(super) struct TypedStatement {
    sql: Arc<str>,
    of: Arc<[Type]>,
}

impl TypedStatement {
    /// Asks the server for the types of a statement's values. Only inside a transaction: the statement is prepared for
    /// that, and deallocated before another client gets the connection. With a name that no other client uses; the
    /// library's own names are counted from 0 in every process.
    pub(super) async fn learn(client: &Client, sql: &str) -> SqlResult<Self> {
        let mut of = Vec::new();
        // Without values it may be outside a transaction, and nothing is asked.
        if sql.contains('$') {
            let name = format!("performer_{:016x}", fastrand::u64(..));
            let (prepare, forget) = (format!("PREPARE {name} AS {sql}"), format!("DEALLOCATE {name}"));
            let types = format!(
                "SELECT unnest(parameter_types::oid[]) FROM pg_prepared_statements WHERE name = '{name}'"
            );
            let (prepared, typed, forgotten) = tokio::join!(
                client.batch_execute(&prepare),
                client.query_typed(&types, &[]),
                client.batch_execute(&forget)
            );
            prepared?;
            for row in typed? {
                of.push(Type::from_oid(row.try_get(0)?).unwrap_or(Type::UNKNOWN));
            }
            forgotten?;
        }
        Ok(Self { sql: sql.into(), of: of.into() })
    }

    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    pub(super) fn bound<'a>(&self, values: Values<'a>) -> Vec<(&'a (dyn ToSql + Sync), Type)> {
        values.iter().copied().zip(self.of.iter().cloned()).collect()
    }
}
