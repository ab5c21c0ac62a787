//! `performer profile`: lists, adds, shows and removes profiles, and chooses the default one.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::super::output::{self, CliError, Column, CommandResult, ListOutput};
use super::file::{ProfileFile, has_password};
use super::{Profile, Target};

/// Name locations of queues, so that --profile NAME is enough
///
/// Profiles are in performer/config.toml in the user's folder of settings, or in the file that PERFORMER_CONFIG names. They name the variables and
/// files that have secrets, and have none themselves.
#[derive(Subcommand)]
pub(in super::super) enum Profiles {
    List(List),
    Add(Box<Add>),
    Use(Use),
    Show(Show),
    Remove(Remove),
}

/// List the profiles
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer profile list\n  \
performer profile list -o jsonl")]
pub(in super::super) struct List {
    #[command(flatten)]
    output: ListOutput,
}

/// Add a profile
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer profile add local --at sqlite:/var/lib/performer/invoices.db --default\n  \
performer profile add production --at https://cloud.uipath.com/acme/Prod/orchestrator_ --folder Shared/Finance \
--client-id 5b1c --client-secret-env PRODUCTION_SECRET\n  \
performer profile add database --at postgres://ann@db.example/queues --password-file /run/secrets/queues\n  \
performer queue list --profile production")]
pub(in super::super) struct Add {
    /// The name of the profile: letters, digits, - and _
    name: String,
    /// The location of the queues, as for --url; without a password
    #[arg(long, value_name = "URL")]
    at: String,
    /// The path of the folder
    #[arg(long, value_name = "PATH")]
    folder: Option<String>,
    /// The id of the application
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The variable with the secret of the application
    #[arg(long, value_name = "VARIABLE", conflicts_with = "client_secret_file")]
    client_secret_env: Option<String>,
    /// The file with the secret of the application
    #[arg(long, value_name = "FILE")]
    client_secret_file: Option<String>,
    /// The scopes to ask for
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The variable with a personal access token
    #[arg(long, value_name = "VARIABLE", conflicts_with = "pat_file")]
    pat_env: Option<String>,
    /// The file with a personal access token
    #[arg(long, value_name = "FILE")]
    pat_file: Option<String>,
    /// The variable with an access token
    #[arg(long, value_name = "VARIABLE", conflicts_with = "access_token_file")]
    access_token_env: Option<String>,
    /// The file with an access token
    #[arg(long, value_name = "FILE")]
    access_token_file: Option<String>,
    /// The user of an on-premises Orchestrator
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// The variable with the password of the user, or of a database
    #[arg(long, value_name = "VARIABLE", conflicts_with = "password_file")]
    password_env: Option<String>,
    /// The file with the password of the user, or of a database
    #[arg(long, value_name = "FILE")]
    password_file: Option<String>,
    /// The tenant of an on-premises Orchestrator
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// The key of the robot in whose name items are claimed
    #[arg(long, value_name = "KEY")]
    robot_key: Option<String>,
    /// Use it where no other location is given
    #[arg(long)]
    default: bool,
    /// Replace the profile if it exists
    #[arg(long)]
    force: bool,
}

/// Choose the profile that is used where no other location is given
#[derive(Args)]
#[command(after_help = "\
--url, --profile and the variables PERFORMER_URL and PERFORMER_PROFILE come first.\n\n\
Examples:\n  \
performer profile use production\n  \
performer profile use --none")]
pub(in super::super) struct Use {
    /// The name of the profile
    #[arg(required_unless_present = "none", conflicts_with = "none")]
    name: Option<String>,
    /// Use none: a location has to be given
    #[arg(long)]
    none: bool,
}

/// Show a profile; with what it names, and without any secret
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer profile show\n  \
performer profile show production --json")]
pub(in super::super) struct Show {
    /// The name of the profile [default: the one that is used]
    name: Option<String>,
}

/// Remove a profile
#[derive(Args)]
#[command(after_help = "\
Examples:\n  \
performer profile remove production")]
pub(in super::super) struct Remove {
    /// The name of the profile
    name: String,
}

impl Profiles {
    pub(in super::super) fn run(self) -> CommandResult {
        match self {
            Self::List(list) => list.run(),
            Self::Add(add) => add.run(),
            Self::Use(chosen) => chosen.run(),
            Self::Show(show) => show.run(),
            Self::Remove(remove) => remove.run(),
        }
    }
}

fn to_json(profile: &Profile, is_default: bool) -> Value {
    let settings: Map<String, Value> =
        profile.settings.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    json!({ "Name": profile.name, "IsDefault": is_default, "Url": profile.url, "Settings": settings })
}

