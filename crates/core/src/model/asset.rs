//! Assets: named values that transactions read, such as thresholds, addresses and passwords (orchestrator-api 12.2 and 14).
//!
//! An asset has one value for everybody, or, per robot, values of its own for users, robots and machines. The secret part of a
//! value is no part of it here: it travels beside it, as a [`SecretString`], and a store keeps it encrypted.
//!
//! Over 500 lines, because the types, their limits and whose value counts are one set of rules.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::key::{AssetKey, FolderId};
use super::refusal::Refusal;
use crate::enumeration;

/// The longest name, in UTF-16 code units.
pub const NAME_LIMIT: usize = 256;

/// The longest description, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 250;

/// The longest text, and the most that the keys and values of a list have together, in UTF-16 code units.
pub const TEXT_LIMIT: usize = 1_000_000;

/// The longest user name of a credential, in UTF-16 code units.
pub const USER_NAME_LIMIT: usize = 512;

/// The longest password or secret, in UTF-16 code units.
pub const SECRET_LIMIT: usize = 25_000;

/// The most values of one asset. The limit is ours, as the next two.
pub const MAX_VALUES: usize = 1_000;

/// The most pairs of a list.
pub const MAX_PAIRS: usize = 1_000;

/// The longest texts of all values of one asset together, in UTF-16 code units.
pub const TEXTS_LIMIT: usize = 4 * TEXT_LIMIT;

enumeration! {
    /// Who sees an asset.
    pub AssetScope {
        /// Every robot sees the same value.
        Global = 0,
        /// Users, robots and machines may have values of their own.
        PerRobot = 1,
    }
}

enumeration! {
    /// What an asset stores. The first four numbers are documented, the others are the places in the vendor's enumeration.
    pub AssetType {
        /// A text.
        Text = 2,
        /// True or false.
        Bool = 3,
        /// A 32-bit number.
        Integer = 4,
        /// A user name and a password.
        Credential = 5,
        /// Pairs of a key and a value.
        KeyValueList = 7,
        /// A secret text.
        Secret = 8,
    }
}

impl AssetType {
    /// Whether its values have a secret part, which plain reads do not return.
    pub const fn has_secret(self) -> bool {
        matches!(self, Self::Credential | Self::Secret)
    }
}

/// The number of an asset. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AssetId(pub i64);

impl fmt::Display for AssetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whose value it is. From the general to the special: of the values that are meant for a reader the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ValueOf {
    /// Of everybody who has no value of their own: the default.
    Everybody,
    /// Of every robot on this machine.
    Machine(i64),
    /// Of this robot.
    Robot(i64),
    /// Of this user, on whatever machine.
    User(i64),
    /// Of this user on this machine.
    UserOnMachine {
        /// The user.
        user: i64,
        /// The machine.
        machine: i64,
    },
}

impl ValueOf {
    /// Whether the value is meant for a reader.
    pub fn is_for(self, reader: &AssetReader) -> bool {
        match self {
            Self::Everybody => true,
            Self::Machine(machine) => reader.machine == Some(machine),
            Self::Robot(robot) => reader.robot == Some(robot),
            Self::User(user) => reader.user == Some(user),
            Self::UserOnMachine { user, machine } => {
                (reader.user, reader.machine) == (Some(user), Some(machine))
            }
        }
    }
}

/// As it is stored: `everybody`, `machine 3`, `robot 4`, `user 5`, `user 5 machine 3`.
impl fmt::Display for ValueOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everybody => f.write_str("everybody"),
            Self::Machine(machine) => write!(f, "machine {machine}"),
            Self::Robot(robot) => write!(f, "robot {robot}"),
            Self::User(user) => write!(f, "user {user}"),
            Self::UserOnMachine { user, machine } => write!(f, "user {user} machine {machine}"),
        }
    }
}

/// A text that does not say whose value it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} does not say whose value it is")]
pub struct InvalidValueOf(String);

