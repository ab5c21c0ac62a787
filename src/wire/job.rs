//! Jobs of robots (orchestrator-api 15).

use serde::{Deserialize, Serialize};

use super::EnumValue;
use crate::model::job::{JobState, StopStrategy};

/// A job, with the members that a performer inside it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct JobDto {
    pub(crate) id: i64,
    pub(crate) key: Option<uuid::Uuid>,
    pub(crate) state: Option<EnumValue<JobState>>,
    /// Only with `$expand=Robot`.
    pub(crate) robot: Option<RobotDto>,
}

/// A robot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RobotDto {
    pub(crate) id: Option<i64>,
    pub(crate) name: Option<String>,
}

/// The body of StopJob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StopJobRequest {
    pub(crate) strategy: EnumValue<StopStrategy>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::round_trip;

    #[test]
    fn a_job_is_parsed() {
        let job: JobDto =
            round_trip(r#"{"Id":3,"Key":null,"State":"Stopping","Robot":{"Id":17,"Name":"R"},"Info":"x"}"#);
        assert_eq!(job.state, Some(JobState::Stopping.into()));
        assert_eq!(job.robot.unwrap().id, Some(17));
        round_trip::<StopJobRequest>(r#"{"strategy":"Kill"}"#);
    }
}
