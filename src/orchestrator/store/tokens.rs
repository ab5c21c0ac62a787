//! Access tokens, one row each: a login writes one small row, however many tokens there are and however large the
//! directory is.

use jiff::Timestamp;

use super::super::Result;
use crate::model::directory::{Token, TokensOf};

/// Tokens by their digests, inside the one transaction that is open.
pub(crate) trait Tokens {
    fn token(&mut self, digest: &str) -> Result<Option<Token>>;

    /// Personal access tokens, of one user or of all.
    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>>;

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
