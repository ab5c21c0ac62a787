//! The checks K1 to K12 (`docs/reference/checks.md`): whether the final state of a store is possible, given the records in the ledger.

use std::collections::{BTreeMap, BTreeSet};

use performer::jiff::Timestamp;
use performer::model::{EventAction, ItemEvent, Outcome, QueueStatistics};
use performer::{ItemFilter, ItemId, Page, QueueItem, QueuePolicy, ReviewStatus, Status};

use super::ledger::{CallOutcome, Record, RunEnd};

/// The final state of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreState {
    pub items: Vec<QueueItem>,
    pub events: BTreeMap<ItemId, Vec<ItemEvent>>,
    pub statistics: QueueStatistics,
    pub policy: QueuePolicy,
    /// The errors found by SQLite's integrity check.
    pub damage: Vec<String>,
}

/// All evidence for the checks.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub records: Vec<Record>,
    pub store: StoreState,
    /// Whether the queue was drained after the last fault, so that no item may be left.
    pub drained: bool,
    /// The number of manual retries.
    pub manual_retries: usize,
    /// For each ended process, the latest time at which its items must have been abandoned, and when the last one was.
    pub recoveries: Vec<(Timestamp, Timestamp)>,
    /// Unexpected panics and errors in the logs.
    pub noise: Vec<String>,
}

impl StoreState {
    /// Reads the final state of a queue from a store.
    pub async fn of(store: &dyn performer::Administration, queue: &str) -> Self {
        let mut items: Vec<QueueItem> = Vec::new();
        let filter = ItemFilter::default().queue(queue);
        loop {
            let page = Page::default().skip(items.len());
            let found = store.list_queue_items(filter.clone(), page).await.unwrap();
            items.extend(found.items);
            if items.len() as u64 >= found.count {
                break;
            }
        }
        let mut events: BTreeMap<ItemId, Vec<ItemEvent>> = BTreeMap::new();
        let first = |item: &&QueueItem| item.ancestor_id.is_none() && item.manual_ancestor_id.is_none();
        for item in items.iter().filter(first) {
            for event in store.item_events(item.id).await.unwrap() {
                events.entry(event.item_id).or_default().push(event);
            }
        }
        Self {
            events,
            statistics: store.queue_statistics(queue).await.unwrap(),
            policy: store.get_queue(queue).await.unwrap().policy,
            items,
            damage: Vec::new(),
        }
    }
}

/// One run of a handler, from the ledger. Positions are lines of the ledger.
#[derive(Debug)]
struct Run<'a> {
    process: &'a str,
    item: ItemId,
    key: &'a str,
    job: &'a str,
    began: usize,
    /// When the handler ended or its process died; `None`: it still runs.
    over: Option<usize>,
    end: Option<RunEnd>,
    start_processing: Timestamp,
    defer_date: Option<Timestamp>,
}

fn runs(records: &[Record]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    let mut open: BTreeMap<(&str, u64), usize> = BTreeMap::new();
    for (at, record) in records.iter().enumerate() {
        match record {
            Record::Started { process, run, item, key, job, start_processing, defer_date, .. } => {
                open.insert((process, *run), runs.len());
                let (start_processing, defer_date) = (*start_processing, *defer_date);
                let (item, began) = (*item, at);
                runs.push(Run {
                    process,
                    item,
                    key,
                    job,
                    began,
                    over: None,
                    end: None,
                    start_processing,
                    defer_date,
                });
            }
            Record::Ended { process, run, end } => {
                if let Some(index) = open.remove(&(process.as_str(), *run)) {
                    (runs[index].over, runs[index].end) = (Some(at), Some(*end));
                }
            }
            Record::Died { process } => {
                open.retain(|(of, _), _| of != process); // what is written of it later says nothing
                for run in runs.iter_mut().filter(|run| run.process == process && run.over.is_none()) {
                    run.over = Some(at);
                }
            }
            _ => {}
        }
    }
    runs
}

