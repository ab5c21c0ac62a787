//! Assets (orchestrator-api 14). Plain reads return nothing that is secret; a robot reads its own value with it, and only its own user may
//! show the key of a robot.

use axum::http::StatusCode;
use serde_json::Value;
use uuid::Uuid;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::shared_resources::{Sharing, accessible_folders, find_in_any_folder, folders_of_list, reach};
use super::strict;
use crate::directory::{Directory, Robot};
use crate::permission::{Action, Area, Permission};
use performer_core::model::asset::{
    Asset, AssetId, AssetReader, AssetScope, NewValue, ValueOf, check_type, validate_name,
};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::AssetAdministration as _;
use performer_store::{AssetSelector, Store};
use performer_wire::asset::{
    AssetDto, OwnerNames, RobotAssetRequest, SetRobotAssetRequest, ShareAssetsRequest, asset_response,
    robot_asset_response,
};
use performer_wire::odata::entity_set;
use performer_wire::responses;

type HandlerResult = Result<ApiResponse, ApiError>;

const ENTITY: &str = "Assets";

const VIEW: Permission = Permission(Area::Assets, Action::View);
const CREATE: Permission = Permission(Area::Assets, Action::Create);
const EDIT: Permission = Permission(Area::Assets, Action::Edit);
const DELETE: Permission = Permission(Area::Assets, Action::Delete);

/// The names of those who have values of their own.
pub(super) struct Names<'a>(pub(super) &'a Directory);

impl OwnerNames for Names<'_> {
    fn user(&self, id: i64) -> Option<&str> {
        self.0.user(id).map(|user| user.user_name.as_str())
    }

    fn robot(&self, id: i64) -> Option<&str> {
        self.0.robot(id).map(|robot| robot.name.as_str())
    }
}

fn rows(call: &Call, assets: &[Asset]) -> Result<Vec<Value>, ApiError> {
    let names = Names(call.directory()?);
    Ok(assets.iter().map(|asset| asset_response(asset, &names)).collect())
}

async fn by_id(call: &Call) -> Result<Asset, ApiError> {
    Ok(call.store()?.find_asset(AssetSelector::Id(AssetId(call.id()?))).await?)
}

pub(super) async fn list(call: &Call) -> HandlerResult {
    let assets = call.store_for_caller().assets_in_folders(call.all_folders()).await?;
    call.page(&entity_set::ASSETS, rows(call, &assets)?)
}

pub(super) async fn get(call: &Call) -> HandlerResult {
    let asset = by_id(call).await?;
    call.entity(ENTITY, asset_response(&asset, &Names(call.directory()?)))
}

pub(super) async fn create(call: &Call) -> HandlerResult {
    let new = call.body::<AssetDto>(&strict::ASSET)?.into_new(None)?;
    check_owners(call, new.values.iter().map(|value| value.of))?;
    let asset = call.store()?.create_asset(new).await?;
    call.created(ENTITY, asset.id.0, asset_response(&asset, &Names(call.directory()?)))
}

/// Refuses values of users and robots that do not exist. (Machines are not kept here.)
fn check_owners(call: &Call, mut owners: impl Iterator<Item = ValueOf>) -> Result<(), ApiError> {
    let directory = call.directory()?;
    owners.try_for_each(|of| match of {
        ValueOf::User(user) | ValueOf::UserOnMachine { user, .. } if directory.user(user).is_none() => {
            Err(ApiError::not_found(format!("User {user} does not exist.")))
        }
        ValueOf::Robot(robot) if directory.robot(robot).is_none() => {
            Err(ApiError::not_found(format!("Robot {robot} does not exist.")))
        }
        _ => Ok(()),
    })
}

/// An asset is changed in all its folders, so the permission is needed in each.
pub(super) async fn update(call: &Call) -> HandlerResult {
    let body: AssetDto = call.body(&strict::ASSET)?;
    let existing = by_id(call).await?;
    let new = body.into_new(Some(existing.value_type))?;
    // A user that was removed keeps its value until somebody takes it away.
    let unknown = new.values.iter().map(|value| value.of).filter(|of| existing.value(*of).is_none());
    check_owners(call, unknown)?;
    call.store()?.replace_asset(existing.id, new, reach(call, EDIT)?).await?;
    Ok(ApiResponse::empty(StatusCode::OK))
}

pub(super) async fn delete(call: &Call) -> HandlerResult {
    let which = AssetSelector::Id(AssetId(call.id()?));
    call.store()?.delete_asset_within(which, reach(call, DELETE)?).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// The robot that the caller is. The key of another user's robot is refused: it would show that one's secrets.
fn own_robot(call: &Call, found: Option<&Robot>) -> Result<AssetReader, ApiError> {
    let robot = found.ok_or_else(|| ApiError::not_found(ErrorCode::ITEM_NOT_FOUND.text()))?;
    if robot.user != call.caller()?.user.id {
        return Err(no_robot());
    }
    Ok(AssetReader::default().user(robot.user).robot(robot.id))
}

fn robot_with_key<'a>(call: &'a Call, name: &str, key: &str) -> Result<Option<&'a Robot>, ApiError> {
    let key = Uuid::parse_str(key.trim()).map_err(|_| {
        ApiError::invalid_argument(format!("Invalid argument '{name}': it is the GUID of a robot."))
    })?;
    Ok(call.directory()?.robot_with_key(key))
}

