//! `performer asset`: named values for transactions. What is secret is written and never shown, and never an argument: it is typed, piped,
//! or read from a file.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{ArgGroup, Args, Subcommand};
use performer_core::model::asset::{
    Asset, AssetScope, AssetSettings, AssetType, AssetValue, KeyValue, NewAsset, NewValue, ValueOf,
};
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{Administration, AssetAdministration};
use performer_wire::asset::{OwnerNames, asset_response};
use serde_json::Value;

use super::GlobalArgs;
use super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::secret_input::read_secret;

/// List, set, show, share and delete assets: named values that transactions read, such as thresholds and passwords
#[derive(Subcommand)]
pub(super) enum Assets {
    List(List),
    Show(Show),
    Set(Box<Set>),
    Delete(Delete),
    Share(Share),
}

/// List the assets; what is secret in them is not shown
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer asset list\n  \
performer asset list --json")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Show an asset with all its values; what is secret in them is not shown
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer asset show Threshold\n  \
performer asset show SAP --json")]
pub(super) struct Show {
    /// The name of the asset
    name: String,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Set the value of an asset, and create it if it does not exist
#[derive(Args)]
#[command(
    group = ArgGroup::new("value").required(true).args(["text", "integer", "boolean", "pair", "credential", "secret", "no_value"]),
    after_help = "\
A password or secret is asked for on a terminal, read from stdin otherwise, or from the file of --from. A line break at its end is left out.\n\
The type of an asset cannot change: delete it first. Without --user, --machine and --robot the value is everybody's.\n\n\
Examples:\n  \
performer asset set Threshold --integer 500\n  \
performer asset set Address --text https://erp.example.com --description 'where invoices are posted'\n  \
performer asset set Address --text https://test.example.com --user 5\n  \
performer asset set Mapping --pair DE=Germany --pair FR=France\n  \
cat password.txt | performer asset set SAP --credential ann\n  \
performer asset set Token --secret --from /run/secrets/token"
)]
pub(super) struct Set {
    /// The name of the asset
    name: String,
    /// A text
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    text: Option<String>,
    /// A whole number of 32 bits
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    integer: Option<i32>,
    /// True or false
    #[arg(long = "bool", id = "boolean", value_name = "true|false")]
    boolean: Option<bool>,
    /// A pair of a list; can be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pair: Vec<String>,
    /// The user name of a credential, whose password is read
    #[arg(long, value_name = "USER NAME")]
    credential: Option<String>,
    /// A secret, which is read
    #[arg(long)]
    secret: bool,
    /// Change the description alone
    #[arg(long, requires = "description")]
    no_value: bool,
    /// The file with the password or secret; - for stdin
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What the asset is for; an empty text removes it
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    #[command(flatten)]
    of: Owner,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Whose value it is.
#[derive(Args)]
struct Owner {
    /// The value of this user, by its number
    #[arg(long, value_name = "ID")]
    user: Option<i64>,
    /// The value on this machine, by its number; with --user, of that user on it
    #[arg(long, value_name = "ID")]
    machine: Option<i64>,
    /// The value of this robot, by its number
    #[arg(long, value_name = "ID", conflicts_with_all = ["user", "machine"])]
    robot: Option<i64>,
}

/// Delete an asset, or the value of a user, machine or robot
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer asset delete Threshold\n  \
performer asset delete Address --user 5")]
pub(super) struct Delete {
    /// The name of the asset
    name: String,
    #[command(flatten)]
    of: Owner,
    #[command(flatten)]
    global: GlobalArgs,
}

/// Add an asset to folders of a server, or remove it from some; it is one asset in all of them
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer asset share SAP --add 7\n  \
performer asset share SAP --add 7 --remove 1")]
pub(super) struct Share {
    /// The name of the asset
    name: String,
    /// The number of a folder to add it to; can be repeated
    #[arg(long, value_name = "ID", required_unless_present = "remove")]
    add: Vec<i64>,
    /// The number of a folder to remove it from; can be repeated
    #[arg(long, value_name = "ID")]
    remove: Vec<i64>,
    #[command(flatten)]
    global: GlobalArgs,
}

impl Assets {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run().await,
            Self::Show(show) => show.run().await,
            Self::Set(set) => set.run().await,
            Self::Delete(delete) => delete.run().await,
            Self::Share(share) => share.run().await,
        }
    }
}

