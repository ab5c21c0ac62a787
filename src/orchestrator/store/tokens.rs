//! Tokens, kept by themselves: a login writes one small row, however many there are and whatever else is in the directory.

use jiff::Timestamp;

use super::super::Result;
use crate::model::directory::{Token, TokensOf};

/// Tokens, by their digests, inside the one transaction that is open at a time.
pub(crate) trait Tokens {
    fn token(&mut self, digest: &str) -> Result<Option<Token>>;

    /// Personal access tokens, of one user or of all.
    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>>;

    /// Adds a token; one with this digest is replaced.
    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()>;

    /// Of the tokens that an application or a user got by logging in, as it got this one, the newest stay. Answers the digests
    /// of those that do not.
    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>>;

    /// Answers how many there were.
    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64>;

    /// Removes tokens that ended before a time, so many at the most. Answers how many there were.
    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64>;
}
