//! What people do with assets.

use async_trait::async_trait;

use super::Result;
use crate::model::asset::{Asset, NewAsset, NewValue, ValueOf};
use crate::model::key::FolderId;

/// Makes, lists and changes assets. What is secret in them is written and never read here: whoever a value is meant for reads it with
/// [`Orchestrator::read_asset`](super::Orchestrator::read_asset).
///
/// A back end that has assets says so with [`QueueAdministration::assets`](super::QueueAdministration::assets).
#[async_trait]
pub trait AssetAdministration: std::fmt::Debug + Send + Sync {
    /// Lists the assets, by name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    async fn list_assets(&self) -> Result<Vec<Asset>>;

    /// Finds an asset by its name, which is case-insensitive.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504.
    async fn get_asset(&self, name: &str) -> Result<Asset>;

    /// Creates an asset.
    ///
    /// # Errors
    ///
    /// Conflict with code 1001 if the name is already used; Invalid for what [`NewAsset::validate`] refuses, and with code 1014, 1500 or
    /// 1501 for a value without its secret part; Other with code 1800 if there is no key to encrypt it with.
    async fn create_asset(&self, asset: NewAsset) -> Result<Asset>;

    /// Replaces the settings and values of an asset. A value without a secret part keeps the one that it has.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504; Invalid with code 1502 for another type; otherwise as [`create_asset`](Self::create_asset).
    async fn update_asset(&self, name: &str, asset: NewAsset) -> Result<Asset>;

    /// Sets the value of somebody, and leaves those of others. A value that is not everybody's makes a global asset one per robot.
    ///
    /// # Errors
    ///
    /// As [`update_asset`](Self::update_asset).
    async fn set_asset_value(&self, name: &str, value: NewValue) -> Result<Asset>;

    /// Removes the value for a user, a robot, a machine or everybody.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504, and with code 1503 if there is no such value; Invalid for the only value of a global asset.
    async fn remove_asset_value(&self, name: &str, of: ValueOf) -> Result<Asset>;

    /// Deletes an asset, in all its folders.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504.
    async fn delete_asset(&self, name: &str) -> Result<()>;

    /// Adds an asset to folders, and removes it from others.
    ///
    /// # Errors
    ///
    /// NotFound with code 1504; Conflict with code 1004 if a folder has an asset of this name; Invalid if the asset would be in no folder.
    async fn share_asset(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()>;
}
