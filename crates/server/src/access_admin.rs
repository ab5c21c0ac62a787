//! Administration of the applications, users, tokens, robots and folders of a store by an operator. A server on the same
//! store sees a change within a second.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::access::{Access, new_user};
use super::api_error::orchestrator_error;
use super::secret;
use crate::directory::{Change, Client, Directory, Folder, NewUser, Robot, Role, User};
use crate::permission::Scopes;
use performer_core::model::clock::Clock;
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_store::{Store, Token, TokensOf};

/// Administers the directory of a store.
pub struct AccessAdmin {
    access: Access,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for AccessAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AccessAdmin").finish_non_exhaustive()
    }
}

/// Roles for a user or application: in folders or, without folders, in the whole tenant.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// Names of roles.
    pub roles: Vec<String>,
    /// Full names of folders, as in `Shared/Finance`.
    pub folders: Vec<String>,
}

impl AccessAdmin {
    /// Opens the directory of a store.
    ///
    /// # Errors
    ///
    /// NotFound if no server was ever started on the store; errors of the store.
    pub async fn open(store: &Store) -> Result<Self> {
        let clock = store.clock();
        let missing = || {
            let message = "this store has no directory yet: run performer serve on it once";
            OrchestratorError::new(ErrorKind::NotFound, message)
        };
        let access =
            Access::open(store, clock.clone()).await.map_err(orchestrator_error)?.ok_or_else(missing)?;
        Ok(Self { access, clock })
    }

    /// The directory as of the last change or query of this value.
    pub fn directory(&self) -> Arc<Directory> {
        self.access.directory()
    }

    async fn change(&self, change: Change) -> Result<i64> {
        self.access.change(None, change).await.map_err(orchestrator_error)
    }

    /// The current directory, including changes by other processes.
    async fn current_directory(&self) -> Result<Arc<Directory>> {
        self.access.refresh().await.map_err(orchestrator_error)?;
        Ok(self.directory())
    }

    async fn set_roles(&self, to: &mut NewUser, roles: &Roles) -> Result<()> {
        let directory = self.current_directory().await?;
        let mut ids = BTreeSet::new();
        for name in &roles.roles {
            let role: &Role =
                directory.role_named(name).ok_or_else(|| missing(format_args!("role {name:?}")))?;
            ids.insert(role.id);
        }
        if roles.folders.is_empty() {
            to.tenant_roles = ids;
            return Ok(());
        }
        let mut folders = BTreeMap::new();
        for name in &roles.folders {
            let folder: &Folder =
                directory.folder_named(name).ok_or_else(|| missing(format_args!("folder {name:?}")))?;
            folders.insert(folder.id.0, ids.clone());
        }
        to.folder_roles = folders;
        Ok(())
    }

    /// Adds an application. Returns its id and its secret; the secret cannot be shown again.
    ///
    /// # Errors
    ///
    /// Conflict for a name that is taken, NotFound for a role or a folder, Invalid for a scope.
    pub async fn add_client(&self, name: &str, scopes: &str, roles: &Roles) -> Result<(String, String)> {
        let key = secret::new_key().map_err(orchestrator_error)?;
        let (id, secret) = (key.to_string(), secret::new_secret().map_err(orchestrator_error)?);
        let mut user = new_user(name, UserType::DirectoryExternalApplication).map_err(orchestrator_error)?;
        self.set_roles(&mut user, roles).await?;
        let change = Change::AddClient {
            id: id.clone(),
            name: name.to_owned(),
            secret: secret::hash_generated(&secret),
            scopes: Scopes::parse(scopes)?,
            user: Box::new(user),
        };
        self.change(change).await?;
        Ok((id, secret))
    }

    /// Removes an application and revokes its tokens.
    ///
    /// # Errors
    ///
    /// NotFound; Invalid for the last administrator who can log in.
    pub async fn remove_client(&self, id: &str) -> Result<()> {
        self.change(Change::RemoveClient(id.to_owned())).await.map(drop)
    }

    /// Adds a user, with or without a password. Returns its id.
    ///
    /// # Errors
    ///
    /// As [`add_client`](Self::add_client); Invalid for a password if the user type has none.
    pub async fn add_user(
        &self,
        name: &str,
        user_type: UserType,
        password: Option<String>,
        roles: &Roles,
    ) -> Result<i64> {
        let mut user = new_user(name, user_type).map_err(orchestrator_error)?;
        self.set_roles(&mut user, roles).await?;
        if let Some(password) = password {
            if !user_type.has_password() {
                let message = format!("a user of the type {user_type} has no password");
                return Err(OrchestratorError::new(ErrorKind::Invalid, message));
            }
            user.password = Some(secret::hash_on_thread(password).await.map_err(orchestrator_error)?);
        }
        self.change(Change::AddUser(Box::new(user))).await
    }

