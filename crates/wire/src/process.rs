//! Processes, which the API calls releases (orchestrator-api 15), and the bodies that start jobs of them.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{ApiTime, EnumValue, Unreadable};
use performer_core::enumeration;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::job::{JobSource, StopStrategy};
use performer_core::model::key::{FolderId, ProcessKey};
use performer_core::model::process::{
    Process, ProcessId, ProcessSelector, ProcessSettings, StartJobs, environment_text, read_environment,
};

/// The version that every process has: what it runs is a command line, of which there are no versions here.
const VERSION: &str = "1.0.0";

/// A process as a body has it: in a change of some members the others are absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReleaseDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The program, where there is no command.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<String>,
    /// Ours: the program and its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub performer_command: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization_unit_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_time: Option<ApiTime>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_modification_time: Option<ApiTime>,
}

fn missing(name: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, format!("{name} is required"))
}

impl ReleaseDto {
    /// The body that makes these settings.
    pub fn of(settings: &ProcessSettings) -> Self {
        Self {
            name: Some(settings.name.clone()),
            process_key: settings.command.first().cloned(),
            process_version: Some(VERSION.to_owned()),
            description: Some(settings.description.clone().unwrap_or_default()),
            input_arguments: Some(settings.input_arguments.clone().unwrap_or_default()),
            environment_variables: Some(environment_text(&settings.environment)),
            performer_command: Some(settings.command.clone()),
            ..Self::default()
        }
    }

    /// The settings of a new process.
    ///
    /// # Errors
    ///
    /// Code 1009 for a required member that is missing, or variables that cannot be read.
    pub fn settings(&self) -> Result<ProcessSettings, Refusal> {
        let name = self.name.as_ref().ok_or_else(|| missing("Name"))?;
        let program = self.process_key.as_ref().ok_or_else(|| missing("ProcessKey"))?;
        self.changed(ProcessSettings::new(name, vec![program.clone()]))
    }

    /// The settings of a process with the members that this body has.
    ///
    /// # Errors
    ///
    /// Code 1009 for variables that cannot be read.
    pub fn changed(&self, mut settings: ProcessSettings) -> Result<ProcessSettings, Refusal> {
        let some = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        if let Some(name) = &self.name {
            settings.name.clone_from(name);
        }
        if let Some(description) = &self.description {
            settings.description = some(description);
        }
        if let Some(arguments) = &self.input_arguments {
            settings.input_arguments = some(arguments);
        }
        if let Some(variables) = &self.environment_variables {
            settings.environment = read_environment(variables)?;
        }
        match (&self.performer_command, &self.process_key) {
            (Some(command), _) => settings.command.clone_from(command),
            // Another program than that of the command, whose arguments are not for it.
            (None, Some(program)) if settings.command.first() != Some(program) => {
                settings.command = vec![program.clone()];
            }
            _ => {}
        }
        Ok(settings)
    }

    /// The process in an answer.
    ///
    /// # Errors
    ///
    /// If it lacks its number, key, name or time.
    pub fn into_process(self) -> Result<Process, Unreadable> {
        let lacks = |what: &str| Unreadable(format!("a process has no {what}"));
        let settings = self.settings().map_err(|refusal| Unreadable(refusal.to_string()))?;
        let key = ProcessKey::from_bytes(self.key.ok_or_else(|| lacks("Key"))?.into_bytes());
        let folder = FolderId(self.organization_unit_id.unwrap_or(FolderId::SHARED.0));
        let created = self.creation_time.or(self.last_modification_time).ok_or_else(|| lacks("time"))?.0;
        let mut process = Process::new(key, folder, settings, created);
        process.id = ProcessId(self.id.ok_or_else(|| lacks("Id"))?);
        process.changed = self.last_modification_time.map_or(created, |at| at.0);
        Ok(process)
    }
}

