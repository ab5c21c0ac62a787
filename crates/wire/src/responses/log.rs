//! Responses with lines of robot logs (orchestrator-api 16).

use performer_core::model::log::LogRecord;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::ApiTime;

/// A line. What the submitted entry does not have is null.
pub fn log_line(record: &LogRecord) -> Value {
    let entry: Map<String, Value> = serde_json::from_str(&record.entry).unwrap_or_default();
    let member = |name: &str| entry.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let text = |name: &str| member(name).and_then(|(_, value)| value.as_str());
    let guid = |name: &str| text(name).and_then(|text| Uuid::parse_str(text).ok());
    json!({
        "Level": record.level.name(), "WindowsIdentity": text("windowsIdentity"), "ProcessName": text("processName"),
        "TimeStamp": ApiTime(record.time), "Message": text("message"), "JobKey": guid("jobId"),
        "RawMessage": record.entry, "RobotName": text("robotName"), "HostMachineName": text("machineName"),
        "MachineId": member("machineId").and_then(|(_, value)| value.as_i64()), "MachineKey": null,
        "RuntimeType": null, "Id": record.id,
    })
}
