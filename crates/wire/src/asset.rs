//! Assets (orchestrator-api 14): the bodies of new and edited ones, what plain reads return, and what a robot reads. No Debug here: these
//! bodies contain secrets.
//!
//! Over 500 lines, because what a client writes and what a server reads and answers are kept beside each other, with the tests that compare them.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
#[cfg(feature = "server")]
use serde_json::{Value, json};

use super::{ApiTime, EnumValue, Unreadable};
use performer_core::model::Refusal;
use performer_core::model::asset::{
    Asset, AssetId, AssetScope, AssetSettings, AssetType, AssetValue, KeyValue, NewAsset, NewValue,
    OwnedValue, RobotAsset, ValueOf,
};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{AssetKey, FolderId};

/// A value, whatever its type: the member of the type counts.
#[derive(Default)]
pub struct WireValue {
    pub value_type: Option<EnumValue<AssetType>>,
    /// The value as a text, whatever its type. Read where the member of the type is absent.
    pub value: Option<String>,
    pub string_value: Option<String>,
    pub bool_value: Option<bool>,
    pub int_value: Option<i64>,
    pub credential_username: Option<String>,
    pub credential_password: Option<SecretString>,
    pub secret_value: Option<SecretString>,
    pub key_value_list: Option<Vec<KeyValue>>,
}

/// A struct that has the members of a value beside its own. (Flattened ones would be read in one letter case only.)
macro_rules! with_value {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)+ }) => {
        $(#[$meta])*
        #[derive(Default, Serialize, Deserialize)]
        #[serde(rename_all = "PascalCase")]
        pub struct $name {
            $($(#[$field_meta])* pub $field: $type,)+
            #[serde(default, skip_serializing_if = "Option::is_none")]
            value_type: Option<EnumValue<AssetType>>,
            #[serde(default, skip_serializing)]
            value: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            string_value: Option<String>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            bool_value: Option<bool>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            int_value: Option<i64>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            credential_username: Option<String>,
            #[serde(
                default, skip_serializing_if = "Option::is_none", serialize_with = "exposed", deserialize_with = "secret"
            )]
            credential_password: Option<SecretString>,
            #[serde(
                default, skip_serializing_if = "Option::is_none", serialize_with = "exposed", deserialize_with = "secret"
            )]
            secret_value: Option<SecretString>,
            #[serde(default, skip_serializing_if = "Option::is_none")]
            key_value_list: Option<Vec<KeyValue>>,
        }

        impl $name {
            /// Puts a value in.
            pub fn set_value(&mut self, value: WireValue) {
                self.value_type = value.value_type;
                self.value = value.value;
                self.string_value = value.string_value;
                self.bool_value = value.bool_value;
                self.int_value = value.int_value;
                self.credential_username = value.credential_username;
                self.credential_password = value.credential_password;
                self.secret_value = value.secret_value;
                self.key_value_list = value.key_value_list;
            }

            /// Takes the value out.
            pub fn take_value(&mut self) -> WireValue {
                WireValue {
                    value_type: self.value_type.take(),
                    value: self.value.take(),
                    string_value: self.string_value.take(),
                    bool_value: self.bool_value.take(),
                    int_value: self.int_value.take(),
                    credential_username: self.credential_username.take(),
                    credential_password: self.credential_password.take(),
                    secret_value: self.secret_value.take(),
                    key_value_list: self.key_value_list.take(),
                }
            }
        }
    };
}

/// The secret goes over the wire to where it is kept.
fn exposed<S: Serializer>(secret: &Option<SecretString>, serializer: S) -> Result<S::Ok, S::Error> {
    secret.as_ref().map(SecretString::expose_secret).serialize(serializer)
}

/// An empty secret is none: plain reads show one, and what was read may be sent back.
fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SecretString>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    Ok(text.filter(|text| !text.is_empty()).map(SecretString::from))
}

impl WireValue {
    /// The wire form of a value.
    pub fn of(value: &AssetValue, secret: Option<&SecretString>) -> Self {
        let mut dto = Self { value_type: Some(value.value_type().into()), ..Self::default() };
        match value {
            AssetValue::Text(text) => dto.string_value = Some(text.clone()),
            AssetValue::Bool(value) => dto.bool_value = Some(*value),
            AssetValue::Integer(value) => dto.int_value = Some((*value).into()),
            AssetValue::KeyValueList(pairs) => dto.key_value_list = Some(pairs.clone()),
            AssetValue::Credential { user_name } => {
                dto.credential_username = Some(user_name.clone());
                dto.credential_password = secret.cloned();
            }
            AssetValue::Secret => dto.secret_value = secret.cloned(),
        }
        dto
    }

