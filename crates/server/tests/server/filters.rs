//! `$filter` and other query options on every list (orchestrator-api 4.1).

use std::sync::Arc;
use std::time::Duration;

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use serde_json::{Value, json};

use crate::{Api, start_of_time};
use performer_proofs::test_server::{CLIENT, SECRET};

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
    api.served.access_admin.add_robot("R1", &user).await.unwrap();
    let asset = json!({"Name": "Ørsted", "ValueScope": "Global", "ValueType": "Integer", "IntValue": 5, "Description": "d"});
    api.post("/odata/Assets", &asset).await;
    api.post("/odata/Buckets", &json!({"Name": "Ørsted", "Description": "d"})).await;
    let webhook = json!({"Name": "Ørsted", "Url": "https://example.com", "Enabled": true, "SubscribeToAllEvents": true,
        "AllowInsecureSsl": false});
    api.post("/odata/Webhooks", &webhook).await;
    let alert =
        json!({"processAlert": {"Message": "m", "Severity": "Warn", "RobotName": "R", "ProcessName": "P"}});
    api.post("/odata/Alerts/UiPath.Server.Configuration.OData.RaiseProcessAlert", &alert).await;
    let process = json!({"Name": "Ørsted", "ProcessKey": "true", "ProcessVersion": "1.0.0"});
    api.post("/odata/Releases", &process).await;
    let agent = json!({"Machine": "Ørsted", "Host": "h", "Runtimes": 2, "LeaseSeconds": 30});
    assert_eq!(api.post("/api/Performer/OpenSession", &json!({ "agent": agent })).await.status, 200);
    let catalog = json!({"Name": "Ørsted"});
    api.post("/odata/TaskCatalogs/UiPath.Server.Configuration.OData.CreateTaskCatalog", &catalog).await;
    let task = json!({"title": "Ørsted", "priority": "High", "taskCatalogName": "ørsted"});
    assert_eq!(api.post("/tasks/GenericTasks/CreateTask", &task).await.status, 201);
    let note = json!({"TaskId": 1, "Text": "why?"});
    api.post("/odata/TaskNotes/UiPath.Server.Configuration.OData.CreateTaskNote", &note).await;
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    crate::bad_requests::start_job(api, "FQ Invoices").await;
    let entry = json!({"message": "started", "level": "Information", "processName": "P"}).to_string();
    assert_eq!(api.post("/api/Logs/SubmitLogs", &json!([entry])).await.status, 200);
    let odata = "UiPath.Server.Configuration.OData";
    vec![
        "/odata/QueueDefinitions".to_owned(),
        format!("/odata/QueueDefinitions/{odata}.ListQueues"),
        format!("/odata/QueueDefinitions/{odata}.GetQueuesAcrossFolders"),
        "/odata/QueueItemComments".to_owned(),
        format!("/odata/QueueItemComments/{odata}.GetQueueItemCommentsHistory(queueItemId={})", item["Id"]),
        "/odata/QueueItemEvents".to_owned(),
        format!("/odata/QueueItemEvents/{odata}.GetQueueItemEventsHistory(queueItemId={})", item["Id"]),
        format!("/odata/QueueItems({})/UiPathODataSvc.GetItemProcessingHistory", item["Id"]),
        format!("/odata/QueueItems/{odata}.GetReviewers"),
        format!(
            "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveLastDaysProcessingRecords(daysNo=1,queueDefinitionId={queue})"
        ),
        "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus".to_owned(),
        "/odata/QueueRetention".to_owned(),
        "/odata/Jobs".to_owned(),
        "/odata/RobotLogs".to_owned(),
        "/odata/Folders".to_owned(),
        format!("/odata/Folders/{odata}.GetUsersForFolder(key=1)"),
        "/odata/Users".to_owned(),
        "/odata/Roles".to_owned(),
        format!("/odata/Roles/{odata}.GetUsersForRole(key=2)"),
        "/odata/Permissions".to_owned(),
        "/odata/Settings".to_owned(),
        "/odata/Tenants".to_owned(),
        "/odata/AuditLogs".to_owned(),
        format!("/odata/AuditLogs/{odata}.GetAuditLogDetails(auditLogId=1)"),
        "/odata/Robots".to_owned(),
        "/odata/Assets".to_owned(),
        format!("/odata/Assets/{odata}.GetFiltered"),
        format!("/odata/Assets/{odata}.GetAssetsAcrossFolders"),
        "/odata/Alerts".to_owned(),
        "/odata/Buckets".to_owned(),
        format!("/odata/Buckets/{odata}.GetBucketsAcrossFolders"),
        "/odata/Releases".to_owned(),
        format!("/odata/Releases/{odata}.ListReleases"),
        "/odata/Machines".to_owned(),
        format!("/odata/Machines/{odata}.GetAssignedMachines(folderId=1)"),
        format!("/odata/Machines/{odata}.GetRuntimesForFolder(folderId=1)"),
        "/odata/Sessions".to_owned(),
        format!("/odata/Sessions/{odata}.GetGlobalSessions"),
        format!("/odata/Sessions/{odata}.GetMachineSessionRuntimes"),
        format!("/odata/Sessions/{odata}.GetMachineSessionRuntimesByFolderId(folderId=1)"),
        "/odata/Webhooks".to_owned(),
        format!("/odata/Webhooks/{odata}.GetEventTypes"),
        "/odata/Tasks".to_owned(),
        format!("/odata/Tasks/{odata}.GetTasksAcrossFolders"),
        format!("/odata/Tasks/{odata}.GetTasksAcrossFoldersForAdmin"),
        format!("/odata/Tasks/{odata}.GetTaskPermissions"),
        "/odata/TaskCatalogs".to_owned(),
        format!("/odata/TaskCatalogs/{odata}.GetTaskCatalogsFromFoldersWithPermissions"),
        format!("/odata/TaskNotes/{odata}.GetByTaskId(taskId=1)"),
        format!("/odata/TaskActivities/{odata}.GetByTaskId(taskId=1)"),
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
        "AcceptAutomaticallyRetry and not EnforceUniqueReference",
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
        ("/odata/Releases", "ProcessKey eq 'true' and not IsProcessDeleted", "Name", "Ørsted"),
        ("/odata/Machines", "tolower(Name) eq 'ørsted' and Type eq 'Template'", "Name", "Ørsted"),
        ("/odata/Sessions", "State eq 'Available' and not IsUnresponsive", "MachineName", "Ørsted"),
        ("/odata/Webhooks", "Enabled and startswith(Url, 'https://') and Id ge '1'", "Name", "Ørsted"),
        ("/odata/Buckets", "Options eq 'None' and Description eq 'd' and Id ge 1", "Name", "Ørsted"),
        ("/odata/Tasks", "Status eq '0' and Priority in ('High') and not IsCompleted", "Title", "Ørsted"),
        (
            "/odata/Tasks",
            "CreatorUser/UserName ne null and tolower(TaskCatalogName) eq 'ørsted'",
            "Title",
            "Ørsted",
        ),
        ("/odata/TaskCatalogs", "FoldersCount eq 1 and not Encrypted", "Name", "Ørsted"),
        ("/odata/Assets", "ValueType eq 'Integer' and ValueScope eq '0' and IntValue gt 4", "Name", "Ørsted"),
        (
            "/odata/Assets",
            "ValueType in (2,'4') and contains(tolower(Name), 'ør') and HasDefaultValue eq true",
            "Name",
            "Ørsted",
        ),
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
        // The number of entities alone, which is that of all pages.
        // A property that every row has; a number, if there is one.
        let has_all = |name: &&String| rows.iter().all(|row| !row[name.as_str()].is_null());
        let names = rows[0].as_object().unwrap().keys();
        let id = names.clone().filter(|name| name.ends_with("Id")).find(has_all);
        let id = id.or_else(|| names.clone().find(has_all)).unwrap();
        for filter in ["", &format!("&$filter={id} ne null"), &format!("&$filter={id} eq null")] {
            let count = if filter.ends_with("eq null") { 0 } else { rows.len() };
            let got = full.get(&format!("{path}/$count?$top=1&$skip=1{filter}")).await;
            assert_eq!((got.status, got.text), (200, count.to_string()), "{path}{filter}");
            assert_eq!(got.headers["content-type"], "text/plain; charset=utf-8");
        }
        let posted = full.post(&format!("{path}/$count"), &json!({"Name": "x"})).await;
        assert_eq!(posted.status, 405, "{path}: {}", posted.text);
        for wrong in [
            "$filter=Nope eq 1",
            "$filter=Nope",
            "$orderby=Nope",
            "$select=Nope",
            "$expand=Nope",
            "$filter=nope(Id) eq 1",
        ] {
            let got = full.get(&format!("{path}?{wrong}")).await;
            assert_eq!((got.status, got.code()), (400, 1000), "{path}?{wrong}: {}", got.text);
            let message = got.body["message"].as_str().unwrap();
            assert!(message.to_lowercase().contains("nope"), "{path}?{wrong}: {message}");
        }
        let sorted = full.get(&format!("{path}?$orderby={id} desc&$top=1&$count=true")).await;
        assert_eq!(
            (sorted.status, sorted.body["value"].as_array().unwrap().len()),
            (200, 1),
            "{}",
            sorted.text
        );
    }
    for path in [
        "/odata/QueueDefinitions",
        "/odata/QueueItemComments",
        "/odata/Robots",
        "/odata/QueueRetention",
        "/odata/Assets",
    ] {
        assert_eq!(empty.get(path).await.body["value"], json!([]), "{path}");
        let got = empty.get(&format!("{path}?$filter=Nope eq 1")).await;
        assert_eq!((got.status, got.code()), (400, 1000), "{path}: {}", got.text);
        assert!(got.body["message"].as_str().unwrap().contains("Nope"), "{}", got.text);
    }
}

