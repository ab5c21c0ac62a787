//! Who calls, and what they may do: the directory as this server knows it, tokens, and attempts to log in.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use jiff::Timestamp;

use super::failure::Failure;
use super::passwords::Passwords;
use super::secret;
use crate::model::clock::Clock;
use crate::model::directory::{Change, Directory, NewUser, Token, TokensOf, User};
use crate::model::key::FolderId;
use crate::model::permission::{Permission, Scopes};
use crate::model::user::UserType;
use crate::orchestrator::store::backend::{Operation, Query};
use crate::orchestrator::store::{Store, expect_answer};

/// How long the token of an application is good.
pub(super) const ACCESS_TOKEN_SECONDS: u64 = 3_600;
/// How long the token of a user who logged in with a password is good.
pub(super) const USER_TOKEN_SECONDS: u64 = 1_800;
/// How often the directory and each token are looked at again: a token that was revoked elsewhere is good for no longer than
/// this.
pub(super) const BETWEEN_LOOKS: Duration = Duration::from_millis(500);

/// How many times somebody may be wrong, and for how long that is remembered.
const MOST_FAILURES: u32 = 10;
/// How many times one address may be wrong, under whatever names.
const MOST_FAILURES_OF_AN_ADDRESS: u32 = 100;
const REMEMBERED: Duration = Duration::from_secs(300);
/// The most names whose failures are remembered.
const MOST_REMEMBERED: usize = 10_000;

/// How many wrong secrets of one address are told at `warn` in five minutes; the others are told at `debug`.
const MOST_TOLD: u32 = 20;

/// A caller whose token is good.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) user: Arc<User>,
    pub(super) scopes: Arc<Scopes>,
    pub(super) directory: Arc<Directory>,
    expires: Timestamp,
}

impl Caller {
    /// Whether the caller may do something in a folder, or in the tenant itself.
    pub(super) fn may(&self, folder: Option<FolderId>, permission: Permission) -> bool {
        self.directory.allows(&self.user, folder, permission)
    }

    pub(super) fn is_assigned(&self, folder: FolderId) -> bool {
        self.directory.is_assigned(&self.user, folder)
    }
}

/// The directory, and what is kept in memory beside it.
pub(super) struct Access {
    store: Store,
    clock: Arc<dyn Clock>,
    known: RwLock<Known>,
    failures: Mutex<Failures>,
    passwords: Passwords,
    /// What a password is compared with when there is no such user: it takes as long.
    no_user: String,
    /// What a secret is compared with when there is no such application: the digest of one that was made here.
    no_application: String,
}

/// The most callers that are remembered.
const MOST_CALLERS: usize = 10_000;

/// The directory as it was read last, and whom tokens stand for that were shown lately.
struct Known {
    version: u64,
    directory: Arc<Directory>,
    /// By digest of their tokens, with when these were looked up.
    callers: Mutex<HashMap<String, (Caller, Duration)>>,
}

impl Known {
    fn new(version: u64, directory: Directory) -> Self {
        Self { version, directory: Arc::new(directory), callers: Mutex::default() }
    }

    fn callers(&self) -> MutexGuard<'_, HashMap<String, (Caller, Duration)>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom a token stands for, if it was looked up a moment ago; whether it has expired or not.
    fn caller(&self, digest: &str, now: Duration) -> Option<Caller> {
        let callers = self.callers();
        let (caller, looked_up) = callers.get(digest)?;
        is_recent(*looked_up, now).then(|| caller.clone())
    }

    /// Whom a token stands for that was looked up now. None: its user is not there, or may do nothing.
    fn remember(&self, digest: &str, token: &Token, now: Duration) -> Option<Caller> {
        let user = self.directory.user(token.user).filter(|user| user.is_active)?;
        let caller = Caller {
            user: Arc::new(user.clone()),
            scopes: Arc::new(token.scopes.clone()),
            directory: self.directory.clone(),
            expires: token.expires,
        };
        let mut callers = self.callers();
        if callers.len() >= MOST_CALLERS {
            callers.retain(|_, (_, looked_up)| is_recent(*looked_up, now));
        }
        if callers.len() >= MOST_CALLERS {
            callers.clear(); // they are looked up again
        }
        callers.insert(digest.to_owned(), (caller.clone(), now));
        Some(caller)
    }

    fn forget(&self, digest: &str) {
        self.callers().remove(digest);
    }
}

/// A token that was taken back elsewhere is good for no longer than this allows.
fn is_recent(looked_up: Duration, now: Duration) -> bool {
    now.saturating_sub(looked_up) < BETWEEN_LOOKS
}

