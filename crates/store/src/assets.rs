//! Assets: what a store keeps of them. What an asset is says [`performer_core::model::asset`].
//!
//! An asset is a document, which the model reads and writes as a whole; what is secret in its values stands in rows of its own, encrypted
//! ([`encryption`](super::encryption)) before the change is queued. A secret that is kept by a change is not read for it.
//! Over 500 lines, because what is done with a secret is to be read in one place.

use std::sync::Arc;

use async_trait::async_trait;

use super::Store;
use super::backend::{Answer, Operation, Query, expect_answer};
use super::encryption::{Encryption, EncryptionKeys, KeyId, SealedSecret, refused};
use super::scoped_queues::Reach;
use performer_core::crash_point;
use performer_core::model::asset::{
    Asset, AssetId, AssetReader, AssetSettings, AssetValue, NewAsset, NewValue, OwnedValue, RobotAsset,
    ValueOf,
};
use performer_core::model::clock::Clock as _;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{AssetKey, FolderId, KeyMaker};
use performer_core::orchestrator::{AssetAdministration, ErrorKind, OrchestratorError, Result};

/// How many secrets one commit encrypts anew.
const SEALED_AT_ONCE: usize = 100;

/// How often a change is encrypted again because the key was replaced meanwhile.
pub(super) const MOST_KEYS: usize = 5;

/// An asset of the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AssetSelector {
    /// By its name, ignoring case.
    Name(String),
    /// By its number.
    Id(AssetId),
}

/// A value with its secret part as it is stored. `None`: the one that there is stays.
#[derive(Clone, Debug)]
pub(crate) struct SealedValue {
    pub(crate) of: ValueOf,
    pub(crate) value: AssetValue,
    pub(crate) secret: Option<SealedSecret>,
}

/// A secret in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SecretRow {
    pub(crate) asset: AssetId,
    pub(crate) of: ValueOf,
    pub(crate) secret: SealedSecret,
}

/// A change of assets.
#[derive(Clone, Debug)]
pub(crate) enum AssetOperation {
    Create {
        key: AssetKey,
        about: AssetSettings,
        values: Vec<SealedValue>,
    },
    Replace {
        id: AssetId,
        about: AssetSettings,
        values: Vec<SealedValue>,
        reach: Reach,
    },
    SetValue {
        id: AssetId,
        value: SealedValue,
        reach: Reach,
    },
    RemoveValue {
        which: AssetSelector,
        of: ValueOf,
        reach: Reach,
    },
    Delete {
        which: AssetSelector,
        reach: Reach,
    },
    Share {
        which: AssetSelector,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    },
    /// Secrets are encrypted with this key from now on.
    UseKey(KeyId),
    /// Replaces secrets by the same ones under another key: each if it is still what it was.
    Reseal(Vec<(SecretRow, SealedSecret)>),
}

impl AssetOperation {
    /// Whether it is a change that people make.
    pub(crate) fn is_audited(&self) -> bool {
        !matches!(self, Self::Reseal(_))
    }
}

/// A question about assets.
#[derive(Debug)]
pub(crate) enum AssetQuery {
    One(AssetSelector),
    /// The assets in any of these folders, by name.
    Of(Arc<[FolderId]>),
    /// The value of an asset for a reader, with its secret part.
    Value {
        name: String,
        reader: AssetReader,
    },
    /// The id of the key that is used now.
    Key,
    /// Secrets that are encrypted with another key than this one, from behind a place on, with the keys of their assets.
    UnderOtherKeys {
        key: KeyId,
        after: (AssetId, String),
        limit: usize,
    },
}

/// The answer to either.
#[derive(Debug)]
pub(crate) enum AssetAnswer {
    One(Box<Asset>),
    Many(Vec<Asset>),
    Value(Box<(Asset, OwnedValue, Option<SealedSecret>)>),
    Key(Option<KeyId>),
    Secrets(Vec<(AssetKey, SecretRow)>),
    Done,
}