    /// Removes a user, with its tokens and robots.
    ///
    /// # Errors
    ///
    /// NotFound; Conflict for the user of an application; Invalid for the last administrator who can log in.
    pub async fn remove_user(&self, name: &str) -> Result<()> {
        let id = self.user_id(name).await?;
        self.change(Change::RemoveUser(id)).await.map(drop)
    }

    async fn user_id(&self, name: &str) -> Result<i64> {
        let directory = self.current_directory().await?;
        directory.user_named(name).map(|user| user.id).ok_or_else(|| missing(format_args!("user {name:?}")))
    }

    /// Creates a personal access token with a lifetime of at most 3650 days. It cannot be shown again.
    ///
    /// # Errors
    ///
    /// NotFound for the user, Invalid for a scope or a longer lifetime.
    pub async fn add_token(&self, user: &str, name: &str, scopes: &str, life: Duration) -> Result<String> {
        let (user, scopes) = (self.user_id(user).await?, Scopes::parse(scopes)?);
        self.access
            .issue(None, user, None, Some(name.to_owned()), scopes, life)
            .await
            .map_err(orchestrator_error)
    }

    /// Revokes the user's token with this name, or all of its tokens. Returns their number.
    ///
    /// # Errors
    ///
    /// NotFound for the user.
    pub async fn revoke_tokens(&self, user: &str, name: Option<&str>) -> Result<usize> {
        let id = self.user_id(user).await?;
        let of = name.map_or(TokensOf::User(id), |name| TokensOf::Named(id, name.to_owned()));
        let removed = self.access.revoke(None, of).await.map_err(orchestrator_error)?;
        Ok(usize::try_from(removed).unwrap_or(usize::MAX))
    }

    /// Adds a robot that runs as a user. Returns its key, which clients send as RobotIdentifier to start transactions.
    ///
    /// # Errors
    ///
    /// NotFound for the user.
    pub async fn add_robot(&self, name: &str, user: &str) -> Result<Uuid> {
        let (user, key) = (self.user_id(user).await?, secret::new_key().map_err(orchestrator_error)?);
        self.change(Change::AddRobot { key, name: name.to_owned(), user }).await?;
        Ok(key)
    }

    /// Adds a folder by its full name; its parent folders must exist. Returns its id.
    ///
    /// # Errors
    ///
    /// NotFound for the parent folder; Conflict for a name that is taken.
    pub async fn add_folder(&self, full_name: &str) -> Result<FolderId> {
        let directory = self.current_directory().await?;
        let (parent, name) = match full_name.rsplit_once('/') {
            None => (None, full_name),
            Some((parent, name)) => {
                let found = directory
                    .folder_named(parent)
                    .ok_or_else(|| missing(format_args!("folder {parent:?}")))?;
                (Some(found.id), name)
            }
        };
        let key = secret::new_key().map_err(orchestrator_error)?;
        let change = Change::AddFolder { key, name: name.to_owned(), description: None, parent };
        self.change(change).await.map(FolderId)
    }

    /// The valid personal access tokens, with their users.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub async fn tokens(&self) -> Result<Vec<(User, Token)>> {
        let (directory, now) = (self.current_directory().await?, self.clock.now());
        let tokens = self.access.named_tokens().await.map_err(orchestrator_error)?;
        let good = tokens.into_iter().filter(|token| token.expires > now);
        Ok(good.filter_map(|token| Some((directory.user(token.user)?.clone(), token))).collect())
    }

    /// The applications, with the users that they act as.
    pub fn clients(&self) -> Vec<(Client, Option<User>)> {
        let directory = self.directory();
        directory.clients().map(|client| (client.clone(), directory.user(client.user).cloned())).collect()
    }

    /// The robots.
    pub fn robots(&self) -> Vec<Robot> {
        self.directory().robots().cloned().collect()
    }
}

fn missing(what: impl std::fmt::Display) -> OrchestratorError {
    OrchestratorError::new(ErrorKind::NotFound, format!("{what} does not exist"))
}
