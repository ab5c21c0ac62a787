//! Acts on many items, the audit, what is due and figures over the API: who may do what, where, and what the audit says of it.

use performer::ItemId;
use performer::orchestrator::ItemAdministration as _;
use serde_json::{Value, json};

use crate::{Api, ApiResponse};

const EVERYTHING: &str = "OrchestratorApiUserAccess";

impl Api {
    async fn performer(&self, token: &str, folder: Option<&str>, what: &str, body: &Value) -> ApiResponse {
        self.call_as(token, folder, "POST", &format!("/api/Performer/{what}"), body).await
    }

    /// A queue with so many failed items in Shared. Returns their ids and row versions, as an operation takes them.
    async fn failures(&self, count: usize) -> Value {
        self.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
        let failed = json!({"IsSuccessful": false, "ProcessingException": {"Reason": "no total", "Type": "BusinessException"}});
        let mut versions = Vec::new();
        for number in 0..count {
            self.add("Invoices", &format!("F-{number}")).await;
            let item = self.take("Invoices").await.unwrap();
            assert_eq!(self.result(&item, &failed).await.status, 200);
            let id = ItemId(item["Id"].as_i64().unwrap());
            versions.push(json!([id.0, self.served.store.get_queue_item(id).await.unwrap().row_version]));
        }
        Value::from(versions)
    }

    /// An application with a role of its own that has these permissions, in Shared.
    async fn with_permissions(&self, name: &str, permissions: &[&str]) -> String {
        let all: Vec<Value> =
            permissions.iter().map(|name| json!({"Name": name, "IsGranted": true})).collect();
        let made = self.post("/odata/Roles", &json!({"Name": name, "Permissions": all})).await;
        assert_eq!(made.status, 201, "{}", made.text);
        self.application_token(name, EVERYTHING, &[name], &["Shared"]).await
    }

    async fn run_operations(&self) {
        while self.served.store.step_due_operations().await.unwrap() > 0 {}
    }
}

#[tokio::test]
async fn an_operation_is_made_started_and_shown_in_the_name_of_its_caller() {
    let api = Api::start().await;
    let items = api.failures(3).await;
    let by = api.application_token("nightly", EVERYTHING, &["Administrator"], &[]).await;
    let ask = async |what: &str, body: Value| api.performer(&by, Some("Shared"), what, &body).await;
    let plan = json!({"act": "Retry", "items": items, "comment": "again", "filter": "status=Failed"});
    let made = ask("PrepareOperation", plan).await;
    assert_eq!((made.status, &made.body["State"]), (200, &json!("Preview")), "{}", made.text);
    let this = json!({"operation": made.body["Id"]});
    let started = ask("StartOperation", this.clone()).await;
    assert_eq!((started.status, &started.body["State"]), (200, &json!("Running")), "{}", started.text);
    assert_eq!(
        started.body.get("Actor"),
        None,
        "from where somebody acted is for those who may see the audit"
    );
    let again = ask("StartOperation", this.clone()).await;
    assert_eq!((again.status, again.code()), (409, 1302), "{}", again.text);
    api.run_operations().await;
    let done = ask("Operation", this.clone()).await.body;
    assert_eq!(
        (&done["State"], &done["Done"], &done["Filter"]),
        (&json!("Done"), &json!(3), &json!("status=Failed"))
    );
    let listed = ask("Operations", json!({"top": 10})).await.body["Operations"].clone();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["Id"]), (1, &done["Id"]));
    let shown = ask("OperationItems", json!({"operation": done["Id"], "top": 2})).await.body;
    assert_eq!(shown.as_array().unwrap().len(), 2);
    assert!(shown[0]["isDone"] == true && shown[0]["copy"].is_i64(), "{shown}");
    let back = ask("TakeOperationBack", this).await;
    assert_eq!((back.status, &back.body["Plan"]["Act"]["Name"]), (200, &json!("TakeBack")), "{}", back.text);
    api.run_operations().await;

    let acts = json!({"acts": ["OperationStarted"], "top": 10});
    let records = api.performer(&api.token, None, "Audit", &acts).await.body;
    let entries: Vec<Value> = records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| serde_json::from_str(record["entry"].as_str().unwrap()).unwrap())
        .collect();
    assert_eq!(entries.len(), 2, "{records}");
    let user = done["UserName"].as_str().unwrap();
    for entry in &entries {
        assert_eq!((&entry["Actor"]["Source"], &entry["Actor"]["UserName"]), (&json!("Api"), &json!(user)));
        assert_eq!((&entry["Actor"]["Address"], &entry["Folder"]), (&json!("127.0.0.1"), &json!(1)));
    }
}

