//! The files of buckets.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::StreamExt as _;

use super::super::Store;
use super::super::buckets::{BucketSelector, FileAct, files_of};
use super::{AddressUse, FileWriter, OpenFile, StorageAddress, StoredFile};
use performer_core::model::Refusal;
use performer_core::model::bucket::{
    Bucket, BucketFile, BucketOptions, FilePath, NewBucket, PathPrefix, content_type,
};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{
    BucketAdministration, BucketFiles, FileStream, OrchestratorError, Result,
};

/// How many files a part of a list has.
const LISTED_AT_ONCE: usize = 1_000;

fn stored(bucket: &Bucket, path: &FilePath) -> String {
    format!("{}{path}", files_of(bucket.key))
}

fn in_bucket(bucket: &Bucket, file: &StoredFile) -> BucketFile {
    let path = file.path.strip_prefix(&files_of(bucket.key)).unwrap_or(&file.path);
    BucketFile::new(path, file.size, file.modified)
}

/// Errors name paths of buckets, not of the storage.
fn named(bucket: &Bucket, error: &OrchestratorError) -> OrchestratorError {
    let place = files_of(bucket.key);
    error.clone().reworded(error.kind(), |text| text.replace(&place, ""))
}

impl Store {
    /// What is known of a file of a bucket.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn find_file(&self, bucket: &Bucket, path: &FilePath) -> Result<BucketFile> {
        let found = self.file_storage()?.find(&stored(bucket, path)).await;
        found.map(|file| in_bucket(bucket, &file)).map_err(|error| named(bucket, &error))
    }

    /// Files of a bucket whose paths begin with a text and are greater than another one, by path; and whether there are more.
    ///
    /// # Errors
    ///
    /// Unavailable if the storage cannot be reached.
    pub async fn find_files(
        &self,
        bucket: &Bucket,
        prefix: &PathPrefix,
        after: &str,
        limit: usize,
    ) -> Result<(Vec<BucketFile>, bool)> {
        let place = files_of(bucket.key);
        let directory = format!("{place}{}", prefix.directory());
        let (prefix, after) = (format!("{place}{}", prefix.as_str()), format!("{place}{after}"));
        let listed = self.file_storage()?.list(directory.trim_end_matches('/'), &prefix, &after, limit).await;
        let (files, has_more) = listed.map_err(|error| named(bucket, &error))?;
        Ok((files.iter().map(|file| in_bucket(bucket, file)).collect(), has_more))
    }

    /// Opens a file of a bucket. Whose reads are audited, the caller has noted.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn read_file(&self, bucket: &Bucket, path: &FilePath) -> Result<OpenFile> {
        let opened = self.file_storage()?.read(&stored(bucket, path)).await;
        opened.map_err(|error| named(bucket, &error))
    }

    /// Begins to write a file of a bucket.
    ///
    /// # Errors
    ///
    /// Unauthorized with code 1017 for a bucket that is read-only; Conflict if a directory has this path.
    pub async fn write_file(&self, bucket: &Bucket, path: &FilePath) -> Result<FileWriter> {
        bucket.may_be_written()?;
        let begun = self.file_storage()?.write(&stored(bucket, path), content_type(path.as_str())).await;
        begun.map_err(|error| named(bucket, &error))
    }

    /// Deletes a file of a bucket.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002; Unauthorized with code 1017 for a bucket that is read-only.
    pub async fn delete_file(&self, bucket: &Bucket, path: &FilePath) -> Result<()> {
        bucket.may_be_written()?;
        let deleted = self.file_storage()?.delete(&stored(bucket, path)).await;
        deleted.map_err(|error| named(bucket, &error))?;
        self.note_file_act(FileAct::Deleted, bucket, path.as_str()).await
    }

    /// An address at which the storage itself gives or takes a file of a bucket. `None`: it goes through the server, because the storage
    /// has no such addresses or the bucket says so.
    ///
    /// # Errors
    ///
    /// Unauthorized with code 1017 for writing to a bucket that is read-only.
    pub async fn address_of_file(
        &self,
        bucket: &Bucket,
        path: &FilePath,
        address_use: AddressUse,
        valid_for: Duration,
    ) -> Result<Option<StorageAddress>> {
        if address_use == AddressUse::Write {
            bucket.may_be_written()?;
        }
        if bucket.options == BucketOptions::AccessDataThroughOrchestrator {
            return Ok(None);
        }
        self.file_storage()?.address(&stored(bucket, path), address_use, valid_for).await
    }
}

