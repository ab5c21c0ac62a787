//! Why a claim on a queue gets no item: the reasons, from facts about the queue.
//!
//! A claim goes by the [limits](super::limits), the DeferDates and the [groups](super::groups) of the queue, and [`claim_blockers`]
//! goes by the same. The facts are read one after the other, so an item that is added or ends meanwhile may be missing in them:
//! the answer is for people, and no claim depends on it.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use super::job::{Job, JobState};
use super::limits::{MaxStarts, QueueLimits};

/// What is known about a queue when its claims are explained.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ClaimFacts<'a> {
    /// The limits of the queue.
    pub limits: &'a QueueLimits,
    /// How many items are New, postponed ones included.
    pub new: i64,
    /// How many items are InProgress.
    pub in_progress: i64,
    /// The earliest DeferDate, if every item that is New is postponed.
    pub all_postponed_until: Option<Timestamp>,
    /// With [`QueueLimits::max_starts`], if as many items were started as it allows: until when no other is.
    pub start_limit_until: Option<Timestamp>,
    /// With [`QueueLimits::max_in_progress_per_group`]: what is known about the groups of the items that could be claimed.
    pub groups: GroupFacts,
    /// The jobs of all queues; `None` if the back end or the caller's permissions do not show them.
    pub jobs: Option<&'a [Job]>,
    /// The name of the queue, for its jobs.
    pub queue: &'a str,
    /// The time.
    pub now: Timestamp,
}

/// Whether the items that could be claimed wait behind items of their groups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupFacts {
    /// An item is of no group, or its group has less items InProgress than the limit.
    #[default]
    Free,
    /// The groups of all of them have as many items InProgress as the limit allows.
    Full,
    /// Too many items wait to look at all of them.
    Unknown,
}

impl<'a> ClaimFacts<'a> {
    /// The facts about a queue in which nothing is New, nothing is InProgress, and nothing is known about jobs.
    pub fn new(queue: &'a str, limits: &'a QueueLimits, now: Timestamp) -> Self {
        Self {
            limits,
            new: 0,
            in_progress: 0,
            all_postponed_until: None,
            start_limit_until: None,
            groups: GroupFacts::Free,
            jobs: None,
            queue,
            now,
        }
    }
}

/// A reason why a claim gets no item, or may get none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClaimBlocker {
    /// The queue is paused.
    Paused,
    /// No item is New.
    NoNewItems,
    /// Every item that is New is postponed.
    AllPostponed {
        /// How many are New.
        new: i64,
        /// The earliest DeferDate.
        until: Timestamp,
    },
    /// As many items are InProgress as the limit of the queue allows.
    InProgressLimit {
        /// How many are InProgress.
        in_progress: i64,
        /// The limit.
        limit: u32,
    },
    /// As many items were started in the window as the limit of the queue allows.
    StartLimit {
        /// The limit.
        limit: MaxStarts,
        /// When the next item may be started.
        until: Timestamp,
    },
    /// The groups of all items that could be claimed have as many items InProgress as the limit of the queue allows.
    GroupLimit {
        /// The limit.
        limit: u32,
    },
    /// Items of groups that have reached the limit wait; whether all are of such groups is not known.
    SomeGroupsFull {
        /// The limit.
        limit: u32,
    },
    /// All performers on the queue were asked to stop.
    JobsStopping {
        /// How many they are.
        jobs: usize,
    },
    /// No performer is running on the queue.
    NoRunningJob,
}

impl ClaimBlocker {
    /// Whether no claim gets an item as long as this is so. The others may hold some items back, or say that no job claims.
    pub fn is_certain(&self) -> bool {
        !matches!(self, Self::SomeGroupsFull { .. } | Self::JobsStopping { .. } | Self::NoRunningJob)
    }

    /// Its name, for programs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Paused => "Paused",
            Self::NoNewItems => "NoNewItems",
            Self::AllPostponed { .. } => "AllPostponed",
            Self::InProgressLimit { .. } => "InProgressLimit",
            Self::StartLimit { .. } => "StartLimit",
            Self::GroupLimit { .. } => "GroupLimit",
            Self::SomeGroupsFull { .. } => "SomeGroupsFull",
            Self::JobsStopping { .. } => "JobsStopping",
            Self::NoRunningJob => "NoRunningJob",
        }
    }

    /// When it ends by itself, if that depends on the time alone.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::AllPostponed { until, .. } | Self::StartLimit { until, .. } => Some(*until),
            _ => None,
        }
    }
}

