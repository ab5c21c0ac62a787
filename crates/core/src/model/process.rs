//! Processes: command lines that machines are told to run (orchestrator-api 15). The vendor's API calls them releases.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::job::JobSource;
use super::key::{FolderId, ProcessKey};
use super::machine::SessionId;
use super::refusal::Refusal;

/// The longest name, in UTF-16 code units.
pub const NAME_LIMIT: usize = 255;
/// The longest description, in UTF-16 code units.
pub const DESCRIPTION_LIMIT: usize = 500;
/// The longest input arguments, in UTF-16 code units.
pub const INPUT_ARGUMENTS_LIMIT: usize = 10_000;
/// The most of an environment, in UTF-16 code units of its lines `NAME=VALUE`.
pub const ENVIRONMENT_LIMIT: usize = 4_000;
/// The longest reference of a job, in UTF-16 code units.
pub const REFERENCE_LIMIT: usize = 128;
/// The longest command line, in UTF-16 code units of its words. The limit is ours.
pub const COMMAND_LIMIT: usize = 8_000;
/// The most processes of a store. The limit is ours.
pub const MAX_PROCESSES: usize = 1_000;
/// The most jobs that one call starts. The limit is ours.
pub const MAX_JOBS_STARTED: usize = 1_000;
/// The most jobs of a folder that wait for a machine. The limit is ours.
pub const MAX_PENDING_JOBS: usize = 10_000;

/// The number of a process. Never used again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ProcessId(pub i64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What people set of a process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct ProcessSettings {
    /// Its name, unique in its folder, ignoring case.
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// The program and its arguments. They are not given to a shell.
    pub command: Vec<String>,
    /// Variables of the environment of the program.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The input arguments of jobs that are started without any: a JSON object, as text.
    #[serde(default)]
    pub input_arguments: Option<String>,
}

impl ProcessSettings {
    /// A process without input arguments and variables.
    pub fn new(name: impl Into<String>, command: Vec<String>) -> Self {
        Self {
            name: name.into(),
            description: None,
            command,
            environment: BTreeMap::new(),
            input_arguments: None,
        }
    }

    /// Checks everything but whether the name is free.
    ///
    /// # Errors
    ///
    /// Code 1009 for what is missing, too long, or has not the form that it needs.
    pub fn validate(&self) -> Result<(), Refusal> {
        validate_name("the name of a process", &self.name, NAME_LIMIT)?;
        check_length(
            "the description of a process",
            self.description.as_deref().unwrap_or_default(),
            DESCRIPTION_LIMIT,
        )?;
        if self.command.first().is_none_or(|program| program.trim().is_empty()) {
            return Err(invalid("the command of a process has no program"));
        }
        if self.command.iter().any(|word| word.contains('\0')) {
            return Err(invalid("the command of a process contains a zero character"));
        }
        let length: usize = self.command.iter().map(|word| length(word) + 1).sum();
        if length > COMMAND_LIMIT {
            return Err(invalid(format!(
                "the command of a process is longer than {COMMAND_LIMIT} characters"
            )));
        }
        validate_environment(&self.environment)?;
        self.input_arguments.as_deref().map_or(Ok(()), validate_input_arguments)
    }
}

/// Checks a name: not empty, not too long, without control characters.
pub(super) fn validate_name(what: &str, name: &str, limit: usize) -> Result<(), Refusal> {
    if name.trim().is_empty() {
        return Err(invalid(format!("{what} is empty")));
    }
    if name.chars().any(char::is_control) {
        return Err(invalid(format!("{what} contains a control character")));
    }
    check_length(what, name, limit)
}

pub(super) fn check_length(what: &str, text: &str, limit: usize) -> Result<(), Refusal> {
    if length(text) > limit {
        return Err(invalid(format!("{what} is longer than {limit} characters")));
    }
    Ok(())
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}

pub(super) fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, message.into())
}

/// Checks input arguments.
///
/// # Errors
///
/// Code 1009 for text that is not a JSON object, or too long.
pub fn validate_input_arguments(arguments: &str) -> Result<(), Refusal> {
    check_length("InputArguments", arguments, INPUT_ARGUMENTS_LIMIT)?;
    match serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(arguments) {
        Ok(_) => Ok(()),
        Err(error) => Err(invalid(format!("InputArguments is not a JSON object: {error}"))),
    }
}

/// Checks the variables of an environment.
///
/// # Errors
///
/// Code 1009 for a name that no variable can have, or for more than [`ENVIRONMENT_LIMIT`] in all.
pub fn validate_environment(environment: &BTreeMap<String, String>) -> Result<(), Refusal> {
    for (name, value) in environment {
        let is_name = !name.is_empty() && !name.contains(['=', '\0']) && !name.chars().any(char::is_control);
        if !is_name || value.contains(['\0', '\n', '\r']) {
            return Err(invalid(format!("EnvironmentVariables has {name:?}, which no variable can be")));
        }
    }
    check_length("EnvironmentVariables", &environment_text(environment), ENVIRONMENT_LIMIT)
}

