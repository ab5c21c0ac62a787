//! Alerts (orchestrator-api 25).

use super::Inner;
use super::administration::unsupported;
use super::call::Call;
use performer_core::model::alert::{Alert, AlertFilter, validate_marked};
use performer_core::model::key::AlertKey;
use performer_core::orchestrator::{ErrorKind, OrchestratorError, Result};
use performer_wire::Collection;
use performer_wire::alert::{AlertDto, CountResponse, MarkAsReadRequest};

/// The most alerts of one page (orchestrator-api 4.1).
const PAGE: usize = 1_000;

impl Inner {
    pub(super) async fn alerts(&self, filter: &AlertFilter) -> Result<Vec<Alert>> {
        filter.validate()?;
        if filter.folders.is_some() {
            return unsupported("over HTTP the alerts of all folders of the user are listed");
        }
        let mut alerts = Vec::new();
        while alerts.len() < filter.limit {
            let top = (filter.limit - alerts.len()).min(PAGE);
            let call = Call::get("GetAlerts", "/odata/Alerts").query("$orderby", "CreationTime desc");
            let call = call.query("$top", top.to_string()).query("$skip", alerts.len().to_string());
            let call = if filter.unread { call.query("$filter", "State eq 'Unread'") } else { call };
            let page: Collection<AlertDto> = self.http.json(call).await?;
            let is_last = page.value.len() < top;
            for alert in page.value {
                let read = alert.into_alert();
                let unreadable = |error: performer_wire::Unreadable| {
                    OrchestratorError::new(ErrorKind::Other, error.to_string())
                };
                alerts.push(read.map_err(unreadable)?);
            }
            if is_last {
                break;
            }
        }
        Ok(alerts)
    }

    pub(super) async fn mark_alerts(&self, ids: Vec<AlertKey>) -> Result<u64> {
        validate_marked(&ids)?;
        let path = "/odata/Alerts/UiPath.Server.Configuration.OData.MarkAsRead";
        let call = Call::post("MarkAlertsAsRead", path, &MarkAsReadRequest { ids }).repeatable();
        Ok(self.http.json::<CountResponse>(call).await?.value)
    }
}
