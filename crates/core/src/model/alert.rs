//! Alerts: what somebody should look at, raised by a store in the commit of what happened (orchestrator-api 25).
//!
//! Every user has read an alert or not. What happens to many items of a queue in one commit is one alert.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::code::ErrorCode;
use super::job::Job;
use super::key::{AlertKey, FolderId, ItemId, QueueId};
use super::queue::QueueDefinition;
use super::refusal::Refusal;
use crate::enumeration;

/// The longest message, and the longest name, of an alert that a program raises, in UTF-16 code units.
pub const TEXT_LIMIT: usize = 512;
/// The most alerts of one list.
pub const MAX_ALERTS_LISTED: usize = 10_000;
/// The most alerts that one call marks as read.
pub const MAX_ALERTS_MARKED: usize = 1_000;
/// The most alerts that a store keeps.
pub const MAX_ALERTS: u64 = 10_000;
/// For how many days alerts are kept, unless a server says otherwise.
pub const DEFAULT_ALERT_DAYS: u32 = 30;
/// The most items that an alert names.
pub const MAX_ITEMS_NAMED: usize = 20;
/// An alert about the SLA of a queue is raised again after this time, if nothing has changed.
pub const RAISED_AGAIN: SignedDuration = SignedDuration::from_hours(1);

enumeration! {
    /// How severe an alert is.
    pub AlertSeverity {
        /// Something happened.
        Info = 0,
        /// Something ended well.
        Success = 1,
        /// Something may go wrong.
        Warn = 2,
        /// Something went wrong.
        Error = 3,
        /// Something went so wrong that it goes on no more.
        Fatal = 4,
    }
}

enumeration! {
    /// What an alert is about. The numbers are ours.
    pub AlertKind {
        /// A job has faulted.
        JobFaulted = 0,
        /// A robot is gone: its process has ended without a word, or it stopped beating.
        RobotDisconnected = 1,
        /// A robot did not report on an item in time, which was abandoned.
        RobotUnresponsive = 2,
        /// An item failed with an application exception, and is retried no more.
        RetriesExhausted = 3,
        /// Items wait that are at the risk of missing the SLA of their queue.
        SlaAtRisk = 4,
        /// Items wait that have missed the SLA of their queue.
        SlaMissed = 5,
        /// A program has raised it.
        Process = 6,
    }
}

impl AlertKind {
    /// The name of the notification.
    pub const fn notification(self) -> &'static str {
        match self {
            Self::JobFaulted => "Job.StatusChanged.Faulted",
            Self::RobotDisconnected => "Robot.StatusChanged.Disconnected",
            Self::RobotUnresponsive => "Robot.StatusChanged.NotResponding",
            Self::RetriesExhausted => "Transaction.StatusChanged.Failed",
            Self::SlaAtRisk => "Queue.Sla.AtRisk",
            Self::SlaMissed => "Queue.Sla.Missed",
            Self::Process => "Process.Alert",
        }
    }

    /// The component that raises it, as the vendor names components.
    pub const fn component(self) -> &'static str {
        match self {
            Self::JobFaulted => "Jobs",
            Self::RobotDisconnected | Self::RobotUnresponsive => "Robots",
            Self::RetriesExhausted => "Transactions",
            Self::SlaAtRisk | Self::SlaMissed => "Queues",
            Self::Process => "Process",
        }
    }

    /// Its code; alerts of programs have none.
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::JobFaulted => Some(ErrorCode::JOB_EXECUTION_FAULTED),
            Self::RobotDisconnected => Some(ErrorCode::DISCONNECTED_ROBOT),
            Self::RobotUnresponsive => Some(ErrorCode::UNRESPONSIVE_ROBOT),
            Self::RetriesExhausted => Some(ErrorCode::QUEUE_PROCESSING_APPLICATION_EXCEPTION),
            Self::SlaAtRisk => Some(ErrorCode::QUEUE_SLA_AT_PREDICTED_RISK),
            Self::SlaMissed => Some(ErrorCode::QUEUE_SLA_PREDICTED_BREACH),
            Self::Process => None,
        }
    }

    /// How severe it is, unless whoever raises it says so.
    pub const fn severity(self) -> AlertSeverity {
        match self {
            Self::JobFaulted | Self::RetriesExhausted | Self::SlaMissed => AlertSeverity::Error,
            Self::RobotDisconnected | Self::RobotUnresponsive | Self::SlaAtRisk => AlertSeverity::Warn,
            Self::Process => AlertSeverity::Info,
        }
    }
}

