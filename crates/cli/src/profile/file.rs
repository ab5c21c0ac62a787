//! The file of the profiles. People edit it too, so a change keeps their comments and the order of the entries.

use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, Table, value};

use super::super::output::CliError;
use super::{Profile, SECRETS, SETTINGS};

/// The file with the profiles.
#[derive(Debug)]
pub(super) struct ProfileFile {
    path: PathBuf,
    document: DocumentMut,
}

/// Where the file is: where `PERFORMER_CONFIG` says, else in the folder for settings of the user.
fn path(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, CliError> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(file) = get("PERFORMER_CONFIG") {
        return Ok(file);
    }
    let folder = get("XDG_CONFIG_HOME").filter(|folder| folder.is_absolute());
    let folder = folder.or_else(|| get("APPDATA").filter(|_| cfg!(windows)));
    let folder = folder.or_else(|| get("HOME").map(|home| home.join(".config")));
    let missing = "the folder of settings is not known: set HOME, XDG_CONFIG_HOME or PERFORMER_CONFIG";
    Ok(folder.ok_or_else(|| CliError::usage(missing))?.join("performer").join("config.toml"))
}

impl ProfileFile {
    /// Reads the file; a file that does not exist has no profiles.
    pub(super) fn read() -> Result<Self, CliError> {
        // Without a home there are no profiles, which is no reason to refuse a command.
        let Ok(path) = path(|name| std::env::var_os(name)) else {
            return Ok(Self { path: PathBuf::new(), document: DocumentMut::new() });
        };
        Self::at(path)
    }

