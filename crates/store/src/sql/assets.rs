//! The statements on assets, and on their secrets.
//!
//! An asset is a document, which the model reads and writes as a whole. `asset_folder` finds it by its name in each of its folders.

use super::super::assets::{AssetRows, SecretRow};
use super::super::encryption::{KeyId, SealedSecret};
use super::super::unreadable_rows::UnreadableRow;
use super::dialect::{Bound, Engine, Row, Values};
use performer_core::model::asset::{Asset, AssetId, ValueOf};
use performer_core::model::key::FolderId;
use performer_core::model::queue::folded;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};

fn document(asset: &Asset) -> Result<String> {
    serde_json::to_string(asset).map_err(|error| OrchestratorError::invalid(error.to_string()))
}

fn read_asset(row: &dyn Row) -> Result<Asset> {
    let read = serde_json::from_str(&row.text(1)?);
    let mut asset: Asset = read.map_err(|error| UnreadableRow::error(error, "the store"))?;
    asset.id = AssetId(row.number(0)?);
    Ok(asset)
}

fn read_owner(text: &str) -> Result<ValueOf> {
    text.parse().map_err(|error| UnreadableRow::error(error, "the store"))
}

fn numbers(folders: &[FolderId]) -> Bound {
    folders.iter().map(|folder| folder.0).collect::<Vec<_>>().into()
}

/// Writes the folders and the name by which an asset is found.
fn insert_folders<E: Engine>(engine: &mut E, asset: &Asset) -> Result<()> {
    for folder in &asset.folders {
        let mut values = Values::default();
        let (folder, asset_id) = (values.bind::<E>(folder.0), values.bind::<E>(asset.id.0));
        let name = values.bind_text::<E>(&folded(&asset.name));
        let sql = format!(
            "INSERT INTO asset_folder (folder_id, folded_name, asset_id) VALUES ({folder}, {name}, {asset_id})"
        );
        engine.execute(&sql, &values)?;
    }
    Ok(())
}

/// Runs a statement that ends with the number of an asset.
fn of_asset<E: Engine>(engine: &mut E, sql: &str, id: AssetId) -> Result<()> {
    let mut values = Values::default();
    let id = values.bind::<E>(id.0);
    engine.execute(&format!("{sql} {id}"), &values)
}

impl<E: Engine> AssetRows for E {
    fn lock_assets(&mut self) -> Result<()> {
        self.lock_until_end("assets")
    }

