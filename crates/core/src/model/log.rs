//! Robot logs: lines of programs, and the numbers of their levels (orchestrator-api 12.2 and 16).

use jiff::Timestamp;

use super::code::ErrorCode;
use super::key::{FolderId, ItemId, JobKey};
use super::refusal::Refusal;
use crate::enumeration;

enumeration! {
    /// How severe a robot's log line is.
    pub LogLevel {
        /// Fine-grained information.
        Trace = 0,
        /// The flow through the system, in detail.
        Debug = 1,
        /// Ordinary events, such as a start or an end.
        Info = 2,
        /// Undesirable or unexpected, but not necessarily wrong.
        Warn = 3,
        /// Wrong or unexpected.
        Error = 4,
        /// So severe that the program ends early.
        Fatal = 5,
    }
}

impl LogLevel {
    /// The name in entries of logs, which is not that of lists.
    pub const fn name_in_entries(self) -> &'static str {
        match self {
            Self::Trace => "Trace",
            Self::Debug => "Debug",
            Self::Info => "Information",
            Self::Warn => "Warning",
            Self::Error => "Error",
            Self::Fatal => "Critical",
        }
    }
}

/// The most lines that are added at once.
pub const MAX_LINES_ADDED: usize = 10_000;
/// The most lines of one list.
pub const MAX_LINES_LISTED: usize = 10_000;
/// The longest entry, in bytes.
pub const MAX_ENTRY_LENGTH: usize = 64 * 1024;
/// For how many days lines are kept, unless a server says otherwise.
pub const DEFAULT_LOG_DAYS: u32 = 30;
/// How many lines a store keeps at most, unless a server says otherwise.
pub const DEFAULT_MAX_LINES: u64 = 10_000_000;

/// A line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogLine {
    /// When it was written. A store takes its own time for a later one.
    pub time: Timestamp,
    /// How severe it is.
    pub level: LogLevel,
    /// Users of other folders cannot see it.
    pub folder: FolderId,
    /// The job that wrote it.
    pub job: Option<JobKey>,
    /// The item that was being processed.
    pub item: Option<ItemId>,
    /// The name of the process that wrote it.
    pub process: String,
    /// Everything that was written, as a JSON object (orchestrator-api 16).
    pub entry: String,
}

impl LogLine {
    /// A line of no job and no item, in the folder Shared.
    pub fn new(time: Timestamp, level: LogLevel, entry: impl Into<String>) -> Self {
        Self {
            time,
            level,
            folder: FolderId::SHARED,
            job: None,
            item: None,
            process: String::new(),
            entry: entry.into(),
        }
    }

    /// The entry with a job as its `jobId`, which it does not have yet.
    #[must_use]
    pub fn entry_of_job(&self, job: impl std::fmt::Display) -> String {
        let Some(members) = self.entry.trim_end().strip_suffix('}') else { return self.entry.clone() };
        let comma = if members.trim_end().ends_with('{') { "" } else { "," };
        format!("{members}{comma}\"jobId\":\"{job}\"}}")
    }
}

/// Checks lines that are to be added.
///
/// # Errors
///
/// Code 1015 for more than [`MAX_LINES_ADDED`], or an entry longer than [`MAX_ENTRY_LENGTH`].
pub fn validate_lines(lines: &[LogLine]) -> Result<(), Refusal> {
    let refused = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
    if lines.len() > MAX_LINES_ADDED {
        return refused(format!("{} lines are to be added; the limit is {MAX_LINES_ADDED}", lines.len()));
    }
    match lines.iter().position(|line| line.entry.len() > MAX_ENTRY_LENGTH) {
        Some(at) => refused(format!("line {} is longer than {MAX_ENTRY_LENGTH} bytes", at + 1)),
        None => Ok(()),
    }
}

/// A line in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogRecord {
    /// Its number in the store.
    pub id: i64,
    /// When it was written.
    pub time: Timestamp,
    /// How severe it is.
    pub level: LogLevel,
    /// Users of other folders cannot see it.
    pub folder: FolderId,
    /// Everything that was written, as a JSON object.
    pub entry: String,
    /// The item that it is about.
    pub item: Option<ItemId>,
}

impl LogRecord {
    /// A line with this number.
    pub fn new(id: i64, time: Timestamp, level: LogLevel, folder: FolderId, entry: String) -> Self {
        Self { id, time, level, folder, entry, item: None }
    }

