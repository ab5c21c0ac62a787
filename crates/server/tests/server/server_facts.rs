//! What the server says about itself: settings, licences, the tenant, counts, and the audit in the vendor's form. And what it
//! deliberately does not have.

use std::time::Duration;

use serde_json::{Value, json};

use performer_proofs::openapi;

use crate::bad_requests::start_job;
use crate::{Api, start_of_time};

fn odata(action: &str) -> String {
    format!("UiPath.Server.Configuration.OData.{action}")
}

#[tokio::test]
async fn settings_are_those_of_the_server() {
    let api = Api::start_as(|server| server.strict(true).largest_body(16_000_000)).await;
    let setting =
        async |name: &str| api.get(&format!("/odata/Settings('{name}')")).await.body["value"].clone();
    assert_eq!(setting("Performer.Strict").await, "true");
    assert_eq!(setting("performer.maxbodybytes").await, "1000000");
    assert_eq!(setting("Abp.Timing.TimeZone").await, "UTC");
    let missing = api.get("/odata/Settings('Abp.Net.Mail.DefaultFromAddress')").await;
    assert_eq!((missing.status, missing.code()), (404, 1002), "{}", missing.text);
    let put = api.call("PUT", "/odata/Settings('Performer.Strict')", &json!({"Value": "false"})).await;
    assert_eq!((put.status, put.headers["allow"].to_str().unwrap()), (405, "GET, HEAD, OPTIONS"));
    let listed = api.get("/odata/Settings").await.body["value"].as_array().unwrap().clone();
    let web = api.get(&format!("/odata/Settings/{}", odata("GetWebSettings"))).await.body;
    assert_eq!(web["Keys"], json!(listed.iter().map(|one| &one["Name"]).collect::<Vec<_>>()));
    assert_eq!(web["Values"], json!(listed.iter().map(|one| &one["Value"]).collect::<Vec<_>>()));
    let zones = api.get(&format!("/odata/Settings/{}", odata("GetTimezones"))).await.body;
    assert_eq!(zones["Items"].as_array().unwrap().len(), 1, "all times are in UTC: {zones}");
    for (scope, status) in [("0", 200), ("1", 200), ("2", 400), ("x", 400), ("", 400)] {
        let path = odata(&format!("GetExecutionSettingsConfiguration(scope={scope})"));
        assert_eq!(api.get(&format!("/odata/Settings/{path}")).await.status, status, "{scope}");
    }
    let viewer = api.application_token("viewer", "OrchestratorApiUserAccess", &["Viewer"], &[]).await;
    let path = format!("/odata/Settings/{}", odata("GetExecutionSettingsConfiguration(scope=0)"));
    assert_eq!(api.call_as(&viewer, None, "GET", &path, &Value::Null).await.status, 403);
}

#[tokio::test]
async fn nothing_is_licensed_and_nothing_is_limited() {
    let api = Api::start().await;
    let license = api.get(&format!("/odata/Settings/{}", odata("GetLicense"))).await.body;
    assert_eq!((&license["IsExpired"], &license["IsRegistered"]), (&json!(false), &json!(true)));
    assert_eq!(
        (&license["Allowed"], &license["Used"], &license["ExpireDate"]),
        (&json!({}), &json!({}), &Value::Null)
    );
    for list in ["LicensesRuntime", "LicensesNamedUser"] {
        let of = |kind: &str| format!("/odata/{list}/{}", odata(&format!("Get{list}(robotType='{kind}')")));
        let got = api.get(&format!("{}?$count=true", of("Unattended"))).await;
        assert_eq!((&got.body["value"], &got.body["@odata.count"]), (&json!([]), &json!(0)), "{}", got.text);
        assert_eq!(api.get(&of("Nope")).await.code(), 1009);
        assert_eq!(api.get(&format!("{}?$filter=Nope eq 1", of("Unattended"))).await.code(), 1000);
    }
    for figures in ["GetLicenseStats", "GetConsumptionLicenseStats"] {
        assert_eq!(api.get(&format!("/api/Stats/{figures}?tenantId=1&days=7")).await.text, "[]");
    }
    let tenants = api.get("/odata/Tenants").await.body;
    assert_eq!(
        (&tenants["value"][0]["Name"], &tenants["value"][0]["IsActive"]),
        (&json!("Default"), &json!(true))
    );
    assert_eq!(api.get("/odata/Tenants(1)").await.body["Key"], tenants["value"][0]["Key"]);
    assert_eq!(api.get("/odata/Tenants(2)").await.status, 404);
}

