//! Assets in memory.

use std::collections::BTreeMap;

use super::super::assets::{AssetRows, SecretRow};
use super::super::encryption::{KeyId, SealedSecret};
use super::Memory;
use performer_core::model::asset::{Asset, AssetId, ValueOf};
use performer_core::model::key::FolderId;
use performer_core::model::queue::folded;
use performer_core::orchestrator::Result;

/// All assets, and what is secret in them.
#[derive(Default)]
pub(super) struct StoredAssets {
    all: BTreeMap<AssetId, Asset>,
    /// By asset and by whose value it is, as the text that a database would sort by.
    secrets: BTreeMap<(AssetId, String), (ValueOf, SealedSecret)>,
    key: Option<KeyId>,
    last: i64,
}

impl AssetRows for Memory {
    fn lock_assets(&mut self) -> Result<()> {
        Ok(())
    }

    fn insert_asset(&mut self, asset: &Asset) -> Result<AssetId> {
        self.assets.last += 1;
        let mut asset = asset.clone();
        asset.id = AssetId(self.assets.last);
        self.assets.all.insert(asset.id, asset);
        Ok(AssetId(self.assets.last))
    }

    fn write_asset(&mut self, asset: &Asset) -> Result<()> {
        self.assets.all.insert(asset.id, asset.clone());
        Ok(())
    }

    fn delete_asset(&mut self, id: AssetId) -> Result<()> {
        self.assets.all.remove(&id);
        self.assets.secrets.retain(|(asset, _), _| *asset != id);
        Ok(())
    }

    fn asset(&mut self, id: AssetId) -> Result<Option<Asset>> {
        Ok(self.assets.all.get(&id).cloned())
    }

    fn asset_named(&mut self, folder: FolderId, name: &str) -> Result<Option<AssetId>> {
        let name = folded(name);
        let is_it = |asset: &&Asset| asset.folders.contains(&folder) && folded(&asset.name) == name;
        Ok(self.assets.all.values().find(is_it).map(|asset| asset.id))
    }

    fn assets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Asset>> {
        let is_here = |asset: &&Asset| asset.folders.iter().any(|folder| folders.contains(folder));
        let mut assets: Vec<Asset> = self.assets.all.values().filter(is_here).cloned().collect();
        assets.sort_by_cached_key(|asset| (folded(&asset.name), asset.id));
        Ok(assets)
    }

    fn owners_of_secrets(&mut self, id: AssetId) -> Result<Vec<ValueOf>> {
        let of_asset = self.assets.secrets.iter().filter(|((asset, _), _)| *asset == id);
        Ok(of_asset.map(|(_, (of, _))| *of).collect())
    }

    fn secret(&mut self, id: AssetId, of: ValueOf) -> Result<Option<SealedSecret>> {
        Ok(self.assets.secrets.get(&(id, of.to_string())).map(|(_, secret)| secret.clone()))
    }

    fn write_secret(&mut self, row: &SecretRow) -> Result<()> {
        self.assets.secrets.insert((row.asset, row.of.to_string()), (row.of, row.secret.clone()));
        Ok(())
    }

    fn replace_secret(&mut self, row: &SecretRow, by: &SealedSecret) -> Result<()> {
        if let Some((_, secret)) = self.assets.secrets.get_mut(&(row.asset, row.of.to_string()))
            && *secret == row.secret
        {
            *secret = by.clone();
        }
        Ok(())
    }

    fn delete_secret(&mut self, id: AssetId, of: ValueOf) -> Result<()> {
        self.assets.secrets.remove(&(id, of.to_string()));
        Ok(())
    }

    fn secrets_under_other_keys(
        &mut self,
        key: &KeyId,
        after: &(AssetId, String),
        limit: usize,
    ) -> Result<Vec<SecretRow>> {
        let all =
            self.assets.secrets.iter().filter(|(place, (_, secret))| *place > after && secret.key != *key);
        let row = |((asset, _), (of, secret)): (&(AssetId, String), &(ValueOf, SealedSecret))| SecretRow {
            asset: *asset,
            of: *of,
            secret: secret.clone(),
        };
        Ok(all.take(limit).map(row).collect())
    }

    fn encryption_key(&mut self) -> Result<Option<KeyId>> {
        Ok(self.assets.key.clone())
    }

    fn write_encryption_key(&mut self, key: &KeyId) -> Result<()> {
        self.assets.key = Some(key.clone());
        Ok(())
    }
}
