//! What the audit says was done.

use crate::enumeration;

enumeration! {
    /// What was done. The numbers are ours.
    pub Act {
        /// A queue was created.
        QueueCreated = 0,
        /// The settings of a queue were changed.
        QueueEdited = 1,
        /// A queue was deleted.
        QueueDeleted = 2,
        /// A queue was paused or resumed, or its limits were changed.
        LimitsEdited = 3,
        /// A queue was added to folders, or removed from some.
        QueueShared = 4,
        /// An item was edited.
        ItemEdited = 5,
        /// Items were deleted.
        ItemsDeleted = 6,
        /// The review status of items was set; Retried made copies of them.
        ItemsReviewed = 7,
        /// Items were given to a reviewer, or taken from one.
        ReviewerSet = 8,
        /// A comment was written.
        CommentAdded = 9,
        /// A comment was changed or removed.
        CommentEdited = 10,
        /// The content of an item was removed.
        ContentPurged = 11,
        /// An item that was InProgress was abandoned.
        ItemAbandoned = 12,
        /// A job was asked to stop, or to end at once.
        JobStopped = 13,
        /// Folders, users, roles, robots, applications or tokens were changed.
        AccessChanged = 14,
        /// The note or the owner of a group of failures was changed.
        ReasonEdited = 15,
        /// An act on many items was started. What became of each item stands with the operation.
        OperationStarted = 16,
        /// An operation was stopped.
        OperationStopped = 17,
        /// An operation that was stopped, or held, was resumed.
        OperationResumed = 18,
        /// The personal fields of an item were shown to a user.
        PersonalRevealed = 19,
        /// A view that is shared with a folder was made, changed or deleted.
        ViewEdited = 20,
        /// An asset was created.
        AssetCreated = 21,
        /// The settings or a value of an asset were changed.
        AssetEdited = 22,
        /// An asset was deleted.
        AssetDeleted = 23,
        /// An asset was added to folders, or removed from some.
        AssetShared = 24,
        /// Secrets are encrypted with another key from now on.
        EncryptionKeyChanged = 25,
        /// A webhook was created.
        WebhookCreated = 26,
        /// The settings or the secret of a webhook were changed.
        WebhookEdited = 27,
        /// A webhook was deleted.
        WebhookDeleted = 28,
        /// Events that could not be delivered to a webhook are sent again.
        WebhookRetried = 29,
        /// A storage bucket was created.
        BucketCreated = 30,
        /// The settings of a storage bucket were changed.
        BucketEdited = 31,
        /// A storage bucket was deleted with its files.
        BucketDeleted = 32,
        /// A storage bucket was added to folders, or removed from some.
        BucketShared = 33,
        /// A file of a storage bucket whose reads are audited was read.
        BucketFileRead = 34,
        /// A file of a storage bucket was deleted.
        BucketFileDeleted = 35,
        /// A process was created.
        ProcessCreated = 40,
        /// A process was changed.
        ProcessEdited = 41,
        /// A process was deleted.
        ProcessDeleted = 42,
        /// Jobs of a process were started.
        JobsStarted = 43,
        /// A machine was created.
        MachineCreated = 44,
        /// A machine was changed.
        MachineEdited = 45,
        /// A machine was deleted.
        MachineDeleted = 46,
        /// A person made a task.
        TaskCreated = 60,
        /// A task was given to a user, or taken from one.
        TaskAssigned = 61,
        /// The settings or the data of a task were changed, or a note was written.
        TaskEdited = 62,
        /// A task was completed.
        TaskCompleted = 63,
        /// A task was deleted.
        TaskDeleted = 64,
        /// A catalog of tasks was made, changed, shared or deleted.
        CatalogEdited = 65,
    }
}