    /// The type, if one is named.
    ///
    /// # Errors
    ///
    /// Code 1009 for a type that assets do not have here.
    pub fn named_type(&self) -> Result<Option<AssetType>, Refusal> {
        self.value_type.as_ref().map(known_type).transpose()
    }

    /// Whether it has a value of a type.
    fn has(&self, value_type: AssetType) -> bool {
        match value_type {
            AssetType::Text => self.string_value.is_some() || self.value.is_some(),
            AssetType::Bool => self.bool_value.is_some() || self.value.is_some(),
            AssetType::Integer => self.int_value.is_some() || self.value.is_some(),
            AssetType::Credential => {
                self.credential_username.as_deref().is_some_and(|name| !name.is_empty())
                    || self.credential_password.is_some()
            }
            AssetType::KeyValueList => self.key_value_list.is_some(),
            AssetType::Secret => self.secret_value.is_some(),
        }
    }

    /// The value of a type, and its secret part.
    ///
    /// # Errors
    ///
    /// Code 1014 for a member that is missing; code 1009 for one that is wrong.
    pub fn into_value(self, value_type: AssetType) -> Result<(AssetValue, Option<SecretString>), Refusal> {
        let missing = |name: &str| {
            Refusal::new(ErrorCode::PARAMETER_MISSING, format!("the parameter {name} is missing"))
        };
        let wrong =
            |name: &str| Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("invalid argument '{name}'"));
        let value = match value_type {
            AssetType::Text => {
                AssetValue::Text(self.string_value.or(self.value).ok_or_else(|| missing("StringValue"))?)
            }
            AssetType::Bool => AssetValue::Bool(match (self.bool_value, &self.value) {
                (Some(value), _) => value,
                (None, Some(text)) => text.to_ascii_lowercase().parse().map_err(|_| wrong("Value"))?,
                (None, None) => return Err(missing("BoolValue")),
            }),
            AssetType::Integer => AssetValue::Integer(match (self.int_value, &self.value) {
                (Some(value), _) => i32::try_from(value).map_err(|_| wrong("IntValue"))?,
                (None, Some(text)) => text.trim().parse().map_err(|_| wrong("Value"))?,
                (None, None) => return Err(missing("IntValue")),
            }),
            AssetType::Credential => {
                let user_name = self.credential_username.ok_or_else(|| missing("CredentialUsername"))?;
                return Ok((AssetValue::Credential { user_name }, self.credential_password));
            }
            AssetType::KeyValueList => {
                AssetValue::KeyValueList(self.key_value_list.ok_or_else(|| missing("KeyValueList"))?)
            }
            AssetType::Secret => return Ok((AssetValue::Secret, self.secret_value)),
        };
        Ok((value, None))
    }
}

fn known_type(value_type: &EnumValue<AssetType>) -> Result<AssetType, Refusal> {
    value_type.known().ok_or_else(|| {
        let shown: String = value_type.to_string().chars().take(60).collect();
        Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("ValueType cannot be {shown:?}"))
    })
}

with_value! {
    /// The value of a user, a robot or a machine.
    OwnedValueDto {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user_id: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        machine_id: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        robot_id: Option<i64>,
    }
}

impl OwnedValueDto {
    fn of(value: &NewValue) -> Self {
        let (user_id, machine_id, robot_id) = numbers(value.of);
        let mut dto = Self { user_id, machine_id, robot_id, ..Self::default() };
        dto.set_value(WireValue::of(&value.value, value.secret.as_ref()));
        dto
    }

    /// Whose value it is. 0 stands for none, as clients send it.
    fn owner(&self) -> Result<ValueOf, Refusal> {
        let some = |id: Option<i64>| id.filter(|id| *id != 0);
        match (some(self.user_id), some(self.machine_id), some(self.robot_id)) {
            (Some(user), Some(machine), None) => Ok(ValueOf::UserOnMachine { user, machine }),
            (Some(user), None, None) => Ok(ValueOf::User(user)),
            (None, Some(machine), None) => Ok(ValueOf::Machine(machine)),
            (None, None, Some(robot)) => Ok(ValueOf::Robot(robot)),
            _ => {
                let message = "a value names a user, a machine, both, or a robot";
                Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, message))
            }
        }
    }
}