/// Where the next part of a list begins, as callers get it.
pub(crate) fn place_of(path: &str) -> String {
    URL_SAFE_NO_PAD.encode(path)
}

/// Reads what [`place_of`] wrote.
pub(crate) fn path_of(place: &str) -> Result<String, Refusal> {
    let path = URL_SAFE_NO_PAD.decode(place).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let invalid = || Refusal::new(ErrorCode::INVALID_ARGUMENT, "the continuation token is none of this list");
    let path = path.ok_or_else(invalid)?;
    FilePath::parse(&path).map_err(|_| invalid())?;
    Ok(path)
}

impl Store {
    /// A part of the list of a bucket's files, and the token of the next one.
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 for a token that is none.
    pub async fn list_files(
        &self,
        bucket: &Bucket,
        prefix: &PathPrefix,
        token: Option<&str>,
        limit: usize,
    ) -> Result<BucketFiles> {
        let after = token.map(path_of).transpose()?.unwrap_or_default();
        let (files, has_more) = self.find_files(bucket, prefix, &after, limit).await?;
        let next = files.last().filter(|_| has_more).map(|last| place_of(&last.path));
        Ok(BucketFiles { files, next })
    }
}

#[async_trait]
impl BucketAdministration for Store {
    async fn list_buckets(&self) -> Result<Vec<Bucket>> {
        self.buckets_in_folders(Arc::new([self.scope.folder])).await
    }

    async fn get_bucket(&self, name: &str) -> Result<Bucket> {
        self.find_bucket(BucketSelector::Name(name.to_owned())).await
    }

    async fn create_bucket(&self, bucket: NewBucket) -> Result<Bucket> {
        self.add_bucket(bucket).await
    }

    async fn update_bucket(&self, name: &str, bucket: NewBucket) -> Result<Bucket> {
        self.replace_bucket(BucketSelector::Name(name.to_owned()), bucket, None).await
    }

    async fn delete_bucket(&self, name: &str) -> Result<()> {
        self.delete_bucket_within(BucketSelector::Name(name.to_owned()), None).await
    }

    async fn share_bucket(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()> {
        self.share_bucket_of_folder(BucketSelector::Name(name.to_owned()), add, remove).await
    }

    async fn list_bucket_files(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<String>,
    ) -> Result<BucketFiles> {
        let prefix = PathPrefix::parse(prefix)?;
        let bucket = self.get_bucket(bucket).await?;
        self.list_files(&bucket, &prefix, after.as_deref(), LISTED_AT_ONCE).await
    }

    async fn read_bucket_file(&self, bucket: &str, path: &str) -> Result<FileStream> {
        let path = FilePath::parse(path)?;
        let bucket = self.get_bucket(bucket).await?;
        let opened = self.read_file(&bucket, &path).await?;
        if bucket.options == BucketOptions::AuditReadAccess {
            self.note_file_act(FileAct::Read, &bucket, path.as_str()).await?;
        }
        Ok(opened.content)
    }

    async fn write_bucket_file(
        &self,
        bucket: &str,
        path: &str,
        _: Option<u64>,
        mut content: FileStream,
    ) -> Result<()> {
        let path = FilePath::parse(path)?;
        let bucket = self.get_bucket(bucket).await?;
        let mut writer = self.write_file(&bucket, &path).await?;
        while let Some(piece) = content.next().await {
            writer.write(piece?).await?;
        }
        writer.finish().await.map(drop)
    }

    async fn delete_bucket_file(&self, bucket: &str, path: &str) -> Result<()> {
        let path = FilePath::parse(path)?;
        let bucket = self.get_bucket(bucket).await?;
        self.delete_file(&bucket, &path).await
    }
}
