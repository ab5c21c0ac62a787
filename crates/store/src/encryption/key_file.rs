//! The file with the keys for secrets beside a SQLite file: `invoices.db.key` beside `invoices.db`.
//!
//! It is made at the first need, only its owner may read it, and it is on disk before anything is encrypted with a key in it. Each change
//! replaces the whole file under the lock of another one, so that of two programs that replace the key at the same time none loses the
//! key of the other.

use std::fs::{self, File};
use std::io::{self, ErrorKind as IoErrorKind, Write as _};
use std::path::{Path, PathBuf};

use secrecy::zeroize::Zeroizing;

use super::keys::EncryptionKeys;
use super::refused;
use performer_core::model::code::ErrorCode;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_core::private_file::{read_secret, warn_if_open_to_others};

#[derive(Clone, Debug)]
pub(crate) struct KeyFile(PathBuf);

/// While it exists nobody else replaces the keys.
#[derive(Debug)]
pub(crate) struct KeyFileLock(#[expect(dead_code, reason = "its lock is released when it is closed")] File);

impl KeyFile {
    #[cfg(feature = "sqlite")]
    pub(super) fn beside(database: &Path) -> Self {
        // Absolute, as the database: a change of the working directory moves neither.
        let database = std::path::absolute(database).unwrap_or_else(|_| database.to_owned());
        Self(with_suffix(&database, ".key"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The keys in the file.
    pub(super) fn read(&self) -> Result<EncryptionKeys> {
        if !self.0.exists() {
            let message = format!(
                "{} does not exist: it had the keys that the secrets of this store are encrypted with; put it back from a backup",
                self.0.display()
            );
            return Err(refused(ErrorCode::ENCRYPTION_KEY_NOT_FOUND, message));
        }
        warn_if_open_to_others(&self.0, "the file with the keys of secrets");
        let text = Zeroizing::new(read_secret("the keys for secrets", &self.0.to_string_lossy())?);
        EncryptionKeys::parse_from(&text, &self.0.display().to_string())
    }

    /// Makes the file with a random key, unless there is one.
    pub(super) fn make(&self) -> Result<()> {
        if self.0.exists() {
            return Ok(());
        }
        let unfinished = self.unfinished();
        let made = write_private(&unfinished, &EncryptionKeys::random()).and_then(|()| {
            // Not by renaming: another process may have been faster, and may have used its key.
            match fs::hard_link(&unfinished, &self.0) {
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            }
        });
        let _ = fs::remove_file(&unfinished);
        made.and_then(|()| self.sync_folder()).map_err(|error| self.failed("cannot be made", error))
    }

    /// Replaces the keys. On disk when it returns.
    pub(crate) fn replace(&self, keys: &EncryptionKeys, _locked: &KeyFileLock) -> Result<()> {
        let unfinished = self.unfinished();
        let replaced = write_private(&unfinished, keys).and_then(|()| fs::rename(&unfinished, &self.0));
        if replaced.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        replaced.and_then(|()| self.sync_folder()).map_err(|error| self.failed("cannot be replaced", error))
    }

    /// Locks the keys for a change.
    ///
    /// # Errors
    ///
    /// Conflict if another program is changing them.
    pub(crate) fn lock(&self) -> Result<KeyFileLock> {
        let path = with_suffix(&self.0, ".lock");
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(|error| self.failed("cannot be locked", error))?;
        match file.try_lock() {
            Ok(()) => Ok(KeyFileLock(file)),
            Err(fs::TryLockError::WouldBlock) => {
                let message = format!("another program is replacing the keys in {}", self.0.display());
                Err(OrchestratorError::new(ErrorKind::Conflict, message))
            }
            Err(fs::TryLockError::Error(error)) => Err(self.failed("cannot be locked", error)),
        }
    }

    fn unfinished(&self) -> PathBuf {
        with_suffix(&self.0, &format!(".new-{}-{:016x}", std::process::id(), fastrand::u64(..)))
    }

    /// A name in a folder is on disk when the folder is.
    fn sync_folder(&self) -> io::Result<()> {
        let folder = self.0.parent().filter(|folder| cfg!(unix) && !folder.as_os_str().is_empty());
        folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    }

    fn failed(&self, what: &str, error: io::Error) -> OrchestratorError {
        let message = format!("the file with the keys of secrets, {}, {what}", self.0.display());
        OrchestratorError::new(ErrorKind::Other, message)
            .with_code(Some(ErrorCode::ENCRYPTION_EXCEPTION))
            .with_source(error)
    }
}

fn write_private(path: &Path, keys: &EncryptionKeys) -> io::Result<()> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(keys.to_lines().as_bytes())?;
    file.sync_all()
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
