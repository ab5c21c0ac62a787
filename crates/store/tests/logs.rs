//! Robot logs and lists of jobs, in every store.

use performer::jiff::{SignedDuration, Timestamp};
use performer::model::log::{LogFilter, LogLevel, LogLine, LogRetention};
use performer::model::{Clock as _, FolderId, ItemId, JobId, JobKey, SystemClock};
use performer::orchestrator::store::{JobFilter, Store};
use performer::orchestrator::{Orchestrator as _, QueueAdministration as _};
use performer::{JobEnd, JobState, NewQueueDefinition};
use performer_proofs::postgres::Schema;
use performer_proofs::{QUEUE, new_job};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn line(second: i64, level: LogLevel, message: &str) -> LogLine {
    LogLine::new(at(second), level, format!("{{\"message\":\"{message}\"}}"))
}

fn filter(set: impl FnOnce(&mut LogFilter)) -> LogFilter {
    let mut filter = LogFilter::default();
    set(&mut filter);
    filter
}

async fn messages(store: &Store, filter: LogFilter) -> Vec<String> {
    let lines = store.log_lines(filter).await.unwrap();
    let message = |entry: &str| serde_json::from_str::<serde_json::Value>(entry).unwrap()["message"].clone();
    lines.iter().map(|line| message(&line.entry).as_str().unwrap().to_owned()).collect()
}

async fn lines_are_found_along_their_times(store: &Store) {
    let [one, two] = [JobKey::from_bytes([1; 16]), JobKey::from_bytes([2; 16])];
    let mut lines = vec![
        line(3, LogLevel::Info, "c"),
        line(1, LogLevel::Warn, "a"),
        line(2, LogLevel::Error, "b \u{0} 'ä'"),
        line(2, LogLevel::Trace, "b2"),
    ];
    lines[2].entry = "{\"message\":\"b 'ä'\"}".to_owned();
    (lines[0].job, lines[1].job, lines[3].job) = (Some(one), Some(one), Some(two));
    (lines[1].item, lines[3].item) = (Some(ItemId(7)), Some(ItemId(8)));
    lines[2].folder = FolderId(5);
    lines[3].process = "O'Neil".to_owned();
    store.add_log_lines(lines).await.unwrap();
    store.add_log_lines(Vec::new()).await.unwrap();
    for (set, expected) in [
        (filter(|_| ()), &["a", "b 'ä'", "b2", "c"][..]),
        (filter(|filter| filter.descending = true), &["c", "b2", "b 'ä'", "a"]),
        (filter(|filter| filter.from = Some(at(2))), &["b 'ä'", "b2", "c"]),
        (filter(|filter| filter.before = Some(at(2))), &["a"]),
        (filter(|filter| filter.levels = vec![LogLevel::Info, LogLevel::Trace]), &["b2", "c"]),
        (filter(|filter| filter.jobs = Some(vec![one])), &["a", "c"]),
        (filter(|filter| filter.jobs = Some(vec![two, one])), &["a", "b2", "c"]),
        (filter(|filter| filter.jobs = Some(Vec::new())), &[]),
        (filter(|filter| filter.item = Some(ItemId(7))), &["a"]),
        (filter(|filter| filter.process = Some("O'Neil".to_owned())), &["b2"]),
        (filter(|filter| filter.folders = Some(vec![FolderId(5)])), &["b 'ä'"]),
        (filter(|filter| filter.folders = Some(Vec::new())), &[]),
        (filter(|filter| filter.limit = 2), &["a", "b 'ä'"]),
    ] {
        assert_eq!(messages(store, set.clone()).await, expected, "{set:?}");
        if set.limit > 2 {
            assert_eq!(store.count_log_lines(set.clone()).await.unwrap(), expected.len() as u64, "{set:?}");
        }
    }
    // Page by page, in both directions, through lines of the same time.
    for descending in [false, true] {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page =
                filter(|filter| (filter.limit, filter.after, filter.descending) = (1, after, descending));
            let Some(line) = store.log_lines(page).await.unwrap().pop() else { break };
            after = Some((line.time, line.id));
            all.push(line.id);
        }
        assert_eq!(all.len(), 4, "{all:?}");
    }
    let error = store.log_lines(filter(|filter| filter.limit = 10_001)).await.unwrap_err();
    assert_eq!(error.code().unwrap().number(), 1015);
    let too_long = LogLine::new(at(1), LogLevel::Info, "x".repeat(70_000));
    let refused = store.add_log_lines(vec![line(9, LogLevel::Info, "z"), too_long]).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1015);
    assert_eq!(store.count_log_lines(LogFilter::default()).await.unwrap(), 4, "all or none");
    // A time that is still to come is the store's.
    let later = SystemClock::new().now() + SignedDuration::from_hours(50);
    store.add_log_lines(vec![LogLine::new(later, LogLevel::Info, "{}")]).await.unwrap();
    let last = store.log_lines(filter(|filter| (filter.descending, filter.limit) = (true, 1))).await.unwrap();
    assert!(last[0].time <= SystemClock::new().now() + SignedDuration::from_mins(1), "{last:?}");
}

