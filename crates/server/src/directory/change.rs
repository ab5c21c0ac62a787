//! Changes of the directory, and their refusals.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use uuid::Uuid;

use performer_store::TokensOf;

use super::{Client, Directory, Folder, Robot, Role, User};
use crate::permission::{Permission, Scopes};
use performer_core::model::code::ErrorCode;
use performer_core::model::content::units_over;
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use performer_core::model::{FieldEdit, Refusal};

/// A change of the directory. The caller makes names and keys.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of what they change")]
pub enum Change {
    AddFolder {
        key: Uuid,
        name: String,
        description: Option<String>,
        parent: Option<FolderId>,
    },
    EditFolder {
        id: FolderId,
        name: Option<String>,
        description: FieldEdit<String>,
    },
    /// With all that is in it. Neither the folder Shared, nor into itself.
    MoveFolder {
        id: FolderId,
        parent: Option<FolderId>,
    },
    /// Only an empty folder; the store checks whether there are queues in it.
    RemoveFolder(FolderId),
    AddUser(Box<NewUser>),
    EditUser {
        id: i64,
        edit: UserEdit,
    },
    SetPassword {
        user: i64,
        password: String,
    },
    RemoveUser(i64),
    AddRole {
        name: String,
        permissions: BTreeSet<Permission>,
    },
    EditRole {
        id: i64,
        name: String,
        permissions: BTreeSet<Permission>,
    },
    RemoveRole(i64),
    /// `folder`: `None` for the tenant. `roles`: `None` removes the user's roles there.
    Assign {
        user: i64,
        folder: Option<FolderId>,
        roles: BTreeSet<i64>,
    },
    /// One role of a user in the tenant. Does nothing if the user has it already, or has it not.
    SetRole {
        user: i64,
        role: i64,
        has: bool,
    },
    AddRobot {
        key: Uuid,
        name: String,
        user: i64,
    },
    AddClient {
        id: String,
        name: String,
        secret: String,
        scopes: Scopes,
        user: Box<NewUser>,
    },
    RemoveClient(String),
}

/// A change of a user. What it does not name stays.
#[derive(Clone, Debug, Default)]
#[expect(missing_docs, reason = "the fields are those of User")]
pub struct UserEdit {
    pub name: FieldEdit<String>,
    pub surname: FieldEdit<String>,
    pub email_address: FieldEdit<String>,
    pub is_active: Option<bool>,
}

impl UserEdit {
    /// Enables or disables a user.
    pub fn active(is_active: bool) -> Self {
        Self { is_active: Some(is_active), ..Self::default() }
    }
}

/// A user to be added.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of User")]
pub struct NewUser {
    pub key: Uuid,
    pub user_name: String,
    pub name: Option<String>,
    pub surname: Option<String>,
    pub email_address: Option<String>,
    pub user_type: UserType,
    pub password: Option<String>,
    pub tenant_roles: BTreeSet<i64>,
    pub folder_roles: BTreeMap<i64, BTreeSet<i64>>,
}

impl NewUser {
    /// A user without roles.
    pub fn new(key: Uuid, user_name: impl Into<String>, user_type: UserType) -> Self {
        Self {
            key,
            user_name: user_name.into(),
            name: None,
            surname: None,
            email_address: None,
            user_type,
            password: None,
            tenant_roles: BTreeSet::new(),
            folder_roles: BTreeMap::new(),
        }
    }
}

/// The longest name of a folder, in UTF-16 code units.
const FOLDER_NAME_LIMIT: usize = 115;
/// The longest of the other names, in UTF-16 code units.
const NAME_LIMIT: usize = 256;
/// The longest description of a folder, in UTF-16 code units.
const DESCRIPTION_LIMIT: usize = 500;
/// How deep folders may be nested.
pub const MOST_LEVELS: usize = 7;
/// The most folders, users, roles, robots or applications of a tenant.
const MAX_OF_A_KIND: usize = 10_000;

type ChangeResult<T = i64> = Result<T, Refusal>;

