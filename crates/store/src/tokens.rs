//! Access tokens, one row each: a login writes one small row, however many tokens there are and however large the
//! directory is.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Store;
use super::backend::{Operation, Query, expect_answer};
use performer_core::orchestrator::Result;

/// An access token, without its text: a store finds it by the digest of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The user it belongs to.
    pub user: i64,
    /// The application it was issued to.
    pub client: Option<String>,
    /// The name of a personal access token.
    pub name: Option<String>,
    /// Its scopes. The server knows what they mean.
    pub scopes: BTreeSet<String>,
    /// When it expires.
    pub expires: Timestamp,
}

/// Some tokens of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokensOf {
    /// All of them.
    User(i64),
    /// Those from logins.
    Logins(i64),
    /// The personal access tokens of this name.
    Named(i64, String),
    /// The one with this digest.
    Digest(String),
    /// The one with this digest, if it is the user's.
    One(i64, String),
}

/// How many login tokens an application or a user has at a time; the oldest are removed.
pub const MAX_LOGIN_TOKENS: usize = 1_000;
/// The most personal access tokens of a user at a time.
pub const MAX_NAMED_TOKENS: usize = 1_000;

/// The most tokens of a user that are listed.
pub(crate) const MAX_TOKENS_LISTED: usize = MAX_LOGIN_TOKENS + MAX_NAMED_TOKENS;

impl Store {
    /// The token with a digest.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn token(&self, digest: &str) -> Result<Option<Token>> {
        expect_answer!(self.read(Query::Token(digest.to_owned())).await, Token)
    }

    /// All personal access tokens, by user and name.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn named_tokens(&self) -> Result<Vec<Token>> {
        expect_answer!(self.read(Query::NamedTokens).await, Tokens)
    }

    /// The tokens of a user with their digests, personal access tokens and those from logins; the ones that expire last come first.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn tokens_of(&self, user: i64) -> Result<Vec<(String, Token)>> {
        expect_answer!(self.read(Query::TokensOf(user)).await, TokensOf)
    }

    /// Removes the token with a digest. Returns whether there was one.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn remove_token(&self, digest: &str) -> Result<bool> {
        let removed = expect_answer!(self.one(Operation::RemoveToken(digest.to_owned())).await, Removed);
        removed.map(|removed| removed > 0)
    }

    /// Adds a token. Returns the digests of the login tokens that were removed because their application or user had
    /// [`MAX_LOGIN_TOKENS`].
    ///
    /// # Errors
    ///
    /// Invalid with code 1009 if the user has [`MAX_NAMED_TOKENS`] personal access tokens already.
    pub async fn add_token(&self, digest: String, token: Token) -> Result<Vec<String>> {
        expect_answer!(self.one(Operation::AddToken { digest, token }).await, Digests)
    }
}

/// Tokens by their digests, inside the one transaction that is open.
pub(crate) trait Tokens {
    fn token(&mut self, digest: &str) -> Result<Option<Token>>;

    /// Personal access tokens, of one user or of all.
    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>>;

    /// The tokens of a user with their digests, the ones that expire last first, up to `limit`.
    fn tokens_of(&mut self, user: i64, limit: usize) -> Result<Vec<(String, Token)>>;

    /// Adds a token, or replaces the one with this digest.
    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()>;

    /// Keeps the newest `count` login tokens of the application or user that this one belongs to. Returns the digests
    /// of those that were removed.
    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>>;

    /// Returns how many there were.
    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64>;

    /// Removes at most `limit` tokens that expired before a time. Returns how many there were.
    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64>;
}