/// All violations, each with the number of its check.
pub fn check(evidence: &Evidence) -> Vec<String> {
    let runs = runs(&evidence.records);
    let store = &evidence.store;
    let checks: [(&str, Vec<String>); 12] = [
        ("K1 lost", lost(evidence)),
        ("K2 invented", invented(evidence)),
        ("K3 doubled", doubled(evidence)),
        ("K4 stale write", stale_writes(evidence, &runs)),
        ("K5 overlap", overlaps(store, &runs)),
        ("K6 order", inversions(&evidence.records)),
        ("K7 early", early(&runs)),
        ("K8 attempts", attempts(evidence, &runs)),
        ("K9 events", events(store)),
        ("K10 liveness", liveness(evidence)),
        ("K11 structure", structure(store)),
        ("K12 quiet", evidence.noise.clone()),
    ];
    let named = checks
        .into_iter()
        .flat_map(|(name, found)| found.into_iter().map(move |violation| format!("{name}: {violation}")));
    named.collect()
}

/// Every item whose add was acknowledged is in the store.
fn lost(evidence: &Evidence) -> Vec<String> {
    let there: BTreeSet<&str> =
        evidence.store.items.iter().filter_map(|item| item.reference.as_deref()).collect();
    let added = evidence.records.iter().filter_map(|record| match record {
        Record::Added { reference, told: CallOutcome::Yes } => Some(reference),
        _ => None,
    });
    added
        .filter(|reference| !there.contains(reference.as_str()))
        .map(|it| format!("{it} is not there"))
        .collect()
}

/// Every item in the store was added by a call that was not refused, and exists once. (Each reference is added once.)
fn invented(evidence: &Evidence) -> Vec<String> {
    let mut asked: BTreeSet<&str> = evidence
        .records
        .iter()
        .filter_map(|record| match record {
            Record::Added { reference, told: CallOutcome::Yes | CallOutcome::Unknown } => {
                Some(reference.as_str())
            }
            _ => None,
        })
        .collect();
    for record in &evidence.records {
        if let Record::Added { reference, told: CallOutcome::No } = record {
            asked.remove(reference.as_str());
        }
    }
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &evidence.store.items {
        if item.ancestor_id.is_none() && item.manual_ancestor_id.is_none() {
            *found.entry(item.reference.as_deref().unwrap_or_default()).or_default() += 1;
        }
    }
    let wrong = found.into_iter().filter(|(reference, count)| *count > 1 || !asked.contains(reference));
    wrong.map(|(reference, count)| format!("{reference:?} is there {count} times")).collect()
}

/// At most one result is recorded per attempt, and at most one attempt of a chain succeeds.
fn doubled(evidence: &Evidence) -> Vec<String> {
    let mut violations = Vec::new();
    let mut recorded: BTreeMap<ItemId, usize> = BTreeMap::new();
    for record in &evidence.records {
        if let Record::Reported { item, outcome, .. } = record
            && outcome_of(outcome).is_some()
        {
            *recorded.entry(*item).or_default() += 1;
        }
    }
    let twice = recorded.into_iter().filter(|(_, count)| *count > 1);
    violations.extend(twice.map(|(item, count)| format!("{count} results were recorded for item {item}")));
    let mut successes: BTreeMap<String, usize> = BTreeMap::new();
    let mut live: BTreeMap<String, usize> = BTreeMap::new();
    for item in &evidence.store.items {
        let key = item.key.to_string();
        if item.outcome == Some(Outcome::Successful) {
            *successes.entry(key.clone()).or_default() += 1;
        }
        if matches!(item.status, Status::New | Status::InProgress) {
            *live.entry(key).or_default() += 1;
        }
    }
    for (what, counted) in [("succeeded", successes), ("waits or runs", live)] {
        let twice = counted.into_iter().filter(|(_, count)| *count > 1);
        violations.extend(twice.map(|(key, count)| format!("{key} {what} {count} times")));
    }
    violations
}

