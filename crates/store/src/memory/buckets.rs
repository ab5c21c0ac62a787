//! Storage buckets in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::super::buckets::BucketRows;
use super::Memory;
use performer_core::model::bucket::{Bucket, BucketId};
use performer_core::model::key::{BucketKey, FolderId};
use performer_core::model::queue::folded;
use performer_core::orchestrator::Result;

/// All buckets, and what the storage is to remove.
#[derive(Default)]
pub(super) struct StoredBuckets {
    all: BTreeMap<BucketId, Bucket>,
    last: i64,
    removals: BTreeSet<String>,
    signing_key: Option<String>,
}

impl BucketRows for Memory {
    fn lock_buckets(&mut self) -> Result<()> {
        Ok(())
    }

    fn insert_bucket(&mut self, bucket: &Bucket) -> Result<BucketId> {
        self.buckets.last += 1;
        let mut bucket = bucket.clone();
        bucket.id = BucketId(self.buckets.last);
        self.buckets.all.insert(bucket.id, bucket);
        Ok(BucketId(self.buckets.last))
    }

    fn write_bucket(&mut self, bucket: &Bucket) -> Result<()> {
        self.buckets.all.insert(bucket.id, bucket.clone());
        Ok(())
    }

    fn delete_bucket(&mut self, id: BucketId) -> Result<()> {
        self.buckets.all.remove(&id);
        Ok(())
    }

    fn bucket(&mut self, id: BucketId) -> Result<Option<Bucket>> {
        Ok(self.buckets.all.get(&id).cloned())
    }

    fn bucket_named(&mut self, folder: FolderId, name: &str) -> Result<Option<BucketId>> {
        let name = folded(name);
        let is_it = |bucket: &&Bucket| bucket.folders.contains(&folder) && folded(&bucket.name) == name;
        Ok(self.buckets.all.values().find(is_it).map(|bucket| bucket.id))
    }

    fn bucket_keyed(&mut self, key: BucketKey) -> Result<Option<BucketId>> {
        Ok(self.buckets.all.values().find(|bucket| bucket.key == key).map(|bucket| bucket.id))
    }

    fn buckets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Bucket>> {
        let is_here = |bucket: &&Bucket| bucket.folders.iter().any(|folder| folders.contains(folder));
        let mut buckets: Vec<Bucket> = self.buckets.all.values().filter(is_here).cloned().collect();
        buckets.sort_by_cached_key(|bucket| (folded(&bucket.name), bucket.id));
        Ok(buckets)
    }

    fn schedule_file_removal(&mut self, stored: &str) -> Result<()> {
        self.buckets.removals.insert(stored.to_owned());
        Ok(())
    }

    fn has_file_removal(&mut self, stored: &str) -> Result<bool> {
        Ok(self.buckets.removals.contains(stored))
    }

    fn file_removals(&mut self, limit: usize) -> Result<Vec<String>> {
        Ok(self.buckets.removals.iter().take(limit).cloned().collect())
    }

    fn forget_file_removal(&mut self, stored: &str) -> Result<()> {
        self.buckets.removals.remove(stored);
        Ok(())
    }

    fn signing_key(&mut self) -> Result<Option<String>> {
        Ok(self.buckets.signing_key.clone())
    }

    fn write_signing_key(&mut self, key: &str) -> Result<()> {
        self.buckets.signing_key = Some(key.to_owned());
        Ok(())
    }
}
