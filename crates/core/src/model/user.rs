//! Users: the numbers of their types (orchestrator-api 12.2).

use crate::enumeration;

enumeration! {
    /// How a user was created and what it is for.
    pub UserType {
        /// A local user.
        User = 0,
        /// Made for a robot, and used by it to talk to the Orchestrator.
        Robot = 1,
        /// A user of a directory.
        DirectoryUser = 2,
        /// A group of a directory.
        DirectoryGroup = 3,
        /// A robot of a directory. (This number and the next are ours.)
        DirectoryRobot = 4,
        /// An application.
        DirectoryExternalApplication = 5,
    }
}

impl UserType {
    /// Whether such a user logs in with a password of its own: directory users log in elsewhere, applications have
    /// secrets, and robots tokens.
    pub fn has_password(self) -> bool {
        self == Self::User
    }
}
