//! Assets: named values for transactions. What is secret in them is written here and never shown.

use askama::Template;
use secrecy::SecretString;

use super::call::DeskCall;
use super::frame::{Frame, note_cookie};
use super::html::{self, Html};
use super::items::Choice;
use super::reply::Reply;
use super::routes::{ADD_ASSETS, CHANGE_ASSETS, REMOVE_ASSETS, SEE_ASSETS};
use crate::api_error::ApiError;
use performer_core::model::asset::{
    Asset, AssetId, AssetScope, AssetSettings, AssetType, AssetValue, KeyValue, NewAsset, NewValue, ValueOf,
};
use performer_core::model::key::FolderId;
use performer_core::orchestrator::AssetAdministration as _;
use performer_store::AssetSelector;

/// The most assets of the page.
const ROWS: usize = 1_000;

/// An asset as a row.
struct AssetRow {
    href: String,
    name: String,
    value_type: &'static str,
    value: String,
    values: usize,
    description: String,
    folder: String,
}

#[derive(Template)]
#[template(path = "assets.html")]
struct AssetsPage {
    frame: Frame,
    rows: Vec<AssetRow>,
    has_more: bool,
    types: Vec<&'static str>,
    /// The folders in which the reader may make one.
    folders: Vec<Choice>,
}

/// A value, and whose it is.
struct ValueRow {
    of: String,
    /// As the form says whose it is.
    owner: String,
    value: String,
    /// Shown in the form.
    written: String,
    is_removable: bool,
}

#[derive(Template)]
#[template(path = "asset.html")]
struct AssetPage {
    frame: Frame,
    id: i64,
    name: String,
    description: String,
    value_type: &'static str,
    scope: &'static str,
    has_secret: bool,
    is_credential: bool,
    values: Vec<ValueRow>,
    /// Users who can have a value of their own.
    users: Vec<Choice>,
    folders: Vec<String>,
    created: Html,
    modified: Html,
    may_edit: bool,
    may_delete: bool,
}

/// A value as it is shown.
fn shown(value: &AssetValue) -> String {
    match value {
        AssetValue::Secret => "a secret".to_owned(),
        AssetValue::Credential { user_name } => format!("{user_name}, with a password"),
        other => written(other),
    }
}

/// A value as it is written in a form, without what is secret.
fn written(value: &AssetValue) -> String {
    match value {
        AssetValue::Text(text) => text.clone(),
        AssetValue::Bool(value) => value.to_string(),
        AssetValue::Integer(value) => value.to_string(),
        AssetValue::Credential { user_name } => user_name.clone(),
        AssetValue::KeyValueList(pairs) => {
            pairs.iter().map(|pair| format!("{}={}\n", pair.key, pair.value)).collect()
        }
        AssetValue::Secret => String::new(),
    }
}

fn folder_name(call: &DeskCall, folder: FolderId) -> String {
    call.directory().map(|directory| html::line(&directory.full_name(folder), 80)).unwrap_or_default()
}

pub(super) async fn list(call: &DeskCall) -> Result<Reply, ApiError> {
    let assets = call.store_of_tenant().assets_in_folders(call.folders.clone()).await?;
    let row = |asset: &Asset| AssetRow {
        href: format!("/desk/assets/{}", asset.id),
        name: html::line(&asset.name, 100),
        value_type: asset.value_type.name(),
        value: asset
            .value(ValueOf::Everybody)
            .map(|value| html::line(&shown(value), 100))
            .unwrap_or_default(),
        values: asset.values.len(),
        description: asset.description.as_deref().map(|text| html::line(text, 100)).unwrap_or_default(),
        folder: asset
            .folders
            .iter()
            .find(|folder| call.folders.contains(folder))
            .map_or_else(String::new, |folder| folder_name(call, *folder)),
    };
    let may_add = call.folders_with(ADD_ASSETS)?;
    let folders = may_add.iter().filter(|folder| call.may(**folder, ADD_ASSETS)).map(|folder| Choice {
        value: folder.to_string(),
        text: folder_name(call, *folder),
        is_chosen: call.folder == Some(*folder),
    });
    Reply::page(&AssetsPage {
        frame: call.frame("/desk/assets"),
        rows: assets.iter().take(ROWS).map(row).collect(),
        has_more: assets.len() > ROWS,
        types: AssetType::ALL.iter().map(|value_type| value_type.name()).collect(),
        folders: folders.collect(),
    })
}

