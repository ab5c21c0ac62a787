//! Authentication: the cached directory of users, tokens, and login attempts.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::api_error::ApiError;
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

/// Failed logins of one name from one address before it is blocked, and for how long failures count.
const MAX_FAILURES: u32 = 10;
/// Failed logins of one address, under all names, before it is blocked.
const MAX_FAILURES_PER_ADDRESS: u32 = 100;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);
/// The maximum number of names, or of addresses, whose failures are counted.
const MAX_FAILURE_ENTRIES: usize = 10_000;

/// How many failed logins of one address are logged at `warn` within [`FAILURE_WINDOW`]; the others are logged at `debug`.
const MAX_WARNINGS_PER_ADDRESS: u32 = 20;

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
    /// Compared with the password of an unknown user, so that the response takes as long as for a known one.
    unknown_user_hash: String,
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
            unknown_user_hash: secret::hash_chosen("no user has this")?,
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

    /// Authenticates a user by name and password.
    pub(super) async fn authenticate_user(
        &self,
        from: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Option<i64>, ApiError> {
        self.check_login_allowed(from, name)?;
        self.refresh().await?;
        let directory = self.directory();
        let user = directory.user_named(name);
        let stored_hash =
            user.and_then(|user| user.password.clone()).unwrap_or_else(|| self.unknown_user_hash.clone());
        let may = |user: &User| user.password.is_some() && user.is_active && user.user_type.has_password();
        let known = user.is_some_and(may);
        let right = self.verify_secret(from, name, password, stored_hash, known).await?;
        Ok(user.filter(|_| right).map(|user| user.id))
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
        let now = self.clock.elapsed();
        if right {
            self.passwords.logged_in(from, now);
        } else {
            let name: String = name.chars().take(MAX_NAME_LENGTH).collect();
            if self.failures().should_warn(from, now) {
                tracing::warn!(%from, name = %name.escape_debug(), "a login failed");
            } else {
                tracing::debug!(%from, name = %name.escape_debug(), "a login failed");
            }
        }
        Ok(right)
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

/// The part of a name that is compared and logged, in characters.
const MAX_NAME_LENGTH: usize = 100;

/// Counts of failed logins, and until when each counts.
#[derive(Default)]
struct LoginFailures {
    names: HashMap<(IpAddr, String), (u32, Duration)>,
    addresses: HashMap<IpAddr, (u32, Duration)>,
    /// Failures by address for the log; they block nobody.
    warnings: HashMap<IpAddr, (u32, Duration)>,
}

impl LoginFailures {
    /// The error is the number of seconds until the next attempt is allowed.
    fn check_login_allowed(&self, from: IpAddr, name: &str, now: Duration) -> Result<(), u64> {
        let from = client_network(from);
        let of_name = self.names.get(&key(from, name)).map(|counted| (MAX_FAILURES, *counted));
        let of_address = self.addresses.get(&from).map(|counted| (MAX_FAILURES_PER_ADDRESS, *counted));
        for (most, (count, until)) in of_name.into_iter().chain(of_address) {
            if count >= most && until > now {
                return Err((until - now).as_secs().max(1));
            }
        }
        Ok(())
    }

    fn count(&mut self, from: IpAddr, name: &str, now: Duration) {
        let from = client_network(from);
        count_failure(&mut self.names, key(from, name), now);
        count_failure(&mut self.addresses, from, now);
    }

    /// Counts a failure of an address and returns whether it is logged at `warn`, so that clients cannot fill the log.
    fn should_warn(&mut self, from: IpAddr, now: Duration) -> bool {
        let from = client_network(from);
        count_failure(&mut self.warnings, from, now);
        self.warnings.get(&from).is_some_and(|(count, _)| *count <= MAX_WARNINGS_PER_ADDRESS)
    }

    fn forget(&mut self, from: IpAddr, name: &str) {
        self.names.remove(&key(client_network(from), name));
    }
}

fn count_failure<K: Eq + Hash + Clone>(counts: &mut HashMap<K, (u32, Duration)>, of: K, now: Duration) {
    if counts.len() >= MAX_FAILURE_ENTRIES && !counts.contains_key(&of) {
        counts.retain(|_, (_, until)| *until > now);
        // The oldest entry is dropped: a full table must not block other callers.
        let oldest = counts.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest.filter(|_| counts.len() >= MAX_FAILURE_ENTRIES) {
            counts.remove(&oldest);
        }
    }
    let (count, until) = counts.entry(of).or_insert((0, now));
    if *until <= now {
        *count = 0;
    }
    (*count, *until) = (*count + 1, now + FAILURE_WINDOW);
}

/// The unit in which clients are counted: an IPv4 address, or an IPv6 /64 network.
pub(super) fn client_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((u128::from(six) & (u128::MAX << 64)).into()),
        four @ IpAddr::V4(_) => four,
    }
}