/// What a back end does about assets, inside the one transaction that is open.
pub(crate) trait AssetRows {
    /// Keeps other transactions from changing assets until this one ends, if several can write.
    fn lock_assets(&mut self) -> Result<()>;
    /// Inserts an asset. Returns its number.
    fn insert_asset(&mut self, asset: &Asset) -> Result<AssetId>;
    /// Writes an asset, and the folders and the name by which it is found.
    fn write_asset(&mut self, asset: &Asset) -> Result<()>;
    /// Removes an asset with its secrets.
    fn delete_asset(&mut self, id: AssetId) -> Result<()>;
    fn asset(&mut self, id: AssetId) -> Result<Option<Asset>>;
    fn asset_named(&mut self, folder: FolderId, name: &str) -> Result<Option<AssetId>>;
    /// By name.
    fn assets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Asset>>;
    /// Whose values of an asset have a secret.
    fn owners_of_secrets(&mut self, id: AssetId) -> Result<Vec<ValueOf>>;
    fn secret(&mut self, id: AssetId, of: ValueOf) -> Result<Option<SealedSecret>>;
    fn write_secret(&mut self, row: &SecretRow) -> Result<()>;
    /// Replaces a secret if it is still what it was.
    fn replace_secret(&mut self, row: &SecretRow, by: &SealedSecret) -> Result<()>;
    fn delete_secret(&mut self, id: AssetId, of: ValueOf) -> Result<()>;
    fn secrets_under_other_keys(
        &mut self,
        key: &KeyId,
        after: &(AssetId, String),
        limit: usize,
    ) -> Result<Vec<SecretRow>>;
    fn encryption_key(&mut self) -> Result<Option<KeyId>>;
    fn write_encryption_key(&mut self, key: &KeyId) -> Result<()>;
}

/// The place that a secret is bound to.
fn place(asset: AssetKey, of: ValueOf) -> String {
    format!("asset {asset} {of}")
}

/// What a replacement of the key has done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyRotation {
    /// The id of the key that is used now.
    pub key: String,
    /// How many secrets were encrypted with it by this call.
    pub encrypted: u64,
    /// What has a secret that could not be decrypted, `asset 3` or `webhook 2`, and why. Such secrets stay as they are.
    pub left: Vec<(String, String)>,
    /// The file from which the keys before it were removed. `None`: they come from elsewhere, or secrets are left that need them.
    pub cleaned: Option<std::path::PathBuf>,
}

impl Store {
    /// This store with keys of the program's own for the secrets of assets, instead of those of the environment or of the file beside a
    /// SQLite file.
    #[must_use]
    pub fn with_encryption_keys(&self, keys: EncryptionKeys) -> Self {
        Self { encryption: Arc::new(Encryption::given(keys)), ..self.clone() }
    }

    /// An asset of the folder.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504 for a name, and with code 1002 for a number.
    pub async fn find_asset(&self, which: AssetSelector) -> Result<Asset> {
        match self.ask_assets(AssetQuery::One(which)).await? {
            AssetAnswer::One(asset) => Ok(*asset),
            other => Err(unexpected(&other)),
        }
    }

