//! A store under test: runs the steps, and is compared with the model after each.

use std::marker::PhantomData;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use performer::model::{Claim, ManualClock, NewJob, TransactionResult};
use performer::orchestrator::store::Store;
use performer::orchestrator::{ClaimRequest, ClaimedItems, OrchestratorError, Report};
use performer::orchestrator::{
    FleetAdministration as _, ItemAdministration as _, QueueAdministration as _, ReviewAdministration as _,
};
use performer::{
    CommitType, ExceptionType, FieldEdit, ItemEdit, ItemFilter, ItemId, ItemVersion, JobKey, JobState,
    NewQueueDefinition, Orchestrator, Output, Page, Person, ProcessingException, QueueItem, ReferenceFilter,
    SpecificContent, Status, StopStrategy,
};
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest};

use super::model::{self, LEASE, Model, ReportKind, Step};

const QUEUE: &str = "Walks";

/// A kind of store.
pub trait StoreUnderTest: std::fmt::Debug + 'static {
    /// Opens a store, with a guard that removes it.
    fn open(clock: Arc<ManualClock>) -> (Store, Option<Box<dyn std::any::Any>>);
}

/// A directory in memory, if there is one: these tests are not about the disk.
pub fn quick_folder() -> tempfile::TempDir {
    let memory = std::path::Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// A bug that is injected between the steps and the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InjectedBug {
    /// An old claim counts as the newest one of its item.
    IgnoresTheClaim,
    /// A postponement becomes a give-back.
    ForgetsPostponements,
    /// Business exceptions are retried.
    RetriesEverything,
    /// The due date is lost.
    LosesTheDueDate,
    /// A stale row version is replaced by the current one.
    AcceptsAnyVersion,
}

impl InjectedBug {
    pub const ALL: &[Self] = &[
        Self::IgnoresTheClaim,
        Self::ForgetsPostponements,
        Self::RetriesEverything,
        Self::LosesTheDueDate,
        Self::AcceptsAnyVersion,
    ];
}

#[derive(Debug)]
pub struct System<S> {
    store: Store,
    clock: Arc<ManualClock>,
    _kept: Option<Box<dyn std::any::Any>>,
    jobs: Vec<JobKey>,
    claims: Vec<Claim>,
    /// How many items there were before the step, removed ones included.
    items: usize,
    added: usize,
    steps: usize,
    bug: Option<InjectedBug>,
    kind: PhantomData<S>,
}

/// A store that is called directly answers at once.
fn now<T>(answer: impl Future<Output = T>) -> T {
    match pin!(answer).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => answer,
        Poll::Pending => panic!("a store that is called in place let its caller wait"),
    }
}

fn refused(error: &OrchestratorError) -> String {
    if error.is_claim_lost() {
        return "claim lost".to_owned();
    }
    format!("refused {}", error.code().unwrap_or_else(|| panic!("{error:?}")).number())
}

fn done<T>(answer: Result<T, OrchestratorError>) -> Vec<String> {
    vec![answer.map_or_else(|error| refused(&error), |_| "done".to_owned())]
}

impl<S: StoreUnderTest> System<S> {
    fn new(model: &Model) -> Self {
        let clock = Arc::new(ManualClock::new(model::start_of_time()));
        let (store, kept) = S::open(clock.clone());
        now(store.create_queue(NewQueueDefinition::new(QUEUE).policy(model.policy.clone()))).unwrap();
        let (jobs, claims) = (Vec::new(), Vec::new());
        Self {
            store,
            clock,
            _kept: kept,
            jobs,
            claims,
            items: 0,
            added: 0,
            steps: 0,
            bug: None,
            kind: PhantomData,
        }
    }

    /// Walks with an injected bug; panics when it shows.
    pub fn walk_with_bug(bug: InjectedBug, model: &Model, steps: Vec<Step>) {
        let mut system = Self::new(model);
        system.bug = Some(bug);
        let mut model = model.clone();
        for step in steps {
            model = Model::apply(model, &step);
            system.follow(&model, &step);
        }
        system.compare_all(&model);
    }

