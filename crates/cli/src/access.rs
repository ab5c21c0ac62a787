//! `performer access`: manages the access to a server, in the server's store.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::environment;
use super::output::{self, CliError, Column, CommandResult, ListFormat, ListOutput};
use super::store_url::StoreUrl;
use super::whoami::WhoAmI;
use performer_core::model::user::UserType;
use performer_server::directory::{AUTOMATION, User};
use performer_server::permission::Scopes;
use performer_server::{AccessAdmin, Roles};
use performer_store::Store;

/// Manage the applications, users, tokens, robots and folders of a server
///
/// The commands change the server's store. A running server notices a change within a second.
#[derive(Subcommand)]
pub(super) enum Access {
    List(List),
    AddClient(AddClient),
    RemoveClient(RemoveClient),
    AddUser(AddUser),
    RemoveUser(RemoveUser),
    AddToken(AddToken),
    RevokeTokens(RevokeTokens),
    AddRobot(AddRobot),
    AddFolder(AddFolder),
    #[command(name = "whoami")]
    WhoAmI(WhoAmI),
}

/// Opens the directory of a server's store.
async fn open_access(store: &StoreUrl) -> Result<AccessAdmin, CliError> {
    let store = Store::open(&store.get()?).await?.acting_as(environment::actor());
    Ok(AccessAdmin::open(&store).await?)
}

#[derive(Args)]
struct RoleArgs {
    /// A role: Administrator, Automation User or Viewer; can be repeated
    #[arg(long, default_value = AUTOMATION, value_name = "ROLE")]
    role: Vec<String>,
    /// Grant the roles only in this folder and its subfolders; can be repeated
    #[arg(long, value_name = "FOLDER")]
    folder: Vec<String>,
}

impl RoleArgs {
    fn to_roles(&self) -> Roles {
        Roles { roles: self.role.clone(), folders: self.folder.clone() }
    }
}

/// List the folders, applications, users, robots and tokens
#[derive(Args)]
#[command(after_help = "\
JSON and CSV have an entry for each, whose kind is Folder, Application, User, Robot or Token:\n\n  \
performer access list --store sqlite:orchestrator.db\n  \
performer access list --store sqlite:orchestrator.db -o jsonl")]
pub(super) struct List {
    #[command(flatten)]
    output: ListOutput,
    #[command(flatten)]
    store: StoreUrl,
}

/// Add an application, and print its id and its secret, which is shown only once
#[derive(Args)]
pub(super) struct AddClient {
    /// The name of the application
    name: String,
    /// The scopes that it may request, separated by spaces
    #[arg(long, default_value = "OR.Queues OR.Jobs OR.Folders.Read", value_name = "SCOPES")]
    scopes: String,
    #[command(flatten)]
    roles: RoleArgs,
    #[command(flatten)]
    store: StoreUrl,
}

/// Remove an application and invalidate its tokens
#[derive(Args)]
pub(super) struct RemoveClient {
    /// The id of the application
    id: String,
    #[command(flatten)]
    store: StoreUrl,
}

/// Add a user
#[derive(Args)]
pub(super) struct AddUser {
    /// The name to log in with
    name: String,
    /// The type of the user: User, Robot, DirectoryUser or DirectoryGroup
    #[arg(long = "type", default_value = "User", value_name = "TYPE")]
    user_type: UserType,
    /// Read a password from stdin
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    roles: RoleArgs,
    #[command(flatten)]
    store: StoreUrl,
}

/// Remove a user, with its tokens and robots
#[derive(Args)]
pub(super) struct RemoveUser {
    /// The name of the user
    name: String,
    #[command(flatten)]
    store: StoreUrl,
}

/// Create a personal access token, and print it; it is shown only once
#[derive(Args)]
pub(super) struct AddToken {
    /// The user of the token
    user: String,
    /// A name of the token, for its revocation
    #[arg(long, default_value = "token", value_name = "NAME")]
    name: String,
    /// The scopes of the token, separated by spaces
    #[arg(long, default_value = "OrchestratorApiUserAccess", value_name = "SCOPES")]
    scopes: String,
    /// The number of days until it expires
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    #[command(flatten)]
    store: StoreUrl,
}

