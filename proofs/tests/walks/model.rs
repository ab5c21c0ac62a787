//! The model: items in a plain list, and the rules of `model::lifecycle` for every change.
//!
//! What a store adds to the rules (content, texts, ancestors, answers) is written here again, as simply as possible: no
//! index, no batch, no statement.

use std::time::Duration;

use performer::jiff::{SignedDuration, Timestamp};
use performer::model::{
    Holder, ItemId, JobNumber, NewQueueItem, Outcome, history::Actors, history::Recorded, history::events,
    lifecycle, lifecycle::Event, lifecycle::ItemState, lifecycle::Transition, selection::SelectionKey,
    selection::is_eligible,
};
use performer::{
    ErrorCode, ExceptionType, ExponentialDelay, Priority, QueuePolicy, RetryDelay, ReviewStatus, Status,
};
use proptest::prelude::*;
use proptest_state_machine::ReferenceStateMachine;

pub fn start_of_time() -> Timestamp {
    "2026-03-01T08:00:00Z".parse().unwrap()
}

pub const LEASE: Duration = Duration::from_secs(30);

/// One step. Numbers select items, claims and jobs by index, modulo their count.
#[derive(Clone, Debug)]
pub enum Step {
    Add {
        reference: u8,
        priority: Priority,
        due_in: Option<i64>,
        defer_in: Option<i64>,
        large: bool,
        progress: bool,
    },
    BulkAdd {
        references: Vec<u8>,
        commit_type: u8,
    },
    AddAndStart {
        job: usize,
        reference: u8,
    },
    StartJob,
    Beat {
        job: usize,
    },
    EndJob {
        job: usize,
    },
    StopJob {
        job: usize,
    },
    Take {
        job: usize,
        count: usize,
        reference: Option<u8>,
        robot: u32,
    },
    Report {
        claim: usize,
        how: ReportKind,
        progress: bool,
    },
    /// A report and a claim in one call.
    ReportAndTake {
        claim: usize,
        how: ReportKind,
        job: usize,
    },
    Progress {
        claim: usize,
    },
    Edit {
        item: usize,
        priority: Priority,
        due_in: Option<i64>,
        defer_in: Option<i64>,
        content: bool,
    },
    Delete {
        item: usize,
        stale: bool,
    },
    Review {
        item: usize,
        to: ReviewStatus,
        stale: bool,
    },
    SetReviewer {
        item: usize,
        stale: bool,
    },
    Comment {
        item: usize,
    },
    Purge {
        item: usize,
    },
    Advance {
        seconds: u64,
    },
    Sweep,
    Retention {
        limit: usize,
    },
}

#[derive(Clone, Copy, Debug)]
pub enum ReportKind {
    Successful { output: bool },
    Business,
    Application { retry_in: Option<i64> },
    Unspecified,
    Postpone { seconds: i64 },
    GiveBack,
}

/// An item, with everything that is visible of it.
#[derive(Clone, Debug)]
pub struct Item {
    pub state: ItemState,
    pub root: usize,
    pub ancestor: Option<usize>,
    pub manual_ancestor: Option<usize>,
    pub reference: Option<String>,
    pub content: String,
    pub output: Option<String>,
    pub exception: Option<(ExceptionType, Timestamp)>,
    pub progress: Option<String>,
    pub executor: Option<usize>,
    pub robot: Option<u32>,
    pub recorded: Vec<Recorded>,
    pub comments: usize,
    pub removed: bool,
}

#[derive(Clone, Debug)]
pub struct Job {
    pub ended: bool,
    pub held_until: Timestamp,
    pub wish: &'static str,
    /// What the sweeper knows: the end of the lease it saw last, and since when.
    heard: Option<(Timestamp, Duration)>,
}

#[derive(Clone, Debug)]
pub struct Model {
    pub policy: QueuePolicy,
    pub now: Timestamp,
    pub elapsed: Duration,
    pub items: Vec<Item>,
    pub jobs: Vec<Job>,
    /// Every claim that was ever made: item, job, token.
    pub claims: Vec<(usize, Holder)>,
    last_look: Duration,
    overdue_from: Duration,
    added: usize,
    /// The answers of the last step.
    pub answers: Vec<String>,
}

pub fn reference(number: u8) -> Option<String> {
    (number > 0).then(|| format!("r{number}"))
}

