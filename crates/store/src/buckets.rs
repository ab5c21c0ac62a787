//! Storage buckets: what a store keeps of them. What a bucket is says [`performer_core::model::bucket`]. The files themselves are in a
//! storage (`files/`), under the key of their bucket.
//!
//! What is to be removed from the storage is noted in the same commit that makes it unreachable, and forgotten once it is removed: so no
//! end of a process leaves files that nobody knows of.

use std::sync::Arc;

use super::Store;
use super::backend::{Answer, Operation, Query, expect_answer};
use super::scoped_queues::Reach;
use performer_core::model::audit::Act;
use performer_core::model::bucket::{Bucket, BucketId, NewBucket};
use performer_core::model::clock::Clock as _;
use performer_core::model::key::{BucketKey, FolderId, KeyMaker};
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// A bucket of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketSelector {
    /// By its name, ignoring case.
    Name(String),
    /// By its number.
    Id(BucketId),
    /// By its identifier.
    Key(BucketKey),
}

/// What people do with a file that the audit records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileAct {
    /// It is read, in a bucket whose reads are audited.
    Read,
    /// It was deleted.
    Deleted,
}

/// A change of buckets.
#[derive(Clone, Debug)]
#[cfg_attr(not(feature = "files"), expect(dead_code, reason = "what is removed from a storage is in one"))]
pub(crate) enum BucketOperation {
    Create {
        key: BucketKey,
        about: NewBucket,
    },
    Replace {
        which: BucketSelector,
        about: NewBucket,
        reach: Reach,
    },
    Delete {
        which: BucketSelector,
        reach: Reach,
    },
    Share {
        which: BucketSelector,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    },
    /// Records an act on a file.
    Note {
        act: Act,
        bucket: String,
        path: String,
    },
    /// The key that addresses are signed with from now on, unless there is one.
    SigningKey(String),
    /// The storage has removed these.
    Removed(Vec<String>),
}

impl BucketOperation {
    /// Whether it is a change that people make.
    pub(crate) fn is_audited(&self) -> bool {
        !matches!(self, Self::SigningKey(_) | Self::Removed(_))
    }
}

/// A question about buckets.
#[derive(Debug)]
#[cfg_attr(not(feature = "files"), expect(dead_code, reason = "what is removed from a storage is in one"))]
pub(crate) enum BucketQuery {
    One(BucketSelector),
    /// The buckets in any of these folders, by name.
    Of(Arc<[FolderId]>),
    /// What the storage is to remove.
    Removals(usize),
}

/// The answer to either.
#[derive(Debug)]
#[cfg_attr(not(feature = "files"), expect(dead_code, reason = "what is removed from a storage is in one"))]
pub(crate) enum BucketAnswer {
    One(Box<Bucket>),
    Many(Vec<Bucket>),
    Texts(Vec<String>),
    Text(String),
    Done,
}

/// What a back end does about buckets, inside the one transaction that is open.
pub(crate) trait BucketRows {
    /// Keeps other transactions from changing buckets until this one ends, if several can write.
    fn lock_buckets(&mut self) -> Result<()>;
    /// Inserts a bucket. Returns its number.
    fn insert_bucket(&mut self, bucket: &Bucket) -> Result<BucketId>;
    /// Writes a bucket, and the folders and the name by which it is found.
    fn write_bucket(&mut self, bucket: &Bucket) -> Result<()>;
    fn delete_bucket(&mut self, id: BucketId) -> Result<()>;
    fn bucket(&mut self, id: BucketId) -> Result<Option<Bucket>>;
    fn bucket_named(&mut self, folder: FolderId, name: &str) -> Result<Option<BucketId>>;
    fn bucket_keyed(&mut self, key: BucketKey) -> Result<Option<BucketId>>;
    /// By name.
    fn buckets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Bucket>>;
    /// Notes that the storage is to remove a file, or all that is below a directory.
    fn schedule_file_removal(&mut self, stored: &str) -> Result<()>;
    fn has_file_removal(&mut self, stored: &str) -> Result<bool>;
    fn file_removals(&mut self, limit: usize) -> Result<Vec<String>>;
    fn forget_file_removal(&mut self, stored: &str) -> Result<()>;
    fn signing_key(&mut self) -> Result<Option<String>>;
    fn write_signing_key(&mut self, key: &str) -> Result<()>;
}

/// Where the storage has the files of a bucket.
pub(crate) fn files_of(key: BucketKey) -> String {
    format!("buckets/{key}/")
}

impl Store {
    /// A bucket of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1002.
    pub async fn find_bucket(&self, which: BucketSelector) -> Result<Bucket> {
        match self.ask_buckets(BucketQuery::One(which)).await? {
            BucketAnswer::One(bucket) => Ok(*bucket),
            other => Err(unexpected(&other)),
        }
    }