impl FromStr for ValueOf {
    type Err = InvalidValueOf;

    fn from_str(text: &str) -> Result<Self, InvalidValueOf> {
        let invalid = || InvalidValueOf(text.to_owned());
        let number = |text: &str| text.parse::<i64>().map_err(|_| invalid());
        match text.split(' ').collect::<Vec<_>>()[..] {
            ["everybody"] => Ok(Self::Everybody),
            ["machine", machine] => Ok(Self::Machine(number(machine)?)),
            ["robot", robot] => Ok(Self::Robot(number(robot)?)),
            ["user", user] => Ok(Self::User(number(user)?)),
            ["user", user, "machine", machine] => {
                Ok(Self::UserOnMachine { user: number(user)?, machine: number(machine)? })
            }
            _ => Err(invalid()),
        }
    }
}

impl Serialize for ValueOf {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ValueOf {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Who reads an asset. A caller that opened a store without a server has no user and no robot, and reads the value of everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AssetReader {
    /// The user of a server.
    pub user: Option<i64>,
    /// The robot of that user.
    pub robot: Option<i64>,
    /// The machine.
    pub machine: Option<i64>,
}

impl AssetReader {
    /// Reads as this user. Default: none.
    #[must_use]
    pub fn user(mut self, user: impl Into<Option<i64>>) -> Self {
        self.user = user.into();
        self
    }

    /// Reads as this robot. Default: none.
    #[must_use]
    pub fn robot(mut self, robot: impl Into<Option<i64>>) -> Self {
        self.robot = robot.into();
        self
    }

    /// Reads on this machine. Default: none.
    #[must_use]
    pub fn machine(mut self, machine: impl Into<Option<i64>>) -> Self {
        self.machine = machine.into();
        self
    }
}

/// A pair of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct KeyValue {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
}

/// A value without its secret part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AssetValue {
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// A number.
    Integer(i32),
    /// A user name; the password is its secret part.
    Credential {
        /// The user name.
        user_name: String,
    },
    /// Pairs, in this order.
    KeyValueList(Vec<KeyValue>),
    /// All of it is secret.
    Secret,
}

impl AssetValue {
    /// Its type.
    pub const fn value_type(&self) -> AssetType {
        match self {
            Self::Text(_) => AssetType::Text,
            Self::Bool(_) => AssetType::Bool,
            Self::Integer(_) => AssetType::Integer,
            Self::Credential { .. } => AssetType::Credential,
            Self::KeyValueList(_) => AssetType::KeyValueList,
            Self::Secret => AssetType::Secret,
        }
    }

    /// The length of its texts, in UTF-16 code units.
    fn text_units(&self) -> usize {
        match self {
            Self::Text(text) => units(text),
            Self::Credential { user_name } => units(user_name),
            Self::KeyValueList(pairs) => pairs.iter().map(|pair| units(&pair.key) + units(&pair.value)).sum(),
            Self::Bool(_) | Self::Integer(_) | Self::Secret => 0,
        }
    }

    fn validate(&self) -> Result<(), Refusal> {
        let (what, limit) = match self {
            Self::Credential { .. } => ("the user name of a credential", USER_NAME_LIMIT),
            Self::KeyValueList(_) => ("a list of keys and values", TEXT_LIMIT),
            _ => ("the text of an asset", TEXT_LIMIT),
        };
        check_length(what, self.text_units(), 0, limit)?;
        let Self::KeyValueList(pairs) = self else { return Ok(()) };
        if pairs.len() > MAX_PAIRS {
            return Err(invalid(format!("a list has {} pairs; it has at most {MAX_PAIRS}", pairs.len())));
        }
        let mut keys: Vec<&str> = pairs.iter().map(|pair| pair.key.as_str()).collect();
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(invalid(format!("the key {:?} is in the list twice", pair[0]))),
            None => Ok(()),
        }
    }
}

/// A value of an asset, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct OwnedValue {
    /// Whose it is.
    pub of: ValueOf,
    /// The value, without its secret part.
    pub value: AssetValue,
}