async fn old_lines_and_too_many_are_removed(store: &Store) {
    store.trust_clock();
    let now = SystemClock::new().now();
    let recent: Vec<LogLine> = (0..10)
        .map(|n| {
            let ago = SignedDuration::from_secs(100 - n);
            LogLine::new(now - ago, LogLevel::Info, format!("{{\"message\":\"n{n}\"}}"))
        })
        .collect();
    store.add_log_lines(recent).await.unwrap();
    let remove = async |days, max_lines| {
        let retention = LogRetention { days, max_lines };
        let mut removed = 0;
        loop {
            let lines = store.remove_log_lines(retention, 3).await.unwrap();
            removed += lines;
            if lines < 3 {
                return removed;
            }
        }
    };
    assert_eq!(remove(1, 1_000).await, 4, "those of the other test, which are years old");
    assert_eq!(remove(1, 1_000).await, 0);
    assert_eq!(remove(1, 4).await, 7, "of eleven");
    assert_eq!(store.count_log_lines(LogFilter::default()).await.unwrap(), 4);
    assert_eq!(remove(1, 0).await, 4);
}

/// What a performer submits is in the folder of its store, with its job.
async fn lines_of_performers_have_their_job(store: &Store) {
    let job = JobKey::from_bytes([9; 16]);
    let mut line = line(5, LogLevel::Fatal, "m");
    line.job = Some(job);
    let scoped = store.in_scope(FolderId(3), None);
    scoped.submit_logs(vec![line]).await.unwrap();
    let found = store.log_lines(filter(|filter| filter.jobs = Some(vec![job]))).await.unwrap();
    assert_eq!((found.len(), found[0].folder, found[0].level), (1, FolderId(3), LogLevel::Fatal));
    assert_eq!(found[0].entry, format!("{{\"message\":\"m\",\"jobId\":\"{job}\"}}"));
}

async fn jobs_have_numbers_that_rise(store: &Store) {
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let mut keys = Vec::new();
    for _ in 0..3 {
        keys.push(store.start_job(new_job()).await.unwrap());
    }
    store.end_job(keys[1], JobEnd::new(JobState::Faulted).info("the disk is full")).await.unwrap();
    let all = JobFilter::in_folders([FolderId::SHARED].into());
    let listed = async |filter: JobFilter| {
        let jobs = store.jobs_in_folders(filter).await.unwrap();
        jobs.into_iter().map(|job| (job.id.0, job.key)).collect::<Vec<_>>()
    };
    let (one, two, three) = ((1, keys[0]), (2, keys[1]), (3, keys[2]));
    assert_eq!(listed(all.clone()).await, [one, two, three]);
    assert_eq!(store.job(keys[1]).await.unwrap().id, JobId(2));
    assert_eq!(listed(JobFilter { limit: 2, ..all.clone() }).await, [one, two]);
    assert_eq!(listed(JobFilter { after: JobId(1), ..all.clone() }).await, [two, three]);
    assert_eq!(listed(JobFilter { ids: Some(vec![JobId(3), JobId(1)]), ..all.clone() }).await, [one, three]);
    let by_key = Some(vec![keys[1], JobKey::CALLER]);
    assert_eq!(listed(JobFilter { keys: by_key, ..all.clone() }).await, [two]);
    assert_eq!(listed(JobFilter::in_folders([FolderId(9)].into())).await, []);
    assert!(store.jobs_in_folders(JobFilter { limit: 10_001, ..all }).await.is_err());
}

async fn everything(store: &Store) {
    lines_are_found_along_their_times(store).await;
    old_lines_and_too_many_are_removed(store).await;
    lines_of_performers_have_their_job(store).await;
    jobs_have_numbers_that_rise(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    everything(&Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    everything(&Store::sqlite(folder.path().join("queue.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = Schema::new();
    everything(&Store::postgres(&schema.url).await.unwrap()).await;
}