pub fn content(number: usize, large: bool) -> serde_json::Value {
    let text = if large { "x".repeat(1_200) } else { String::new() };
    serde_json::json!({ "number": number, "text": text })
}

/// An item as both sides add it.
pub fn new_item(step: &Step, number: usize, now: Timestamp) -> NewQueueItem {
    let Step::Add { reference: name, priority, due_in, defer_in, large, progress } = step else {
        unreachable!()
    };
    let mut item = NewQueueItem::new(content(number, *large)).priority(*priority);
    if let Some(reference) = reference(*name) {
        item = item.reference(reference);
    }
    if let Some(seconds) = due_in {
        item = item.due_date(at(now, *seconds));
    }
    if let Some(seconds) = defer_in {
        item = item.defer_date(at(now, *seconds));
    }
    if *progress {
        item = item.progress("asked for");
    }
    item
}

pub fn plain(name: u8) -> Step {
    Step::Add {
        reference: name,
        priority: Priority::Normal,
        due_in: None,
        defer_in: None,
        large: false,
        progress: false,
    }
}

pub fn at(now: Timestamp, seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(seconds)
}

fn refused(refusal: &performer::model::Refusal) -> String {
    if refusal.is_claim_lost() {
        "claim lost".to_owned()
    } else {
        format!("refused {}", refusal.code().number())
    }
}

fn code(code: ErrorCode) -> String {
    format!("refused {}", code.number())
}

impl Model {
    fn holder_of(&self, job: usize, token: u64) -> Holder {
        Holder { job: JobNumber(i64::try_from(job).unwrap() + 1), token }
    }

    fn happen(&mut self, item: usize, event: Event) -> Result<Status, String> {
        let (before, id) = (self.items[item].state, ItemId(i64::try_from(item).unwrap() + 1));
        let changed =
            lifecycle::transition(id, &before, event, &self.policy, self.now).map_err(|it| refused(&it))?;
        let Transition::Change(change) = changed else { return Ok(before.status) };
        self.items[item].recorded.extend(change.recorded);
        self.items[item].state = change.after;
        if let Some(copy) = change.copy {
            let original = self.items[item].clone();
            let by_hand = copy.manual_retry_number > before.manual_retry_number;
            self.items.push(Item {
                state: copy,
                ancestor: (!by_hand).then_some(item),
                manual_ancestor: if by_hand { Some(item) } else { original.manual_ancestor },
                output: None,
                exception: None,
                progress: None,
                executor: None,
                robot: None,
                recorded: Vec::new(),
                comments: 0,
                ..original
            });
        }
        Ok(change.after.status)
    }

    fn holds_reference(&self, reference: &str) -> bool {
        self.items
            .iter()
            .any(|it| !it.removed && it.state.holds_reference && it.reference.as_deref() == Some(reference))
    }

    fn add(&mut self, step: &Step) -> Result<usize, String> {
        let Step::Add { reference: name, large, progress, .. } = step else { unreachable!() };
        let number = self.added;
        self.added += 1;
        let reference = reference(*name);
        if self.policy.enforce_unique_reference {
            match &reference {
                None => return Err(code(ErrorCode::TRANSACTION_REFERENCE_REQUIRED)),
                Some(it) if self.holds_reference(it) => return Err(code(ErrorCode::DUPLICATE_REFERENCE)),
                Some(_) => {}
            }
        }
        let state = lifecycle::added(&new_item(step, number, self.now), &self.policy, self.now);
        self.items.push(Item {
            state,
            root: self.items.len(),
            ancestor: None,
            manual_ancestor: None,
            reference,
            content: content(number, *large).to_string(),
            output: None,
            exception: None,
            progress: progress.then(|| "asked for".to_owned()),
            executor: None,
            robot: None,
            recorded: Vec::new(),
            comments: 0,
            removed: false,
        });
        Ok(self.items.len() - 1)
    }

    fn take_one(&mut self, item: usize, job: usize, robot: u32) -> String {
        let event = Event::Take { job: self.holder_of(job, 0).job };
        self.happen(item, event).unwrap();
        let taken = &mut self.items[item];
        (taken.executor, taken.robot) = (Some(job), Some(robot));
        let token = taken.state.token;
        self.claims.push((item, self.holder_of(job, token)));
        format!("took {}", item + 1)
    }