impl Owner {
    fn of(&self) -> ValueOf {
        match (self.user, self.machine, self.robot) {
            (Some(user), Some(machine), _) => ValueOf::UserOnMachine { user, machine },
            (Some(user), None, _) => ValueOf::User(user),
            (None, Some(machine), _) => ValueOf::Machine(machine),
            (None, None, Some(robot)) => ValueOf::Robot(robot),
            (None, None, None) => ValueOf::Everybody,
        }
    }
}

/// The assets of a back end, which it has to have.
fn of_back_end(orchestrator: &Arc<dyn Administration>) -> Result<&dyn AssetAdministration, CliError> {
    orchestrator.assets().ok_or_else(|| CliError::failed("this back end has no assets"))
}

/// The names of users and robots are known to a server alone.
struct NoNames;

impl OwnerNames for NoNames {
    fn user(&self, _: i64) -> Option<&str> {
        None
    }

    fn robot(&self, _: i64) -> Option<&str> {
        None
    }
}

/// An asset as the API shows it. Over HTTP its folders are not known.
fn as_json(asset: &Asset) -> Value {
    let mut object = asset_response(asset, &NoNames);
    if let Some(members) = object.as_object_mut()
        && asset.folders.is_empty()
    {
        members.remove("FoldersCount");
    }
    object
}

/// A value as a table shows it.
fn shown(value: &AssetValue) -> String {
    match value {
        AssetValue::Text(text) => text.clone(),
        AssetValue::Bool(value) => value.to_string(),
        AssetValue::Integer(value) => value.to_string(),
        AssetValue::Credential { user_name } => format!("{user_name}, with a password"),
        AssetValue::KeyValueList(pairs) => {
            let pairs: Vec<String> =
                pairs.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect();
            pairs.join(", ")
        }
        AssetValue::Secret => "a secret".to_owned(),
    }
}

const COLUMNS: [Column; 6] = [
    Column::plain("ID"),
    Column::text("NAME"),
    Column::plain("TYPE"),
    Column::text("VALUE"),
    Column::plain("VALUES"),
    Column::text("DESCRIPTION"),
];