impl Directory {
    /// Applies a change. Returns the number of what was created or changed.
    ///
    /// # Errors
    ///
    /// 1001 for a name that is already used, 1002 for what does not exist, 1009 and 1015 for a text outside its limits,
    /// 1013 for what is still needed (also the last administrator who can log in), 1406 and 1412 for a role that can
    /// neither be deleted nor edited.
    pub fn change(&mut self, change: Change, now: Timestamp) -> ChangeResult {
        self.keep_an_administrator(&change)?;
        match change {
            Change::AddFolder { key, name, description, parent } => {
                self.add_folder(key, name, description, parent)
            }
            Change::EditFolder { id, name, description } => self.edit_folder(id, name, description),
            Change::MoveFolder { id, parent } => self.move_folder(id, parent),
            Change::RemoveFolder(id) => self.remove_folder(id),
            Change::AddUser(user) => self.add_user(*user, now),
            Change::EditUser { id, edit } => self.edit_user(id, edit),
            Change::SetPassword { user, password } => {
                self.existing_user(user)?.password = Some(password);
                self.revoked.push(TokensOf::Logins(user));
                Ok(user)
            }
            Change::RemoveUser(id) => self.remove_user(id),
            Change::AddRole { name, permissions } => {
                self.check_role(&name, None)?;
                check_room("roles", self.roles.len())?;
                let id = self.next_id();
                self.roles.insert(id, Role { id, name, is_static: false, permissions });
                Ok(id)
            }
            Change::EditRole { id, name, permissions } => self.edit_role(id, name, permissions),
            Change::RemoveRole(id) => self.remove_role(id),
            Change::Assign { user, folder, roles } => self.assign(user, folder, roles),
            Change::SetRole { user, role, has } => {
                self.check_roles(&[role].into())?;
                let roles = &mut self.existing_user(user)?.tenant_roles;
                if has {
                    roles.insert(role);
                } else {
                    roles.remove(&role);
                }
                Ok(user)
            }
            Change::AddRobot { key, name, user } => self.add_robot(key, name, user),
            Change::AddClient { id, name, secret, scopes, user } => {
                check_text("the id of an application", &id, NAME_LIMIT, 1)?;
                check_text("the name of an application", &name, NAME_LIMIT, 1)?;
                check_room("applications", self.clients.len())?;
                if self.clients.contains_key(&id) {
                    return Err(already_used("an application with this id"));
                }
                let user = self.add_user(*user, now)?;
                self.clients.insert(id.clone(), Client { id, name, secret, scopes, user });
                Ok(user)
            }
            Change::RemoveClient(id) => {
                let client =
                    self.clients.remove(&id).ok_or_else(|| missing(format_args!("application {id:?}")))?;
                self.remove_user(client.user)
            }
        }
    }

    fn add_robot(&mut self, key: Uuid, name: String, user: i64) -> ChangeResult {
        check_text("the name of a robot", &name, NAME_LIMIT, 1)?;
        check_room("robots", self.robots.len())?;
        self.existing_user(user)?;
        if self.robots.values().any(|robot| robot.key == key) {
            return Err(already_used("a robot with this key"));
        }
        let id = self.next_id();
        self.robots.insert(id, Robot { id, key, name, user });
        Ok(id)
    }

    fn add_folder(
        &mut self,
        key: Uuid,
        name: String,
        description: Option<String>,
        parent: Option<FolderId>,
    ) -> ChangeResult {
        self.check_levels(parent, 1)?;
        self.check_folder(&name, description.as_deref(), parent, None)?;
        check_room("folders", self.folders.len())?;
        let id = self.next_id();
        self.folders.insert(id, Folder { id: FolderId(id), key, name, description, parent });
        Ok(id)
    }