#[tokio::test]
async fn counts_are_those_of_the_callers_folders() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let token =
        api.application_token("finance", "OrchestratorApiUserAccess", &["Viewer"], &["Finance"]).await;
    let nobody = api.application_token("nobody", "OrchestratorApiUserAccess", &[], &[]).await;
    for name in ["Invoices", "Orders"] {
        api.queue(&json!({ "Name": name })).await;
    }
    let counts = async |token: &str| {
        let got = api.call_as(token, None, "GET", "/api/Stats/GetCountStats", &Value::Null).await;
        got.body
    };
    let asset = json!({"Name": "Threshold", "ValueScope": "Global", "ValueType": "Integer", "IntValue": 5});
    assert_eq!(api.post("/odata/Assets", &asset).await.status, 201);
    for (token, assets, queues, may_view) in
        [(&api.token, 1, 2, true), (&token, 0, 0, true), (&nobody, 0, 0, false)]
    {
        let expected = json!([
            {"title": "Assets", "count": assets, "hasPermissions": may_view},
            {"title": "Queues", "count": queues, "hasPermissions": may_view},
        ]);
        assert_eq!(counts(token).await, expected);
    }

    let (ended, _running) = (start_job(&api, "Invoices").await, start_job(&api, "Invoices").await);
    let end = json!({"job": ended, "state": "Faulted", "info": "i", "figures": {"successful": 1}});
    assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
    let stats = async |token: &str, of: &str| {
        let got = api.call_as(token, None, "GET", &format!("/api/Stats/{of}"), &Value::Null).await;
        let rows = got.body.as_array().unwrap_or_else(|| panic!("{}", got.text)).clone();
        rows.iter()
            .map(|row| (row["title"].as_str().unwrap().to_owned(), row["count"].as_u64().unwrap()))
            .collect::<Vec<_>>()
    };
    let row = |title: &str, count: u64| (title.to_owned(), count);
    let of_jobs = |faulted| [row("Successful", 0), row("Faulted", faulted), row("Canceled", 0)];
    assert_eq!(stats(&api.token, "GetJobsStats").await, of_jobs(1));
    assert_eq!(stats(&token, "GetJobsStats").await, of_jobs(0));
    let of_robots = |available| {
        [
            row("Available", available),
            row("Busy", 0),
            row("Disconnected", 0),
            row("Unresponsive", 0),
            row("Unknown", 0),
        ]
    };
    assert_eq!(stats(&api.token, "GetSessionsStats").await, of_robots(1));
    assert_eq!(stats(&token, "GetSessionsStats").await, of_robots(0));
    let refused = api.call_as(&nobody, None, "GET", "/api/Stats/GetJobsStats", &Value::Null).await;
    assert_eq!(refused.status, 403);
}

/// The values of two members in the rows of a list.
async fn acts(api: &Api, query: &str) -> Vec<String> {
    let got = api.get(&format!("/odata/AuditLogs?{query}")).await;
    let rows = got.body["value"].as_array().unwrap_or_else(|| panic!("{query}: {}", got.text));
    rows.iter()
        .map(|row| format!("{} {}", row["Component"].as_str().unwrap(), row["Action"].as_str().unwrap()))
        .collect()
}