/// As in the desk: the permissions of the same act on one item.
#[tokio::test]
async fn an_operation_needs_what_its_act_needs_on_one_item() {
    let api = Api::start().await;
    let items = api.failures(2).await;
    let viewer = api.with_permissions("one who is viewer", &["Queues.View", "Transactions.View"]).await;
    let reviewer = api
        .with_permissions("one who is reviewer", &["Queues.View", "Transactions.View", "Transactions.Edit"])
        .await;
    let remover = api
        .with_permissions("one who is remover", &["Queues.View", "Transactions.View", "Transactions.Delete"])
        .await;
    let (mut cases, mut made) = (0, Vec::new());
    for (act, of_reviewer, of_remover) in [
        ("Retry", 200, 403),
        ("Verified", 200, 403),
        ("InReview", 200, 403),
        ("Assign", 200, 403),
        ("Comment", 200, 403),
        ("Delete", 403, 200),
        ("Purge", 403, 403), // which needs Queues.Edit, too
    ] {
        let plan = json!({"act": act, "items": items, "comment": "c"});
        for (token, status) in [(&viewer, 403), (&reviewer, of_reviewer), (&remover, of_remover)] {
            let got = api.performer(token, Some("Shared"), "PrepareOperation", &plan).await;
            assert_eq!(got.status, status, "{act}: {}", got.text);
            cases += 1;
            if status == 403 {
                assert!(got.is_api_error() && got.text.contains("This needs the permission"), "{}", got.text);
            } else {
                made.push((act, got.body["Id"].clone()));
            }
        }
    }
    assert_eq!((cases, made.len()), (21, 6));
    // What somebody else prepared is seen, but not started, stopped, resumed or taken back.
    let (_, deletion) = made.iter().find(|(act, _)| *act == "Delete").unwrap();
    let this = json!({"operation": deletion});
    assert_eq!(api.performer(&viewer, Some("Shared"), "Operation", &this).await.status, 200);
    for token in [&viewer, &reviewer] {
        let got = api.performer(token, Some("Shared"), "StartOperation", &this).await;
        assert_eq!(got.status, 403, "{}", got.text);
    }
    let (_, retry) = made.iter().find(|(act, _)| *act == "Retry").unwrap();
    let this = json!({"operation": retry});
    for what in ["StartOperation", "StopOperation", "ResumeOperation"] {
        assert_eq!(api.performer(&remover, Some("Shared"), what, &this).await.status, 403, "{what}");
    }
    assert_eq!(api.performer(&reviewer, Some("Shared"), "StartOperation", &this).await.status, 200);
    api.run_operations().await;
    let back = api.performer(&reviewer, Some("Shared"), "TakeOperationBack", &this).await;
    assert_eq!(back.status, 403, "it deletes: {}", back.text);
    assert_eq!(api.performer(&remover, Some("Shared"), "TakeOperationBack", &this).await.status, 200);
    // A reviewer who may not review is refused item by item, as one by one.
    let plan = json!({"act": "Assign", "reviewer": 999, "items": items});
    let assign = api.performer(&reviewer, Some("Shared"), "PrepareOperation", &plan).await.body;
    assert_eq!(assign["Preview"]["RefusedCount"], 2, "{assign}");
}

