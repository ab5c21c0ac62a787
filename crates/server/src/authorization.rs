//! Authenticates a request and checks its access: the token, its scopes, the folder in the headers, and the permissions there.

use axum::http::{HeaderMap, header};

use super::Inner;
use super::access::Caller;
use super::api_error::ApiError;
use super::call::FolderSelection;
use super::router::{FolderScope, Route, RouteAccess};
use crate::permission::Permission;
use performer_core::model::key::FolderId;
use performer_wire::folder_path;

/// The caller and folders of a request.
///
/// # Errors
///
/// 401 without a valid token, 403 without the access that the route needs, 400 without a folder.
pub(super) async fn authorize(
    server: &Inner,
    route: &Route,
    headers: &HeaderMap,
) -> Result<(Option<Caller>, FolderSelection), ApiError> {
    let RouteAccess::Token { area, write, folder_scope, permissions } = route.needs else {
        return Ok((None, FolderSelection::None));
    };
    let caller = authenticate(server, headers).await?;
    // Routes of the area Default need a token of any scope.
    if area != "Default" && !caller.scopes.cover(area, write) {
        return Err(ApiError::forbidden());
    }
    let may = |folder: Option<FolderId>| {
        permissions.iter().all(|permission: &Permission| caller.may(folder, *permission))
    };
    let named = if folder_scope == FolderScope::Tenant { None } else { named_folder(&caller, headers)? };
    let folders = match (folder_scope, named) {
        (FolderScope::Tenant, _) => {
            if !may(None) {
                return Err(ApiError::forbidden());
            }
            FolderSelection::None
        }
        (_, Some(folder)) => {
            if !caller.is_assigned(folder) {
                return Err(ApiError::no_such_folder());
            }
            if !may(Some(folder)) {
                return Err(ApiError::forbidden());
            }
            FolderSelection::One(folder)
        }
        (FolderScope::Folder, None) => return Err(ApiError::no_folder_given()),
        (FolderScope::AnyFolder, None) => {
            let all = caller.directory.folders().map(|folder| folder.id);
            let all: Vec<FolderId> = all.filter(|folder| may(Some(*folder))).collect();
            if all.is_empty() {
                return Err(ApiError::forbidden());
            }
            FolderSelection::Several(all.into())
        }
    };
    Ok((Some(caller), folders))
}

/// The caller of the bearer token in the headers.
pub(super) async fn authenticate(server: &Inner, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = value
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else { return Err(ApiError::not_authenticated()) };
    let caller = server.access.caller(token.trim()).await?;
    // The API does not accept the token of a session, nor that of a link.
    let is_of_desk = |caller: &Caller| caller.scopes.are_of_desk() || caller.scopes.are_of_desk_link();
    caller.filter(|caller| !is_of_desk(caller)).ok_or_else(ApiError::not_authenticated)
}

/// The folder in the headers (orchestrator-api 2). Several headers must name the same folder.
fn named_folder(caller: &Caller, headers: &HeaderMap) -> Result<Option<FolderId>, ApiError> {
    let text = |name: &str| match headers.get(name) {
        None => Ok::<_, ApiError>(None),
        Some(value) => {
            let value = value.to_str().map_err(|_| ApiError::no_such_folder())?.trim();
            Ok(Some(value).filter(|value| !value.is_empty()))
        }
    };
    let directory = &caller.directory;
    let mut found: Vec<Option<FolderId>> = Vec::new();
    if let Some(id) = text("x-uipath-organizationunitid")? {
        found.push(id.parse().ok().map(FolderId).filter(|id| directory.folder(*id).is_some()));
    }
    if let Some(key) = text("x-uipath-folderkey")? {
        let key = uuid::Uuid::parse_str(key).ok();
        found.push(directory.folders().find(|folder| Some(folder.key) == key).map(|folder| folder.id));
    }
    if let Some(path) = text("x-uipath-folderpath")? {
        found.push(directory.folder_named(path).map(|folder| folder.id));
    }
    if let Some(encoded) = text("x-uipath-folderpath-encoded")? {
        let path = folder_path::decode(encoded);
        // There is no current folder, so relative and absolute paths both start at the top.
        let path = path.as_deref().map(|path| path.strip_prefix('/').unwrap_or(path));
        found.push(path.and_then(|path| directory.folder_named(path)).map(|folder| folder.id));
    }
    match found.split_first() {
        None => Ok(None),
        Some((Some(first), rest)) if rest.iter().all(|other| *other == Some(*first)) => Ok(Some(*first)),
        Some(_) => Err(ApiError::no_such_folder()),
    }
}