/// A sentence for people.
impl fmt::Display for ClaimBlocker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = |at: &Timestamp| at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
        match self {
            Self::Paused => f.write_str("The queue is paused: it hands out nothing until it is resumed."),
            Self::NoNewItems => f.write_str("No item is New."),
            Self::AllPostponed { new: 1, until } => {
                write!(f, "The only item that is New is postponed until {}.", time(until))
            }
            Self::AllPostponed { new, until } => {
                write!(f, "All {new} items that are New are postponed; the first until {}.", time(until))
            }
            Self::InProgressLimit { in_progress, limit } => {
                let items = if *in_progress == 1 { "item is" } else { "items are" };
                write!(f, "{in_progress} {items} InProgress, and the limit of the queue is {limit}.")
            }
            Self::StartLimit { limit: MaxStarts { count, per }, until } => {
                let per = SignedDuration::try_from(*per).unwrap_or(SignedDuration::MAX);
                write!(
                    f,
                    "{count} items were started within {per:#}, which is the limit of the queue; the next may start at {}.",
                    time(until)
                )
            }
            Self::GroupLimit { limit } => write!(
                f,
                "The groups of all items that wait have items InProgress, and the limit of a group is {limit}."
            ),
            Self::SomeGroupsFull { limit } => write!(
                f,
                "Items wait whose groups have items InProgress, and the limit of a group is {limit}; not all items that wait were looked at."
            ),
            Self::JobsStopping { .. } => f.write_str("All performers on this queue were asked to stop."),
            Self::NoRunningJob => f.write_str(
                "No performer is running on this queue. (Robots that claim with the Orchestrator's own calls have no job here: they may be at work.)",
            ),
        }
    }
}

/// As an object: its name, whether it is certain, the sentence, and when it ends by itself.
impl Serialize for ClaimBlocker {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Shape {
            name: &'static str,
            is_certain: bool,
            message: String,
            until: Option<Timestamp>,
        }
        let message = self.to_string();
        let shape = Shape { name: self.name(), is_certain: self.is_certain(), message, until: self.until() };
        shape.serialize(serializer)
    }
}

/// Why a claim gets no item: first what holds every claim back, then what may. Empty if a claim that is made now gets one.
pub fn claim_blockers(facts: &ClaimFacts<'_>) -> Vec<ClaimBlocker> {
    let (limits, mut blockers) = (facts.limits, Vec::new());
    if limits.paused {
        blockers.push(ClaimBlocker::Paused);
    }
    if facts.new == 0 {
        blockers.push(ClaimBlocker::NoNewItems);
    } else if let Some(until) = facts.all_postponed_until.filter(|until| *until > facts.now) {
        blockers.push(ClaimBlocker::AllPostponed { new: facts.new, until });
    } else {
        blockers.extend(limits.max_in_progress_per_group.and_then(|limit| match facts.groups {
            GroupFacts::Free => None,
            GroupFacts::Full => Some(ClaimBlocker::GroupLimit { limit }),
            GroupFacts::Unknown => Some(ClaimBlocker::SomeGroupsFull { limit }),
        }));
    }
    if let Some(limit) = limits.max_in_progress.filter(|limit| facts.in_progress >= i64::from(*limit)) {
        blockers.push(ClaimBlocker::InProgressLimit { in_progress: facts.in_progress, limit });
    }
    let reached = facts.start_limit_until.filter(|until| *until > facts.now);
    if let (Some(limit), Some(until)) = (limits.max_starts, reached) {
        blockers.push(ClaimBlocker::StartLimit { limit, until });
    }
    blockers.extend(facts.jobs.and_then(|jobs| blocking_jobs(jobs, facts)));
    blockers.sort_by_key(|blocker| !blocker.is_certain());
    blockers
}

