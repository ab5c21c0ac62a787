//! Changes of assets, and questions about them.

use super::super::assets::{
    AssetAnswer, AssetOperation, AssetQuery, AssetSelector, SealedValue, SecretRow, stale_key,
};
use super::super::backend::{Answer, Scope};
use super::super::encryption::{KeyId, SealedSecret};
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use performer_core::model::Refusal;
use performer_core::model::asset::{
    Asset, AssetId, AssetSettings, OwnedValue, ValueOf, check_type, missing_secret,
};
use performer_core::model::audit::{Act, FieldChange, asset_changes};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{AssetKey, FolderId};
use performer_core::model::stored_time::stored;
use performer_core::orchestrator::{OrchestratorError, Result};

impl<R: Rows> Apply<'_, R> {
    pub(super) fn change_assets(&mut self, operation: AssetOperation) -> Applied {
        self.rows.lock_assets()?;
        let answer = match operation {
            AssetOperation::Create { key, about, values } => self.create_asset(key, about, values)?,
            AssetOperation::Replace { id, about, values, reach } => {
                self.replace_asset(id, about, values, reach.as_deref())?
            }
            AssetOperation::SetValue { id, value, reach } => {
                self.set_asset_value(id, value, reach.as_deref())?
            }
            AssetOperation::RemoveValue { which, of, reach } => {
                self.remove_asset_value(&which, of, reach.as_deref())?
            }
            AssetOperation::Delete { which, reach } => self.delete_asset(&which, reach.as_deref())?,
            AssetOperation::Share { which, add, remove } => self.share_asset(&which, &add, &remove)?,
            AssetOperation::UseKey(key) => self.use_key(&key)?,
            AssetOperation::Reseal(rows) => {
                for (row, sealed) in &rows {
                    self.rows.replace_secret(row, sealed)?;
                }
                AssetAnswer::Done
            }
        };
        Ok(answer.into())
    }

    fn create_asset(
        &mut self,
        key: AssetKey,
        about: AssetSettings,
        values: Vec<SealedValue>,
    ) -> Applied<AssetAnswer> {
        let folder = self.scope.folder;
        self.check_asset_name(&about.name, folder, None, ErrorCode::NAME_ALREADY_USED)?;
        let mut asset = Asset::new(key, about, folder, stored(self.now));
        asset.creator = self.scope.user;
        let secrets = take_secrets(&mut asset, values, &[])?;
        self.check_keys(&secrets)?;
        asset.id = self.rows.insert_asset(&asset)?;
        self.write_secrets(asset.id, secrets)?;
        self.note_asset(Act::AssetCreated, None, Some(&asset), &[]);
        Ok(AssetAnswer::One(Box::new(asset)))
    }

    fn replace_asset(
        &mut self,
        id: AssetId,
        about: AssetSettings,
        values: Vec<SealedValue>,
        reach: Option<&[FolderId]>,
    ) -> Applied<AssetAnswer> {
        let before = self.asset_to_change(&AssetSelector::Id(id), reach)?;
        check_type(before.value_type, about.value_type)?;
        for folder in &before.folders {
            self.check_asset_name(&about.name, *folder, Some(id), ErrorCode::NAME_ALREADY_USED)?;
        }
        let mut asset = before.clone();
        (asset.name, asset.description, asset.scope) = (about.name, about.description, about.scope);
        asset.values = Vec::new();
        let known = self.rows.owners_of_secrets(id)?;
        let secrets = take_secrets(&mut asset, values, &known)?;
        self.check_keys(&secrets)?;
        for gone in known.iter().filter(|of| asset.value(**of).is_none()) {
            self.rows.delete_secret(id, *gone)?;
        }
        self.write_changed_asset(&before, asset, secrets)
    }

    fn set_asset_value(
        &mut self,
        id: AssetId,
        value: SealedValue,
        reach: Option<&[FolderId]>,
    ) -> Applied<AssetAnswer> {
        let before = self.asset_to_change(&AssetSelector::Id(id), reach)?;
        let mut asset = before.clone();
        asset.set_value(value.of, value.value.clone())?;
        let known = self.rows.owners_of_secrets(id)?;
        let secrets: Vec<_> = needed_secret(asset.value_type, value, &known)?.into_iter().collect();
        self.check_keys(&secrets)?;
        self.write_changed_asset(&before, asset, secrets)
    }

    fn remove_asset_value(
        &mut self,
        which: &AssetSelector,
        of: ValueOf,
        reach: Option<&[FolderId]>,
    ) -> Applied<AssetAnswer> {
        let before = self.asset_to_change(which, reach)?;
        let mut asset = before.clone();
        asset.remove_value(of)?;
        self.rows.delete_secret(asset.id, of)?;
        self.write_changed_asset(&before, asset, Vec::new())
    }

    fn write_changed_asset(
        &mut self,
        before: &Asset,
        mut asset: Asset,
        secrets: Vec<(ValueOf, SealedSecret)>,
    ) -> Applied<AssetAnswer> {
        (asset.modified, asset.modifier) = (Some(stored(self.now)), self.scope.user);
        let new_secrets: Vec<ValueOf> = secrets.iter().map(|(of, _)| *of).collect();
        self.rows.write_asset(&asset)?;
        self.write_secrets(asset.id, secrets)?;
        self.note_asset(Act::AssetEdited, Some(before), Some(&asset), &new_secrets);
        Ok(AssetAnswer::One(Box::new(asset)))
    }

    fn delete_asset(&mut self, which: &AssetSelector, reach: Option<&[FolderId]>) -> Applied<AssetAnswer> {
        let asset = self.asset_to_change(which, reach)?;
        self.rows.delete_asset(asset.id)?;
        self.note_asset(Act::AssetDeleted, Some(&asset), None, &[]);
        Ok(AssetAnswer::Done)
    }

    /// Adds an asset to folders and removes it from others. An asset in no folder could not be found by anybody.
    fn share_asset(
        &mut self,
        which: &AssetSelector,
        add: &[FolderId],
        remove: &[FolderId],
    ) -> Applied<AssetAnswer> {
        let before = which_asset(self.rows, self.scope.folder, which)?.map_err(ApplyError::Refused)?;
        let mut asset = before.clone();
        asset.folders.retain(|folder| !remove.contains(folder));
        for folder in add {
            if !asset.folders.contains(folder) {
                self.check_asset_name(&asset.name, *folder, Some(asset.id), ErrorCode::ITEM_ALREADY_EXISTS)?;
                asset.folders.push(*folder);
            }
        }
        if asset.folders.is_empty() {
            let message = format!("asset {:?} would be in no folder any more", asset.name);
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        self.rows.write_asset(&asset)?;
        self.note_asset(Act::AssetShared, Some(&before), Some(&asset), &[]);
        Ok(AssetAnswer::Done)
    }

    fn use_key(&mut self, key: &KeyId) -> Applied<AssetAnswer> {
        let before = self.rows.encryption_key()?;
        if before.as_ref() != Some(key) {
            self.rows.write_encryption_key(key)?;
            let [before, after] =
                [before.as_ref(), Some(key)].map(|key| key.map(|key| key.to_string().into()));
            let change = FieldChange::new("Key", before, after);
            self.note_act(Act::EncryptionKeyChanged, "secrets", Vec::new(), vec![change]);
        }
        Ok(AssetAnswer::Done)
    }

    /// Refuses a secret under another key than the one that is used now; the first ones decide which that is.
    pub(super) fn check_key(&mut self, key: &KeyId) -> Applied<()> {
        match self.rows.encryption_key()? {
            None => Ok(self.rows.write_encryption_key(key)?),
            Some(current) if current == *key => Ok(()),
            Some(current) => Err(ApplyError::Refused(stale_key(&current))),
        }
    }

    fn check_keys(&mut self, secrets: &[(ValueOf, SealedSecret)]) -> Applied<()> {
        secrets.iter().try_for_each(|(_, secret)| self.check_key(&secret.key))
    }

    fn write_secrets(&mut self, asset: AssetId, secrets: Vec<(ValueOf, SealedSecret)>) -> Result<()> {
        secrets
            .into_iter()
            .try_for_each(|(of, secret)| self.rows.write_secret(&SecretRow { asset, of, secret }))
    }

    fn check_asset_name(
        &mut self,
        name: &str,
        folder: FolderId,
        except: Option<AssetId>,
        code: ErrorCode,
    ) -> Applied<()> {
        match self.rows.asset_named(folder, name)? {
            Some(taken) if Some(taken) != except => {
                Err(Refusal::new(code, format!("the name {name:?} is already used")).into())
            }
            _ => Ok(()),
        }
    }

    /// An asset of the folder, to be changed in all its folders.
    fn asset_to_change(&mut self, which: &AssetSelector, reach: Option<&[FolderId]>) -> Applied<Asset> {
        let asset = which_asset(self.rows, self.scope.folder, which)?.map_err(ApplyError::Refused)?;
        asset.may_be_changed_by(reach)?;
        Ok(asset)
    }

    fn note_asset(
        &mut self,
        act: Act,
        before: Option<&Asset>,
        after: Option<&Asset>,
        new_secrets: &[ValueOf],
    ) {
        let changes = asset_changes(before, after, new_secrets);
        if let Some(asset) = before.or(after)
            && !changes.is_empty()
        {
            self.note_act(act, format!("asset {}", asset.name), Vec::new(), changes);
        }
    }
}