    /// The assets in any of these folders, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn assets_in_folders(&self, folders: Arc<[FolderId]>) -> Result<Vec<Asset>> {
        match self.ask_assets(AssetQuery::Of(folders)).await? {
            AssetAnswer::Many(assets) => Ok(assets),
            other => Err(unexpected(&other)),
        }
    }

    /// The value of an asset of the folder for a reader, with its secret part. The caller has to see to it that it is this reader.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504 or 1503; Other with code 1021 or 1800 for a secret that cannot be decrypted.
    pub async fn read_asset_as(&self, name: &str, reader: AssetReader) -> Result<RobotAsset> {
        let query = AssetQuery::Value { name: name.to_owned(), reader };
        let (asset, value, sealed) = match self.ask_assets(query).await? {
            AssetAnswer::Value(found) => *found,
            other => return Err(unexpected(&other)),
        };
        let secret = match sealed {
            Some(sealed) => {
                Some(self.encryption.open(&place(asset.key, value.of), &sealed).map_err(|error| {
                    error.reworded(ErrorKind::Other, |why| format!("asset {:?}: {why}", asset.name))
                })?)
            }
            None if asset.value_type.has_secret() => {
                let message = format!("asset {:?} has no secret for {}", asset.name, value.of);
                return Err(refused(ErrorCode::ENCRYPTION_EXCEPTION, message));
            }
            None => None,
        };
        Ok(RobotAsset { id: asset.id, name: asset.name, value: value.value, secret })
    }

    /// Replaces the settings and the values of an asset, which is one asset in all its folders. A value without a secret part keeps
    /// the one that it has.
    ///
    /// # Errors
    ///
    /// As [`AssetAdministration::update_asset`]; NotFound with code 1002; Unauthorized with code 1017 if it is in a folder out of reach.
    pub async fn replace_asset(&self, id: AssetId, new: NewAsset, reach: Reach) -> Result<Asset> {
        new.validate()?;
        let key = self.find_asset(AssetSelector::Id(id)).await?.key;
        self.encrypted(|store, current| {
            let values = store.sealed(key, &new.values, current)?;
            let reach = reach.clone();
            Ok(AssetOperation::Replace { id, about: new.about.clone(), values, reach })
        })
        .await
    }

    /// Sets the value of somebody.
    ///
    /// # Errors
    ///
    /// As [`replace_asset`](Self::replace_asset).
    pub async fn set_value_of_asset(
        &self,
        which: AssetSelector,
        value: NewValue,
        reach: Reach,
    ) -> Result<Asset> {
        value.validate()?;
        let Asset { id, key, .. } = self.find_asset(which).await?;
        self.encrypted(|store, current| {
            let values = store.sealed(key, std::slice::from_ref(&value), current)?;
            let value = values.into_iter().next().ok_or_else(|| OrchestratorError::invalid("no value"))?;
            Ok(AssetOperation::SetValue { id, value, reach: reach.clone() })
        })
        .await
    }

    /// Removes the value for a user, a robot, a machine or everybody.
    ///
    /// # Errors
    ///
    /// As [`AssetAdministration::remove_asset_value`]; Unauthorized with code 1017 if the asset is in a folder out of reach.
    pub async fn remove_value_of_asset(
        &self,
        which: AssetSelector,
        of: ValueOf,
        reach: Reach,
    ) -> Result<Asset> {
        self.change_asset(AssetOperation::RemoveValue { which, of, reach }).await
    }

    /// Deletes an asset from all its folders.
    ///
    /// # Errors
    ///
    /// NotFound; Unauthorized with code 1017 if it is in a folder out of reach.
    pub async fn delete_asset_within(&self, which: AssetSelector, reach: Reach) -> Result<()> {
        self.do_to_assets(AssetOperation::Delete { which, reach }).await.map(drop)
    }

    /// Adds an asset of the folder to other folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// As [`AssetAdministration::share_asset`].
    pub async fn share_asset_of_folder(
        &self,
        which: AssetSelector,
        add: Vec<FolderId>,
        remove: Vec<FolderId>,
    ) -> Result<()> {
        self.do_to_assets(AssetOperation::Share { which, add, remove }).await.map(drop)
    }

    /// Replaces the key that secrets are encrypted with, and encrypts all secrets with the new one. Others may read and write secrets
    /// meanwhile. A call that did not finish is continued by the next one.
    ///
    /// The new key is a random one in the file beside a SQLite file; otherwise it is the first one of the keys in the environment, behind
    /// which the one before has to stand.
    ///
    /// # Errors
    ///
    /// Invalid if the environment has no new key; Conflict if another program is replacing the key; Other with code 1800 or 1801 for keys
    /// that are missing or wrong.
    pub async fn rotate_encryption_key(&self) -> Result<KeyRotation> {
        let file = self.encryption.own_file();
        let lock = file.map(super::encryption::KeyFile::lock).transpose()?;
        let current = self.current_key().await?;
        let mut keys = match (&current, file.filter(|file| !file.path().exists())) {
            (None, Some(_)) => {
                return Err(OrchestratorError::invalid("the store has no secrets, and no key to replace"));
            }
            _ => self.encryption.reload()?,
        };
        // Several keys in the file: the replacement before this one did not finish.
        if let (Some(file), Some(lock), 1) = (file, &lock, keys.count()) {
            keys = keys.behind(&EncryptionKeys::random());
            file.replace(&keys, lock)?;
            crash_point!("rotate.after_file");
            self.encryption.reload()?;
        }
        let new = keys.first_id().clone();
        let mut rotation =
            KeyRotation { key: new.to_string(), encrypted: 0, left: Vec::new(), cleaned: None };
        if current.as_ref() != Some(&new) {
            self.do_to_assets(AssetOperation::UseKey(new.clone())).await?;
            crash_point!("rotate.after_use");
        } else if file.is_none()
            && self.secrets_under_other_keys(&new, (AssetId(0), String::new())).await?.is_empty()
            && self.secrets_of_webhooks().await?.iter().all(|(_, secret)| secret.key == new)
        {
            let message = format!(
                "all secrets are encrypted with the first key of {}: put a new one before it, and keep the old one behind it",
                self.encryption.origin()
            );
            return Err(OrchestratorError::invalid(message));
        }
        self.encrypt_anew(&new, &mut rotation).await?;
        let (encrypted, left) = self.encrypt_webhooks_anew(&new).await?;
        rotation.encrypted += encrypted;
        rotation.left.extend(left);
        if let (Some(file), Some(lock), true) = (file, &lock, rotation.left.is_empty()) {
            crash_point!("rotate.before_clean");
            file.replace(&keys.only_first(), lock)?;
            rotation.cleaned = Some(file.path().to_owned());
        }
        Ok(rotation)
    }

    /// Encrypts what is encrypted with other keys, a chunk a commit.
    async fn encrypt_anew(&self, new: &KeyId, rotation: &mut KeyRotation) -> Result<()> {
        let mut after = (AssetId(0), String::new());
        loop {
            let rows = self.secrets_under_other_keys(new, after.clone()).await?;
            let Some((_, last)) = rows.last() else { return Ok(()) };
            after = (last.asset, last.of.to_string());
            let mut resealed = Vec::with_capacity(rows.len());
            for (key, row) in rows {
                let place = place(key, row.of);
                let opened = self.encryption.open(&place, &row.secret);
                match opened.and_then(|secret| self.encryption.seal(Some(new), &place, &secret)) {
                    Ok(sealed) => resealed.push((row, sealed)),
                    Err(error) => rotation.left.push((format!("asset {}", row.asset), error.to_string())),
                }
            }
            rotation.encrypted += resealed.len() as u64;
            self.do_to_assets(AssetOperation::Reseal(resealed)).await?;
            crash_point!("rotate.after_chunk");
        }
    }

    async fn secrets_under_other_keys(
        &self,
        key: &KeyId,
        after: (AssetId, String),
    ) -> Result<Vec<(AssetKey, SecretRow)>> {
        let query = AssetQuery::UnderOtherKeys { key: key.clone(), after, limit: SEALED_AT_ONCE };
        match self.ask_assets(query).await? {
            AssetAnswer::Secrets(rows) => Ok(rows),
            other => Err(unexpected(&other)),
        }
    }

    /// The id of the key that secrets are encrypted with now.
    pub(super) async fn current_key(&self) -> Result<Option<KeyId>> {
        match self.ask_assets(AssetQuery::Key).await? {
            AssetAnswer::Key(key) => Ok(key),
            other => Err(unexpected(&other)),
        }
    }

    fn sealed(
        &self,
        key: AssetKey,
        values: &[NewValue],
        current: Option<&KeyId>,
    ) -> Result<Vec<SealedValue>> {
        let seal = |value: &NewValue| {
            let place = place(key, value.of);
            let secret = value.secret.as_ref().map(|secret| self.encryption.seal(current, &place, secret));
            Ok(SealedValue { of: value.of, value: value.value.clone(), secret: secret.transpose()? })
        };
        values.iter().map(seal).collect()
    }

    /// Makes a change with secrets, again if the key that they are encrypted with was replaced meanwhile.
    async fn encrypted(
        &self,
        change: impl Fn(&Self, Option<&KeyId>) -> Result<AssetOperation> + Send + Sync,
    ) -> Result<Asset> {
        let mut tries = 0;
        loop {
            let current = self.current_key().await?;
            let operation = change(self, current.as_ref())?;
            tries += 1;
            match self.change_asset(operation).await {
                Err(error) if is_stale_key(&error) && tries < MOST_KEYS => {}
                changed => return changed,
            }
        }
    }

    async fn change_asset(&self, operation: AssetOperation) -> Result<Asset> {
        match self.do_to_assets(operation).await? {
            AssetAnswer::One(asset) => Ok(*asset),
            other => Err(unexpected(&other)),
        }
    }

    async fn do_to_assets(&self, operation: AssetOperation) -> Result<AssetAnswer> {
        expect_answer!(self.one(Operation::Assets(Box::new(operation))).await, Asset)
    }

    async fn ask_assets(&self, query: AssetQuery) -> Result<AssetAnswer> {
        expect_answer!(self.read(Query::Assets(query)).await, Asset)
    }
}

