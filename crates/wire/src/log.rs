//! Lines of robot logs (orchestrator-api 16).

use performer_core::model::key::FolderId;
use performer_core::model::log::LogRecord;
use serde::Deserialize;
use serde_json::json;

use super::{ApiTime, Unreadable};

/// A line, as a list shows it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LogLineDto {
    #[serde(default)]
    pub id: i64,
    pub level: String,
    pub time_stamp: ApiTime,
    #[serde(default)]
    pub message: Option<String>,
    #[serde(default)]
    pub raw_message: Option<String>,
}

impl LogLineDto {
    /// The line, in a folder that its reader knows. Without a raw message its entry has the message alone.
    ///
    /// # Errors
    ///
    /// A level that is not known.
    pub fn into_record(self, folder: FolderId) -> Result<LogRecord, Unreadable> {
        let level = self.level.parse().map_err(|_| {
            Unreadable(format!(
                "a line of a log has the level {:?}, which this version does not know",
                self.level
            ))
        })?;
        let entry = self.raw_message.unwrap_or_else(|| json!({ "message": self.message }).to_string());
        Ok(LogRecord::new(self.id, self.time_stamp.0, level, folder, entry))
    }
}
