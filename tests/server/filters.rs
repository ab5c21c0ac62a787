//! `$filter` and other query options on every list (orchestrator-api 4.1).

use serde_json::json;

use crate::Api;
use crate::support::served::{CLIENT, SECRET};

/// Creates data of every kind and returns the paths of all lists.
async fn lists(api: &Api) -> Vec<String> {
    let queue = api.queue(&json!({"Name": "FQ Invoices", "Tags": [{"Name": "t"}]})).await;
    api.post("/odata/Folders", &json!({"DisplayName": "Ørsted"})).await;
    api.post("/odata/Users", &json!({"UserName": "Ørsted", "Password": "correct horse"})).await;
    let item = api.add("FQ Invoices", "Ørsted-1").await;
    let taken = api.take("FQ Invoices").await.unwrap();
    api.post("/odata/QueueItemComments", &json!({"Text": "why?", "QueueItemId": item["Id"]})).await;
    api.result(&taken, &json!({"IsSuccessful": true})).await;
    let user = api.get("/odata/Users").await.body["value"][0]["UserName"].as_str().unwrap().to_owned();
    api.served.keeper.add_robot("R1", &user).await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    let odata = "UiPath.Server.Configuration.OData";
    vec![
        "/odata/QueueDefinitions".to_owned(),
        format!("/odata/QueueDefinitions/{odata}.ListQueues"),
        format!("/odata/QueueDefinitions/{odata}.GetQueuesAcrossFolders"),
        "/odata/QueueItemComments".to_owned(),
        format!("/odata/QueueItemComments/{odata}.GetQueueItemCommentsHistory(queueItemId={})", item["Id"]),
        format!("/odata/QueueItemEvents/{odata}.GetQueueItemEventsHistory(queueItemId={})", item["Id"]),
        format!("/odata/QueueItems({})/UiPathODataSvc.GetItemProcessingHistory", item["Id"]),
        format!("/odata/QueueItems/{odata}.GetReviewers"),
        format!(
            "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveLastDaysProcessingRecords(daysNo=1,queueDefinitionId={queue})"
        ),
        "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus".to_owned(),
        "/odata/QueueRetention".to_owned(),
        "/odata/Folders".to_owned(),
        format!("/odata/Folders/{odata}.GetUsersForFolder(key=1)"),
        "/odata/Users".to_owned(),
        "/odata/Roles".to_owned(),
        "/odata/Robots".to_owned(),
    ]
}

