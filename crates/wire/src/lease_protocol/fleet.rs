//! Jobs and robots in lists.

use serde::{Deserialize, Serialize};

use super::super::ApiTime;
use super::{StartJobRequest, guid, key};
use performer_core::model::job::{Job, JobFigures, JobOwner, JobState};
use performer_core::model::key::{FolderId, ItemId, JobId};
use performer_core::model::process::JobRun;
use performer_core::model::robot::{Robot, RobotState};

/// A job in a list.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListedJob {
    #[serde(default)]
    id: JobId,
    job: uuid::Uuid,
    about: StartJobRequest,
    state: JobState,
    start_time: ApiTime,
    held_until: ApiTime,
    end_time: Option<ApiTime>,
    info: Option<String>,
    #[serde(default)]
    figures: Option<JobFigures>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<Box<JobRun>>,
}

impl From<Job> for ListedJob {
    fn from(job: Job) -> Self {
        Self {
            id: job.id,
            job: guid(job.key),
            about: job.about.into(),
            state: job.state,
            start_time: ApiTime(job.start_time),
            held_until: ApiTime(job.held_until),
            end_time: job.end_time.map(ApiTime),
            info: job.info,
            figures: job.figures,
            run: job.run.map(|mut run| {
                run.environment.clear(); // it may be secret
                run
            }),
        }
    }
}

impl From<ListedJob> for Job {
    fn from(job: ListedJob) -> Self {
        let mut listed = Self::new(key(job.job), job.about.into(), job.start_time.0);
        listed.id = job.id;
        listed.folder = FolderId::SHARED;
        listed.owner = JobOwner::Unknown;
        listed.state = job.state;
        listed.held_until = job.held_until.0;
        listed.end_time = job.end_time.map(|at| at.0);
        listed.info = job.info;
        listed.figures = job.figures;
        listed.run = job.run;
        listed
    }
}

/// A robot of a job in a list.
#[derive(Serialize, Deserialize)]
pub struct ListedRobot {
    job: uuid::Uuid,
    number: u32,
    state: RobotState,
    item: Option<i64>,
    reference: Option<String>,
    since: ApiTime,
}

impl From<Robot> for ListedRobot {
    fn from(robot: Robot) -> Self {
        let Robot { job, number, state, item, reference, since, .. } = robot;
        let (job, item) = (guid(job), item.map(|item| item.0));
        Self { job, number, state, item, reference, since: ApiTime(since) }
    }
}

impl From<ListedRobot> for Robot {
    fn from(robot: ListedRobot) -> Self {
        let ListedRobot { job, number, state, item, reference, since } = robot;
        let mut robot = Self::new(key(job), number, state, since.0);
        robot.item = item.map(ItemId);
        robot.reference = reference;
        robot
    }
}