/// An asset as plain reads show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Asset {
    /// Its number.
    pub id: AssetId,
    /// Its key.
    pub key: AssetKey,
    /// Its name, unique in each of its folders, ignoring case.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What it stores; never changes.
    pub value_type: AssetType,
    /// Who sees it.
    pub scope: AssetScope,
    /// Its values, the one of everybody first.
    pub values: Vec<OwnedValue>,
    /// The folders that it is in, the first one first.
    pub folders: Vec<FolderId>,
    /// When it was made.
    pub created: Timestamp,
    /// The user who made it, if there are users.
    pub creator: Option<i64>,
    /// When it was changed last.
    pub modified: Option<Timestamp>,
    /// The user who changed it last, if there are users.
    pub modifier: Option<i64>,
}

impl Asset {
    /// A new asset with these settings, in a folder.
    pub fn new(key: AssetKey, about: AssetSettings, folder: FolderId, now: Timestamp) -> Self {
        let AssetSettings { name, description, value_type, scope } = about;
        Self {
            id: AssetId(0),
            key,
            name,
            description,
            value_type,
            scope,
            values: Vec::new(),
            folders: vec![folder],
            created: now,
            creator: None,
            modified: None,
            modifier: None,
        }
    }

    /// The value for a user, a robot, a machine or everybody.
    pub fn value(&self, of: ValueOf) -> Option<&AssetValue> {
        self.values.iter().find(|value| value.of == of).map(|value| &value.value)
    }

    /// The value that a reader gets: that for the user on the machine, else that of the user, else that of the robot, else that of the
    /// machine, else that of everybody.
    ///
    /// # Errors
    ///
    /// Code 1503 if there is none.
    pub fn value_for(&self, reader: &AssetReader) -> Result<&OwnedValue, Refusal> {
        let meant = self.values.iter().filter(|value| value.of.is_for(reader));
        meant.max_by_key(|value| value.of).ok_or_else(|| {
            let message =
                format!("the asset {:?} does not have a value associated with this robot", self.name);
            Refusal::new(ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT, message)
        })
    }

    /// Sets or replaces a value. One that is not of everybody makes a global asset one per robot.
    ///
    /// # Errors
    ///
    /// Code 1502 for a value of another type.
    pub fn set_value(&mut self, of: ValueOf, value: AssetValue) -> Result<(), Refusal> {
        check_type(self.value_type, value.value_type())?;
        if of != ValueOf::Everybody {
            self.scope = AssetScope::PerRobot;
        }
        self.values.retain(|known| known.of != of);
        self.values.push(OwnedValue { of, value });
        self.values.sort_by_key(|value| value.of);
        self.check_values()
    }

    /// Removes the value for a user, a robot, a machine or everybody.
    ///
    /// # Errors
    ///
    /// Code 1503 if there is none; code 1009 for the only value of a global asset.
    pub fn remove_value(&mut self, of: ValueOf) -> Result<(), Refusal> {
        if self.value(of).is_none() {
            let message = format!("the asset {:?} has no value of {of}", self.name);
            return Err(Refusal::new(ErrorCode::ASSET_NOT_AVAILABLE_FOR_ROBOT, message));
        }
        self.values.retain(|known| known.of != of);
        self.check_values()
    }

    fn check_values(&self) -> Result<(), Refusal> {
        check_owners(self.scope, self.values.iter().map(|value| value.of))?;
        let all: usize = self.values.iter().map(|value| value.value.text_units()).sum();
        check_length("the values of an asset together", all, 0, TEXTS_LIMIT)
    }

    /// Refuses a change by someone who may not change assets in all its folders; `None`: who may everywhere.
    ///
    /// # Errors
    ///
    /// Code 1017.
    pub fn may_be_changed_by(&self, reach: Option<&[FolderId]>) -> Result<(), Refusal> {
        if reach.is_none_or(|reach| self.folders.iter().all(|folder| reach.contains(folder))) {
            return Ok(());
        }
        let message =
            format!("asset {:?} is shared with a folder where you may not change assets", self.name);
        Err(Refusal::new(ErrorCode::FORBIDDEN_OPERATION, message))
    }
}

