//! Logins of applications and users: who they are, and how they are refused.

use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};

use tokio::time::Instant;

use super::Access;
use crate::api_error::ApiError;
use crate::directory::User;
use crate::login_failures::{LoginFailures, MAX_NAME_LENGTH};
use crate::login_limit::FAILED_LOGIN_TIME;
use crate::permission::Scopes;
use crate::secret;

impl Access {
    /// Authenticates an application by its id and secret. The result does not say which of the two was wrong. An unknown id
    /// is treated like one with a generated secret, so that it costs one digest and no slot of [`PasswordLimit`].
    pub(crate) async fn authenticate_client(
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

    /// Authenticates a user by name and password. A refusal that depends on the name is sent [`FAILED_LOGIN_TIME`] after the call,
    /// so that an unknown name looks like a known one and needs no comparison (choices 24). The others come at once: a blocked
    /// address must hold no slot of its network, and a network without a free slot must not wait for one.
    ///
    /// A known name still differs where comparisons are busy for longer than that time: its refusals are later, and those who
    /// flood it from several networks at once see that their attempts take slots from each other.
    pub(crate) async fn authenticate_user(
        &self,
        from: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Option<i64>, ApiError> {
        let refused_at = Instant::now() + FAILED_LOGIN_TIME;
        self.failures()
            .check_address_allowed(from, self.clock.elapsed())
            .map_err(ApiError::too_many_requests)?;
        let _slot = self.user_logins.acquire(from)?;
        let result = self.try_password(from, name, password).await;
        if !matches!(result, Ok(Some(_))) {
            tokio::time::sleep_until(refused_at).await;
        }
        result
    }

    /// The user with this name and password. Without such a user nothing is compared, and the attempt is refused as one that
    /// would be: with 503 if it could not wait for a comparison, and with 429 if others of its name failed while it was under way.
    async fn try_password(&self, from: IpAddr, name: &str, password: &str) -> Result<Option<i64>, ApiError> {
        self.check_login_allowed(from, name)?;
        self.refresh().await?;
        let directory = self.directory();
        let may = |user: &&User| user.is_active && user.user_type.has_password();
        let found = directory.user_named(name).filter(may);
        let Some((user, stored_hash)) = found.and_then(|user| Some((user, user.password.clone()?))) else {
            drop(self.passwords.slot(from, self.clock.elapsed())?);
            self.check_login_allowed(from, name)?;
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
            let comparison =
                tokio::task::spawn_blocking(move || (secret::verify(&secret, &stored_hash), permit));
            let (matches, permit) =
                comparison.await.map_err(|_| ApiError::internal("a password could not be compared"))?;
            let right = known && matches;
            self.record_login(from, name, right);
            drop(permit); // not before, so that the next attempt knows of this one
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use jiff::Timestamp;

    use super::super::new_user;
    use super::*;
    use crate::directory::{Change, Directory, UserEdit};
    use performer_core::model::clock::ManualClock;
    use performer_core::model::user::UserType;
    use performer_store::Store;

    const PASSWORD: &str = "correct horse";

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, n, 1])
    }

    /// The access to a store with the user ann, one who is inactive, one without a password, and an application.
    async fn access() -> Access {
        let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
        access_of(Store::memory_with_clock(clock.clone()), clock).await
    }

    async fn access_of(store: Store, clock: Arc<ManualClock>) -> Access {
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
        let off = Change::EditUser { id, edit: UserEdit::active(false) };
        access.change(None, off).await.unwrap();
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

    /// While no caller may wait for a comparison, and while others of the same name fail, an unknown name is refused as a known one.
    #[tokio::test(start_paused = true)]
    async fn an_unknown_name_is_refused_with_the_status_of_a_known_one() {
        async fn status(access: &Access, network: u8, name: &str) -> u16 {
            let began = Instant::now();
            let result = access.authenticate_user(from(network), name, "wrong horse").await;
            assert_eq!(began.elapsed(), FAILED_LOGIN_TIME, "{name}");
            result.map_or_else(|failure| failure.status.as_u16(), |_| 400)
        }
        // A file, because a read of the memory does not let the others go on in the middle of an attempt.
        let (folder, clock) =
            (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH)));
        let store = Store::sqlite_with_clock(folder.path().join("q.db"), clock.clone()).await.unwrap();
        let access = Arc::new(access_of(store, clock).await);
        let now = access.clock.elapsed();
        let waiting: Vec<_> = (0..=255).filter_map(|n| access.passwords.slot(from(n), now).ok()).collect();
        let statuses = [status(&access, 250, "ann").await, status(&access, 250, "nobody").await];
        assert_eq!(statuses, [503; 2]);
        drop(waiting);
        for name in ["ann", "nobody"] {
            let attempts = (0..20).map(|_| {
                let access = access.clone();
                tokio::spawn(async move { status(&access, 251, name).await })
            });
            let mut statuses = Vec::new();
            for attempt in attempts.collect::<Vec<_>>() {
                statuses.push(attempt.await.unwrap());
            }
            statuses.sort_unstable();
            assert_eq!(statuses, [[400; 10], [429; 10]].concat(), "{name}");
        }
    }

    /// The attempts of a blocked address are refused at once, and do not take the slots of its network.
    #[tokio::test(start_paused = true)]
    async fn a_blocked_address_does_not_block_its_network() {
        let access = access().await;
        for n in 0..100 {
            access.failures().count(from(1), &n.to_string(), access.clock.elapsed());
        }
        let began = Instant::now();
        let blocked: Vec<_> = (0..100).map(|_| access.authenticate_user(from(1), "ann", PASSWORD)).collect();
        let blocked = futures_util::future::join_all(blocked);
        let neighbour = access.authenticate_user([10, 0, 1, 2].into(), "ann", PASSWORD);
        let (blocked, neighbour) = tokio::join!(blocked, neighbour);
        let refused = |attempt: &Result<_, ApiError>| {
            attempt
                .as_ref()
                .is_err_and(|failure| (failure.status.as_u16(), failure.retry_after) == (429, Some(300)))
        };
        assert!(blocked.iter().all(refused));
        assert!(neighbour.unwrap().is_some());
        assert_eq!(began.elapsed(), Duration::ZERO);
    }

    /// The logins of one network are limited before the store is read, and other networks are not affected.
    #[tokio::test(start_paused = true)]
    async fn one_network_has_a_limited_number_of_logins() {
        let access = Arc::new(access().await);
        let waiting: Vec<_> = (0..100)
            .map(|host| {
                let access = access.clone();
                let from = IpAddr::from([10, 0, 1, host]);
                tokio::spawn(async move { access.authenticate_user(from, "nobody", PASSWORD).await })
            })
            .collect();
        let mut refused = 0;
        for attempt in waiting {
            refused +=
                usize::from(attempt.await.unwrap().is_err_and(|failure| failure.status.as_u16() == 503));
        }
        assert_eq!(refused, 100 - 64);
        let slots: Vec<_> =
            (0..=255).filter_map(|host| access.client_logins.acquire([10, 0, 3, host].into()).ok()).collect();
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
