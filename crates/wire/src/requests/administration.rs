//! Request bodies of the administration of users, roles and folders.

use performer_core::model::FieldEdit;
use performer_core::model::user::UserType;
use serde::Deserialize;
use uuid::Uuid;

use super::super::enum_value::EnumValue;

/// The body of a partial edit of a user: what is absent stays, and null removes a name. No Debug: it may contain a password.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserPatchRequest {
    pub user_name: Option<String>,
    #[serde(default)]
    pub name: FieldEdit<String>,
    #[serde(default)]
    pub surname: FieldEdit<String>,
    #[serde(default)]
    pub email_address: FieldEdit<String>,
    pub password: Option<String>,
    pub is_active: Option<bool>,
    #[serde(rename = "Type")]
    pub user_type: Option<EnumValue<UserType>>,
    pub roles_list: Option<Vec<String>>,
    pub user_roles: Option<Vec<UserRoleRequest>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserRoleRequest {
    pub role_id: i64,
}

/// The body of ToggleRole: the name of a role, and whether the user is to have it in the tenant.
#[derive(Deserialize)]
pub struct ToggleRoleRequest {
    pub role: String,
    pub toggle: bool,
}

/// The body of SetUsers: who is given a role in the tenant, and from whom it is taken.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetUsersRequest {
    pub added_user_ids: Vec<i64>,
    pub removed_user_ids: Vec<i64>,
}

/// The body of PatchNameDescription: what is absent stays, and null removes the description.
#[derive(Deserialize)]
pub struct FolderPatchRequest {
    pub name: Option<String>,
    #[serde(default)]
    pub description: FieldEdit<String>,
}

/// The body of RemoveUserFromFolderByKey.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoveUserByKeyRequest {
    pub user_key: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn what_is_absent_stays_and_null_removes() {
        let body: UserPatchRequest =
            json::request(br#"{"name":"Ann","SURNAME":null,"RolesList":["Viewer"],"Type":"User"}"#).unwrap();
        assert_eq!(body.name, FieldEdit::Set("Ann".to_owned()));
        assert_eq!((body.surname, body.email_address), (FieldEdit::Clear, FieldEdit::Keep));
        let body: FolderPatchRequest = json::request(br#"{"Description":null}"#).unwrap();
        assert_eq!((body.name, body.description), (None, FieldEdit::Clear));
    }
}