impl Access {
    /// Opens the directory of a store. `None`: it has none yet.
    pub(super) async fn open(store: &Store, clock: Arc<dyn Clock>) -> Result<Option<Self>, Failure> {
        let Some((version, directory)) = read(store, 0).await? else { return Ok(None) };
        Ok(Some(Self {
            store: store.clone(),
            clock,
            known: RwLock::new(Known::new(version, directory)),
            failures: Mutex::default(),
            passwords: Passwords::default(),
            no_user: secret::kept_slowly("no user has this")?,
            no_application: secret::kept(&secret::new_secret()?),
        }))
    }

    /// Makes the directory of a new store.
    pub(super) async fn make(store: &Store, new: Directory, changes: Vec<Change>) -> Result<(), Failure> {
        store.one(Operation::Directory { new: Some(Box::new(new)), changes }).await?;
        Ok(())
    }

    /// The directory as it was known last.
    pub(super) fn directory(&self) -> Arc<Directory> {
        self.known().directory.clone()
    }

    /// Looks whether the directory was changed, here or elsewhere.
    pub(super) async fn refresh(&self) -> Result<(), Failure> {
        let known = self.known().version;
        if let Some((version, directory)) = read(&self.store, known).await? {
            let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
            if version > known.version {
                *known = Known::new(version, directory);
            }
        }
        Ok(())
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the directory. Answers the number of what was made or changed.
    pub(super) async fn change(&self, change: Change) -> Result<i64, Failure> {
        let numbers = self.change_all(vec![change]).await?;
        numbers.last().copied().ok_or_else(|| Failure::internal("a change was not answered"))
    }

    /// Changes the directory: all of it or nothing.
    pub(super) async fn change_all(&self, changes: Vec<Change>) -> Result<Vec<i64>, Failure> {
        let numbers = self.store.one(Operation::Directory { new: None, changes }).await;
        let numbers = expect_answer!(numbers, Numbers)?;
        self.refresh().await?;
        Ok(numbers)
    }

    /// Whose token this is.
    pub(super) async fn caller(&self, token: &str) -> Result<Option<Caller>, Failure> {
        let (digest, now) = (secret::digest_of(token), self.clock.elapsed());
        let mut caller = self.known().caller(&digest, now);
        if caller.is_none() && secret::is_one_of_ours(token) {
            caller = self.look_up(&digest, now).await?;
        }
        Ok(caller.filter(|caller| caller.expires > self.clock.now()))
    }

    async fn look_up(&self, digest: &str, now: Duration) -> Result<Option<Caller>, Failure> {
        let found = self.store.read(Query::Token(digest.to_owned())).await;
        let Some(token) = expect_answer!(found, Token)? else {
            self.known().forget(digest);
            return Ok(None);
        };
        let caller = self.known().remember(digest, &token, now);
        if caller.is_some() {
            return Ok(caller);
        }
        self.refresh().await?; // its user may have been made elsewhere a moment ago
        Ok(self.known().remember(digest, &token, now))
    }

    /// Gives out a token.
    pub(super) async fn issue(
        &self,
        user: i64,
        client: Option<String>,
        name: Option<String>,
        scopes: Scopes,
        life: Duration,
    ) -> Result<String, Failure> {
        let text = secret::new_secret()?;
        let expires = Token::end_of(life, self.clock.now())?;
        let token = Token { user, client, name, scopes, expires };
        let operation = Operation::AddToken { digest: secret::digest_of(&text), token };
        let superfluous: Vec<String> = expect_answer!(self.store.one(operation).await, Digests)?;
        let known = self.known();
        superfluous.iter().for_each(|digest| known.forget(digest));
        Ok(text)
    }

    /// Takes tokens back. Answers how many there were.
    pub(super) async fn revoke(&self, of: TokensOf) -> Result<u64, Failure> {
        let removed = self.store.one(Operation::RemoveTokens(of)).await;
        let removed = expect_answer!(removed, Removed)?;
        self.refresh().await?;
        Ok(removed)
    }

    /// The personal access tokens.
    pub(super) async fn named_tokens(&self) -> Result<Vec<Token>, Failure> {
        Ok(expect_answer!(self.store.read(Query::NamedTokens).await, Tokens)?)
    }

    /// An application that shows its secret. The answer does not tell which of the two was wrong. An id that is not known is
    /// answered like one whose secret was made here, so it costs a digest and no place among those who wait.
    pub(super) async fn application(
        &self,
        from: IpAddr,
        id: &str,
        secret: &str,
    ) -> Result<Option<(i64, Scopes)>, Failure> {
        self.refresh().await?;
        let directory = self.directory();
        let client = directory.client(id);
        let kept = client.map_or(&self.no_application, |client| &client.secret).clone();
        let right = self.is_right(from, id, secret, kept, client.is_some()).await?;
        let active = |user: i64| directory.user(user).is_some_and(|user| user.is_active);
        Ok(client
            .filter(|client| right && active(client.user))
            .map(|client| (client.user, client.scopes.clone())))
    }

    /// A user who shows a password.
    pub(super) async fn user(
        &self,
        from: IpAddr,
        name: &str,
        password: &str,
    ) -> Result<Option<i64>, Failure> {
        self.may_try(from, name)?;
        self.refresh().await?;
        let directory = self.directory();
        let user = directory.user_named(name);
        let kept = user.and_then(|user| user.password.clone()).unwrap_or_else(|| self.no_user.clone());
        let may = |user: &User| user.password.is_some() && user.is_active && user.user_type.has_password();
        let known = user.is_some_and(may);
        let right = self.is_right(from, name, password, kept, known).await?;
        Ok(user.filter(|_| right).map(|user| user.id))
    }

    /// Compares a secret with what is kept of it; `known`: there is somebody whose secret it may be. A secret that was made
    /// here cannot be guessed, so it may be tried any number of times; one that a person chose is compared slowly, and
    /// after some failures its name has to wait.
    async fn is_right(
        &self,
        from: IpAddr,
        name: &str,
        secret: &str,
        kept: String,
        known: bool,
    ) -> Result<bool, Failure> {
        let right = if secret::is_slow(&kept) {
            self.may_try(from, name)?;
            let turn = self.passwords.turn(from, self.clock.elapsed()).await?;
            self.may_try(from, name)?; // those who tried in the meantime count
            let secret = secret.to_owned();
            let compared = tokio::task::spawn_blocking(move || {
                let right = secret::is_the_same(&secret, &kept);
                drop(turn);
                right
            });
            let same = compared.await.map_err(|_| Failure::internal("a password could not be compared"))?;
            let right = known && same;
            self.tried(from, name, right);
            right
        } else {
            known && secret::is_the_same(secret, &kept)
        };
        let now = self.clock.elapsed();
        if right {
            self.passwords.logged_in(from, now);
        } else {
            let name: String = name.chars().take(LONGEST_NAME).collect();
            if self.failures().is_told(from, now) {
                tracing::warn!(%from, name = %name.escape_debug(), "a login failed");
            } else {
                tracing::debug!(%from, name = %name.escape_debug(), "a login failed");
            }
        }
        Ok(right)
    }

    fn failures(&self) -> MutexGuard<'_, Failures> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody may try to log in: not after many failures under this name from this address, or under many
    /// names.
    fn may_try(&self, from: IpAddr, name: &str) -> Result<(), Failure> {
        self.failures().may_try(from, name, self.clock.elapsed()).map_err(Failure::too_many)
    }

    fn tried(&self, from: IpAddr, name: &str, right: bool) {
        if right {
            self.failures().forget(from, name);
        } else {
            self.failures().count(from, name, self.clock.elapsed());
        }
    }
}

/// How much of a name is looked at, in characters.
const LONGEST_NAME: usize = 100;

/// How often somebody was wrong, and until when that counts.
#[derive(Default)]
struct Failures {
    names: HashMap<(IpAddr, String), (u32, Duration)>,
    addresses: HashMap<IpAddr, (u32, Duration)>,
    /// What was told in the log. It refuses nobody.
    told: HashMap<IpAddr, (u32, Duration)>,
}

impl Failures {
    /// An error says for how many seconds there may be no other try.
    fn may_try(&self, from: IpAddr, name: &str, now: Duration) -> Result<(), u64> {
        let from = network(from);
        let of_name = self.names.get(&key(from, name)).map(|counted| (MOST_FAILURES, *counted));
        let of_address = self.addresses.get(&from).map(|counted| (MOST_FAILURES_OF_AN_ADDRESS, *counted));
        for (most, (count, until)) in of_name.into_iter().chain(of_address) {
            if count >= most && until > now {
                return Err((until - now).as_secs().max(1));
            }
        }
        Ok(())
    }