    fn take(&mut self, job: usize, count: usize, wanted: Option<u8>, robot: u32) -> Vec<String> {
        let wanted = wanted.and_then(reference);
        let mut ready: Vec<(SelectionKey, usize)> = Vec::new();
        for (at, item) in self.items.iter().enumerate() {
            let named = wanted.is_none() || item.reference == wanted;
            if !item.removed && named && is_eligible(&item.state, self.now) {
                let id = ItemId(i64::try_from(at).unwrap() + 1);
                ready.push((SelectionKey::new(item.state.priority, item.state.due_date, id), at));
            }
        }
        ready.sort();
        if ready.is_empty() {
            return vec!["took nothing".to_owned()]; // nobody asks whether the job lives
        }
        if self.jobs[job].ended {
            return vec!["claim lost".to_owned()];
        }
        ready.into_iter().take(count).map(|(_, item)| self.take_one(item, job, robot)).collect()
    }

    fn report(&mut self, claim: usize, how: ReportKind, progress: bool) -> String {
        let (item, claim) = self.claims[claim];
        if self.items[item].removed {
            return "claim lost".to_owned();
        }
        let application =
            |defer_date| Event::Report { claim, outcome: Outcome::ApplicationException, defer_date };
        let event = match how {
            ReportKind::Successful { .. } => {
                Event::Report { claim, outcome: Outcome::Successful, defer_date: None }
            }
            ReportKind::Business => {
                Event::Report { claim, outcome: Outcome::BusinessException, defer_date: None }
            }
            ReportKind::Application { retry_in } => {
                application(retry_in.map(|seconds| at(self.now, seconds)))
            }
            ReportKind::Unspecified => {
                Event::Report { claim, outcome: Outcome::Unspecified, defer_date: None }
            }
            ReportKind::Postpone { seconds } => {
                Event::Postpone { claim, defer_date: at(self.now, seconds), due_date: None }
            }
            ReportKind::GiveBack => Event::GiveBack { claim },
        };
        let before = self.items[item].state.row_version;
        let now = self.now;
        match self.happen(item, event) {
            Err(refused) => refused,
            Ok(status) => {
                let item = &mut self.items[item];
                if item.state.row_version != before {
                    if progress {
                        item.progress = Some("reported".to_owned());
                    }
                    match how {
                        ReportKind::Successful { output: true } => {
                            item.output = Some("{\"done\":true}".to_owned());
                        }
                        ReportKind::Business => {
                            item.exception = Some((ExceptionType::BusinessException, now));
                        }
                        ReportKind::Application { .. } => {
                            item.exception = Some((ExceptionType::ApplicationException, now));
                        }
                        _ => {}
                    }
                }
                format!("{status}")
            }
        }
    }

    /// Jobs end, and what they hold is abandoned, the oldest first.
    fn lose(&mut self, jobs: &[usize]) -> usize {
        jobs.iter().for_each(|job| self.jobs[*job].ended = true);
        let numbers: Vec<_> = jobs.iter().map(|job| self.holder_of(*job, 0).job).collect();
        let held: Vec<usize> = (0..self.items.len())
            .filter(|at| {
                let item = &self.items[*at];
                !item.removed
                    && item.state.status == Status::InProgress
                    && item.state.holder.is_some_and(|holder| numbers.contains(&holder.job))
            })
            .collect();
        for item in &held {
            let job = self.items[*item].state.holder.unwrap().job;
            self.happen(*item, Event::JobLost { job }).unwrap();
        }
        held.len()
    }

    /// A job without a beat for a lease, while the sweeper checked regularly, is lost.
    fn sweep(&mut self) -> String {
        let since_last_look = self.elapsed - std::mem::replace(&mut self.last_look, self.elapsed);
        let mut suspects = Vec::new();
        for (at, job) in self.jobs.iter_mut().enumerate().filter(|(_, job)| !job.ended) {
            let since = match job.heard {
                Some((held_until, since)) if held_until == job.held_until && since_last_look <= LEASE / 3 => {
                    since
                }
                _ => self.elapsed,
            };
            job.heard = Some((job.held_until, since));
            if self.elapsed - since > LEASE && self.now > job.held_until {
                suspects.push(at);
            }
        }
        let mut abandoned = self.lose(&suspects);
        if self.elapsed >= self.overdue_from {
            self.overdue_from = self.elapsed + Duration::from_secs(60);
            for item in 0..self.items.len() {
                let held = !self.items[item].removed && self.items[item].state.status == Status::InProgress;
                abandoned += usize::from(held && self.happen(item, Event::Overdue).is_ok());
            }
        }
        format!("swept {} jobs, {abandoned} items", suspects.len())
    }

