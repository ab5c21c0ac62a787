//! Access tokens in memory.

use jiff::Timestamp;

use super::super::tokens::{Token, Tokens, TokensOf};
use super::Memory;
use performer_core::orchestrator::Result;

impl Tokens for Memory {
    fn token(&mut self, digest: &str) -> Result<Option<Token>> {
        Ok(self.tokens.get(digest).cloned())
    }

    fn named_tokens(&mut self, user: Option<i64>) -> Result<Vec<Token>> {
        let is_meant = |token: &&Token| token.name.is_some() && user.is_none_or(|user| token.user == user);
        Ok(self.tokens.values().filter(is_meant).cloned().collect())
    }

    fn tokens_of(&mut self, user: i64, limit: usize) -> Result<Vec<(String, Token)>> {
        let of_user = self.tokens.iter().filter(|(_, token)| token.user == user);
        let mut all: Vec<_> = of_user.map(|(digest, token)| (digest.clone(), token.clone())).collect();
        all.sort_by(|(a, one), (b, other)| (other.expires, b).cmp(&(one.expires, a)));
        all.truncate(limit);
        Ok(all)
    }

    fn insert_token(&mut self, digest: &str, token: &Token) -> Result<()> {
        self.tokens.insert(digest.to_owned(), token.clone());
        Ok(())
    }

    fn keep_newest_logins(&mut self, alike: &Token, count: usize) -> Result<Vec<String>> {
        let is_alike =
            |token: &Token| token.name.is_none() && token.user == alike.user && token.client == alike.client;
        let all = self.tokens.iter().filter(|(_, token)| is_alike(token));
        let mut all: Vec<_> = all.map(|(digest, token)| (token.expires, digest.clone())).collect();
        all.sort_unstable();
        all.truncate(all.len().saturating_sub(count));
        let superfluous: Vec<String> = all.into_iter().map(|(_, digest)| digest).collect();
        for digest in &superfluous {
            self.tokens.remove(digest);
        }
        Ok(superfluous)
    }

    fn remove_tokens(&mut self, of: &TokensOf) -> Result<u64> {
        let before = self.tokens.len();
        self.tokens.retain(|digest, token| match of {
            TokensOf::User(user) => token.user != *user,
            TokensOf::Logins(user) => token.user != *user || token.name.is_some(),
            TokensOf::Named(user, name) => token.user != *user || token.name.as_ref() != Some(name),
            TokensOf::Digest(wanted) => digest != wanted,
            TokensOf::One(user, wanted) => token.user != *user || digest != wanted,
        });
        Ok((before - self.tokens.len()) as u64)
    }

    fn remove_ended_tokens(&mut self, before: Timestamp, limit: usize) -> Result<u64> {
        let ended = self.tokens.iter().filter(|(_, token)| token.expires < before);
        let ended: Vec<String> = ended.take(limit).map(|(digest, _)| digest.clone()).collect();
        for digest in &ended {
            self.tokens.remove(digest);
        }
        Ok(ended.len() as u64)
    }
}
