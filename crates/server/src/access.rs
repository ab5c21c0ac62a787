//! Authentication: the cached directory of users, and tokens. Logins are in `access/logins.rs`.

mod logins;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::api_error::ApiError;
use super::login_failures::LoginFailures;
use super::login_limit::LoginLimit;
use super::password_limit::PasswordLimit;
use super::{directory_store, secret};
use crate::directory::{Change, Directory, NewUser, User};
use crate::permission::{Permission, Scopes};
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::clock::Clock;
use performer_core::model::key::FolderId;
use performer_core::model::user::UserType;
use performer_store::{Store, Token, TokensOf};

/// The lifetime of an application's access token.
pub(super) const ACCESS_TOKEN_SECONDS: u64 = 3_600;
/// The lifetime of the token of a user who logged in with a password.
pub(super) const USER_TOKEN_SECONDS: u64 = 1_800;
/// How often the directory and cached tokens are refreshed: a token that another process revoked stays valid for at most
/// this time.
pub(super) const REFRESH_INTERVAL: Duration = Duration::from_millis(500);

/// A caller with a valid token.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) scopes: Arc<Scopes>,
    pub(super) directory: Arc<Directory>,
    expires: Timestamp,
}

impl Caller {
    /// Whether the caller has a permission in a folder, or, for `None`, in the tenant.
    pub(super) fn may(&self, folder: Option<FolderId>, permission: Permission) -> bool {
        self.directory.allows(&self.user, folder, permission)
    }

    /// How the audit names the caller.
    pub(super) fn actor(&self, source: ActSource, from: IpAddr) -> Actor {
        let actor = Actor::new(source).user_id(self.user.id).user_name(&*self.user.user_name);
        actor.address(from.to_string())
    }

    pub(super) fn is_assigned(&self, folder: FolderId) -> bool {
        self.directory.is_assigned(&self.user, folder)
    }
}

/// The directory of the store, with caches of callers and failed logins.
pub(super) struct Access {
    store: Store,
    clock: Arc<dyn Clock>,
    known: RwLock<DirectorySnapshot>,
    failures: Mutex<LoginFailures>,
    passwords: PasswordLimit,
    client_logins: LoginLimit,
    user_logins: LoginLimit,
    /// Compared with the secret of an unknown application.
    unknown_client_hash: String,
    /// The person whose own desk this is, who is in no directory.
    operator: Option<User>,
}

/// The maximum number of cached callers.
const MAX_CACHED_CALLERS: usize = 10_000;

/// The directory as it was last read, with the callers whose tokens were resolved against it.
struct DirectorySnapshot {
    version: u64,
    directory: Arc<Directory>,
    /// By digest of the token, with the time of the lookup.
    callers: Mutex<HashMap<String, (Caller, Duration)>>,
}

impl DirectorySnapshot {
    fn new(version: u64, directory: Directory) -> Self {
        Self { version, directory: Arc::new(directory), callers: Mutex::default() }
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<String, (Caller, Duration)>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cached caller of a token, if the lookup is recent. The token may have expired.
    fn caller(&self, digest: &str, now: Duration) -> Option<Caller> {
        let callers = self.callers();
        let (caller, looked_up) = callers.get(digest)?;
        is_recent(*looked_up, now).then(|| caller.clone())
    }

    /// Caches and returns the caller of a token. `None`: its user does not exist or is inactive.
    fn remember(
        &self,
        digest: &str,
        token: &Token,
        operator: Option<&User>,
        now: Duration,
    ) -> Option<Caller> {
        let operator = operator.filter(|operator| operator.id == token.user);
        let user = operator.or_else(|| self.directory.user(token.user)).filter(|user| user.is_active)?;
        let caller = Caller {
            user: Arc::new(user.clone()),
            scopes: Arc::new(token.scopes.clone().into()),
            directory: self.directory.clone(),
            expires: token.expires,
        };
        let mut callers = self.callers();
        if callers.len() >= MAX_CACHED_CALLERS {
            callers.retain(|_, (_, looked_up)| is_recent(*looked_up, now));
        }
        if callers.len() >= MAX_CACHED_CALLERS {
            callers.clear(); // they will be looked up again
        }
        callers.insert(digest.to_owned(), (caller.clone(), now));
        Some(caller)
    }

    fn forget(&self, digest: &str) {
        self.callers().remove(digest);
    }
}

/// Whether a lookup may still be used, see [`REFRESH_INTERVAL`].
fn is_recent(looked_up: Duration, now: Duration) -> bool {
    now.saturating_sub(looked_up) < REFRESH_INTERVAL
}

impl Access {
    /// Opens the directory of a store; `None` if it has none yet.
    pub(super) async fn open(store: &Store, clock: Arc<dyn Clock>) -> Result<Option<Self>, ApiError> {
        let Some((version, directory)) = directory_store::read(store, 0).await? else { return Ok(None) };
        Ok(Some(Self {
            store: store.clone(),
            clock,
            known: RwLock::new(DirectorySnapshot::new(version, directory)),
            failures: Mutex::default(),
            passwords: PasswordLimit::default(),
            client_logins: LoginLimit::of_clients(),
            user_logins: LoginLimit::of_users(),
            unknown_client_hash: secret::hash_generated(&secret::new_secret()?),
            operator: None,
        }))
    }