/// Gives an asset its values, and returns their new secrets. `known`: whose secret it has already.
fn take_secrets(
    asset: &mut Asset,
    values: Vec<SealedValue>,
    known: &[ValueOf],
) -> Applied<Vec<(ValueOf, SealedSecret)>> {
    let mut secrets = Vec::new();
    for value in values {
        asset.values.push(OwnedValue { of: value.of, value: value.value.clone() });
        secrets.extend(needed_secret(asset.value_type, value, known)?);
    }
    asset.values.sort_by_key(|value| value.of);
    Ok(secrets)
}

/// The new secret of a value. Refused if it needs one, has none, and there is none to keep.
fn needed_secret(
    value_type: performer_core::model::asset::AssetType,
    value: SealedValue,
    known: &[ValueOf],
) -> Applied<Option<(ValueOf, SealedSecret)>> {
    let SealedValue { of, secret, .. } = value;
    if value_type.has_secret() && secret.is_none() && !known.contains(&of) {
        return Err(missing_secret(value_type, of).into());
    }
    Ok(secret.map(|secret| (of, secret)))
}

/// An asset of a folder. The inner error: it does not exist, or not in this folder.
fn which_asset<R: Rows>(rows: &mut R, folder: FolderId, which: &AssetSelector) -> Result<Result<Asset>> {
    let (id, missing) = match which {
        AssetSelector::Name(name) => {
            let missing = Refusal::new(ErrorCode::ASSET_NOT_FOUND, format!("asset {name:?} does not exist"));
            (rows.asset_named(folder, name)?, missing.into())
        }
        AssetSelector::Id(id) => {
            (Some(*id), OrchestratorError::not_found(format!("asset {id} does not exist")))
        }
    };
    let found = id.map_or(Ok(None), |id| rows.asset(id))?;
    Ok(found.filter(|asset| asset.folders.contains(&folder)).ok_or(missing))
}

pub(super) fn answer<R: Rows>(rows: &mut R, scope: Scope, query: AssetQuery) -> Result<Answer> {
    let answer = match query {
        AssetQuery::One(which) => AssetAnswer::One(Box::new(which_asset(rows, scope.folder, &which)??)),
        AssetQuery::Of(folders) => AssetAnswer::Many(rows.assets_in(&folders)?),
        AssetQuery::Value { name, reader } => {
            let asset = which_asset(rows, scope.folder, &AssetSelector::Name(name))??;
            let value = asset.value_for(&reader)?.clone();
            let secret = if asset.value_type.has_secret() { rows.secret(asset.id, value.of)? } else { None };
            AssetAnswer::Value(Box::new((asset, value, secret)))
        }
        AssetQuery::Key => AssetAnswer::Key(rows.encryption_key()?),
        AssetQuery::UnderOtherKeys { key, after, limit } => {
            let mut secrets = Vec::new();
            for row in rows.secrets_under_other_keys(&key, &after, limit)? {
                let asset = rows.asset(row.asset)?;
                secrets.extend(asset.map(|asset| (asset.key, row)));
            }
            AssetAnswer::Secrets(secrets)
        }
    };
    Ok(answer.into())
}
