//! The document of a server, and access tokens.

use super::super::backend::Answer;
use super::super::document::{DocumentChange, DocumentOutcome};
use super::super::rows::Rows;
use super::super::tokens::{MAX_LOGIN_TOKENS, MAX_NAMED_TOKENS, Token};
use super::{Applied, Apply};
use performer_core::model::Refusal;
use performer_core::model::audit::Act;
use performer_core::model::code::ErrorCode;
use performer_core::model::kept_for::KeptFor;

impl<R: Rows> Apply<'_, R> {
    pub(super) fn put_document(&mut self, change: &DocumentChange) -> Applied {
        let version = self.rows.document(0)?.map_or(0, |(version, _)| version);
        if version != change.replaces {
            return Ok(Answer::DocumentOutcome(DocumentOutcome::Conflict));
        }
        if !change.without_queues.is_empty() {
            let is_one = |folder| change.without_queues.contains(folder);
            if self.rows.queues()?.iter().any(|queue| queue.folders.iter().any(is_one)) {
                return Err(Refusal::new(ErrorCode::new(1012), "the folder has queues in it").into());
            }
        }
        if !self.rows.assets_in(&change.without_queues)?.is_empty() {
            return Err(Refusal::new(ErrorCode::new(1012), "the folder has assets in it").into());
        }
        if !self.rows.buckets_in(&change.without_queues)?.is_empty() {
            return Err(Refusal::new(ErrorCode::new(1012), "the folder has buckets in it").into());
        }
        if self.rows.has_open_tasks(&change.without_queues)? {
            return Err(Refusal::new(ErrorCode::new(1012), "the folder has tasks in it").into());
        }
        for (digest, token) in &change.added_tokens {
            self.rows.insert_token(digest, token)?;
        }
        for folder in &change.without_queues {
            self.rows.delete_views_of(*folder)?;
        }
        for user in &change.removed_users {
            self.rows.delete_private_views(*user)?;
        }
        let mut revoked = 0;
        for of in &change.revoked_tokens {
            revoked += self.rows.remove_tokens(of)?;
        }
        self.rows.write_document(version + 1, &change.text)?;
        for (subject, changes) in &change.acts {
            self.note_act(Act::AccessChanged, subject, Vec::new(), changes.clone());
        }
        Ok(Answer::DocumentOutcome(DocumentOutcome::Written { revoked }))
    }

    /// Adds a token. Answers with the digests of the tokens that were removed to make room for it.
    pub(super) fn add_token(&mut self, digest: &str, token: &Token) -> Applied {
        if token.name.is_some() && self.rows.named_tokens(Some(token.user))?.len() >= MAX_NAMED_TOKENS {
            let message = format!("the user has {MAX_NAMED_TOKENS} tokens already; revoke some first");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let superfluous = match token.name {
            None => self.rows.keep_newest_logins(token, MAX_LOGIN_TOKENS - 1)?,
            Some(_) => Vec::new(),
        };
        self.rows.insert_token(digest, token)?;
        if let Some(name) = &token.name {
            let subject = format!("token {name} of user {}", token.user);
            self.note_act(Act::AccessChanged, subject, Vec::new(), Vec::new());
        }
        Ok(Answer::Digests(superfluous))
    }

    pub(super) fn remove_ended_tokens(&mut self, limit: usize) -> Applied {
        let Some(now) = self.judge_clock()?.believed() else { return Ok(Answer::Removed(0)) };
        Ok(Answer::Removed(self.rows.remove_ended_tokens(KeptFor::ENDED_TOKEN.begin(now), limit)?))
    }
}
