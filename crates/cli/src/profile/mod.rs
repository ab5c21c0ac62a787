//! Profiles: named locations of queues, with the names of the variables and files that have their secrets.
//!
//! | file | what it contains |
//! |---|---|
//! | `mod.rs` | a profile, and which one a command uses |
//! | `file.rs` | the file of the profiles, which people edit too |
//! | `commands.rs` | `performer profile` |

mod commands;
mod file;

use std::sync::Arc;

use performer::orchestrator::uipath::Uipath;
use performer::{Administration, connect_as};
use performer_core::orchestrator::Observed;
use performer_core::private_file::read_secret;

pub(super) use self::commands::Profiles;
use self::file::ProfileFile;
use super::environment::{actor, text_of};
use super::output::CliError;

/// The variables of the environment that say where the queues are.
const URL: &str = "PERFORMER_URL";
const PROFILE: &str = "PERFORMER_PROFILE";

/// The settings of a profile besides its url: the name in the file, and the variable of the environment that it stands for.
/// A secret is named by a variable (`…_env`) or a file (`…_file`), and is never in the profile.
const SETTINGS: [(&str, &str); 6] = [
    ("folder", "UIPATH_FOLDER_PATH"),
    ("client_id", "UIPATH_CLIENT_ID"),
    ("scope", "UIPATH_SCOPE"),
    ("username", "UIPATH_USERNAME"),
    ("tenant", "UIPATH_TENANT_NAME"),
    ("robot_key", "UIPATH_ROBOT_KEY"),
];
const SECRETS: [(&str, &str); 4] = [
    ("client_secret", "UIPATH_CLIENT_SECRET"),
    ("pat", "UIPATH_PAT"),
    ("access_token", "UIPATH_ACCESS_TOKEN"),
    ("password", "UIPATH_PASSWORD"),
];

/// A named location of queues.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) url: String,
    /// Its settings, with their names in the file.
    pub(super) settings: Vec<(String, String)>,
}