    /// With a user who is in no directory.
    pub(super) fn with_operator(self, operator: User) -> Self {
        Self { operator: Some(operator), ..self }
    }

    /// Creates the directory of a new store.
    pub(super) async fn create_directory(
        store: &Store,
        new: Directory,
        changes: Vec<Change>,
    ) -> Result<(), ApiError> {
        directory_store::change(store, Some(new), &changes).await.map(drop)
    }

    /// The cached directory.
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.known().directory.clone()
    }

    /// Reads the directory again if it has changed.
    pub(super) async fn refresh(&self) -> Result<(), ApiError> {
        let known = self.known().version;
        if let Some((version, directory)) = directory_store::read(&self.store, known).await? {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if version > known.version {
                *known = DirectorySnapshot::new(version, directory);
            }
        }
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, DirectorySnapshot> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the directory. Returns the id of the entity that was created or changed. `actor`: whom the audit
    /// names; `None` for the actor that the store was connected with.
    pub(super) async fn change(&self, actor: Option<Actor>, change: Change) -> Result<i64, ApiError> {
        let numbers = self.change_all(actor, vec![change]).await?;
        numbers.last().copied().ok_or_else(|| ApiError::internal("a change of the directory returned no id"))
    }

    /// Makes several changes of the directory, all or none of them.
    pub(super) async fn change_all(
        &self,
        actor: Option<Actor>,
        changes: Vec<Change>,
    ) -> Result<Vec<i64>, ApiError> {
        let numbers = directory_store::change(&self.store_of(actor), None, &changes).await?;
        self.refresh().await?;
        Ok(numbers)
    }

    /// The store, whose audit names the actor.
    fn store_of(&self, actor: Option<Actor>) -> Store {
        actor.map_or_else(|| self.store.clone(), |actor| self.store.acting_as(actor))
    }

    /// The caller with this token; `None` if the token is not valid.
    pub(super) async fn caller(&self, token: &str) -> Result<Option<Caller>, ApiError> {
        let (digest, now) = (secret::digest_of(token), self.clock.elapsed());
        let mut caller = self.known().caller(&digest, now);
        if caller.is_none() && secret::is_well_formed(token) {
            caller = self.look_up(&digest, now).await?;
        }
        Ok(caller.filter(|caller| caller.expires > self.clock.now()))
    }

    async fn look_up(&self, digest: &str, now: Duration) -> Result<Option<Caller>, ApiError> {
        let Some(token) = self.store.token(digest).await? else {
            self.known().forget(digest);
            return Ok(None);
        };
        let operator = self.operator.as_ref();
        let caller = self.known().remember(digest, &token, operator, now);
        if caller.is_some() {
            return Ok(caller);
        }
        self.refresh().await?; // another process may just have created the user
        Ok(self.known().remember(digest, &token, operator, now))
    }

    /// Issues a token. `actor`: as in [`change`](Self::change).
    pub(super) async fn issue(
        &self,
        actor: Option<Actor>,
        user: i64,
        client: Option<String>,
        name: Option<String>,
        scopes: Scopes,
        life: Duration,
    ) -> Result<String, ApiError> {
        let text = secret::new_secret()?;
        let expires = secret::end_of_token(life, self.clock.now())?;
        let token = Token { user, client, name, scopes: scopes.into(), expires };
        let evicted = self.store_of(actor).add_token(secret::digest_of(&text), token).await?;
        let known = self.known();
        evicted.iter().for_each(|digest| known.forget(digest));
        Ok(text)
    }

    /// Revokes one token by its text. Other servers over the store find out when they look it up again, see [`REFRESH_INTERVAL`].
    pub(super) async fn revoke_token(&self, token: &str) -> Result<(), ApiError> {
        let digest = secret::digest_of(token);
        self.store.remove_token(&digest).await?;
        self.known().forget(&digest);
        Ok(())
    }

    /// The user of a link that signs somebody in to the desk; `None` for one that is not valid, or was used.
    pub(super) async fn redeem_link(&self, token: &str) -> Result<Option<i64>, ApiError> {
        let caller = self.caller(token).await?.filter(|caller| caller.scopes.are_of_desk_link());
        let Some(caller) = caller else { return Ok(None) };
        let digest = secret::digest_of(token);
        // Of two who use it at the same time, one removes it.
        let is_first = self.store.remove_token(&digest).await?;
        self.known().forget(&digest);
        Ok(is_first.then_some(caller.user.id))
    }

    /// Revokes tokens. Returns their number. `actor`: as in [`change`](Self::change).
    pub(super) async fn revoke(&self, actor: Option<Actor>, of: TokensOf) -> Result<u64, ApiError> {
        let removed = directory_store::revoke(&self.store_of(actor), of).await?;
        self.refresh().await?;
        Ok(removed)
    }

    /// All tokens of a user, with their digests.
    pub(super) async fn tokens_of(&self, user: i64) -> Result<Vec<(String, Token)>, ApiError> {
        Ok(self.store.tokens_of(user).await?)
    }

    /// The personal access tokens.
    pub(super) async fn named_tokens(&self) -> Result<Vec<Token>, ApiError> {
        Ok(self.store.named_tokens().await?)
    }
}

/// A new user with a random key and no roles.
pub(super) fn new_user(name: &str, user_type: UserType) -> Result<NewUser, ApiError> {
    Ok(NewUser::new(secret::new_key()?, name, user_type))
}