fn numbers(of: ValueOf) -> (Option<i64>, Option<i64>, Option<i64>) {
    match of {
        ValueOf::Everybody => (None, None, None),
        ValueOf::Machine(machine) => (None, Some(machine), None),
        ValueOf::Robot(robot) => (None, None, Some(robot)),
        ValueOf::User(user) => (Some(user), None, None),
        ValueOf::UserOnMachine { user, machine } => (Some(user), Some(machine), None),
    }
}

with_value! {
    /// An asset: the body of a new or edited one, and what a plain read returns.
    AssetDto {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        #[serde(default, skip_serializing)]
        key: Option<String>,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        value_scope: Option<EnumValue<AssetScope>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_default_value: Option<bool>,
        #[serde(default, skip_serializing)]
        creation_time: Option<ApiTime>,
        #[serde(default, skip_serializing)]
        creator_user_id: Option<i64>,
        #[serde(default, skip_serializing)]
        last_modification_time: Option<ApiTime>,
        #[serde(default, skip_serializing)]
        last_modifier_user_id: Option<i64>,
        #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        user_values: Vec<OwnedValueDto>,
        #[serde(default, deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
        robot_values: Vec<OwnedValueDto>,
    }
}

/// A list, which clients also send as null.
fn list<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl AssetDto {
    /// The body for a new or edited asset.
    pub fn of(new: &NewAsset) -> Self {
        let AssetSettings { name, description, value_type, scope } = &new.about;
        let default = new.values.iter().find(|value| value.of == ValueOf::Everybody);
        let value = default.map_or_else(WireValue::default, |default| {
            WireValue::of(&default.value, default.secret.as_ref())
        });
        let special = |value: &&NewValue| value.of != ValueOf::Everybody;
        let (robots, users): (Vec<&NewValue>, Vec<&NewValue>) =
            new.values.iter().filter(special).partition(|value| matches!(value.of, ValueOf::Robot(_)));
        let dtos = |values: Vec<&NewValue>| values.into_iter().map(OwnedValueDto::of).collect();
        let mut dto = Self {
            name: name.clone(),
            description: description.clone(),
            value_scope: Some((*scope).into()),
            has_default_value: Some(default.is_some()),
            user_values: dtos(users),
            robot_values: dtos(robots),
            ..Self::default()
        };
        dto.set_value(WireValue { value_type: Some((*value_type).into()), ..value });
        dto
    }

    /// The new asset. `existing`: the type of the asset that is edited, which need not be repeated.
    ///
    /// # Errors
    ///
    /// Code 1014 for a member that is missing; code 1009 for one that is wrong; code 1502 for another type.
    pub fn into_new(mut self, existing: Option<AssetType>) -> Result<NewAsset, Refusal> {
        let own = self.take_value();
        let missing = |name: &str| {
            Refusal::new(ErrorCode::PARAMETER_MISSING, format!("the parameter {name} is missing"))
        };
        let scope = self.value_scope.as_ref().ok_or_else(|| missing("ValueScope"))?;
        let scope = scope.known().ok_or_else(|| {
            let shown: String = scope.to_string().chars().take(60).collect();
            Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("ValueScope cannot be {shown:?}"))
        })?;
        let value_type = match (own.named_type()?, existing) {
            (Some(named), Some(existing)) => {
                performer_core::model::asset::check_type(existing, named)?;
                existing
            }
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => return Err(missing("ValueType")),
        };
        // Old clients do not say whether there is a default.
        let has_default =
            scope == AssetScope::Global || self.has_default_value.unwrap_or_else(|| own.has(value_type));
        let mut values = Vec::with_capacity(self.user_values.len() + self.robot_values.len() + 1);
        if has_default {
            let (value, secret) = own.into_value(value_type)?;
            values.push(NewValue { of: ValueOf::Everybody, value, secret });
        }
        for mut owned in self.user_values.into_iter().chain(self.robot_values) {
            let of = owned.owner()?;
            let (value, secret) = owned.take_value().into_value(value_type)?;
            values.push(NewValue { of, value, secret });
        }
        let description = self.description.filter(|text| !text.is_empty());
        let about = AssetSettings { name: self.name, description, value_type, scope };
        Ok(NewAsset::with_values(about, values))
    }

    /// The asset that a plain read returned.
    ///
    /// # Errors
    ///
    /// If it has a type or a scope that this version does not know, or lacks what it needs.
    pub fn into_asset(self) -> Result<Asset, Unreadable> {
        let created = self.creation_time.map(|time| time.0);
        let (creator, modifier) = (self.creator_user_id, self.last_modifier_user_id);
        let modified = self.last_modification_time.map(|time| time.0);
        let name = self.name.clone();
        let unreadable = |what: &str| Unreadable(format!("the asset {name:?} has no {what} that is known"));
        let id = AssetId(self.id.ok_or_else(|| unreadable("Id"))?);
        let key = self.key.as_deref().and_then(|key| key.parse().ok());
        let new =
            self.into_new(None).map_err(|refusal| Unreadable(format!("the asset {name:?}: {refusal}")))?;
        let key = key.unwrap_or_else(|| AssetKey::from_bytes([0; 16]));
        let mut asset = Asset::new(key, new.about, FolderId::SHARED, created.unwrap_or_default());
        asset.id = id;
        asset.folders.clear(); // which they are is not said
        (asset.creator, asset.modified, asset.modifier) = (creator, modified, modifier);
        asset.values =
            new.values.into_iter().map(|value| OwnedValue { of: value.of, value: value.value }).collect();
        asset.values.sort_by_key(|value| value.of);
        Ok(asset)
    }
}

