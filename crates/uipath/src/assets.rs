//! Assets (orchestrator-api 14): what people do with them, and what a performer reads.
//!
//! A robot reads its value by its key. Without a key the plain reads have what is not secret, and performer's own server is asked for the
//! rest, where the user of the caller has a robot.

use async_trait::async_trait;

use super::call::{Call, CallError};
use super::{Inner, Uipath};
use performer_core::model::Refusal;
use performer_core::model::asset::{
    Asset, AssetScope, AssetSettings, NewAsset, NewValue, RobotAsset, ValueOf, validate_name,
};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{AssetAdministration, ErrorKind, OrchestratorError, Result};
use performer_wire::asset::{AssetDto, RobotAssetRequest, ShareAssetsRequest, UserAssetDto};
use performer_wire::filter::quoted;
use performer_wire::{Collection, Unreadable};

const PATH: &str = "/odata/Assets";

/// The maximum number of pages of assets.
const MAX_PAGES: usize = 100;

fn action(name: &str) -> String {
    format!("{PATH}/UiPath.Server.Configuration.OData.{name}")
}

fn unreadable(error: &Unreadable) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::Other, error.to_string())
}

fn no_asset(name: &str) -> OrchestratorError {
    Refusal::new(ErrorCode::ASSET_NOT_FOUND, format!("asset {name:?} does not exist")).into()
}

impl Inner {
    pub(super) async fn read_asset(&self, name: &str) -> Result<RobotAsset> {
        validate_name(name)?;
        if self.robot_key.is_some() {
            return self.asset_of_robot(name).await;
        }
        let asset = self.asset(name).await?;
        let is_secret = asset.value_type.has_secret();
        if self.supports_leases() && (is_secret || asset.scope == AssetScope::PerRobot) {
            return self.asset_of_robot(name).await;
        }
        if is_secret {
            let message = format!(
                "only a robot reads what is secret in the asset {name:?}: name it with UIPATH_ROBOT_KEY, or ?robot_key= in the URL"
            );
            return Err(OrchestratorError::invalid(message));
        }
        let value = asset.value_for(&Default::default())?.value.clone();
        Ok(RobotAsset { id: asset.id, name: asset.name, value, secret: None })
    }

    async fn asset_of_robot(&self, name: &str) -> Result<RobotAsset> {
        let body = RobotAssetRequest {
            robot_key: self.robot_key.clone(),
            asset_name: name.to_owned(),
            supports_credentials_proxy_disconnected: None,
        };
        let operation = "GetRobotAssetByNameForRobotKey";
        let found: UserAssetDto =
            self.http.json(Call::post(operation, action(operation), &body).repeatable()).await?;
        found.into_asset().map_err(|error| unreadable(&error))
    }

    async fn assets(&self) -> Result<Vec<Asset>> {
        let call = Call::get("GetFilteredAssets", action("GetFiltered")).query("$orderby", "Name");
        let rows: Vec<AssetDto> = self.http.rows(call, MAX_PAGES).await?;
        // One of a type that is not known here does not hide the others.
        let known = |row: AssetDto| {
            row.into_asset().map_err(|error| tracing::warn!(%error, "an asset is left out of the list")).ok()
        };
        Ok(rows.into_iter().filter_map(known).collect())
    }

    /// An asset by its name. The list has no values of users, so it is read once more by its number.
    async fn asset(&self, name: &str) -> Result<Asset> {
        let filter = format!("Name eq {}", quoted(name));
        let call =
            Call::get("GetFilteredAssets", action("GetFiltered")).query("$filter", filter).query("$top", "1");
        let found: Collection<AssetDto> = self.http.json(call).await?;
        let found = found
            .value
            .into_iter()
            .next()
            .ok_or_else(|| no_asset(name))?
            .into_asset()
            .map_err(|error| unreadable(&error))?;
        if found.scope == AssetScope::Global {
            return Ok(found);
        }
        let call = Call::get("GetAsset", format!("{PATH}({})", found.id)).query("$expand", "UserValues");
        let whole: AssetDto = self.http.json(call).await?;
        whole.into_asset().map_err(|error| unreadable(&error))
    }