/// The settings of an asset, without its values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssetSettings {
    /// Its name, 1 to [`NAME_LIMIT`] code units.
    pub name: String,
    /// What it is for, up to [`DESCRIPTION_LIMIT`] code units.
    pub description: Option<String>,
    /// What it stores.
    pub value_type: AssetType,
    /// Who sees it.
    pub scope: AssetScope,
}

/// A new value of an asset.
#[derive(Clone, Debug)]
pub struct NewValue {
    /// Whose it is.
    pub of: ValueOf,
    /// The value, without its secret part.
    pub value: AssetValue,
    /// The secret part. `None` keeps the one that there is.
    pub secret: Option<SecretString>,
}

impl NewValue {
    /// A value without a secret part.
    pub fn plain(of: ValueOf, value: AssetValue) -> Self {
        Self { of, value, secret: None }
    }

    /// A user name and a password. `None` keeps the password that there is.
    pub fn credential(of: ValueOf, user_name: impl Into<String>, password: Option<SecretString>) -> Self {
        Self { of, value: AssetValue::Credential { user_name: user_name.into() }, secret: password }
    }

    /// A secret.
    pub fn secret(of: ValueOf, secret: SecretString) -> Self {
        Self { of, value: AssetValue::Secret, secret: Some(secret) }
    }

    /// Checks the value. An empty secret counts as none.
    ///
    /// # Errors
    ///
    /// Code 1015 for what is too long; code 1009 for a secret part where the type has none, and for a list that has a key twice.
    pub fn validate(&self) -> Result<(), Refusal> {
        self.value.validate()?;
        let Some(secret) = &self.secret else { return Ok(()) };
        if !self.value.value_type().has_secret() {
            return Err(invalid(format!("a value of the type {} has no secret", self.value.value_type())));
        }
        check_length("a password or secret", units(secret.expose_secret()), 0, SECRET_LIMIT)
    }
}

/// The refusal of a value that needs a secret part and has none, because there is none to keep.
pub fn missing_secret(value_type: AssetType, of: ValueOf) -> Refusal {
    let code = match (value_type, of) {
        (AssetType::Credential, ValueOf::User(_) | ValueOf::UserOnMachine { .. }) => {
            ErrorCode::CREDENTIAL_ASSET_EMPTY_PASSWORD_FOR_NEW_USER
        }
        (AssetType::Credential, ValueOf::Robot(_)) => ErrorCode::CREDENTIAL_ASSET_EMPTY_FOR_NEW_ROBOT,
        (value_type, of) => {
            let name = if value_type == AssetType::Secret { "SecretValue" } else { "CredentialPassword" };
            let message = format!("the parameter {name} is missing for the value of {of}");
            return Refusal::new(ErrorCode::PARAMETER_MISSING, message);
        }
    };
    let whom = if code == ErrorCode::CREDENTIAL_ASSET_EMPTY_FOR_NEW_ROBOT { "robot" } else { "user" };
    Refusal::new(code, format!("a credential asset cannot have an empty password for a new {whom}"))
}

/// An asset to create, or what an asset becomes. A name, a type and a value for everybody are the least.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NewAsset {
    /// Its settings.
    pub about: AssetSettings,
    /// Its values.
    pub values: Vec<NewValue>,
}

impl NewAsset {
    /// An asset that has the same value for everybody.
    pub fn global(name: impl Into<String>, value: NewValue) -> Self {
        let (value_type, scope) = (value.value.value_type(), AssetScope::Global);
        let about = AssetSettings { name: name.into(), description: None, value_type, scope };
        Self { about, values: vec![NewValue { of: ValueOf::Everybody, ..value }] }
    }

