//! `performer access`: manages the access to a server, in the server's store.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{self, CliError, CommandResult};
use super::store_url::StoreUrl;
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
}

/// Opens the directory of a server's store.
async fn open_access(store: &StoreUrl) -> Result<AccessAdmin, CliError> {
    Ok(AccessAdmin::open(&Store::open(&store.get()?).await?).await?)
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
pub(super) struct List {
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
            Self::List(list) => list.run().await?,
            Self::AddClient(add) => {
                let access_admin = open_access(&add.store).await?;
                let (id, secret) =
                    access_admin.add_client(&add.name, &add.scopes, &add.roles.to_roles()).await?;
                output::list(&[("client id", id), ("client secret", format!("{secret}   (shown once)"))])?;
            }
            Self::RemoveClient(remove) => {
                open_access(&remove.store).await?.remove_client(&remove.id).await?;
            }
            Self::AddUser(add) => {
                let password = if add.password_stdin { Some(password()?) } else { None };
                let access_admin = open_access(&add.store).await?;
                let id =
                    access_admin.add_user(&add.name, add.user_type, password, &add.roles.to_roles()).await?;
                output::line(format!("user {:?} has the id {id}", add.name))?;
            }
            Self::RemoveUser(remove) => open_access(&remove.store).await?.remove_user(&remove.name).await?,
            Self::AddToken(add) => {
                let life = Duration::from_secs(add.days * 86_400);
                let access_admin = open_access(&add.store).await?;
                output::line(access_admin.add_token(&add.user, &add.name, &add.scopes, life).await?)?;
            }
            Self::RevokeTokens(revoke) => {
                let access_admin = open_access(&revoke.store).await?;
                let count = access_admin.revoke_tokens(&revoke.user, revoke.name.as_deref()).await?;
                output::line(format!("{count} tokens were revoked"))?;
            }
            Self::AddRobot(add) => {
                let key = open_access(&add.store).await?.add_robot(&add.name, &add.user).await?;
                output::line(key.to_string())?;
            }
            Self::AddFolder(add) => {
                let id = open_access(&add.store).await?.add_folder(&add.name).await?;
                output::line(format!("folder {:?} has the id {id}", add.name))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
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

impl List {
    async fn run(self) -> Result<(), CliError> {
        let access_admin = open_access(&self.store).await?;
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
        output::line("Folders")?;
        let rows: Vec<Vec<String>> = directory
            .folders()
            .map(|folder| vec![folder.id.to_string(), directory.full_name(folder.id), folder.key.to_string()])
            .collect();
        output::table(&["ID", "NAME", "KEY"], &rows)?;
        output::line("\nApplications")?;
        let rows: Vec<Vec<String>> = access_admin
            .clients()
            .into_iter()
            .map(|(client, user)| {
                vec![
                    client.id,
                    client.name,
                    client.scopes.to_string(),
                    user.as_ref().map(roles).unwrap_or_default(),
                ]
            })
            .collect();
        output::table(&["ID", "NAME", "SCOPES", "ROLES"], &rows)?;
        output::line("\nUsers")?;
        let rows: Vec<Vec<String>> = directory
            .users()
            .map(|user| {
                vec![user.id.to_string(), user.user_name.clone(), user.user_type.to_string(), roles(user)]
            })
            .collect();
        output::table(&["ID", "NAME", "TYPE", "ROLES"], &rows)?;
        output::line("\nRobots")?;
        let rows: Vec<Vec<String>> = access_admin
            .robots()
            .into_iter()
            .map(|robot| vec![robot.id.to_string(), robot.name, robot.key.to_string()])
            .collect();
        output::table(&["ID", "NAME", "KEY"], &rows)?;
        output::line("\nPersonal access tokens")?;
        let named = access_admin.tokens().await?.into_iter().filter_map(|(user, token)| {
            let scopes = Scopes::from(token.scopes).to_string();
            Some(vec![user.user_name, token.name?, scopes, token.expires.to_string()])
        });
        output::table(&["USER", "NAME", "SCOPES", "EXPIRES"], &named.collect::<Vec<_>>())
    }
}
