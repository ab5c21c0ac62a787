//! Jobs of robots (orchestrator-api 15).

use serde::{Deserialize, Serialize};

use super::EnumValue;
use performer_core::model::job::{JobState, StopStrategy};

/// A job, with the members that a performer inside it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct JobDto {
    pub id: i64,
    pub key: Option<uuid::Uuid>,
    pub state: Option<EnumValue<JobState>>,
    /// Only with `$expand=Robot`.
    pub robot: Option<RobotDto>,
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