async fn read_as(call: &Call, name: &str, reader: AssetReader) -> HandlerResult {
    validate_name(name)?;
    let asset = call.store()?.read_asset_as(name, reader).await?;
    let object = robot_asset_response(&asset);
    let context = call.context("UiPath.Server.Configuration.OData.UserAssetDto");
    let object = call.options()?.selected(object)?;
    ApiResponse::ok(&responses::with_context(&context, &object))
}

pub(super) async fn of_robot_key(call: &Call) -> HandlerResult {
    let body: RobotAssetRequest = call.body(&strict::ROBOT_ASSET)?;
    let Some(key) = body.robot_key else { return of_caller(call, &body.asset_name).await };
    let robot = robot_with_key(call, "robotKey", &key)?;
    read_as(call, &body.asset_name, own_robot(call, robot)?).await
}

/// The value that is meant for the caller, who names no robot. What is secret is for robots alone here, too: the user needs one.
async fn of_caller(call: &Call, name: &str) -> HandlerResult {
    let caller = call.caller()?;
    let robot = caller.directory.robots().find(|robot| robot.user == caller.user.id);
    validate_name(name)?;
    let asset = call.store()?.find_asset(AssetSelector::Name(name.to_owned())).await?;
    if asset.value_type.has_secret() && robot.is_none() {
        return Err(no_robot());
    }
    read_as(call, name, AssetReader::default().user(caller.user.id).robot(robot.map(|robot| robot.id))).await
}

fn no_robot() -> ApiError {
    let message = "The provided robot is not configured for the current user.";
    ApiError::new(StatusCode::CONFLICT, ErrorCode::UNAVAILABLE_RESOURCES.number(), message)
}

/// GetRobotAsset: the argument is called an id, and is the key.
pub(super) async fn of_robot_key_in_path(call: &Call) -> HandlerResult {
    let robot = robot_with_key(call, "robotId", call.argument("robotId")?)?;
    read_as(call, call.argument("assetName")?, own_robot(call, robot)?).await
}

pub(super) async fn of_robot_id(call: &Call) -> HandlerResult {
    let robot = call.directory()?.robot(call.argument_as("robotId")?);
    read_as(call, call.argument("assetName")?, own_robot(call, robot)?).await
}

/// Writes the value that the robot reads: everybody's of a global asset; else its own, which is its user's unless the robot has one.
pub(super) async fn set_of_robot_key(call: &Call) -> HandlerResult {
    let SetRobotAssetRequest { robot_key, mut robot_asset } = call.body(&strict::SET_ROBOT_ASSET)?;
    let robot = robot_with_key(call, "robotKey", &robot_key)?;
    let reader = own_robot(call, robot)?;
    validate_name(&robot_asset.name)?;
    let store = call.store()?;
    let asset = store.find_asset(AssetSelector::Name(robot_asset.name.clone())).await?;
    let dto = robot_asset.take_value();
    if let Some(named) = dto.named_type()? {
        check_type(asset.value_type, named)?;
    }
    let (value, secret) = dto.into_value(asset.value_type)?;
    let of = match (asset.scope, asset.value_for(&reader).map(|value| value.of), reader.user) {
        (AssetScope::Global, ..) => ValueOf::Everybody,
        (
            AssetScope::PerRobot,
            Ok(of @ (ValueOf::Robot(_) | ValueOf::User(_) | ValueOf::UserOnMachine { .. })),
            _,
        ) => of,
        (AssetScope::PerRobot, _, user) => ValueOf::User(user.unwrap_or_default()),
    };
    let value = NewValue { of, value, secret };
    store.set_value_of_asset(AssetSelector::Id(asset.id), value, reach(call, EDIT)?).await?;
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}

/// An asset in any folder where the caller has a permission.
async fn find_anywhere(call: &Call, id: i64, permission: Permission) -> Result<(Asset, FolderId), ApiError> {
    let find = |store: Store| async move { store.find_asset(AssetSelector::Id(AssetId(id))).await };
    find_in_any_folder(call, ("Asset", id), permission, find).await
}

pub(super) async fn folders_for_asset(call: &Call) -> HandlerResult {
    let (asset, _) = find_anywhere(call, call.argument_as("id")?, VIEW).await?;
    accessible_folders(call, &asset.folders)
}

pub(super) async fn across_folders(call: &Call) -> HandlerResult {
    let folders = folders_of_list(call, VIEW)?;
    let assets = call.store_for_caller().assets_in_folders(folders).await?;
    call.page(&entity_set::ASSETS, rows(call, &assets)?)
}

/// Needs the permission to edit the asset where it is, and to create assets in the new folders.
pub(super) async fn share(call: &Call) -> HandlerResult {
    let body: ShareAssetsRequest = call.body(&strict::SHARE_ASSETS)?;
    let sharing = Sharing::new(body.to_add_folder_ids, body.to_remove_folder_ids);
    sharing.check(call, ("AssetIds", body.asset_ids.len()), [CREATE, EDIT])?;
    let mut assets = Vec::new();
    for id in body.asset_ids {
        assets.push(find_anywhere(call, id, EDIT).await?);
    }
    for (asset, folder) in assets {
        let (add, remove) = (sharing.add.clone(), sharing.remove.clone());
        call.store_in(folder).share_asset_of_folder(AssetSelector::Id(asset.id), add, remove).await?;
    }
    Ok(ApiResponse::empty(StatusCode::NO_CONTENT))
}