    fn follow(&mut self, model: &Model, step: &Step) {
        let answers = self.step(step);
        assert_eq!(answers, model.answers, "{step:?}");
        self.steps += 1;
        self.items = model.items.len();
        // Everything sometimes and at the end; in between what a step may have changed.
        if self.steps.is_multiple_of(10) {
            self.compare_all(model);
        }
    }

    fn took(&mut self, taken: Result<ClaimedItems, OrchestratorError>) -> Vec<String> {
        match taken {
            Err(error) => vec![refused(&error)],
            Ok(taken) if taken.items.is_empty() => vec!["took nothing".to_owned()],
            Ok(taken) => {
                self.claims.extend(taken.items.iter().map(|item| item.claim));
                taken.items.iter().map(|item| format!("took {}", item.item.id)).collect()
            }
        }
    }

    fn take(&self, job: usize, count: usize, reference: Option<u8>, robot: u32) -> ClaimRequest {
        let reference = reference.and_then(model::reference).map(ReferenceFilter::Equals);
        ClaimRequest::new(QUEUE, self.jobs[job], count).robot(robot).reference(reference)
    }

    fn report(&self, claim: usize, how: ReportKind, progress: bool) -> Report {
        use performer::model::Clock;
        let time = self.clock.now();
        let exception = |kind| Some(ProcessingException::new(kind, "it went wrong", time));
        let mut claim = self.claims[claim];
        if self.bug == Some(InjectedBug::IgnoresTheClaim) {
            claim = *self.claims.iter().rev().find(|other| other.item() == claim.item()).unwrap();
        }
        let result = match how {
            ReportKind::Successful { output } => TransactionResult::Successful {
                output: output.then(|| Output::new(&serde_json::json!({ "done": true })).unwrap()),
            },
            ReportKind::Business if self.bug == Some(InjectedBug::RetriesEverything) => {
                TransactionResult::Failed {
                    exception: exception(ExceptionType::ApplicationException),
                    defer_date: None,
                }
            }
            ReportKind::Business => TransactionResult::Failed {
                exception: exception(ExceptionType::BusinessException),
                defer_date: None,
            },
            ReportKind::Application { retry_in } => TransactionResult::Failed {
                exception: exception(ExceptionType::ApplicationException),
                defer_date: retry_in.map(|seconds| model::at(time, seconds)),
            },
            ReportKind::Unspecified => TransactionResult::Failed { exception: None, defer_date: None },
            ReportKind::Postpone { .. } if self.bug == Some(InjectedBug::ForgetsPostponements) => {
                TransactionResult::GivenBack
            }
            ReportKind::Postpone { seconds } => {
                TransactionResult::Postponed { defer_date: model::at(time, seconds), due_date: None }
            }
            ReportKind::GiveBack => TransactionResult::GivenBack,
        };
        let report = Report::new(claim, result);
        if progress { report.progress("reported") } else { report }
    }

    fn reported(answers: Vec<Result<Status, OrchestratorError>>) -> String {
        let answer = answers.into_iter().next().unwrap();
        answer.map_or_else(|error| refused(&error), |status| status.to_string())
    }

    fn item(&self, item: usize) -> ItemId {
        ItemId(i64::try_from(item % self.items).unwrap() + 1)
    }

    fn job(&self, job: usize) -> Option<usize> {
        (!self.jobs.is_empty()).then(|| job % self.jobs.len())
    }

    fn claim(&self, claim: usize) -> Option<usize> {
        let last = self.claims.len().min(8);
        (last > 0).then(|| self.claims.len() - 1 - claim % last)
    }

    /// The row version in this step of the model: the current one, or the one before.
    fn version(&self, id: ItemId, stale: bool) -> ItemVersion {
        let version = now(self.store.get_queue_item(id)).map_or(1, |item| item.row_version);
        let stale = stale && self.bug != Some(InjectedBug::AcceptsAnyVersion);
        ItemVersion { id, row_version: version - u64::from(stale) }
    }

