//! Responses with folders, users, roles and robots.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::super::ApiTime;
use crate::model::directory::{Directory, Folder, Robot, Role, User};
use crate::model::key::FolderId;
use crate::model::permission::Permission;

/// A folder.
pub(crate) fn folder(directory: &Directory, folder: &Folder) -> Value {
    json!({
        "Key": folder.key, "DisplayName": folder.name, "FullyQualifiedName": directory.full_name(folder.id),
        "Description": folder.description, "FolderType": "Standard", "IsPersonal": false, "ProvisionType": "Automatic",
        "PermissionModel": "FineGrained", "ParentId": folder.parent.map(|id| id.0),
        "ParentKey": folder.parent.and_then(|id| directory.folder(id)).map(|folder| folder.key),
        "FeedType": "Processes", "Id": folder.id.0,
    })
}

/// A folder as part of another response.
pub(crate) fn simple_folder(directory: &Directory, folder: &Folder) -> Value {
    json!({
        "DisplayName": folder.name, "FullyQualifiedName": directory.full_name(folder.id), "Id": folder.id.0,
    })
}

/// A user.
pub(crate) fn user(directory: &Directory, user: &User) -> Value {
    let roles: Vec<&Role> = user.tenant_roles.iter().filter_map(|role| directory.role(*role)).collect();
    let names: Vec<&str> = roles.iter().map(|role| role.name.as_str()).collect();
    let user_roles: Vec<Value> = roles
        .iter()
        .map(|role| {
            json!({
                "UserId": user.id, "RoleId": role.id, "UserName": user.user_name, "RoleName": role.name,
                "RoleType": "Mixed", "Id": role.id,
            })
        })
        .collect();
    let full_name = [user.name.as_deref(), user.surname.as_deref()];
    let full_name: Vec<&str> = full_name.into_iter().flatten().collect();
    json!({
        "Name": user.name, "Surname": user.surname, "UserName": user.user_name, "Domain": null,
        "DirectoryIdentifier": null, "FullName": full_name.join(" "), "EmailAddress": user.email_address,
        "LastLoginTime": null, "IsActive": user.is_active, "CreationTime": ApiTime(user.creation_time),
        "AuthenticationSource": null, "Password": null, "UserRoles": user_roles, "RolesList": names,
        "TenantId": directory.tenant().id, "TenancyName": directory.tenant().name,
        "TenantDisplayName": directory.tenant().name, "TenantKey": directory.tenant().key,
        "Type": user.user_type.name(), "ProvisionType": "Manual", "Key": user.key, "Id": user.id,
    })
}

/// A user as part of another response.
pub(crate) fn simple_user(directory: &Directory, of: &User) -> Value {
    let mut object = user(directory, of);
    if let Value::Object(members) = &mut object {
        members.retain(|name, _| !matches!(name.as_str(), "UserRoles" | "RolesList"));
    }
    object
}

/// A role.
pub(crate) fn role(role: &Role) -> Value {
    let permissions: Vec<Value> = role
        .permissions
        .iter()
        .map(|permission| json!({ "Name": permission.to_string(), "IsGranted": true, "RoleId": role.id, "Scope": null, "Id": 0 }))
        .collect();
    json!({
        "Name": role.name, "DisplayName": role.name, "Type": "Mixed", "Groups": null, "IsStatic": role.is_static,
        "IsEditable": !role.is_static, "Permissions": permissions, "Id": role.id,
    })
}

/// A robot.
pub(crate) fn robot(robot: &Robot, directory: &Directory) -> Value {
    let user = directory.user(robot.user);
    json!({
        "LicenseKey": null, "MachineName": null, "MachineId": null, "Name": robot.name,
        "Username": user.map(|user| user.user_name.as_str()), "ExternalName": null, "Description": null,
        "Type": "Unattended", "HostingType": "Floating", "ProvisionType": "Manual", "UserId": robot.user,
        "Enabled": user.is_some_and(|user| user.is_active), "Id": robot.id,
    })
}

/// A user with roles in a folder, or inherited from the tenant.
pub(crate) fn user_of_folder(folder: FolderId, user: &User, roles: &[&Role], is_inherited: bool) -> Value {
    let roles = roles.iter().map(|role| json!({ "Name": role.name, "Origin": "Assigned", "Id": role.id }));
    let roles: Vec<Value> = roles.collect();
    json!({
        "UserEntity": {
            "FullName": user.user_name, "AuthenticationSource": null, "UserName": user.user_name,
            "IsInherited": is_inherited, "AssignedToFolderIds": [folder.0], "MayHaveAttended": false,
            "MayHaveUnattended": false, "Type": user.user_type.name(), "Source": "Orchestrator", "Id": user.id,
        },
        "Roles": roles, "HasAlertsEnabled": false, "Id": user.id,
    })
}

/// A page of folders in the older format (`/api`).
pub(crate) fn folders_navigated<'a>(
    directory: &Directory,
    page: impl Iterator<Item = &'a Folder>,
    count: usize,
) -> Value {
    let items = page.map(|one| {
        let mut object = folder(directory, one);
        object["FolderPath"] = directory.full_name(one.id).into();
        object
    });
    json!({ "PageItems": items.collect::<Vec<_>>(), "Count": count })
}

/// The folders of a queue that the caller may see, and the total number of its folders.
pub(crate) fn accessible_folders(folders: &[Value], count: usize) -> Value {
    json!({ "AccessibleFolders": folders, "TotalFoldersCount": count })
}

/// The permissions of a user in the tenant and all folders.
pub(crate) fn permissions_of(user: &User, permissions: &BTreeSet<Permission>) -> Value {
    let names: Vec<String> = permissions.iter().map(ToString::to_string).collect();
    json!({ "UserId": user.id, "Permissions": names })
}

/// The versions of the API and of the server.
pub(crate) fn version(api: &str) -> Value {
    json!({ "version": api, "performer": env!("CARGO_PKG_VERSION") })
}
