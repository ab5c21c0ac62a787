//! Settings: defaults, a TOML file over them, and the environment over both.

use std::error::Error;
use std::fmt::Display;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::str::FromStr;

use serde::Deserialize;

/// The file that is read if it is there and PERFORMER_SETTINGS names no other one.
const FILE: &str = "settings.toml";

#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where the queue is: a file, a database, a server.
    pub url: String,
    pub queue: String,
    /// The file with the invoices that are dispatched.
    pub data: PathBuf,
    /// How many items are processed at the same time.
    pub robots: u32,
    /// How long running transactions may take after a stop before they are interrupted.
    pub grace_period_seconds: u64,
    /// After so many ApplicationExceptions in a row the run ends Faulted; 0 for no limit.
    pub max_consecutive_exceptions: u32,
    pub log_format: LogFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Plain,
    Json,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            url: "sqlite:queue.db".to_owned(),
            queue: "Invoices".to_owned(),
            data: "data/invoices.csv".into(),
            robots: 1,
            grace_period_seconds: 30,
            max_consecutive_exceptions: 5,
            log_format: LogFormat::Plain,
        }
    }
}

impl FromStr for LogFormat {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "plain" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            _ => Err("it is plain or json"),
        }
    }
}

impl Settings {
    /// The settings of this process.
    pub fn load() -> Result<Self, Box<dyn Error>> {
        let variable = |name: &str| std::env::var(name).ok();
        let named = variable("PERFORMER_SETTINGS");
        let file = named.as_deref().unwrap_or(FILE);
        let text = match std::fs::read_to_string(file) {
            Err(error) if named.is_none() && error.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(|error| format!("{file}: {error}"))?,
        };
        Self::read(&text, variable).map_err(|error| format!("the settings: {error}").into())
    }

    fn read(text: &str, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Box<dyn Error>> {
        let mut settings: Self = toml::from_str(text)?;
        overwrite(&mut settings.url, "PERFORMER_URL", &variable)?;
        overwrite(&mut settings.queue, "PERFORMER_QUEUE", &variable)?;
        overwrite(&mut settings.data, "PERFORMER_DATA", &variable)?;
        overwrite(&mut settings.robots, "PERFORMER_ROBOTS", &variable)?;
        let grace_period = &mut settings.grace_period_seconds;
        overwrite(grace_period, "PERFORMER_GRACE_PERIOD_SECONDS", &variable)?;
        let exceptions = &mut settings.max_consecutive_exceptions;
        overwrite(
            exceptions,
            "PERFORMER_MAX_CONSECUTIVE_EXCEPTIONS",
            &variable,
        )?;
        overwrite(&mut settings.log_format, "PERFORMER_LOG_FORMAT", &variable)?;
        Ok(settings)
    }
}

/// Sets a value to that of an environment variable, if there is one.
fn overwrite<T>(
    value: &mut T,
    name: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> Result<(), String>
where
    T: FromStr,
    T::Err: Display,
{
    if let Some(text) = variable(name) {
        *value = text
            .parse()
            .map_err(|error| format!("{name} is {text:?}: {error}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_overwrites_the_file_and_the_file_the_defaults() {
        let file = "robots = 8\nqueue = \"Credit notes\"\nlog_format = \"json\"";
        let variable = |name: &str| (name == "PERFORMER_ROBOTS").then(|| "2".to_owned());
        let expected = Settings {
            queue: "Credit notes".to_owned(),
            robots: 2,
            log_format: LogFormat::Json,
            ..Settings::default()
        };
        assert_eq!(Settings::read(file, variable).unwrap(), expected);
    }

    #[test]
    fn what_is_misspelt_or_no_number_is_refused() {
        let refused = Settings::read("robot = 8", |_| None)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("robot"), "{refused}");
        let refused = Settings::read("", |_| Some("many".to_owned()))
            .unwrap_err()
            .to_string();
        assert!(
            refused.starts_with("PERFORMER_ROBOTS is \"many\": "),
            "{refused}"
        );
    }

    #[test]
    fn the_file_of_a_local_run_is_read() {
        let settings = Settings::read(include_str!("../settings.toml"), |_| None).unwrap();
        assert_eq!(
            settings,
            Settings {
                robots: 4,
                ..Settings::default()
            }
        );
    }
}
