//! What responses show of the directory.

use performer_core::model::history::ItemEvent;
use performer_wire::responses::{
    EventNames, FolderView, RobotView, RoleName, RoleView, TenantView, UserView,
};

use super::{Directory, Folder, Robot, Role, User};

impl Directory {
    pub(crate) fn folder_view<'a>(&'a self, folder: &'a Folder) -> FolderView<'a> {
        FolderView {
            id: folder.id,
            key: folder.key,
            name: &folder.name,
            full_name: self.full_name(folder.id),
            description: folder.description.as_deref(),
            parent: folder.parent,
            parent_key: folder.parent.and_then(|id| self.folder(id)).map(|folder| folder.key),
        }
    }

    pub(crate) fn user_view<'a>(&'a self, user: &'a User) -> UserView<'a> {
        let tenant = self.tenant();
        UserView {
            id: user.id,
            key: user.key,
            user_name: &user.user_name,
            name: user.name.as_deref(),
            surname: user.surname.as_deref(),
            email_address: user.email_address.as_deref(),
            user_type: user.user_type,
            is_active: user.is_active,
            creation_time: user.creation_time,
            roles: user.tenant_roles.iter().filter_map(|id| self.role(*id)).map(Role::as_name).collect(),
            tenant: TenantView { id: tenant.id, key: tenant.key, name: &tenant.name },
        }
    }

    pub(crate) fn robot_view<'a>(&'a self, robot: &'a Robot) -> RobotView<'a> {
        let user = self.user(robot.user);
        RobotView {
            id: robot.id,
            name: &robot.name,
            user: robot.user,
            user_name: user.map(|user| user.user_name.as_str()),
            is_enabled: user.is_some_and(|user| user.is_active),
        }
    }

    /// The names that belong to an event of an item with this reviewer.
    pub(crate) fn names_of_event(&self, event: &ItemEvent, reviewer_id: Option<i64>) -> EventNames<'_> {
        let name = |id: Option<i64>| id.and_then(|id| self.user(id)).map(|user| user.user_name.as_str());
        let client = event.user_id.and_then(|id| self.clients().find(|client| client.user == id));
        EventNames {
            user: name(event.user_id),
            client: client.map(|client| client.id.as_str()),
            reviewer_id,
            reviewer: name(reviewer_id),
        }
    }
}

impl Role {
    pub(crate) fn as_name(&self) -> RoleName<'_> {
        RoleName { id: self.id, name: &self.name }
    }

    pub(crate) fn view(&self) -> RoleView<'_> {
        let permissions = self.permissions.iter().map(ToString::to_string).collect();
        RoleView { id: self.id, name: &self.name, is_static: self.is_static, permissions }
    }
}