/// The values of the member `of` in the rows of a list.
async fn found(api: &Api, path: &str, filter: &str, of: &str) -> Vec<String> {
    let got = api.get(&format!("{path}?$filter={filter}")).await;
    assert_eq!(got.status, 200, "{path} {filter}: {}", got.text);
    let rows = got.body["value"].as_array().unwrap();
    rows.iter().map(|row| row[of].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn lists_accept_the_filters_of_clients() {
    let api = Api::start().await;
    lists(&api).await;
    let users = found(&api, "/odata/Users", "Type eq 'User'", "UserName").await;
    assert_eq!(users, ["Ørsted"]);
    for same in ["Type eq '0'", "Type eq 0", "Type in ('0')", "not (Type ne '0')", "Type lt 1"] {
        assert_eq!(found(&api, "/odata/Users", same, "UserName").await, users, "{same}");
    }
    for filter in [
        "contains(tolower(Name), tolower('FQ'))",
        "contains(Name, 'fq')",
        "startswith(tolower(Name),'fq') and endswith(toupper(Name), toupper('ices'))",
        "tolower(Name) eq tolower('FQ Invoices')",
        "Name in ('x', 'fq invoices')",
        "CreationTime ge '2026-03-01T07:00:00Z' and CreationTime lt 2026-03-02",
        "Description eq null and MaxNumberOfRetries ge '0' and AcceptAutomaticallyRetry eq true",
        "Id eq '1' or Name eq 'FQ Invoices'",
    ] {
        assert_eq!(found(&api, "/odata/QueueDefinitions", filter, "Name").await, ["FQ Invoices"], "{filter}");
    }
    assert!(
        found(&api, "/odata/QueueDefinitions", "not contains(tolower(Name),'fq')", "Name").await.is_empty()
    );
    for (path, filter, name, expected) in [
        ("/odata/Folders", "tolower(DisplayName) eq 'ørsted'", "DisplayName", "Ørsted"),
        ("/odata/Folders", "FolderType eq '0' and DisplayName ne 'Shared'", "DisplayName", "Ørsted"),
        ("/odata/Users", "toupper(UserName) eq 'ØRSTED'", "UserName", "Ørsted"),
        ("/odata/Robots", "Type eq '2' and HostingType eq 1", "Name", "R1"),
        (
            "/odata/Roles",
            "Type eq 'Mixed' and IsStatic eq true and contains(Name,'dmin')",
            "Name",
            "Administrator",
        ),
        ("/odata/QueueItems", "tolower(Reference) eq 'ørsted-1'", "Reference", "Ørsted-1"),
        ("/odata/QueueItems", "startswith(toupper(Reference), toupper('ørs'))", "Reference", "Ørsted-1"),
        (
            "/odata/QueueItemEvents",
            "QueueItemId eq '1' and Action eq '0' and Status eq 0",
            "Action",
            "Create",
        ),
        ("/odata/QueueItemComments", "QueueItemId eq '1' and UserId ne null", "Text", "why?"),
    ] {
        assert_eq!(found(&api, path, filter, name).await, [expected], "{path} {filter}");
    }
    let history = "/odata/QueueItems(1)/UiPathODataSvc.GetItemProcessingHistory";
    assert_eq!(found(&api, history, "Status eq '3' and Priority eq 1", "Reference").await, ["Ørsted-1"]);
    assert!(found(&api, history, "Status eq 'New'", "Reference").await.is_empty());
    let of_folder = "/odata/Folders/UiPath.Server.Configuration.OData.GetUsersForFolder(key=1)";
    let got = api
        .get(&format!("{of_folder}?$filter=UserEntity/Type eq 'Robot'&$orderby=UserEntity/UserName"))
        .await;
    assert_eq!(got.status, 200, "{}", got.text);
}

/// Every property of a row can be filtered by, and an unknown one is named in the error, even if the list is empty.
#[tokio::test]
async fn every_list_can_be_filtered_by_its_properties() {
    let (full, empty) = (Api::start().await, Api::start().await);
    for path in lists(&full).await {
        let got = full.get(&path).await;
        let rows = got.body["value"].as_array().unwrap_or_else(|| panic!("{path}: {}", got.text)).clone();
        assert!(!rows.is_empty(), "{path}");
        for name in rows[0].as_object().unwrap().keys() {
            let is_item = path.contains("GetItemProcessingHistory");
            let not_asked_for =
                ["SpecificData", "Output", "Analytics", "Encrypted", "HasVideo", "OrganizationUnit"];
            let more = ["Error", "SpecificContent", "ProcessingException", "UniqueKey", "RobotName"];
            if is_item
                && not_asked_for
                    .iter()
                    .chain(&more)
                    .any(|known| name.starts_with(known) || name.ends_with(known))
            {
                continue;
            }
            let got = full.get(&format!("{path}?$filter={name} eq null or {name} ne null&$count=true")).await;
            assert_eq!(
                (got.status, &got.body["@odata.count"]),
                (200, &json!(rows.len())),
                "{path}: {name}: {}",
                got.text
            );
        }
        for wrong in ["$filter=Nope eq 1", "$orderby=Nope", "$select=Nope", "$filter=nope(Id) eq 1"] {
            let got = full.get(&format!("{path}?{wrong}")).await;
            assert_eq!((got.status, got.code()), (400, 1000), "{path}?{wrong}: {}", got.text);
            let message = got.body["message"].as_str().unwrap();
            assert!(message.to_lowercase().contains("nope"), "{path}?{wrong}: {message}");
        }
        let sorted = full
            .get(&format!(
                "{path}?$orderby={} desc&$top=1&$count=true",
                rows[0].as_object().unwrap().keys().find(|name| name.ends_with("Id")).unwrap()
            ))
            .await;
        assert_eq!(
            (sorted.status, sorted.body["value"].as_array().unwrap().len()),
            (200, 1),
            "{}",
            sorted.text
        );
    }
    for path in
        ["/odata/QueueDefinitions", "/odata/QueueItemComments", "/odata/Robots", "/odata/QueueRetention"]
    {
        assert_eq!(empty.get(path).await.body["value"], json!([]), "{path}");
        let got = empty.get(&format!("{path}?$filter=Nope eq 1")).await;
        assert_eq!((got.status, got.code()), (400, 1000), "{path}: {}", got.text);
        assert!(got.body["message"].as_str().unwrap().contains("Nope"), "{}", got.text);
    }
}
