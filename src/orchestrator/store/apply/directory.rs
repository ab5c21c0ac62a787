//! The directory of folders, users and roles, changed by the rules of [`model::directory`](crate::model::directory),
//! and access tokens.

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::super::backend::Answer;
use super::super::rows::Rows;
use super::{Applied, Apply, ApplyError};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::directory::{Change, Directory, MOST_LOGINS, MOST_NAMED_TOKENS, Token, TokensOf};
use crate::model::kept_for::KeptFor;

impl<R: Rows> Apply<'_, R> {
    /// Applies all changes or none. If there is no directory yet, `new` is the one to start with.
    pub(super) fn change_directory(&mut self, new: Option<Box<Directory>>, changes: Vec<Change>) -> Applied {
        let (version, mut directory) = match (read(self.rows, 0)?, new) {
            (Some(there), _) => there,
            (None, Some(new)) => (0, *new),
            (None, None) => {
                let message = "this store has no directory yet: performer serve makes one";
                return Err(ApplyError::Refused(OrchestratorError::not_found(message)));
            }
        };
        let mut numbers = Vec::with_capacity(changes.len());
        for change in changes {
            if let Change::RemoveFolder(folder) = &change
                && self.rows.queues()?.iter().any(|queue| queue.folders.contains(folder))
            {
                return Err(Refusal::new(ErrorCode::new(1012), "the folder has queues in it").into());
            }
            numbers.push(directory.change(change, self.now)?);
        }
        self.move_tokens(&mut directory)?;
        for of in directory.take_revoked() {
            self.rows.remove_tokens(&of)?;
        }
        self.write(version, &directory)?;
        Ok(Answer::Numbers(numbers))
    }

    /// Adds a token. Answers with the digests of the tokens that were removed to make room for it.
    pub(super) fn add_token(&mut self, digest: &str, token: &Token) -> Applied {
        if token.name.is_some() && self.rows.named_tokens(Some(token.user))?.len() >= MOST_NAMED_TOKENS {
            let message = format!("the user has {MOST_NAMED_TOKENS} tokens already; revoke some first");
            return Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message).into());
        }
        let superfluous = match token.name {
            None => self.rows.keep_newest_logins(token, MOST_LOGINS - 1)?,
            Some(_) => Vec::new(),
        };
        self.rows.insert_token(digest, token)?;
        Ok(Answer::Digests(superfluous))
    }

    /// An older version wrote the tokens inside the directory: moves them to their own rows.
    fn move_tokens(&mut self, directory: &mut Directory) -> Applied<()> {
        for (digest, token) in directory.take_tokens() {
            self.rows.insert_token(&digest, &token)?;
        }
        Ok(())
    }

    /// Writes the directory with a new version, so that servers that cached the tokens look them up again.
    pub(super) fn revoke_tokens(&mut self, of: &TokensOf) -> Applied {
        let Some((version, mut directory)) = read(self.rows, 0)? else { return Ok(Answer::Removed(0)) };
        self.move_tokens(&mut directory)?;
        let removed = self.rows.remove_tokens(of)?;
        self.write(version, &directory)?;
        Ok(Answer::Removed(removed))
    }

    fn write(&mut self, version: u64, directory: &Directory) -> Applied<()> {
        let text = serde_json::to_string(directory).map_err(|error| unreadable(&error))?;
        Ok(self.rows.write_directory(version + 1, &text)?)
    }

    pub(super) fn remove_ended_tokens(&mut self, limit: usize) -> Applied {
        let Some(now) = self.judge_clock()?.believed() else { return Ok(Answer::Removed(0)) };
        Ok(Answer::Removed(self.rows.remove_ended_tokens(KeptFor::ENDED_TOKEN.begin(now), limit)?))
    }
}

/// The directory and its version, if the version is not `known`.
pub(super) fn read<R: Rows>(rows: &mut R, known: u64) -> Result<Option<(u64, Directory)>> {
    let Some((version, text)) = rows.directory(known)? else { return Ok(None) };
    let directory = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    Ok(Some((version, directory)))
}

/// Without the text of the error, which may quote a secret.
fn unreadable(error: &serde_json::Error) -> OrchestratorError {
    let message = format!("the directory of the store cannot be read (line {})", error.line());
    OrchestratorError::new(ErrorKind::Other, message)
}
