//! Alerts (orchestrator-api 25): what lists show, and the bodies of calls.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ApiTime, Unreadable};
use performer_core::model::alert::{Alert, AlertContent, AlertSeverity};
use performer_core::model::key::AlertKey;

/// An alert in a list.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct AlertDto {
    #[serde(default)]
    pub notification_name: String,
    /// A JSON object, as a text.
    #[serde(default)]
    pub data: String,
    #[serde(default)]
    pub component: String,
    pub severity: String,
    pub creation_time: ApiTime,
    #[serde(default)]
    pub state: String,
    /// What a user marks as read.
    pub user_notification_id: String,
    #[serde(default)]
    pub deep_link_relative_url: String,
    #[serde(default)]
    pub id: String,
}

/// Where the desk shows what an alert is about.
pub fn alert_link(alert: &Alert) -> String {
    let data = &alert.content.data;
    if let Some(job) = data.get("JobKey").and_then(Value::as_str) {
        return format!("/desk/jobs/{job}");
    }
    if let Some([item]) = data.get("ItemIds").and_then(Value::as_array).map(Vec::as_slice) {
        return format!("/desk/items/{item}");
    }
    match data.get("QueueId").and_then(Value::as_i64) {
        Some(queue) => format!("/desk/queues/{queue}"),
        None => "/desk/alerts".to_owned(),
    }
}

impl From<&Alert> for AlertDto {
    fn from(alert: &Alert) -> Self {
        let key = alert.key.to_string();
        Self {
            notification_name: alert.content.notification.clone(),
            data: Value::Object(alert.content.data.clone()).to_string(),
            component: alert.content.component.clone(),
            severity: alert.severity.name().to_owned(),
            creation_time: ApiTime(alert.time),
            state: if alert.is_read { "Read" } else { "Unread" }.to_owned(),
            user_notification_id: key.clone(),
            deep_link_relative_url: alert_link(alert),
            id: key,
        }
    }
}

impl AlertDto {
    /// The alert. Data that is no object is its message.
    ///
    /// # Errors
    ///
    /// A key or a severity that is not known.
    pub fn into_alert(self) -> Result<Alert, Unreadable> {
        let unreadable = |what: &str, text: &str| Unreadable(format!("an alert has the {what} {text:?}"));
        let key: AlertKey = self
            .user_notification_id
            .parse()
            .map_err(|_| unreadable("UserNotificationId", &self.user_notification_id))?;
        let severity: AlertSeverity =
            self.severity.parse().map_err(|_| unreadable("Severity", &self.severity))?;
        let data = serde_json::from_str::<Map<String, Value>>(&self.data)
            .unwrap_or_else(|_| Map::from_iter([("Message".to_owned(), Value::from(self.data))]));
        let content = AlertContent::new(self.notification_name, self.component, data);
        let mut alert = Alert::new(key, self.creation_time.0, severity, content);
        alert.is_read = self.state == "Read";
        Ok(alert)
    }
}

/// Which alerts are read now.
#[derive(Debug, Serialize, Deserialize)]
pub struct MarkAsReadRequest {
    pub ids: Vec<AlertKey>,
}

/// A number as the value of an answer.
#[derive(Debug, Serialize, Deserialize)]
pub struct CountResponse {
    pub value: u64,
}

/// What a program has to say.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RaiseProcessAlertRequest {
    pub process_alert: ProcessAlertDto,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ProcessAlertDto {
    pub message: String,
    pub severity: String,
    pub robot_name: String,
    pub process_name: String,
}
