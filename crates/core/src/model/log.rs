//! Robot logs: the numbers of their levels (orchestrator-api 12.2).

use crate::enumeration;

enumeration! {
    /// How severe a robot's log line is.
    pub LogLevel {
        /// Fine-grained information.
        Trace = 0,
        /// The flow through the system, in detail.
        Debug = 1,
        /// Ordinary events, such as a start or an end.
        Info = 2,
        /// Undesirable or unexpected, but not necessarily wrong.
        Warn = 3,
        /// Wrong or unexpected.
        Error = 4,
        /// So severe that the program ends early.
        Fatal = 5,
    }
}