/// The asset of the path, and one of its folders in which this may be done.
///
/// # Errors
///
/// 404, or 403 if the caller may see it but not do what the route does.
async fn find(call: &DeskCall) -> Result<(Asset, FolderId), ApiError> {
    let id = AssetId(call.number(0)?);
    let missing = || ApiError::not_found(format!("There is no asset with the number {id}."));
    let seen = call.folders_with(SEE_ASSETS)?;
    let find = async |folder: FolderId| match call.store(folder).find_asset(AssetSelector::Id(id)).await {
        Ok(asset) => Ok(Some(asset)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(ApiError::from(error)),
    };
    for folder in call.folders.iter() {
        if let Some(asset) = find(*folder).await? {
            return Ok((asset, *folder));
        }
    }
    for folder in seen.iter() {
        if find(*folder).await?.is_some() {
            return Err(call.forbidden_in(Some(*folder)));
        }
    }
    Err(missing())
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (asset, _) = find(call).await?;
    let directory = call.directory()?;
    let name_of = |of: ValueOf| match of {
        ValueOf::User(user) | ValueOf::UserOnMachine { user, .. } => {
            let name = directory.user(user).map(|user| html::line(&user.user_name, 60));
            let machine = if let ValueOf::UserOnMachine { machine, .. } = of {
                format!(" on machine {machine}")
            } else {
                String::new()
            };
            name.unwrap_or_else(|| format!("user {user}")) + &machine
        }
        ValueOf::Robot(robot) => {
            let name = directory.robot(robot).map(|robot| format!("robot {}", html::line(&robot.name, 60)));
            name.unwrap_or_else(|| of.to_string())
        }
        ValueOf::Everybody | ValueOf::Machine(_) => of.to_string(),
    };
    let values = asset.values.iter().map(|value| ValueRow {
        of: name_of(value.of),
        owner: value.of.to_string(),
        value: html::visible(&shown(&value.value)),
        written: written(&value.value),
        is_removable: asset.scope == AssetScope::PerRobot,
    });
    let may_edit = asset.folders.iter().all(|folder| call.may(*folder, CHANGE_ASSETS));
    // The names of the others are for those who can give them a value.
    let users = directory.users().filter(|_| may_edit).map(|user| Choice {
        value: ValueOf::User(user.id).to_string(),
        text: html::line(&user.user_name, 60),
        is_chosen: false,
    });
    let in_folders =
        asset.folders.iter().filter(|folder| call.caller().is_ok_and(|caller| caller.is_assigned(**folder)));
    Reply::page(&AssetPage {
        frame: call.frame("/desk/assets"),
        id: asset.id.0,
        name: html::visible(&asset.name),
        description: asset.description.clone().unwrap_or_default(),
        value_type: asset.value_type.name(),
        scope: asset.scope.name(),
        has_secret: asset.value_type.has_secret(),
        is_credential: asset.value_type == AssetType::Credential,
        values: values.collect(),
        users: users.collect(),
        folders: in_folders.map(|folder| folder_name(call, *folder)).collect(),
        created: html::time(asset.created),
        modified: html::optional_time(asset.modified),
        may_edit,
        may_delete: asset.folders.iter().all(|folder| call.may(*folder, REMOVE_ASSETS)),
    })
}

/// The value of the form. An empty secret keeps the one that there is.
fn value(call: &DeskCall, value_type: AssetType, of: ValueOf) -> Result<NewValue, ApiError> {
    let text = call.field("value");
    let wrong = |what: &str| ApiError::invalid(format!("The value {what}."));
    let value = match value_type {
        AssetType::Text => AssetValue::Text(text.to_owned()),
        AssetType::Bool => AssetValue::Bool(text.trim().parse().map_err(|_| wrong("is not true or false"))?),
        AssetType::Integer => {
            AssetValue::Integer(text.trim().parse().map_err(|_| wrong("is not a whole number of 32 bits"))?)
        }
        AssetType::Credential => AssetValue::Credential { user_name: text.to_owned() },
        AssetType::KeyValueList => {
            let pair = |line: &str| {
                let (key, value) =
                    line.split_once('=').ok_or_else(|| wrong("has a line without KEY=VALUE"))?;
                Ok(KeyValue { key: key.to_owned(), value: value.to_owned() })
            };
            let lines = text.lines().filter(|line| !line.trim().is_empty());
            AssetValue::KeyValueList(lines.map(pair).collect::<Result<_, ApiError>>()?)
        }
        AssetType::Secret => AssetValue::Secret,
    };
    let secret = call.field("secret");
    let secret = (value_type.has_secret() && !secret.is_empty()).then(|| SecretString::from(secret));
    Ok(NewValue { of, value, secret })
}

pub(super) async fn create(call: &DeskCall) -> Result<Reply, ApiError> {
    let value_type: AssetType = call.field("type").parse().map_err(|_| {
        ApiError::invalid(format!("type: {:?} is not the type of an asset.", call.field("type")))
    })?;
    let folder = match call.field("in") {
        "" => call.folders.first().copied().ok_or_else(ApiError::no_such_folder)?,
        text => {
            let folder = text.parse().map(FolderId).map_err(|_| ApiError::no_such_folder())?;
            call.folders
                .iter()
                .find(|known| **known == folder)
                .copied()
                .ok_or_else(ApiError::no_such_folder)?
        }
    };
    let about = AssetSettings {
        name: call.field("name").trim().to_owned(),
        description: Some(call.field("description").trim().to_owned()).filter(|text| !text.is_empty()),
        value_type,
        scope: AssetScope::Global,
    };
    let new = NewAsset::with_values(about, vec![value(call, value_type, ValueOf::Everybody)?]);
    let asset = call.store(folder).create_asset(new).await?;
    Ok(Reply::see_other(&format!("/desk/assets/{}", asset.id)).cookie(&note_cookie("asset-created", 0)))
}

/// Whose value the form is about.
fn owner(call: &DeskCall) -> Result<ValueOf, ApiError> {
    let text = call.field("of");
    if text.is_empty() {
        return Ok(ValueOf::Everybody);
    }
    text.parse().map_err(|_| ApiError::invalid(format!("of: {text:?} does not say whose value it is.")))
}

pub(super) async fn set(call: &DeskCall) -> Result<Reply, ApiError> {
    let (asset, folder) = find(call).await?;
    let of = owner(call)?;
    if let ValueOf::User(user) = of
        && call.directory()?.user(user).is_none()
    {
        return Err(ApiError::not_found(format!("There is no user with the number {user}.")));
    }
    let value = value(call, asset.value_type, of)?;
    let reach = Some(call.folders_with(CHANGE_ASSETS)?);
    call.store(folder).set_value_of_asset(AssetSelector::Id(asset.id), value, reach).await?;
    Ok(Reply::see_other(&format!("/desk/assets/{}", asset.id)).cookie(&note_cookie("asset-set", 0)))
}

pub(super) async fn remove_value(call: &DeskCall) -> Result<Reply, ApiError> {
    let (asset, folder) = find(call).await?;
    let reach = Some(call.folders_with(CHANGE_ASSETS)?);
    let which = AssetSelector::Id(asset.id);
    call.store(folder).remove_value_of_asset(which, owner(call)?, reach).await?;
    Ok(Reply::see_other(&format!("/desk/assets/{}", asset.id)).cookie(&note_cookie("asset-value-removed", 0)))
}

pub(super) async fn delete(call: &DeskCall) -> Result<Reply, ApiError> {
    let (asset, folder) = find(call).await?;
    let reach = Some(call.folders_with(REMOVE_ASSETS)?);
    call.store(folder).delete_asset_within(AssetSelector::Id(asset.id), reach).await?;
    Ok(Reply::see_other("/desk/assets").cookie(&note_cookie("asset-deleted", 0)))
}
