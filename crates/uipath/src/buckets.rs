//! Storage buckets (orchestrator-api 18). Files travel at addresses that the Orchestrator gives out: its token goes with them only where
//! it says so, because most of them belong to somebody else.

use std::sync::PoisonError;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::call::{Call, CallError};
use super::{Inner, Uipath};
use performer_core::model::bucket::{Bucket, FilePath, NewBucket, PathPrefix, content_type};
use performer_core::model::key::{BucketKey, FolderId};
use performer_core::orchestrator::{
    BucketAdministration, BucketFiles, ErrorKind, FileStream, OrchestratorError, Result,
};
use performer_wire::bucket::{
    BucketDto, FileAccessDto, ListedFileDto, ListedFilesDto, ShareBucketsRequest, full_path,
};
use performer_wire::filter::quoted;
use performer_wire::{Collection, Unreadable};

const PATH: &str = "/odata/Buckets";

/// The maximum number of pages of buckets.
const MAX_PAGES: usize = 100;

/// How many files are asked for at once.
const TAKE: &str = "1000";

/// The time limit for a whole file. One that stalls for as long as a request may take is given up before.
const FILE_LIMIT: Duration = Duration::from_secs(6 * 60 * 60);

fn action(id: impl std::fmt::Display, name: &str) -> String {
    format!("{PATH}({id})/UiPath.Server.Configuration.OData.{name}")
}

fn unreadable(error: &Unreadable) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Other, error.to_string())
}

fn no_bucket(name: &str) -> OrchestratorError {
    OrchestratorError::not_found(format!("bucket {name:?} does not exist"))
}

/// The error of a storage. Its address is not quoted: it has a right in it.
fn failed(error: reqwest::Error) -> OrchestratorError {
    let message = "the storage of the bucket cannot be reached, or broke off";
    OrchestratorError::new(ErrorKind::Unavailable, message).with_source(error.without_url())
}