    fn chain(&self, item: usize) -> Vec<usize> {
        let root = self.items[item].root;
        (0..self.items.len()).filter(|at| self.items[*at].root == root && !self.items[*at].removed).collect()
    }

    fn retain(&mut self, limit: usize) -> usize {
        let mut removed = 0;
        for root in 0..self.items.len() {
            if removed >= limit {
                break;
            }
            if self.items[root].removed || self.items[root].root != root {
                continue;
            }
            let chain = self.chain(root);
            if chain.iter().all(|at| lifecycle::is_expired(&self.items[*at].state, &self.policy, self.now)) {
                removed += chain.len();
                chain.iter().for_each(|at| self.items[*at].removed = true);
            }
        }
        removed
    }

    /// The visible events of a whole chain.
    pub fn events(&self, item: usize) -> Vec<String> {
        let mut all = Vec::new();
        for at in self.chain(item) {
            let id = ItemId(i64::try_from(at).unwrap() + 1);
            let item = &self.items[at];
            all.extend(
                events(id, &item.state, Actors::default(), &item.recorded)
                    .iter()
                    .map(|event| format!("{event:?}")),
            );
        }
        all
    }

    /// Chains people look at.
    pub fn attempts(&self, item: usize) -> Vec<usize> {
        self.chain(item)
    }

    fn existing(&self, item: usize) -> Option<usize> {
        let item = item % self.items.len().max(1);
        self.items.get(item).filter(|found| !found.removed).map(|_| item)
    }

    fn version(&self, item: usize, stale: bool) -> u64 {
        self.items[item].state.row_version - u64::from(stale)
    }