/// A process as reads show it.
pub fn release_response(process: &Process, folder_name: &str, folder_key: Option<&str>) -> Value {
    let settings = &process.settings;
    json!({
        "Key": process.key, "ProcessKey": settings.command.first(), "ProcessVersion": VERSION, "IsLatestVersion": true,
        "IsProcessDeleted": false, "Description": settings.description, "Name": settings.name, "EntryPointId": null,
        "EntryPointPath": null, "InputArguments": settings.input_arguments,
        "EnvironmentVariables": environment_text(&settings.environment), "ProcessType": "Process",
        "SupportsMultipleEntryPoints": false, "RequiresUserInteraction": false, "IsConversational": false,
        "MinRequiredRobotVersion": null, "IsAttended": false, "IsCompiled": true, "AutomationHubIdeaUrl": null,
        "AutoUpdate": false, "HiddenForAttendedUser": true, "FeedId": null, "JobPriority": "Normal", "SpecificPriorityValue": null,
        "FolderKey": folder_key, "OrganizationUnitId": process.folder.0, "OrganizationUnitFullyQualifiedName": folder_name,
        "TargetFramework": "Portable", "RobotSize": null, "Tags": [], "RemoteControlAccess": "None",
        "LastModificationTime": ApiTime(process.changed), "LastModifierUserId": null, "CreationTime": ApiTime(process.created),
        "CreatorUserId": null, "Id": process.id, "PerformerCommand": settings.command,
    })
}

enumeration! {
    /// For which robots jobs are started. The numbers are ours.
    pub StartStrategy {
        /// One for each agent that is connected.
        All = 0,
        /// One for each of the named robots.
        Specific = 1,
        /// As many as are asked for.
        RobotCount = 2,
        /// As many as are asked for.
        JobsCount = 3,
        /// As many as are asked for.
        ModernJobsCount = 4,
    }
}

/// Where a job has to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MachineRobotDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_name: Option<String>,
}

/// What is started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct StartInfoDto {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub release_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strategy: Option<EnumValue<StartStrategy>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs_count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub no_of_robots: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub robot_ids: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_session_ids: Option<Vec<i64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub machine_robots: Option<Vec<MachineRobotDto>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_arguments: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment_variables: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_process_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kill_process_expression: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_strategy: Option<EnumValue<StopStrategy>>,
}

/// The body of StartJobs and ValidateDynamicJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartJobsRequest {
    pub start_info: StartInfoDto,
}

impl StartInfoDto {
    /// The body that asks for jobs.
    pub fn of(start: &StartJobs) -> Self {
        let (release_key, release_name) = match &start.process {
            ProcessSelector::Key(key) => (Some(key.to_string()), None),
            ProcessSelector::Name(name) => (None, Some(name.clone())),
            ProcessSelector::Id(id) => (None, Some(id.to_string())),
        };
        let machine =
            |name: &String| vec![MachineRobotDto { machine_name: Some(name.clone()), machine_id: None }];
        Self {
            release_key,
            release_name,
            strategy: Some(StartStrategy::ModernJobsCount.into()),
            jobs_count: i64::try_from(start.count).ok(),
            input_arguments: start.input_arguments.clone(),
            environment_variables: Some(environment_text(&start.environment)).filter(|text| !text.is_empty()),
            reference: start.reference.clone(),
            machine_robots: start.machine.as_ref().map(machine),
            ..Self::default()
        }
    }

    /// What is to be started, without where. Refused: what this server cannot do for a job.
    ///
    /// # Errors
    ///
    /// Code 1014 without a process; 1674 for a key that is not one; 1015 for a number of jobs out of its range; 1009 otherwise.
    pub fn start(&self) -> Result<StartJobs, Refusal> {
        let invalid = |message: String| Refusal::new(ErrorCode::INVALID_ARGUMENT, message);
        let named = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let process = match (named(&self.release_key), named(&self.release_name)) {
            (Some(key), _) => ProcessSelector::Key(key.parse().map_err(|_| {
                Refusal::new(ErrorCode::INVALID_RELEASE_KEY, format!("process {key} does not exist"))
            })?),
            (None, Some(name)) => ProcessSelector::Name(name),
            (None, None) => {
                return Err(Refusal::new(ErrorCode::PARAMETER_MISSING, "parameter ReleaseKey is missing"));
            }
        };
        for (name, value) in [
            ("InputFile", &self.input_file),
            ("StopProcessExpression", &self.stop_process_expression),
            ("KillProcessExpression", &self.kill_process_expression),
        ] {
            if value.as_ref().is_some_and(|value| !value.is_empty()) {
                return Err(invalid(format!("{name} is not supported by this server")));
            }
        }
        let mut start = StartJobs::new(process);
        let count = self.jobs_count.filter(|count| *count != 0).or(self.no_of_robots).unwrap_or(1);
        start.count = usize::try_from(count).unwrap_or(0);
        start.input_arguments = named(&self.input_arguments);
        start.reference = named(&self.reference);
        start.source = JobSource::Manual;
        if let Some(variables) = named(&self.environment_variables) {
            start.environment = read_environment(&variables)?;
        }
        start.validate()?;
        Ok(start)
    }
}

