//! The world of the model: rows, robots, a network, a sweeper, a person, and their possible actions; and the invariants
//! of `docs/reference/lifecycle.md`.

use std::time::Duration;

use jiff::Timestamp;
use performer::model::{
    Holder, ItemId, JobNumber, NewQueueItem, Outcome, QueuePolicy, QueueStatistics, history::remembered,
    lifecycle, lifecycle::Event, lifecycle::ItemState, lifecycle::Transition, lifecycle::transition,
    selection::SelectionKey, selection::is_eligible,
};
use performer::{Priority, ReviewStatus, Status};
use stateright::{Model, Property};

use super::mutant::Mutant;

/// How often each action may happen.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub items: usize,
    /// Items that are added while others are processed.
    pub adds: u8,
    pub retries: u32,
    pub manual: u8,
    pub postpones: u8,
    pub duplicates: u8,
    pub crashes: u8,
    pub deletes: u8,
    pub retry_abandoned: bool,
    /// A lease may end although its job beats.
    pub unsafe_clock: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            items: 1,
            adds: 0,
            retries: 0,
            manual: 0,
            postpones: 0,
            duplicates: 0,
            crashes: 0,
            deletes: 0,
            retry_abandoned: false,
            unsafe_clock: false,
        }
    }
}

#[derive(Debug)]
pub struct Robots {
    pub limits: Limits,
    pub mutant: Option<Mutant>,
}

/// One row, with facts that no store knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    state: ItemState,
    ancestor: Option<usize>,
    copies: u8,
    root: usize,
    /// Results recorded on this attempt.
    results: u8,
    /// The result that a robot was told to be recorded.
    acknowledged: Option<Outcome>,
    transitions: u8,
    events: u8,
    /// How often it was claimed: identifies a claim independently of tokens.
    takes: u8,
}