    fn step(&mut self, step: &Step) -> Vec<String> {
        use performer::model::Clock;
        let time = self.clock.now();
        let failed = |failed: Result<performer::FailedItems, OrchestratorError>| {
            let failed = failed.unwrap().0;
            let answer = failed
                .first()
                .map_or("done".to_owned(), |(_, refusal)| format!("refused {}", refusal.code().number()));
            vec![answer]
        };
        match step {
            Step::Add { .. } => {
                let mut step = step.clone();
                if let (Step::Add { due_in, .. }, Some(InjectedBug::LosesTheDueDate)) = (&mut step, self.bug)
                {
                    *due_in = None;
                }
                let item = model::new_item(&step, self.added, time);
                self.added += 1;
                let added = now(self.store.add_queue_item(QUEUE, item));
                vec![added.map_or_else(|error| refused(&error), |item| format!("added {}", item.id))]
            }
            Step::BulkAdd { references, commit_type } => {
                let numbered = references.iter().zip(self.added..);
                let items =
                    numbered.map(|(name, number)| model::new_item(&model::plain(*name), number, time));
                let items = items.collect();
                self.added += references.len();
                let commit_type = [
                    CommitType::AllOrNothing,
                    CommitType::StopOnFirstFailure,
                    CommitType::ProcessAllIndependently,
                ][usize::from(*commit_type)];
                let bulk = now(self.store.bulk_add_queue_items(QUEUE, commit_type, items)).unwrap();
                let mut answers: Vec<_> = bulk
                    .failed
                    .iter()
                    .map(|failed| format!("{} refused {}", failed.ordinal, failed.refusal.code().number()))
                    .collect();
                answers.push(format!("added {}", bulk.added));
                answers
            }
            Step::AddAndStart { job, reference } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                let item = model::new_item(&model::plain(*reference), self.added, time);
                self.added += 1;
                match now(self.store.add_and_start_transaction(self.take(job, 1, None, 1), item)) {
                    Err(error) => vec![refused(&error)],
                    Ok(claimed) => {
                        self.claims.push(claimed.claim);
                        vec![format!("took {}", claimed.item.id)]
                    }
                }
            }
            Step::StartJob => {
                let job =
                    NewJob::new(QUEUE).machine("walk").process_id(1).version("0").robots(3).lease(LEASE);
                self.jobs.push(now(self.store.start_job(job)).unwrap());
                vec![format!("job {}", self.jobs.len())]
            }
            Step::Beat { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                let beaten = now(self.store.beat(self.jobs[job]));
                vec![beaten.map_or_else(|error| refused(&error), |state| state.to_string())]
            }
            Step::EndJob { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                let ended = now(self.store.end_job(self.jobs[job], JobState::Successful.into()));
                let shown =
                    |swept: performer::orchestrator::Swept| format!("ended, {} items", swept.abandoned);
                vec![ended.map_or_else(|error| refused(&error), shown)]
            }
            Step::StopJob { job } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                done(now(self.store.stop_job(self.jobs[job], StopStrategy::SoftStop)))
            }
            Step::Take { job, count, reference, robot } => {
                let Some(job) = self.job(*job) else { return Vec::new() };
                let take = self.take(job, *count, *reference, *robot);
                let taken = now(self.store.report_and_claim(Vec::new(), Some(take))).claimed;
                self.took(taken)
            }
            Step::Report { claim, how, progress } => {
                let Some(claim) = self.claim(*claim) else { return Vec::new() };
                let report = self.report(claim, *how, *progress);
                vec![Self::reported(now(self.store.report_and_claim(vec![report], None)).reports)]
            }
            Step::ReportAndTake { claim, how, job } => {
                let (Some(claim), Some(job)) = (self.claim(*claim), self.job(*job)) else {
                    return Vec::new();
                };
                let (report, take) = (self.report(claim, *how, false), self.take(job, 1, None, 1));
                let answer = now(self.store.report_and_claim(vec![report], Some(take)));
                let mut answers = vec![Self::reported(answer.reports)];
                answers.extend(self.took(answer.claimed));
                answers
            }
            Step::Progress { claim } => {
                let Some(claim) = self.claim(*claim) else { return Vec::new() };
                done(now(self.store.set_transaction_progress(self.claims[claim], "half".to_owned())))
            }
            Step::Edit { .. }
            | Step::Delete { .. }
            | Step::Review { .. }
            | Step::SetReviewer { .. }
            | Step::Comment { .. }
            | Step::Purge { .. }
                if self.items == 0 =>
            {
                Vec::new()
            }
            Step::Edit { item, priority, due_in, defer_in, content } => {
                let edit = ItemEdit::default()
                    .priority(*priority)
                    .due_date(FieldEdit::to(due_in.map(|seconds| model::at(time, seconds))))
                    .defer_date(FieldEdit::to(defer_in.map(|seconds| model::at(time, seconds))))
                    .specific_content(
                        content.then(|| SpecificContent::new(&model::content(0, true)).unwrap()),
                    );
                done(now(self.store.edit_queue_item(self.item(*item), edit)))
            }
            Step::Delete { item, stale } => {
                let version = self.version(self.item(*item), *stale);
                failed(now(self.store.delete_queue_items(vec![version])))
            }
            Step::Review { item, to, stale } => {
                let version = self.version(self.item(*item), *stale);
                failed(now(self.store.set_review_status(*to, vec![version])))
            }
            Step::SetReviewer { item, stale } => {
                let version = self.version(self.item(*item), *stale);
                failed(now(self.store.set_reviewer(Some(7), vec![version])))
            }
            Step::Comment { item } => {
                let person = Person { user_id: Some(7), user_name: Some("ann".to_owned()) };
                done(now(self.store.add_comment(self.item(*item), person, "look".to_owned())))
            }
            Step::Purge { item } => done(now(self.store.purge_content(self.item(*item)))),
            Step::Advance { seconds } => {
                self.clock.advance(std::time::Duration::from_secs(*seconds));
                Vec::new()
            }
            Step::Sweep => {
                let swept = now(self.store.sweep()).unwrap();
                vec![format!("swept {} jobs, {} items", swept.jobs.len(), swept.abandoned)]
            }
            Step::Retention { limit } => {
                vec![format!("removed {}", now(self.store.apply_retention(*limit)).unwrap())]
            }
        }
    }
}

