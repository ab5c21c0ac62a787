//! The document that a server keeps in the store: its folders, users and roles. The store does not read it. A write names the
//! version that it replaces, so that of two servers that change it at the same time none loses the change of the other.

use super::Store;
use super::backend::{Operation, Query, expect_answer};
use super::tokens::{Token, TokensOf};
use performer_core::model::audit::FieldChange;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::Result;

/// A write of the document, and what happens in the same transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DocumentChange {
    /// The version that it replaces; 0 if there is no document yet.
    pub replaces: u64,
    /// The new document.
    pub text: String,
    /// Folders that must have neither a queue, nor an asset, nor a bucket, nor an open task.
    pub without_queues: Vec<FolderId>,
    /// Tokens that are added, with their digests.
    pub added_tokens: Vec<(String, Token)>,
    /// Tokens that are removed.
    pub revoked_tokens: Vec<TokensOf>,
    /// Users that are removed, with what only they see.
    pub removed_users: Vec<i64>,
    /// What changes, for the audit: to what, and how.
    pub acts: Vec<(String, Vec<FieldChange>)>,
}

/// What became of a write of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentOutcome {
    /// It was written.
    Written {
        /// The number of tokens that were removed.
        revoked: u64,
    },
    /// The document has another version than the one to replace. Nothing was changed.
    Conflict,
}

impl Store {
    /// The document and its version, if the version is not `known`. Versions begin at 1.
    ///
    /// # Errors
    ///
    /// Unavailable if the store is unavailable.
    pub async fn document(&self, known: u64) -> Result<Option<(u64, String)>> {
        expect_answer!(self.read(Query::Document { known }).await, Document)
    }

    /// Writes the document as the next version, if it still has the version that the change replaces.
    ///
    /// # Errors
    ///
    /// Invalid with code 1012 if there are queues in a folder that should have none.
    pub async fn put_document(&self, change: DocumentChange) -> Result<DocumentOutcome> {
        expect_answer!(self.one(Operation::PutDocument(Box::new(change))).await, DocumentOutcome)
    }
}