/// The body of RestartJob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartJobRequest {
    pub job_id: i64,
}

/// The body of ResumeJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResumeJobRequest {
    pub job_key: String,
}

/// Whether something could be done, and why not.
pub fn validation_response(refusal: Option<(&str, &str)>) -> Value {
    json!({
        "IsValid": refusal.is_none(),
        "Errors": refusal.iter().map(|(_, text)| text).collect::<Vec<_>>(),
        "ErrorCodes": refusal.iter().map(|(code, _)| code).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> ProcessSettings {
        let mut settings = ProcessSettings::new("P", vec!["a".to_owned(), "b c".to_owned()]);
        settings.environment.insert("A".to_owned(), "1".to_owned());
        settings.input_arguments = Some("{}".to_owned());
        settings
    }

    #[test]
    fn settings_are_read_as_they_are_written() {
        let text = serde_json::to_string(&ReleaseDto::of(&settings())).unwrap();
        let read: ReleaseDto = serde_json::from_str(&text).unwrap();
        assert_eq!(read.settings().unwrap(), settings());
        let now = jiff::Timestamp::UNIX_EPOCH;
        let key = performer_core::model::key::KeyMaker::with_seed(1).process(now);
        let mut process = Process::new(key, FolderId(7), settings(), now);
        process.id = ProcessId(3);
        let shown = release_response(&process, "Shared", None);
        let read: ReleaseDto = serde_json::from_value(shown).unwrap();
        assert_eq!(read.into_process().unwrap(), process);
    }

    #[test]
    fn a_client_that_knows_no_command_names_a_program() {
        let read = |body: Value| serde_json::from_value::<ReleaseDto>(body).unwrap();
        let new = read(json!({"Name": "P", "ProcessKey": "invoices", "ProcessVersion": "2"}));
        assert_eq!(new.settings().unwrap(), ProcessSettings::new("P", vec!["invoices".to_owned()]));
        for lacking in [json!({"Name": "P"}), json!({"ProcessKey": "p"})] {
            assert_eq!(read(lacking).settings().unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
        }
        let change = |body: Value| read(body).changed(settings()).unwrap().command;
        assert_eq!(change(json!({"Name": "Q"})), ["a", "b c"]);
        assert_eq!(change(json!({"ProcessKey": "a"})), ["a", "b c"], "the program that it has");
        assert_eq!(change(json!({"ProcessKey": "z"})), ["z"]);
        assert_eq!(change(json!({"ProcessKey": "z", "PerformerCommand": ["y", "x"]})), ["y", "x"]);
    }

    #[test]
    fn a_start_is_read_as_it_is_written() {
        let key = performer_core::model::key::KeyMaker::with_seed(1).process(jiff::Timestamp::UNIX_EPOCH);
        let mut start = StartJobs::new(ProcessSelector::Key(key)).count(3);
        start.reference = Some("r".to_owned());
        start.environment.insert("A".to_owned(), "1".to_owned());
        assert_eq!(StartInfoDto::of(&start).start().unwrap(), start);
        let refused = |change: fn(&mut StartInfoDto)| {
            let mut info = StartInfoDto { release_name: Some("P".to_owned()), ..StartInfoDto::default() };
            assert_eq!(info.start().unwrap().count, 1);
            change(&mut info);
            info.start().unwrap_err().code().number()
        };
        assert_eq!(refused(|info| info.release_name = None), 1014);
        assert_eq!(refused(|info| info.release_key = Some("x".to_owned())), 1674);
        assert_eq!(refused(|info| info.jobs_count = Some(-1)), 1015);
        assert_eq!(refused(|info| info.input_arguments = Some("x".to_owned())), 1009);
        assert_eq!(refused(|info| info.kill_process_expression = Some("60".to_owned())), 1009);
        assert_eq!(refused(|info| info.environment_variables = Some("x".to_owned())), 1009);
    }
}
