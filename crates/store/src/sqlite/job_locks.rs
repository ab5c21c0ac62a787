//! One lock file a job: the kernel releases the lock when the process ends, for whatever reason.
//!
//! An accelerator: if the lock of a live job is free, its process has ended, and its items need not wait for the lease.
//! If that cannot be known (the file is missing, the file system has no locks), the lease decides, as everywhere else.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use performer_core::model::key::JobKey;

#[derive(Debug)]
pub(super) struct JobLocks {
    folder: PathBuf,
    /// The permissions of the database, as a Unix mode.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has modes"))]
    mode: u32,
    held: BTreeMap<JobKey, File>,
}

impl JobLocks {
    /// For a database with this folder beside it.
    pub(super) fn new(database: &Path, folder: PathBuf) -> Self {
        Self { folder, mode: mode_of(database), held: BTreeMap::new() }
    }

    /// Locks a file for a job of this process. Done before others can see the job: a visible job whose lock is free has
    /// ended.
    pub(super) fn hold(&mut self, job: JobKey) {
        let locked = self.make_folder().and_then(|()| {
            let mut options = File::options();
            options.write(true).create(true).truncate(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, self.mode & 0o666);
            let file = options.open(self.file(job))?;
            file.lock()?;
            Ok(file)
        });
        match locked {
            Ok(file) => {
                self.held.insert(job, file);
            }
            Err(error) => {
                let _ = fs::remove_file(self.file(job)); // an unlocked file would mean that the process has ended
                tracing::debug!(%job, %error, "no lock file for the job; its lease alone decides");
            }
        }
    }

    /// The folder has the permissions of the database.
    fn make_folder(&self) -> std::io::Result<()> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, self.mode | (self.mode & 0o444) >> 2);
        folder.create(&self.folder)
    }

    /// Removes the lock file of a job that has ended.
    pub(super) fn release(&mut self, job: JobKey) {
        self.held.remove(&job);
        let _ = fs::remove_file(self.file(job));
        let _ = fs::remove_dir(&self.folder); // succeeds when it was the last one
    }

    /// Whether the process of a live job has ended.
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

#[cfg(unix)]
fn mode_of(database: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(database).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode_of(_database: &Path) -> u32 {
    0o600
}