    fn insert_asset(&mut self, asset: &Asset) -> Result<AssetId> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&document(asset)?);
        let sql = format!("INSERT INTO asset (document) VALUES ({document}) RETURNING id");
        let missing = || OrchestratorError::new(ErrorKind::Other, "a new asset got no number");
        let id = AssetId(self.read_number(&sql, &values)?.ok_or_else(missing)?);
        let mut numbered = asset.clone();
        numbered.id = id;
        insert_folders(self, &numbered)?;
        Ok(id)
    }

    fn write_asset(&mut self, asset: &Asset) -> Result<()> {
        let mut values = Values::default();
        let document = values.bind_text::<E>(&document(asset)?);
        let id = values.bind::<E>(asset.id.0);
        self.execute(&format!("UPDATE asset SET document = {document} WHERE id = {id}"), &values)?;
        of_asset(self, "DELETE FROM asset_folder WHERE asset_id =", asset.id)?;
        insert_folders(self, asset)
    }

    fn delete_asset(&mut self, id: AssetId) -> Result<()> {
        of_asset(self, "DELETE FROM asset_secret WHERE asset_id =", id)?;
        of_asset(self, "DELETE FROM asset_folder WHERE asset_id =", id)?;
        of_asset(self, "DELETE FROM asset WHERE id =", id)
    }

    fn asset(&mut self, id: AssetId) -> Result<Option<Asset>> {
        let mut values = Values::default();
        let sql = format!("SELECT id, document FROM asset WHERE id = {}", values.bind::<E>(id.0));
        Ok(self.read(&sql, &values, read_asset)?.pop())
    }

    fn asset_named(&mut self, folder: FolderId, name: &str) -> Result<Option<AssetId>> {
        let mut values = Values::default();
        let (folder, name) = (values.bind::<E>(folder.0), values.bind_text::<E>(&folded(name)));
        let sql =
            format!("SELECT asset_id FROM asset_folder WHERE folder_id = {folder} AND folded_name = {name}");
        Ok(self.read_number(&sql, &values)?.map(AssetId))
    }

    fn assets_in(&mut self, folders: &[FolderId]) -> Result<Vec<Asset>> {
        let mut values = Values::default();
        let folders = values.bind::<E>(numbers(folders));
        let here = E::among("folder_id", &folders);
        let sql = format!(
            "SELECT id, document FROM asset WHERE id IN (SELECT asset_id FROM asset_folder WHERE {here})"
        );
        let mut assets = self.read_list(("asset", 0), &sql, &values, read_asset)?;
        // As every store sorts, whatever the collation of a database.
        assets.sort_by_cached_key(|asset| (folded(&asset.name), asset.id));
        Ok(assets)
    }

    fn owners_of_secrets(&mut self, id: AssetId) -> Result<Vec<ValueOf>> {
        let mut values = Values::default();
        let sql = format!("SELECT value_of FROM asset_secret WHERE asset_id = {}", values.bind::<E>(id.0));
        self.read(&sql, &values, |row| read_owner(&row.text(0)?))
    }

    fn secret(&mut self, id: AssetId, of: ValueOf) -> Result<Option<SealedSecret>> {
        let mut values = Values::default();
        let (id, of) = (values.bind::<E>(id.0), values.bind_text::<E>(&of.to_string()));
        let sql =
            format!("SELECT key_id, sealed FROM asset_secret WHERE asset_id = {id} AND value_of = {of}");
        let found = self
            .read(&sql, &values, |row| Ok(SealedSecret { key: KeyId(row.text(0)?), text: row.text(1)? }))?;
        Ok(found.into_iter().next())
    }

    fn write_secret(&mut self, row: &SecretRow) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(row.asset.0);
        let [of, key, sealed] = [&row.of.to_string(), &row.secret.key.0, &row.secret.text]
            .map(|text| values.bind_text::<E>(text));
        let sql = format!(
            "INSERT INTO asset_secret (asset_id, value_of, key_id, sealed) VALUES ({id}, {of}, {key}, {sealed}) \
             ON CONFLICT (asset_id, value_of) DO UPDATE SET key_id = excluded.key_id, sealed = excluded.sealed"
        );
        self.execute(&sql, &values)
    }

    fn replace_secret(&mut self, row: &SecretRow, by: &SealedSecret) -> Result<()> {
        let mut values = Values::default();
        let id = values.bind::<E>(row.asset.0);
        let [of, was, key, sealed] = [&row.of.to_string(), &row.secret.text, &by.key.0, &by.text]
            .map(|text| values.bind_text::<E>(text));
        let sql = format!(
            "UPDATE asset_secret SET key_id = {key}, sealed = {sealed} \
             WHERE asset_id = {id} AND value_of = {of} AND sealed = {was}"
        );
        self.execute(&sql, &values)
    }

    fn delete_secret(&mut self, id: AssetId, of: ValueOf) -> Result<()> {
        let mut values = Values::default();
        let (id, of) = (values.bind::<E>(id.0), values.bind_text::<E>(&of.to_string()));
        self.execute(&format!("DELETE FROM asset_secret WHERE asset_id = {id} AND value_of = {of}"), &values)
    }

    /// By walking the primary key: there are at most some thousands, and this is done when a key is replaced.
    fn secrets_under_other_keys(
        &mut self,
        key: &KeyId,
        (after, of): &(AssetId, String),
        limit: usize,
    ) -> Result<Vec<SecretRow>> {
        let mut values = Values::default();
        let after = values.bind::<E>(after.0);
        let [of, key] = [of, &key.0].map(|text| values.bind_text::<E>(text));
        let bytes = E::BY_BYTES;
        let sql = format!(
            "SELECT asset_id, value_of, key_id, sealed FROM asset_secret \
             WHERE (asset_id > {after} OR asset_id = {after} AND value_of{bytes} > {of}) AND key_id <> {key} \
             ORDER BY asset_id, value_of{bytes} LIMIT {limit}"
        );
        self.read(&sql, &values, |row| {
            let secret = SealedSecret { key: KeyId(row.text(2)?), text: row.text(3)? };
            Ok(SecretRow { asset: AssetId(row.number(0)?), of: read_owner(&row.text(1)?)?, secret })
        })
    }

    fn encryption_key(&mut self) -> Result<Option<KeyId>> {
        let found = self.read("SELECT key_id FROM encryption", &Values::default(), |row| row.text(0))?;
        Ok(found.into_iter().next().map(KeyId))
    }

    fn write_encryption_key(&mut self, key: &KeyId) -> Result<()> {
        let mut values = Values::default();
        let key = values.bind_text::<E>(&key.0);
        let sql = format!(
            "INSERT INTO encryption (id, key_id) VALUES (1, {key}) ON CONFLICT (id) DO UPDATE SET key_id = excluded.key_id"
        );
        self.execute(&sql, &values)
    }
}