/// An alert that is to be raised.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewAlert {
    /// What it is about.
    pub kind: AlertKind,
    /// How severe it is.
    pub severity: AlertSeverity,
    /// Users of other folders do not see it.
    pub folder: FolderId,
    /// The queue that it is about.
    pub queue: Option<QueueId>,
    /// What happened, for people.
    pub message: String,
    /// What happened, for programs.
    pub data: Map<String, Value>,
}

impl NewAlert {
    /// An alert with the severity of its kind.
    pub fn new(kind: AlertKind, folder: FolderId, message: impl Into<String>) -> Self {
        let (severity, message, data) = (kind.severity(), message.into(), Map::new());
        Self { kind, severity, folder, queue: None, message, data }
    }

    fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.data.insert(name.to_owned(), value.into());
        self
    }

    fn of_job(self, job: &Job) -> Self {
        self.with("JobKey", job.key.to_string())
            .with("QueueName", &*job.about.queue)
            .with("HostMachineName", &*job.about.machine)
    }

    /// A job has faulted.
    pub fn job_faulted(job: &Job) -> Self {
        let info = job.info.as_deref().unwrap_or("nothing is known of the cause");
        let message = format!("a job on queue {:?} has faulted: {info}", job.about.queue);
        Self::new(AlertKind::JobFaulted, job.folder, message).of_job(job)
    }

    /// The robots of a job are gone.
    pub fn robots_gone(job: &Job) -> Self {
        let why = job.info.as_deref().unwrap_or("it does not beat");
        let message = format!("the robots of a job on queue {:?} are gone: {why}", job.about.queue);
        Self::new(AlertKind::RobotDisconnected, job.folder, message).of_job(job)
    }

    fn of_queue(kind: AlertKind, queue: &QueueDefinition, message: String) -> Self {
        let folder = queue.folders.first().copied().unwrap_or(FolderId::SHARED);
        let mut alert =
            Self::new(kind, folder, message).with("QueueId", queue.id.0).with("QueueName", &*queue.name);
        alert.queue = Some(queue.id);
        alert
    }

    /// Something happened to items of a queue. `items`: the first of so many.
    ///
    /// The message names no reason: a reason may quote what is personal in an item.
    pub fn of_items(kind: AlertKind, queue: &QueueDefinition, items: &[ItemId], count: u64) -> Self {
        let which = match (count, items) {
            (1, [item]) => format!("item {item} of queue {:?}", queue.name),
            _ => format!("{count} items of queue {:?}", queue.name),
        };
        let what = match kind {
            AlertKind::RobotUnresponsive => {
                "abandoned: no robot reported within the time that the queue allows"
            }
            _ => "failed with an application exception, and without a further retry",
        };
        let message = format!("{which} {what}");
        let named: Vec<Value> = items.iter().take(MAX_ITEMS_NAMED).map(|item| item.0.into()).collect();
        Self::of_queue(kind, queue, message).with("ItemIds", named).with("Count", count)
    }

    /// Items of a queue wait that are at the risk of missing its SLA, or have missed it.
    pub fn of_sla(kind: AlertKind, queue: &QueueDefinition, count: u64, first_due: Timestamp) -> Self {
        let what =
            if kind == AlertKind::SlaMissed { "are past their DueDate" } else { "may miss their DueDate" };
        let message = format!("{count} items of queue {:?} wait and {what}", queue.name);
        Self::of_queue(kind, queue, message).with("Count", count).with("FirstDueDate", first_due.to_string())
    }

    /// What a program has to say.
    ///
    /// # Errors
    ///
    /// Code 1009 for a text that is longer than [`TEXT_LIMIT`], or no message.
    pub fn of_process(
        severity: AlertSeverity,
        folder: FolderId,
        (process, robot): (&str, &str),
        message: &str,
    ) -> Result<Self, Refusal> {
        let refused = |text: String| Err(Refusal::new(ErrorCode::INVALID_ARGUMENT, text));
        for (what, text) in [("Message", message), ("ProcessName", process), ("RobotName", robot)] {
            let length = text.encode_utf16().count();
            if length > TEXT_LIMIT {
                return refused(format!("{what} has {length} characters; it should be at most {TEXT_LIMIT}"));
            }
        }
        if message.trim().is_empty() {
            return refused("Message is empty".to_owned());
        }
        let alert = Self::new(AlertKind::Process, folder, message);
        let mut alert = alert.with("ProcessName", process).with("RobotName", robot);
        alert.severity = severity;
        Ok(alert)
    }
}

/// An alert, as a user reads it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Alert {
    /// Its key.
    pub key: AlertKey,
    /// When it was raised.
    pub time: Timestamp,
    /// Whether the user has read it.
    pub is_read: bool,
    /// Its folder, as far as it is known.
    pub folder: Option<FolderId>,
    /// How severe it is.
    pub severity: AlertSeverity,
    /// What it says.
    pub content: AlertContent,
}