    /// Sets the item that it is about.
    #[must_use]
    pub fn about(mut self, item: Option<ItemId>) -> Self {
        self.item = item;
        self
    }
}

/// Which lines to list, in the order of their times.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogFilter {
    /// Lines of these folders; `None`: of all.
    pub folders: Option<Vec<FolderId>>,
    /// Lines written at this time or later.
    pub from: Option<Timestamp>,
    /// Lines written earlier than this.
    pub before: Option<Timestamp>,
    /// Lines of these levels; empty: of all.
    pub levels: Vec<LogLevel>,
    /// Lines of these jobs.
    pub jobs: Option<Vec<JobKey>>,
    /// Lines about this item.
    pub item: Option<ItemId>,
    /// Lines of the process with this name.
    pub process: Option<String>,
    /// The newest first.
    pub descending: bool,
    /// Lines behind the one with this time and number.
    pub after: Option<(Timestamp, i64)>,
    /// At most so many, up to [`MAX_LINES_LISTED`].
    pub limit: usize,
}

impl Default for LogFilter {
    fn default() -> Self {
        Self {
            folders: None,
            from: None,
            before: None,
            levels: Vec::new(),
            jobs: None,
            item: None,
            process: None,
            descending: false,
            after: None,
            limit: 1_000,
        }
    }
}

impl LogFilter {
    /// Checks how many lines are asked for.
    ///
    /// # Errors
    ///
    /// Code 1015 for more than [`MAX_LINES_LISTED`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.limit <= MAX_LINES_LISTED {
            return Ok(());
        }
        let message = format!(
            "the limit of a list of log lines is {}; it should be at most {MAX_LINES_LISTED}",
            self.limit
        );
        Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
    }

    /// Whether a line is meant, wherever the page begins.
    pub fn matches(&self, line: &LogLine) -> bool {
        self.folders.as_ref().is_none_or(|folders| folders.contains(&line.folder))
            && self.from.is_none_or(|from| line.time >= from)
            && self.before.is_none_or(|before| line.time < before)
            && (self.levels.is_empty() || self.levels.contains(&line.level))
            && self.jobs.as_ref().is_none_or(|jobs| line.job.is_some_and(|job| jobs.contains(&job)))
            && self.item.is_none_or(|item| line.item == Some(item))
            && self.process.as_ref().is_none_or(|process| *process == line.process)
    }
}

/// What is removed of a log: the lines that are too old, and the oldest of too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRetention {
    /// For how many days lines are kept.
    pub days: u32,
    /// How many lines are kept at most.
    pub max_lines: u64,
}

impl Default for LogRetention {
    fn default() -> Self {
        Self { days: DEFAULT_LOG_DAYS, max_lines: DEFAULT_MAX_LINES }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_gets_its_job() {
        let of_job =
            |entry: &str| LogLine::new(Timestamp::UNIX_EPOCH, LogLevel::Info, entry).entry_of_job("k");
        assert_eq!(of_job("{}"), r#"{"jobId":"k"}"#);
        assert_eq!(of_job(r#"{"a":{"b":1}} "#), r#"{"a":{"b":1},"jobId":"k"}"#);
        assert_eq!(of_job("[]"), "[]");
    }

    #[test]
    fn lines_that_are_too_many_or_too_long_are_refused() {
        let line = |length: usize| LogLine::new(Timestamp::UNIX_EPOCH, LogLevel::Info, "x".repeat(length));
        assert_eq!(validate_lines(&vec![line(1); MAX_LINES_ADDED]), Ok(()));
        assert_eq!(validate_lines(&[line(MAX_ENTRY_LENGTH)]), Ok(()));
        let refused = validate_lines(&[line(1), line(MAX_ENTRY_LENGTH + 1)]).unwrap_err();
        assert!(refused.to_string().starts_with("line 2 is longer than"), "{refused}");
        assert_eq!(refused.code(), ErrorCode::PARAMETER_INVALID);
        assert!(validate_lines(&vec![line(1); MAX_LINES_ADDED + 1]).is_err());
        let mut filter = LogFilter { limit: MAX_LINES_LISTED, ..LogFilter::default() };
        assert_eq!(filter.validate(), Ok(()));
        filter.limit += 1;
        assert_eq!(filter.validate().unwrap_err().code(), ErrorCode::PARAMETER_INVALID);
    }
}
