//! Access tokens, and which of them are revoked together.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::permission::Scopes;

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The user it belongs to.
    pub user: i64,
    /// The application it was issued to.
    pub client: Option<String>,
    /// The name of a personal access token.
    pub name: Option<String>,
    /// Its scopes.
    pub scopes: Scopes,
    /// When it expires.
    pub expires: Timestamp,
}

/// The longest lifetime of a token: ten years.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(3_650 * 86_400);

impl Token {
    /// The expiry time of a token that is issued now with this lifetime.
    ///
    /// # Errors
    ///
    /// Code 1015 for a lifetime longer than [`MAX_TOKEN_LIFE`].
    pub fn end_of(life: Duration, now: Timestamp) -> Result<Timestamp, Refusal> {
        let end = now.checked_add(life).ok().filter(|_| life <= MAX_TOKEN_LIFE);
        end.ok_or_else(|| {
            let message = "the life of a token should be at most 3650 days";
            Refusal::new(ErrorCode::PARAMETER_INVALID, message)
        })
    }
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
}

/// How many login tokens an application or a user has at a time; the oldest are removed.
pub const MOST_LOGINS: usize = 1_000;
/// The most personal access tokens of a user at a time.
pub const MOST_NAMED_TOKENS: usize = 1_000;
