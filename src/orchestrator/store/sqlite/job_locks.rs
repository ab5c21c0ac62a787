//! One lock file a job: the kernel lets go of it when the process ends, however it ends.
//!
//! An accelerator. When the lock of a live job can be had, its process is gone, and its items need not
//! wait for the lease. When nobody can tell (the file is missing, the file system knows no locks), the
//! lease decides, as it does everywhere else.

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::model::key::JobKey;

#[derive(Debug)]
pub(super) struct JobLocks {
    folder: PathBuf,
    /// Who may do what with the database, as a mode of Unix.
    #[cfg_attr(not(unix), expect(dead_code, reason = "only Unix has modes"))]
    mode: u32,
    held: BTreeMap<JobKey, File>,
}

impl JobLocks {
    /// For a database with this folder beside it.
    pub(super) fn new(database: &Path, folder: PathBuf) -> Self {
        Self { folder, mode: mode_of(database), held: BTreeMap::new() }
    }

    /// Locks a file for a job of this process. Done before the job can be seen by others, so a job that is
    /// seen and whose lock is free is gone.
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
                let _ = fs::remove_file(self.file(job)); // an unlocked file would say the process is gone
                tracing::debug!(%job, %error, "no lock file for the job; its lease alone decides");
            }
        }
    }

    /// The folder is for those who may use the database.
    fn make_folder(&self) -> std::io::Result<()> {
        let mut folder = fs::DirBuilder::new();
        folder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut folder, self.mode | (self.mode & 0o444) >> 2);
        folder.create(&self.folder)
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

#[cfg(unix)]
fn mode_of(database: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(database).map_or(0o600, |metadata| metadata.permissions().mode() & 0o777)
}

#[cfg(not(unix))]
fn mode_of(_database: &Path) -> u32 {
    0o600
}