    fn count(&mut self, from: IpAddr, name: &str, now: Duration) {
        let from = network(from);
        one_more(&mut self.names, key(from, name), now);
        one_more(&mut self.addresses, from, now);
    }

    /// Whether one more failure of an address is told at `warn`: a log is not to be filled from outside.
    fn is_told(&mut self, from: IpAddr, now: Duration) -> bool {
        let from = network(from);
        one_more(&mut self.told, from, now);
        self.told.get(&from).is_some_and(|(count, _)| *count <= MOST_TOLD)
    }

    fn forget(&mut self, from: IpAddr, name: &str) {
        self.names.remove(&key(network(from), name));
    }
}

fn one_more<K: Eq + Hash + Clone>(counts: &mut HashMap<K, (u32, Duration)>, of: K, now: Duration) {
    if counts.len() >= MOST_REMEMBERED && !counts.contains_key(&of) {
        counts.retain(|_, (_, until)| *until > now);
        // Nobody is refused because others were wrong: the oldest is forgotten.
        let oldest = counts.iter().min_by_key(|(_, (_, until))| *until).map(|(key, _)| key.clone());
        if let Some(oldest) = oldest.filter(|_| counts.len() >= MOST_REMEMBERED) {
            counts.remove(&oldest);
        }
    }
    let (count, until) = counts.entry(of).or_insert((0, now));
    if *until <= now {
        *count = 0;
    }
    (*count, *until) = (*count + 1, now + REMEMBERED);
}

/// One address of IPv4, or the network of IPv6 that somebody has for themselves.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((u128::from(six) & (u128::MAX << 64)).into()),
        four @ IpAddr::V4(_) => four,
    }
}

