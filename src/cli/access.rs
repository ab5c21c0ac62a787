//! `performer access`: who may do what on a server, set on its store.

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::output::{self, Done, Problem};
use crate::model::directory::{AUTOMATION, User};
use crate::model::user::UserType;
use crate::orchestrator::local::Local;
use crate::server::{AccessAdmin, Roles};

/// Says who may do what on a server: applications, users, tokens, robots, folders
///
/// Works on the server's store, also while the server runs; it knows within a second.
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

#[derive(Args)]
struct Store {
    /// The store of the server
    #[arg(
        long,
        env = "PERFORMER_STORE",
        default_value = "sqlite:orchestrator.db",
        value_name = "URL",
        hide_env_values = true
    )]
    store: String,
}

impl Store {
    async fn keeper(&self) -> Result<AccessAdmin, Problem> {
        Ok(AccessAdmin::open(&Local::open(&self.store).await?).await?)
    }
}

#[derive(Args)]
struct Given {
    /// A role; may be given several times. There are Administrator, Automation User and Viewer
    #[arg(long, default_value = AUTOMATION, value_name = "ROLE")]
    role: Vec<String>,
    /// Only in this folder and those below it; may be given several times
    #[arg(long, value_name = "FOLDER")]
    folder: Vec<String>,
}

impl Given {
    fn roles(&self) -> Roles {
        Roles { roles: self.role.clone(), folders: self.folder.clone() }
    }
}

/// Lists folders, roles, applications, users, robots and tokens
#[derive(Args)]
pub(super) struct List {
    #[command(flatten)]
    store: Store,
}

/// Adds an application; prints its id and, once, its secret
#[derive(Args)]
pub(super) struct AddClient {
    /// Its name
    name: String,
    /// What it may ask for, separated by spaces
    #[arg(long, default_value = "OR.Queues OR.Jobs OR.Folders.Read", value_name = "SCOPES")]
    scopes: String,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    store: Store,
}

/// Removes an application; its tokens are worth nothing any more
#[derive(Args)]
pub(super) struct RemoveClient {
    /// Its id
    id: String,
    #[command(flatten)]
    store: Store,
}

/// Adds a user
#[derive(Args)]
pub(super) struct AddUser {
    /// The name to log in with
    name: String,
    /// What it is: User, Robot, DirectoryUser or DirectoryGroup
    #[arg(long = "type", default_value = "User", value_name = "TYPE")]
    user_type: UserType,
    /// Reads a password from what comes in
    #[arg(long)]
    password_stdin: bool,
    #[command(flatten)]
    given: Given,
    #[command(flatten)]
    store: Store,
}

/// Removes a user, with its tokens and robots
#[derive(Args)]
pub(super) struct RemoveUser {
    /// Its name
    name: String,
    #[command(flatten)]
    store: Store,
}

/// Makes a personal access token; prints it, once
#[derive(Args)]
pub(super) struct AddToken {
    /// The user it acts as
    user: String,
    /// What it is called, to revoke it by
    #[arg(long, default_value = "token", value_name = "NAME")]
    name: String,
    /// What it may be used for, separated by spaces
    #[arg(long, default_value = "OrchestratorApiUserAccess", value_name = "SCOPES")]
    scopes: String,
    /// After how many days it ends
    #[arg(long, default_value_t = 90, value_name = "DAYS", value_parser = clap::value_parser!(u64).range(1..=3_650))]
    days: u64,
    #[command(flatten)]
    store: Store,
}

/// Takes tokens of a user back
#[derive(Args)]
pub(super) struct RevokeTokens {
    /// The user
    user: String,
    /// Only the one with this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    #[command(flatten)]
    store: Store,
}

/// Adds a robot that runs as a user; prints its key
#[derive(Args)]
pub(super) struct AddRobot {
    /// Its name
    name: String,
    /// The user it runs as
    user: String,
    #[command(flatten)]
    store: Store,
}

/// Adds a folder
#[derive(Args)]
pub(super) struct AddFolder {
    /// Its full name, as in Shared/Finance; the folders it is in must be there
    name: String,
    #[command(flatten)]
    store: Store,
}

