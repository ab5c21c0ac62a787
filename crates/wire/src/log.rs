//! Robot logs (orchestrator-api 16): a JSON array of texts, each of which is a JSON object.

use serde::Serialize;
use serde_json::{Map, Value};

use super::ApiTime;
use performer_core::model::log::LogLevel;

/// One line of a robot's log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogEntry<'a> {
    pub message: &'a str,
    pub level: &'static str,
    pub time_stamp: ApiTime,
    pub process_name: &'a str,
    pub log_type: &'static str,
    pub machine_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<&'a str>,
    /// Further fields of the program; [`RESERVED`] names are excluded.
    #[serde(flatten)]
    pub fields: &'a Map<String, Value>,
}

/// The names of the members above, which fields of the program must not use.
pub const RESERVED: [&str; 7] =
    ["message", "level", "timeStamp", "processName", "logType", "machineName", "jobId"];

/// The name of a level in log entries.
pub fn level_name(level: LogLevel) -> &'static str {
    match level {
        LogLevel::Trace => "Trace",
        LogLevel::Debug => "Debug",
        LogLevel::Info => "Information",
        LogLevel::Warn => "Warning",
        LogLevel::Error => "Error",
        LogLevel::Fatal => "Critical",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_one_object_with_the_documented_names() {
        let fields = Map::from_iter([("item".to_owned(), Value::from(7))]);
        let entry = LogEntry {
            message: "started",
            level: level_name(LogLevel::Info),
            time_stamp: ApiTime::parse("2026-08-20T10:00:00.123+02:00").unwrap(),
            process_name: "P",
            log_type: "Default",
            machine_name: "M",
            job_id: None,
            fields: &fields,
        };
        let written = serde_json::to_value(&entry).unwrap();
        assert_eq!(
            written,
            serde_json::json!({"message": "started", "level": "Information", "timeStamp": "2026-08-20T08:00:00.123Z",
                "processName": "P", "logType": "Default", "machineName": "M", "item": 7})
        );
        for key in written.as_object().unwrap().keys().filter(|key| *key != "item") {
            assert!(RESERVED.contains(&key.as_str()), "{key}");
        }
        let names: Vec<&str> = LogLevel::ALL.iter().copied().map(level_name).collect();
        assert_eq!(names, ["Trace", "Debug", "Information", "Warning", "Error", "Critical"]);
    }
}