with_value! {
    /// The value of an asset as a robot reads it, and as it writes one.
    UserAssetDto {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<i64>,
        name: String,
    }
}

impl UserAssetDto {
    /// The value that the robot was given.
    ///
    /// # Errors
    ///
    /// If its type is not known, or it lacks the value.
    pub fn into_asset(mut self) -> Result<RobotAsset, Unreadable> {
        let value = self.take_value();
        let name = self.name;
        let read = value.named_type().and_then(|named| {
            let value_type = named.ok_or_else(|| {
                Refusal::new(ErrorCode::PARAMETER_MISSING, "the parameter ValueType is missing")
            })?;
            value.into_value(value_type)
        });
        let (value, secret) = read.map_err(|refusal| Unreadable(format!("the asset {name:?}: {refusal}")))?;
        Ok(RobotAsset { id: AssetId(self.id.unwrap_or_default()), name, value, secret })
    }
}

/// The body of GetRobotAssetByNameForRobotKey. Without a key, performer's own server takes the robot of the caller.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RobotAssetRequest {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub robot_key: Option<String>,
    pub asset_name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_credentials_proxy_disconnected: Option<bool>,
}

/// The body of SetRobotAssetByRobotKey.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetRobotAssetRequest {
    pub robot_key: String,
    pub robot_asset: UserAssetDto,
}

/// The body of ShareToFolders: assets to add to folders and to remove from others.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ShareAssetsRequest {
    pub asset_ids: Vec<i64>,
    pub to_add_folder_ids: Option<Vec<i64>>,
    pub to_remove_folder_ids: Option<Vec<i64>>,
}

/// The names that belong to an asset.
#[cfg(feature = "server")]
pub trait OwnerNames {
    fn user(&self, id: i64) -> Option<&str>;
    fn robot(&self, id: i64) -> Option<&str>;
}

/// The text form of a value, as plain reads show it.
#[cfg(feature = "server")]
fn shown_text(value: &AssetValue) -> String {
    match value {
        AssetValue::Text(text) => text.clone(),
        AssetValue::Bool(true) => "True".to_owned(),
        AssetValue::Bool(false) => "False".to_owned(),
        AssetValue::Integer(value) => value.to_string(),
        AssetValue::Credential { user_name } => format!("username: {user_name}"),
        AssetValue::KeyValueList(pairs) => json!(pairs).to_string(),
        AssetValue::Secret => String::new(),
    }
}