/// Reads variables, a line `NAME=VALUE` each.
///
/// # Errors
///
/// Code 1009 for a line without `=`, and as [`validate_environment`].
pub fn read_environment(text: &str) -> Result<BTreeMap<String, String>, Refusal> {
    let mut environment = BTreeMap::new();
    for line in text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty()) {
        let (name, value) = line
            .split_once('=')
            .ok_or_else(|| invalid("EnvironmentVariables has a line that is not NAME=VALUE"))?;
        environment.insert(name.trim().to_owned(), value.to_owned());
    }
    validate_environment(&environment)?;
    Ok(environment)
}

/// Variables as lines `NAME=VALUE`.
pub fn environment_text(environment: &BTreeMap<String, String>) -> String {
    environment.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("\n")
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Process {
    /// Its number.
    pub id: ProcessId,
    /// Its key.
    pub key: ProcessKey,
    /// The folder in which its jobs run.
    #[serde(rename = "OrganizationUnitId")]
    pub folder: FolderId,
    /// What people set.
    #[serde(flatten)]
    pub settings: ProcessSettings,
    /// When it was made.
    pub created: Timestamp,
    /// When it was changed last.
    pub changed: Timestamp,
}

impl Process {
    /// A new process.
    pub fn new(key: ProcessKey, folder: FolderId, settings: ProcessSettings, now: Timestamp) -> Self {
        Self { id: ProcessId::default(), key, folder, settings, created: now, changed: now }
    }

    /// The process with other settings.
    #[must_use]
    pub fn with(mut self, settings: ProcessSettings, now: Timestamp) -> Self {
        (self.settings, self.changed) = (settings, now);
        self
    }

    /// A job of it, as it is to be started.
    ///
    /// # Errors
    ///
    /// Code 1009 for an environment that is too large together with that of the process.
    pub fn run(&self, start: &StartJobs, now: Timestamp) -> Result<JobRun, Refusal> {
        let mut environment = self.settings.environment.clone();
        environment.extend(start.environment.clone());
        validate_environment(&environment)?;
        let input_arguments = start.input_arguments.clone().or_else(|| self.settings.input_arguments.clone());
        Ok(JobRun {
            process: self.id,
            process_key: self.key,
            process_name: self.settings.name.clone(),
            command: self.settings.command.clone(),
            environment,
            input_arguments,
            reference: start.reference.clone(),
            machine: start.machine.clone(),
            source: start.source,
            trigger: start.trigger,
            created: now,
            session: None,
        })
    }
}

/// A process of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessSelector {
    /// By its number.
    Id(ProcessId),
    /// By its key.
    Key(ProcessKey),
    /// By its name, ignoring case.
    Name(String),
}

/// Jobs of a process that are to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StartJobs {
    /// The process.
    pub process: ProcessSelector,
    /// How many jobs, 1 to [`MAX_JOBS_STARTED`].
    pub count: usize,
    /// Instead of those of the process: a JSON object, as text.
    pub input_arguments: Option<String>,
    /// Besides those of the process, or instead of them.
    pub environment: BTreeMap<String, String>,
    /// Something that the caller finds them by.
    pub reference: Option<String>,
    /// The name of the machine that has to run them. `None`: any.
    pub machine: Option<String>,
    /// Who starts them.
    pub source: JobSource,
    /// The number of the trigger that starts them.
    pub trigger: Option<i64>,
}

impl StartJobs {
    /// One job.
    pub fn new(process: ProcessSelector) -> Self {
        Self {
            process,
            count: 1,
            input_arguments: None,
            environment: BTreeMap::new(),
            reference: None,
            machine: None,
            source: JobSource::Manual,
            trigger: None,
        }
    }

    /// Sets how many.
    #[must_use]
    pub fn count(mut self, count: usize) -> Self {
        self.count = count;
        self
    }

    /// Sets the input arguments.
    #[must_use]
    pub fn input_arguments(mut self, arguments: Option<String>) -> Self {
        self.input_arguments = arguments;
        self
    }

    /// Checks what can be checked without the process.
    ///
    /// # Errors
    ///
    /// Code 1015 for no jobs or too many; 1009 for input arguments, variables or a reference that are not allowed.
    pub fn validate(&self) -> Result<(), Refusal> {
        if !(1..=MAX_JOBS_STARTED).contains(&self.count) {
            let message =
                format!("JobsCount is {}; it should be between 1 and {MAX_JOBS_STARTED}", self.count);
            return Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        }
        self.input_arguments.as_deref().map_or(Ok(()), validate_input_arguments)?;
        check_length("Reference", self.reference.as_deref().unwrap_or_default(), REFERENCE_LIMIT)?;
        validate_environment(&self.environment)
    }
}

