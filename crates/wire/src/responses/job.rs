//! Responses with jobs (orchestrator-api 15): runs of performers, which have no release and no package, and of processes.

use performer_core::model::code::ErrorCode;
use performer_core::model::job::{Job, JobSource, JobState, StopStrategy};
use serde_json::{Value, json};

use super::super::ApiTime;

/// The code of a job that ended by an error.
const EXECUTION_FAULTED: u16 = 1680;

/// Members for which a run of a performer has no value.
const ALWAYS_NULL: [&str; 27] = [
    "SubState",
    "SpecificPriorityValue",
    "ResourceOverwrites",
    "StartingScheduleId",
    "InputArguments",
    "InputFile",
    "EnvironmentVariables",
    "OutputFile",
    "PersistenceId",
    "ResumeVersion",
    "ReleaseVersionId",
    "EntryPointPath",
    "Reference",
    "ProfilingOptions",
    "LocalSystemAccount",
    "StartingTriggerId",
    "MaxExpectedRunningTimeSeconds",
    "ServerlessJobType",
    "ParentJobKey",
    "ResumeTime",
    "ErrorCode",
    "FpsProperties",
    "FpsContext",
    "TraceId",
    "ParentSpanId",
    "RootSpanId",
    "AutopilotForRobots",
];

/// What responses show of a job.
#[derive(Clone, Debug)]
pub struct JobView<'a> {
    pub job: &'a Job,
    /// As in `Shared/Finance`.
    pub folder_name: String,
    /// The name of the user who started it.
    pub user_name: Option<&'a str>,
    /// The robot of that user.
    pub robot: Option<Value>,
    /// Whether `OutputArguments` has what the job did; lists leave it out.
    pub with_output: bool,
}

/// A job. For a run of a performer the queue stands for the release. Variables of the environment may be secret, and are not shown.
pub fn job(view: &JobView<'_>) -> Value {
    let job = view.job;
    let key = job.key.to_string();
    let end_time = job.end_time.map(ApiTime);
    let strategy = match job.state {
        JobState::Stopping => Some(StopStrategy::SoftStop.name()),
        JobState::Terminating => Some(StopStrategy::Kill.name()),
        _ => None,
    };
    let output = job.figures.as_ref().filter(|_| view.with_output);
    let output = output.and_then(|figures| serde_json::to_string(figures).ok());
    let error = (job.state == JobState::Faulted).then(|| {
        json!({
            "code": ErrorCode::new(EXECUTION_FAULTED).name(), "title": "The job faulted", "detail": job.info,
            "category": null, "status": null, "timestamp": end_time,
        })
    });
    let mut entity = json!({
        "Key": key, "StartTime": ApiTime(job.start_time), "EndTime": end_time, "State": job.state.name(),
        "JobPriority": "Normal", "Robot": view.robot, "Source": "Manual", "SourceType": "Manual",
        "BatchExecutionKey": key, "Info": job.info, "CreationTime": ApiTime(job.start_time),
        "ReleaseName": job.about.queue, "Type": "Unattended", "OutputArguments": output,
        "HostMachineName": job.about.machine, "HasMediaRecorded": false, "HasVideoRecorded": false,
        "StopStrategy": strategy, "RuntimeType": "Unattended", "RequiresUserInteraction": false,
        "OrganizationUnitId": job.folder, "OrganizationUnitFullyQualifiedName": view.folder_name,
        "ProcessType": "Process", "ResumeOnSameContext": false, "OrchestratorUserIdentity": view.user_name,
        "RemoteControlAccess": "None", "LastModificationTime": end_time.unwrap_or(ApiTime(job.start_time)),
        "JobError": error, "Id": job.id, "PerformerRobots": job.about.robots,
        "PerformerProcessId": job.about.process_id, "PerformerVersion": job.about.version,
        "PerformerHeldUntil": ApiTime(job.held_until),
    });
    if let Value::Object(members) = &mut entity {
        members.extend(ALWAYS_NULL.map(|name| (name.to_owned(), Value::Null)));
    }
    if let Some(run) = &job.run {
        let source = if run.source == JobSource::Manual { "Manual" } else { "Schedule" };
        let is_pending = job.state == JobState::Pending || job.about.machine.is_empty();
        let change = ApiTime(job.end_time.unwrap_or(job.start_time));
        for (name, value) in [
            ("StartTime", if is_pending { Value::Null } else { json!(ApiTime(job.start_time)) }),
            ("CreationTime", json!(ApiTime(run.created))),
            ("LastModificationTime", json!(change)),
            ("ReleaseName", run.process_name.as_str().into()),
            ("Source", source.into()),
            ("SourceType", source.into()),
            ("StartingScheduleId", run.trigger.into()),
            ("Reference", run.reference.as_deref().into()),
            ("InputArguments", run.input_arguments.as_deref().filter(|_| view.with_output).into()),
        ] {
            entity[name] = value;
        }
    }
    entity
}