    async fn make_asset(&self, new: NewAsset) -> Result<Asset> {
        new.validate()?;
        let name = new.about.name.clone();
        match self.http.json::<AssetDto>(Call::post("PostAsset", PATH, &AssetDto::of(&new))).await {
            Ok(made) => made.into_asset().map_err(|error| unreadable(&error)),
            // Whether its password is the one of this call cannot be seen: it is written again.
            Err(CallError { error, maybe_executed: true }) => match self.asset(&name).await {
                Ok(there) => self.change_asset(&there, new).await,
                Err(_) => Err(error),
            },
            Err(failed) => Err(failed.error),
        }
    }

    async fn change_asset(&self, there: &Asset, new: NewAsset) -> Result<Asset> {
        new.validate()?;
        let mut body = AssetDto::of(&new);
        body.id = Some(there.id.0);
        self.http.done(Call::put("PutAsset", format!("{PATH}({})", there.id), &body)).await?;
        self.asset(&new.about.name).await
    }

    /// What an asset is, to be written back with a change. Its secrets stay what they are.
    fn as_new(asset: &Asset) -> NewAsset {
        let about = AssetSettings {
            name: asset.name.clone(),
            description: asset.description.clone(),
            value_type: asset.value_type,
            scope: asset.scope,
        };
        let values =
            asset.values.iter().map(|value| NewValue::plain(value.of, value.value.clone())).collect();
        NewAsset::with_values(about, values)
    }
}

#[async_trait]
impl AssetAdministration for Uipath {
    async fn list_assets(&self) -> Result<Vec<Asset>> {
        self.inner.assets().await
    }

    async fn get_asset(&self, name: &str) -> Result<Asset> {
        self.inner.asset(name).await
    }

    async fn create_asset(&self, asset: NewAsset) -> Result<Asset> {
        self.inner.make_asset(asset).await
    }

    async fn update_asset(&self, name: &str, asset: NewAsset) -> Result<Asset> {
        let there = self.inner.asset(name).await?;
        self.inner.change_asset(&there, asset).await
    }

    /// Reads the asset and writes it back with the value: a change of another caller in between is lost.
    async fn set_asset_value(&self, name: &str, value: NewValue) -> Result<Asset> {
        value.validate()?;
        let there = self.inner.asset(name).await?;
        let mut changed = there.clone();
        changed.set_value(value.of, value.value.clone())?;
        let mut new = Inner::as_new(&changed);
        for known in new.values.iter_mut().filter(|known| known.of == value.of) {
            known.secret.clone_from(&value.secret);
        }
        self.inner.change_asset(&there, new).await
    }

    async fn remove_asset_value(&self, name: &str, of: ValueOf) -> Result<Asset> {
        let there = self.inner.asset(name).await?;
        let mut changed = there.clone();
        changed.remove_value(of)?;
        self.inner.change_asset(&there, Inner::as_new(&changed)).await
    }

    async fn delete_asset(&self, name: &str) -> Result<()> {
        let id = self.inner.asset(name).await?.id;
        match self.inner.http.done(Call::delete("DeleteAsset", format!("{PATH}({id})"))).await {
            Ok(()) => Ok(()),
            Err(CallError { error, maybe_executed: true }) if error.is_not_found() => Ok(()),
            Err(failed) => Err(failed.error),
        }
    }

    async fn share_asset(&self, name: &str, add: Vec<FolderId>, remove: Vec<FolderId>) -> Result<()> {
        let ids = |folders: Vec<FolderId>| Some(folders.into_iter().map(|folder| folder.0).collect());
        let body = ShareAssetsRequest {
            asset_ids: vec![self.inner.asset(name).await?.id.0],
            to_add_folder_ids: ids(add),
            to_remove_folder_ids: ids(remove),
        };
        let call = Call::post("ShareAssetsToFolders", action("ShareToFolders"), &body).repeatable();
        Ok(self.inner.http.done(call).await?)
    }
}