impl Profile {
    fn get(&self, name: &str) -> Option<&str> {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// A secret, from the variable or the file that the profile names.
    fn secret(
        &self,
        name: &str,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<String>, CliError> {
        if let Some(source) = self.get(&format!("{name}_env")) {
            let missing = || {
                let message = format!(
                    "profile {:?}: the variable {source}, which has its {name}, is not set",
                    self.name
                );
                CliError::usage(message)
            };
            return variable(source).filter(|value| !value.is_empty()).ok_or_else(missing).map(Some);
        }
        let Some(path) = self.get(&format!("{name}_file")) else { return Ok(None) };
        let secret = read_secret(&format!("profile {:?}, {name}_file", self.name), path);
        secret.map(Some).map_err(|error| CliError::usage(error.to_string()))
    }

    /// The variables that the profile stands for. If it has credentials, those of the environment are not used.
    fn variables(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<impl Fn(&str) -> Option<String>, CliError> {
        let mut known: Vec<(&str, String)> = Vec::new();
        for (name, variable) in SETTINGS {
            known.extend(self.get(name).map(|value| (variable, value.to_owned())));
        }
        for (name, variable) in SECRETS {
            known.extend(self.secret(name, &environment)?.map(|secret| (variable, secret)));
        }
        let is_credential = |variable: &str| {
            let name = variable.trim_end_matches("_FILE");
            matches!(name, "UIPATH_CLIENT_ID" | "UIPATH_USERNAME")
                || SECRETS.iter().any(|(_, secret)| *secret == name)
        };
        let is_folder = |variable: &str| variable.starts_with("UIPATH_FOLDER_");
        let has = |is: &dyn Fn(&str) -> bool| known.iter().any(|(variable, _)| is(variable));
        let (has_credentials, has_folder) = (has(&is_credential), has(&is_folder));
        Ok(move |variable: &str| {
            if let Some((_, value)) = known.iter().find(|(known, _)| *known == variable) {
                return Some(value.clone());
            }
            let is_hidden = has_credentials && is_credential(variable) || has_folder && is_folder(variable);
            if is_hidden { None } else { environment(variable) }
        })
    }
}

/// Where the queues are.
#[derive(Clone, Debug)]
pub(super) struct Target {
    url: String,
    profile: Option<Profile>,
}

fn environment(name: &str) -> Result<Option<String>, CliError> {
    text_of(name, std::env::var_os(name))
}

impl Target {
    /// The location that `--url` or `--profile` give, else the one of the environment, else that of the default profile.
    ///
    /// # Errors
    ///
    /// If there is none, or two that contradict each other.
    pub(super) fn of(url: Option<&str>, profile: Option<&str>) -> Result<Self, CliError> {
        let given = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        let (url, profile) = match (given(url), given(profile)) {
            (Some(_), Some(_)) => return Err(CliError::usage("use --url or --profile, not both")),
            (None, None) => (environment(URL)?, environment(PROFILE)?),
            given => given,
        };
        match (url, profile) {
            (Some(_), Some(_)) => Err(CliError::usage(format!("set {URL} or {PROFILE}, not both"))),
            (Some(url), None) => Ok(Self { url, profile: None }),
            (None, Some(name)) => Self::of_profile(ProfileFile::read()?.profile(&name)?),
            (None, None) => {
                let missing = "no location of the queues was given; use --url sqlite:FILE or --url http://HOST:PORT, set PERFORMER_URL, \
                               or add a profile (performer profile add --help)";
                let file = ProfileFile::read()?;
                let name = file.default_name().ok_or_else(|| CliError::usage(missing))?;
                Self::of_profile(file.profile(&name)?)
            }
        }
    }

    /// The profile that is used where no location is given.
    fn used_profile(file: &ProfileFile) -> Result<Profile, CliError> {
        let missing = || CliError::usage("no profile is used; performer profile use NAME chooses one");
        let name = environment(PROFILE)?.or_else(|| file.default_name()).ok_or_else(missing)?;
        file.profile(&name)
    }

    fn of_profile(profile: Profile) -> Result<Self, CliError> {
        let mut url = profile.url.clone();
        if url.starts_with("postgres")
            && let Some(password) = profile.secret("password", |name| std::env::var(name).ok())?
        {
            let joint = if url.contains('?') { '&' } else { '?' };
            let encoded: String = form_urlencoded::byte_serialize(password.as_bytes()).collect();
            // A plus would be read as itself.
            url = format!("{url}{joint}password={}", encoded.replace('+', "%20"));
        }
        Ok(Self { url, profile: Some(profile) })
    }

    /// The URL. It may have a password in it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Connects to the queues.
    pub(super) async fn connect(&self) -> Result<Arc<dyn Administration>, CliError> {
        if self.profile.is_some() && (self.url.starts_with("http:") || self.url.starts_with("https:")) {
            return Ok(Arc::new(Observed::new(self.connect_server().await?)));
        }
        Ok(connect_as(&self.url, actor()).await?)
    }

    /// Connects to a server.
    pub(super) async fn connect_server(&self) -> Result<Uipath, CliError> {
        self.connect_server_with(None).await
    }

    /// Connects to a server, with a scope in place of that of the environment.
    pub(super) async fn connect_server_with(&self, scope: Option<&str>) -> Result<Uipath, CliError> {
        let url = match self.url.strip_prefix("uipath:") {
            Some(_) => environment("UIPATH_URL")?
                .ok_or_else(|| CliError::usage("uipath: requires UIPATH_URL, which is set in a job"))?,
            None => self.url.clone(),
        };
        let builder = Uipath::builder(&url);
        let builder = match &self.profile {
            Some(profile) => builder.variables(profile.variables(|name| std::env::var(name).ok())?)?,
            None => builder.environment()?,
        };
        let builder = match scope {
            Some(scope) => builder.scope(scope),
            None => builder,
        };
        Ok(builder.connect().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(settings: &[(&str, &str)]) -> Profile {
        let settings =
            settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Profile { name: "production".to_owned(), url: "https://example.com".to_owned(), settings }
    }

    #[test]
    fn a_profile_stands_for_variables_and_hides_other_credentials() {
        let environment = |name: &str| match name {
            "PRODUCTION_SECRET" => Some("s3cret".to_owned()),
            "UIPATH_PAT" => Some("of another server".to_owned()),
            "UIPATH_FOLDER_KEY" => Some("of another server".to_owned()),
            "UIPATH_ROBOT_KEY" => Some("robot".to_owned()),
            _ => None,
        };
        let full = profile(&[
            ("client_id", "app"),
            ("client_secret_env", "PRODUCTION_SECRET"),
            ("folder", "Shared"),
        ]);
        let get = full.variables(environment).unwrap();
        assert_eq!(get("UIPATH_CLIENT_ID").as_deref(), Some("app"));
        assert_eq!(get("UIPATH_CLIENT_SECRET").as_deref(), Some("s3cret"));
        assert_eq!(get("UIPATH_FOLDER_PATH").as_deref(), Some("Shared"));
        assert_eq!((get("UIPATH_PAT"), get("UIPATH_FOLDER_KEY")), (None, None));
        assert_eq!(get("UIPATH_ROBOT_KEY").as_deref(), Some("robot"), "what the profile does not say");
        let empty = profile(&[]);
        let bare = empty.variables(environment).unwrap();
        assert_eq!(bare("UIPATH_PAT").as_deref(), Some("of another server"));
        let missing = profile(&[("pat_env", "NOT_SET")]).variables(|_| None).err().unwrap().to_string();
        assert!(missing.contains("the variable NOT_SET, which has its pat, is not set"), "{missing}");
    }

    #[test]
    fn a_password_of_a_database_comes_from_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "a b+c&d\n").unwrap();
        let mut database = profile(&[("password_file", path.to_str().unwrap())]);
        database.url = "postgres://ann@db/queues?sslmode=require".to_owned();
        let target = Target::of_profile(database).unwrap();
        assert_eq!(target.url(), "postgres://ann@db/queues?sslmode=require&password=a%20b%2Bc%26d");
    }
}
