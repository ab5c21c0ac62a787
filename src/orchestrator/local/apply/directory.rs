//! Who may do what: the directory, changed by the rules of [`model::directory`](crate::model::directory).

use super::super::super::{ErrorKind, OrchestratorError, Result};
use super::super::rows::Rows;
use super::super::store::Answer;
use super::{Applied, Apply, Stop};
use crate::model::Refusal;
use crate::model::code::ErrorCode;
use crate::model::directory::{Change, Directory};

impl<R: Rows> Apply<'_, R> {
    /// All changes or none. Where there is no directory yet, `new` is it.
    pub(super) fn change_directory(&mut self, new: Option<Box<Directory>>, changes: Vec<Change>) -> Applied {
        let (version, mut directory) = match (read(self.rows, 0)?, new) {
            (Some(there), _) => there,
            (None, Some(new)) => (0, *new),
            (None, None) => {
                let message = "this store has no directory yet: performer serve makes one";
                return Err(Stop::Refused(OrchestratorError::not_found(message)));
            }
        };
        if changes.iter().any(|change| matches!(change, Change::AddToken { .. }))
            && let Some(by) = self.judge_clock()?.believed()
        {
            directory.forget_expired_tokens(by);
        }
        let mut numbers = Vec::with_capacity(changes.len());
        for change in changes {
            if let Change::RemoveFolder(folder) = &change
                && self.rows.queues()?.iter().any(|queue| queue.folders.contains(folder))
            {
                return Err(Refusal::new(ErrorCode::new(1012), "the folder has queues in it").into());
            }
            numbers.push(directory.change(change, self.now)?);
        }
        let text = serde_json::to_string(&directory).map_err(|error| unreadable(&error))?;
        self.rows.write_directory(version + 1, &text)?;
        Ok(Answer::Numbers(numbers))
    }
}

/// The directory and its version, if there is one of another version than this.
pub(super) fn read<R: Rows>(rows: &mut R, known: u64) -> Result<Option<(u64, Directory)>> {
    let Some((version, text)) = rows.directory(known)? else { return Ok(None) };
    let directory = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    Ok(Some((version, directory)))
}

/// Without the text of the error: it may quote what it could not read.
fn unreadable(error: &serde_json::Error) -> OrchestratorError {
    let message = format!("the directory of the store cannot be read (line {})", error.line());
    OrchestratorError::new(ErrorKind::Other, message)
}
