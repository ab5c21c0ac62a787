//! Robots: one lane of a performer.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::Serialize;

use super::job::Job;
use super::key::{ItemId, JobKey};
use crate::enumeration;

enumeration! {
    /// What a robot is doing (orchestrator-api 12.2).
    pub RobotState {
        /// It may claim an item.
        Available = 0,
        /// It processes a transaction.
        Busy = 1,
        /// Its job stopped beating.
        Disconnected = 2,
        /// Not known.
        Unknown = 3,
    }
}

/// The most robots of one list; [`FleetAdministration::list_robots`](crate::orchestrator::FleetAdministration::list_robots) omits the others.
pub const MAX_ROBOTS_LISTED: usize = 10_000;

/// A robot of a job that has not ended, as the store sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Robot {
    /// Its job.
    #[serde(rename = "JobKey")]
    pub job: JobKey,
    /// Its number in the job, counted from 1.
    pub number: u32,
    /// Busy with an item; Available; Disconnected, if the job did not beat within its lease; Unknown, if the job has
    /// claimed items ahead: the store does not know which of its robots has which.
    pub state: RobotState,
    /// The item it is processing.
    #[serde(rename = "QueueItemId")]
    pub item: Option<ItemId>,
    /// That item's reference.
    pub reference: Option<String>,
    /// Since when: it claimed the item then, or the job started.
    pub since: Timestamp,
}

impl Robot {
    /// A robot that has been in this state since a time, with no item. `number` is counted from 1.
    pub fn new(job: JobKey, number: u32, state: RobotState, since: Timestamp) -> Self {
        Self { job, number, state, item: None, reference: None, since }
    }

    /// The robots of a job that has not ended and holds these items, by number; at most `most` of them, whatever the
    /// job says about itself.
    pub fn all_of(job: &Job, held: &[Held], most: usize, now: Timestamp) -> Vec<Self> {
        let took_ahead = held.iter().any(|held| held.robot.is_none());
        // Of several items of one robot the oldest is shown.
        let by_robot: HashMap<u32, &Held> =
            held.iter().rev().filter_map(|held| Some((held.robot?, held))).collect();
        let robot = |number| {
            let held = by_robot.get(&number).copied();
            let state = match held {
                _ if job.is_lost(now) => RobotState::Disconnected,
                Some(_) => RobotState::Busy,
                None if took_ahead => RobotState::Unknown,
                None => RobotState::Available,
            };
            Self {
                job: job.key,
                number,
                state,
                item: held.map(|held| held.item),
                reference: held.and_then(|held| held.reference.clone()),
                since: held.and_then(|held| held.since).unwrap_or(job.start_time),
            }
        };
        (1..=job.about.robots).take(most).map(robot).collect()
    }
}

/// An item that a job holds.
#[derive(Clone, Debug)]
pub struct Held {
    /// The item.
    pub item: ItemId,
    /// Its reference.
    pub reference: Option<String>,
    /// `None`: it was claimed ahead, for all robots of the job.
    pub robot: Option<u32>,
    /// When it was claimed.
    pub since: Option<Timestamp>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::{DEFAULT_LEASE, JobOwner, NewJob};
    use crate::model::key::{FolderId, KeyMaker};

    #[test]
    fn a_robot_is_what_the_store_can_tell() {
        let now = Timestamp::UNIX_EPOCH;
        let about = NewJob {
            queue: "Invoices".to_owned(),
            machine: "m".to_owned(),
            process_id: 1,
            version: "1".to_owned(),
            robots: 2,
            lease: DEFAULT_LEASE,
        };
        let job =
            Job::started(KeyMaker::with_seed(1).job(now), (FolderId::SHARED, JobOwner::Store), about, now);
        let states = |held: &[Held], now| {
            Robot::all_of(&job, held, MAX_ROBOTS_LISTED, now)
                .iter()
                .map(|robot| robot.state)
                .collect::<Vec<_>>()
        };
        let held = |robot| Held { item: ItemId(7), reference: None, robot, since: Some(now) };
        assert_eq!(states(&[], now), [RobotState::Available; 2]);
        assert_eq!(states(&[held(Some(2))], now), [RobotState::Available, RobotState::Busy]);
        assert_eq!(states(&[held(None), held(Some(1))], now), [RobotState::Busy, RobotState::Unknown]);
        let late = job.held_until + std::time::Duration::from_micros(1);
        assert_eq!(states(&[held(Some(1))], late), [RobotState::Disconnected; 2]);
        // A job that was stored before there was a limit.
        let mut huge = job.clone();
        huge.about.robots = u32::MAX;
        assert_eq!(Robot::all_of(&huge, &[], 3, now).len(), 3);
    }
}