/// Compares every visible field of every item, and every answer about it.
impl<S: StoreUnderTest> System<S> {
    fn all_items(&self) -> Vec<QueueItem> {
        let mut items = Vec::new();
        loop {
            let page = Page::default().skip(items.len());
            let found = now(self.store.list_queue_items(ItemFilter::default(), page)).unwrap();
            items.extend(found.items);
            if items.len() as u64 >= found.count {
                return items;
            }
        }
    }

    fn compare_all(&self, model: &Model) {
        let items = self.all_items();
        let there: Vec<usize> = (0..model.items.len()).filter(|at| !model.items[*at].removed).collect();
        assert_eq!(items.len(), there.len(), "items that are there");
        let mut keys = std::collections::BTreeSet::new();
        let mut root_keys = std::collections::BTreeMap::new();
        for (at, item) in there.iter().zip(&items) {
            self.compare(model, *at, item);
            assert!(keys.insert(item.unique_key), "a unique key twice");
            let root = root_keys.entry(model.items[*at].root).or_insert(item.key);
            assert_eq!(*root, item.key, "a chain has one key");
        }
        assert_eq!(root_keys.values().collect::<std::collections::BTreeSet<_>>().len(), root_keys.len());
        let statistics = now(self.store.queue_statistics(QUEUE)).unwrap();
        for status in Status::ALL {
            let expected = there.iter().filter(|at| model.items[**at].state.status == *status).count();
            assert_eq!(statistics.with_status(*status), i64::try_from(expected).unwrap(), "{status}");
        }
        // Each chain, queried from one of its items.
        for at in there.iter().filter(|at| model.items[**at].root == **at) {
            let id = ItemId(i64::try_from(*at).unwrap() + 1);
            let history = now(self.store.processing_history(id)).unwrap();
            let attempts: Vec<_> =
                history.iter().map(|item| usize::try_from(item.id.0).unwrap() - 1).collect();
            assert_eq!(attempts, model.attempts(*at), "the chain of {id}");
            let events = now(self.store.item_events(id)).unwrap();
            let events: Vec<_> = events.iter().map(|event| format!("{event:?}")).collect();
            assert_eq!(events, model.events(*at), "the events of {id}");
            let comments: usize = model.attempts(*at).iter().map(|at| model.items[*at].comments).sum();
            assert_eq!(now(self.store.comments(id)).unwrap().len(), comments, "the comments on {id}");
        }
        // Filters that take other code paths than the list.
        for status in [Status::New, Status::Failed, Status::Deleted] {
            let filter = ItemFilter::default().status([status]).queue(QUEUE);
            let found = now(self.store.list_queue_items(filter, Page::first(0))).unwrap().count;
            let expected = there.iter().filter(|at| model.items[**at].state.status == status).count();
            assert_eq!(found, expected as u64, "items that are {status}");
        }
        for item in items.iter().step_by(5) {
            let filter = ItemFilter::default().key(item.key);
            let found = now(self.store.list_queue_items(filter, Page::default())).unwrap().count;
            let expected = items.iter().filter(|other| other.key == item.key).count();
            assert_eq!(found, expected as u64, "items with the key of {}", item.id);
        }
    }