fn key(from: IpAddr, name: &str) -> (IpAddr, String) {
    (from, name.chars().take(LONGEST_NAME).collect::<String>().to_lowercase())
}

/// The directory, if it is newer than this version.
async fn read(store: &Store, known: u64) -> Result<Option<(u64, Directory)>, Failure> {
    let read = async || expect_answer!(store.read(Query::Directory { known }).await, Directory);
    let found = read().await?;
    if found.as_ref().is_some_and(|(_, directory)| directory.has_tokens()) {
        // A program of an older version wrote it. With any change, or none, its tokens are kept by themselves.
        store.one(Operation::Directory { new: None, changes: Vec::new() }).await?;
        return Ok(read().await?);
    }
    Ok(found)
}

/// A user without roles yet, with a key of its own.
pub(super) fn new_user(name: &str, user_type: UserType) -> Result<NewUser, Failure> {
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
    fn somebody_who_is_wrong_too_often_waits_and_nobody_else_does() {
        let mut failures = Failures::default();
        for _ in 0..MOST_FAILURES {
            assert_eq!(failures.may_try(from(1), "ann", NOW), Ok(()));
            failures.count(from(1), "Ann", NOW);
        }
        assert_eq!(failures.may_try(from(1), "ANN", NOW), Err(REMEMBERED.as_secs()));
        assert_eq!(failures.may_try(from(1), "bob", NOW), Ok(()));
        assert_eq!(failures.may_try(from(2), "ann", NOW), Ok(()), "from elsewhere");
        assert_eq!(failures.may_try(from(1), "ann", NOW + REMEMBERED), Ok(()));
    }

    #[test]
    fn one_address_does_not_try_many_names() {
        let mut failures = Failures::default();
        for n in 0..MOST_FAILURES_OF_AN_ADDRESS {
            failures.count(from(1), &n.to_string(), NOW);
        }
        assert!(failures.may_try(from(1), "another", NOW).is_err());
        assert_eq!(failures.may_try(from(2), "another", NOW), Ok(()));
        // A whole network of IPv6 is one address.
        let six = |text: &str| text.parse::<IpAddr>().unwrap();
        for n in 0..MOST_FAILURES_OF_AN_ADDRESS {
            failures.count(six(&format!("2001:db8::{n:x}")), "x", NOW);
        }
        assert!(failures.may_try(six("2001:db8::ffff:1"), "y", NOW).is_err());
        assert_eq!(failures.may_try(six("2001:db8:0:1::1"), "y", NOW), Ok(()));
    }

    /// Whoever fills the memory with names shuts nobody out.
    #[test]
    fn a_flood_of_names_locks_nobody_out() {
        let mut failures = Failures::default();
        for n in 0..u32::try_from(MOST_REMEMBERED).unwrap() + 200 {
            failures.count(from(n), "flood", NOW + Duration::from_millis(n.into()));
        }
        assert!(failures.names.len() <= MOST_REMEMBERED && failures.addresses.len() <= MOST_REMEMBERED);
        assert!((0..MOST_TOLD).all(|_| failures.is_told(from(1), NOW)) && !failures.is_told(from(1), NOW));
        assert!(failures.is_told(from(2), NOW) && failures.is_told(from(1), NOW + REMEMBERED));
        assert_eq!(failures.may_try(from(9_999_999), "ann", NOW), Ok(()));
    }
}
