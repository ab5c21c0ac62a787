//! The directory of a server: tenant, folders, users, roles, robots and applications (orchestrator-api 1, 2, 6 and 11).
//! Small, and read as a whole: the store keeps it as one document, which it does not read, and access tokens in rows of their own.
//!
//! This file has the parts of the directory, `change.rs` its changes, `administrators.rs` the rule that an administrator
//! remains, `audit.rs` what the audit says of changes, and `views.rs` what responses show of it.
//!
//! It contains no secrets: of an application's secret and of tokens it has SHA-256 digests, of passwords slow hashes.
//! The file alone is not enough to log in.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use performer_store::{Token, TokensOf};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::permission::{Action, Area, Permission, Scopes};
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;

mod administrators;
mod audit;
mod change;
mod views;

pub use change::{Change, MOST_LEVELS, NewUser, UserEdit};

/// All users and what they may do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Directory {
    last_id: i64,
    tenant: Tenant,
    folders: BTreeMap<i64, Folder>,
    users: BTreeMap<i64, User>,
    roles: BTreeMap<i64, Role>,
    robots: BTreeMap<i64, Robot>,
    clients: BTreeMap<String, Client>,
    /// Tokens of a directory that an older version wrote. A store keeps them in rows of their own now. (Older versions
    /// cannot read a directory without this.)
    #[serde(default)]
    tokens: BTreeMap<String, Token>,
    /// Tokens that changes have revoked.
    #[serde(skip)]
    revoked: Vec<TokensOf>,
}

/// The tenant. There is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its number.
    pub id: i32,
    /// Its key.
    pub key: Uuid,
    /// Its name.
    pub name: String,
}

/// A folder of queues.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folder {
    /// Its number.
    pub id: FolderId,
    /// Its key.
    pub key: Uuid,
    /// Its own name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The folder that contains it.
    pub parent: Option<FolderId>,
}

/// An account that may be given roles: a person, a robot, an application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Its number.
    pub id: i64,
    /// Its key.
    pub key: Uuid,
    /// The name it logs in with.
    pub user_name: String,
    /// Its name.
    pub name: Option<String>,
    /// Its last name.
    pub surname: Option<String>,
    /// Its address.
    pub email_address: Option<String>,
    /// What it is.
    #[serde(rename = "type")]
    pub user_type: UserType,
    /// Whether it is enabled.
    pub is_active: bool,
    /// The slow hash of its password.
    pub password: Option<String>,
    /// When it was created.
    pub creation_time: Timestamp,
    /// Its roles in the whole tenant.
    pub tenant_roles: BTreeSet<i64>,
    /// Its roles in folders and those below them.
    pub folder_roles: BTreeMap<i64, BTreeSet<i64>>,
}

/// A named set of permissions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Whether it existed from the beginning, and cannot be changed.
    pub is_static: bool,
    /// What it allows.
    pub permissions: BTreeSet<Permission>,
}

/// A robot: the key that a caller shows when it claims items.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Robot {
    /// Its number.
    pub id: i64,
    /// Its key.
    pub key: Uuid,
    /// Its name.
    pub name: String,
    /// The user it runs as.
    pub user: i64,
}

/// A confidential external application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// Its client id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The SHA-256 digest of its secret, in hexadecimal digits.
    pub secret: String,
    /// The scopes it may ask for.
    pub scopes: Scopes,
    /// The user it acts as.
    pub user: i64,
}

/// The role that may do everything.
pub const ADMINISTRATOR: &str = "Administrator";
/// The role of robots and of programs that add items.
pub const AUTOMATION: &str = "Automation User";
/// The role that may only read.
pub const VIEWER: &str = "Viewer";

impl Directory {
    /// The directory of a new server: a tenant, the folder Shared, and three roles.
    pub fn new(tenant: Uuid, shared: Uuid) -> Self {
        let folder = Folder {
            id: FolderId::SHARED,
            key: shared,
            name: "Shared".to_owned(),
            description: None,
            parent: None,
        };
        let mut new = Self {
            last_id: FolderId::SHARED.0,
            tenant: Tenant { id: 1, key: tenant, name: "Default".to_owned() },
            folders: [(folder.id.0, folder)].into(),
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            robots: BTreeMap::new(),
            clients: BTreeMap::new(),
            tokens: BTreeMap::new(),
            revoked: Vec::new(),
        };
        let automation = Permission::all().filter(|Permission(area, action)| match area {
            // A robot gets content as it is; what it does not need is to have a person's masks lifted.
            Area::Transactions => *action != Action::Reveal,
            Area::Queues | Area::Jobs | Area::Robots | Area::Assets | Area::Buckets => {
                *action == Action::View
            }
            Area::BlobFiles => true,
            Area::Logs => matches!(action, Action::View | Action::Create),
            // A robot asks, and does not answer itself.
            Area::Tasks => matches!(action, Action::View | Action::Create),
            Area::TaskCatalogs => *action == Action::View,
            _ => false,
        });
        let viewer = Permission::all().filter(|Permission(_, action)| *action == Action::View);
        let roles = [
            (ADMINISTRATOR, Permission::all().collect()),
            (AUTOMATION, automation.collect()),
            (VIEWER, viewer.collect()),
        ];
        for (name, permissions) in roles {
            let id = new.next_id();
            new.roles.insert(id, Role { id, name: name.to_owned(), is_static: true, permissions });
        }
        new
    }

