//! A desk of one person: the pages alone, on this machine, over a store that the person can open anyway.
//!
//! The person signs in by a link, and may do everything. They are no user of the store: nothing of users, roles or sessions is written to it,
//! and the events of items and the audit name them as they name somebody who uses the command.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use uuid::Uuid;

use super::access::Access;
use super::api_error::ApiError;
use super::directory::{ADMINISTRATOR, Directory, User};
use super::directory_store;
use super::secret;
use performer_core::model::audit::{ActSource, Actor};
use performer_core::model::user::UserType;
use performer_store::Store;

/// The names that a browser on this machine has for this machine.
const NAMES_OF_THIS_MACHINE: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The person who runs a desk of their own.
#[derive(Clone, Debug)]
pub(super) struct Operator {
    name: String,
    /// How the audit names what they do.
    pub(super) actor: Actor,
}

impl Operator {
    /// The number of the operator, which no user has.
    pub(super) const NUMBER: i64 = 0;

    pub(super) fn new(mut actor: Actor) -> Self {
        let name = actor.user_name.clone().unwrap_or_else(|| "operator".to_owned());
        actor.source = ActSource::Desk;
        Self { name, actor }
    }

    /// The operator as a user with all permissions.
    fn user(&self, directory: &Directory) -> User {
        let administrator = directory.role_named(ADMINISTRATOR).map(|role| role.id);
        User {
            id: Self::NUMBER,
            key: Uuid::nil(),
            user_name: self.name.clone(),
            name: None,
            surname: None,
            email_address: None,
            user_type: UserType::User,
            is_active: true,
            password: None,
            creation_time: jiff::Timestamp::UNIX_EPOCH,
            tenant_roles: BTreeSet::from_iter(administrator),
            folder_roles: BTreeMap::new(),
        }
    }

    /// The access to a desk over a store: with the folders and users that the store has now, if a server has made some, but with tokens
    /// in the memory of this process.
    ///
    /// # Errors
    ///
    /// Errors of the store.
    pub(super) async fn access(&self, store: &Store) -> Result<Access, ApiError> {
        let directory = match directory_store::read(store, 0).await? {
            Some((_, directory)) => directory,
            None => Directory::new(secret::new_key()?, secret::new_key()?),
        };
        let user = self.user(&directory);
        let memory = Store::memory_with_clock(store.clock());
        Access::create_directory(&memory, directory, Vec::new()).await?;
        let access = Access::open(&memory, store.clock()).await?;
        let missing = || ApiError::internal("the directory of the desk is missing");
        Ok(access.ok_or_else(missing)?.with_operator(user))
    }
}

/// Refuses a request by another name than those of this machine: the page of another site whose name was made to lead here.
///
/// # Errors
///
/// 421.
pub(super) fn check_host(head: &Parts) -> Result<(), ApiError> {
    let named = head.uri.authority().map(|authority| authority.as_str());
    let named = named.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok()));
    let is_ours = named.is_some_and(|named| {
        let (name, port) = match named.trim().rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, Some(port)),
            _ => (named.trim(), None),
        };
        let is_port = port.is_none_or(|port| port.bytes().all(|digit| digit.is_ascii_digit()));
        is_port && NAMES_OF_THIS_MACHINE.iter().any(|known| known.eq_ignore_ascii_case(name))
    });
    if is_ours {
        return Ok(());
    }
    let message = "This desk answers only to 127.0.0.1 and localhost.";
    Err(ApiError::new(StatusCode::MISDIRECTED_REQUEST, 0, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_answered() {
        let status = |uri: &str, host: Option<&str>| {
            let mut request = axum::http::Request::builder().uri(uri);
            if let Some(host) = host {
                request = request.header("host", host);
            }
            check_host(&request.body(()).unwrap().into_parts().0).err().map(|error| error.status.as_u16())
        };
        for host in ["127.0.0.1", "127.0.0.1:8095", "localhost:1", "LocalHost", "[::1]:8095", "[::1]"] {
            assert_eq!(status("/desk", Some(host)), None, "{host}");
        }
        for host in [
            "",
            "evil.test",
            "evil.test:8095",
            "127.0.0.1.evil.test",
            "localhost.evil.test:80",
            "10.0.0.1",
            "127.0.0.1:x",
            "::1",
        ] {
            assert_eq!(status("/desk", Some(host)), Some(421), "{host}");
        }
        assert_eq!(status("/desk", None), Some(421));
        assert_eq!(status("http://localhost:1/desk", None), None);
        assert_eq!(status("http://evil.test/desk", Some("localhost")), Some(421));
    }
}
