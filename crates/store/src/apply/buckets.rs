//! Changes of storage buckets, and questions about them.

use super::super::backend::{Answer, Scope};
use super::super::buckets::{BucketAnswer, BucketOperation, BucketQuery, BucketSelector, files_of};
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::model::Refusal;
use performer_core::model::audit::{Act, FieldChange, bucket_changes};
use performer_core::model::bucket::{Bucket, BucketId, NewBucket};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{BucketKey, FolderId};
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::{OrchestratorError, Result};

impl<R: Rows> Apply<'_, R> {
    pub(super) fn change_buckets(&mut self, operation: BucketOperation) -> Applied {
        self.rows.lock_buckets()?;
        let answer = match operation {
            BucketOperation::Create { key, about } => self.create_bucket(key, about)?,
            BucketOperation::Replace { which, about, reach } => {
                self.replace_bucket(&which, about, reach.as_deref())?
            }
            BucketOperation::Delete { which, reach } => self.delete_bucket(&which, reach.as_deref())?,
            BucketOperation::Share { which, add, remove } => self.share_bucket(&which, &add, &remove)?,
            BucketOperation::Note { act, bucket, path } => {
                let change = FieldChange::new("Path", None, Some(path.into()));
                self.note_act(act, format!("bucket {bucket}"), Vec::new(), vec![change]);
                BucketAnswer::Done
            }
            BucketOperation::SigningKey(candidate) => match self.rows.signing_key()? {
                Some(key) => BucketAnswer::Text(key),
                None => {
                    self.rows.write_signing_key(&candidate)?;
                    BucketAnswer::Text(candidate)
                }
            },
            BucketOperation::Removed(removed) => {
                for stored in &removed {
                    self.rows.forget_file_removal(stored)?;
                }
                BucketAnswer::Done
            }
        };
        Ok(answer.into())
    }

    fn create_bucket(&mut self, key: BucketKey, about: NewBucket) -> Applied<BucketAnswer> {
        let folder = self.scope.folder;
        self.check_bucket_name(&about.name, folder, None, ErrorCode::NAME_ALREADY_USED)?;
        // Files of a deleted bucket that are not removed yet would be those of the new one.
        if self.rows.bucket_keyed(key)?.is_some() || self.rows.has_file_removal(&files_of(key))? {
            let message = format!("the identifier {key} is already used");
            return Err(Refusal::new(ErrorCode::NAME_ALREADY_USED, message).into());
        }
        let mut bucket = Bucket::new(key, about, folder, stored(self.now));
        bucket.id = self.rows.insert_bucket(&bucket)?;
        self.note_bucket(Act::BucketCreated, None, Some(&bucket));
        Ok(BucketAnswer::One(Box::new(bucket)))
    }

    fn replace_bucket(
        &mut self,
        which: &BucketSelector,
        about: NewBucket,
        reach: Option<&[FolderId]>,
    ) -> Applied<BucketAnswer> {
        let before = self.bucket_to_change(which, reach)?;
        if about.key.is_some_and(|key| key != before.key) {
            let message = format!("the identifier of a bucket cannot change: it is {}", before.key);
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        for folder in &before.folders {
            self.check_bucket_name(&about.name, *folder, Some(before.id), ErrorCode::NAME_ALREADY_USED)?;
        }
        let mut bucket = before.clone();
        (bucket.name, bucket.description, bucket.options) = (about.name, about.description, about.options);
        self.rows.write_bucket(&bucket)?;
        self.note_bucket(Act::BucketEdited, Some(&before), Some(&bucket));
        Ok(BucketAnswer::One(Box::new(bucket)))
    }

    fn delete_bucket(&mut self, which: &BucketSelector, reach: Option<&[FolderId]>) -> Applied<BucketAnswer> {
        let bucket = self.bucket_to_change(which, reach)?;
        self.rows.delete_bucket(bucket.id)?;
        self.rows.schedule_file_removal(&files_of(bucket.key))?;
        self.note_bucket(Act::BucketDeleted, Some(&bucket), None);
        Ok(BucketAnswer::Done)
    }

    /// Adds a bucket to folders and removes it from others. A bucket in no folder could not be found by anybody.
    fn share_bucket(
        &mut self,
        which: &BucketSelector,
        add: &[FolderId],
        remove: &[FolderId],
    ) -> Applied<BucketAnswer> {
        let before = which_bucket(self.rows, self.scope.folder, which)?.map_err(ApplyError::Refused)?;
        let mut bucket = before.clone();
        bucket.folders.retain(|folder| !remove.contains(folder));
        for folder in add {
            if !bucket.folders.contains(folder) {
                let code = ErrorCode::ITEM_ALREADY_EXISTS;
                self.check_bucket_name(&bucket.name, *folder, Some(bucket.id), code)?;
                bucket.folders.push(*folder);
            }
        }
        if bucket.folders.is_empty() {
            let message = format!("bucket {:?} would be in no folder any more", bucket.name);
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        self.rows.write_bucket(&bucket)?;
        self.note_bucket(Act::BucketShared, Some(&before), Some(&bucket));
        Ok(BucketAnswer::Done)
    }

    fn check_bucket_name(
        &mut self,
        name: &str,
        folder: FolderId,
        except: Option<BucketId>,
        code: ErrorCode,
    ) -> Applied<()> {
        match self.rows.bucket_named(folder, name)? {
            Some(taken) if Some(taken) != except => {
                Err(Refusal::new(code, format!("the name {name:?} is already used")).into())
            }
            _ => Ok(()),
        }
    }

    /// A bucket of the folder, to be changed in all its folders.
    fn bucket_to_change(&mut self, which: &BucketSelector, reach: Option<&[FolderId]>) -> Applied<Bucket> {
        let bucket = which_bucket(self.rows, self.scope.folder, which)?.map_err(ApplyError::Refused)?;
        bucket.may_be_changed_by(reach)?;
        Ok(bucket)
    }

    fn note_bucket(&mut self, act: Act, before: Option<&Bucket>, after: Option<&Bucket>) {
        let changes = bucket_changes(before, after);
        if let Some(bucket) = before.or(after)
            && !changes.is_empty()
        {
            self.note_act(act, format!("bucket {}", bucket.name), Vec::new(), changes);
        }
    }
}

/// A bucket of a folder. The inner error: it does not exist, or not in this folder.
fn which_bucket<R: Rows>(rows: &mut R, folder: FolderId, which: &BucketSelector) -> Result<Result<Bucket>> {
    let (id, what) = match which {
        BucketSelector::Name(name) => (rows.bucket_named(folder, name)?, format!("{name:?}")),
        BucketSelector::Id(id) => (Some(*id), id.to_string()),
        BucketSelector::Key(key) => (rows.bucket_keyed(*key)?, format!("with the identifier {key}")),
    };
    let found = id.map_or(Ok(None), |id| rows.bucket(id))?;
    let missing = || OrchestratorError::not_found(format!("bucket {what} does not exist"));
    Ok(found.filter(|bucket| bucket.folders.contains(&folder)).ok_or_else(missing))
}

pub(super) fn answer<R: Rows>(rows: &mut R, scope: Scope, query: BucketQuery) -> Result<Answer> {
    let answer = match query {
        BucketQuery::One(which) => BucketAnswer::One(Box::new(which_bucket(rows, scope.folder, &which)??)),
        BucketQuery::Of(folders) => BucketAnswer::Many(rows.buckets_in(&folders)?),
        BucketQuery::Removals(limit) => BucketAnswer::Texts(rows.file_removals(limit)?),
    };
    Ok(answer.into())
}
