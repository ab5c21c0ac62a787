//! Which storage a store has.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::FileStorage;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

/// The variable of the environment with the URL of the storage.
pub const STORAGE_VARIABLE: &str = "PERFORMER_BUCKETS";

/// Where the storage of a store comes from. It is opened when it is used for the first time.
#[derive(Debug)]
pub(crate) struct FileSource {
    /// The folder beside the file of the store, if the environment names no storage.
    beside: Option<PathBuf>,
    opened: Mutex<Option<FileStorage>>,
}

impl FileSource {
    pub(crate) fn given(storage: FileStorage) -> Self {
        Self { beside: None, opened: Mutex::new(Some(storage)) }
    }

    /// That of the environment; else the folder of this path, if there is one.
    pub(crate) fn of_environment(beside: Option<PathBuf>) -> Self {
        Self { beside, opened: Mutex::new(None) }
    }

    pub(super) fn storage(&self) -> Result<FileStorage> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(storage) = &*opened {
            return Ok(storage.clone());
        }
        let named = std::env::var(STORAGE_VARIABLE).ok().filter(|url| !url.is_empty());
        let storage = match (named, &self.beside) {
            (Some(url), _) => FileStorage::open(&url)?,
            (None, Some(folder)) => FileStorage::folder(folder)?,
            (None, None) => {
                let message = format!(
                    "this store has no storage for files: name one with {STORAGE_VARIABLE}, as in /srv/files"
                );
                return Err(OrchestratorError::new(ErrorKind::Unsupported, message));
            }
        };
        *opened = Some(storage.clone());
        Ok(storage)
    }
}
