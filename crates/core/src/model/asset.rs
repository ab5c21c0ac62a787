//! Assets: the numbers of their scopes and types (orchestrator-api 12.2 and 14).

use crate::enumeration;

enumeration! {
    /// Who sees an asset.
    pub AssetScope {
        /// Every robot sees the same value.
        Global = 0,
        /// Each robot has its own value.
        PerRobot = 1,
    }
}

enumeration! {
    /// What an asset stores. The other types of the wire have no documented number.
    pub AssetType {
        /// A text.
        Text = 2,
        /// True or false.
        Bool = 3,
        /// A 32-bit number.
        Integer = 4,
        /// A user name and a password.
        Credential = 5,
    }
}