/// Items and what happened to them, as a list of events says it.
async fn events(api: &Api, folder: Option<&str>, query: &str) -> (Vec<String>, Value) {
    let got = api
        .call_as(&api.token, folder, "GET", &format!("/odata/QueueItemEvents?{query}"), &Value::Null)
        .await;
    assert_eq!(got.status, 200, "{query}: {}", got.text);
    let event = |row: &Value| format!("{} {}", row["QueueItemId"], row["Status"].as_str().unwrap_or("-"));
    (got.body["value"].as_array().unwrap().iter().map(event).collect(), got.body["@odata.count"].clone())
}

/// Three items in Shared and one in Finance, and what happened to them minute by minute.
async fn with_events(store: Store, clock: Arc<ManualClock>) -> Api {
    let api = Api::over(store, clock, |server| server).await;
    api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
    api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await;
    let minute = || api.clock.advance(Duration::from_secs(60));
    for reference in ["a", "b", "c"] {
        api.add("Invoices", reference).await;
        minute();
    }
    let failed =
        json!({"IsSuccessful": false, "ProcessingException": {"Reason": "r", "Type": "BusinessException"}});
    for result in [json!({"IsSuccessful": true}), failed] {
        let taken = api.take("Invoices").await.unwrap();
        minute();
        api.result(&taken, &result).await;
        minute();
    }
    let of_finance = json!({"Name": "Finance's"});
    let made = api.call_as(&api.token, Some("Finance"), "POST", "/odata/QueueDefinitions", &of_finance).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let item = json!({"itemData": {"Name": "Finance's", "SpecificContent": {}}});
    let add = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    assert_eq!(api.call_as(&api.token, Some("Finance"), "POST", add, &item).await.status, 201);
    api
}

