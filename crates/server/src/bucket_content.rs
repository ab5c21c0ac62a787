//! The content of files at signed addresses of this server: `{base}/api/BucketFiles/{bucket}/Content?…`. No token is asked for. An address
//! is for one path, one verb and a time; its signature is over all of them, by a key that all servers of a store share.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, Method, Response, StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;
use jiff::SignedDuration;
use ring::hmac;

use super::Inner;
use super::api_error::ApiError;
use super::memory_budget::BudgetOwner;
use super::request_body::RequestBody;
use super::request_head;
use super::response::{StreamedBody, build_response};
use super::router::RequestPath;
use super::secret;
use performer_core::model::bucket::{BucketId, FilePath, content_type};
use performer_core::model::key::FolderId;
use performer_store::{AddressUse, BucketSelector, OpenFile, Store};

/// The entity and the action of the path, in lower case.
const ENTITY: &str = "api/bucketfiles";
const ACTION: &str = "content";

/// What an address is for.
pub(super) struct SignedFile {
    pub(super) folder: FolderId,
    pub(super) bucket: BucketId,
    pub(super) path: FilePath,
    pub(super) address_use: AddressUse,
}

impl SignedFile {
    /// What is signed. No part of it can have a line break.
    fn text(&self, expires: i64) -> String {
        let Self { folder, bucket, path, address_use } = self;
        format!("performer file 1\n{}\n{folder}\n{bucket}\n{expires}\n{path}", verb(*address_use))
    }
}

fn verb(address_use: AddressUse) -> &'static str {
    match address_use {
        AddressUse::Read => "GET",
        AddressUse::Write => "PUT",
    }
}

/// The key of the store, which is made when the first address is given out.
async fn key(server: &Inner) -> Result<&hmac::Key, ApiError> {
    let read = async || {
        let candidate = secret::new_secret()?;
        let kept = server.store.signing_key(&candidate).await?;
        Ok::<_, ApiError>(hmac::Key::new(hmac::HMAC_SHA256, kept.as_bytes()))
    };
    server.file_signing.get_or_try_init(read).await
}

/// The address of a file.
pub(super) async fn uri(
    server: &Inner,
    base: &str,
    file: &SignedFile,
    valid_for: Duration,
) -> Result<String, ApiError> {
    let valid_for =
        SignedDuration::try_from(valid_for).map_err(|error| ApiError::internal(error.to_string()))?;
    let expires = server.clock.now().checked_add(valid_for);
    let expires = expires.map_err(|error| ApiError::internal(error.to_string()))?.as_second();
    let signature = hmac::sign(key(server).await?, file.text(expires).as_bytes());
    let query = form_urlencoded::Serializer::new(String::new())
        .append_pair("path", file.path.as_str())
        .append_pair("folder", &file.folder.to_string())
        .append_pair("verb", verb(file.address_use))
        .append_pair("expires", &expires.to_string())
        .append_pair("signature", &URL_SAFE_NO_PAD.encode(signature))
        .finish();
    Ok(format!("{base}/api/BucketFiles/{}/Content?{query}", file.bucket))
}

/// Whether a path is that of the content of a file.
pub(super) fn owns(target: &RequestPath) -> bool {
    target.entity == ENTITY && target.action == ACTION && target.key.is_some()
}

/// The one answer to an address that is wrong in any way, or not valid any more.
fn not_valid() -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, 0, "This address is not valid, or not any more: ask for a new one.")
}

/// Reads and checks an address.
async fn checked(server: &Inner, target: &RequestPath, head: &Parts) -> Result<SignedFile, ApiError> {
    let query = request_head::query(&head.uri)?;
    let value = |name: &str| query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<i64>().ok()).ok_or_else(not_valid);
    let address_use = match value("verb") {
        Some("GET") => AddressUse::Read,
        Some("PUT") => AddressUse::Write,
        _ => return Err(not_valid()),
    };
    let file = SignedFile {
        folder: FolderId(number(value("folder"))?),
        bucket: BucketId(number(target.key.as_deref())?),
        path: FilePath::parse(value("path").unwrap_or_default()).map_err(|_| not_valid())?,
        address_use,
    };
    let expires = number(value("expires"))?;
    let signature = value("signature").and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    let signature = signature.ok_or_else(not_valid)?;
    // In constant time.
    let verified = hmac::verify(key(server).await?, file.text(expires).as_bytes(), &signature);
    if verified.is_err() || expires <= server.clock.now().as_second() {
        return Err(not_valid());
    }
    let allowed = match (address_use, &head.method) {
        (AddressUse::Read, method) => request_head::is_read_only(method),
        (AddressUse::Write, method) => *method == Method::PUT,
    };
    if !allowed {
        let mut failure =
            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, 0, "This address is for another method.");
        failure.allow = Some(if address_use == AddressUse::Read { "GET, HEAD" } else { "PUT" }.to_owned());
        return Err(failure);
    }
    Ok(file)
}

/// Handles a request at a signed address.
pub(super) async fn handle(
    server: &Inner,
    target: &RequestPath,
    head: &Parts,
    body: &mut RequestBody,
    from: IpAddr,
) -> Result<Response<Bytes>, ApiError> {
    let file = checked(server, target, head).await?;
    let _permit = server.requests.try_acquire().map_err(|_| ApiError::unavailable())?;
    let store = server.store.in_scope(file.folder, None);
    match file.address_use {
        AddressUse::Read => read(&store, &file).await,
        AddressUse::Write => write(server, &store, &file, body, from).await,
    }
}

async fn read(store: &Store, file: &SignedFile) -> Result<Response<Bytes>, ApiError> {
    let bucket = store.find_bucket(BucketSelector::Id(file.bucket)).await?;
    let opened = store.read_file(&bucket, &file.path).await?;
    Ok(download(opened, file.path.name()))
}

/// A response with a file, piece by piece. Browsers save it: what people put into a bucket does not run as a page of this server.
pub(super) fn download(opened: OpenFile, name: &str) -> Response<Bytes> {
    let OpenFile { file, content } = opened;
    // A body that ends before its length closes the connection: no client takes it for the whole file.
    let pieces = content.scan((), |(), piece| {
        let piece = piece
            .map_err(|error| tracing::error!(error = ?error, "a file could not be read to its end"))
            .ok();
        std::future::ready(piece)
    });
    let mut response = build_response(StatusCode::OK, "", Bytes::new());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(name)));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(file.size));
    let name = percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC);
    if let Ok(saved_as) = HeaderValue::from_str(&format!("attachment; filename*=UTF-8''{name}")) {
        headers.insert(header::CONTENT_DISPOSITION, saved_as);
    }
    headers.insert(
        HeaderName::from_static("content-security-policy"),
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    response.extensions_mut().insert(StreamedBody::new(pieces));
    response
}

async fn write(
    server: &Inner,
    store: &Store,
    file: &SignedFile,
    body: &mut RequestBody,
    from: IpAddr,
) -> Result<Response<Bytes>, ApiError> {
    let most = server.config.max_file;
    body.check_declared(most)?;
    let bucket = store.find_bucket(BucketSelector::Id(file.bucket)).await?;
    let mut writer = store.write_file(&bucket, &file.path).await?;
    let mut reservation = server.memory.reservation(BudgetOwner::of_network(from));
    if !reservation.grow(writer.memory()) {
        return Err(ApiError::unavailable());
    }
    while let Some(piece) = body.next_piece(most, writer.written(), server.config.request_limit).await? {
        writer.write(piece).await?;
    }
    writer.finish().await?;
    Ok(build_response(StatusCode::CREATED, "", Bytes::new()))
}
