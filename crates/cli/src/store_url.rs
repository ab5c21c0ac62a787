//! The URL of a server's store: an argument, a variable, or a file, because it may contain a password.

use std::ffi::OsString;

use clap::Args;
use performer_core::private_file::read_secret;

use super::environment::text_of;
use super::output::CliError;

const VARIABLE: &str = "PERFORMER_STORE";
const FILE: &str = "PERFORMER_STORE_FILE";
const DEFAULT: &str = "sqlite:orchestrator.db";

#[derive(Args)]
pub(super) struct StoreUrl {
    /// The store of the server: sqlite:FILE, postgres://USER@HOST/DATABASE (with the password in PGPASSFILE or PGPASSWORD),
    /// or memory: for queues that are lost when the server stops. PERFORMER_STORE_FILE is a file that contains the URL
    /// [default: sqlite:orchestrator.db]
    #[arg(long, env = VARIABLE, value_name = "URL", hide_env_values = true)]
    store: Option<String>,
}

impl StoreUrl {
    /// The URL. An argument that is not empty takes precedence over the environment.
    ///
    /// # Errors
    ///
    /// If both variables are set, one of them is not valid UTF-8, or the file cannot be read.
    pub(super) fn get(&self) -> Result<String, CliError> {
        self.from(|name| std::env::var_os(name))
    }

    fn from(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<String, CliError> {
        let get = |name: &str| text_of(name, variable(name));
        let given = self.store.clone().filter(|url| !url.is_empty());
        match (given, get(VARIABLE)?, get(FILE)?) {
            (_, Some(_), Some(_)) => Err(CliError::usage(format!("set {VARIABLE} or {FILE}, not both"))),
            (None, None, Some(path)) => {
                read_secret(FILE, &path).map_err(|error| CliError::usage(error.to_string()))
            }
            // An empty argument, as of a script whose variable is not set, hides the variable from the parser of arguments.
            (given, set, _) => Ok(given.or(set).unwrap_or_else(|| DEFAULT.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_comes_from_the_argument_the_variable_or_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("url");
        std::fs::write(&path, "postgres://ann:canary@host/db\n").unwrap();
        let path = path.to_str().unwrap();
        let of = |store: Option<&str>, variables: &[(&str, &str)]| {
            let get = |name: &str| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            };
            StoreUrl { store: store.map(str::to_owned) }.from(get)
        };
        // The parser of arguments puts the variable where the argument would be.
        for (store, variables, url) in [
            (None, &[][..], DEFAULT),
            (Some(""), &[(VARIABLE, "")], DEFAULT),
            (Some(""), &[(VARIABLE, "sqlite:a.db")], "sqlite:a.db"),
            (Some(""), &[(FILE, path)], "postgres://ann:canary@host/db"),
            (Some("sqlite:a.db"), &[(VARIABLE, "sqlite:a.db")], "sqlite:a.db"),
            (None, &[(FILE, path)], "postgres://ann:canary@host/db"),
            (Some("sqlite:b.db"), &[(FILE, path)], "sqlite:b.db"),
            (Some("sqlite:a.db"), &[(VARIABLE, "sqlite:a.db"), (FILE, "")], "sqlite:a.db"),
        ] {
            assert_eq!(of(store, variables).ok().as_deref(), Some(url), "{store:?} {variables:?}");
        }
        for (store, variables) in [
            (Some("sqlite:a.db"), &[(VARIABLE, "sqlite:a.db"), (FILE, path)][..]),
            (None, &[(FILE, "/nowhere/at/all")]),
        ] {
            assert!(of(store, variables).is_err(), "{store:?} {variables:?}");
        }
    }

    /// A server would open the default store in place of the one that was meant.
    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_utf_8_does_not_count_as_unset() {
        use std::os::unix::ffi::OsStringExt as _;

        for variable in [VARIABLE, FILE] {
            let get = |name: &str| (name == variable).then(|| OsString::from_vec(b"/run/\xff/url".to_vec()));
            let refused = StoreUrl { store: None }.from(get).unwrap_err();
            assert_eq!(refused.to_string(), format!("{variable} is not valid UTF-8"));
        }
    }
}