    fn step(&mut self, step: &Step) -> Vec<String> {
        let not_found = || vec![code(ErrorCode::ITEM_NOT_FOUND)];
        let one = |answer: Result<Status, String>| vec![answer.map_or_else(|it| it, |_| "done".to_owned())];
        match step {
            Step::Add { .. } => match self.add(step) {
                Ok(item) => vec![format!("added {}", item + 1)],
                Err(refused) => vec![refused],
            },
            Step::BulkAdd { references, commit_type } => {
                let before = (self.items.clone(), self.added);
                let mut answers = Vec::new();
                let mut added = 0;
                for (at, name) in references.iter().enumerate() {
                    match self.add(&plain(*name)) {
                        Ok(_) => added += 1,
                        Err(refused) => answers.push(format!("{} {refused}", at + 1)),
                    }
                    if *commit_type == 1 && !answers.is_empty() {
                        break;
                    }
                }
                let numbers = before.1 + references.len(); // both sides number what was asked for
                self.added = numbers;
                if *commit_type == 0 && !answers.is_empty() {
                    (self.items, added) = (before.0, 0);
                }
                answers.push(format!("added {added}"));
                answers
            }
            Step::AddAndStart { job, reference } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                if self.jobs[job].ended {
                    self.added += 1;
                    return vec!["claim lost".to_owned()];
                }
                match self.add(&plain(*reference)) {
                    Ok(item) => vec![self.take_one(item, job, 1)],
                    Err(refused) => vec![refused],
                }
            }
            Step::StartJob => {
                let held_until = self.now + LEASE;
                self.jobs.push(Job { ended: false, held_until, wish: "Running", heard: None });
                vec![format!("job {}", self.jobs.len())]
            }
            Step::Beat { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                let now = self.now;
                let job = &mut self.jobs[job];
                if job.ended {
                    return vec!["claim lost".to_owned()];
                }
                job.held_until = job.held_until.max(now + LEASE);
                vec![job.wish.to_owned()]
            }
            Step::EndJob { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                if self.jobs[job].ended {
                    return vec!["claim lost".to_owned()];
                }
                vec![format!("ended, {} items", self.lose(&[job]))]
            }
            Step::StopJob { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                if self.jobs[job].ended {
                    return vec!["refused 1658".to_owned()];
                }
                self.jobs[job].wish = "Stopping";
                vec!["done".to_owned()]
            }
            Step::Take { job, count, reference, robot } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                self.take(job, *count, *reference, *robot)
            }
            Step::Report { claim, how, progress } => {
                let Some(claim) = self.claim(*claim) else { return Vec::new() };
                vec![self.report(claim, *how, *progress)]
            }
            Step::ReportAndTake { claim, how, job } => {
                let (Some(claim), Some(job)) = (self.claim(*claim), self.job(*job)) else {
                    return Vec::new();
                };
                let mut answers = vec![self.report(claim, *how, false)];
                answers.extend(self.take(job, 1, None, 1));
                answers
            }
            Step::Progress { claim } => {
                let Some(claim) = self.claim(*claim) else { return Vec::new() };
                let (item, claim) = self.claims[claim];
                if self.items[item].removed {
                    return not_found();
                }
                let answer = self.happen(item, Event::Progress { claim: Some(claim) });
                if answer.is_ok() {
                    self.items[item].progress = Some("half".to_owned());
                }
                one(answer)
            }
            Step::Edit { item, priority, due_in, defer_in, content: new_content } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                let due_date = due_in.map(|seconds| at(self.now, seconds));
                let defer_date = defer_in.map(|seconds| at(self.now, seconds));
                let answer = self.happen(item, Event::Edit { priority: *priority, due_date, defer_date });
                if answer.is_ok() && *new_content {
                    self.items[item].content = content(0, true).to_string();
                }
                one(answer)
            }
            Step::Delete { item, stale } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                let row_version = Some(self.version(item, *stale));
                one(self.happen(item, Event::Delete { row_version }))
            }
            Step::Review { item, to, stale } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                let row_version = self.version(item, *stale);
                one(self.happen(item, Event::Review { to: *to, row_version }))
            }
            Step::SetReviewer { item, stale } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                let row_version = self.version(item, *stale);
                one(self.happen(item, Event::SetReviewer { reviewer: Some(7), permitted: true, row_version }))
            }
            Step::Comment { item } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                self.items[item].comments += 1;
                vec!["done".to_owned()]
            }
            Step::Purge { item } => {
                if self.items.is_empty() {
                    return Vec::new();
                }
                let Some(item) = self.existing(*item) else { return not_found() };
                let answer = self.happen(item, Event::Purge);
                if answer.is_ok() {
                    self.items[item].content = "{}".to_owned();
                }
                one(answer)
            }
            Step::Advance { seconds } => {
                self.now += Duration::from_secs(*seconds);
                self.elapsed += Duration::from_secs(*seconds);
                Vec::new()
            }
            Step::Sweep => vec![self.sweep()],
            Step::Retention { limit } => vec![format!("removed {}", self.retain(*limit))],
        }
    }

    pub fn job(&self, job: usize) -> Option<usize> {
        (!self.jobs.is_empty()).then(|| job % self.jobs.len())
    }

    /// One of the last claims, which are those that can still be valid.
    pub fn claim(&self, claim: usize) -> Option<usize> {
        let last = self.claims.len().min(8);
        (last > 0).then(|| self.claims.len() - 1 - claim % last)
    }
}

fn priority() -> impl Strategy<Value = Priority> {
    prop_oneof![Just(Priority::High), Just(Priority::Normal), Just(Priority::Low)]
}

fn soon() -> impl Strategy<Value = Option<i64>> {
    prop_oneof![3 => Just(None), 1 => (-20_i64..60).prop_map(Some)]
}

fn how() -> impl Strategy<Value = ReportKind> {
    prop_oneof![
        3 => any::<bool>().prop_map(|output| ReportKind::Successful { output }),
        1 => Just(ReportKind::Business),
        3 => soon().prop_map(|retry_in| ReportKind::Application { retry_in }),
        1 => Just(ReportKind::Unspecified),
        2 => (-5_i64..40).prop_map(|seconds| ReportKind::Postpone { seconds }),
        1 => Just(ReportKind::GiveBack),
    ]
}

