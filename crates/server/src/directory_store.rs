//! The directory in the store: a document that the store does not read. A change is read, made by the rules of
//! [`directory`](super::directory), and written back unless another process wrote it in between.

use performer_core::model::audit::FieldChange;
use performer_core::orchestrator::{ErrorKind, OrchestratorError};
use performer_store::{DocumentChange, DocumentOutcome, Store, TokensOf};

use super::api_error::ApiError;
use super::directory::{Change, Directory};

/// How often a change is made again because another process changed the directory at the same time.
const MAX_ATTEMPTS: u32 = 20;

/// Reads the directory if it has another version than `known`.
pub(super) async fn read(store: &Store, known: u64) -> Result<Option<(u64, Directory)>, ApiError> {
    let mut found = read_document(store, known).await?;
    if found.as_ref().is_some_and(|(_, directory)| directory.has_tokens()) {
        // An older version kept tokens in the directory. Any change, even an empty one, moves them to their own table.
        change(store, None, &[]).await?;
        found = read_document(store, known).await?;
    }
    Ok(found)
}

/// Makes changes of the directory, all or none of them. If there is none yet, `new` is the one to start with. Returns the ids of
/// what was created or changed.
pub(super) async fn change(
    store: &Store,
    new: Option<Directory>,
    changes: &[Change],
) -> Result<Vec<i64>, ApiError> {
    let mut ids = Vec::new();
    write(store, new.as_ref(), |directory, document| {
        ids.clear();
        for change in changes {
            if let Change::RemoveFolder(folder) = change {
                document.without_queues.push(*folder);
            }
            let client = match change {
                Change::RemoveClient(id) => directory.client(id).map(|client| client.user),
                Change::RemoveUser(user) => Some(*user),
                _ => None,
            };
            document.removed_users.extend(client);
            document.acts.push(change.described(directory));
            ids.push(directory.change(change.clone(), store.clock().now())?);
        }
        Ok(())
    })
    .await?;
    Ok(ids)
}

/// Revokes tokens. The directory gets a new version, so that servers that cached the tokens look them up again. Returns the
/// number of tokens.
pub(super) async fn revoke(store: &Store, of: TokensOf) -> Result<u64, ApiError> {
    if read_document(store, 0).await?.is_none() {
        return Ok(0);
    }
    write(store, None, |directory, document| {
        document.revoked_tokens.push(of.clone());
        document.acts.extend(revocation(directory, &of));
        Ok(())
    })
    .await
}

/// What the audit says of tokens that are revoked. Nothing of one that its owner revokes by signing out.
fn revocation(directory: &Directory, of: &TokensOf) -> Option<(String, Vec<FieldChange>)> {
    let name = |id: i64| directory.user(id).map_or_else(|| id.to_string(), |user| user.user_name.clone());
    let subject = match of {
        TokensOf::User(user) => format!("tokens of user {} revoked", name(*user)),
        TokensOf::Logins(user) => format!("sessions of user {} ended", name(*user)),
        TokensOf::Named(user, token) => format!("token {token} of user {} revoked", name(*user)),
        TokensOf::One(user, _) => format!("a token or session of user {} revoked", name(*user)),
        TokensOf::Digest(_) => return None,
    };
    Some((subject, Vec::new()))
}

/// Reads the directory, changes it, and writes it; again, if another process wrote it in between.
async fn write(
    store: &Store,
    new: Option<&Directory>,
    mut change: impl FnMut(&mut Directory, &mut DocumentChange) -> Result<(), ApiError>,
) -> Result<u64, ApiError> {
    for _ in 0..MAX_ATTEMPTS {
        let (replaces, mut directory) = match (read_document(store, 0).await?, new) {
            (Some(existing), _) => existing,
            (None, Some(new)) => (0, new.clone()),
            (None, None) => {
                let message = "this store has no directory yet: performer serve makes one";
                return Err(OrchestratorError::not_found(message).into());
            }
        };
        let mut document = DocumentChange { replaces, ..DocumentChange::default() };
        change(&mut directory, &mut document)?;
        document.added_tokens.extend(directory.take_tokens());
        document.revoked_tokens.extend(directory.take_revoked());
        document.text = serde_json::to_string(&directory).map_err(|error| unreadable(&error))?;
        match store.put_document(document).await? {
            DocumentOutcome::Written { revoked } => return Ok(revoked),
            DocumentOutcome::Conflict => {}
        }
    }
    let message = "other processes change the directory all the time";
    Err(OrchestratorError::new(ErrorKind::Unavailable, message).into())
}

async fn read_document(store: &Store, known: u64) -> Result<Option<(u64, Directory)>, ApiError> {
    let Some((version, text)) = store.document(known).await? else { return Ok(None) };
    let mut directory: Directory = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    directory.complete_roles();
    Ok(Some((version, directory)))
}

/// Without the text of the error, which may quote a secret.
fn unreadable(error: &serde_json::Error) -> ApiError {
    let message = format!("the directory of the store cannot be read (line {})", error.line());
    OrchestratorError::new(ErrorKind::Other, message).into()
}
