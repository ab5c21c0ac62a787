//! Statements on access tokens.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::super::tokens::{Token, Tokens, TokensOf};
use super::Postgres;
use super::columns::{date, get, text, unreadable};
use super::queues::as_json;
use performer_core::orchestrator::Result;

const TOKEN: &str = "SELECT user_id, client, name, scopes, expires FROM token";
const WITH_DIGEST: &str = "SELECT user_id, client, name, scopes, expires, digest FROM token";

fn read_token(row: &Row) -> Result<Token> {
    Ok(Token {
        user: get(row, 0)?,
        client: get(row, 1)?,
        name: get(row, 2)?,
        scopes: serde_json::from_str(get(row, 3)?).map_err(unreadable)?,
        expires: get(row, 4)?,
    })
}

impl Tokens for Postgres {
    fn token(&mut self, digest: &str) -> Result<Option<Token>> {
        let row = self.session.query_opt(&format!("{TOKEN} WHERE digest = $1"), &[&digest])?;
        row.as_ref().map(read_token).transpose()
    }

    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>> {
        let sql = format!(
            "{TOKEN} WHERE name IS NOT NULL AND ($1::bigint IS NULL OR user_id = $1) ORDER BY user_id, name COLLATE \"C\""
        );
        self.session.query(&sql, &[&user])?.iter().map(read_token).collect()
    }

    fn tokens_of(&mut self, user: i64, limit: usize) -> Result<Vec<(String, Token)>> {
        let sql = format!(
            "{WITH_DIGEST} WHERE user_id = $1 ORDER BY expires DESC, digest COLLATE \"C\" DESC LIMIT $2"
        );
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = self.session.query(&sql, &[&user, &limit])?;
        rows.iter().map(|row| Ok((get(row, 5)?, read_token(row)?))).collect()
    }

    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()> {
        const SQL: &str = "INSERT INTO token (digest, user_id, client, name, scopes, expires) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (digest) DO UPDATE SET user_id = excluded.user_id, \
             client = excluded.client, name = excluded.name, scopes = excluded.scopes, expires = excluded.expires";
        let (client, name) = (token.client.as_deref().map(text), token.name.as_deref().map(text));
        let (scopes, expires) = (as_json(&token.scopes)?, date(token.expires));
        self.session.enqueue(SQL, &[&digest, &token.user, &client, &name, &scopes, &expires])
    }

    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>> {
        const SQL: &str = "DELETE FROM token WHERE digest IN (SELECT digest FROM token \
             WHERE user_id = $1 AND coalesce(client, '') = $2 AND name IS NULL ORDER BY expires DESC, digest DESC OFFSET $3) \
             RETURNING digest";
        let client = alike.client.as_deref().map(text).unwrap_or_default();
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        let rows = self.session.query(SQL, &[&alike.user, &client, &count])?;
        rows.iter().map(|row| get(row, 0)).collect()
    }

    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64> {
        match of {
            TokensOf::User(user) => self.session.execute("DELETE FROM token WHERE user_id = $1", &[user]),
            TokensOf::Logins(user) => {
                self.session.execute("DELETE FROM token WHERE user_id = $1 AND name IS NULL", &[user])
            }
            TokensOf::Named(user, name) => {
                let sql = "DELETE FROM token WHERE user_id = $1 AND name = $2";
                self.session.execute(sql, &[user, &text(name)])
            }
            TokensOf::Digest(digest) => {
                self.session.execute("DELETE FROM token WHERE digest = $1", &[&text(digest)])
            }
            TokensOf::One(user, digest) => {
                let sql = "DELETE FROM token WHERE digest = $1 AND user_id = $2";
                self.session.execute(sql, &[&text(digest), user])
            }
        }
    }

    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64> {
        const SQL: &str = "DELETE FROM token WHERE digest IN \
             (SELECT digest FROM token WHERE expires < $1 ORDER BY expires LIMIT $2)";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.session.execute(SQL, &[&date(before), &limit])
    }
}