fn review_status() -> impl Strategy<Value = ReviewStatus> {
    prop_oneof![
        1 => Just(ReviewStatus::None),
        1 => Just(ReviewStatus::InReview),
        1 => Just(ReviewStatus::Verified),
        3 => Just(ReviewStatus::Retried),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let any_item = || 0_usize..1_000;
    let rarely = || prop_oneof![7 => Just(false), 1 => Just(true)];
    prop_oneof![
        6 => (0_u8..4, priority(), soon(), soon(), rarely(), rarely()).prop_map(
            |(reference, priority, due_in, defer_in, large, progress)| Step::Add {
                reference, priority, due_in, defer_in, large, progress
            }
        ),
        1 => (prop::collection::vec(0_u8..6, 1..5), 0_u8..3)
            .prop_map(|(references, commit_type)| Step::BulkAdd { references, commit_type }),
        1 => (any_item(), 0_u8..4).prop_map(|(job, reference)| Step::AddAndStart { job, reference }),
        1 => Just(Step::StartJob),
        3 => any_item().prop_map(|job| Step::Beat { job }),
        1 => any_item().prop_map(|job| Step::EndJob { job }),
        1 => any_item().prop_map(|job| Step::StopJob { job }),
        6 => (any_item(), 1_usize..4, prop_oneof![4 => Just(None), 1 => (1_u8..4).prop_map(Some)], 1_u32..4).prop_map(
            |(job, count, reference, robot)| Step::Take { job, count, reference, robot }
        ),
        7 => (any_item(), how(), any::<bool>())
            .prop_map(|(claim, how, progress)| Step::Report { claim, how, progress }),
        3 => (any_item(), how(), any_item()).prop_map(|(claim, how, job)| Step::ReportAndTake { claim, how, job }),
        2 => any_item().prop_map(|claim| Step::Progress { claim }),
        2 => (any_item(), priority(), soon(), soon(), rarely()).prop_map(
            |(item, priority, due_in, defer_in, content)| Step::Edit { item, priority, due_in, defer_in, content }
        ),
        1 => (any_item(), rarely()).prop_map(|(item, stale)| Step::Delete { item, stale }),
        4 => (any_item(), review_status(), rarely()).prop_map(|(item, to, stale)| Step::Review { item, to, stale }),
        1 => (any_item(), rarely()).prop_map(|(item, stale)| Step::SetReviewer { item, stale }),
        1 => any_item().prop_map(|item| Step::Comment { item }),
        1 => any_item().prop_map(|item| Step::Purge { item }),
        4 => (0_u64..12).prop_map(|seconds| Step::Advance { seconds }),
        1 => prop_oneof![Just(3_600_u64), Just(90_000), Just(40 * 86_400)].prop_map(|seconds| Step::Advance { seconds }),
        5 => Just(Step::Sweep),
        1 => (1_usize..4).prop_map(|limit| Step::Retention { limit }),
    ]
}

fn retry_delay() -> impl Strategy<Value = RetryDelay> {
    let seconds = Duration::from_secs;
    prop_oneof![
        2 => Just(RetryDelay::None),
        1 => Just(RetryDelay::Fixed(seconds(4))),
        1 => Just(RetryDelay::Exponential(ExponentialDelay::new(seconds(3), seconds(5)).jitter_percent(80))),
    ]
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        let policy = (any::<bool>(), 0_u32..3, any::<bool>(), prop_oneof![3 => Just(false), 1 => Just(true)]);
        (policy, retry_delay())
            .prop_map(|(policy, retry_delay)| {
                let (accept, max_number_of_retries, retry_abandoned_items, enforce_unique_reference) = policy;
                Self {
                    policy: QueuePolicy::default()
                        .retry_delay(retry_delay)
                        .accept_automatically_retry(accept || max_number_of_retries > 0)
                        .max_number_of_retries(max_number_of_retries)
                        .retry_abandoned_items(retry_abandoned_items)
                        .enforce_unique_reference(enforce_unique_reference),
                    now: start_of_time(),
                    elapsed: Duration::ZERO,
                    items: Vec::new(),
                    jobs: Vec::new(),
                    claims: Vec::new(),
                    last_look: Duration::ZERO,
                    overdue_from: Duration::ZERO,
                    added: 0,
                    answers: Vec::new(),
                }
            })
            .boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        step().boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.answers = state.step(step);
        state
    }
}
