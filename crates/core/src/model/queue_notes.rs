//! What people note about a queue: its SLA, its process and its labels (orchestrator-api 6).

use serde::{Deserialize, Serialize};

use super::code::ErrorCode;
use super::content::units_over;
use super::refusal::Refusal;

/// Notes of people on a queue. Stored and shown; nothing else follows from them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct QueueNotes {
    /// Within how many minutes items should be done; 0 for no SLA.
    pub sla_in_minutes: u32,
    /// After how many minutes they are at risk.
    pub risk_sla_in_minutes: u32,
    /// The process that works on the queue.
    pub release_id: Option<i64>,
    /// Labels.
    pub tags: Vec<Tag>,
}

/// A label of a queue: each text at most 256 code units.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Tag {
    /// Its name.
    pub name: String,
    /// How the name is shown.
    pub display_name: Option<String>,
    /// Its value.
    pub value: Option<String>,
    /// How the value is shown.
    pub display_value: Option<String>,
}

/// The most labels of a queue.
pub const MOST_TAGS: usize = 100;
/// The longest text of a label, in UTF-16 code units.
pub const TAG_LIMIT: usize = 256;
/// The longest SLA, in minutes: 90 days (orchestrator-api 6).
pub const MAX_SLA_IN_MINUTES: u32 = 129_600;

impl QueueNotes {
    /// Sets within how many minutes items should be done, up to [`MAX_SLA_IN_MINUTES`]; it needs a
    /// [`release_id`](Self::release_id). Default: 0, no SLA.
    #[must_use]
    pub fn sla_in_minutes(mut self, minutes: u32) -> Self {
        self.sla_in_minutes = minutes;
        self
    }

    /// Sets after how many minutes items are at risk, up to [`MAX_SLA_IN_MINUTES`]. Default: 0, never.
    #[must_use]
    pub fn risk_sla_in_minutes(mut self, minutes: u32) -> Self {
        self.risk_sla_in_minutes = minutes;
        self
    }

    /// Sets the process that works on the queue. Default: none.
    #[must_use]
    pub fn release_id(mut self, release: impl Into<Option<i64>>) -> Self {
        self.release_id = release.into();
        self
    }

    /// Sets the labels, at most [`MOST_TAGS`]. Default: none.
    #[must_use]
    pub fn tags(mut self, tags: impl Into<Vec<Tag>>) -> Self {
        self.tags = tags.into();
        self
    }

    pub(super) fn validate(&self) -> Result<(), Refusal> {
        let invalid = |message: String| Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message));
        for (what, minutes) in
            [("SlaInMinutes", self.sla_in_minutes), ("RiskSlaInMinutes", self.risk_sla_in_minutes)]
        {
            if minutes > MAX_SLA_IN_MINUTES {
                return invalid(format!(
                    "{what} is {minutes}; it should be between 0 and {MAX_SLA_IN_MINUTES}"
                ));
            }
        }
        if self.sla_in_minutes > 0 && self.release_id.is_none() {
            return Err(Refusal::new(
                ErrorCode::PARAMETER_MISSING,
                "an SLA needs a process: ReleaseId is missing",
            ));
        }
        if self.tags.len() > MOST_TAGS {
            return invalid(format!(
                "a queue has {} tags; it should be at most {MOST_TAGS}",
                self.tags.len()
            ));
        }
        let texts = |tag: &Tag| {
            let Tag { name, display_name, value, display_value } = tag.clone();
            [Some(name), display_name, value, display_value]
        };
        match self.tags.iter().flat_map(texts).flatten().find(|text| units_over(text, TAG_LIMIT).is_some()) {
            Some(_) => invalid(format!("a text of a tag is longer than {TAG_LIMIT} code units")),
            None => Ok(()),
        }
    }
}