    fn at(path: PathBuf) -> Result<Self, CliError> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                String::new()
            }
            Err(error) => return Err(CliError::usage(format!("{}: {error}", path.display()))),
        };
        let document =
            text.parse().map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
        let file = Self { path, document };
        file.profiles()?; // an error in one of them is told at once
        Ok(file)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, what: impl std::fmt::Display) -> CliError {
        CliError::usage(format!("{}: {what}", self.path.display()))
    }

    /// The profiles, in the order of the file.
    pub(super) fn profiles(&self) -> Result<Vec<Profile>, CliError> {
        for (name, _) in self.document.iter() {
            if name != "default" && name != "profiles" {
                return Err(self.wrong(format!("{name:?} is neither default nor profiles")));
            }
        }
        let Some(tables) = self.document.get("profiles") else { return Ok(Vec::new()) };
        let tables = tables.as_table_like().ok_or_else(|| self.wrong("profiles is not a table"))?;
        tables.iter().map(|(name, item)| self.read_profile(name, item)).collect()
    }

    fn read_profile(&self, name: &str, item: &Item) -> Result<Profile, CliError> {
        let wrong = |what: String| self.wrong(format!("profile {name:?}: {what}"));
        let table = item.as_table_like().ok_or_else(|| wrong("it is not a table".to_owned()))?;
        let mut profile = Profile { name: name.to_owned(), ..Profile::default() };
        for (key, item) in table.iter() {
            let text = item.as_str().ok_or_else(|| wrong(format!("{key} is not a text")))?.to_owned();
            if key == "url" {
                profile.url = text;
            } else if is_setting(key) {
                profile.settings.push((key.to_owned(), text));
            } else if SECRETS.iter().any(|(secret, _)| *secret == key) {
                let message = format!(
                    "a profile has no secrets: name a variable in {key}_env, or a file in {key}_file"
                );
                return Err(wrong(message));
            } else {
                return Err(wrong(format!(
                    "{key:?} is not a setting; settings are url, {}",
                    settings().join(", ")
                )));
            }
        }
        if profile.url.is_empty() {
            return Err(wrong("it has no url".to_owned()));
        }
        if has_password(&profile.url) {
            let message = "a profile has no secrets: leave the password out of the url, and name a variable in password_env or a \
                           file in password_file";
            return Err(wrong(message.to_owned()));
        }
        Ok(profile)
    }

    /// The profile with this name.
    pub(super) fn profile(&self, name: &str) -> Result<Profile, CliError> {
        let profiles = self.profiles()?;
        let names: Vec<String> = profiles.iter().map(|profile| profile.name.clone()).collect();
        profiles.into_iter().find(|profile| profile.name == name).ok_or_else(|| {
            let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            CliError::not_found(format!(
                "there is no profile {name:?}; profiles are {known} ({})",
                self.path.display()
            ))
        })
    }

    /// The name of the profile that is used where no other is given.
    pub(super) fn default_name(&self) -> Option<String> {
        self.document.get("default").and_then(Item::as_str).map(str::to_owned)
    }

    pub(super) fn set_default(&mut self, name: Option<&str>) {
        match name {
            Some(name) => self.document["default"] = value(name),
            None => drop(self.document.remove("default")),
        }
    }

    /// Adds a profile, or replaces the one with its name.
    pub(super) fn put(&mut self, profile: &Profile) {
        let mut table = Table::new();
        table["url"] = value(&profile.url);
        for (name, text) in &profile.settings {
            table[name] = value(text);
        }
        let profiles = self.document.entry("profiles").or_insert_with(|| {
            let mut profiles = Table::new();
            profiles.set_implicit(true);
            Item::Table(profiles)
        });
        if let Some(profiles) = profiles.as_table_like_mut() {
            profiles.insert(&profile.name, Item::Table(table));
        }
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some(profiles) = self.document.get_mut("profiles").and_then(Item::as_table_like_mut) {
            profiles.remove(name);
        }
        if self.default_name().as_deref() == Some(name) {
            self.set_default(None);
        }
    }

    /// Writes the file as a whole, readable only by its owner.
    pub(super) fn write(&self) -> Result<(), CliError> {
        let failed = |error: std::io::Error| CliError::failed(format!("{}: {error}", self.path.display()));
        if self.path.as_os_str().is_empty() {
            return Err(path(|name| std::env::var_os(name))
                .err()
                .unwrap_or_else(|| self.wrong("it has no name")));
        }
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        let unfinished = self.path.with_extension(format!("toml.new-{}", std::process::id()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(&unfinished).and_then(|mut file| {
            file.write_all(self.document.to_string().as_bytes())?;
            file.sync_all()?;
            fs::rename(&unfinished, &self.path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        written.map_err(failed)
    }
}

fn is_setting(key: &str) -> bool {
    settings().iter().any(|known| known == key)
}

/// The names of all settings besides the url.
fn settings() -> Vec<String> {
    let plain = SETTINGS.iter().map(|(name, _)| (*name).to_owned());
    let secrets = SECRETS.iter().flat_map(|(name, _)| [format!("{name}_env"), format!("{name}_file")]);
    plain.chain(secrets).collect()
}

/// Whether a URL has a password in it.
pub(super) fn has_password(url: &str) -> bool {
    let authority =
        url.split_once("://").map_or("", |(_, rest)| rest.split(['/', '?']).next().unwrap_or_default());
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || url.split(['?', '&']).skip(1).any(|pair| pair.starts_with("password="))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# ours\ndefault = \"local\"\n\n# on this machine\n[profiles.local]\nurl = \"sqlite:a.db\" # a file\n";

    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("performer/config.toml");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_change_keeps_the_comments_of_people() {
        let (_folder, path) = file(TEXT);
        let mut read = ProfileFile::at(path.clone()).unwrap();
        let profile = Profile {
            name: "prod".to_owned(),
            url: "https://example.com".to_owned(),
            settings: vec![("pat_env".to_owned(), "PROD_PAT".to_owned())],
        };
        read.put(&profile);
        read.set_default(Some("prod"));
        read.write().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("# ours") && text.contains("# on this machine") && text.contains("# a file"),
            "{text}"
        );
        assert!(
            text.contains("[profiles.prod]\nurl = \"https://example.com\"\npat_env = \"PROD_PAT\""),
            "{text}"
        );
        let mut again = ProfileFile::at(path.clone()).unwrap();
        assert_eq!(
            (again.profile("prod").unwrap(), again.default_name().as_deref()),
            (profile, Some("prod"))
        );
        again.remove("prod");
        again.write().unwrap();
        let last = ProfileFile::at(path.clone()).unwrap();
        assert_eq!((last.profiles().unwrap().len(), last.default_name()), (1, None));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_is_wrong_in_the_file_is_named() {
        for (text, part) in [
            ("default = ", "TOML parse error"),
            ("colour = \"red\"", "\"colour\" is neither default nor profiles"),
            ("[profiles.a]\nfolder = \"Shared\"", "profile \"a\": it has no url"),
            (
                "[profiles.a]\nurl = \"x:\"\npat = \"secret\"",
                "a profile has no secrets: name a variable in pat_env",
            ),
            (
                "[profiles.a]\nurl = \"x:\"\ncolor = \"red\"",
                "\"color\" is not a setting; settings are url, folder",
            ),
            ("[profiles.a]\nurl = 7", "url is not a text"),
        ] {
            let (_folder, path) = file(text);
            let error = ProfileFile::at(path).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("config.toml"), "{text}: {error}");
        }
        let (folder, _) = file("");
        let missing = ProfileFile::at(folder.path().join("missing.toml")).unwrap();
        assert!(missing.profiles().unwrap().is_empty());
        let none = missing.profile("a").unwrap_err().to_string();
        assert!(none.contains("there is no profile \"a\"; profiles are none"), "{none}");
    }

    #[test]
    fn the_file_is_where_the_environment_says() {
        let of = |variables: &[(&str, &str)]| {
            path(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value))
            })
        };
        let all = [("PERFORMER_CONFIG", "/a/b.toml"), ("XDG_CONFIG_HOME", "/x"), ("HOME", "/y")];
        assert_eq!(of(&all).unwrap(), Path::new("/a/b.toml"));
        assert_eq!(of(&all[1..]).unwrap(), Path::new("/x/performer/config.toml"));
        assert_eq!(of(&all[2..]).unwrap(), Path::new("/y/.config/performer/config.toml"));
        assert!(of(&[]).is_err());
    }
}