/// Adds the members of a value to an object; those of other types are empty, as the vendor's document says.
#[cfg(feature = "server")]
fn add_value(
    object: &mut Value,
    value_type: AssetType,
    value: Option<&AssetValue>,
    secret: Option<&SecretString>,
) {
    let exposed = |wanted: AssetType| {
        let secret = secret.filter(|_| value_type == wanted).map(|secret| secret.expose_secret());
        Value::from(secret.unwrap_or_default())
    };
    object["ValueType"] = value_type.name().into();
    object["StringValue"] = if let Some(AssetValue::Text(text)) = value { text.as_str() } else { "" }.into();
    object["BoolValue"] = matches!(value, Some(AssetValue::Bool(true))).into();
    object["IntValue"] = if let Some(AssetValue::Integer(value)) = value { *value } else { 0 }.into();
    object["CredentialUsername"] =
        if let Some(AssetValue::Credential { user_name }) = value { user_name.as_str() } else { "" }.into();
    object["CredentialPassword"] = exposed(AssetType::Credential);
    object["SecretValue"] = exposed(AssetType::Secret);
    object["ExternalName"] = Value::Null;
    object["CredentialStoreId"] = Value::Null;
    object["KeyValueList"] =
        if let Some(AssetValue::KeyValueList(pairs)) = value { json!(pairs) } else { json!([]) };
}

/// What plain reads return of an asset: never what is secret.
#[cfg(feature = "server")]
pub fn asset_response(asset: &Asset, names: &impl OwnerNames) -> Value {
    let default = asset.value(ValueOf::Everybody);
    let mut object = json!({
        "Key": asset.key.to_string(), "Name": asset.name, "CanBeDeleted": true, "ValueScope": asset.scope.name(),
        "Value": default.map(shown_text).unwrap_or_default(),
    });
    add_value(&mut object, asset.value_type, default, None);
    let of_robots = |value: &&OwnedValue| matches!(value.of, ValueOf::Robot(_));
    let special = asset.values.iter().filter(|value| value.of != ValueOf::Everybody);
    let (robots, users): (Vec<&OwnedValue>, Vec<&OwnedValue>) = special.partition(of_robots);
    let owned = |value: &OwnedValue| {
        let (user, machine, robot) = numbers(value.of);
        let mut object = json!({ "Name": asset.name, "Value": shown_text(&value.value) });
        if let Some(robot) = robot {
            object["RobotId"] = robot.into();
            object["RobotName"] = names.robot(robot).into();
            object["KeyTrail"] = Value::Null;
        } else {
            object["UserId"] = user.into();
            object["UserName"] = user.and_then(|user| names.user(user)).into();
            object["MachineId"] = machine.into();
            object["MachineName"] = Value::Null;
        }
        add_value(&mut object, asset.value_type, Some(&value.value), None);
        object["Id"] = Value::Null;
        object
    };
    object["HasDefaultValue"] = default.is_some().into();
    object["Description"] = asset.description.as_deref().into();
    object["RobotValues"] = robots.into_iter().map(owned).collect();
    object["UserValues"] = users.into_iter().map(owned).collect();
    object["Tags"] = json!([]);
    object["FoldersCount"] = asset.folders.len().into();
    object["LastModificationTime"] = json!(asset.modified.map(ApiTime));
    object["LastModifierUserId"] = asset.modifier.into();
    object["CreationTime"] = json!(ApiTime(asset.created));
    object["CreatorUserId"] = asset.creator.into();
    object["Id"] = asset.id.0.into();
    object
}