fn outcome_of(outcome: &str) -> Option<Outcome> {
    match outcome {
        "Successful" => Some(Outcome::Successful),
        "BusinessException" => Some(Outcome::BusinessException),
        "ApplicationException" | "Retried" => Some(Outcome::ApplicationException),
        _ => None,
    }
}

/// A recorded result was reported by a run of the job that held the item, and an acknowledged result is the recorded one.
fn stale_writes(evidence: &Evidence, runs: &[Run<'_>]) -> Vec<String> {
    let mut violations = Vec::new();
    for item in &evidence.store.items {
        let Some(outcome) = item.outcome.filter(|outcome| *outcome != Outcome::Abandoned) else { continue };
        let job = item.executor_job.map(|job| job.to_string()).unwrap_or_default();
        let reported = runs.iter().any(|run| {
            let end = match run.end {
                Some(RunEnd::Successful) => Some(Outcome::Successful),
                Some(RunEnd::BusinessException) => Some(Outcome::BusinessException),
                Some(RunEnd::ApplicationException | RunEnd::Postponed) => Some(Outcome::ApplicationException),
                Some(RunEnd::Interrupted) | None => None,
            };
            run.item == item.id && run.job == job && end == Some(outcome)
        });
        if !reported {
            violations.push(format!("item {} is {outcome}, and no run of job {job} ended so", item.id));
        }
    }
    let items: BTreeMap<ItemId, &QueueItem> =
        evidence.store.items.iter().map(|item| (item.id, item)).collect();
    for record in &evidence.records {
        let Record::Reported { item, outcome, .. } = record else { continue };
        let Some(stored) = items.get(item).map(|item| item.outcome) else { continue }; // retention, or K1's business
        if let Some(told) = outcome_of(outcome)
            && stored != Some(told)
        {
            violations.push(format!("item {item} was acknowledged as {outcome}, and is {stored:?}"));
        }
    }
    violations
}

/// Two runs of one chain overlap only if the first one had lost its claim.
fn overlaps(store: &StoreState, runs: &[Run<'_>]) -> Vec<String> {
    let voided = |id: ItemId| {
        let item = store.items.iter().find(|item| item.id == id);
        item.is_some_and(|item| item.outcome == Some(Outcome::Abandoned) || item.status == Status::Deleted)
    };
    let mut by_key: BTreeMap<&str, Vec<&Run<'_>>> = BTreeMap::new();
    for run in runs {
        by_key.entry(run.key).or_default().push(run);
    }
    let mut violations = Vec::new();
    for runs in by_key.values() {
        for (at, first) in runs.iter().enumerate() {
            for second in &runs[at + 1..] {
                let overlap = first.over.is_none_or(|over| over > second.began);
                // The attempt that was claimed first: a process that was frozen may have begun with it last.
                let older = first.item.min(second.item);
                if overlap && !(voided(older) && first.item != second.item) {
                    let (first, second) = (first.item, second.item);
                    violations.push(format!("item {second} ran while item {first} of its chain was running"));
                }
            }
        }
    }
    violations
}

/// No item was handed out before an eligible item that precedes it.
fn inversions(records: &[Record]) -> Vec<String> {
    let found = records.iter().filter(|record| matches!(record, Record::OutOfOrder { .. }));
    found.map(ToString::to_string).collect()
}

/// No run starts before its DeferDate, by the store's clock.
fn early(runs: &[Run<'_>]) -> Vec<String> {
    let early = runs.iter().filter(|run| run.defer_date.is_some_and(|date| run.start_processing < date));
    early
        .map(|run| format!("item {} started at {}, before its time", run.item, run.start_processing))
        .collect()
}

/// No chain runs more often than its retries, lost claims and postponements explain.
fn attempts(evidence: &Evidence, runs: &[Run<'_>]) -> Vec<String> {
    let mut violations = Vec::new();
    let most = evidence.store.policy.max_number_of_retries as usize;
    let mut by_key: BTreeMap<&str, Vec<&Run<'_>>> = BTreeMap::new();
    for run in runs {
        by_key.entry(run.key).or_default().push(run);
    }
    for (key, runs) in by_key {
        // Postponed, interrupted, or its process died with it: not an attempt that counts against the retries. And a
        // report that never reached the store, because the process died between.
        let lost = runs.iter().filter(|run| {
            let item = evidence.store.items.iter().find(|item| item.id == run.item);
            let abandoned = item.is_some_and(|item| item.outcome == Some(Outcome::Abandoned));
            let back = matches!(run.end, None | Some(RunEnd::Postponed | RunEnd::Interrupted));
            back || abandoned
        });
        let allowed = 1 + most + evidence.manual_retries * (1 + most) + lost.count();
        if runs.len() > allowed {
            violations.push(format!("{key} ran {} times, {allowed} are explained", runs.len()));
        }
    }
    for item in &evidence.store.items {
        if item.retry_number as usize > most {
            violations.push(format!("item {} is retry {} of {most}", item.id, item.retry_number));
        }
    }
    violations
}

/// The events of each item are a valid sequence of transitions that ends in its final state.
fn events(store: &StoreState) -> Vec<String> {
    let mut violations = Vec::new();
    for item in &store.items {
        let events = store.events.get(&item.id).map(Vec::as_slice).unwrap_or_default();
        let starts = events.first().is_some_and(|event| event.action == EventAction::Create);
        let mut legal =
            starts && events.iter().filter(|event| event.action == EventAction::Create).count() == 1;
        for pair in events.windows(2) {
            // (Not their times: processes may have clocks of their own.)
            legal &= pair[0].status.may_become(pair[1].status);
        }
        let ends = events
            .last()
            .is_some_and(|last| last.status == item.status && (last.review_status == item.review_status));
        if !legal || !ends {
            let steps: Vec<_> = events.iter().map(|event| (event.action, event.status)).collect();
            violations.push(format!("item {} is {} after {steps:?}", item.id, item.status));
        }
    }
    violations
}

/// After the last fault all items are finished, and the items of ended processes were abandoned in time.
fn liveness(evidence: &Evidence) -> Vec<String> {
    let mut violations = Vec::new();
    if evidence.drained {
        let left = evidence.store.items.iter().filter(|item| !item.status.is_final());
        violations.extend(left.map(|item| format!("item {} is still {}", item.id, item.status)));
        let unretried = evidence.store.items.iter().filter(|item| {
            let copied =
                evidence.store.items.iter().any(|copy| {
                    copy.ancestor_id == Some(item.id) || copy.manual_ancestor_id == Some(item.id)
                });
            item.is_superseded != copied || (item.status == Status::Retried && !copied)
        });
        violations.extend(
            unretried.map(|item| format!("item {} is superseded without its copy, or copied", item.id)),
        );
    }
    for (latest, last) in &evidence.recoveries {
        if last > latest {
            violations.push(format!("what a dead process held was abandoned at {last}, not by {latest}"));
        }
    }
    violations
}

/// The file is intact, the counters equal a recount, and every row is valid.
fn structure(store: &StoreState) -> Vec<String> {
    let mut violations = store.damage.clone();
    for status in Status::ALL {
        let counted = store.statistics.with_status(*status);
        let found = store.items.iter().filter(|item| item.status == *status).count();
        if i64::try_from(found) != Ok(counted) {
            violations.push(format!("{counted} items are counted as {status}, {found} are"));
        }
    }
    for item in &store.items {
        let held = item.status == Status::InProgress;
        let reviewed = item.review_status != ReviewStatus::None;
        let reviewable = item.status.is_reviewable() || item.status == Status::Deleted;
        let times = item.end_processing.is_none() || item.end_processing >= item.start_processing;
        if (held && item.start_processing.is_none()) || (reviewed && !reviewable) || !times {
            violations.push(format!("item {} cannot be as it is: {item:?}", item.id));
        }
    }
    violations
}
