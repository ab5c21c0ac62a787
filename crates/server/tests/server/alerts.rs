//! Alerts over HTTP (orchestrator-api 25): what is raised, what lists show, and who has read what.

use performer::model::alert::{AlertFilter, AlertSeverity};
use performer::orchestrator::{ErrorKind, Insight as _};
use performer::server::Roles;
use serde_json::{Value, json};

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET};

const ODATA: &str = "UiPath.Server.Configuration.OData";

fn alert(message: &str, severity: &str) -> Value {
    json!({"processAlert": {"Message": message, "Severity": severity, "RobotName": "R1", "ProcessName": "Load"}})
}

async fn raise(api: &Api, message: &str, severity: &str) {
    let raised =
        api.post(&format!("/odata/Alerts/{ODATA}.RaiseProcessAlert"), &alert(message, severity)).await;
    assert_eq!((raised.status, raised.text.as_str()), (200, ""));
}

async fn unread(api: &Api) -> Value {
    let got = api.get(&format!("/odata/Alerts/{ODATA}.GetUnreadCount")).await;
    assert_eq!(got.status, 200, "{}", got.text);
    got.body["value"].clone()
}

#[tokio::test]
async fn alerts_are_raised_listed_and_read() {
    let api = Api::start().await;
    assert_eq!(unread(&api).await, 0);
    raise(&api, "the disk is full", "Fatal").await;
    raise(&api, "half of it is done", "info").await;
    let got = api.get("/odata/Alerts?$count=true&$orderby=CreationTime").await;
    assert_eq!((got.status, &got.body["@odata.count"]), (200, &json!(2)), "{}", got.text);
    let fatal = api.get("/odata/Alerts?$filter=Severity eq 'Fatal' and State eq 'Unread'").await;
    let rows = fatal.body["value"].as_array().unwrap();
    assert_eq!(rows.len(), 1, "{}", fatal.text);
    let row = &rows[0];
    assert_eq!((&row["Component"], &row["NotificationName"]), (&json!("Process"), &json!("Process.Alert")));
    let data: Value = serde_json::from_str(row["Data"].as_str().unwrap()).unwrap();
    assert_eq!(data, json!({"Message": "the disk is full", "ProcessName": "Load", "RobotName": "R1"}));

    let mark = format!("/odata/Alerts/{ODATA}.MarkAsRead");
    let read = api.post(&mark, &json!({"ids": [row["UserNotificationId"]]})).await;
    assert_eq!((read.status, &read.body["value"]), (200, &json!(1)), "{}", read.text);
    assert_eq!(unread(&api).await, 1);
    let read = api.get("/odata/Alerts?$filter=State eq 'Read'&$select=Data").await;
    assert_eq!(read.body["value"].as_array().unwrap().len(), 1, "{}", read.text);

    for (body, code) in [
        (json!({"ids": ["no key"]}), 1000),
        (json!({}), 1000),
        (json!({"ids": vec!["0b4d3c1e-0000-4000-8000-000000000000"; 1_001]}), 1009),
    ] {
        let refused = api.post(&mark, &body).await;
        assert!(refused.status == 400 && refused.code() >= code, "{}", refused.text);
    }
    for body in [alert("", "Info"), alert("m", "Loud"), alert(&"m".repeat(513), "Info"), json!({})] {
        let refused = api.post(&format!("/odata/Alerts/{ODATA}.RaiseProcessAlert"), &body).await;
        assert_eq!(refused.status, 400, "{}", refused.text);
    }
    assert_eq!(unread(&api).await, 1);
}

/// Alerts need the permission in the tenant.
#[tokio::test]
async fn a_role_in_a_folder_shows_no_alerts_of_the_tenant() {
    let api = Api::start().await;
    raise(&api, "in Shared", "Warn").await;
    let access = &api.served.access_admin;
    access.add_folder("Finance").await.unwrap();
    let user = async |name: &str, folder: &str| {
        let roles = Roles { roles: vec!["Viewer".to_owned()], folders: vec![folder.to_owned()] };
        let all = "OrchestratorApiUserAccess";
        let (id, secret) = access.add_client(name, all, &roles).await.unwrap();
        api.served.client().client_credentials(&id, secret.as_str()).folder_path(folder).connect().await
    };
    let (here, there) = (user("here", "Shared").await.unwrap(), user("there", "Finance").await.unwrap());
    let refused = here.list_alerts(AlertFilter::default()).await;
    // A role of a folder is none of the tenant, where alerts are.
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
    let refused = there.mark_alerts_read(Vec::new()).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unauthorized);
}

/// The client reads what the store has, and marks it.
#[tokio::test]
async fn the_client_lists_and_marks_alerts() {
    let api = Api::start().await;
    for number in 0..3 {
        raise(&api, &format!("number {number}"), "Error").await;
    }
    let client = api.served.client().client_credentials(CLIENT, SECRET).connect().await.unwrap();
    let mut filter = AlertFilter::default();
    filter.limit = 2;
    let alerts = client.list_alerts(filter.clone()).await.unwrap();
    let messages: Vec<&str> = alerts.iter().map(|alert| alert.message()).collect();
    assert_eq!(messages, ["number 2", "number 1"]);
    assert_eq!(alerts[0].severity, AlertSeverity::Error);
    assert_eq!(client.mark_alerts_read(vec![alerts[0].key]).await.unwrap(), 2);
    filter.unread = true;
    let unread = client.list_alerts(filter.clone()).await.unwrap();
    assert_eq!(unread.iter().map(|alert| alert.message()).collect::<Vec<_>>(), ["number 1", "number 0"]);
    filter.limit = 10_001;
    assert_eq!(client.list_alerts(filter).await.unwrap_err().kind(), ErrorKind::Invalid);
}