impl Access {
    pub(super) async fn run(self) -> Done {
        match self {
            Self::List(list) => list.run().await?,
            Self::AddClient(add) => {
                let keeper = add.store.keeper().await?;
                let (id, secret) = keeper.add_client(&add.name, &add.scopes, &add.given.roles()).await?;
                output::list(&[("client id", id), ("client secret", format!("{secret}   (shown once)"))])?;
            }
            Self::RemoveClient(remove) => remove.store.keeper().await?.remove_client(&remove.id).await?,
            Self::AddUser(add) => {
                let password = if add.password_stdin { Some(password()?) } else { None };
                let keeper = add.store.keeper().await?;
                let id = keeper.add_user(&add.name, add.user_type, password, &add.given.roles()).await?;
                output::line(format!("user {:?} has the number {id}", add.name))?;
            }
            Self::RemoveUser(remove) => remove.store.keeper().await?.remove_user(&remove.name).await?,
            Self::AddToken(add) => {
                let life = Duration::from_secs(add.days * 86_400);
                let keeper = add.store.keeper().await?;
                output::line(keeper.add_token(&add.user, &add.name, &add.scopes, life).await?)?;
            }
            Self::RevokeTokens(revoke) => {
                let keeper = revoke.store.keeper().await?;
                let count = keeper.revoke_tokens(&revoke.user, revoke.name.as_deref()).await?;
                output::line(format!("{count} tokens were revoked"))?;
            }
            Self::AddRobot(add) => {
                let key = add.store.keeper().await?.add_robot(&add.name, &add.user).await?;
                output::line(key.to_string())?;
            }
            Self::AddFolder(add) => {
                let id = add.store.keeper().await?.add_folder(&add.name).await?;
                output::line(format!("folder {:?} has the number {id}", add.name))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The first line that comes in.
fn password() -> Result<String, Problem> {
    let mut text = String::new();
    std::io::stdin().take(4_096).read_to_string(&mut text)?;
    let password = text.lines().next().unwrap_or_default();
    if password.is_empty() {
        return Err(Problem::usage("--password-stdin: nothing came in"));
    }
    Ok(password.to_owned())
}

impl List {
    async fn run(self) -> Result<(), Problem> {
        let keeper = self.store.keeper().await?;
        let directory = keeper.directory();
        let roles = |user: &User| {
            let name = |id: &i64| directory.role(*id).map(|role| role.name.clone()).unwrap_or_default();
            let mut words: Vec<String> = user.tenant_roles.iter().map(name).collect();
            for (folder, roles) in &user.folder_roles {
                let folder = directory.full_name(crate::model::key::FolderId(*folder));
                words.extend(roles.iter().map(|role| format!("{} in {folder}", name(role))));
            }
            words.join(", ")
        };
        output::line("Folders")?;
        let rows: Vec<Vec<String>> = directory
            .folders()
            .map(|folder| vec![folder.id.to_string(), directory.full_name(folder.id), folder.key.to_string()])
            .collect();
        output::table(&["NUMBER", "NAME", "KEY"], &rows)?;
        output::line("\nApplications")?;
        let rows: Vec<Vec<String>> = keeper
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
        output::table(&["NUMBER", "NAME", "TYPE", "ROLES"], &rows)?;
        output::line("\nRobots")?;
        let rows: Vec<Vec<String>> = keeper
            .robots()
            .into_iter()
            .map(|robot| vec![robot.id.to_string(), robot.name, robot.key.to_string()])
            .collect();
        output::table(&["NUMBER", "NAME", "KEY"], &rows)?;
        output::line("\nPersonal access tokens")?;
        let named = keeper.tokens().await?.into_iter().filter_map(|(user, token)| {
            Some(vec![user.user_name, token.name?, token.scopes.to_string(), token.expires.to_string()])
        });
        output::table(&["USER", "NAME", "SCOPES", "ENDS"], &named.collect::<Vec<_>>())
    }
}
