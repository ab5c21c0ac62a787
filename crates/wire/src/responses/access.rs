//! Responses with folders, users, roles and robots.

use jiff::Timestamp;
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::ApiTime;

/// What responses show of a folder.
#[derive(Clone, Debug)]
pub struct FolderView<'a> {
    pub id: FolderId,
    pub key: Uuid,
    pub name: &'a str,
    /// As in `Shared/Finance`.
    pub full_name: String,
    pub description: Option<&'a str>,
    pub parent: Option<FolderId>,
    pub parent_key: Option<Uuid>,
}

/// What responses show of a user.
#[derive(Clone, Debug)]
pub struct UserView<'a> {
    pub id: i64,
    pub key: Uuid,
    pub user_name: &'a str,
    pub name: Option<&'a str>,
    pub surname: Option<&'a str>,
    pub email_address: Option<&'a str>,
    pub user_type: UserType,
    pub is_active: bool,
    pub creation_time: Timestamp,
    /// The roles in the tenant.
    pub roles: Vec<RoleName<'a>>,
    pub tenant: TenantView<'a>,
}

/// The number and the name of a role.
#[derive(Clone, Copy, Debug)]
pub struct RoleName<'a> {
    pub id: i64,
    pub name: &'a str,
}

/// What responses show of the tenant.
#[derive(Clone, Copy, Debug)]
pub struct TenantView<'a> {
    pub id: i32,
    pub key: Uuid,
    pub name: &'a str,
}

/// What responses show of a role.
#[derive(Clone, Debug)]
pub struct RoleView<'a> {
    pub id: i64,
    pub name: &'a str,
    pub is_static: bool,
    pub permissions: Vec<String>,
}

/// What responses show of a robot.
#[derive(Clone, Copy, Debug)]
pub struct RobotView<'a> {
    pub id: i64,
    pub name: &'a str,
    pub user: i64,
    pub user_name: Option<&'a str>,
    pub is_enabled: bool,
}

/// A folder.
pub fn folder(folder: &FolderView<'_>) -> Value {
    json!({
        "Key": folder.key, "DisplayName": folder.name, "FullyQualifiedName": folder.full_name,
        "Description": folder.description, "FolderType": "Standard", "IsPersonal": false, "ProvisionType": "Automatic",
        "PermissionModel": "FineGrained", "ParentId": folder.parent.map(|id| id.0), "ParentKey": folder.parent_key,
        "FeedType": "Processes", "Id": folder.id.0,
    })
}

/// A folder as part of another response.
pub fn simple_folder(folder: &FolderView<'_>) -> Value {
    json!({ "DisplayName": folder.name, "FullyQualifiedName": folder.full_name, "Id": folder.id.0 })
}

/// A user.
pub fn user(user: &UserView<'_>) -> Value {
    let names: Vec<&str> = user.roles.iter().map(|role| role.name).collect();
    let user_roles: Vec<Value> = user
        .roles
        .iter()
        .map(|role| {
            json!({
                "UserId": user.id, "RoleId": role.id, "UserName": user.user_name, "RoleName": role.name,
                "RoleType": "Mixed", "Id": role.id,
            })
        })
        .collect();
    let full_name: Vec<&str> = [user.name, user.surname].into_iter().flatten().collect();
    json!({
        "Name": user.name, "Surname": user.surname, "UserName": user.user_name, "Domain": null,
        "DirectoryIdentifier": null, "FullName": full_name.join(" "), "EmailAddress": user.email_address,
        "LastLoginTime": null, "IsActive": user.is_active, "CreationTime": ApiTime(user.creation_time),
        "AuthenticationSource": null, "Password": null, "UserRoles": user_roles, "RolesList": names,
        "TenantId": user.tenant.id, "TenancyName": user.tenant.name,
        "TenantDisplayName": user.tenant.name, "TenantKey": user.tenant.key,
        "Type": user.user_type.name(), "ProvisionType": "Manual", "Key": user.key, "Id": user.id,
    })
}

/// A user as part of another response.
pub fn simple_user(of: &UserView<'_>) -> Value {
    let mut object = user(of);
    if let Value::Object(members) = &mut object {
        members.retain(|name, _| !matches!(name.as_str(), "UserRoles" | "RolesList"));
    }
    object
}

/// A role.
pub fn role(role: &RoleView<'_>) -> Value {
    let permissions = role.permissions.iter().map(|permission| {
        json!({ "Name": permission, "IsGranted": true, "RoleId": role.id, "Scope": null, "Id": 0 })
    });
    let permissions: Vec<Value> = permissions.collect();
    json!({
        "Name": role.name, "DisplayName": role.name, "Type": "Mixed", "Groups": null, "IsStatic": role.is_static,
        "IsEditable": !role.is_static, "Permissions": permissions, "Id": role.id,
    })
}

/// A robot.
pub fn robot(robot: &RobotView<'_>) -> Value {
    json!({
        "LicenseKey": null, "MachineName": null, "MachineId": null, "Name": robot.name,
        "Username": robot.user_name, "ExternalName": null, "Description": null,
        "Type": "Unattended", "HostingType": "Floating", "ProvisionType": "Manual", "UserId": robot.user,
        "Enabled": robot.is_enabled, "Id": robot.id,
    })
}

/// A user with roles in a folder, or inherited from the tenant.
pub fn user_of_folder(
    folder: FolderId,
    user: &UserView<'_>,
    roles: &[RoleName<'_>],
    is_inherited: bool,
) -> Value {
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
pub fn folders_navigated<'a>(page: impl Iterator<Item = FolderView<'a>>, count: usize) -> Value {
    let items = page.map(|one| {
        let mut object = folder(&one);
        object["FolderPath"] = one.full_name.into();
        object
    });
    json!({ "PageItems": items.collect::<Vec<_>>(), "Count": count })
}

/// The folders of a queue that the caller may see, and the total number of its folders.
pub fn accessible_folders(folders: &[Value], count: usize) -> Value {
    json!({ "AccessibleFolders": folders, "TotalFoldersCount": count })
}

/// The names of the permissions of a user in the tenant and all folders.
pub fn permissions_of(user: i64, permissions: &[String]) -> Value {
    json!({ "UserId": user, "Permissions": permissions })
}

/// The versions of the API and of the server.
pub fn version(api: &str) -> Value {
    json!({ "version": api, "performer": env!("CARGO_PKG_VERSION") })
}
