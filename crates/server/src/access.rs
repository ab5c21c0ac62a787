//! Authentication: the cached directory of users, tokens, and login attempts.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::api_error::ApiError;
use super::login_failures::{LoginFailures, MAX_NAME_LENGTH};
use super::login_limit::{FAILED_LOGIN_TIME, LoginLimit};
use super::password_limit::PasswordLimit;
use super::{directory_store, secret};
use crate::directory::{Change, Directory, NewUser, User};
use crate::permission::{Permission, Scopes};
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
    fn remember(&self, digest: &str, token: &Token, now: Duration) -> Option<Caller> {
        let user = self.directory.user(token.user).filter(|user| user.is_active)?;
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
        }))
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

    /// Changes the directory. Returns the id of the entity that was created or changed.
    pub(super) async fn change(&self, change: Change) -> Result<i64, ApiError> {
        let numbers = self.change_all(vec![change]).await?;
        numbers.last().copied().ok_or_else(|| ApiError::internal("a change of the directory returned no id"))
    }

    /// Makes several changes of the directory, all or none of them.
    pub(super) async fn change_all(&self, changes: Vec<Change>) -> Result<Vec<i64>, ApiError> {
        let numbers = directory_store::change(&self.store, None, &changes).await?;
        self.refresh().await?;
        Ok(numbers)
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
        let caller = self.known().remember(digest, &token, now);
        if caller.is_some() {
            return Ok(caller);
        }
        self.refresh().await?; // another process may just have created the user
        Ok(self.known().remember(digest, &token, now))
    }

    /// Issues a token.
    pub(super) async fn issue(
        &self,
        user: i64,
        client: Option<String>,
        name: Option<String>,
        scopes: Scopes,
        life: Duration,
    ) -> Result<String, ApiError> {
        let text = secret::new_secret()?;
        let expires = secret::end_of_token(life, self.clock.now())?;
        let token = Token { user, client, name, scopes: scopes.into(), expires };
        let evicted = self.store.add_token(secret::digest_of(&text), token).await?;
        let known = self.known();
        evicted.iter().for_each(|digest| known.forget(digest));
        Ok(text)
    }

    /// Revokes tokens. Returns their number.
    pub(super) async fn revoke(&self, of: TokensOf) -> Result<u64, ApiError> {
        let removed = directory_store::revoke(&self.store, of).await?;
        self.refresh().await?;
        Ok(removed)
    }

    /// The personal access tokens.
    pub(super) async fn named_tokens(&self) -> Result<Vec<Token>, ApiError> {
        Ok(self.store.named_tokens().await?)
    }

    /// Authenticates an application by its id and secret. The result does not say which of the two was wrong. An unknown id
    /// is treated like one with a generated secret, so that it costs one digest and no slot of [`PasswordLimit`].
    pub(super) async fn authenticate_client(
        &self,
        from: IpAddr,
        id: &str,
        secret: &str,
    ) -> Result<Option<(i64, Scopes)>, ApiError> {
        let _slot = self.client_logins.acquire(from)?; // before the store is read
        self.refresh().await?;
        let directory = self.directory();
        let client = directory.client(id);
        let stored_hash = client.map_or(&self.unknown_client_hash, |client| &client.secret).clone();
        let right = self.verify_secret(from, id, secret, stored_hash, client.is_some()).await?;
        let active = |user: i64| directory.user(user).is_some_and(|user| user.is_active);
        Ok(client
            .filter(|client| right && active(client.user))
            .map(|client| (client.user, client.scopes.clone())))
    }

    /// Authenticates a user by name and password. A refusal is sent [`FAILED_LOGIN_TIME`] after the call, whatever its reason:
    /// so an unknown name looks like a known one and needs no comparison (choices 24).
    pub(super) async fn authenticate_user(
        &self,
        from: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Option<i64>, ApiError> {
        let refused_at = Instant::now() + FAILED_LOGIN_TIME;
        let _slot = self.user_logins.acquire(from)?;
        let result = self.try_password(from, name, password).await;
        if !matches!(result, Ok(Some(_))) {
            tokio::time::sleep_until(refused_at).await;
        }
        result
    }

    /// The user with this name and password. Without such a user nothing is compared.
    async fn try_password(&self, from: IpAddr, name: &str, password: &str) -> Result<Option<i64>, ApiError> {
        self.check_login_allowed(from, name)?;
        self.refresh().await?;
        let directory = self.directory();
        let may = |user: &&User| user.is_active && user.user_type.has_password();
        let found = directory.user_named(name).filter(may);
        let Some((user, stored_hash)) = found.and_then(|user| Some((user, user.password.clone()?))) else {
            self.record_login(from, name, false);
            self.log_failure(from, name);
            return Ok(None);
        };
        let right = self.verify_secret(from, name, password, stored_hash, true).await?;
        Ok(right.then_some(user.id))
    }

    /// Compares a secret with the stored hash. `known`: whether the user or application exists. Generated secrets cannot be
    /// guessed and may be tried any number of times. Secrets that people chose have a slow hash, and several failures
    /// block their name for a while.
    async fn verify_secret(
        &self,
        from: IpAddr,
        name: &str,
        secret: &str,
        stored_hash: String,
        known: bool,
    ) -> Result<bool, ApiError> {
        let right = if secret::is_password_hash(&stored_hash) {
            self.check_login_allowed(from, name)?;
            let permit = self.passwords.acquire(from, self.clock.elapsed()).await?;
            self.check_login_allowed(from, name)?; // those who record_login in the meantime count
            let secret = secret.to_owned();
            let comparison = tokio::task::spawn_blocking(move || {
                let right = secret::verify(&secret, &stored_hash);
                drop(permit);
                right
            });
            let matches =
                comparison.await.map_err(|_| ApiError::internal("a password could not be compared"))?;
            let right = known && matches;
            self.record_login(from, name, right);
            right
        } else {
            known && secret::verify(secret, &stored_hash)
        };
        if right {
            self.passwords.logged_in(from, self.clock.elapsed());
        } else {
            self.log_failure(from, name);
        }
        Ok(right)
    }

    /// Logs a failed login: at `warn`, or at `debug` if its address has failed often.
    fn log_failure(&self, from: IpAddr, name: &str) {
        let name: String = name.chars().take(MAX_NAME_LENGTH).collect();
        if self.failures().should_warn(from, self.clock.elapsed()) {
            tracing::warn!(%from, name = %name.escape_debug(), "a login failed");
        } else {
            tracing::debug!(%from, name = %name.escape_debug(), "a login failed");
        }
    }

    fn failures(&self) -> MutexGuard<'_, LoginFailures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses a login after too many failures of this name from this address, or of this address under all names.
    fn check_login_allowed(&self, from: IpAddr, name: &str) -> Result<(), ApiError> {
        self.failures()
            .check_login_allowed(from, name, self.clock.elapsed())
            .map_err(ApiError::too_many_requests)
    }

    fn record_login(&self, from: IpAddr, name: &str, right: bool) {
        if right {
            self.failures().forget(from, name);
        } else {
            self.failures().count(from, name, self.clock.elapsed());
        }
    }
}

