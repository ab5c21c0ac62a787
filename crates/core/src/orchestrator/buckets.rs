//! What people and programs do with storage buckets.

use std::pin::Pin;

use async_trait::async_trait;
use bytes::Bytes;
use futures_core::Stream;

use super::Result;
use crate::model::bucket::{Bucket, BucketFile, NewBucket};
use crate::model::key::FolderId;

/// The content of a file, piece by piece.
pub type FileStream = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// A part of the list of a bucket's files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketFiles {
    /// The files, by path.
    pub files: Vec<BucketFile>,
    /// Where the next part begins. `None`: this is the last one.
    pub next: Option<String>,
}

/// Makes, lists and changes storage buckets, and reads and writes their files.
///
/// A back end that has buckets says so with [`QueueAdministration::buckets`](super::QueueAdministration::buckets).
///
/// Errors of every method that names a bucket: NotFound with code 1002 if there is none of that name, which is case-insensitive. Of every
/// method that names a file: Invalid with code 1009 for a path that is not allowed
/// ([`FilePath`](crate::model::bucket::FilePath)); Unavailable if the storage cannot be reached; Unsupported if there is none.
#[async_trait]
pub trait BucketAdministration: std::fmt::Debug + Send + Sync {
    /// Lists the buckets, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_buckets(&self) -> Result<Vec<Bucket>>;

    /// Finds a bucket by its name.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn get_bucket(&self, name: &str) -> Result<Bucket>;

    /// Creates a bucket.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name or the identifier is already used; Invalid for what [`NewBucket::validate`] refuses.
    async fn create_bucket(&self, bucket: NewBucket) -> Result<Bucket>;

    /// Replaces the name, the description and the options of a bucket.
    ///
    /// # Errors
    ///
    /// As [`create_bucket`](Self::create_bucket); Invalid for another identifier.
    async fn update_bucket(&self, name: &str, bucket: NewBucket) -> Result<Bucket>;

    /// Deletes a bucket from all its folders, with its files.
    ///
    /// # Errors
    ///
    /// NotFound.
    async fn delete_bucket(&self, name: &str) -> Result<()>;

    /// Adds a bucket to folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// Conflict with code 1004 if a folder has a bucket of this name; Invalid if the bucket would be in no folder.
    async fn share_bucket(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()>;

    /// Lists files whose paths begin with a text, from behind a place on (`next` of the part before).
    ///
    /// # Errors
    ///
    /// Invalid for a place that is none.
    async fn list_bucket_files(
        &self,
        bucket: &str,
        prefix: &str,
        after: Option<String>,
    ) -> Result<BucketFiles>;

    /// Reads a file.
    ///
    /// # Errors
    ///
    /// NotFound if there is no such file. The stream ends with an error if the file cannot be read to its end.
    async fn read_bucket_file(&self, bucket: &str, path: &str) -> Result<FileStream>;

    /// Writes a file, or replaces it. It is there once all of it is written; until then the one before it is. The storage services of
    /// clouds have to be told the length, in bytes, where the client sends files to them itself.
    ///
    /// # Errors
    ///
    /// Unauthorized with code 1017 for a bucket that is read-only; the error of `content`, if it has one: nothing is written then.
    async fn write_bucket_file(
        &self,
        bucket: &str,
        path: &str,
        length: Option<u64>,
        content: FileStream,
    ) -> Result<()>;

    /// Deletes a file.
    ///
    /// # Errors
    ///
    /// NotFound if there is no such file; Unauthorized with code 1017 for a bucket that is read-only.
    async fn delete_bucket_file(&self, bucket: &str, path: &str) -> Result<()>;
}