    /// Gives roles that cannot be changed the permissions that there are now: a directory of an older version has those of then.
    pub(crate) fn complete_roles(&mut self) {
        let now = Self::new(Uuid::nil(), Uuid::nil());
        for role in self.roles.values_mut().filter(|role| role.is_static) {
            if let Some(known) = now.role_named(&role.name) {
                role.permissions.clone_from(&known.permissions);
            }
        }
    }

    fn next_id(&mut self) -> i64 {
        self.last_id += 1;
        self.last_id
    }

    /// The tenant.
    pub fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// All folders, by number.
    pub fn folders(&self) -> impl Iterator<Item = &Folder> {
        self.folders.values()
    }

    /// All users, by number.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.values()
    }

    /// All roles, by number.
    pub fn roles(&self) -> impl Iterator<Item = &Role> {
        self.roles.values()
    }

    /// All robots, by number.
    pub fn robots(&self) -> impl Iterator<Item = &Robot> {
        self.robots.values()
    }

    /// All applications, by id.
    pub fn clients(&self) -> impl Iterator<Item = &Client> {
        self.clients.values()
    }

    /// Whether it contains tokens, as an older version wrote them.
    pub fn has_tokens(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Removes and returns the tokens in it, with their digests: a store keeps them in rows of their own.
    pub fn take_tokens(&mut self) -> BTreeMap<String, Token> {
        std::mem::take(&mut self.tokens)
    }

    /// Removes and returns the tokens that changes have revoked.
    pub fn take_revoked(&mut self) -> Vec<TokensOf> {
        std::mem::take(&mut self.revoked)
    }

    /// A folder.
    pub fn folder(&self, id: FolderId) -> Option<&Folder> {
        self.folders.get(&id.0)
    }

    /// A user.
    pub fn user(&self, id: i64) -> Option<&User> {
        self.users.get(&id)
    }

    /// A user by login name, ignoring case.
    pub fn user_named(&self, name: &str) -> Option<&User> {
        let name = name.to_lowercase();
        self.users.values().find(|user| user.user_name.to_lowercase() == name)
    }

    /// A role.
    pub fn role(&self, id: i64) -> Option<&Role> {
        self.roles.get(&id)
    }

    /// A role by name, ignoring case.
    pub fn role_named(&self, name: &str) -> Option<&Role> {
        let name = name.to_lowercase();
        self.roles.values().find(|role| role.name.to_lowercase() == name)
    }

    /// A robot.
    pub fn robot(&self, id: i64) -> Option<&Robot> {
        self.robots.get(&id)
    }

    /// The robot with a key.
    pub fn robot_with_key(&self, key: Uuid) -> Option<&Robot> {
        self.robots.values().find(|robot| robot.key == key)
    }

    /// An application.
    pub fn client(&self, id: &str) -> Option<&Client> {
        self.clients.get(id)
    }

    /// A folder and those that contain it, from the inside.
    fn with_parents(&self, id: FolderId) -> impl Iterator<Item = &Folder> {
        let mut next = self.folder(id);
        std::iter::from_fn(move || {
            let folder = next?;
            next = folder.parent.and_then(|parent| self.folder(parent));
            Some(folder)
        })
    }

    /// The numbers of a folder and of those that contain it, from the inside.
    pub fn path_of(&self, id: FolderId) -> impl Iterator<Item = i64> {
        self.with_parents(id).map(|folder| folder.id.0)
    }

    /// The full name of a folder, as in `Shared/Finance`.
    pub fn full_name(&self, id: FolderId) -> String {
        let mut names: Vec<&str> = self.with_parents(id).map(|folder| folder.name.as_str()).collect();
        names.reverse();
        names.join("/")
    }

    /// The folder with a full name, ignoring case.
    pub fn folder_named(&self, full_name: &str) -> Option<&Folder> {
        let mut parent: Option<&Folder> = None;
        for name in full_name.split('/') {
            let name = name.to_lowercase();
            let above = parent.map(|folder| folder.id);
            let below = |folder: &&Folder| folder.parent == above && folder.name.to_lowercase() == name;
            parent = Some(self.folders.values().find(below)?);
        }
        parent
    }

    /// The permissions of a user: in a folder, or in the tenant if `folder` is `None`.
    pub fn permissions(&self, user: &User, folder: Option<FolderId>) -> BTreeSet<Permission> {
        let mut roles: Vec<i64> = user.tenant_roles.iter().copied().collect();
        for folder in folder.into_iter().flat_map(|id| self.with_parents(id)) {
            roles.extend(user.folder_roles.get(&folder.id.0).into_iter().flatten());
        }
        roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flat_map(|role| role.permissions.iter().copied())
            .collect()
    }

    /// Whether a user has a permission in a folder, or in the tenant if `folder` is `None`.
    pub fn allows(&self, user: &User, folder: Option<FolderId>, permission: Permission) -> bool {
        let allows =
            |role: &i64| self.roles.get(role).is_some_and(|role| role.permissions.contains(&permission));
        user.is_active
            && (user.tenant_roles.iter().any(allows)
                || folder.into_iter().flat_map(|id| self.with_parents(id)).any(|folder| {
                    user.folder_roles.get(&folder.id.0).is_some_and(|roles| roles.iter().any(allows))
                }))
    }

    /// Whether a user has any role in a folder, in one that contains it, or in the tenant.
    pub fn is_assigned(&self, user: &User, folder: FolderId) -> bool {
        user.is_active
            && (!user.tenant_roles.is_empty()
                || self.with_parents(folder).any(|folder| user.folder_roles.contains_key(&folder.id.0)))
    }
}

#[cfg(test)]
mod tests;