/// What a job of a process runs. It stays as it was when the job was started, whatever becomes of the process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct JobRun {
    /// The number of the process.
    pub process: ProcessId,
    /// The key of the process.
    pub process_key: ProcessKey,
    /// The name of the process.
    pub process_name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables of its environment.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Its input arguments: a JSON object, as text.
    #[serde(default)]
    pub input_arguments: Option<String>,
    /// Something that the caller finds it by.
    #[serde(default)]
    pub reference: Option<String>,
    /// The name of the machine that has to run it.
    #[serde(default)]
    pub machine: Option<String>,
    /// Who started it.
    pub source: JobSource,
    /// The number of the trigger that started it.
    #[serde(default)]
    pub trigger: Option<i64>,
    /// When it was started; it runs from its start time on.
    pub created: Timestamp,
    /// The session of the machine that runs it.
    #[serde(default)]
    pub session: Option<SessionId>,
}

impl JobRun {
    /// Whether a machine of this name may run it.
    pub fn fits(&self, machine: &str) -> bool {
        self.machine.as_ref().is_none_or(|wanted| wanted.to_lowercase() == machine.to_lowercase())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ProcessSettings {
        ProcessSettings::new("Invoices", vec!["invoices".to_owned(), "--robots".to_owned(), "4".to_owned()])
    }

    fn refused(change: impl FnOnce(&mut ProcessSettings)) -> String {
        let mut settings = settings();
        change(&mut settings);
        let refusal = settings.validate().unwrap_err();
        assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
        refusal.to_string()
    }

    #[test]
    fn a_process_has_a_name_and_a_program() {
        settings().validate().unwrap();
        assert!(refused(|settings| settings.name = " ".to_owned()).contains("name"));
        assert!(refused(|settings| settings.name = "a\nb".to_owned()).contains("control"));
        assert!(refused(|settings| settings.name = "x".repeat(NAME_LIMIT + 1)).contains("longer"));
        assert!(refused(|settings| settings.command.clear()).contains("program"));
        assert!(refused(|settings| settings.command[0] = String::new()).contains("program"));
        assert!(refused(|settings| settings.command.push("x".repeat(COMMAND_LIMIT))).contains("longer"));
        assert!(refused(|settings| settings.command.push("a\0".to_owned())).contains("zero"));
        assert!(refused(|settings| settings.input_arguments = Some("[]".to_owned())).contains("JSON object"));
        let bad = |settings: &mut ProcessSettings| {
            settings.environment.insert("A=B".to_owned(), String::new());
        };
        assert!(refused(bad).contains("EnvironmentVariables"));
    }

    #[test]
    fn variables_are_read_as_they_are_written() {
        let read = read_environment("A=1\r\n\nB=x=y\nC=").unwrap();
        assert_eq!(environment_text(&read), "A=1\nB=x=y\nC=");
        assert_eq!(read_environment(&environment_text(&read)), Ok(read));
        for wrong in ["A", "=1", "A B", &format!("A={}", "x".repeat(ENVIRONMENT_LIMIT))] {
            assert!(read_environment(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_job_has_the_arguments_of_its_start_or_of_its_process() {
        let mut of_process = settings();
        of_process.input_arguments = Some("{\"a\":1}".to_owned());
        of_process.environment = [("A", "1"), ("B", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let now = Timestamp::UNIX_EPOCH;
        let key = super::super::key::KeyMaker::with_seed(1).process(now);
        let process = Process::new(key, FolderId::SHARED, of_process, now);
        let mut start = StartJobs::new(ProcessSelector::Key(process.key));
        let run = process.run(&start, now).unwrap();
        assert_eq!(run.input_arguments.as_deref(), Some("{\"a\":1}"));
        start.input_arguments = Some("{}".to_owned());
        start.environment.insert("B".to_owned(), "3".to_owned());
        let run = process.run(&start, now).unwrap();
        assert_eq!(run.input_arguments.as_deref(), Some("{}"));
        assert_eq!(environment_text(&run.environment), "A=1\nB=3");
        assert!(run.fits("any"));
        start.machine = Some("Finance-1".to_owned());
        let run = process.run(&start, now).unwrap();
        assert!(run.fits("finance-1") && !run.fits("finance-2"));
        start.environment.insert("C".to_owned(), "x".repeat(ENVIRONMENT_LIMIT - "B=3\nC=".len()));
        start.validate().unwrap();
        process.run(&start, now).unwrap_err();
    }

    #[test]
    fn as_many_jobs_are_started_as_the_limits_allow() {
        let start = |count| StartJobs::new(ProcessSelector::Id(ProcessId(1))).count(count).validate();
        assert_eq!(start(0).unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
        assert_eq!(start(MAX_JOBS_STARTED + 1).unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
        start(MAX_JOBS_STARTED).unwrap();
    }
}