fn blocking_jobs(jobs: &[Job], facts: &ClaimFacts<'_>) -> Option<ClaimBlocker> {
    let queue = facts.queue.to_lowercase();
    let of_queue = jobs.iter().filter(|job| job.about.queue.to_lowercase() == queue);
    let alive: Vec<&Job> = of_queue.filter(|job| !job.state.is_final() && !job.is_lost(facts.now)).collect();
    match alive.len() {
        0 => Some(ClaimBlocker::NoRunningJob),
        _ if alive.iter().any(|job| job.state == JobState::Running) => None,
        jobs => Some(ClaimBlocker::JobsStopping { jobs }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::job::NewJob;
    use super::super::key::JobKey;
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_790_000_000 + second).unwrap()
    }

    fn job(queue: &str, state: JobState, held_until: Timestamp) -> Job {
        let mut job = Job::new(JobKey::CALLER, NewJob::new(queue), at(-60));
        (job.state, job.held_until) = (state, held_until);
        job
    }

    /// The names of the reasons of a queue in which ten items are New.
    fn names(limits: QueueLimits, change: impl FnOnce(&mut ClaimFacts<'_>)) -> Vec<&'static str> {
        let jobs = [job("invoices", JobState::Running, at(20))];
        let mut facts = ClaimFacts::new("Invoices", &limits, at(0));
        (facts.new, facts.jobs) = (10, Some(&jobs[..]));
        change(&mut facts);
        claim_blockers(&facts).iter().map(ClaimBlocker::name).collect()
    }

    /// The names of the reasons of a queue without limits that has these jobs.
    fn with_jobs(jobs: Option<&[Job]>) -> Vec<&'static str> {
        let limits = QueueLimits::default();
        let mut facts = ClaimFacts::new("Invoices", &limits, at(0));
        (facts.new, facts.jobs) = (10, jobs);
        claim_blockers(&facts).iter().map(ClaimBlocker::name).collect()
    }

    #[test]
    fn a_queue_with_items_and_a_performer_has_no_blocker() {
        assert_eq!(names(QueueLimits::default(), |_| ()), [""; 0]);
        let wide = QueueLimits {
            max_in_progress: Some(3),
            max_in_progress_per_group: Some(1),
            ..Default::default()
        };
        assert_eq!(names(wide, |facts| facts.in_progress = 2), [""; 0]);
    }

    #[test]
    fn each_blocker_is_named_and_those_that_are_certain_come_first() {
        let none = QueueLimits::default();
        assert_eq!(names(none, |facts| facts.new = 0), ["NoNewItems"]);
        assert_eq!(names(none, |facts| facts.all_postponed_until = Some(at(1))), ["AllPostponed"]);
        assert_eq!(
            names(none, |facts| facts.all_postponed_until = Some(at(0))),
            [""; 0],
            "its time has come"
        );
        let paused = QueueLimits { paused: true, ..none };
        assert_eq!(names(paused, |facts| facts.new = 0), ["Paused", "NoNewItems"]);
        let three = QueueLimits { max_in_progress: Some(3), ..none };
        assert_eq!(names(three, |facts| facts.in_progress = 3), ["InProgressLimit"]);
        let grouped = QueueLimits { max_in_progress_per_group: Some(1), ..none };
        assert_eq!(names(grouped, |facts| facts.groups = GroupFacts::Full), ["GroupLimit"]);
        assert_eq!(names(grouped, |facts| facts.groups = GroupFacts::Unknown), ["SomeGroupsFull"]);
        assert_eq!(names(none, |facts| facts.groups = GroupFacts::Full), [""; 0], "the limit was removed");
        let certain_first = |facts: &mut ClaimFacts<'_>| {
            (facts.groups, facts.in_progress) = (GroupFacts::Unknown, 4);
            facts.jobs = Some(&[]);
        };
        let both = QueueLimits { max_in_progress_per_group: Some(1), ..three };
        assert_eq!(names(both, certain_first), ["InProgressLimit", "SomeGroupsFull", "NoRunningJob"]);
    }

    #[test]
    fn a_start_limit_holds_claims_back_until_its_end() {
        let limit = MaxStarts { count: 5, per: Duration::from_secs(60) };
        let limits = QueueLimits { max_starts: Some(limit), ..QueueLimits::default() };
        let after = |second| {
            let mut facts = ClaimFacts::new("Invoices", &limits, at(second));
            (facts.new, facts.start_limit_until) = (1, Some(at(60)));
            claim_blockers(&facts)
        };
        assert_eq!(after(59), [ClaimBlocker::StartLimit { limit, until: at(60) }]);
        assert_eq!(after(61), []);
        let text = after(59)[0].to_string();
        assert!(text.starts_with("5 items were started within 1m, which is the limit"), "{text}");
    }

    #[test]
    fn performers_that_are_not_there_are_named_unless_they_cannot_be_known() {
        let with = |jobs: &[Job]| with_jobs(Some(jobs));
        assert_eq!(with(&[]), ["NoRunningJob"]);
        assert_eq!(with(&[job("Orders", JobState::Running, at(20))]), ["NoRunningJob"]);
        assert_eq!(
            with(&[job("Invoices", JobState::Running, at(-1))]),
            ["NoRunningJob"],
            "its lease is over"
        );
        assert_eq!(with(&[job("Invoices", JobState::Stopped, at(20))]), ["NoRunningJob"]);
        assert_eq!(with(&[job("Invoices", JobState::Stopping, at(20))]), ["JobsStopping"]);
        let both = [job("Invoices", JobState::Stopping, at(20)), job("Invoices", JobState::Running, at(20))];
        assert_eq!(with(&both), [""; 0]);
        assert_eq!(with_jobs(None), [""; 0]);
    }

    #[test]
    fn programs_get_a_name_and_a_time() {
        let limits = QueueLimits::default();
        let mut facts = ClaimFacts::new("Invoices", &limits, at(0));
        (facts.new, facts.all_postponed_until) = (2, Some(at(5)));
        let json = serde_json::to_value(claim_blockers(&facts)).unwrap();
        assert_eq!(json[0]["Name"], "AllPostponed");
        assert_eq!(json[0]["IsCertain"], true);
        assert_eq!(json[0]["Until"], at(5).to_string());
        assert!(json[0]["Message"].as_str().unwrap().starts_with("All 2 items that are New are postponed"));
    }
}
