//! Tokens, and which of them are taken back together.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::permission::Scopes;

/// An access token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// Whom it is the token of.
    pub user: i64,
    /// The application it was given to.
    pub client: Option<String>,
    /// The name of a personal access token.
    pub name: Option<String>,
    /// What it may be used for.
    pub scopes: Scopes,
    /// When it ends.
    pub expires: Timestamp,
}

/// Some tokens of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokensOf {
    /// All of them.
    User(i64),
    /// Those that it got by logging in.
    Logins(i64),
    /// The personal access tokens of this name.
    Named(i64, String),
}

/// How many tokens of logins an application or a user has at a time: the newest are good.
pub const MOST_LOGINS: usize = 1_000;
/// The most personal access tokens that a user has at a time.
pub const MOST_NAMED_TOKENS: usize = 1_000;
