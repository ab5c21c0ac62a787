//! The rule that nobody grants permissions that they do not have, and changes nobody who has more. It holds for the API and for the desk.

use std::collections::BTreeSet;

use super::access::Caller;
use super::api_error::ApiError;
use performer_core::model::key::FolderId;

impl Caller {
    /// Refuses roles with permissions that the caller does not have itself: in a folder, or in the tenant.
    pub(super) fn check_may_grant(
        &self,
        folder: Option<FolderId>,
        roles: &BTreeSet<i64>,
    ) -> Result<(), ApiError> {
        let own = self.directory.permissions(&self.user, folder);
        for id in roles {
            let role = self.directory.role(*id);
            let role = role.ok_or_else(|| ApiError::not_found(format!("Role {id} does not exist.")))?;
            if !role.permissions.is_subset(&own) {
                return Err(ApiError::forbidden());
            }
        }
        Ok(())
    }

    /// Refuses to change a user who has more permissions than the caller, in the tenant or in a folder.
    pub(super) fn check_outranks(&self, id: i64) -> Result<(), ApiError> {
        let user = self.directory.user(id);
        let user = user.ok_or_else(|| ApiError::not_found(format!("User {id} does not exist.")))?;
        let in_folders = user.folder_roles.iter().map(|(folder, roles)| (Some(FolderId(*folder)), roles));
        let mut all = std::iter::once((None, &user.tenant_roles)).chain(in_folders);
        all.try_for_each(|(folder, roles)| not_editable(self.check_may_grant(folder, roles)))
    }

    /// Refuses to change the roles of a user in a folder where the user has more permissions than the caller.
    pub(super) fn check_outranks_in(&self, folder: FolderId, user: i64) -> Result<(), ApiError> {
        let roles = self.directory.user(user).and_then(|user| user.folder_roles.get(&folder.0));
        roles.map_or(Ok(()), |roles| not_editable(self.check_may_grant(Some(folder), roles)))
    }
}

/// 403 with the code for a user who is not editable.
fn not_editable(checked: Result<(), ApiError>) -> Result<(), ApiError> {
    checked.map_err(|failure| match failure.status.as_u16() {
        403 => ApiError::user_not_editable(),
        _ => failure,
    })
}
