//! What queues, assets, buckets and catalogs of tasks have alike: each is in several folders, is found in any of them, and is shared with
//! others.

use std::sync::Arc;

use serde_json::Value;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use crate::permission::Permission;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::OrchestratorError;
use performer_store::{Reach, Store};
use performer_wire::responses;

/// The maximum number of resources, and of folders, in one call of ShareToFolders.
const MAX_SHARED: usize = 1_000;

/// The folders where the caller has a permission.
pub(super) fn folders_with(call: &Call, permission: Permission) -> Result<Vec<FolderId>, ApiError> {
    let caller = call.caller()?;
    let all = caller.directory.folders().map(|folder| folder.id);
    Ok(all.filter(|folder| caller.may(Some(*folder), permission)).collect())
}

/// The folders in which the caller may change a resource, which is one in all of them.
pub(super) fn reach(call: &Call, permission: Permission) -> Result<Reach, ApiError> {
    Ok(Some(folders_with(call, permission)?.into()))
}

/// As [`folders_with`], but for the folder that the call excludes.
pub(super) fn folders_of_list(call: &Call, permission: Permission) -> Result<Arc<[FolderId]>, ApiError> {
    let mut folders = folders_with(call, permission)?;
    if call.optional_argument("excludeFolderId").is_some_and(|text| !text.is_empty()) {
        let except = FolderId(call.argument_as("excludeFolderId")?);
        folders.retain(|folder| *folder != except);
    }
    Ok(folders.into())
}

/// A resource in any folder where the caller has a permission, and that folder. `what` and `id`: what an error names.
pub(super) async fn find_in_any_folder<T, F: Future<Output = Result<T, OrchestratorError>>>(
    call: &Call,
    (what, id): (&str, i64),
    permission: Permission,
    find: impl Fn(Store) -> F,
) -> Result<(T, FolderId), ApiError> {
    for folder in folders_with(call, permission)? {
        match find(call.store_in(folder)).await {
            Ok(found) => return Ok((found, folder)),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ApiError::not_found(format!("{what} {id} does not exist.")))
}

/// The folders of a resource, as far as the caller is assigned to them.
pub(super) fn accessible_folders(call: &Call, folders: &[FolderId]) -> Result<ApiResponse, ApiError> {
    let caller = call.caller()?;
    let accessible = folders.iter().filter(|folder| caller.is_assigned(**folder));
    let accessible = accessible.filter_map(|folder| caller.directory.folder(*folder));
    let shown: Vec<Value> =
        accessible.map(|folder| responses::simple_folder(&caller.directory.folder_view(folder))).collect();
    let body = responses::accessible_folders(&shown, folders.len());
    let context = call.context("UiPath.Server.Configuration.OData.AccessibleFoldersDto");
    ApiResponse::ok(&responses::with_context(&context, &body))
}

/// The folders that resources come to, and those that they leave.
pub(super) struct Sharing {
    pub(super) add: Vec<FolderId>,
    pub(super) remove: Vec<FolderId>,
}

impl Sharing {
    pub(super) fn new(add: Option<Vec<i64>>, remove: Option<Vec<i64>>) -> Self {
        let ids = |ids: Option<Vec<i64>>| ids.unwrap_or_default().into_iter().map(FolderId).collect();
        Self { add: ids(add), remove: ids(remove) }
    }

    /// Checks the numbers of folders and of `resources`, which a call names so. The caller needs one permission in the new folders, and
    /// one where the resources are left out.
    pub(super) fn check(
        &self,
        call: &Call,
        resources: (&'static str, usize),
        [create, edit]: [Permission; 2],
    ) -> Result<(), ApiError> {
        for (name, length) in
            [resources, ("ToAddFolderIds", self.add.len()), ("ToRemoveFolderIds", self.remove.len())]
        {
            Call::check_length(name, length, MAX_SHARED)?;
        }
        let caller = call.caller()?;
        for folder in self.add.iter().chain(&self.remove) {
            if !caller.is_assigned(*folder) || caller.directory.folder(*folder).is_none() {
                return Err(ApiError::no_such_folder());
            }
        }
        for (folders, permission) in [(&self.add, create), (&self.remove, edit)] {
            for folder in folders {
                call.require(Some(*folder), permission)?;
            }
        }
        Ok(())
    }
}