/// Revoke personal access tokens of a user
#[derive(Args)]
pub(super) struct RevokeTokens {
    /// The name of the user
    user: String,
    /// Revoke only the token with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    store: StoreUrl,
}

/// Add a robot that runs as a user, and print its key
#[derive(Args)]
pub(super) struct AddRobot {
    /// The name of the robot
    name: String,
    /// The user that it runs as
    user: String,
    #[command(flatten)]
    store: StoreUrl,
}

/// Add a folder
#[derive(Args)]
pub(super) struct AddFolder {
    /// The full name of the folder, such as Shared/Finance; its parent must exist
    name: String,
    #[command(flatten)]
    store: StoreUrl,
}

impl Access {
    pub(super) async fn run(self) -> CommandResult {
        match self {
            Self::WhoAmI(who) => return who.run().await,
            Self::List(list) => list.run().await?,
            Self::AddClient(add) => {
                let access_admin = open_access(&add.store).await?;
                let (id, secret) =
                    access_admin.add_client(&add.name, &add.scopes, &add.roles.to_roles()).await?;
                if output::is_json() {
                    output::json(&json!({ "ClientId": id, "ClientSecret": secret }))?;
                } else {
                    let secret = format!("{secret}   (shown once)");
                    output::list(&[("client id", id), ("client secret", secret)])?;
                }
            }
            Self::RemoveClient(remove) => {
                open_access(&remove.store).await?.remove_client(&remove.id).await?;
            }
            Self::AddUser(add) => {
                let password = if add.password_stdin { Some(password()?) } else { None };
                let access_admin = open_access(&add.store).await?;
                let id =
                    access_admin.add_user(&add.name, add.user_type, password, &add.roles.to_roles()).await?;
                answer(
                    &json!({ "Id": id, "Name": add.name }),
                    format!("user {:?} has the id {id}", add.name),
                )?;
            }
            Self::RemoveUser(remove) => open_access(&remove.store).await?.remove_user(&remove.name).await?,
            Self::AddToken(add) => {
                let life = Duration::from_secs(add.days * 86_400);
                let access_admin = open_access(&add.store).await?;
                let token = access_admin.add_token(&add.user, &add.name, &add.scopes, life).await?;
                answer(&json!({ "Token": token }), token)?;
            }
            Self::RevokeTokens(revoke) => {
                let access_admin = open_access(&revoke.store).await?;
                let count = access_admin.revoke_tokens(&revoke.user, revoke.name.as_deref()).await?;
                answer(&json!({ "Revoked": count }), format!("{count} tokens were revoked"))?;
            }
            Self::AddRobot(add) => {
                let key = open_access(&add.store).await?.add_robot(&add.name, &add.user).await?;
                answer(&json!({ "Key": key }), key.to_string())?;
            }
            Self::AddFolder(add) => {
                let id = open_access(&add.store).await?.add_folder(&add.name).await?;
                answer(
                    &json!({ "Id": id, "Name": add.name }),
                    format!("folder {:?} has the id {id}", add.name),
                )?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Prints what was done: as JSON, or as a line.
fn answer(value: &serde_json::Value, text: String) -> Result<(), CliError> {
    if output::is_json() { output::json(value) } else { output::line(text) }
}

/// Reads the password from the first line of stdin.
fn password() -> Result<String, CliError> {
    let mut text = String::new();
    std::io::stdin().take(4_096).read_to_string(&mut text)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(CliError::usage("--password-stdin: stdin contains no password"));
    }
    Ok(password.to_owned())
}

/// A row of `performer access list`. Its fields have the names of the API, in the order of [`AccessEntry::COLUMNS`].
#[derive(Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct AccessEntry {
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    id: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    key: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    scopes: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    roles: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<Timestamp>,
}

impl AccessEntry {
    const COLUMNS: [Column; 9] = [
        Column::plain("KIND"),
        Column::plain("ID"),
        Column::text("NAME"),
        Column::plain("KEY"),
        Column::plain("TYPE"),
        Column::text("USER"),
        Column::text("SCOPES"),
        Column::text("ROLES"),
        Column::plain("EXPIRES"),
    ];

    fn row(&self) -> Vec<String> {
        let Self { id, name, key, r#type, user, scopes, roles, .. } = self;
        let texts = [id, name, key, r#type, user, scopes, roles].map(Clone::clone);
        let ends = [output::time_or_empty(self.expires)];
        std::iter::once(self.kind.to_owned()).chain(texts).chain(ends).collect()
    }
}

/// The tables that are printed on a terminal: the heading of each, the kind of its entries, and its columns.
const TABLES: [(&str, &str, &[&str]); 5] = [
    ("Folders", "Folder", &["ID", "NAME", "KEY"]),
    ("Applications", "Application", &["ID", "NAME", "SCOPES", "ROLES"]),
    ("Users", "User", &["ID", "NAME", "TYPE", "ROLES"]),
    ("Robots", "Robot", &["ID", "NAME", "KEY"]),
    ("Personal access tokens", "Token", &["USER", "NAME", "SCOPES", "EXPIRES"]),
];

impl List {
    async fn run(self) -> Result<(), CliError> {
        let format = self.output.format()?;
        let entries = entries(&open_access(&self.store).await?).await?;
        if format != ListFormat::Table {
            return format.print(&entries, &AccessEntry::COLUMNS, AccessEntry::row);
        }
        for (at, (heading, kind, heads)) in TABLES.iter().enumerate() {
            output::line(format!("{}{heading}", if at == 0 { "" } else { "\n" }))?;
            let of_table = |head: &&str| AccessEntry::COLUMNS.iter().position(|column| column.is_named(head));
            let places: Vec<usize> = heads.iter().filter_map(of_table).collect();
            let columns: Vec<Column> = places.iter().map(|place| AccessEntry::COLUMNS[*place]).collect();
            let cells = |entry: &AccessEntry| {
                let row = entry.row();
                places.iter().map(|place| row[*place].clone()).collect()
            };
            let rows: Vec<_> = entries.iter().filter(|entry| entry.kind == *kind).map(cells).collect();
            output::table(&columns, &rows)?;
        }
        Ok(())
    }
}

/// The folders, applications, users, robots and tokens of a server.
async fn entries(access_admin: &AccessAdmin) -> Result<Vec<AccessEntry>, CliError> {
    let directory = access_admin.directory();
    let roles = |user: &User| {
        let name = |id: &i64| directory.role(*id).map(|role| role.name.clone()).unwrap_or_default();
        let mut words: Vec<String> = user.tenant_roles.iter().map(name).collect();
        for (folder, roles) in &user.folder_roles {
            let folder = directory.full_name(performer_core::model::key::FolderId(*folder));
            words.extend(roles.iter().map(|role| format!("{} in {folder}", name(role))));
        }
        words.join(", ")
    };
    let mut entries: Vec<AccessEntry> = Vec::new();
    entries.extend(directory.folders().map(|folder| AccessEntry {
        kind: "Folder",
        id: folder.id.to_string(),
        name: directory.full_name(folder.id),
        key: folder.key.to_string(),
        ..AccessEntry::default()
    }));
    entries.extend(access_admin.clients().into_iter().map(|(client, user)| AccessEntry {
        kind: "Application",
        id: client.id,
        name: client.name,
        scopes: client.scopes.to_string(),
        roles: user.as_ref().map(roles).unwrap_or_default(),
        ..AccessEntry::default()
    }));
    entries.extend(directory.users().map(|user| AccessEntry {
        kind: "User",
        id: user.id.to_string(),
        name: user.user_name.clone(),
        r#type: user.user_type.to_string(),
        roles: roles(user),
        ..AccessEntry::default()
    }));
    entries.extend(access_admin.robots().into_iter().map(|robot| AccessEntry {
        kind: "Robot",
        id: robot.id.to_string(),
        name: robot.name,
        key: robot.key.to_string(),
        ..AccessEntry::default()
    }));
    entries.extend(access_admin.tokens().await?.into_iter().filter_map(|(user, token)| {
        Some(AccessEntry {
            kind: "Token",
            name: token.name?,
            user: user.user_name,
            scopes: Scopes::from(token.scopes).to_string(),
            expires: Some(token.expires),
            ..AccessEntry::default()
        })
    }));
    Ok(entries)
}
