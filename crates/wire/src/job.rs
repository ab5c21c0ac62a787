//! Jobs of robots (orchestrator-api 15).

use serde::{Deserialize, Serialize};

use super::{ApiTime, EnumValue};
use performer_core::model::job::{Job, JobState, NewJob, StopStrategy};
use performer_core::model::key::{JobId, JobKey};

/// A job, with the members that a performer inside it needs, and those that a list shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobDto {
    pub id: i64,
    pub key: Option<uuid::Uuid>,
    pub state: Option<EnumValue<JobState>>,
    pub release_name: Option<String>,
    pub host_machine_name: Option<String>,
    pub creation_time: Option<ApiTime>,
    pub start_time: Option<ApiTime>,
    pub end_time: Option<ApiTime>,
    pub info: Option<String>,
    /// Only with `$expand=Robot`.
    pub robot: Option<RobotDto>,
}

impl JobDto {
    /// The job as lists show it; its process stands for the queue. `None` without a key, a known state or a time.
    pub fn into_job(self) -> Option<Job> {
        let about = NewJob::new(self.release_name.unwrap_or_default())
            .machine(self.host_machine_name.unwrap_or_default());
        let start_time = self.start_time.or(self.creation_time)?.0;
        let mut job = Job::new(JobKey::from_bytes(self.key?.into_bytes()), about, start_time);
        job.id = JobId(self.id);
        job.state = self.state?.known()?;
        job.end_time = self.end_time.map(|at| at.0);
        job.held_until = job.end_time.unwrap_or(start_time);
        job.info = self.info.filter(|info| !info.is_empty());
        Some(job)
    }
}

/// A robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RobotDto {
    pub id: Option<i64>,
    pub name: Option<String>,
}

/// The body of StopJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopJobRequest {
    pub strategy: EnumValue<StopStrategy>,
}

/// The body of StopJobs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopJobsRequest {
    pub job_ids: Vec<i64>,
    pub strategy: EnumValue<StopStrategy>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::round_trip;

    #[test]
    fn a_job_is_parsed() {
        let job: JobDto =
            round_trip(r#"{"Id":3,"Key":null,"State":"Stopping","Robot":{"Id":17,"Name":"R"},"Info":"x"}"#);
        assert_eq!(job.state, Some(JobState::Stopping.into()));
        assert_eq!(job.robot.unwrap().id, Some(17));
        round_trip::<StopJobRequest>(r#"{"strategy":"Kill"}"#);
    }
}