    fn compare(&self, model: &Model, at: usize, item: &QueueItem) {
        let expected = &model.items[at];
        let state = &expected.state;
        let id = |at: usize| ItemId(i64::try_from(at).unwrap() + 1);
        assert_eq!(item.id, id(at));
        let held = state.holder.is_some();
        let seen = (
            (item.status, item.review_status, item.outcome, item.is_superseded, item.row_version),
            (item.retry_number, item.manual_retry_number, item.seconds_in_previous_attempts),
            (item.priority, item.due_date, item.defer_date, item.risk_sla_date),
            (item.creation_time, item.start_processing, item.end_processing),
            (item.reviewer_user_id, item.reference.clone(), item.progress.clone()),
            (item.ancestor_id, item.manual_ancestor_id, item.executor_job, item.robot),
        );
        let expects = (
            (state.status, state.review_status, state.outcome, state.superseded, state.row_version),
            (state.retry_number, state.manual_retry_number, state.seconds_in_previous_attempts),
            (state.priority, state.due_date, state.defer_date, None),
            (state.creation_time, state.start_processing, state.end_processing),
            (state.reviewer_user_id, expected.reference.clone(), expected.progress.clone()),
            (
                expected.ancestor.map(id),
                expected.manual_ancestor.map(id),
                expected.executor.filter(|_| held).map(|job| self.jobs[job]),
                expected.robot.filter(|_| held),
            ),
        );
        assert_eq!(seen, expects, "item {}", item.id);
        assert_eq!(item.specific_content.as_json(), expected.content, "the content of {}", item.id);
        let output = item.output.as_ref().map(|output| output.as_json().to_owned());
        assert_eq!(output, expected.output, "the output of {}", item.id);
        let exception = item.processing_exception.as_ref();
        let exception = exception.map(|it| (it.exception_type, it.creation_time));
        assert_eq!(exception, expected.exception, "the exception of {}", item.id);
    }
}

impl<S: StoreUnderTest> StateMachineTest for System<S> {
    type SystemUnderTest = Self;
    type Reference = Model;

    fn init_test(model: &Model) -> Self {
        Self::new(model)
    }

    fn apply(mut system: Self, model: &Model, step: Step) -> Self {
        system.follow(model, &step);
        system
    }

    fn check_invariants(_: &Self, _: &Model) {}

    fn teardown(system: Self, model: Model) {
        system.compare_all(&model);
    }
}