/// What a robot reads, with what is secret.
#[cfg(feature = "server")]
pub fn robot_asset_response(asset: &RobotAsset) -> Value {
    let mut object = json!({ "Name": asset.name });
    add_value(&mut object, asset.value.value_type(), Some(&asset.value), asset.secret.as_ref());
    object["ConnectionData"] = Value::Null;
    object["Id"] = asset.id.0.into();
    object
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    fn new(body: &str) -> Result<NewAsset, Refusal> {
        let body = crate::json::request::<AssetDto>(body.as_bytes());
        body.expect("the body is an asset").into_new(None)
    }

    #[test]
    fn every_type_is_read_from_its_member_or_from_the_text() {
        for (members, expected) in [
            (r#""ValueType":"Text","StringValue":"a""#, AssetValue::Text("a".to_owned())),
            (r#""ValueType":2,"Value":"a""#, AssetValue::Text("a".to_owned())),
            (r#""ValueType":"bool","BoolValue":true"#, AssetValue::Bool(true)),
            (r#""ValueType":"Bool","Value":"True""#, AssetValue::Bool(true)),
            (r#""ValueType":"Integer","IntValue":-7"#, AssetValue::Integer(-7)),
            (r#""ValueType":"4","Value":"7""#, AssetValue::Integer(7)),
            (
                r#""valuetype":"KeyValueList","keyvaluelist":[{"Key":"k","Value":"v"}]"#,
                AssetValue::KeyValueList(vec![KeyValue { key: "k".to_owned(), value: "v".to_owned() }]),
            ),
        ] {
            let asset = new(&format!(r#"{{"Name":"n","ValueScope":"Global",{members}}}"#)).unwrap();
            assert_eq!((asset.values.len(), &asset.values[0].value), (1, &expected), "{members}");
        }
        let credential =
            r#""ValueType":"Credential","CredentialUsername":"ann","CredentialPassword":"hunter2""#;
        let asset = new(&format!(r#"{{"Name":"n","ValueScope":0,{credential}}}"#)).unwrap();
        assert_eq!(asset.values[0].secret.as_ref().unwrap().expose_secret(), "hunter2");
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (members, code) in [
            (r#""ValueScope":"Global""#, 1014),
            (r#""ValueScope":"Global","ValueType":"Text""#, 1014),
            (r#""ValueScope":"Global","ValueType":"Bool","Value":"x""#, 1009),
            (r#""ValueScope":"Global","ValueType":"Integer","IntValue":3000000000"#, 1009),
            (r#""ValueScope":"Global","ValueType":"WindowsCredential""#, 1009),
            (r#""ValueScope":"All","ValueType":"Text","StringValue":"""#, 1009),
            (r#""ValueScope":"PerRobot","ValueType":"Text","UserValues":[{"StringValue":"x"}]"#, 1009),
            (r#""ValueScope":"PerRobot","ValueType":"Text","UserValues":[{"UserId":5}]"#, 1014),
            (
                r#""ValueScope":"PerRobot","ValueType":"Text","UserValues":[{"UserId":5,"RobotId":1,"StringValue":""}]"#,
                1009,
            ),
        ] {
            let refused = new(&format!(r#"{{"Name":"n",{members}}}"#)).unwrap_err();
            assert_eq!(refused.code().number(), code, "{members}: {refused}");
        }
    }

    #[test]
    fn a_default_is_there_if_it_is_said_or_given() {
        let owners = |members: &str| {
            let asset =
                new(&format!(r#"{{"Name":"n","ValueScope":"PerRobot","ValueType":"Text",{members}}}"#));
            asset.unwrap().values.iter().map(|value| value.of).collect::<Vec<_>>()
        };
        let user = r#""UserValues":[{"UserId":5,"MachineId":0,"StringValue":"x"},{"UserId":5,"MachineId":3,"StringValue":"y"}]"#;
        let users = [ValueOf::User(5), ValueOf::UserOnMachine { user: 5, machine: 3 }];
        assert_eq!(owners(user), users);
        assert_eq!(
            owners(&format!(r#""HasDefaultValue":false,"StringValue":"","RobotValues":null,{user}"#)),
            users
        );
        assert_eq!(owners(r#""StringValue":"z""#), [ValueOf::Everybody]);
        assert_eq!(
            owners(
                r#""RobotValues":[{"RobotId":2,"StringValue":"x"}],"UserValues":[{"MachineId":3,"StringValue":"x"}]"#
            ),
            [ValueOf::Machine(3), ValueOf::Robot(2)]
        );
    }

    #[test]
    fn what_a_client_writes_the_server_reads() {
        let about = AssetSettings {
            name: "SAP".to_owned(),
            description: Some("d".to_owned()),
            value_type: AssetType::Credential,
            scope: AssetScope::PerRobot,
        };
        let values = [ValueOf::Everybody, ValueOf::User(5), ValueOf::Robot(2)]
            .map(|of| NewValue::credential(of, format!("{of}"), Some(format!("secret of {of}").into())));
        let body = serde_json::to_string(&AssetDto::of(&NewAsset::with_values(about.clone(), values.into())))
            .unwrap();
        let read = new(&body).unwrap();
        assert_eq!(read.about, about);
        for value in &read.values {
            assert_eq!(value.value, AssetValue::Credential { user_name: value.of.to_string() });
            assert_eq!(value.secret.as_ref().unwrap().expose_secret(), format!("secret of {}", value.of));
        }
        assert_eq!(read.values.len(), 3);
    }
}
