//! Changes of the directory as the audit records them: to what, and how. Never a password or a secret.

use std::collections::BTreeSet;

use serde_json::Value;

use super::change::{Change, NewUser};
use super::{Directory, User};
use crate::permission::Permission;
use performer_core::model::FieldEdit;
use performer_core::model::audit::FieldChange;
use performer_core::model::key::FolderId;

impl Change {
    /// What is changed and how, before the change is made in this directory.
    pub(crate) fn described(&self, directory: &Directory) -> (String, Vec<FieldChange>) {
        match self {
            Self::AddFolder { name, description, parent, .. } => {
                let parent = parent.map(|parent| Value::from(directory.full_name(parent)));
                let fields = [("Description", None, of(description)), ("ParentName", None, parent)];
                (format!("folder {name} added"), changed(fields))
            }
            Self::EditFolder { id, name, description } => {
                let before = directory.folders().find(|folder| folder.id == *id);
                let was_named = before.map(|folder| Value::from(folder.name.as_str()));
                let described = before.and_then(|folder| folder.description.clone());
                let fields = [
                    ("DisplayName", was_named.clone(), of(name).or(was_named)),
                    ("Description", of(&described), of(&description.clone().applied_to(described))),
                ];
                (format!("folder {}", directory.full_name(*id)), changed(fields))
            }
            Self::MoveFolder { id, parent } => {
                let named = |parent: Option<FolderId>| parent.map(|id| Value::from(directory.full_name(id)));
                let before = directory.folder(*id).and_then(|folder| folder.parent);
                let fields = [("ParentName", named(before), named(*parent))];
                (format!("folder {}", directory.full_name(*id)), changed(fields))
            }
            Self::RemoveFolder(id) => (format!("folder {} removed", directory.full_name(*id)), Vec::new()),
            Self::AddUser(user) => (format!("user {} added", user.user_name), directory.of_new(user)),
            Self::EditUser { id, edit } => {
                let before = directory.user(*id);
                let text = |name, field: fn(&User) -> &Option<String>, edit: &FieldEdit<String>| {
                    let was = before.and_then(|user| field(user).clone());
                    (name, of(&was), of(&edit.clone().applied_to(was)))
                };
                let was_active = before.map(|user| Value::from(user.is_active));
                let fields = [
                    text("Name", |user| &user.name, &edit.name),
                    text("Surname", |user| &user.surname, &edit.surname),
                    text("EmailAddress", |user| &user.email_address, &edit.email_address),
                    ("IsActive", was_active.clone(), edit.is_active.map(Value::from).or(was_active)),
                ];
                (directory.named(*id), changed(fields))
            }
            Self::SetPassword { user, .. } => {
                (directory.named(*user), vec![FieldChange::without_values("Password")])
            }
            Self::RemoveUser(id) => (format!("{} removed", directory.named(*id)), Vec::new()),
            Self::AddRole { name, permissions } => {
                (format!("role {name} added"), changed([("Permissions", None, Some(listed(permissions)))]))
            }
            Self::EditRole { id, name, permissions } => {
                let before = directory.role(*id);
                let fields = [
                    ("Name", before.map(|role| role.name.as_str().into()), Some(name.as_str().into())),
                    ("Permissions", before.map(|role| listed(&role.permissions)), Some(listed(permissions))),
                ];
                (format!("role {}", before.map_or(name, |role| &role.name)), changed(fields))
            }
            Self::RemoveRole(id) => {
                let name = directory.role(*id).map_or_else(|| id.to_string(), |role| role.name.clone());
                (format!("role {name} removed"), Vec::new())
            }
            Self::Assign { user, folder, roles } => {
                let before = directory.user(*user).and_then(|user| match folder {
                    None => Some(&user.tenant_roles),
                    Some(folder) => user.folder_roles.get(&folder.0),
                });
                let before = before.map(|roles| directory.role_names(roles));
                let field = directory.roles_field(*folder);
                (directory.named(*user), changed([(&*field, before, Some(directory.role_names(roles)))]))
            }
            Self::SetRole { user, role, has } => {
                let before = directory.user(*user).map(|user| &user.tenant_roles);
                let mut after = before.cloned().unwrap_or_default();
                if *has {
                    after.insert(*role);
                } else {
                    after.remove(role);
                }
                let before = before.map(|roles| directory.role_names(roles));
                let fields = [(&*directory.roles_field(None), before, Some(directory.role_names(&after)))];
                (directory.named(*user), changed(fields))
            }
            Self::AddRobot { name, user, .. } => {
                let of = Value::from(directory.named(*user));
                (format!("robot {name} added"), changed([("User", None, Some(of))]))
            }
            Self::AddClient { name, scopes, user, .. } => {
                let mut changes = changed([("Scopes", None, Some(scopes.to_string().into()))]);
                changes.extend(directory.of_new(user));
                (format!("application {name} added"), changes)
            }
            Self::RemoveClient(id) => {
                let name = directory.client(id).map_or(id, |client| &client.name);
                (format!("application {name} removed"), Vec::new())
            }
        }
    }
}

impl Directory {
    fn named(&self, user: i64) -> String {
        self.user(user).map_or_else(|| format!("user {user}"), |user| format!("user {}", user.user_name))
    }

    fn role_names(&self, roles: &BTreeSet<i64>) -> Value {
        let names =
            roles.iter().map(|id| self.role(*id).map_or_else(|| id.to_string(), |role| role.name.clone()));
        names.collect()
    }

    fn roles_field(&self, folder: Option<FolderId>) -> String {
        folder.map_or_else(|| "Roles".to_owned(), |folder| format!("Roles in {}", self.full_name(folder)))
    }

    /// The type and the roles of a new user.
    fn of_new(&self, user: &NewUser) -> Vec<FieldChange> {
        let mut changes = changed([("Type", None, Some(user.user_type.name().into()))]);
        let in_tenant = Some((None, &user.tenant_roles)).filter(|(_, roles)| !roles.is_empty());
        let in_folders = user.folder_roles.iter().map(|(folder, roles)| (Some(FolderId(*folder)), roles));
        changes.extend(in_tenant.into_iter().chain(in_folders).map(|(folder, roles)| {
            FieldChange::new(&self.roles_field(folder), None, self.role_names(roles))
        }));
        changes
    }
}

fn of(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(Value::from)
}

fn listed(permissions: &BTreeSet<Permission>) -> Value {
    permissions.iter().map(Permission::to_string).collect()
}

fn changed<'a>(
    fields: impl IntoIterator<Item = (&'a str, Option<Value>, Option<Value>)>,
) -> Vec<FieldChange> {
    let differ = fields.into_iter().filter(|(_, before, after)| before != after);
    differ.map(|(field, before, after)| FieldChange::new(field, before, after)).collect()
}
