//! A proxy before the database may give each transaction another connection (PgBouncer's `pool_mode=transaction`).
//!
//! What belongs to a connection is then nobody's: a statement that was prepared is not there in the next transaction, or another
//! process's statement of the same name is; what is listened for is told to somebody else. What belongs to a transaction is
//! as ever. So behind a proxy statements are not kept and nothing is listened for; nothing else is different.
//!
//! Nobody says that there is a proxy, and trying it out would be luck: it may give the same connection ten times. But it has
//! one connection for many clients, so it cannot pass on the number of the server's process by which a client cancels a
//! statement, and gives its own. The server says the true one when it is asked.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Statement};

use super::session::{SqlResult, Values};

/// Whether somebody else than a server of PostgreSQL answers. `process`: the number that the server says it has.
pub(super) async fn is_pooled(client: &Client, process: i32) -> SqlResult<bool> {
    Ok(advertised_process(client).await? != process)
}

/// The number of the process that this connection was told when it was made. It is shown in nothing but the request that
/// cancels a statement; so such a request is written down, and not sent.
async fn advertised_process(client: &Client) -> SqlResult<i32> {
    let written = CapturedRequest::default();
    client.cancel_token().cancel_query_raw(written.clone(), PlainStream).await?;
    let bytes = written.0.lock().unwrap_or_else(PoisonError::into_inner);
    // Its length and its code, the number, a secret.
    let number = bytes.last_chunk::<16>().map(|request| [request[8], request[9], request[10], request[11]]);
    Ok(number.map_or(0, i32::from_be_bytes))
}

/// What is written to it is kept. Whoever asks it whether it knows TLS, it tells yes.
#[derive(Clone, Debug, Default)]
struct CapturedRequest(Arc<Mutex<Vec<u8>>>);

/// TLS that is none.
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

/// A statement that a session knows.
#[derive(Clone)]
pub(super) enum Prepared {
    /// The server has it.
    Kept(Statement),
    /// The server is told it each time, and what its values are.
    Typed(TypedStatement),
}

impl Prepared {
    /// What its values are.
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
    /// Asks the server what the values of a statement are. To be asked inside a transaction: the statement is prepared for
    /// that, and gone before anybody else has the connection. Its name is one that nobody else gives; those of the
    /// library are counted from 0 in every process.
    pub(super) async fn learn(client: &Client, sql: &str) -> SqlResult<Self> {
        let mut of = Vec::new();
        // Where there are none it may be before the transaction, and nothing is asked.
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
