//! Lines of robot logs as programs submit them (orchestrator-api 16).

use jiff::Timestamp;
use performer_core::model::Refusal;
use performer_core::model::code::ErrorCode;
use performer_core::model::key::{FolderId, ItemId, JobKey};
use performer_core::model::log::{LogLevel, LogLine, MAX_ENTRY_LENGTH};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::ApiTime;

/// The members that are kept of an entry that is too long, and how many characters of each.
const KEPT: [(&str, usize); 8] = [
    ("message", 10_000),
    ("level", 50),
    ("timeStamp", 50),
    ("processName", 200),
    ("machineName", 200),
    ("robotName", 200),
    ("windowsIdentity", 200),
    ("jobId", 50),
];

/// A line, and the folder that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubmittedLine {
    pub line: LogLine,
    pub folder: Option<FolderId>,
}

/// Reads an entry. `now` stands for a time that it does not have. Of an entry longer than a line may be, the documented members are
/// kept, shortened.
///
/// # Errors
///
/// Code 1009 for a text that is no JSON object, and for an unknown level or a time that is none.
pub fn submitted_line(entry: String, now: Timestamp) -> Result<SubmittedLine, Refusal> {
    let members: Map<String, Value> =
        serde_json::from_str(&entry).map_err(|_| refused("it is not a JSON object"))?;
    let member = |name: &str| members.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let text = |name: &str| member(name).and_then(|(_, value)| value.as_str());
    let level = match member("level").map(|(_, value)| value) {
        None | Some(Value::Null) => LogLevel::Info,
        Some(level) => named_level(level).ok_or_else(|| refused("its level is not known"))?,
    };
    let time = match text("timeStamp") {
        None => now,
        Some(time) => ApiTime::parse(time).ok_or_else(|| refused("its timeStamp is not a time"))?.0,
    };
    let number = |name: &str| match member(name)?.1 {
        Value::String(text) => text.parse::<i64>().ok(),
        value => value.as_i64(),
    };
    let job = text("jobId").and_then(|key| Uuid::parse_str(key).ok());
    let process = text("processName").unwrap_or_default().to_owned();
    let (folder, item) = (number("organizationUnitId").map(FolderId), number("item").map(ItemId));
    let kept = (entry.len() > MAX_ENTRY_LENGTH).then(|| {
        let kept = KEPT.iter().filter_map(|(name, length)| {
            let text: String = text(name)?.chars().take(*length).collect();
            Some(((*name).to_owned(), Value::String(text)))
        });
        Value::Object(kept.collect()).to_string()
    });
    let mut line = LogLine::new(time, level, kept.unwrap_or(entry));
    line.job = job.filter(|job| !job.is_nil()).map(|job| JobKey::from_bytes(job.into_bytes()));
    line.item = item.filter(|item| item.0 > 0);
    line.process = process;
    Ok(SubmittedLine { line, folder })
}

fn refused(why: &str) -> Refusal {
    Refusal::new(ErrorCode::INVALID_ARGUMENT, why)
}

/// A level by one of its names, or its number.
fn named_level(level: &Value) -> Option<LogLevel> {
    let name = match level {
        Value::String(name) => name.to_ascii_lowercase(),
        number => return LogLevel::from_number(number.as_i64()?).ok(),
    };
    Some(match name.as_str() {
        "trace" | "verbose" => LogLevel::Trace,
        "debug" => LogLevel::Debug,
        "info" | "information" => LogLevel::Info,
        "warn" | "warning" => LogLevel::Warn,
        "error" => LogLevel::Error,
        "fatal" | "critical" => LogLevel::Fatal,
        other => return LogLevel::from_number(other.parse().ok()?).ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(entry: &str) -> Result<SubmittedLine, String> {
        submitted_line(entry.to_owned(), Timestamp::UNIX_EPOCH).map_err(|refusal| {
            assert_eq!(refusal.code(), ErrorCode::INVALID_ARGUMENT);
            refusal.to_string()
        })
    }

    #[test]
    fn an_entry_is_read_with_its_members_in_any_case() {
        let entry = r#"{"message":"started","Level":"Warning","timeStamp":"2026-08-20T10:00:00.123+02:00","processName":"P",
            "jobId":"8066c309-cef8-4b47-9163-b273fc14cc43","organizationUnitId":"3","item":"7","more":{"a":1}}"#;
        let read_line = read(entry).unwrap();
        assert_eq!((read_line.folder, read_line.line.level), (Some(FolderId(3)), LogLevel::Warn));
        assert_eq!(read_line.line.time.to_string(), "2026-08-20T08:00:00.123Z");
        assert_eq!((read_line.line.item, read_line.line.process.as_str()), (Some(ItemId(7)), "P"));
        assert_eq!(read_line.line.job.unwrap().to_string(), "8066c309-cef8-4b47-9163-b273fc14cc43");
        assert_eq!(read_line.line.entry, entry);
        let bare = read(r#"{"jobId":"00000000-0000-0000-0000-000000000000","item":0}"#).unwrap();
        assert_eq!((bare.line.time, bare.line.level), (Timestamp::UNIX_EPOCH, LogLevel::Info));
        assert_eq!((bare.folder, bare.line.job, bare.line.item), (None, None, None));
        for (level, expected) in [
            ("\"Verbose\"", LogLevel::Trace),
            ("\"debug\"", LogLevel::Debug),
            ("\"INFO\"", LogLevel::Info),
            ("\"Critical\"", LogLevel::Fatal),
            ("4", LogLevel::Error),
            ("\"5\"", LogLevel::Fatal),
            ("null", LogLevel::Info),
        ] {
            assert_eq!(read(&format!("{{\"level\":{level}}}")).unwrap().line.level, expected, "{level}");
        }
    }

    #[test]
    fn wrong_entries_are_refused_and_long_ones_are_shortened() {
        for (entry, why) in [
            ("", "JSON"),
            ("[]", "JSON"),
            ("{\"level\":\"Loud\"}", "level"),
            ("{\"level\":true}", "level"),
            ("{\"level\":6}", "level"),
            ("{\"timeStamp\":\"soon\"}", "timeStamp"),
        ] {
            let refused = read(entry).unwrap_err();
            assert!(refused.contains(why), "{entry}: {refused}");
        }
        let long = format!(
            "{{\"Message\":\"{}\",\"other\":\"x\",\"level\":\"Error\"}}",
            "ä".repeat(MAX_ENTRY_LENGTH)
        );
        let line = read(&long).unwrap().line;
        assert!(line.entry.len() <= MAX_ENTRY_LENGTH && line.level == LogLevel::Error);
        let kept: Value = serde_json::from_str(&line.entry).unwrap();
        assert_eq!((kept["message"].as_str().unwrap().chars().count(), kept.get("other")), (10_000, None));
    }
}