impl List {
    async fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let orchestrator = self.global.connect().await?;
        let assets = of_back_end(&orchestrator)?.list_assets().await?;
        format.print_as(&assets, as_json, &COLUMNS, |asset: &Asset| {
            vec![
                asset.id.to_string(),
                asset.name.clone(),
                asset.value_type.to_string(),
                asset.value(ValueOf::Everybody).map(shown).unwrap_or_default(),
                asset.values.len().to_string(),
                asset.description.clone().unwrap_or_default(),
            ]
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let asset = of_back_end(&orchestrator)?.get_asset(&self.name).await?;
        if output::is_json() {
            output::json(&as_json(&asset))?;
            return Ok(ExitCode::SUCCESS);
        }
        let owners: Vec<String> = asset.values.iter().map(|value| format!("Value of {}", value.of)).collect();
        let mut pairs = vec![
            ("Asset", asset.name.clone()),
            ("Id", asset.id.to_string()),
            ("Type", asset.value_type.to_string()),
            ("Scope", asset.scope.to_string()),
            ("Description", asset.description.clone().unwrap_or_default()),
        ];
        pairs.extend(owners.iter().zip(&asset.values).map(|(of, value)| (of.as_str(), shown(&value.value))));
        output::list(&pairs)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Set {
    async fn run(mut self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let assets = of_back_end(&orchestrator)?;
        let value = self.take_value()?;
        let there = match assets.get_asset(&self.name).await {
            Ok(asset) => Some(asset),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error.into()),
        };
        let (asset, what) = match (there, value) {
            (None, Some(value)) => (assets.create_asset(self.new_asset(value)).await?, "created"),
            (None, None) => return Err(CliError::not_found(format!("asset {:?} does not exist", self.name))),
            (Some(asset), value) => (self.change(assets, asset, value).await?, "set"),
        };
        if output::is_json() {
            output::json(&as_json(&asset))?;
        } else {
            output::line(format!("asset {:?} was {what}", asset.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    async fn change(
        &mut self,
        assets: &dyn AssetAdministration,
        asset: Asset,
        value: Option<NewValue>,
    ) -> Result<Asset, CliError> {
        let Some(description) = self.description.take() else {
            let value = value.ok_or_else(|| CliError::usage("nothing is to be changed"))?;
            return Ok(assets.set_asset_value(&asset.name, value).await?);
        };
        // The settings and the values are written together.
        let mut changed = asset.clone();
        if let Some(value) = &value {
            changed.set_value(value.of, value.value.clone())?;
        }
        let (new_of, secret) = value.map(|value| (value.of, value.secret)).unzip();
        let values = changed.values.into_iter().map(|known| NewValue {
            secret: secret.clone().flatten().filter(|_| new_of == Some(known.of)),
            of: known.of,
            value: known.value,
        });
        let about = AssetSettings {
            name: changed.name,
            description: Some(description).filter(|text| !text.is_empty()),
            value_type: changed.value_type,
            scope: changed.scope,
        };
        Ok(assets.update_asset(&asset.name, NewAsset::with_values(about, values.collect())).await?)
    }

    fn new_asset(&mut self, value: NewValue) -> NewAsset {
        let scope = if value.of == ValueOf::Everybody { AssetScope::Global } else { AssetScope::PerRobot };
        let about = AssetSettings {
            name: self.name.clone(),
            description: self.description.take().filter(|text| !text.is_empty()),
            value_type: value.value.value_type(),
            scope,
        };
        NewAsset::with_values(about, vec![value])
    }

    /// The value of the options, with what is secret.
    fn take_value(&mut self) -> Result<Option<NewValue>, CliError> {
        let of = self.of.of();
        let value = if let Some(text) = self.text.take() {
            AssetValue::Text(text)
        } else if let Some(value) = self.integer {
            AssetValue::Integer(value)
        } else if let Some(value) = self.boolean {
            AssetValue::Bool(value)
        } else if let Some(user_name) = self.credential.take() {
            AssetValue::Credential { user_name }
        } else if self.secret {
            AssetValue::Secret
        } else if self.no_value {
            return Ok(None);
        } else {
            AssetValue::KeyValueList(self.pair.iter().map(|pair| as_pair(pair)).collect::<Result<_, _>>()?)
        };
        let secret = match (value.value_type(), &self.from) {
            (AssetType::Credential, from) => Some(read_secret("password", from.as_deref())?),
            (AssetType::Secret, from) => Some(read_secret("secret", from.as_deref())?),
            (_, None) => None,
            (_, Some(_)) => return Err(CliError::usage("--from is for --credential and --secret")),
        };
        Ok(Some(NewValue { of, value, secret }))
    }
}

fn as_pair(text: &str) -> Result<KeyValue, CliError> {
    let pair =
        text.split_once('=').map(|(key, value)| KeyValue { key: key.to_owned(), value: value.to_owned() });
    pair.ok_or_else(|| CliError::usage(format!("{text:?} is no pair, as in KEY=VALUE")))
}

impl Delete {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let assets = of_back_end(&orchestrator)?;
        let of = self.of.of();
        let asset = assets.get_asset(&self.name).await?;
        let deleted = if of == ValueOf::Everybody {
            assets.delete_asset(&asset.name).await?;
            format!("asset {:?}", asset.name)
        } else {
            assets.remove_asset_value(&asset.name, of).await?;
            format!("the value of {of} of the asset {:?}", asset.name)
        };
        if output::is_json() {
            let of = (of != ValueOf::Everybody).then(|| of.to_string());
            output::json(&serde_json::json!({ "Deleted": asset.name, "ValueOf": of }))?;
        } else {
            output::line(format!("{deleted} was deleted"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Share {
    async fn run(self) -> CommandResult {
        let orchestrator = self.global.connect().await?;
        let assets = of_back_end(&orchestrator)?;
        let folders = |ids: Vec<i64>| ids.into_iter().map(FolderId).collect();
        assets.share_asset(&self.name, folders(self.add), folders(self.remove)).await?;
        if output::is_json() {
            output::json(&serde_json::json!({ "Shared": self.name }))?;
        } else {
            output::line(format!("the folders of the asset {:?} were changed", self.name))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