/// Another key than the one that was used for a change is the current one.
pub(crate) fn stale_key(current: &KeyId) -> OrchestratorError {
    let message = format!("secrets are encrypted with the key {current} now");
    OrchestratorError::new(ErrorKind::Conflict, message).with_code(Some(ErrorCode::ENCRYPTION_EXCEPTION))
}

pub(super) fn is_stale_key(error: &OrchestratorError) -> bool {
    error.is_conflict() && error.code() == Some(ErrorCode::ENCRYPTION_EXCEPTION)
}

/// Each question has one kind of answer; another one is a bug of this crate.
fn unexpected(answer: &AssetAnswer) -> OrchestratorError {
    OrchestratorError::new(
        ErrorKind::Other,
        format!("the store answered {answer:?} to a question about assets"),
    )
}

impl From<AssetAnswer> for Answer {
    fn from(answer: AssetAnswer) -> Self {
        Self::Asset(answer)
    }
}

#[async_trait]
impl AssetAdministration for Store {
    async fn list_assets(&self) -> Result<Vec<Asset>> {
        self.assets_in_folders(Arc::new([self.scope.folder])).await
    }

    async fn get_asset(&self, name: &str) -> Result<Asset> {
        self.find_asset(AssetSelector::Name(name.to_owned())).await
    }

    async fn create_asset(&self, asset: NewAsset) -> Result<Asset> {
        asset.validate()?;
        let key = KeyMaker::new().asset(self.clock.now());
        self.encrypted(|store, current| {
            let values = store.sealed(key, &asset.values, current)?;
            Ok(AssetOperation::Create { key, about: asset.about.clone(), values })
        })
        .await
    }

    async fn update_asset(&self, name: &str, asset: NewAsset) -> Result<Asset> {
        let found = self.get_asset(name).await?;
        self.replace_asset(found.id, asset, None).await
    }

    async fn set_asset_value(&self, name: &str, value: NewValue) -> Result<Asset> {
        self.set_value_of_asset(AssetSelector::Name(name.to_owned()), value, None).await
    }

    async fn remove_asset_value(&self, name: &str, of: ValueOf) -> Result<Asset> {
        self.remove_value_of_asset(AssetSelector::Name(name.to_owned()), of, None).await
    }

    async fn delete_asset(&self, name: &str) -> Result<()> {
        self.delete_asset_within(AssetSelector::Name(name.to_owned()), None).await
    }

    async fn share_asset(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()> {
        self.share_asset_of_folder(AssetSelector::Name(name.to_owned()), add, remove).await
    }
}
