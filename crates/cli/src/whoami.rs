//! `performer access whoami`: who the caller of a server is, and what it may do.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::GlobalArgs;
use super::output::{self, CliError, CommandResult};

/// Show who the caller of a server is, and what it may do
#[derive(Args)]
#[command(after_help = "\
The server at --url is asked, with the credentials of the environment (performer help environment); an application needs the scope\n\
OR.Users.Read, in UIPATH_SCOPE. A program that opens a store itself is no user, and may do everything.\n\n\
Examples:\n  \
performer access whoami --url http://127.0.0.1:8095\n  \
performer access whoami --json")]
pub(super) struct WhoAmI {
    #[command(flatten)]
    global: GlobalArgs,
}

impl WhoAmI {
    pub(super) async fn run(self) -> CommandResult {
        let target = self.global.target()?;
        let url = target.url();
        if !url.starts_with("http:") && !url.starts_with("https:") {
            let message =
                "a program that opens a store itself is no user; give the location of a server in --url";
            return Err(CliError::usage(message));
        }
        let server = target.connect_server().await?;
        let caller = server.caller().await;
        let caller = caller.map_err(|error| CliError::with_scope(error, "OR.Users.Read"))?;
        if output::is_json() {
            output::json(&json!({
                "Id": caller.id, "UserName": caller.user_name, "Permissions": caller.permissions,
                "HasLeases": server.has_leases(),
            }))?;
        } else {
            output::list(&[
                ("User", caller.user_name),
                ("Id", caller.id.to_string()),
                ("May", caller.permissions.join(", ")),
                ("Server", if server.has_leases() { "performer" } else { "UiPath Orchestrator" }.to_owned()),
            ])?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
