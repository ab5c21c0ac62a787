//! The caller of the API, and what it may do.

use serde::{Deserialize, Serialize};

/// The answer of `GET /odata/Users/UiPath.Server.Configuration.OData.GetCurrentUser`, as far as it is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct CurrentUserDto {
    /// The number of the user.
    pub id: i64,
    /// The name to log in with; of an application its id or its name.
    #[serde(default)]
    pub user_name: Option<String>,
}

/// The answer of `GET /odata/Users/UiPath.Server.Configuration.OData.GetCurrentPermissions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct UserPermissionsDto {
    /// Such as `Queues.View`.
    #[serde(default)]
    pub permissions: Vec<String>,
}
