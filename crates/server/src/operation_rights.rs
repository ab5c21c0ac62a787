//! Who may do what with acts on many items: the API and the desk ask for the permissions of the same act on one item, in each folder of
//! the items.

use std::sync::Arc;

use axum::http::StatusCode;

use super::api_error::ApiError;
use super::directory::Directory;
use super::permission::{Action, Area, Permission};
use performer_core::model::key::FolderId;
use performer_core::model::operation::Act;

const QUEUES_VIEW: Permission = Permission(Area::Queues, Action::View);
const QUEUES_EDIT: Permission = Permission(Area::Queues, Action::Edit);
const EDIT: Permission = Permission(Area::Transactions, Action::Edit);
const DELETE: Permission = Permission(Area::Transactions, Action::Delete);

/// To review items and write comments.
pub(super) const REVIEW: &[Permission] = &[QUEUES_VIEW, EDIT];
/// To delete items.
pub(super) const REMOVE: &[Permission] = &[QUEUES_VIEW, DELETE];
/// To change items that are New, and to remove the content of others.
pub(super) const CHANGE: &[Permission] = &[QUEUES_EDIT, EDIT];

/// The permissions that an act needs in each folder of its items.
pub(super) fn needed(act: &Act) -> &'static [Permission] {
    match act {
        Act::Retry | Act::Verify | Act::PutInReview | Act::Assign { .. } | Act::Comment => REVIEW,
        Act::Delete | Act::TakeBack { .. } => REMOVE,
        Act::Purge => CHANGE,
    }
}

/// The folders of a call, and what its caller may do in each.
pub(super) struct OperationRights<M> {
    /// The folders in which the caller may see items.
    pub(super) folders: Arc<[FolderId]>,
    /// Whether the caller has all permissions in a folder.
    pub(super) may: M,
}

impl<M: Fn(FolderId, &[Permission]) -> bool> OperationRights<M> {
    /// The folders in which the caller has permissions.
    pub(super) fn folders_with(&self, needed: &[Permission]) -> Arc<[FolderId]> {
        self.folders.iter().copied().filter(|folder| (self.may)(*folder, needed)).collect()
    }

    /// The folders in which the caller may make an operation that does this.
    ///
    /// # Errors
    ///
    /// 403 if there is none.
    pub(super) fn to_make(&self, act: &Act) -> Result<Arc<[FolderId]>, ApiError> {
        let folders = self.folders_with(needed(act));
        if folders.is_empty() { Err(denied(needed(act))) } else { Ok(folders) }
    }

    /// The folders within which the caller may do this with an operation on items in folders.
    ///
    /// # Errors
    ///
    /// 403 for a caller who may not do it in all of them.
    pub(super) fn to_steer(&self, of: &[FolderId], act: &Act) -> Result<Arc<[FolderId]>, ApiError> {
        // An operation whose items were not found is in no folder.
        let folders = self.to_make(act)?;
        if of.iter().any(|folder| !folders.contains(folder)) { Err(denied(needed(act))) } else { Ok(folders) }
    }
}

/// 403 with what is missing.
pub(super) fn denied(needed: &[Permission]) -> ApiError {
    let names: Vec<String> = needed.iter().map(ToString::to_string).collect();
    let message = format!("This needs the permission {} in each folder of the items.", names.join(" and "));
    ApiError::new(StatusCode::FORBIDDEN, 0, message)
}

/// Notes in which of the folders the reviewer of an act may not review.
pub(super) fn note_reviewer(act: &mut Act, directory: &Directory, folders: &[FolderId]) {
    if let Act::Assign { reviewer: Some(reviewer), not_in } = act {
        let is_refused = |folder: &&FolderId| !may_review(directory, *reviewer, **folder);
        *not_in = folders.iter().filter(is_refused).copied().collect();
    }
}

/// Whether a user may review items in a folder (orchestrator-api 13.6).
pub(super) fn may_review(directory: &Directory, user: i64, folder: FolderId) -> bool {
    let allows = |action| {
        let permission = Permission(Area::Transactions, action);
        directory.user(user).is_some_and(|user| directory.allows(user, Some(folder), permission))
    };
    allows(Action::View) && allows(Action::Edit)
}