    /// The buckets in any of these folders, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn buckets_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Vec<Bucket>> {
        match self.ask_buckets(BucketQuery::Of(folders)).await? {
            BucketAnswer::Many(buckets) => Ok(buckets),
            other => Err(unexpected(&other)),
        }
    }

    /// Creates a bucket in the folder.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name or the identifier is already used; Invalid for what [`NewBucket::validate`] refuses.
    pub async fn add_bucket(&self, about: NewBucket) -> Result<Bucket> {
        about.validate()?;
        let key = about.key.unwrap_or_else(|| KeyMaker::new().bucket(self.clock.now()));
        self.change_bucket(BucketOperation::Create { key, about }).await
    }

    /// Replaces the settings of a bucket, which is one bucket in all its folders.
    ///
    /// # Errors
    ///
    /// As [`add_bucket`](Self::add_bucket); NotFound; Invalid for another identifier; Unauthorized with code 1017 if it is in a folder
    /// out of reach.
    pub async fn replace_bucket(
        &self,
        which: BucketSelector,
        about: NewBucket,
        reach: Reach,
    ) -> Result<Bucket> {
        about.validate()?;
        self.change_bucket(BucketOperation::Replace { which, about, reach }).await
    }

    /// Deletes a bucket from all its folders. Its files cannot be reached any more; where the store has a storage they are removed before
    /// this returns, and otherwise by whoever removes files next.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it is in a folder out of reach.
    pub async fn delete_bucket_within(&self, which: BucketSelector, reach: Reach) -> Result<()> {
        self.do_to_buckets(BucketOperation::Delete { which, reach }).await?;
        #[cfg(feature = "files")]
        if let Err(error) = self.remove_files().await {
            tracing::warn!(%error, "the files of a deleted bucket are left: they are removed later");
        }
        Ok(())
    }

    /// Adds a bucket of the folder to other folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict with code 1004 if a folder has a bucket of this name; Invalid if the bucket would be in no folder.
    pub async fn share_bucket_of_folder(
        &self,
        which: BucketSelector,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    ) -> Result<()> {
        self.do_to_buckets(BucketOperation::Share { which, add, remove }).await.map(drop)
    }

    /// Records in the audit what somebody does with a file.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn note_file_act(&self, act: FileAct, bucket: &Bucket, path: &str) -> Result<()> {
        let act = match act {
            FileAct::Read => Act::BucketFileRead,
            FileAct::Deleted => Act::BucketFileDeleted,
        };
        let (bucket, path) = (bucket.name.clone(), path.to_owned());
        self.do_to_buckets(BucketOperation::Note { act, bucket, path }).await.map(drop)
    }

    /// The key that all servers of this store sign the addresses of files with: the one that there is, else this one from now on.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn signing_key(&self, candidate: &str) -> Result<String> {
        match self.do_to_buckets(BucketOperation::SigningKey(candidate.to_owned())).await? {
            BucketAnswer::Text(key) => Ok(key),
            other => Err(unexpected(&other)),
        }
    }

    /// What the storage is to remove.
    #[cfg(feature = "files")]
    pub(crate) async fn file_removals(&self, limit: usize) -> Result<Vec<String>> {
        match self.ask_buckets(BucketQuery::Removals(limit)).await? {
            BucketAnswer::Texts(removals) => Ok(removals),
            other => Err(unexpected(&other)),
        }
    }

    /// The storage has removed these.
    #[cfg(feature = "files")]
    pub(crate) async fn forget_file_removals(&self, removed: Vec<String>) -> Result<()> {
        self.do_to_buckets(BucketOperation::Removed(removed)).await.map(drop)
    }

    async fn change_bucket(&self, operation: BucketOperation) -> Result<Bucket> {
        match self.do_to_buckets(operation).await? {
            BucketAnswer::One(bucket) => Ok(*bucket),
            other => Err(unexpected(&other)),
        }
    }

    async fn do_to_buckets(&self, operation: BucketOperation) -> Result<BucketAnswer> {
        expect_answer!(self.one(Operation::Buckets(Box::new(operation))).await, Bucket)
    }

    async fn ask_buckets(&self, query: BucketQuery) -> Result<BucketAnswer> {
        expect_answer!(self.read(Query::Buckets(query)).await, Bucket)
    }
}

/// Each question has one kind of answer; another one is a bug of this crate.
fn unexpected(answer: &BucketAnswer) -> OrchestratorError {
    OrchestratorError::new(
        ErrorKind::Other,
        format!("the store answered {answer:?} to a question about buckets"),
    )
}

impl From<BucketAnswer> for Answer {
    fn from(answer: BucketAnswer) -> Self {
        Self::Bucket(answer)
    }
}
