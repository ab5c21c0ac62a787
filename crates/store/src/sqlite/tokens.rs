//! Statements on access tokens.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{OptionalExtension, Row as SqlRow, params};

use super::super::tokens::{Token, Tokens, TokensOf};
use super::columns::{micros, time, unreadable};
use super::queues::as_json;
use super::{Sqlite, prepared, row_count};
use performer_core::orchestrator::Result;

type SqlResult<T> = rusqlite::Result<T>;

const TOKEN: &str = "SELECT user_id, client, name, scopes, expires FROM token";
const WITH_DIGEST: &str = "SELECT user_id, client, name, scopes, expires, digest FROM token";

fn read_token(row: &SqlRow<'_>) -> SqlResult<Token> {
    let scopes: String = row.get(3)?;
    Ok(Token {
        user: row.get(0)?,
        client: row.get(1)?,
        name: row.get(2)?,
        scopes: serde_json::from_str(&scopes).map_err(|error| unreadable(3, Type::Text, error))?,
        expires: time(row, 4)?,
    })
}

impl Tokens for Sqlite {
    fn token(&mut self, digest: &str) -> Result<Option<Token>> {
        let sql = format!("{TOKEN} WHERE digest = ?1");
        self.run(|c| prepared(c, &sql)?.query_row([digest], read_token).optional())
    }

    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>> {
        let sql =
            format!("{TOKEN} WHERE name IS NOT NULL AND (?1 IS NULL OR user_id = ?1) ORDER BY user_id, name");
        self.run(|c| prepared(c, &sql)?.query_map([user], read_token)?.collect())
    }

    fn tokens_of(&mut self, user: i64, limit: usize) -> Result<Vec<(String, Token)>> {
        let sql = format!("{WITH_DIGEST} WHERE user_id = ?1 ORDER BY expires DESC, digest DESC LIMIT ?2");
        let read = |row: &SqlRow<'_>| Ok((row.get(5)?, read_token(row)?));
        self.run(|c| prepared(c, &sql)?.query_map(params![user, row_count(limit)], read)?.collect())
    }

    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()> {
        const SQL: &str = "INSERT OR REPLACE INTO token (digest, user_id, client, name, scopes, expires) \
                           VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let Token { user, client, name, scopes, expires } = token;
        self.run(|c| {
            let values = params![digest, user, client, name, as_json(scopes)?, micros(*expires)];
            prepared(c, SQL)?.execute(values).map(drop)
        })
    }

    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>> {
        const SQL: &str = "DELETE FROM token WHERE digest IN (SELECT digest FROM token \
             WHERE user_id = ?1 AND client IS ?2 AND name IS NULL ORDER BY expires DESC, digest DESC LIMIT -1 OFFSET ?3) \
             RETURNING digest";
        self.run(|c| {
            let values = params![alike.user, alike.client, row_count(count)];
            prepared(c, SQL)?.query_map(values, |row| row.get(0))?.collect()
        })
    }

    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64> {
        let removed = self.run(|c| match of {
            TokensOf::User(user) => {
                let logins =
                    prepared(c, "DELETE FROM token WHERE user_id = ?1 AND name IS NULL")?.execute([user])?;
                let named = prepared(c, "DELETE FROM token WHERE user_id = ?1 AND name IS NOT NULL")?;
                { named }.execute([user]).map(|named| logins + named)
            }
            TokensOf::Logins(user) => {
                prepared(c, "DELETE FROM token WHERE user_id = ?1 AND name IS NULL")?.execute([user])
            }
            TokensOf::Named(user, name) => prepared(c, "DELETE FROM token WHERE user_id = ?1 AND name = ?2")?
                .execute(params![user, name]),
            TokensOf::Digest(digest) => prepared(c, "DELETE FROM token WHERE digest = ?1")?.execute([digest]),
            TokensOf::One(user, digest) => {
                let sql = "DELETE FROM token WHERE digest = ?1 AND user_id = ?2";
                prepared(c, sql)?.execute(params![digest, user])
            }
        })?;
        Ok(removed as u64)
    }

    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64> {
        const SQL: &str = "DELETE FROM token WHERE digest IN \
             (SELECT digest FROM token WHERE expires < ?1 ORDER BY expires LIMIT ?2)";
        let removed = self.run(|c| prepared(c, SQL)?.execute(params![micros(before), row_count(limit)]))?;
        Ok(removed as u64)
    }
}