/// What an answer of a storage says. A 401 or 403 is about the address, not about the token of the API.
fn checked(answer: Response, path: &FilePath) -> Result<Response> {
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let message =
        format!("the storage of the bucket answered {status} for file {path:?}", path = path.as_str());
    let kind = match status {
        StatusCode::NOT_FOUND => {
            return Err(OrchestratorError::not_found(format!("file {:?} does not exist", path.as_str())));
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ErrorKind::Unauthorized,
        StatusCode::CONFLICT => ErrorKind::Conflict,
        StatusCode::TOO_MANY_REQUESTS => ErrorKind::Unavailable,
        status if status.is_server_error() => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    Err(OrchestratorError::new(kind, message))
}

impl Inner {
    fn new_bucket_key(&self) -> BucketKey {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).bucket(self.now())
    }

    async fn buckets(&self) -> Result<Vec<Bucket>> {
        let call = Call::get("GetBuckets", PATH).query("$orderby", "Name");
        let rows: Vec<BucketDto> = self.http.rows(call, MAX_PAGES).await?;
        rows.into_iter().map(|row| row.into_bucket().map_err(|error| unreadable(&error))).collect()
    }

    async fn bucket(&self, name: &str) -> Result<Bucket> {
        let filter = format!("Name eq {}", quoted(name));
        let call = Call::get("GetBuckets", PATH).query("$filter", filter).query("$top", "1");
        let found: Collection<BucketDto> = self.http.json(call).await?;
        let found = found.value.into_iter().next().ok_or_else(|| no_bucket(name))?;
        found.into_bucket().map_err(|error| unreadable(&error))
    }

    async fn make_bucket(&self, mut new: NewBucket) -> Result<Bucket> {
        new.validate()?;
        // The API requires an identifier. With one of ours a bucket whose answer was lost is known again.
        let key = *new.key.get_or_insert_with(|| self.new_bucket_key());
        let name = new.name.clone();
        match self.http.json::<BucketDto>(Call::post("PostBucket", PATH, &BucketDto::of(&new))).await {
            Ok(made) => made.into_bucket().map_err(|error| unreadable(&error)),
            Err(CallError { error, maybe_executed: true }) => match self.bucket(&name).await {
                Ok(there) if there.key == key => Ok(there),
                _ => Err(error),
            },
            Err(refused) => Err(refused.error),
        }
    }

    async fn change_bucket(&self, name: &str, mut new: NewBucket) -> Result<Bucket> {
        new.validate()?;
        let there = self.bucket(name).await?;
        new.key.get_or_insert(there.key);
        let mut body = BucketDto::of(&new);
        body.id = Some(there.id.0);
        self.http.done(Call::put("PutBucket", format!("{PATH}({})", there.id), &body)).await?;
        self.bucket(&new.name).await
    }

    /// Whether an address is one of the Orchestrator's host.
    fn is_own_address(&self, address: &str) -> bool {
        let origin = |text: &str| reqwest::Url::parse(text).map(|url| url.origin()).ok();
        origin(address).is_some_and(|one| one.is_tuple() && Some(one) == origin(&self.http.address.base))
    }

    /// Sends a request to an address of a file.
    async fn at_address(
        &self,
        access: FileAccessDto,
        verb: &Method,
        body: Option<(reqwest::Body, HeaderMap)>,
    ) -> Result<Response> {
        let mut headers = HeaderMap::new();
        let given = access.headers.unwrap_or_default();
        for (name, value) in given.keys.iter().zip(&given.values) {
            let header =
                HeaderName::try_from(name.as_str()).ok().zip(HeaderValue::try_from(value.as_str()).ok());
            let unreadable = || {
                OrchestratorError::new(ErrorKind::Other, "the address of a file has headers that are none")
            };
            let (name, value) = header.ok_or_else(unreadable)?;
            headers.insert(name, value);
        }
        if access.requires_auth {
            // Only to the Orchestrator itself: whatever the answer says, nobody else gets the token.
            if !self.is_own_address(&access.uri) {
                let message = "the address of a file asks for the token and is not the Orchestrator's";
                return Err(OrchestratorError::new(ErrorKind::Other, message));
            }
            let authorization = self.http.identity.authorization(&self.http).await?;
            headers.insert(AUTHORIZATION, authorization.header);
        }
        let mut request = self.http.client.request(verb.clone(), &access.uri).timeout(FILE_LIMIT);
        if let Some((body, own)) = body {
            headers.extend(own);
            request = request.body(body);
        }
        request.headers(headers).send().await.map_err(failed)
    }
}

#[async_trait]
impl BucketAdministration for Uipath {
    async fn list_buckets(&self) -> Result<Vec<Bucket>> {
        self.inner.buckets().await
    }

    async fn get_bucket(&self, name: &str) -> Result<Bucket> {
        self.inner.bucket(name).await
    }

    async fn create_bucket(&self, bucket: NewBucket) -> Result<Bucket> {
        self.inner.make_bucket(bucket).await
    }

    async fn update_bucket(&self, name: &str, bucket: NewBucket) -> Result<Bucket> {
        self.inner.change_bucket(name, bucket).await
    }

    async fn delete_bucket(&self, name: &str) -> Result<()> {
        let id = self.inner.bucket(name).await?.id;
        match self.inner.http.done(Call::delete("DeleteBucket", format!("{PATH}({id})"))).await {
            Ok(()) => Ok(()),
            Err(CallError { error, maybe_executed: true }) if error.is_not_found() => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    async fn share_bucket(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()> {
        let ids = |folders: Vec<FolderId>| Some(folders.into_iter().map(|folder| folder.0).collect());
        let body = ShareBucketsRequest {
            bucket_ids: vec![self.inner.bucket(name).await?.id.0],
            to_add_folder_ids: ids(add),
            to_remove_folder_ids: ids(remove),
        };
        let path = format!("{PATH}/UiPath.Server.Configuration.OData.ShareToFolders");
        let call = Call::post("ShareBucketsToFolders", path, &body).repeatable();
        Ok(self.inner.http.done(call).await?)
    }

    async fn list_bucket_files(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<String>,
    ) -> Result<BucketFiles> {
        let prefix = PathPrefix::parse(prefix)?;
        let id = self.inner.bucket(bucket).await?.id;
        let mut call = Call::get("ListFiles", format!("/api/Buckets/{id}/ListFiles")).query("takeHint", TAKE);
        if !prefix.as_str().is_empty() {
            call = call.query("prefix", full_path(prefix.as_str()));
        }
        if let Some(after) = after {
            call = call.query("continuationToken", after);
        }
        let listed: ListedFilesDto = self.inner.http.json(call).await?;
        let files = listed.items.into_iter().map(ListedFileDto::into_file).collect();
        Ok(BucketFiles { files, next: listed.continuation_token })
    }

    async fn read_bucket_file(&self, bucket: &str, path: &str) -> Result<FileStream> {
        let path = FilePath::parse(path)?;
        let id = self.inner.bucket(bucket).await?.id;
        let call = Call::get("GetReadUri", action(id, "GetReadUri")).query("path", full_path(path.as_str()));
        let access: FileAccessDto = self.inner.http.json(call).await?;
        let answer = checked(self.inner.at_address(access, &Method::GET, None).await?, &path)?;
        Ok(Box::pin(answer.bytes_stream().map_err(failed)))
    }

    async fn write_bucket_file(
        &self,
        bucket: &str,
        path: &str,
        length: Option<u64>,
        content: FileStream,
    ) -> Result<()> {
        let path = FilePath::parse(path)?;
        let id = self.inner.bucket(bucket).await?.id;
        let kind = content_type(path.as_str());
        let call = Call::get("GetWriteUri", action(id, "GetWriteUri"))
            .query("path", full_path(path.as_str()))
            .query("contentType", kind);
        let access: FileAccessDto = self.inner.http.json(call).await?;
        let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        // The caller's own error is worth more than the one that follows from it.
        let (told, own_error) = std::sync::mpsc::channel();
        let pieces = content.map(move |piece| {
            piece.map_err(|error| {
                let _ = told.send(error.clone());
                std::io::Error::other(error)
            })
        });
        let body = reqwest::Body::wrap_stream(pieces);
        let answer = self.inner.at_address(access, &Method::PUT, Some((body, headers))).await;
        if let Ok(error) = own_error.try_recv() {
            return Err(error);
        }
        checked(answer?, &path).map(drop)
    }

    async fn delete_bucket_file(&self, bucket: &str, path: &str) -> Result<()> {
        let path = FilePath::parse(path)?;
        let id = self.inner.bucket(bucket).await?.id;
        let call =
            Call::delete("DeleteFile", action(id, "DeleteFile")).query("path", full_path(path.as_str()));
        Ok(self.inner.http.done(call).await?)
    }
}