/// A new user with a random key and no roles.
pub(super) fn new_user(name: &str, user_type: UserType) -> Result<NewUser, ApiError> {
    Ok(NewUser::new(secret::new_key()?, name, user_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use performer_core::model::clock::ManualClock;

    const PASSWORD: &str = "correct horse";

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, n, 1])
    }

    /// The access to a store with the user ann, one who is inactive, one without a password, and an application.
    async fn access() -> Access {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        let store = Store::memory_with_clock(clock.clone());
        let mut changes = Vec::new();
        for (name, has_password) in [("ann", true), ("inactive", true), ("nameless", false)] {
            let mut user = new_user(name, UserType::User).unwrap();
            user.password = has_password.then(|| secret::hash_chosen(PASSWORD).unwrap());
            changes.push(Change::AddUser(Box::new(user)));
        }
        changes.push(Change::AddClient {
            id: "app".to_owned(),
            name: "app".to_owned(),
            secret: secret::hash_generated("generated"),
            scopes: Scopes::all(),
            user: Box::new(new_user("app", UserType::DirectoryExternalApplication).unwrap()),
        });
        let directory = Directory::new(secret::new_key().unwrap(), secret::new_key().unwrap());
        Access::create_directory(&store, directory, changes).await.unwrap();
        let access = Access::open(&store, clock).await.unwrap().unwrap();
        let id = access.directory().user_named("inactive").unwrap().id;
        let off = Change::EditUser { id, name: None, surname: None, email_address: None, is_active: false };
        access.change(off).await.unwrap();
        access
    }

    /// A refused login, known name or not, takes the same time; only a right one is answered at once.
    #[tokio::test(start_paused = true)]
    async fn refused_logins_take_the_same_time() {
        let access = access().await;
        for (name, password) in [
            ("ann", "wrong horse"),
            ("nobody", PASSWORD),
            ("inactive", PASSWORD),
            ("nameless", PASSWORD),
            ("ann", ""),
            ("", ""),
        ] {
            let began = Instant::now();
            assert_eq!(access.authenticate_user(from(1), name, password).await.unwrap(), None, "{name}");
            assert_eq!(began.elapsed(), FAILED_LOGIN_TIME, "{name}");
        }
        let began = Instant::now();
        assert!(access.authenticate_user(from(1), "ann", PASSWORD).await.unwrap().is_some());
        assert_eq!(began.elapsed(), Duration::ZERO);
        // A blocked name, known or not.
        for name in ["ann", "nobody"] {
            let mut statuses = Vec::new();
            for _ in 0..12 {
                let began = Instant::now();
                let result = access.authenticate_user(from(2), name, "wrong horse").await;
                assert_eq!(began.elapsed(), FAILED_LOGIN_TIME, "{name}");
                statuses.push(result.map_or_else(|failure| failure.status.as_u16(), |_| 400));
            }
            assert_eq!(statuses, [[400; 6], [400, 400, 400, 400, 429, 429]].concat(), "{name}");
        }
    }

    /// All comparisons are taken, and unknown names are refused as if nothing was.
    #[tokio::test(start_paused = true)]
    async fn unknown_names_need_no_comparison() {
        let access = Arc::new(access().await);
        let compared = access.passwords.acquire(from(1), access.clock.elapsed()).await.unwrap();
        let unknown: Vec<_> = (0..=255)
            .map(|network| {
                let access = access.clone();
                tokio::spawn(async move { access.authenticate_user(from(network), "nobody", PASSWORD).await })
            })
            .collect();
        let began = Instant::now();
        for attempt in unknown {
            let attempt = tokio::time::timeout(Duration::from_secs(60), attempt).await;
            assert_eq!(attempt.expect("it waits for no comparison").unwrap().unwrap(), None);
        }
        assert!(began.elapsed() <= FAILED_LOGIN_TIME, "{:?}", began.elapsed());
        // A known one waits for the comparison.
        let known = access.authenticate_user(from(1), "ann", PASSWORD);
        assert!(tokio::time::timeout(Duration::from_secs(60), known).await.is_err());
        drop(compared);
        assert!(access.authenticate_user(from(1), "ann", PASSWORD).await.unwrap().is_some());
    }

    /// The logins of one network are limited before the store is read, and other networks are not affected.
    #[tokio::test(start_paused = true)]
    async fn one_network_has_a_limited_number_of_logins() {
        let access = Arc::new(access().await);
        let waiting: Vec<_> = (0..100)
            .map(|_| {
                let access = access.clone();
                tokio::spawn(async move { access.authenticate_user(from(1), "nobody", PASSWORD).await })
            })
            .collect();
        let mut refused = 0;
        for attempt in waiting {
            refused +=
                usize::from(attempt.await.unwrap().is_err_and(|failure| failure.status.as_u16() == 503));
        }
        assert_eq!(refused, 100 - 64);
        let slots: Vec<_> = std::iter::from_fn(|| access.client_logins.acquire(from(3)).ok()).collect();
        assert_eq!(slots.len(), 128);
        let login = async |network| {
            let result = access.authenticate_client(from(network), "app", "generated").await;
            result
                .map_or_else(|failure| failure.status.as_u16(), |user| if user.is_some() { 200 } else { 400 })
        };
        assert_eq!((login(3).await, login(4).await), (503, 200));
        assert!(access.authenticate_user(from(3), "ann", PASSWORD).await.unwrap().is_some(), "of its own");
        drop(slots);
        assert_eq!(login(3).await, 200);
    }
}