#[tokio::test]
async fn events_of_all_items_are_filtered_sorted_counted_and_cut() {
    let folder = tempfile::tempdir().unwrap();
    let clock = || Arc::new(ManualClock::new(start_of_time()));
    let (of_memory, of_file) = (clock(), clock());
    let file = Store::sqlite_with_clock(folder.path().join("q.db"), of_file.clone()).await.unwrap();
    let (one, two, three) =
        (["1 New", "1 InProgress", "1 Successful"], ["2 New", "2 InProgress", "2 Failed"], ["3 New"]);
    let all = [&one[..], &two, &three].concat();
    let of = |parts: &[&[&'static str]]| parts.concat();
    let at = |minutes: i64| (start_of_time() + jiff::SignedDuration::from_mins(minutes)).to_string();
    for api in [
        with_events(Store::memory_with_clock(of_memory.clone()), of_memory).await,
        with_events(file, of_file).await,
    ] {
        for (filter, expected) in [
            ("QueueItemId ge 0".to_owned(), all.clone()),
            ("QueueItemId eq 1".to_owned(), of(&[&one])),
            ("QueueItemId in (1,'3',99)".to_owned(), of(&[&one, &three])),
            ("QueueItemId eq 1 or 3 eq QueueItemId".to_owned(), of(&[&one, &three])),
            ("QueueItemId gt 1 and QueueItemId lt 2.5".to_owned(), of(&[&two])),
            ("not (QueueItemId eq 2)".to_owned(), of(&[&one, &three])),
            ("QueueItemId ne 1 and (Status eq 'New' or QueueItemId eq 2)".to_owned(), of(&[&two, &three])),
            ("QueueItemId eq 4".to_owned(), Vec::new()),
            ("Action eq 'Create'".to_owned(), vec!["1 New", "2 New", "3 New"]),
            ("Action eq '3' and Status gt 'InProgress'".to_owned(), vec!["1 Successful", "2 Failed"]),
            (
                "QueueItemId in (1,2) and Status in ('InProgress',2)".to_owned(),
                vec!["1 InProgress", "2 InProgress", "2 Failed"],
            ),
            (
                format!("Timestamp gt {} and Timestamp le {}", at(1), at(4)),
                vec!["1 InProgress", "1 Successful", "3 New"],
            ),
            ("contains(UserName,'x') and QueueItemId eq 1".to_owned(), Vec::new()),
        ] {
            let filter = format!("$filter={}", filter.replace('+', "%2B"));
            assert_eq!(events(&api, Some("Shared"), &filter).await.0, expected, "{filter}");
            let (rows, count) = events(&api, Some("Shared"), &format!("{filter}&$count=true&$top=1")).await;
            assert_eq!((rows.len(), count), (expected.len().min(1), json!(expected.len())), "{filter}");
        }
        for (query, expected) in [
            ("$skip=2&$top=3", vec!["1 Successful", "2 New", "2 InProgress"]),
            ("$orderby=Timestamp desc&$top=2", vec!["2 Failed", "2 InProgress"]),
            ("$orderby=Status desc,QueueItemId&$skip=1&$top=2", vec!["2 Failed", "1 InProgress"]),
            ("$orderby=QueueItemId desc&$filter=Status eq 0", vec!["3 New", "2 New", "1 New"]),
            ("$select=Status,QueueItemId&$filter=QueueItemId eq 3", vec!["3 New"]),
        ] {
            assert_eq!(events(&api, Some("Shared"), query).await.0, expected, "{query}");
        }
        assert_eq!(events(&api, Some("Finance"), "$orderby=Id").await.0, ["4 New"]);
        let everywhere = events(&api, None, "$filter=QueueItemId in (3,4)&$count=true").await;
        assert_eq!(everywhere, (vec!["3 New".to_owned(), "4 New".to_owned()], json!(2)));
        for wrong in
            ["$filter=QueueItemId eq 'x'", "$filter=Status eq 'Done'", "$orderby=Data/x", "$top=1001"]
        {
            for folder in [Some("Shared"), None] {
                let path = format!("/odata/QueueItemEvents?{wrong}");
                let got = api.call_as(&api.token, folder, "GET", &path, &Value::Null).await;
                assert_eq!((got.status, got.code()), (400, 1000), "{wrong}: {}", got.text);
            }
        }
    }
}

/// Events are put together item by item, so it is bounded how many are looked at; who names items gets theirs.
#[tokio::test]
async fn too_many_events_are_refused_with_what_to_ask_for() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let items: Vec<Value> = (0..5_001).map(|n| json!({"Reference": n.to_string()})).collect();
    let bulk = json!({"queueName": "Invoices", "commitType": "AllOrNothing", "queueItems": items});
    for _ in 0..2 {
        let added = api.post("/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &bulk).await;
        assert_eq!(added.body["Success"], true, "{}", added.text);
    }
    for query in ["$orderby=Timestamp", "$count=true", "$filter=Action eq 'Delete'", "$skip=10001"] {
        let got = api.get(&format!("/odata/QueueItemEvents?{query}")).await;
        assert_eq!((got.status, got.code()), (400, 1000), "{query}: {}", got.text);
        let message = got.body["message"].as_str().unwrap();
        assert!(message.contains("10000 events") && message.contains("QueueItemId"), "{query}: {message}");
    }
    for (query, first, count) in [
        ("$top=2", "1 New", Value::Null),
        ("$filter=QueueItemId gt 10000&$orderby=Timestamp,Id&$count=true", "10001 New", json!(2)),
        (
            "$filter=QueueItemId gt 5000 and QueueItemId le 5100 and Action eq 'Create'&$count=true",
            "5001 New",
            json!(100),
        ),
        ("$filter=QueueItemId in (9000,10002)&$orderby=QueueItemId desc", "10002 New", Value::Null),
    ] {
        let (rows, counted) = events(&api, Some("Shared"), query).await;
        assert_eq!((rows[0].as_str(), counted), (first, count), "{query}");
    }
}
