//! One lock file a job: the kernel lets go of it when the process ends, however it ends.
//!
//! An accelerator. When the lock of a live job can be had, its process is gone, and its items need not
//! wait for the lease. When nobody can tell (the file is missing, the file system knows no locks), the
//! lease decides, as it does everywhere else.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use crate::model::key::JobKey;

#[derive(Debug)]
pub(super) struct JobLocks {
    folder: PathBuf,
    held: BTreeMap<JobKey, File>,
}

impl JobLocks {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, held: BTreeMap::new() }
    }

    /// Locks a file for a job of this process. Done before the job can be seen by others, so a job that is
    /// seen and whose lock is free is gone.
    pub(super) fn hold(&mut self, job: JobKey) {
        let locked = fs::create_dir_all(&self.folder).and_then(|()| {
            let file = File::create(self.file(job))?;
            file.lock()?;
            Ok(file)
        });
        match locked {
            Ok(file) => {
                self.held.insert(job, file);
            }
            Err(error) => {
                let _ = fs::remove_file(self.file(job)); // an unlocked file would say the process is gone
                tracing::debug!(%job, %error, "no lock file for the job; its lease alone decides");
            }
        }
    }

    /// Forgets a job that has ended, whoever it was.
    pub(super) fn release(&mut self, job: JobKey) {
        self.held.remove(&job);
        let _ = fs::remove_file(self.file(job));
        let _ = fs::remove_dir(&self.folder); // succeeds when it was the last
    }

    /// Whether the process of a live job is gone.
    pub(super) fn is_gone(&self, job: JobKey) -> bool {
        if self.held.contains_key(&job) {
            return false;
        }
        let Ok(file) = File::open(self.file(job)) else { return false };
        match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }

    fn file(&self, job: JobKey) -> PathBuf {
        self.folder.join(format!("{job}.lock"))
    }
}