#[tokio::test]
async fn operations_of_another_folder_are_not_found() {
    let api = Api::start().await;
    let items = api.failures(2).await;
    api.served.access_admin.add_folder("Finance").await.unwrap();
    let finance = api.application_token("finance", EVERYTHING, &["Administrator"], &["Finance"]).await;
    // It finds none of the items, and what it makes is in no folder.
    let plan = json!({"act": "Delete", "items": items});
    let blind = api.performer(&finance, Some("Finance"), "PrepareOperation", &plan).await;
    assert_eq!((blind.status, &blind.body["Folders"]), (200, &json!([])), "{}", blind.text);
    let this = json!({"operation": blind.body["Id"]});
    assert_eq!(api.performer(&finance, Some("Finance"), "StartOperation", &this).await.status, 200);
    api.run_operations().await;
    let done = api.performer(&finance, Some("Finance"), "Operation", &this).await.body;
    assert_eq!((&done["Done"], &done["Refused"]), (&json!(0), &json!(2)), "{done}");

    let made = api.performer(&api.token, Some("Shared"), "PrepareOperation", &plan).await.body;
    assert_eq!(made["Folders"], json!([1]));
    let this = json!({"operation": made["Id"], });
    for what in ["Operation", "StartOperation", "StopOperation", "ResumeOperation", "TakeOperationBack"] {
        for folder in [Some("Finance"), None] {
            let got = api.performer(&finance, folder, what, &this).await;
            assert_eq!((got.status, got.is_api_error()), (404, true), "{what}: {}", got.text);
        }
    }
    let items = json!({"operation": made["Id"], "top": 5});
    assert_eq!(api.performer(&finance, Some("Finance"), "OperationItems", &items).await.status, 404);
    let listed =
        api.performer(&finance, None, "Operations", &json!({"top": 5})).await.body["Operations"].clone();
    assert!(listed.as_array().unwrap().iter().all(|operation| operation["Id"] != made["Id"]), "{listed}");
    // A caller of both folders sees it whatever folder it names, or none.
    let both = api.application_token("both", EVERYTHING, &["Administrator"], &["Finance", "Shared"]).await;
    assert_eq!(api.performer(&both, None, "Operation", &this).await.status, 200);
    assert_eq!(api.performer(&both, Some("Finance"), "Operation", &this).await.status, 404);
}

#[tokio::test]
async fn the_filter_of_an_operation_is_one_that_the_desk_can_link_to() {
    let api = Api::start().await;
    let items = api.failures(1).await;
    let with = |filter: &str| json!({"act": "Verified", "items": items, "filter": filter});
    let ask = async |filter: &str| {
        api.performer(&api.token, Some("Shared"), "PrepareOperation", &with(filter)).await
    };
    assert_eq!(
        ask("status=Failed,Abandoned&queue=Invoices").await.body["Filter"],
        "queue=Invoices&status=Failed,Abandoned"
    );
    for wrong in ["colour=red", "status=Nonsense", "javascript:alert(1)"] {
        let got = ask(wrong).await;
        assert!(got.status == 400 && got.is_api_error(), "{wrong}: {} {}", got.status, got.text);
    }
}

#[tokio::test]
async fn the_audit_needs_its_own_scope_and_permission() {
    let api = Api::start().await;
    let body = json!({"after": 0});
    let all = api.with_permissions("auditor", &["Audit.View"]).await;
    assert_eq!(
        api.performer(&all, None, "AuditLines", &body).await.status,
        403,
        "a role in a folder is not one of the tenant"
    );
    let scoped = api.application_token("reader", "OR.Audit.Read", &["Administrator"], &[]).await;
    let lines = api.performer(&scoped, None, "AuditLines", &body).await;
    assert_eq!(lines.status, 200, "{}", lines.text);
    assert!(lines.body[0]["id"] == 1 && lines.body[0]["entry"].is_string(), "{}", lines.text);
    let other = api.application_token("other", "OR.Queues", &["Administrator"], &[]).await;
    assert_eq!(api.performer(&other, None, "AuditLines", &body).await.status, 403);
}
