//! The tree of the folders that the caller may see, and the roles of a user in folders: what pages and tools navigate by.

use std::collections::BTreeSet;

use super::api_error::ApiError;
use super::call::{ApiResponse, Call};
use super::folders::visible_folders;
use crate::directory::{Directory, Folder, Role};
use crate::permission::{Action, Area, Permission};
use performer_core::model::key::FolderId;
use performer_wire::responses::{self, FolderInTree, FolderView, RoleName};

type HandlerResult = Result<ApiResponse, ApiError>;

/// The most entries of a page of this older style (`/api`), and how many it has where nothing is said.
const MAX_PAGE: usize = 1_000;
const DEFAULT_PAGE: usize = 100;

/// The arguments `skip` and `take`.
fn page_of(call: &Call) -> Result<(usize, usize), ApiError> {
    let number = |name: &str, default: usize| match call.optional_argument(name) {
        None | Some("") => Ok(default),
        Some(_) => call.argument_as(name),
    };
    Ok((number("skip", 0)?, number("take", DEFAULT_PAGE)?.min(MAX_PAGE)))
}

/// The folders of the caller, those whose names contain `searchText`.
pub(super) async fn of_current_user(call: &Call) -> HandlerResult {
    let directory = call.directory()?;
    let wanted = call.optional_argument("searchText").unwrap_or_default().to_lowercase();
    let (skip, take) = page_of(call)?;
    let found: Vec<&Folder> = visible_folders(call)?
        .into_iter()
        .filter(|folder| folder.name.to_lowercase().contains(&wanted))
        .collect();
    let page = found.iter().skip(skip).take(take).map(|folder| directory.folder_view(folder));
    ApiResponse::ok(&responses::folders_navigated(page, found.len()))
}

/// The folders that the caller may see, and those above them, which are there for the way alone.
struct Tree<'a> {
    directory: &'a Directory,
    selectable: BTreeSet<i64>,
    shown: BTreeSet<i64>,
}

impl<'a> Tree<'a> {
    fn of(call: &'a Call) -> Result<Self, ApiError> {
        let directory = call.directory()?;
        let selectable: BTreeSet<i64> = visible_folders(call)?.iter().map(|folder| folder.id.0).collect();
        let shown = selectable.iter().flat_map(|id| directory.path_of(FolderId(*id))).collect();
        Ok(Self { directory, selectable, shown })
    }

    fn folders(&self) -> impl Iterator<Item = &'a Folder> {
        self.directory.folders().filter(|folder| self.shown.contains(&folder.id.0))
    }

    /// The folders in one, or at the top.
    fn inside(&self, parent: Option<FolderId>) -> impl Iterator<Item = &'a Folder> {
        self.folders().filter(move |folder| folder.parent == parent)
    }

    fn view(&self, folder: &'a Folder) -> FolderInTree<'a> {
        FolderInTree {
            folder: self.directory.folder_view(folder),
            is_selectable: self.selectable.contains(&folder.id.0),
            has_children: self.inside(Some(folder.id)).next().is_some(),
            level: self.directory.path_of(folder.id).count(),
        }
    }
}

/// All folders of the caller, with those above them.
pub(super) async fn tree(call: &Call) -> HandlerResult {
    let tree = Tree::of(call)?;
    let folders: Vec<_> =
        tree.folders().map(|folder| responses::folder_in_tree(&tree.view(folder))).collect();
    ApiResponse::ok(&folders)
}

/// The folder `folderId`, those above it, and a page of those in it; without it, those at the top.
pub(super) async fn context(call: &Call) -> HandlerResult {
    let (tree, (skip, take)) = (Tree::of(call)?, page_of(call)?);
    let folder = match call.optional_argument("folderId") {
        None | Some("") => None,
        Some(_) => {
            let id: i64 = call.argument_as("folderId")?;
            let folder = tree.folders().find(|folder| folder.id.0 == id);
            Some(folder.ok_or_else(|| ApiError::not_found(format!("Folder {id} does not exist.")))?)
        }
    };
    let inside: Vec<&Folder> = tree.inside(folder.map(|folder| folder.id)).collect();
    let page: Vec<FolderInTree<'_>> =
        inside.iter().skip(skip).take(take).map(|folder| tree.view(folder)).collect();
    let above = folder.into_iter().flat_map(|folder| tree.directory.path_of(folder.id)).skip(1);
    let above = above.filter_map(|id| tree.directory.folder(FolderId(id)));
    let mut above: Vec<FolderView<'_>> = above.map(|folder| tree.directory.folder_view(folder)).collect();
    above.reverse();
    let view = folder.map(|folder| tree.view(folder));
    ApiResponse::ok(&responses::folder_context(view.as_ref(), &above, &page, inside.len()))
}

/// The roles of the user `username` in the tenant, and a page of those in folders.
pub(super) async fn roles_of_user(call: &Call) -> HandlerResult {
    ApiResponse::ok(&roles(call)?)
}

pub(super) async fn roles_of_user_in_context(call: &Call) -> HandlerResult {
    let context = call.context("UiPath.Server.Configuration.OData.UserRoleAssignmentsDto");
    ApiResponse::ok(&responses::with_context(&context, &roles(call)?))
}

fn roles(call: &Call) -> Result<serde_json::Value, ApiError> {
    let (caller, directory) = (call.caller()?, call.directory()?);
    let everywhere = caller.may(None, Permission(Area::Units, Action::View));
    let may_see =
        |folder: FolderId| everywhere || caller.may(Some(folder), Permission(Area::SubFolders, Action::View));
    if !directory.folders().any(|folder| may_see(folder.id)) {
        return Err(ApiError::forbidden());
    }
    let (name, (skip, take)) = (call.argument("username")?, page_of(call)?);
    let user = directory.user_named(name);
    let user = user.ok_or_else(|| ApiError::not_found("The user does not exist."))?;
    let wanted = call.optional_argument("searchText").unwrap_or_default().to_lowercase();
    let named = |roles: &BTreeSet<i64>| -> Vec<RoleName<'_>> {
        roles.iter().filter_map(|role| directory.role(*role)).map(Role::as_name).collect()
    };
    let folders = user.folder_roles.iter().filter(|(folder, _)| may_see(FolderId(**folder)));
    let folders = folders.filter_map(|(folder, roles)| {
        let view = directory.folder_view(directory.folder(FolderId(*folder))?);
        view.full_name.to_lowercase().contains(&wanted).then(|| (view, named(roles)))
    });
    let mut folders: Vec<(FolderView<'_>, Vec<RoleName<'_>>)> = folders.collect();
    folders.sort_by(|(a, _), (b, _)| a.full_name.cmp(&b.full_name));
    let count = folders.len();
    let page: Vec<_> = folders.into_iter().skip(skip).take(take).collect();
    // Who sees only some folders is not told what holds in all of them.
    let in_tenant = if everywhere { named(&user.tenant_roles) } else { Vec::new() };
    Ok(responses::roles_of_user(&directory.user_view(user), &in_tenant, &page, count))
}
