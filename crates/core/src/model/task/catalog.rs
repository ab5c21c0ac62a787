//! Catalogs: groups of tasks, in one folder or in several.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::code::ErrorCode;
use super::super::key::{CatalogKey, FolderId};
use super::super::queue::folded;
use super::super::refusal::Refusal;
use super::{TaskLabel, check_labels, check_length, check_some, invalid};

/// The longest name of a catalog, in UTF-16 code units.
pub const CATALOG_NAME_LIMIT: usize = 50;

/// The longest description of a catalog, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 512;

/// The most catalogs of a store. The limit is ours.
pub const MAX_CATALOGS: usize = 1_000;

/// The number of a catalog. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CatalogId(pub i64);

impl fmt::Display for CatalogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What can be chosen of a catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CatalogSettings {
    /// Its name, unique in each of its folders, ignoring case.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// Its labels.
    pub labels: Vec<TaskLabel>,
}

impl CatalogSettings {
    /// Checks the limits.
    ///
    /// # Errors
    ///
    /// Code 1009 for a text that is empty or too long.
    pub fn validate(&self) -> Result<(), Refusal> {
        check_length("the name of a catalog", self.name.trim(), 1, CATALOG_NAME_LIMIT)?;
        check_length("the name of a catalog", &self.name, 1, CATALOG_NAME_LIMIT)?;
        check_some("the description of a catalog", self.description.as_deref(), DESCRIPTION_LIMIT)?;
        check_labels(&self.labels)
    }
}

/// A catalog.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct TaskCatalog {
    /// Its number.
    pub id: CatalogId,
    /// Its key.
    pub key: CatalogKey,
    /// What was chosen.
    pub settings: CatalogSettings,
    /// The folders that it is in, the first one first.
    pub folders: Vec<FolderId>,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
}

impl TaskCatalog {
    /// A new catalog in a folder.
    pub fn new(key: CatalogKey, settings: CatalogSettings, folder: FolderId, now: Timestamp) -> Self {
        Self { id: CatalogId(0), key, settings, folders: vec![folder], created: now, modified: None }
    }

    /// Whether it has this name in one of these folders.
    pub fn is_named(&self, name: &str, folders: &[FolderId]) -> bool {
        folders.iter().any(|folder| self.folders.contains(folder))
            && folded(&self.settings.name) == folded(name)
    }

    /// Checks that a caller may change it: it is one catalog in all its folders. `reach`: the folders in which the caller may;
    /// `None`: all.
    ///
    /// # Errors
    ///
    /// Code 1017 if it is in a folder out of reach.
    pub fn may_be_changed_by(&self, reach: Option<&[FolderId]>) -> Result<(), Refusal> {
        let is_within = |folder: &FolderId| reach.is_none_or(|reach| reach.contains(folder));
        if self.folders.iter().all(is_within) {
            return Ok(());
        }
        let message =
            format!("catalog {:?} is in folders where the caller may not change it", self.settings.name);
        Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message))
    }

    /// Adds it to folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// Code 1009 if it would be in no folder.
    pub fn share(&mut self, add: &[FolderId], remove: &[FolderId]) -> Result<(), Refusal> {
        let mut folders = self.folders.clone();
        folders.retain(|folder| !remove.contains(folder));
        for folder in add {
            if !folders.contains(folder) {
                folders.push(*folder);
            }
        }
        if folders.is_empty() {
            return Err(invalid(format!("catalog {:?} would be in no folder any more", self.settings.name)));
        }
        self.folders = folders;
        Ok(())
    }
}
