//! Lines of robot logs are listed as they were submitted, where a back end keeps logs.

use performer::model::JobKey;
use performer::model::log::{LogFilter, LogLevel, LogLine, LogRecord};
use performer::orchestrator::ErrorKind;

use crate::Fixture;

/// A line that was written so many seconds ago.
fn line(f: &Fixture, ago: u64, level: LogLevel, (process, message): (&str, &str)) -> LogLine {
    let time = f.now() - std::time::Duration::from_secs(ago);
    let level_name = level.name_in_entries();
    let entry = format!(
        "{{\"message\":\"{message}\",\"level\":\"{level_name}\",\"timeStamp\":\"{time}\",\"processName\":\"{process}\"}}"
    );
    let mut line = LogLine::new(time, level, entry);
    process.clone_into(&mut line.process);
    line
}

fn filter(set: impl FnOnce(&mut LogFilter)) -> LogFilter {
    let mut filter = LogFilter::default();
    set(&mut filter);
    filter
}

fn message(record: &LogRecord) -> &str {
    let start = "{\"message\":\"";
    let rest = record.entry.strip_prefix(start).unwrap_or_else(|| panic!("{}", record.entry));
    rest.split('"').next().unwrap_or_default()
}

async fn assert_lists(f: &Fixture, filter: LogFilter, expected: &[&str]) {
    let lines = f.orchestrator.list_log_lines(filter.clone()).await.unwrap();
    assert_eq!(lines.iter().map(message).collect::<Vec<_>>(), expected, "{filter:?}");
}

pub(crate) async fn lines_of_logs_are_listed_as_they_were_submitted(f: Fixture) {
    let f = f.with_queue(performer::QueuePolicy::default()).await;
    let job = f.job().await;
    let mut lines = vec![
        line(&f, 0, LogLevel::Error, ("Load", "c")),
        line(&f, 2, LogLevel::Info, ("Load", "a")),
        line(&f, 1, LogLevel::Warn, ("O'Neil", "b ä")),
    ];
    (lines[0].job, lines[1].job) = (Some(job), Some(job));
    let times: Vec<_> = [1, 2, 0].iter().map(|at| (lines[*at].time, lines[*at].level)).collect();
    match f.orchestrator.submit_logs(lines).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            let listed = f.orchestrator.list_log_lines(LogFilter::default()).await;
            assert!(listed.is_err(), "a back end that keeps no logs lists none");
            return;
        }
        submitted => submitted.unwrap(),
    }
    let all = f.orchestrator.list_log_lines(LogFilter::default()).await.unwrap();
    assert_eq!(all.iter().map(|line| (line.time, line.level)).collect::<Vec<_>>(), times);
    assert_lists(&f, LogFilter::default(), &["a", "b ä", "c"]).await;
    assert_lists(&f, filter(|f| f.descending = true), &["c", "b ä", "a"]).await;
    assert_lists(&f, filter(|f| (f.descending, f.limit) = (true, 2)), &["c", "b ä"]).await;
    assert_lists(&f, filter(|f| f.levels = vec![LogLevel::Warn, LogLevel::Error]), &["b ä", "c"]).await;
    assert_lists(&f, filter(|f| f.process = Some("O'Neil".to_owned())), &["b ä"]).await;
    assert_lists(&f, filter(|f| f.process = Some("Nobody".to_owned())), &[]).await;
    assert_lists(&f, filter(|of| of.from = Some(f.now() - std::time::Duration::from_secs(1))), &["b ä", "c"])
        .await;
    assert_lists(&f, filter(|of| of.before = Some(f.now())), &["a", "b ä"]).await;
    let first = (all[0].time, all[0].id);
    assert_lists(&f, filter(|f| f.after = Some(first)), &["b ä", "c"]).await;
    let last = (all[2].time, all[2].id);
    assert_lists(&f, filter(|f| (f.descending, f.after) = (true, Some(last))), &["b ä", "a"]).await;
    // A UiPath Orchestrator knows no jobs of performers.
    if f.orchestrator.keeps_operations() {
        assert_lists(&f, filter(|f| f.jobs = Some(vec![job])), &["a", "c"]).await;
    }
    let nobody = JobKey::from_bytes([7; 16]);
    assert_lists(&f, filter(|f| f.jobs = Some(vec![nobody])), &[]).await;
    assert_lists(&f, filter(|f| f.jobs = Some(Vec::new())), &[]).await;
    let too_many = f.orchestrator.list_log_lines(filter(|f| f.limit = 10_001)).await;
    assert_eq!(too_many.unwrap_err().kind(), ErrorKind::Invalid);
}