fn key(from: IpAddr, name: &str) -> (IpAddr, String) {
    (from, name.chars().take(MAX_NAME_LENGTH).collect::<String>().to_lowercase())
}

/// A new user with a random key and no roles.
pub(super) fn new_user(name: &str, user_type: UserType) -> Result<NewUser, ApiError> {
    Ok(NewUser::new(secret::new_key()?, name, user_type))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);

    fn from(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn failed_logins_block_only_their_own_name() {
        let mut failures = LoginFailures::default();
        for _ in 0..MAX_FAILURES {
            assert_eq!(failures.check_login_allowed(from(1), "ann", NOW), Ok(()));
            failures.count(from(1), "Ann", NOW);
        }
        assert_eq!(failures.check_login_allowed(from(1), "ANN", NOW), Err(FAILURE_WINDOW.as_secs()));
        assert_eq!(failures.check_login_allowed(from(1), "bob", NOW), Ok(()));
        assert_eq!(failures.check_login_allowed(from(2), "ann", NOW), Ok(()), "from elsewhere");
        assert_eq!(failures.check_login_allowed(from(1), "ann", NOW + FAILURE_WINDOW), Ok(()));
    }

    #[test]
    fn failed_logins_under_many_names_block_the_address() {
        let mut failures = LoginFailures::default();
        for n in 0..MAX_FAILURES_PER_ADDRESS {
            failures.count(from(1), &n.to_string(), NOW);
        }
        assert!(failures.check_login_allowed(from(1), "another", NOW).is_err());
        assert_eq!(failures.check_login_allowed(from(2), "another", NOW), Ok(()));
        // A whole network of IPv6 is one address.
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..MAX_FAILURES_PER_ADDRESS {
            failures.count(six(&format!("2001:db8::{n:x}")), "x", NOW);
        }
        assert!(failures.check_login_allowed(six("2001:db8::ffff:1"), "y", NOW).is_err());
        assert_eq!(failures.check_login_allowed(six("2001:db8:0:1::1"), "y", NOW), Ok(()));
    }

    /// The table is full of other names, and a new one can still log in.
    #[test]
    fn a_full_table_of_failures_blocks_nobody() {
        let mut failures = LoginFailures::default();
        for n in 0..u32::try_from(MAX_FAILURE_ENTRIES).unwrap() + 200 {
            failures.count(from(n), "flood", NOW + Duration::from_millis(n.into()));
        }
        assert!(
            failures.names.len() <= MAX_FAILURE_ENTRIES && failures.addresses.len() <= MAX_FAILURE_ENTRIES
        );
        assert!(
            (0..MAX_WARNINGS_PER_ADDRESS).all(|_| failures.should_warn(from(1), NOW))
                && !failures.should_warn(from(1), NOW)
        );
        assert!(failures.should_warn(from(2), NOW) && failures.should_warn(from(1), NOW + FAILURE_WINDOW));
        assert_eq!(failures.check_login_allowed(from(9_999_999), "ann", NOW), Ok(()));
    }
}
