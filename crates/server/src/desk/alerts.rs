//! Alerts: what somebody should look at, read or not by the reader.

use askama::Template;

use super::call::DeskCall;
use super::frame::{Frame, note_cookie};
use super::html::{self, Html};
use super::reply::Reply;
use crate::api_error::ApiError;
use performer_core::model::alert::{Alert, AlertFilter, AlertSeverity, MAX_ALERTS_LISTED, MAX_ALERTS_MARKED};
use performer_core::model::key::{AlertKey, FolderId};
use performer_wire::alert::alert_link;

/// The most alerts of the page.
const ROWS: usize = 200;

/// An alert as a row.
struct AlertRow {
    key: String,
    time: Html,
    severity: Html,
    message: String,
    component: String,
    folder: String,
    /// What it is about; empty if there is no page.
    href: String,
    is_read: bool,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage {
    frame: Frame,
    rows: Vec<AlertRow>,
    unread: u64,
    has_more: bool,
    only_unread: bool,
    may_mark: bool,
}

fn severity(severity: AlertSeverity) -> Html {
    let (class, shape) = match severity {
        AlertSeverity::Info => ("busy", "○"),
        AlertSeverity::Success => ("good", "✓"),
        AlertSeverity::Warn => ("abandoned", "◇"),
        AlertSeverity::Error | AlertSeverity::Fatal => ("failed", "✗"),
    };
    Html::of(format!(
        "<span class=\"badge {class}\"><span aria-hidden=\"true\">{shape}</span> {}</span>",
        severity.name()
    ))
}

/// The folders whose alerts the reader sees: those in which it has a role.
pub(super) fn folders(call: &DeskCall) -> Result<Vec<FolderId>, ApiError> {
    Ok(call.folders_with(&[])?.to_vec())
}

pub(super) async fn page(call: &DeskCall) -> Result<Reply, ApiError> {
    let (store, only_unread) = (call.store_of_tenant(), call.query_value("unread") == "1");
    let mut filter = AlertFilter::default();
    (filter.folders, filter.unread, filter.limit) = (Some(folders(call)?), only_unread, ROWS + 1);
    let alerts = store.alerts(filter).await?;
    let unread = store.unread_alerts(Some(folders(call)?)).await?;
    let directory = call.directory()?;
    let row = |alert: &Alert| AlertRow {
        key: alert.key.to_string(),
        time: html::time(alert.time),
        severity: severity(alert.severity),
        message: html::line(alert.message(), 600),
        component: html::line(&alert.content.component, 40),
        folder: alert.folder.map(|folder| html::line(&directory.full_name(folder), 80)).unwrap_or_default(),
        href: Some(alert_link(alert)).filter(|href| href != "/desk/alerts").unwrap_or_default(),
        is_read: alert.is_read,
    };
    Reply::page(&AlertsPage {
        frame: call.frame("/desk/alerts"),
        rows: alerts.iter().take(ROWS).map(row).collect(),
        unread,
        has_more: alerts.len() > ROWS,
        only_unread,
        may_mark: call.is_writable(),
    })
}

/// Marks the named alerts as read, or all.
pub(super) async fn mark(call: &DeskCall) -> Result<Reply, ApiError> {
    let store = call.store_of_tenant();
    let folders = folders(call)?;
    let keys: Vec<AlertKey> = if call.field("all") == "1" {
        let mut filter = AlertFilter::default();
        (filter.folders, filter.unread, filter.limit) = (Some(folders.clone()), true, MAX_ALERTS_LISTED);
        store.alerts(filter).await?.into_iter().map(|alert| alert.key).collect()
    } else {
        let wrong = |text: &str| ApiError::invalid(format!("alert: {text:?} is not the key of an alert."));
        call.fields("alert").map(|text| text.parse().map_err(|_| wrong(text))).collect::<Result<_, _>>()?
    };
    for keys in keys.chunks(MAX_ALERTS_MARKED) {
        store.read_alerts(keys.to_vec(), Some(folders.clone())).await?;
    }
    Ok(Reply::see_other("/desk/alerts").cookie(&note_cookie("alerts-read", 0)))
}