#[tokio::test]
async fn the_audit_is_listed_in_the_vendors_form() {
    let api = Api::start().await;
    let before = api.get("/odata/AuditLogs/$count").await.text.parse::<usize>().unwrap();
    let minute = || api.clock.advance(Duration::from_secs(60));
    minute();
    api.queue(&json!({"Name": "Invoices"})).await;
    minute();
    let item = api.add("Invoices", "a").await;
    let edit = json!({"Priority": "Low", "SpecificContent": {"a": 2}});
    assert_eq!(api.call("PUT", &format!("/odata/QueueItems({})", item["Id"]), &edit).await.status, 200);
    minute();
    let ann = api.post("/odata/Users", &json!({"UserName": "ann"})).await.body;
    api.call("DELETE", &format!("/odata/Users({})", ann["Id"]), &Value::Null).await;
    let newest = ["Users Delete", "Users Create", "Queues Update", "Queues Create"];
    assert_eq!(acts(&api, "$top=4").await, newest);
    assert_eq!(acts(&api, "$top=4&$orderby=Id desc").await, newest);
    assert_eq!(acts(&api, "$skip=1&$top=2").await, newest[1..3]);
    let at = |minutes: i64| (start_of_time() + jiff::SignedDuration::from_mins(minutes)).to_string();
    for (filter, expected) in [
        ("Component eq 'Queues'".to_owned(), &newest[2..]),
        ("Component eq 'Users' and Action eq 'Delete'".to_owned(), &newest[..1]),
        (
            "Action eq '1' and Component in ('Users','Queues') and ExecutionTime gt 2000-01-01".to_owned(),
            &["Users Create", "Queues Create"][..],
        ),
        (format!("ExecutionTime eq {}", at(2)), &newest[2..3]),
        (format!("ExecutionTime ge {} and ExecutionTime lt {}", at(1), at(3)), &newest[2..]),
        (format!("ExecutionTime gt {}", at(3)), &[][..]),
        (format!("Id eq {} or Id eq {}", before + 1, before + 3), &["Users Create", "Queues Create"][..]),
        (format!("Id in ({},{})", before + 1, before + 2), &newest[2..]),
        ("MethodName eq 'ItemEdited' and UserName eq 'FIRST-application'".to_owned(), &newest[2..3]),
        ("contains(OperationText,'ann removed')".to_owned(), &newest[..1]),
    ] {
        let found = acts(&api, &format!("$filter={filter}")).await;
        assert_eq!(found[..found.len().min(expected.len().max(1))], *expected, "{filter}");
        let count = api.get(&format!("/odata/AuditLogs/$count?$filter={filter}")).await.text;
        assert_eq!(count, found.len().to_string(), "{filter}");
    }
    let row =
        api.get("/odata/AuditLogs?$filter=MethodName eq 'ItemEdited'&$expand=Entities").await.body["value"]
            [0]
        .clone();
    assert_eq!(
        (&row["EntityId"], &row["UserType"], &row["UserIsDeleted"]),
        (&item["Id"], &json!("DirectoryExternalApplication"), &json!(false))
    );
    let details = api
        .get(&format!("/odata/AuditLogs/{}", odata(&format!("GetAuditLogDetails(auditLogId={})", row["Id"]))))
        .await;
    assert_eq!(details.body["value"], row["Entities"], "{}", details.text);
    let detail = &details.body["value"][0];
    assert_eq!((&detail["EntityId"], &detail["AuditLogId"]), (&item["Id"], &row["Id"]));
    assert!(detail["CustomData"].as_str().unwrap().contains(r#""After":"Low""#), "{detail}");
    let of =
        |id: &str| format!("/odata/AuditLogs/{}", odata(&format!("GetAuditLogDetails(auditLogId={id})")));
    assert_eq!(api.get(&of("999999")).await.status, 404);
    assert_eq!(api.get(&of("x")).await.code(), 1009);
    // The audit of another service is empty, and only who may view the audit is shown it.
    let request = api.request("GET", "/odata/AuditLogs").bearer_auth(&api.token);
    let got = api.send(request.header("x-UIPATH-AuditedService", "TestAutomation")).await;
    assert_eq!(got.body["value"], json!([]));
}

/// More entries than are read at once; and the entries of a user who is gone.
#[tokio::test]
async fn a_long_audit_is_read_in_parts() {
    let api = Api::start().await;
    let before = api.get("/odata/AuditLogs/$count").await.text.parse::<usize>().unwrap();
    let token = api.application_token("leaver", "OrchestratorApiUserAccess", &[], &[]).await;
    let me = api
        .call_as(&token, None, "GET", &format!("/odata/Users/{}", odata("GetCurrentUser")), &Value::Null)
        .await;
    let me = me.body["Id"].clone();
    for number in 0..1_050 {
        let body = json!({"Name": format!("name {number}")});
        let got = api.call_as(&token, None, "PATCH", &format!("/odata/Users({me})"), &body).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
    let of_user = format!("UserId eq {me}");
    assert_eq!(api.get(&format!("/odata/AuditLogs/$count?$filter={of_user}")).await.text, "1050");
    assert_eq!(api.get("/odata/AuditLogs/$count").await.text, (before + 1_051).to_string());
    let oldest = api
        .get(&format!("/odata/AuditLogs?$filter={of_user}&$orderby=Id&$top=1&$expand=Entities"))
        .await
        .body;
    let custom = oldest["value"][0]["Entities"][0]["CustomData"].as_str().unwrap();
    assert!(custom.contains("name 0") && oldest["value"][0]["ExternalClientId"].is_string(), "{oldest}");
    let client = oldest["value"][0]["ExternalClientId"].as_str().unwrap();
    api.served.access_admin.remove_client(client).await.unwrap();
    let refreshed = api.post("/odata/Folders", &json!({"DisplayName": "F"})).await;
    assert_eq!(refreshed.status, 201);
    let last = api.get(&format!("/odata/AuditLogs?$filter={of_user}&$top=1&$skip=1049")).await.body["value"]
        [0]
    .clone();
    assert_eq!(
        (&last["UserIsDeleted"], &last["UserName"], &last["UserType"]),
        (&json!(true), &json!("leaver"), &Value::Null)
    );
}

#[tokio::test]
async fn what_is_deliberately_absent_says_why() {
    let api = Api::start().await;
    for (method, path, why) in [
        ("GET", "/odata/Libraries", "no packages"),
        ("POST", "/odata/Processes/UiPath.Server.Configuration.OData.UploadPackage", "no packages"),
        ("GET", "/odata/PersonalWorkspaces", "no personal workspaces"),
        ("GET", "/odata/Environments(5)", "no classic folders"),
        ("GET", "/api/DirectoryService/GetDomains", "no directory of a domain"),
        ("POST", "/odata/Settings/UiPath.Server.Configuration.OData.UpdateBulk", "not changed over the API"),
        ("GET", "/api/Status/VerifyHostAvailibility?url=http://127.0.0.1:1", "connects to no address"),
    ] {
        let got = api.call(method, path, &Value::Null).await;
        assert!(got.status == 404 && got.is_api_error(), "{path}: {} {}", got.status, got.text);
        let message = got.body["message"].as_str().unwrap();
        assert!(message.contains(why), "{path}: {message}");
    }
    // Every operation of the vendor's document with a reason is answered by it.
    let Some(document) = openapi::document() else { return };
    let mut told = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let concrete = path.replace("{key}", "1").replace(['{', '}'], "");
        for method in operations.as_object().unwrap().keys().filter(|name| *name != "parameters") {
            let got = api.call(&method.to_uppercase(), &concrete, &Value::Null).await;
            let message = got.body["message"].as_str().unwrap_or_default();
            told += usize::from(got.status == 404 && message.contains("This server"));
        }
    }
    assert!(told >= 75, "{told} operations are absent with a reason");
}