impl List {
    fn run(self) -> CommandResult {
        let format = self.output.format()?;
        let file = ProfileFile::read()?;
        let default = file.default_name();
        let profiles = file.profiles()?;
        let is_default = |profile: &Profile| default.as_deref() == Some(&*profile.name);
        let columns =
            [Column::plain("PROFILE"), Column::plain("DEFAULT"), Column::text("URL"), Column::text("FOLDER")];
        let as_json = |profile: &Profile| to_json(profile, is_default(profile));
        format.print_as(&profiles, as_json, &columns, |profile: &Profile| {
            vec![
                profile.name.clone(),
                if is_default(profile) { "yes" } else { "" }.to_owned(),
                profile.url.clone(),
                profile.get("folder").unwrap_or_default().to_owned(),
            ]
        })?;
        if profiles.is_empty() && format.has_columns() {
            output::remark("there are no profiles; performer profile add --help says how to add one");
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Add {
    fn run(self) -> CommandResult {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.name.is_empty() || !self.name.chars().all(is_plain) {
            return Err(CliError::usage(format!(
                "{:?} is not a name of letters, digits, - and _",
                self.name
            )));
        }
        if has_password(&self.at) {
            let message = "a profile has no secrets: leave the password out of the URL, and use --password-env or --password-file";
            return Err(CliError::usage(message));
        }
        if !self.at.contains(':') {
            return Err(CliError::usage(format!("{:?} is not a URL, such as sqlite:invoices.db", self.at)));
        }
        let mut file = ProfileFile::read()?;
        let exists = file.profiles()?.iter().any(|profile| profile.name == self.name);
        if exists && !self.force {
            return Err(CliError::failed(format!(
                "profile {:?} exists already; --force replaces it",
                self.name
            )));
        }
        let settings = [
            ("folder", self.folder),
            ("client_id", self.client_id),
            ("client_secret_env", self.client_secret_env),
            ("client_secret_file", self.client_secret_file),
            ("scope", self.scope),
            ("pat_env", self.pat_env),
            ("pat_file", self.pat_file),
            ("access_token_env", self.access_token_env),
            ("access_token_file", self.access_token_file),
            ("username", self.username),
            ("password_env", self.password_env),
            ("password_file", self.password_file),
            ("tenant", self.tenant),
            ("robot_key", self.robot_key),
        ];
        let settings =
            settings.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        let profile = Profile { name: self.name, url: self.at, settings };
        file.put(&profile);
        if self.default {
            file.set_default(Some(&profile.name));
        }
        file.write()?;
        let is_default = file.default_name().as_deref() == Some(&*profile.name);
        if output::is_json() {
            output::json(&to_json(&profile, is_default))?;
        } else {
            output::line(format!("profile {:?} is in {}", profile.name, file.path().display()))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Use {
    fn run(self) -> CommandResult {
        let mut file = ProfileFile::read()?;
        let name = self.name.map(|name| file.profile(&name)).transpose()?.map(|profile| profile.name);
        file.set_default(name.as_deref());
        file.write()?;
        if output::is_json() {
            output::json(&json!({ "Default": name }))?;
        } else {
            output::line(name.map_or_else(
                || "no profile is used by default".to_owned(),
                |name| format!("profile {name:?} is used by default"),
            ))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Show {
    fn run(self) -> CommandResult {
        let file = ProfileFile::read()?;
        let profile = match &self.name {
            Some(name) => file.profile(name)?,
            None => Target::used_profile(&file)?,
        };
        let is_default = file.default_name().as_deref() == Some(&*profile.name);
        if output::is_json() {
            output::json(&to_json(&profile, is_default))?;
            return Ok(ExitCode::SUCCESS);
        }
        let mut pairs = vec![
            ("name", profile.name.clone()),
            ("default", if is_default { "yes" } else { "no" }.to_owned()),
            ("url", profile.url.clone()),
        ];
        pairs.extend(profile.settings.iter().map(|(name, value)| (name.as_str(), value.clone())));
        output::list(&pairs)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Remove {
    fn run(self) -> CommandResult {
        let mut file = ProfileFile::read()?;
        let name = file.profile(&self.name)?.name;
        file.remove(&name);
        file.write()?;
        if output::is_json() {
            output::json(&json!({ "Removed": name }))?;
        } else {
            output::line(format!("profile {name:?} was removed"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_with_a_password_is_seen() {
        for url in
            ["postgres://ann:secret@db/q", "postgres://ann@db/q?a=b&password=x", "https://a:b@example.com"]
        {
            assert!(has_password(url), "{url}");
        }
        for url in
            ["postgres://ann@db:5432/q", "sqlite:a:b@c.db", "https://example.com/a@b:c", "http://[::1]:8095"]
        {
            assert!(!has_password(url), "{url}");
        }
    }
}