impl Alert {
    /// An alert of a back end.
    pub fn new(key: AlertKey, time: Timestamp, severity: AlertSeverity, content: AlertContent) -> Self {
        Self { key, time, is_read: false, folder: None, severity, content }
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        self.content.data.get("Message").and_then(Value::as_str).unwrap_or(&self.content.notification)
    }
}

/// What an alert says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct AlertContent {
    /// The name of the notification ([`AlertKind::notification`]).
    pub notification: String,
    /// The component that raised it ([`AlertKind::component`]).
    pub component: String,
    /// What happened, with its `Message` and its `Code`.
    pub data: Map<String, Value>,
}

impl AlertContent {
    /// The content of an alert of a back end.
    pub fn new(notification: String, component: String, data: Map<String, Value>) -> Self {
        Self { notification, component, data }
    }
}

impl From<NewAlert> for AlertContent {
    fn from(new: NewAlert) -> Self {
        let mut data = new.data;
        data.insert("Message".to_owned(), new.message.into());
        if let Some(code) = new.kind.code() {
            data.insert("Code".to_owned(), code.number().into());
        }
        Self {
            notification: new.kind.notification().to_owned(),
            component: new.kind.component().to_owned(),
            data,
        }
    }
}

/// Which alerts to list, the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AlertFilter {
    /// Alerts of these folders; `None`: of all.
    pub folders: Option<Vec<FolderId>>,
    /// Only those that the user has not read.
    pub unread: bool,
    /// At most so many, up to [`MAX_ALERTS_LISTED`].
    pub limit: usize,
}

impl Default for AlertFilter {
    fn default() -> Self {
        Self { folders: None, unread: false, limit: 100 }
    }
}

impl AlertFilter {
    /// Checks how many alerts are asked for.
    ///
    /// # Errors
    ///
    /// Code 1015 for more than [`MAX_ALERTS_LISTED`].
    pub fn validate(&self) -> Result<(), Refusal> {
        if self.limit <= MAX_ALERTS_LISTED {
            return Ok(());
        }
        let message = format!("{} alerts are asked for; the limit is {MAX_ALERTS_LISTED}", self.limit);
        Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
    }
}

/// Checks how many alerts are marked as read at once.
///
/// # Errors
///
/// Code 1015 for more than [`MAX_ALERTS_MARKED`].
pub fn validate_marked(keys: &[AlertKey]) -> Result<(), Refusal> {
    if keys.len() <= MAX_ALERTS_MARKED {
        return Ok(());
    }
    let message = format!("{} alerts are to be marked; the limit is {MAX_ALERTS_MARKED}", keys.len());
    Err(Refusal::new(ErrorCode::PARAMETER_INVALID, message))
}

/// From when on an item that is due then is at the risk of missing the SLA of its queue. `None`: the queue has none.
pub fn at_risk_before_due(queue: &QueueDefinition) -> Option<SignedDuration> {
    let notes = &queue.notes;
    let minutes = notes.sla_in_minutes.checked_sub(notes.risk_sla_in_minutes)?;
    (notes.sla_in_minutes > 0).then(|| SignedDuration::from_mins(minutes.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_of_a_program_has_a_message_within_the_limits() {
        let raise = |names: (&str, &str), message: &str| {
            NewAlert::of_process(AlertSeverity::Fatal, FolderId::SHARED, names, message)
        };
        let raised = raise(("Load", "R1"), "the disk is full").unwrap();
        let content = AlertContent::from(raised.clone());
        assert_eq!((raised.severity, &*content.component), (AlertSeverity::Fatal, "Process"));
        let data = Value::Object(content.data).to_string();
        assert_eq!(data, r#"{"Message":"the disk is full","ProcessName":"Load","RobotName":"R1"}"#);
        let long = "\u{1f916}".repeat(257);
        for (names, message) in
            [(("", ""), " "), (("", ""), &*long), ((&*long, ""), "m"), (("", &*long), "m")]
        {
            assert_eq!(raise(names, message).unwrap_err().code(), ErrorCode::INVALID_ARGUMENT);
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_all_but_one_a_code() {
        let names: std::collections::BTreeSet<&str> =
            AlertKind::ALL.iter().map(|kind| kind.notification()).collect();
        assert_eq!(names.len(), AlertKind::ALL.len());
        let codes: Vec<u16> =
            AlertKind::ALL.iter().filter_map(|kind| kind.code()).map(ErrorCode::number).collect();
        assert_eq!(codes, [1680, 1222, 1223, 1856, 1863, 1864]);
    }
}