    /// Whether so many levels of folders may be in a folder, or at the top.
    fn check_levels(&self, parent: Option<FolderId>, levels: usize) -> Result<(), Refusal> {
        let above = parent.map_or(0, |parent| self.with_parents(parent).count());
        if let Some(parent) = parent.filter(|_| above == 0) {
            return Err(missing(format_args!("folder {parent}")));
        }
        if above + levels > MOST_LEVELS {
            let message = format!("folders may be nested {MOST_LEVELS} deep");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message));
        }
        Ok(())
    }

    fn edit_folder(
        &mut self,
        id: FolderId,
        name: Option<String>,
        description: FieldEdit<String>,
    ) -> ChangeResult {
        let folder = self.folder(id).ok_or_else(|| missing(format_args!("folder {id}")))?;
        let name = name.unwrap_or_else(|| folder.name.clone());
        let description = description.applied_to(folder.description.clone());
        self.check_folder(&name, description.as_deref(), folder.parent, Some(id))?;
        if let Some(folder) = self.folders.get_mut(&id.0) {
            (folder.name, folder.description) = (name, description);
        }
        Ok(id.0)
    }

    fn check_folder(
        &self,
        name: &str,
        description: Option<&str>,
        parent: Option<FolderId>,
        except: Option<FolderId>,
    ) -> Result<(), Refusal> {
        check_text("the name of a folder", name, FOLDER_NAME_LIMIT, 1)?;
        check_text("the description of a folder", description.unwrap_or_default(), DESCRIPTION_LIMIT, 0)?;
        if name.contains('/') {
            return Err(Refusal::new(
                ErrorCode::INVALID_ARGUMENT,
                "the name of a folder must not contain '/'",
            ));
        }
        let name = name.to_lowercase();
        let twin = |folder: &Folder| {
            folder.parent == parent && Some(folder.id) != except && folder.name.to_lowercase() == name
        };
        if self.folders.values().any(twin) { Err(already_used("a folder with this name")) } else { Ok(()) }
    }

    fn move_folder(&mut self, id: FolderId, parent: Option<FolderId>) -> ChangeResult {
        let folder = self.folder(id).ok_or_else(|| missing(format_args!("folder {id}")))?;
        if id == FolderId::SHARED {
            return Err(Refusal::new(ErrorCode::new(1013), "the folder Shared cannot be moved"));
        }
        let is_inside = |inner: FolderId| self.with_parents(inner).any(|above| above.id == id);
        if parent.is_some_and(is_inside) {
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, "a folder cannot be moved into itself"));
        }
        let depth = |inner: &Folder| self.with_parents(inner.id).position(|above| above.id == id);
        let levels = self.folders.values().filter_map(depth).max().unwrap_or_default() + 1;
        self.check_levels(parent, levels)?;
        self.check_folder(&folder.name, folder.description.as_deref(), parent, Some(id))?;
        if let Some(folder) = self.folders.get_mut(&id.0) {
            folder.parent = parent;
        }
        Ok(id.0)
    }

    fn remove_folder(&mut self, id: FolderId) -> ChangeResult {
        if self.folder(id).is_none() {
            return Err(missing(format_args!("folder {id}")));
        }
        if id == FolderId::SHARED {
            return Err(Refusal::new(ErrorCode::new(1013), "the folder Shared cannot be deleted"));
        }
        if self.folders.values().any(|folder| folder.parent == Some(id)) {
            return Err(Refusal::new(ErrorCode::new(1012), "the folder has folders in it"));
        }
        self.folders.remove(&id.0);
        for user in self.users.values_mut() {
            user.folder_roles.remove(&id.0);
        }
        Ok(id.0)
    }

    fn existing_user(&mut self, id: i64) -> Result<&mut User, Refusal> {
        self.users.get_mut(&id).ok_or_else(|| missing(format_args!("user {id}")))
    }

    fn add_user(&mut self, new: NewUser, now: Timestamp) -> ChangeResult {
        check_text("the name of a user", &new.user_name, NAME_LIMIT, 1)?;
        let texts = [&new.name, &new.surname, &new.email_address];
        texts.into_iter().flatten().try_for_each(|text| check_text("a name", text, NAME_LIMIT, 0))?;
        check_room("users", self.users.len())?;
        if self.user_named(&new.user_name).is_some() {
            return Err(already_used("a user with this name"));
        }
        self.check_roles(&new.tenant_roles)?;
        for (folder, roles) in &new.folder_roles {
            self.folder(FolderId(*folder)).ok_or_else(|| missing(format_args!("folder {folder}")))?;
            self.check_roles(roles)?;
        }
        let id = self.next_id();
        let user = User {
            id,
            key: new.key,
            user_name: new.user_name,
            name: new.name,
            surname: new.surname,
            email_address: new.email_address,
            user_type: new.user_type,
            is_active: true,
            password: new.password,
            creation_time: now,
            tenant_roles: new.tenant_roles,
            folder_roles: new.folder_roles,
        };
        self.users.insert(id, user);
        Ok(id)
    }

    fn edit_user(&mut self, id: i64, edit: UserEdit) -> ChangeResult {
        for edit in [&edit.name, &edit.surname, &edit.email_address] {
            if let FieldEdit::Set(text) = edit {
                check_text("a name", text, NAME_LIMIT, 0)?;
            }
        }
        let user = self.existing_user(id)?;
        user.name = edit.name.applied_to(user.name.take());
        user.surname = edit.surname.applied_to(user.surname.take());
        user.email_address = edit.email_address.applied_to(user.email_address.take());
        user.is_active = edit.is_active.unwrap_or(user.is_active);
        Ok(id)
    }

    fn remove_user(&mut self, id: i64) -> ChangeResult {
        self.existing_user(id)?;
        if self.clients.values().any(|client| client.user == id) {
            return Err(Refusal::new(ErrorCode::new(1013), "an application acts as this user"));
        }
        self.users.remove(&id);
        self.robots.retain(|_, robot| robot.user != id);
        self.revoked.push(TokensOf::User(id));
        Ok(id)
    }

    fn check_role(&self, name: &str, except: Option<i64>) -> Result<(), Refusal> {
        check_text("the name of a role", name, NAME_LIMIT, 1)?;
        match self.role_named(name) {
            Some(role) if Some(role.id) != except => Err(already_used("a role with this name")),
            _ => Ok(()),
        }
    }

    fn edit_role(&mut self, id: i64, name: String, permissions: BTreeSet<Permission>) -> ChangeResult {
        self.check_role(&name, Some(id))?;
        let role = self.roles.get_mut(&id).ok_or_else(|| missing(format_args!("role {id}")))?;
        if role.is_static {
            let message = format!("role {:?} is not editable", role.name);
            return Err(Refusal::new(ErrorCode::ROLE_IS_NOT_EDITABLE, message));
        }
        (role.name, role.permissions) = (name, permissions);
        Ok(id)
    }

    fn remove_role(&mut self, id: i64) -> ChangeResult {
        let role = self.roles.get(&id).ok_or_else(|| missing(format_args!("role {id}")))?;
        if role.is_static {
            return Err(Refusal::new(
                ErrorCode::CANNOT_DELETE_STATIC_ROLE,
                format!("role {:?} cannot be deleted", role.name),
            ));
        }
        let has = |user: &User| {
            user.tenant_roles.contains(&id) || user.folder_roles.values().any(|roles| roles.contains(&id))
        };
        if self.users.values().any(has) {
            return Err(Refusal::new(ErrorCode::new(1013), "somebody has this role"));
        }
        self.roles.remove(&id);
        Ok(id)
    }

    fn check_roles(&self, roles: &BTreeSet<i64>) -> Result<(), Refusal> {
        roles.iter().try_for_each(|role| {
            self.role(*role).map(drop).ok_or_else(|| missing(format_args!("role {role}")))
        })
    }

    fn assign(&mut self, user: i64, folder: Option<FolderId>, roles: BTreeSet<i64>) -> ChangeResult {
        self.check_roles(&roles)?;
        if let Some(folder) = folder {
            self.folder(folder).ok_or_else(|| missing(format_args!("folder {folder}")))?;
        }
        let user = self.existing_user(user)?;
        match folder {
            None => user.tenant_roles = roles,
            Some(folder) if roles.is_empty() => {
                user.folder_roles.remove(&folder.0);
            }
            Some(folder) => {
                user.folder_roles.insert(folder.0, roles);
            }
        }
        Ok(user.id)
    }
}

fn missing(what: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::ITEM_NOT_FOUND, format!("{what} does not exist"))
}

fn already_used(what: &str) -> Refusal {
    Refusal::new(ErrorCode::NAME_ALREADY_USED, format!("there is already {what}"))
}

fn check_room(what: &str, count: usize) -> Result<(), Refusal> {
    if count < MAX_OF_A_KIND {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("there are {MAX_OF_A_KIND} {what} already")))
}

fn check_text(what: &str, text: &str, limit: usize, at_least: usize) -> Result<(), Refusal> {
    if let Some(control) = text.chars().find(|c| c.is_control()) {
        return Err(Refusal::new(
            ErrorCode::INVALID_ARGUMENT,
            format!("{what} must not contain {control:?}"),
        ));
    }
    if text.trim().len() < at_least || units_over(text, limit).is_some() {
        let message = format!("{what} should be between {at_least} and {limit} code units long");
        return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    }
    Ok(())
}
