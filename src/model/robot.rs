//! Robots: one lane of a performer.

use super::enumeration::enumeration;

enumeration! {
    /// What a robot is doing (contract section 12.2).
    pub RobotState {
        /// Free: it may take an item.
        Available = 0,
        /// It processes a transaction.
        Busy = 1,
        /// Its job stopped beating.
        Disconnected = 2,
        /// Not known.
        Unknown = 3,
    }
}