impl Row {
    fn new(state: ItemState, ancestor: Option<usize>, root: usize) -> Self {
        let (copies, results, transitions, events, takes) = (0, 0, 0, 0, 0);
        Self { state, ancestor, copies, root, results, acknowledged: None, transitions, events, takes }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Job {
    alive: bool,
    /// It has not beaten for longer than its lease.
    silent: bool,
    /// A sweeper has seen that.
    suspected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Robot {
    Idle,
    Holds { row: usize, claim: Holder, take: u8 },
    Reported { row: usize, claim: Holder, take: u8, report: Report },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Report {
    Ends(Outcome),
    Postpones,
    GivesBack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Message {
    robot: usize,
    row: usize,
    claim: Holder,
    take: u8,
    report: Report,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    rows: Vec<Row>,
    robots: [Robot; 2],
    /// Each robot's job; after a crash it starts a new one.
    jobs: Vec<Job>,
    job_of: [usize; 2],
    network: Vec<Message>,
    copy_to_write: Option<(usize, ItemState)>,
    event_to_write: Option<usize>,
    manual: u8,
    postpones: u8,
    duplicates: u8,
    crashes: u8,
    deletes: u8,
    /// Adds that may still happen, those that are committed, and those that were acknowledged.
    adds: u8,
    added: u8,
    add_acknowledged: u8,
    /// The counters of the queue, as a store keeps them.
    counted: QueueStatistics,
    /// The invariant that a step broke, if no later state shows it.
    broken: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// An item is added.
    Add,
    /// An item is added, and the answer is lost.
    AddUnheard,
    Take(usize),
    /// An item is claimed, and the answer is lost.
    TakeUnheard(usize),
    Send(usize, Report),
    /// The robot got no answer to its report, and repeats it.
    SendAgain(usize),
    Deliver(usize),
    /// Delivered, and the answer is lost.
    DeliverUnheard(usize),
    /// Delivered, and delivered again later.
    DeliverTwice(usize),
    Drop(usize),
    Crash(usize),
    /// The job cannot beat any more, although its robot continues.
    FallSilent(usize),
    Beat(usize),
    Suspect(usize),
    EndLease(usize),
    DeferDatePasses(usize),
    Review(usize, ReviewStatus),
    Delete(usize),
    WriteTheRest,
}

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).expect("a time")
}

impl Robots {
    fn policy(&self) -> QueuePolicy {
        let more = u32::from(self.mutant == Some(Mutant::RetryOffByOne));
        QueuePolicy::default()
            .max_number_of_retries(self.limits.retries + more)
            .retry_abandoned_items(self.limits.retry_abandoned)
            .enforce_unique_reference(true)
    }

    /// A new item, as made by the rules.
    fn new_row(&self, root: usize) -> Row {
        let mut item = NewQueueItem::new(()).reference(format!("R{root}")).priority(Priority::Normal);
        if root == 1 {
            item = item.due_date(now()); // the later one is due, and goes first
        }
        let state = lifecycle::added(&item, &self.policy(), now());
        Row::new(state, None, root)
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// Writes a change as the store does, in one transaction (except for two mutants).
    fn write(&self, world: &mut World, row: usize, change: &lifecycle::Change) {
        let before = world.rows[row].state;
        world.rows[row].state = change.after;
        world.counted.moved(&before, &change.after);
        world.rows[row].transitions += 1;
        if self.is(Mutant::EventOutsideTheTransaction) {
            world.event_to_write = Some(row);
        } else {
            world.rows[row].events += 1;
        }
        if change.after.token < before.token {
            world.broken = Some("I6");
        }
        if let Some(copy) = change.copy {
            if self.is(Mutant::CopyInASecondTransaction) {
                world.copy_to_write = Some((row, copy));
            } else {
                world.insert_copy(row, copy);
                if self.is(Mutant::CopyIsNotCounted) {
                    world.counted.count(&copy, -1);
                }
            }
        }
    }

    fn apply_event(&self, world: &mut World, row: usize, event: Event) -> bool {
        match transition(ItemId(row as i64), &world.rows[row].state, event, &self.policy(), now()) {
            Ok(Transition::Change(change)) => {
                self.write(world, row, &change);
                true
            }
            _ => false,
        }
    }

    fn next_row(&self, world: &World) -> Option<usize> {
        let eligible = (0..world.rows.len()).filter(|row| is_eligible(&world.rows[*row].state, now()));
        if self.is(Mutant::OrderIgnoresDueDate) {
            eligible.min()
        } else {
            eligible.min_by_key(|row| world.key(*row))
        }
    }

    fn take(&self, world: &mut World, robot: usize) -> Option<(usize, Holder, u8)> {
        let job = world.job_of[robot];
        if !world.jobs[job].alive {
            return None;
        }
        let row = self.next_row(world)?;
        let ahead = (0..world.rows.len())
            .any(|other| is_eligible(&world.rows[other].state, now()) && world.key(other) < world.key(row));
        if ahead {
            world.broken = Some("I16");
        }
        if !self.apply_event(world, row, Event::Take { job: JobNumber(job as i64) }) {
            return None;
        }
        world.rows[row].takes += 1;
        let take = world.rows[row].takes;
        let state = &mut world.rows[row].state;
        if self.is(Mutant::PostponeKeepsTheToken) {
            state.token = 1;
            state.holder = state.holder.map(|holder| Holder { token: 1, ..holder });
        }
        Some((row, state.holder?, take))
    }

    /// A report arrives. Returns whether the robot is told that it is recorded.
    fn receive(&self, world: &mut World, message: &Message) -> bool {
        let row = message.row;
        let before = world.rows[row].state;
        let mut seen = before;
        let mut claim = message.claim;
        let running =
            ItemState { status: Status::InProgress, holder: Some(claim), superseded: false, ..before };
        match self.mutant {
            Some(Mutant::CompletionChecksStateOnly) if before.status == Status::InProgress => {
                claim = before.holder.unwrap_or(claim);
            }
            Some(Mutant::CompletionChecksIdOnly) if before.start_processing.is_some() => seen = running,
            Some(Mutant::AbandonKeepsTheClaim)
                if before.status == Status::Abandoned && before.holder == Some(claim) =>
            {
                seen = running;
            }
            Some(Mutant::DeleteKeepsTheClaim)
                if before.status == Status::Deleted && before.outcome.is_none() =>
            {
                seen = running;
            }
            _ => {}
        }
        let (outcome, event) = match message.report {
            Report::Ends(outcome) => {
                let retried = self.is(Mutant::BusinessIsRetried) && outcome == Outcome::BusinessException
                    || self.is(Mutant::UnspecifiedIsRetried) && outcome == Outcome::Unspecified;
                let told = if retried { Outcome::ApplicationException } else { outcome };
                (Some(outcome), Event::Report { claim, outcome: told, defer_date: None })
            }
            Report::Postpones => {
                let defer_date = now() + Duration::from_secs(60);
                (None, Event::Postpone { claim, defer_date, due_date: None })
            }
            Report::GivesBack => (None, Event::GiveBack { claim }),
        };
        if self.is(Mutant::AcknowledgedBeforeCommit) && world.crashes > 0 {
            world.rows[row].acknowledged = world.rows[row].acknowledged.or(outcome);
            world.crashes -= 1; // and then the store died, before it wrote
            return true;
        }
        match transition(ItemId(row as i64), &seen, event, &self.policy(), now()) {
            Ok(Transition::Unchanged) => true,
            Ok(Transition::Change(mut change)) => {
                if let Some(outcome) = outcome {
                    change.after.outcome = Some(outcome);
                    world.rows[row].results += 1;
                } else if change.after.retry_number != before.retry_number
                    || change.after.token <= before.token
                {
                    world.broken = Some("I19");
                }
                // I3: recorded under the claim that the row had at that moment, by the robot that held it.
                if before.status != Status::InProgress
                    || before.holder != Some(message.claim)
                    || world.rows[row].takes != message.take
                {
                    world.broken = Some("I3");
                }
                self.write(world, row, &change);
                if outcome.is_some() {
                    world.rows[row].acknowledged = outcome;
                }
                true
            }
            _ => false,
        }
    }

    fn review(&self, world: &mut World, row: usize, to: ReviewStatus) {
        let before = world.rows[row].state;
        if self.is(Mutant::VerifiedIsRetried) && before.review_status == ReviewStatus::Verified {
            world.rows[row].state.review_status = ReviewStatus::None;
        }
        if self.is(Mutant::SupersededIsRetried) && before.superseded {
            world.rows[row].state =
                ItemState { superseded: false, review_status: ReviewStatus::None, ..before };
        }
        let event = Event::Review { to, row_version: before.row_version };
        if !self.apply_event(world, row, event) {
            world.rows[row].state = before;
        } else if before.review_status == ReviewStatus::Verified {
            world.broken = Some("V");
        }
    }
}

impl World {
    fn key(&self, row: usize) -> SelectionKey {
        let state = &self.rows[row].state;
        SelectionKey::new(state.priority, state.due_date, ItemId(row as i64))
    }

    fn insert_copy(&mut self, original: usize, copy: ItemState) {
        self.rows[original].copies += 1;
        self.counted.count(&copy, 1);
        let root = self.rows[original].root;
        self.rows.push(Row::new(copy, Some(original), root));
    }

    fn chain(&self, root: usize) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.root == root)
    }

    fn every_row(&self, holds: impl Fn(&Row) -> bool) -> bool {
        self.rows.iter().all(holds)
    }

    fn every_chain(&self, holds: impl Fn(Vec<&Row>) -> bool) -> bool {
        (0..self.rows.len())
            .filter(|row| self.rows[*row].ancestor.is_none())
            .all(|root| holds(self.chain(root).collect()))
    }
}

const REPORTS: [Report; 5] = [
    Report::Ends(Outcome::Successful),
    Report::Ends(Outcome::BusinessException),
    Report::Ends(Outcome::ApplicationException),
    Report::Ends(Outcome::Unspecified),
    Report::GivesBack,
];

impl Model for Robots {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let row = |root: usize| self.new_row(root);
        let job = Job { alive: true, silent: false, suspected: false };
        let mut counted = QueueStatistics::default();
        (0..self.limits.items).for_each(|root| counted.count(&row(root).state, 1));
        vec![World {
            rows: (0..self.limits.items).map(row).collect(),
            robots: [Robot::Idle; 2],
            jobs: vec![job; 2],
            job_of: [0, 1],
            network: Vec::new(),
            copy_to_write: None,
            event_to_write: None,
            manual: self.limits.manual,
            postpones: self.limits.postpones,
            duplicates: self.limits.duplicates,
            crashes: self.limits.crashes,
            deletes: self.limits.deletes,
            adds: self.limits.adds,
            added: 0,
            add_acknowledged: 0,
            counted,
            broken: None,
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        if world.broken.is_some() {
            return;
        }
        if world.copy_to_write.is_some() || world.event_to_write.is_some() {
            actions.push(Action::WriteTheRest);
        }
        let lossy = world.duplicates > 0;
        if world.adds > 0 {
            actions.extend([Action::Add, Action::AddUnheard]);
        }
        for robot in 0..2 {
            match world.robots[robot] {
                Robot::Idle if self.next_row(world).is_some() => {
                    actions.push(Action::Take(robot));
                    if lossy {
                        actions.push(Action::TakeUnheard(robot));
                    }
                }
                Robot::Idle => {}
                Robot::Holds { .. } => {
                    actions.extend(
                        REPORTS
                            .iter()
                            .filter(|report| **report != Report::GivesBack || world.postpones > 0)
                            .map(|report| Action::Send(robot, *report)),
                    );
                    if world.postpones > 0 {
                        actions.push(Action::Send(robot, Report::Postpones));
                    }
                }
                Robot::Reported { .. } if lossy => actions.push(Action::SendAgain(robot)),
                Robot::Reported { .. } => {}
            }
            let job = world.jobs[world.job_of[robot]];
            if world.crashes > 0 {
                actions.push(Action::Crash(robot));
                if job.alive && !job.silent {
                    actions.push(Action::FallSilent(robot));
                }
            }
            if job.alive && job.silent {
                actions.push(Action::Beat(robot));
            }
        }
        for (at, job) in world.jobs.iter().enumerate().filter(|(_, job)| job.alive) {
            if job.silent && !job.suspected {
                actions.push(Action::Suspect(at));
            }
            let looked_again = job.silent || self.is(Mutant::SweepDecidesOnAnOldBeat);
            if job.suspected && looked_again || self.limits.unsafe_clock {
                actions.push(Action::EndLease(at));
            }
        }
        for at in 0..world.network.len() {
            actions.push(Action::Deliver(at));
            if lossy {
                actions.extend([Action::DeliverUnheard(at), Action::DeliverTwice(at), Action::Drop(at)]);
            }
        }
        for (at, row) in world.rows.iter().enumerate() {
            if row.state.status == Status::New && !is_eligible(&row.state, now()) {
                actions.push(Action::DeferDatePasses(at));
            }
            if world.manual > 0 && (row.state.status.is_reviewable() || row.state.superseded) {
                actions.push(Action::Review(at, ReviewStatus::Retried));
                actions.push(Action::Review(at, ReviewStatus::Verified));
            }
            if world.deletes > 0 && row.state.status != Status::Deleted {
                actions.push(Action::Delete(at));
            }
        }
    }

    fn next_state(&self, last: &World, action: Action) -> Option<World> {
        let mut world = last.clone();
        match action {
            Action::Take(robot) => {
                let (row, claim, take) = self.take(&mut world, robot)?;
                world.robots[robot] = Robot::Holds { row, claim, take };
            }
            Action::TakeUnheard(robot) => {
                world.duplicates -= 1;
                self.take(&mut world, robot)?;
            }
            Action::Send(robot, report) => {
                let Robot::Holds { row, claim, take } = world.robots[robot] else { return None };
                if matches!(report, Report::Postpones | Report::GivesBack) {
                    world.postpones -= 1;
                }
                world.robots[robot] = Robot::Reported { row, claim, take, report };
                world.network.push(Message { robot, row, claim, take, report });
            }
            Action::SendAgain(robot) => {
                let Robot::Reported { row, claim, take, report } = world.robots[robot] else { return None };
                world.duplicates -= 1;
                world.network.push(Message { robot, row, claim, take, report });
            }
            Action::Deliver(at) => {
                let message = world.network.remove(at);
                self.receive(&mut world, &message);
                // Whatever the answer, the robot continues.
                if matches!(world.robots[message.robot], Robot::Reported { row, claim, .. } if (row, claim) == (message.row, message.claim))
                {
                    world.robots[message.robot] = Robot::Idle;
                }
            }
            Action::DeliverUnheard(at) => {
                world.duplicates -= 1;
                let message = world.network.remove(at);
                self.receive(&mut world, &message);
            }
            Action::DeliverTwice(at) => {
                world.duplicates -= 1;
                let message = world.network[at];
                self.receive(&mut world, &message);
            }
            Action::Drop(at) => {
                world.duplicates -= 1;
                world.network.remove(at);
            }
            Action::Crash(robot) => {
                world.crashes -= 1;
                world.copy_to_write = None;
                world.event_to_write = None;
                world.jobs[world.job_of[robot]].silent = true;
                world.robots[robot] = Robot::Idle;
                world.job_of[robot] = world.jobs.len();
                world.jobs.push(Job { alive: true, silent: false, suspected: false });
            }
            Action::FallSilent(robot) => {
                world.crashes -= 1;
                world.jobs[world.job_of[robot]].silent = true;
            }
            Action::Beat(robot) => {
                let job = &mut world.jobs[world.job_of[robot]];
                job.silent = false;
            }
            Action::Suspect(job) => world.jobs[job].suspected = true,
            Action::EndLease(job) => {
                if !world.jobs[job].silent && !self.limits.unsafe_clock {
                    world.broken = Some("I20");
                }
                world.jobs[job].alive = false;
                let number = JobNumber(job as i64);
                for row in 0..world.rows.len() {
                    let held = world.rows[row].state.holder.map(|holder| holder.job) == Some(number);
                    if held && world.rows[row].state.status == Status::InProgress {
                        self.apply_event(&mut world, row, Event::JobLost { job: number });
                    }
                }
                // A robot whose job ended starts a new one with its next claim; the items it holds are lost.
                for robot in 0..2 {
                    if world.job_of[robot] == job {
                        world.job_of[robot] = world.jobs.len();
                        world.jobs.push(Job { alive: true, silent: false, suspected: false });
                    }
                }
                if self.limits.unsafe_clock && world.jobs.len() > 4 {
                    return None; // enough
                }
            }
            Action::Add | Action::AddUnheard => {
                world.adds -= 1;
                world.add_acknowledged += u8::from(action == Action::Add);
                // (Acknowledged, and then the store crashes before it writes: the mutant.)
                if !(self.is(Mutant::AddAcknowledgedBeforeCommit) && world.crashes > 0) {
                    world.added += 1;
                    let row = self.new_row(world.rows.len());
                    world.counted.count(&row.state, 1);
                    world.rows.push(row);
                }
            }
            Action::DeferDatePasses(row) => world.rows[row].state.defer_date = None,
            Action::Review(row, to) => {
                world.manual -= u8::from(to == ReviewStatus::Retried);
                self.review(&mut world, row, to);
            }
            Action::Delete(row) => {
                world.deletes -= 1;
                self.apply_event(&mut world, row, Event::Delete { row_version: None });
            }
            Action::WriteTheRest => {
                if let Some((row, copy)) = world.copy_to_write.take() {
                    world.insert_copy(row, copy);
                }
                if let Some(row) = world.event_to_write.take() {
                    world.rows[row].events += 1;
                }
            }
        }
        (world != *last).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        fn live(row: &Row) -> bool {
            !row.state.status.is_final()
        }
        fn check_step(name: &'static str) -> Property<Robots> {
            // The closures of stateright are plain functions: one for each name.
            match name {
                "I3" => Property::always("I3", |_, world: &World| world.broken != Some("I3")),
                "I6" => Property::always("I6", |_, world: &World| world.broken != Some("I6")),
                "I16" => Property::always("I16", |_, world: &World| world.broken != Some("I16")),
                "I19" => Property::always("I19", |_, world: &World| world.broken != Some("I19")),
                "I20" => Property::always("I20", |_, world: &World| world.broken != Some("I20")),
                _ => Property::always("V", |_, world: &World| world.broken != Some("V")),
            }
        }
        let mut properties: Vec<Property<Self>> =
            ["I3", "I6", "I16", "I19", "I20", "V"].map(check_step).into();
        properties.extend([
            Property::always("I1", |_, world: &World| {
                world.every_chain(|chain| chain.iter().filter(|row| live(row)).count() <= 1)
            }),
            Property::always("I2", |_, world: &World| {
                let successful = |row: &&&Row| row.state.status == Status::Successful;
                world.every_chain(|chain| chain.iter().filter(successful).count() <= 1)
            }),
            Property::always("I4", |_, world: &World| world.every_row(|row| row.results <= 1)),
            Property::always("I5", |_, world: &World| {
                world.every_row(|row| row.acknowledged.is_none() || row.acknowledged == row.state.outcome)
            }),
            Property::always("I7", |_, world: &World| world.every_row(|row| row.copies <= 1)),
            Property::always("I8", |_, world: &World| {
                world.every_row(|row| {
                    let superseded = row.state.superseded;
                    let shows = row.state.status == Status::Retried
                        || row.state.review_status == ReviewStatus::Retried
                        || row.state.status == Status::Deleted;
                    (row.copies == 1) == superseded && (!superseded || shows)
                })
            }),
            Property::always("I9", |_, world: &World| {
                world.every_row(|row| {
                    let automatic = row.state.superseded && row.state.review_status != ReviewStatus::Retried;
                    let retriable =
                        matches!(row.state.outcome, Some(Outcome::ApplicationException | Outcome::Abandoned));
                    !automatic || retriable
                })
            }),
            Property::always("I10", |model: &Self, world: &World| {
                world.every_row(|row| row.state.retry_number <= model.limits.retries)
            }),
            Property::always("I11", |_, world: &World| {
                let reviewed = |row: &Row| row.state.review_status != ReviewStatus::None;
                let may_be = [Status::Failed, Status::Abandoned, Status::Deleted];
                world.every_row(|row| !reviewed(row) || may_be.contains(&row.state.status))
            }),
            Property::always("I12", |_, world: &World| {
                world.every_row(|row| {
                    let running = row.state.status == Status::InProgress;
                    !running || row.state.holder.is_some() && row.state.start_processing.is_some()
                })
            }),
            Property::always("I13", |model: &Self, world: &World| {
                let roots = world.rows.iter().filter(|row| row.ancestor.is_none()).count();
                roots == model.limits.items + usize::from(world.added)
                    && world.every_chain(|chain| !chain.is_empty())
            }),
            Property::always("I14", |model: &Self, world: &World| {
                let roots = world.rows.iter().filter(|row| row.ancestor.is_none()).count();
                roots >= model.limits.items + usize::from(world.add_acknowledged)
            }),
            Property::always("I18", |_, world: &World| {
                let mut recount = QueueStatistics::default();
                world.rows.iter().for_each(|row| recount.count(&row.state, 1));
                recount == world.counted
            }),
            Property::always("I15", |_, world: &World| {
                world.every_chain(|chain| chain.iter().filter(|row| row.state.holds_reference).count() <= 1)
            }),
            Property::always("I17", |_, world: &World| {
                world.every_row(|row| {
                    // The counters of the row never exceed what happened to it.
                    row.events == row.transitions
                        && remembered(&row.state).len() <= usize::from(row.transitions)
                })
            }),
        ]);
        properties
    }
}