    /// An asset that has these values.
    pub fn with_values(about: AssetSettings, values: Vec<NewValue>) -> Self {
        Self { about, values }
    }

    /// Sets what it is for. Default: nothing is said.
    #[must_use]
    pub fn description(mut self, description: impl Into<Option<String>>) -> Self {
        self.about.description = description.into();
        self
    }

    /// Checks the settings and the values.
    ///
    /// # Errors
    ///
    /// Code 1015 for what is too long; code 1009 for an empty name, values of the wrong type, two values of the same user, a global
    /// asset without a value or with several, and what [`NewValue::validate`] refuses.
    pub fn validate(&self) -> Result<(), Refusal> {
        let AssetSettings { name, description, value_type, scope } = &self.about;
        validate_name(name)?;
        let description = description.as_deref().map_or(0, units);
        check_length("the description of an asset", description, 0, DESCRIPTION_LIMIT)?;
        check_owners(*scope, self.values.iter().map(|value| value.of))?;
        for value in &self.values {
            value.validate()?;
            if value.value.value_type() != *value_type {
                let found = value.value.value_type();
                return Err(invalid(format!(
                    "an asset of the type {value_type} has a value of the type {found}"
                )));
            }
        }
        let all: usize = self.values.iter().map(|value| value.value.text_units()).sum();
        check_length("the values of an asset together", all, 0, TEXTS_LIMIT)
    }
}

/// Checks the name of an asset.
///
/// # Errors
///
/// Code 1009 for an empty name, and one with a control character; code 1015 for one that is too long.
pub fn validate_name(name: &str) -> Result<(), Refusal> {
    if name.trim().is_empty() {
        return Err(invalid("the name of an asset must not be empty".to_owned()));
    }
    if let Some(control) = name.chars().find(|c| c.is_control()) {
        return Err(invalid(format!("the name of an asset must not contain {control:?}")));
    }
    check_length("the name of an asset", units(name), 1, NAME_LIMIT)
}

/// Checks that the type of an asset stays what it is.
///
/// # Errors
///
/// Code 1502.
pub fn check_type(is: AssetType, wanted: AssetType) -> Result<(), Refusal> {
    if is == wanted {
        return Ok(());
    }
    let message = format!("the asset type cannot be updated: it is {is}, not {wanted}");
    Err(Refusal::new(ErrorCode::ASSET_TYPE_NON_UPDATABLE, message))
}

/// Checks whose values an asset has.
fn check_owners(scope: AssetScope, owners: impl Iterator<Item = ValueOf>) -> Result<(), Refusal> {
    let mut owners: Vec<ValueOf> = owners.collect();
    owners.sort_unstable();
    if scope == AssetScope::Global && owners != [ValueOf::Everybody] {
        return Err(invalid("a global asset has one value, which is everybody's".to_owned()));
    }
    if owners.len() > MAX_VALUES {
        return Err(invalid(format!("an asset has {} values; it has at most {MAX_VALUES}", owners.len())));
    }
    match owners.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(invalid(format!("there are two values of {}", pair[0]))),
        None => Ok(()),
    }
}

fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

fn check_length(what: &str, units: usize, least: usize, most: usize) -> Result<(), Refusal> {
    if (least..=most).contains(&units) {
        return Ok(());
    }
    let message = format!("{what} has {units} code units; it should have between {least} and {most}");
    Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
}

fn invalid(message: String) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message)
}

/// The value of an asset with its secret part, as its reader gets it.
#[derive(Clone, Debug)]
pub struct RobotAsset {
    /// The number of the asset.
    pub id: AssetId,
    /// Its name.
    pub name: String,
    /// The value.
    pub value: AssetValue,
    /// Its secret part, for a credential and a secret.
    pub secret: Option<SecretString>,
}

/// A user name and a password.
#[derive(Clone, Debug)]
pub struct Credential {
    /// The user name.
    pub user_name: String,
    /// The password.
    pub password: SecretString,
}

#[cfg(test)]
mod tests;
