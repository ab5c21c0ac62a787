//! Low-level clients that send exact bytes: HTTP/1.1 with keep-alive, and HTTP/2 frames.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The timeout for something that should happen at once.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// An HTTP/1.1 response.
#[derive(Debug)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// An HTTP/1.1 client with keep-alive like Python's `http.client`: it sends head and body separately, and connects again only
/// after `Connection: close`.
pub(crate) struct KeepAliveClient {
    address: String,
    stream: Option<TcpStream>,
    pub(crate) connections: usize,
}

impl KeepAliveClient {
    pub(crate) fn new(url: &str) -> Self {
        Self { address: url.strip_prefix("http://").unwrap().to_owned(), stream: None, connections: 0 }
    }

    /// Sends a request. An error if the connection ends without a response.
    pub(crate) async fn request(&mut self, head: &str, body: &[u8]) -> Result<HttpResponse, String> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => {
                self.connections += 1;
                let stream = TcpStream::connect(&self.address).await.unwrap();
                stream.set_nodelay(true).unwrap();
                stream
            }
        };
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body).await
        };
        // The server may close the connection before the body is sent; the response can still be read.
        let sent = sent.await;
        let answer =
            tokio::time::timeout(TIMEOUT, read_response(&mut stream, head.starts_with("HEAD "))).await;
        let answer = answer.map_err(|_| "no answer came".to_owned())?;
        let answer = answer.ok_or_else(|| format!("the connection ended before the answer ({sent:?})"))?;
        if answer.headers.get("connection").is_none_or(|connection| connection != "close") {
            self.stream = Some(stream);
        }
        Ok(answer)
    }
}

/// Reads the next response; `None` if the stream ends before it.
pub(crate) async fn read_response(
    stream: &mut (impl tokio::io::AsyncRead + Unpin),
    is_head: bool,
) -> Option<HttpResponse> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        bytes.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(bytes).unwrap();
    let mut lines = text.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; if is_head || status == 204 { 0 } else { length }];
    stream.read_exact(&mut body).await.ok()?;
    Some(HttpResponse { status, headers, body: String::from_utf8(body).unwrap() })
}

/// A connection from another address of this machine.
pub(crate) async fn connect_from(from: &str, url: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(format!("{from}:0").parse().unwrap())?;
    socket.connect(url.strip_prefix("http://").unwrap().parse().unwrap()).await
}

/// A certificate for localhost, with its key, in a folder.
pub(crate) struct Certificate {
    pub(crate) folder: tempfile::TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Self { folder, der: made.cert.der().clone() }
    }

    /// Connects by TLS and negotiates HTTP/2.
    pub(crate) async fn connect(&self, url: &str) -> TlsStream<TcpStream> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
    }
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The increment of the connection's window.
    pub(crate) fn more_window(&self) -> usize {
        match (self.kind, self.stream) {
            (WINDOW_UPDATE, 0) => u32::from_be_bytes(self.payload[..4].try_into().unwrap()) as usize,
            _ => 0,
        }
    }
}

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const ACK: u8 = 1;

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The HTTP/2 connection preface, with the initial window of streams.
pub(crate) fn preface(window: u32) -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let mut setting = vec![0, 4];
    setting.extend(window.to_be_bytes());
    bytes.extend(frame(SETTINGS, 0, 0, &setting));
    bytes
}

/// Encodes headers as literals without indexing (RFC 7541, section 6.2.2).
pub(crate) fn headers(list: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let text = |bytes: &mut Vec<u8>, text: &str| {
        assert!(text.len() < 127 + 128, "two bytes of length are enough here");
        match u8::try_from(text.len()).unwrap() {
            length @ 0..127 => bytes.push(length),
            length => bytes.extend([127, length - 127]),
        }
        bytes.extend(text.as_bytes());
    };
    for (name, value) in list {
        bytes.push(0);
        text(&mut bytes, name);
        text(&mut bytes, value);
    }
    bytes
}

/// Reads the next frame; `None` if the connection ends.
pub(crate) async fn read_frame(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Option<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let mut payload = vec![0; length as usize];
    stream.read_exact(&mut payload).await.ok()?;
    let of = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    Some(Frame { kind: head[3], flags: head[4], stream: of, payload })
}

/// Whether a response has this status. Common statuses are encoded by an index.
pub(crate) fn has_status(frame: &Frame, status: u16) -> bool {
    let indexed = [(200, 0x88), (204, 0x89), (400, 0x8c), (404, 0x8d), (500, 0x8e)];
    match indexed.iter().find(|(known, _)| *known == status) {
        Some((_, index)) => frame.payload.first() == Some(index),
        // A literal with the name of index 8 to 14; digits are five or six bits long in Huffman's code.
        None => frame.payload.first().is_some_and(|first| first & 0x80 == 0 || *first >= 0xbe),
    }
}
