//! Responses of the administration of users, roles and folders that are no entities of [`access`](super::access).

use serde_json::{Value, json};

use super::access::{FolderView, RoleName, UserView, folder, simple_folder, user};

/// What responses show of a permission.
#[derive(Clone, Debug)]
pub struct PermissionView {
    pub id: i64,
    pub name: String,
    /// Whether a role in a folder can grant it.
    pub is_of_folders: bool,
}

/// A permission that roles can grant.
pub fn permission(permission: &PermissionView) -> Value {
    let scope = if permission.is_of_folders { "GlobalOrFolder" } else { "Global" };
    json!({ "Name": permission.name, "IsGranted": false, "RoleId": 0, "Scope": scope, "Id": permission.id })
}

/// A response with a single value.
pub fn value_of(value: &impl serde::Serialize) -> Value {
    json!({ "value": value })
}

/// A user, who has no personal workspace.
pub fn user_with_workspace(of: &UserView<'_>) -> Value {
    let mut object = user(of);
    object["PersonalWorkspace"] = Value::Null;
    object
}

/// A folder in a tree of folders.
#[derive(Clone, Debug)]
pub struct FolderInTree<'a> {
    pub folder: FolderView<'a>,
    /// Whether the caller may work in it, and does not only see it above another one.
    pub is_selectable: bool,
    pub has_children: bool,
    /// Counted from 1.
    pub level: usize,
}

/// A folder in a tree of folders.
pub fn folder_in_tree(of: &FolderInTree<'_>) -> Value {
    let mut object = folder(&of.folder);
    object["IsSelectable"] = of.is_selectable.into();
    object["HasChildren"] = of.has_children.into();
    object["Level"] = of.level.into();
    object
}

/// A folder, those above it, and a page of those in it. `None`: the folders at the top.
pub fn folder_context(
    of: Option<&FolderInTree<'_>>,
    ancestors: &[FolderView<'_>],
    page: &[FolderInTree<'_>],
    count: usize,
) -> Value {
    json!({
        "Id": of.map(|of| of.folder.id.0), "DisplayName": of.map(|of| of.folder.name),
        "IsSelectable": of.is_some_and(|of| of.is_selectable), "IsPersonal": false, "ProvisionType": "Automatic",
        "Ancestors": ancestors.iter().map(simple_folder).collect::<Vec<_>>(),
        "ChildrenPage": page.iter().map(folder_in_tree).collect::<Vec<_>>(), "ChildrenCount": count,
    })
}

/// The roles of a user: in the tenant, and a page of those in folders.
pub fn roles_of_user(
    of: &UserView<'_>,
    in_tenant: &[RoleName<'_>],
    page: &[(FolderView<'_>, Vec<RoleName<'_>>)],
    count: usize,
) -> Value {
    let roles = |roles: &[RoleName<'_>], folder: Option<&FolderView<'_>>| {
        let folders: Vec<i64> = folder.iter().map(|folder| folder.id.0).collect();
        let role = |role: &RoleName<'_>| {
            let user = json!({
                "UserName": of.user_name, "IsInherited": false, "AssignedToFolderIds": folders, "MayHaveAttended": false,
                "MayHaveUnattended": false, "Type": of.user_type.name(), "Source": "Orchestrator", "Id": of.id,
            });
            json!({ "Name": role.name, "Users": [user], "Id": role.id })
        };
        roles.iter().map(role).collect::<Vec<_>>()
    };
    let in_folder = |(folder, of_folder): &(FolderView<'_>, Vec<RoleName<'_>>)| json!({ "Folder": simple_folder(folder), "Roles": roles(of_folder, Some(folder)) });
    json!({
        "TenantRoles": roles(in_tenant, None), "PageItems": page.iter().map(in_folder).collect::<Vec<_>>(), "Count": count,
        "Id": of.id,
    })
}
