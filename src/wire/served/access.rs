//! Folders, users, roles and robots, as they are answered.

use serde_json::{Value, json};

use super::super::Instant;
use crate::model::directory::{Directory, Folder, Robot, Role, User};

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

/// A folder as a part of an answer.
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
        "LastLoginTime": null, "IsActive": user.is_active, "CreationTime": Instant(user.creation_time),
        "AuthenticationSource": null, "Password": null, "UserRoles": user_roles, "RolesList": names,
        "TenantId": directory.tenant().id, "TenancyName": directory.tenant().name,
        "TenantDisplayName": directory.tenant().name, "TenantKey": directory.tenant().key,
        "Type": user.user_type.name(), "ProvisionType": "Manual", "Key": user.key, "Id": user.id,
    })
}

/// A user as a part of an answer.
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
