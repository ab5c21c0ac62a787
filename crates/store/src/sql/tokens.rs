//! Statements on access tokens.

use jiff::Timestamp;

use super::super::tokens::{Token, Tokens, TokensOf};
use super::columns::{Columns, as_json, unreadable};
use super::dialect::{Engine, Row, Values};
use performer_core::orchestrator::Result;

const TOKEN: &str = "SELECT user_id, client, name, scopes, expires FROM token";

/// A token has no number: reports name its user.
const OF_USER: (&str, usize) = ("token of a user", 0);

fn read(row: &dyn Row) -> Result<Token> {
    Ok(Token {
        user: row.number(0)?,
        client: row.text_or_none(1)?,
        name: row.text_or_none(2)?,
        scopes: serde_json::from_str(&row.text(3)?).map_err(unreadable)?,
        expires: row.time(4)?,
    })
}

impl<E: Engine> Tokens for E {
    fn token(&mut self, digest: &str) -> Result<Option<Token>> {
        let mut values = Values::default();
        let sql = format!("{TOKEN} WHERE digest = {}", values.bind_text::<E>(digest));
        Ok(self.read_prepared(&sql, &values, read)?.pop())
    }

    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>> {
        let mut values = Values::default();
        let of_user = user.map(|user| format!(" AND user_id = {}", values.bind::<E>(user)));
        let sql = format!(
            "{TOKEN} WHERE name IS NOT NULL{} ORDER BY user_id, name{}",
            of_user.unwrap_or_default(),
            E::BY_BYTES
        );
        self.read_list(OF_USER, &sql, &values, read)
    }

    fn tokens_of(&mut self, user: i64, limit: usize) -> Result<Vec<(String, Token)>> {
        let mut values = Values::default();
        let sql = format!(
            "SELECT user_id, client, name, scopes, expires, digest FROM token WHERE user_id = {} \
             ORDER BY expires DESC, digest{} DESC LIMIT {limit}",
            values.bind::<E>(user),
            E::BY_BYTES
        );
        self.read_list(OF_USER, &sql, &values, |row| Ok((row.text(5)?, read(row)?)))
    }

    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()> {
        let columns = Columns::<E>::new()
            .text("digest", digest)
            .set("user_id", token.user)
            .text_or_null("client", token.client.as_deref())
            .text_or_null("name", token.name.as_deref())
            .text("scopes", &as_json(&token.scopes)?)
            .set("expires", token.expires);
        let sql = format!(
            "INSERT INTO token {} ON CONFLICT (digest) DO UPDATE SET user_id = excluded.user_id, \
             client = excluded.client, name = excluded.name, scopes = excluded.scopes, expires = excluded.expires",
            columns.insertion()
        );
        self.execute(&sql, &columns.values)
    }

    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>> {
        let mut values = Values::default();
        let user = values.bind::<E>(alike.user);
        let client = match &alike.client {
            Some(client) => format!("= {}", values.bind_text::<E>(client)),
            None => "IS NULL".to_owned(),
        };
        // SQLite takes no OFFSET without a LIMIT.
        let sql = format!(
            "DELETE FROM token WHERE digest IN (SELECT digest FROM token WHERE user_id = {user} AND client {client} \
             AND name IS NULL ORDER BY expires DESC, digest DESC LIMIT {} OFFSET {count}) RETURNING digest",
            i32::MAX
        );
        self.read_prepared(&sql, &values, |row| row.text(0))
    }

    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64> {
        let mut values = Values::default();
        let condition = match of {
            TokensOf::User(user) => {
                // Logins and tokens with a name are found by two indexes.
                let logins = self.remove_tokens(&TokensOf::Logins(*user))?;
                let named = format!("user_id = {} AND name IS NOT NULL", values.bind::<E>(*user));
                return Ok(logins + self.change(&format!("DELETE FROM token WHERE {named}"), &values)?);
            }
            TokensOf::Logins(user) => format!("user_id = {} AND name IS NULL", values.bind::<E>(*user)),
            TokensOf::Named(user, name) => {
                let user = values.bind::<E>(*user);
                format!("user_id = {user} AND name = {}", values.bind_text::<E>(name))
            }
            TokensOf::Digest(digest) => format!("digest = {}", values.bind_text::<E>(digest)),
            TokensOf::One(user, digest) => {
                let user = values.bind::<E>(*user);
                format!("user_id = {user} AND digest = {}", values.bind_text::<E>(digest))
            }
        };
        self.change(&format!("DELETE FROM token WHERE {condition}"), &values)
    }

    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64> {
        let mut values = Values::default();
        let before = values.bind::<E>(before);
        let sql = format!(
            "DELETE FROM token WHERE digest IN \
             (SELECT digest FROM token WHERE expires < {before} ORDER BY expires LIMIT {limit})"
        );
        self.change(&sql, &values)
    }
}
