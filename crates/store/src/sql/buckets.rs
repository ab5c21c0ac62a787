//! The statements on storage buckets, and on what their storage is to remove.

use super::super::buckets::BucketRows;
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Engine, Row, Values};
use performer_core::model::bucket::{Bucket, BucketId};
use performer_core::model::key::{BucketKey, FolderId};
use performer_core::model::queue::folded;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

fn document(bucket: &Bucket) -> Result<String> {
    serde_json::to_string(bucket).map_err(|error| OrchestratorError::invalid(error.to_string()))
}

fn read_bucket(row: &dyn Row) -> Result<Bucket> {
    let read = serde_json::from_str(&row.text(1)?);
    let mut bucket: Bucket = read.map_err(|error| UnreadableRow::error(error, "the store"))?;
    bucket.id = BucketId(row.number(0)?);
    Ok(bucket)
}

/// Writes the folders and the name by which a bucket is found.
fn insert_folders<E: Engine>(engine: &mut E, bucket: &Bucket) -> Result<()> {
    for folder in &bucket.folders {
        let mut values = Values::default();
        let (folder, bucket_id) = (values.bind::<E>(folder.0), values.bind::<E>(bucket.id.0));
        let name = values.bind_text::<E>(&folded(&bucket.name));
        let sql = format!(
            "INSERT INTO bucket_folder (folder_id, folded_name, bucket_id) VALUES ({folder}, {name}, {bucket_id})"
        );
        engine.execute(&sql, &values)?;
    }
    Ok(())
}

/// Runs a statement that ends with the number of a bucket.
fn of_bucket<E: Engine>(engine: &mut E, sql: &str, id: BucketId) -> Result<()> {
    let mut values = Values::default();
    let id = values.bind::<E>(id.0);
    engine.execute(&format!("{sql} {id}"), &values)
}

/// Runs a statement with one text, which stands where `{}` is.
fn with_text<E: Engine>(engine: &mut E, sql: &str, text: &str) -> Result<()> {
    let mut values = Values::default();
    let text = values.bind_text::<E>(text);
    engine.execute(&sql.replace("{}", &text), &values)
}

impl<E: Engine> BucketRows for E {
    fn lock_buckets(&mut self) -> Result<()> {
        self.lock_until_end("buckets")
    }

    fn insert_bucket(&mut self, bucket: &Bucket) -> Result<BucketId> {
        let mut values = Values::default();
        let key = values.bind_text::<E>(&bucket.key.to_string());
        let document = values.bind_text::<E>(&document(bucket)?);
        let sql = format!("INSERT INTO bucket (key, document) VALUES ({key}, {document}) RETURNING id");
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new bucket got no number");
        let id = BucketId(self.read_number(&sql, &values)?.ok_or_else(missing)?);
        let mut numbered = bucket.clone();
        numbered.id = id;
        insert_folders(self, &numbered)?;
        Ok(id)
    }

    fn write_bucket(&mut self, bucket: &Bucket) -> Result<()> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&document(bucket)?);
        let id = values.bind::<E>(bucket.id.0);
        self.execute(&format!("UPDATE bucket SET document = {document} WHERE id = {id}"), &values)?;
        of_bucket(self, "DELETE FROM bucket_folder WHERE bucket_id =", bucket.id)?;
        insert_folders(self, bucket)
    }

    fn delete_bucket(&mut self, id: BucketId) -> Result<()> {
        of_bucket(self, "DELETE FROM bucket_folder WHERE bucket_id =", id)?;
        of_bucket(self, "DELETE FROM bucket WHERE id =", id)
    }

    fn bucket(&mut self, id: BucketId) -> Result<Option<Bucket>> {
        let mut values = Values::default();
        let sql = format!("SELECT id, document FROM bucket WHERE id = {}", values.bind::<E>(id.0));
        Ok(self.read(&sql, &values, read_bucket)?.pop())
    }

    fn bucket_named(&mut self, folder: FolderId, name: &str) -> Result<Option<BucketId>> {
        let mut values = Values::default();
        let (folder, name) = (values.bind::<E>(folder.0), values.bind_text::<E>(&folded(name)));
        let sql = format!(
            "SELECT bucket_id FROM bucket_folder WHERE folder_id = {folder} AND folded_name = {name}"
        );
        Ok(self.read_number(&sql, &values)?.map(BucketId))
    }

    fn bucket_keyed(&mut self, key: BucketKey) -> Result<Option<BucketId>> {
        let mut values = Values::default();
        let sql = format!("SELECT id FROM bucket WHERE key = {}", values.bind_text::<E>(&key.to_string()));
        Ok(self.read_number(&sql, &values)?.map(BucketId))
    }

    fn buckets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Bucket>> {
        let mut values = Values::default();
        let folders: Bound = folders.iter().map(|folder| folder.0).collect::<Vec<_>>().into();
        let here = E::among("folder_id", &values.bind::<E>(folders));
        let sql = format!(
            "SELECT id, document FROM bucket WHERE id IN (SELECT bucket_id FROM bucket_folder WHERE {here})"
        );
        let mut buckets = self.read(&sql, &values, read_bucket)?;
        // As every store sorts, whatever the collation of a database.
        buckets.sort_by_cached_key(|bucket| (folded(&bucket.name), bucket.id));
        Ok(buckets)
    }

    fn schedule_file_removal(&mut self, stored: &str) -> Result<()> {
        with_text(
            self,
            "INSERT INTO file_removal (stored) VALUES ({}) ON CONFLICT (stored) DO NOTHING",
            stored,
        )
    }

    fn has_file_removal(&mut self, stored: &str) -> Result<bool> {
        let mut values = Values::default();
        let sql =
            format!("SELECT count(*) FROM file_removal WHERE stored = {}", values.bind_text::<E>(stored));
        Ok(self.read_number(&sql, &values)?.is_some_and(|count| count > 0))
    }

    fn file_removals(&mut self, limit: usize) -> Result<Vec<String>> {
        let sql = format!("SELECT stored FROM file_removal ORDER BY stored LIMIT {limit}");
        self.read(&sql, &Values::default(), |row| row.text(0))
    }

    fn forget_file_removal(&mut self, stored: &str) -> Result<()> {
        with_text(self, "DELETE FROM file_removal WHERE stored = {}", stored)
    }

    fn signing_key(&mut self) -> Result<Option<String>> {
        Ok(self.read("SELECT key FROM file_signing", &Values::default(), |row| row.text(0))?.pop())
    }

    fn write_signing_key(&mut self, key: &str) -> Result<()> {
        with_text(self, "INSERT INTO file_signing (id, key) VALUES (1, {})", key)
    }
}
