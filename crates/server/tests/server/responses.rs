//! Responses match the vendor's OpenAPI document, if it is present; codes, headers and nulls are those of `docs/reference`.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use performer_proofs::openapi;
use performer_proofs::test_server::{CLIENT, SECRET};

use crate::bad_requests::start_job;
use crate::{Api, ApiResponse};

/// Calls every route with data of every kind. Returns the calls and their responses.
async fn call_every_route(api: &Api) -> Vec<(String, String, ApiResponse)> {
    let schema = r#"{"type":"object"}"#;
    let queue = api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 1, "SpecificDataJsonSchema": schema, "ReleaseId": 3,
        "SlaInMinutes": 60, "Tags": [{"Name": "t", "Value": "v"}]})).await;
    let key =
        api.get(&format!("/odata/QueueDefinitions({queue})")).await.body["Key"].as_str().unwrap().to_owned();
    for reference in ["a", "b", "c", "d"] {
        api.add("Invoices", reference).await;
    }
    let failed = |kind: &str| json!({"IsSuccessful": false, "ProcessingException": {"Reason": "r", "Details": "d", "Type": kind}});
    let first = api.take("Invoices").await.unwrap();
    api.result(
        &first,
        &json!({"IsSuccessful": true, "Output": {"a": 1}, "Analytics": {"b": 2}, "OperationId": "o"}),
    )
    .await;
    let second = api.take("Invoices").await.unwrap();
    api.result(&second, &failed("BusinessException")).await;
    let third = api.take("Invoices").await.unwrap();
    api.result(&third, &failed("ApplicationException")).await;
    let fourth = api.take("Invoices").await.unwrap();
    let comment =
        api.post("/odata/QueueItemComments", &json!({"Text": "why?", "QueueItemId": second["Id"]})).await;
    let comment_id = comment.body["Id"].clone();
    let version =
        async |id: &Value| api.get(&format!("/odata/QueueItems({id})")).await.body["RowVersion"].clone();
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body["Id"].clone();
    let versioned = async |id: &Value| json!([{"Id": id, "RowVersion": version(id).await}]);
    let (f, s, d) = (&first["Id"], &second["Id"], &fourth["Id"]);
    let event = s.as_i64().unwrap() * 1_000;
    let unique = second["UniqueKey"].as_str().unwrap();
    // One that is running, and one that has faulted.
    let (_, ended) = (start_job(api, "Invoices").await, start_job(api, "Invoices").await);
    let end = json!({"job": ended, "state": "Faulted", "info": "i", "figures": {"successful": 1}});
    assert_eq!(api.post("/api/Performer/EndJob", &end).await.status, 200);
    let mut all = Vec::new();
    let mut go = async |method: &str, path: String, body: Value| {
        let got = api.call(method, &path, &body).await;
        assert!(got.status < 300, "{method} {path}: {} {}", got.status, got.text);
        let path = path.split('?').next().unwrap().to_owned();
        all.push((method.to_owned(), path, got));
    };
    let odata = |action: &str| format!("UiPath.Server.Configuration.OData.{action}");
    let entry = json!({"message": "m", "level": "Error", "jobId": ended, "machineId": 3}).to_string();
    go("POST", "/api/Logs/SubmitLogs".to_owned(), json!([entry])).await;
    go("POST", "/api/Logs".to_owned(), json!({"message": "n"})).await;
    for path in [
        "/api/Status/Get".to_owned(),
        "/odata/QueueDefinitions?$count=true".to_owned(),
        format!("/odata/QueueDefinitions({queue})"),
        format!("/odata/QueueDefinitions/{}", odata(&format!("GetByKey(identifier={key})"))),
        format!(
            "/odata/QueueDefinitions({queue})/UiPathODataSvc.GetJsonSchemaDefinition(jsonSchemaType='SpecificData')"
        ),
        format!("/odata/QueueDefinitions/{}", odata(&format!("GetFoldersForQueue(id={queue})"))),
        format!("/odata/QueueDefinitions/{}", odata("GetQueuesAcrossFolders")),
        "/odata/QueueItems?$count=true&$expand=Robot,ReviewerUser,QueueDefinition".to_owned(),
        format!("/odata/QueueItems({s})"),
        format!("/odata/QueueItems({s})/{}", odata("GetItemLastRetry")),
        format!("/odata/QueueItems/UiPathODataSvc.GetItemLastRetryByKey(key={unique})"),
        format!("/odata/QueueItems({s})/UiPathODataSvc.GetItemProcessingHistory"),
        format!("/odata/QueueItems/{}", odata("GetReviewers")),
        "/odata/QueueItemComments".to_owned(),
        format!("/odata/QueueItemComments({comment_id})"),
        format!(
            "/odata/QueueItemComments/{}",
            odata(&format!("GetQueueItemCommentsHistory(queueItemId={s})"))
        ),
        "/odata/QueueItemEvents".to_owned(),
        format!("/odata/QueueItemEvents({event})"),
        format!("/odata/QueueItemEvents/{}", odata(&format!("GetQueueItemEventsHistory(queueItemId={s})"))),
        format!(
            "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveLastDaysProcessingRecords(daysNo=1,queueDefinitionId={queue})"
        ),
        "/odata/QueueProcessingRecords/UiPathODataSvc.RetrieveQueuesProcessingStatus".to_owned(),
        "/odata/QueueRetention".to_owned(),
        format!("/odata/QueueRetention({queue})?retentionType=Stale"),
        "/odata/Jobs?$count=true&$expand=Robot".to_owned(),
        "/odata/Jobs(1)".to_owned(),
        "/odata/Jobs(2)".to_owned(),
        "/odata/RobotLogs?$count=true".to_owned(),
        format!("/odata/RobotLogs/{}", odata("GetTotalCount")),
        "/odata/Folders".to_owned(),
        "/odata/Folders(1)".to_owned(),
        format!("/odata/Folders/{}", odata("GetUsersForFolder(key=1,includeInherited=true)")),
        "/api/Folders/GetAllForCurrentUser".to_owned(),
        "/api/FoldersNavigation/GetFoldersForCurrentUser?searchText=sha&skip=0&take=20".to_owned(),
        "/odata/Users".to_owned(),
        format!("/odata/Users({me})"),
        format!("/odata/Users/{}", odata("GetCurrentUser")),
        format!("/odata/Users/{}", odata("GetCurrentPermissions")),
        "/odata/Roles".to_owned(),
        "/odata/Roles(2)".to_owned(),
        "/odata/Robots".to_owned(),
    ] {
        go("GET", path, Value::Null).await;
    }
    go("POST", format!("/odata/Jobs(1)/{}", odata("StopJob")), json!({"strategy": "SoftStop"})).await;
    go("POST", format!("/odata/Jobs/{}", odata("StopJobs")), json!({"jobIds": [1], "strategy": "Kill"}))
        .await;
    let reviewer = json!({"userId": me, "queueItems": versioned(s).await});
    go("POST", "/odata/QueueItems/UiPathODataSvc.SetItemReviewer".to_owned(), reviewer).await;
    let reviewer = json!({"queueItems": versioned(s).await});
    go("POST", "/odata/QueueItems/UiPathODataSvc.UnsetItemReviewer".to_owned(), reviewer).await;
    let review = json!({"status": "Retried", "queueItems": versioned(s).await});
    go("POST", "/odata/QueueItems/UiPathODataSvc.SetItemReviewStatus".to_owned(), review).await;
    go(
        "POST",
        format!("/odata/QueueItems({d})/UiPathODataSvc.SetTransactionProgress"),
        json!({"progress": "x"}),
    )
    .await;
    go("PUT", format!("/odata/QueueItems({f})"), json!({"SpecificContent": {}})).await;
    go(
        "POST",
        "/odata/QueueItems/UiPathODataSvc.DeleteBulk".to_owned(),
        json!({"queueItems": versioned(f).await}),
    )
    .await;
    let create = json!({"transactionData": {"Name": "Invoices", "SpecificContent": {"a": 1}}});
    go("POST", "/odata/Queues/UiPathODataSvc.StartTransaction".to_owned(), create).await;
    let add = json!({"itemData": {"Name": "Invoices", "SpecificContent": {"a": 1}}});
    go("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem".to_owned(), add).await;
    let bulk = json!({"queueName": "Invoices", "commitType": "ProcessAllIndependently", "queueItems": [{"Reference": "x"}, {"Reference": ""}]});
    go("POST", "/odata/Queues/UiPathODataSvc.BulkAddQueueItems".to_owned(), bulk).await;
    go(
        "POST",
        format!("/odata/Queues({d})/UiPathODataSvc.SetTransactionResult"),
        json!({"transactionResult": {"IsSuccessful": true}}),
    )
    .await;
    go("POST", "/odata/QueueItemComments".to_owned(), json!({"Text": "t", "QueueItemId": s})).await;
    go("PUT", format!("/odata/QueueItemComments({comment_id})"), json!({"Text": "u", "QueueItemId": s}))
        .await;
    go("DELETE", format!("/odata/QueueItemComments({comment_id})"), Value::Null).await;
    go(
        "PUT",
        format!("/odata/QueueRetention({queue})"),
        json!({"Action": "Delete", "Period": 7, "Type": "Final"}),
    )
    .await;
    go("DELETE", format!("/odata/QueueRetention({queue})"), Value::Null).await;
    go("DELETE", format!("/odata/QueueItems({s})"), Value::Null).await;
    go("POST", "/odata/Folders".to_owned(), json!({"DisplayName": "Finance"})).await;
    let folders = api.get("/odata/Folders").await.body;
    let finance = folders["value"]
        .as_array()
        .unwrap()
        .iter()
        .find(|folder| folder["DisplayName"] == "Finance")
        .unwrap()
        .clone();
    let folder = &finance["Id"];
    go(
        "GET",
        format!(
            "/odata/Folders/{}",
            odata(&format!("GetByKey(identifier={})", finance["Key"].as_str().unwrap()))
        ),
        Value::Null,
    )
    .await;
    let share = json!({"QueueIds": [queue], "ToAddFolderIds": [folder], "ToRemoveFolderIds": []});
    go("POST", format!("/odata/QueueDefinitions/{}", odata("ShareToFolders")), share).await;
    let share = json!({"QueueIds": [queue], "ToAddFolderIds": [], "ToRemoveFolderIds": [folder]});
    go("POST", format!("/odata/QueueDefinitions/{}", odata("ShareToFolders")), share).await;
    call_assets(api, folder, &mut go).await;
    call_webhooks(&mut go).await;
    call_alerts(&mut go).await;
    call_buckets(api, folder, &mut go).await;
    call_processes(api, &mut go).await;
    call_tasks(folder, &mut go).await;
    go("POST", "/odata/Users".to_owned(), json!({"UserName": "ann", "Name": "Ann", "RolesList": ["Viewer"]}))
        .await;
    let users = api.get("/odata/Users?$filter=UserName eq 'ANN'").await.body;
    let ann = &users["value"][0]["Id"];
    go("POST", format!("/odata/Users({ann})/{}", odata("AssignRoles")), json!({"roleIds": [3]})).await;
    let assign =
        json!({"assignments": {"UserIds": [ann], "RolesPerFolder": [{"FolderId": folder, "RoleIds": [3]}]}});
    go("POST", format!("/odata/Folders/{}", odata("AssignUsers")), assign).await;
    go("POST", format!("/odata/Folders({folder})/{}", odata("RemoveUserFromFolder")), json!({"userId": ann}))
        .await;
    look(&mut go).await;
    administer(&mut go, &(ann.clone(), finance.clone())).await;
    go("PUT", format!("/odata/Users({ann})"), json!({"Name": "Anna"})).await;
    go("DELETE", format!("/odata/Users({ann})"), Value::Null).await;
    go("PUT", format!("/odata/Folders({folder})"), json!({"DisplayName": "Finance 2"})).await;
    go("DELETE", format!("/odata/Folders({folder})"), Value::Null).await;
    go(
        "POST",
        "/odata/Roles".to_owned(),
        json!({"Name": "R", "Permissions": [{"Name": "Queues.View", "IsGranted": true}]}),
    )
    .await;
    go("PUT", format!("/odata/QueueDefinitions({queue})"), json!({"Name": "Invoices 2"})).await;
    go("POST", "/odata/QueueDefinitions".to_owned(), json!({"Name": "Other"})).await;
    go("DELETE", format!("/odata/QueueDefinitions({queue})"), Value::Null).await;
    all
}

/// Calls the routes of storage buckets, with a file.
async fn call_buckets(api: &Api, folder: &Value, go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |action: &str| format!("UiPath.Server.Configuration.OData.{action}");
    let key = "6f1c0000-0000-4000-8000-000000000001";
    let body = json!({"Name": "Files", "Identifier": key, "Description": "d", "Options": "None"});
    go("POST", "/odata/Buckets".to_owned(), body.clone()).await;
    let bucket = api.get("/odata/Buckets").await.body["value"][0]["Id"].clone();
    let one = format!("/odata/Buckets({bucket})");
    let write = api.get(&format!("{one}/{}", odata("GetWriteUri?path=a/b.txt"))).await.body["Uri"].clone();
    let put = api.http.put(write.as_str().unwrap()).body("x").send().await.unwrap();
    assert_eq!(put.status(), 201);
    for path in [
        "/odata/Buckets?$count=true".to_owned(),
        one.clone(),
        format!("/odata/Buckets/{}", odata("GetBucketsAcrossFolders")),
        format!("/odata/Buckets/{}", odata(&format!("GetFoldersForBucket(id={bucket})"))),
        format!("{one}/{}", odata("GetReadUri?path=/a/b.txt&expiryInMinutes=5")),
        format!("{one}/{}", odata("GetWriteUri?path=/a/b.txt&contentType=text/plain")),
        format!("{one}/{}", odata("GetFiles?directory=/&recursive=true")),
        format!("{one}/{}", odata("GetDirectories?directory=/")),
        format!("{one}/{}", odata("GetFile?path=/a/b.txt")),
        format!("/api/Buckets/{bucket}/ListFiles?prefix=/a&takeHint=5&expiryInMinutes=5"),
    ] {
        go("GET", path, Value::Null).await;
    }
    go("PUT", one.clone(), body).await;
    for (add, remove) in [(json!([folder]), json!([])), (json!([]), json!([folder]))] {
        let share = json!({"BucketIds": [bucket], "ToAddFolderIds": add, "ToRemoveFolderIds": remove});
        go("POST", format!("/odata/Buckets/{}", odata("ShareToFolders")), share).await;
    }
    go("DELETE", format!("{one}/{}", odata("DeleteFile?path=/a/b.txt")), Value::Null).await;
    go("DELETE", one, Value::Null).await;
}

/// Calls the routes of webhooks. The one that is made is the first.
async fn call_webhooks(go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |action: &str| format!("UiPath.Server.Configuration.OData.{action}");
    let body = json!({"Name": "W", "Url": "https://example.com/hook", "Enabled": true, "SubscribeToAllEvents": false,
        "AllowInsecureSsl": false, "Secret": "s", "Events": [{"EventType": "custom"}]});
    go("POST", "/odata/Webhooks".to_owned(), body.clone()).await;
    go("GET", "/odata/Webhooks?$count=true".to_owned(), Value::Null).await;
    go("GET", "/odata/Webhooks(1)".to_owned(), Value::Null).await;
    go("PUT", "/odata/Webhooks(1)".to_owned(), body).await;
    go("PATCH", "/odata/Webhooks(1)".to_owned(), json!({"Description": "d"})).await;
    go("POST", format!("/odata/Webhooks(1)/{}", odata("Ping")), Value::Null).await;
    go("GET", format!("/odata/Webhooks/{}", odata("GetEventTypes")), Value::Null).await;
    go("POST", format!("/odata/Webhooks/{}", odata("TriggerCustom")), json!({"a": {"b": 1}})).await;
    go("DELETE", "/odata/Webhooks(1)".to_owned(), Value::Null).await;
}

/// Calls the routes of alerts.
async fn call_alerts(go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |action: &str| format!("/odata/Alerts/UiPath.Server.Configuration.OData.{action}");
    let alert = json!({"Message": "m", "Severity": "Warn", "RobotName": "R", "ProcessName": "P"});
    go("POST", odata("RaiseProcessAlert"), json!({ "processAlert": alert })).await;
    go("GET", "/odata/Alerts".to_owned(), Value::Null).await;
    go("GET", odata("GetUnreadCount"), Value::Null).await;
    go("POST", odata("MarkAsRead"), json!({"ids": ["0b4d3c1e-0000-4000-8000-000000000000"]})).await;
}

/// Calls the routes of processes, machines and sessions. The job that is started is not run.
async fn call_processes(api: &Api, go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |set: &str, action: &str| format!("/odata/{set}/UiPath.Server.Configuration.OData.{action}");
    let body = json!({"Name": "P", "ProcessKey": "true", "ProcessVersion": "1.0.0", "InputArguments": "{}",
        "EnvironmentVariables": "A=1"});
    go("POST", "/odata/Releases".to_owned(), body.clone()).await;
    let process = api.get("/odata/Releases").await.body["value"][0].clone();
    let one = format!("/odata/Releases({})", process["Id"]);
    go("GET", "/odata/Releases?$count=true".to_owned(), Value::Null).await;
    go("GET", one.clone(), Value::Null).await;
    go("PUT", one.clone(), body.clone()).await;
    go("PATCH", one.clone(), json!({"Description": "d"})).await;
    let start = json!({"startInfo": {"ReleaseKey": process["Key"], "Strategy": "ModernJobsCount", "JobsCount": 2,
        "InputArguments": "{\"a\":1}", "Reference": "r"}});
    go("POST", odata("Jobs", "ValidateDynamicJob"), start.clone()).await;
    let started = api.post(&odata("Jobs", "StartJobs"), &start).await;
    assert_eq!(started.status, 201, "{}", started.text);
    let jobs = started.body["value"].clone();
    go("GET", "/odata/Jobs?$count=true".to_owned(), Value::Null).await;
    let job = format!("/odata/Jobs({})", jobs[0]["Id"]);
    go("GET", job.clone(), Value::Null).await;
    go("POST", format!("{job}/UiPath.Server.Configuration.OData.ValidateExistingJob"), Value::Null).await;
    for job in [&jobs[0], &jobs[1]] {
        let path = format!("/odata/Jobs({})/UiPath.Server.Configuration.OData.StopJob", job["Id"]);
        go("POST", path, json!({"strategy": "Kill"})).await;
    }
    go("POST", odata("Jobs", "RestartJob"), json!({"jobId": jobs[0]["Id"]})).await;
    go("POST", "/odata/Machines".to_owned(), json!({"Name": "M", "Description": "d"})).await;
    let machine = api.get("/odata/Machines").await.body["value"][0]["Id"].clone();
    let agent = json!({"Machine": "M", "Host": "h", "Runtimes": 2, "LeaseSeconds": 30, "Platform": "linux"});
    let session = api.post("/api/Performer/OpenSession", &json!({ "agent": agent })).await.body;
    let one = format!("/odata/Machines({machine})");
    for path in [
        "/odata/Machines?$count=true".to_owned(),
        one.clone(),
        odata("Machines", "GetAssignedMachines(folderId=1)"),
        odata("Machines", "GetRuntimesForFolder(folderId=1)"),
        "/odata/Sessions".to_owned(),
        odata("Sessions", "GetGlobalSessions"),
        odata("Sessions", &format!("GetMachineSessions(key={machine})")),
        odata("Sessions", "GetMachineSessionRuntimes"),
        odata("Sessions", "GetMachineSessionRuntimesByFolderId(folderId=1)"),
    ] {
        go("GET", path, Value::Null).await;
    }
    let maintenance =
        json!({"sessionId": session["Id"], "maintenanceMode": "Enabled", "stopJobsStrategy": "SoftStop"});
    go("POST", odata("Sessions", "SetMaintenanceMode"), maintenance).await;
    go("PUT", one.clone(), json!({"Name": "M 2"})).await;
    go("PATCH", one.clone(), json!({"Description": "e"})).await;
    let close = json!({"session": session["Key"]});
    assert_eq!(api.post("/api/Performer/CloseSession", &close).await.status, 200);
    let ids = json!({"sessionIds": [session["Id"]]});
    go("POST", odata("Sessions", "DeleteInactiveUnattendedSessions"), ids).await;
    go("DELETE", one, Value::Null).await;
    let other = api.post("/odata/Machines", &json!({"Name": "N"})).await.body["Id"].clone();
    go("POST", odata("Machines", "DeleteBulk"), json!({"machineIds": [other]})).await;
    let restarted = api.get("/odata/Jobs?$filter=State eq 'Pending'").await.body["value"][0]["Id"].clone();
    let path = format!("/odata/Jobs({restarted})/UiPath.Server.Configuration.OData.StopJob");
    go("POST", path, json!({"strategy": "SoftStop"})).await;
    go("DELETE", format!("/odata/Releases({})", process["Id"]), Value::Null).await;
    let again = api.post("/odata/Releases", &body).await.body["Key"].clone();
    let path = format!("/api/Releases/DeleteByKey?key={}", again.as_str().unwrap());
    go("DELETE", path, Value::Null).await;
}

/// Calls the routes of tasks and catalogs. Those that are made are the first.
async fn call_tasks(folder: &Value, go: &mut impl AsyncFnMut(&str, String, Value)) {
    let tasks = |action: &str| format!("/odata/Tasks/UiPath.Server.Configuration.OData.{action}");
    let catalogs = |action: &str| format!("/odata/TaskCatalogs/UiPath.Server.Configuration.OData.{action}");
    let generic = |action: &str| format!("/tasks/GenericTasks/{action}");
    let catalog = json!({"Name": "Approvals", "Description": "d"});
    go("POST", catalogs("CreateTaskCatalog"), catalog.clone()).await;
    let task = json!({"title": "Approve", "type": "ExternalTask", "data": {"a": 1}, "taskCatalogName": "Approvals",
        "priority": "High", "tags": [{"Name": "t", "DisplayName": "T"}], "externalTag": "x"});
    go("POST", generic("CreateTask"), task.clone()).await;
    go("POST", generic("CreateTask"), task).await;
    let assign =
        json!({"taskAssignments": [{"TaskId": 1, "UserId": 5}, {"TaskId": 99, "UserNameOrEmail": "nobody"}]});
    go("POST", tasks("AssignTasks"), assign.clone()).await;
    go("POST", tasks("ReassignTasks"), assign).await;
    go("POST", tasks("UnassignTasks"), json!({"taskIds": [1, 99]})).await;
    go("PUT", generic("SaveTaskData"), json!({"taskId": 1, "data": {"a": 2}})).await;
    go("PUT", generic("SaveTaskTags"), json!({"taskId": 1, "tags": []})).await;
    go("POST", tasks("EditTaskMetadata"), json!({"TaskId": 1, "Title": "t", "NoteText": "n"})).await;
    let note = "/odata/TaskNotes/UiPath.Server.Configuration.OData.";
    go("POST", format!("{note}CreateTaskNote"), json!({"TaskId": 1, "Text": "looked at"})).await;
    go("GET", format!("{note}GetByTaskId(taskId=1)"), Value::Null).await;
    let activities = "/odata/TaskActivities/UiPath.Server.Configuration.OData.GetByTaskId(taskId=1)";
    go("GET", activities.to_owned(), Value::Null).await;
    go("POST", generic("CompleteTask"), json!({"taskId": 1, "action": "approve", "data": {"a": 3}})).await;
    for path in [
        "/odata/Tasks?$count=true".to_owned(),
        "/odata/Tasks(1)".to_owned(),
        tasks("GetTasksAcrossFolders"),
        tasks("GetTasksAcrossFoldersForAdmin"),
        tasks("GetTaskUsers(organizationUnitId=1)"),
        tasks("GetTaskPermissions"),
        generic("GetTaskDataById?taskId=1"),
        "/odata/TaskCatalogs".to_owned(),
        "/odata/TaskCatalogs(1)".to_owned(),
        catalogs("GetFoldersForTaskCatalog(id=1)"),
        catalogs("GetTaskCatalogExtendedDetails(taskCatalogId=1)"),
        catalogs("GetTaskCatalogsFromFoldersWithPermissions?mandatoryPermissions=Tasks.View"),
    ] {
        go("GET", path, Value::Null).await;
    }
    go(
        "POST",
        "/odata/TaskCatalogs(1)/UiPath.Server.Configuration.OData.UpdateTaskCatalog".to_owned(),
        catalog,
    )
    .await;
    for (add, remove) in [(json!([folder]), json!([])), (json!([]), json!([folder]))] {
        let share = json!({"TaskCatalogIds": [1], "ToAddFolderIds": add, "ToRemoveFolderIds": remove});
        go("POST", catalogs("ShareToFolders"), share).await;
    }
    go("POST", tasks("DeleteTasks"), json!({"taskIds": [1, 2, 99]})).await;
    go("DELETE", "/odata/TaskCatalogs(1)".to_owned(), Value::Null).await;
}

/// Calls the routes of assets, with values of every type and of users.
async fn call_assets(api: &Api, folder: &Value, go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |action: &str| format!("/odata/Assets/UiPath.Server.Configuration.OData.{action}");
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body;
    let robot = api.served.access_admin.add_robot("R", me["UserName"].as_str().unwrap()).await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    let robot_id = api.get("/odata/Robots").await.body["value"][0]["Id"].clone();
    let user = &me["Id"];
    for (name, members) in [
        ("Text", json!({"ValueType": "Text", "StringValue": "x"})),
        ("Bool", json!({"ValueType": "Bool", "BoolValue": true})),
        ("Integer", json!({"ValueType": "Integer", "IntValue": 5, "Description": "d"})),
        ("List", json!({"ValueType": "KeyValueList", "KeyValueList": [{"Key": "k", "Value": "v"}]})),
        ("Secret", json!({"ValueType": "Secret", "SecretValue": "s"})),
        (
            "SAP",
            json!({"ValueType": "Credential", "ValueScope": "PerRobot", "CredentialUsername": "u", "CredentialPassword": "p",
                "HasDefaultValue": true,
                "UserValues": [{"UserId": user, "CredentialUsername": "u", "CredentialPassword": "p"},
                    {"MachineId": 3, "CredentialUsername": "m", "CredentialPassword": "p"}]}),
        ),
    ] {
        let mut body = json!({"Name": name, "ValueScope": "Global"});
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        go("POST", "/odata/Assets".to_owned(), body).await;
    }
    let all = api.get("/odata/Assets").await.body["value"].clone();
    let id_of = |name: &str| {
        let found = all.as_array().unwrap().iter().find(|asset| asset["Name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {all}"))["Id"].clone()
    };
    let (sap, number) = (id_of("SAP"), id_of("Integer"));
    for path in [
        "/odata/Assets?$count=true&$expand=UserValues".to_owned(),
        odata("GetFiltered?$filter=ValueType eq 'Credential'&$expand=KeyValueList,UserValues"),
        odata("GetAssetsAcrossFolders"),
        odata(&format!("GetFoldersForAsset(id={sap})")),
        format!("/odata/Assets({sap})"),
        odata(&format!("GetRobotAsset(robotId='{robot}',assetName='SAP')")),
        odata(&format!("GetRobotAssetByRobotId(robotId={robot_id},assetName='List')")),
    ] {
        go("GET", path, Value::Null).await;
    }
    let ask = json!({"robotKey": robot, "assetName": "Secret", "supportsCredentialsProxyDisconnected": true});
    go("POST", odata("GetRobotAssetByNameForRobotKey"), ask).await;
    let set =
        json!({"robotKey": robot, "robotAsset": {"Name": "Integer", "ValueType": "Integer", "IntValue": 6}});
    go("POST", odata("SetRobotAssetByRobotKey"), set).await;
    let edit = json!({"Name": "Integer", "ValueScope": "Global", "ValueType": "Integer", "IntValue": 7});
    go("PUT", format!("/odata/Assets({number})"), edit).await;
    let share = json!({"AssetIds": [sap], "ToAddFolderIds": [folder], "ToRemoveFolderIds": []});
    go("POST", odata("ShareToFolders"), share).await;
    let share = json!({"AssetIds": [sap], "ToAddFolderIds": [], "ToRemoveFolderIds": [folder]});
    go("POST", odata("ShareToFolders"), share).await;
    go("DELETE", format!("/odata/Assets({number})"), Value::Null).await;
}

/// Asks the server about itself.
async fn look(go: &mut impl AsyncFnMut(&str, String, Value)) {
    let odata = |set: &str, action: &str| format!("/odata/{set}/UiPath.Server.Configuration.OData.{action}");
    let settings = |action: &str| odata("Settings", action);
    for path in [
        "/odata/Settings".to_owned(),
        "/odata/Settings('Abp.Timing.TimeZone')".to_owned(),
        settings("GetWebSettings"),
        settings("GetActivitySettings"),
        settings("GetTimezones"),
        settings("GetLanguages"),
        settings("GetLicense"),
        settings("GetExecutionSettingsConfiguration(scope=0)"),
        odata("LicensesRuntime", "GetLicensesRuntime(robotType='Unattended')"),
        odata("LicensesNamedUser", "GetLicensesNamedUser(robotType='Attended')"),
        "/odata/Tenants".to_owned(),
        "/odata/Tenants(1)".to_owned(),
        "/api/Stats/GetCountStats".to_owned(),
        "/api/Stats/GetJobsStats".to_owned(),
        "/api/Stats/GetSessionsStats".to_owned(),
        "/api/Stats/GetLicenseStats".to_owned(),
        "/api/Stats/GetConsumptionLicenseStats".to_owned(),
        "/odata/AuditLogs?$count=true&$expand=Entities".to_owned(),
        odata("AuditLogs", "GetAuditLogDetails(auditLogId=1)"),
    ] {
        go("GET", path, Value::Null).await;
    }
}

/// Administers a user and a folder.
async fn administer(go: &mut impl AsyncFnMut(&str, String, Value), (ann, finance): &(Value, Value)) {
    let odata = |action: &str| format!("UiPath.Server.Configuration.OData.{action}");
    let (folder, key) = (&finance["Id"], finance["Key"].as_str().unwrap());
    go("PATCH", format!("/odata/Users({ann})"), json!({"Surname": "A"})).await;
    let toggle = json!({"role": "Viewer", "toggle": true});
    go("POST", format!("/odata/Users({ann})/{}", odata("ToggleRole")), toggle).await;
    let set = json!({"addedUserIds": [ann], "removedUserIds": []});
    go("POST", format!("/odata/Roles(3)/{}", odata("SetUsers")), set).await;
    go("PATCH", format!("/api/Folders/PatchNameDescription?key={key}"), json!({"description": "d"})).await;
    go("PUT", format!("/odata/Folders({folder})/{}?targetParentId=1", odata("MoveFolder")), Value::Null)
        .await;
    for path in [
        format!("/odata/Users/{}", odata(&format!("Validate(userIds=[{ann}])"))),
        format!("/odata/Roles/{}", odata("GetUsersForRole(key=3)")),
        format!("/odata/Roles/{}", odata("GetUserIdsForRole(key=3)")),
        "/odata/Permissions".to_owned(),
        format!("/odata/Folders/{}", odata("GetAllRolesForUser(username='ann',skip=0,take=9)")),
        "/api/FoldersNavigation/GetAllRolesForUser?username=ann".to_owned(),
        "/api/FoldersNavigation/GetAllFoldersForCurrentUser".to_owned(),
        format!("/api/FoldersNavigation/GetFolderNavigationContextForCurrentUser?folderId={folder}"),
    ] {
        go("GET", path, Value::Null).await;
    }
}

#[tokio::test]
async fn every_response_matches_the_openapi_document() {
    let api = Api::start().await;
    let answers = call_every_route(&api).await;
    let paths: BTreeSet<String> =
        answers.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    assert!(paths.len() >= 95, "{} calls", paths.len());
    for (method, path, got) in &answers {
        for (name, value) in [
            ("odata-version", "4.0"),
            ("api-supported-versions", "20.0"),
            ("x-content-type-options", "nosniff"),
        ] {
            assert_eq!(got.headers[name], value, "{method} {path}");
        }
        assert!(got.headers.contains_key("x-correlation-id"), "{method} {path}");
        if got.status == 201 {
            assert!(got.headers.contains_key("location"), "{method} {path}: {}", got.text);
            let location = got.headers["location"].to_str().unwrap();
            let there = location.strip_prefix(api.served.url.as_str()).unwrap();
            let id = got.body.get("Id").unwrap_or(&got.body["id"]);
            assert!(there.ends_with(&format!("({id})")), "{location}");
        }
        if let Value::Object(body) = &got.body
            && path.starts_with("/odata")
            // A schema is returned as a file, without a context.
            && got.headers["content-type"] != "application/octet-stream"
        {
            let context = body.get("@odata.context").and_then(Value::as_str);
            let context = context.unwrap_or_else(|| panic!("{method} {path}: {}", got.text));
            assert!(context.starts_with(&format!("{}/odata/$metadata#", api.served.url)), "{context}");
        }
    }
    let Some(document) = openapi::document() else {
        println!(
            "the vendor's OpenAPI document is not here (ORCHESTRATOR_OPENAPI): answers are not checked against it"
        );
        return;
    };
    let document = openapi::with_defects_fixed(document);
    let (mut checked, mut complaints) = (0, Vec::new());
    for (method, path, got) in &answers {
        let Some((template, operations)) = openapi::path_template(&document, path) else {
            complaints.push(format!("{method} {path} is not in the document"));
            continue;
        };
        let answer = &operations[method.to_lowercase()]["responses"][got.status.to_string()];
        if answer.is_null() {
            complaints.push(format!("{method} {template}: {} is not in the document", got.status));
            continue;
        }
        let schema = answer["content"]
            .as_object()
            .and_then(|content| content.values().next())
            .map(|content| &content["schema"]);
        match schema {
            Some(schema)
                if (got.body.is_object() || got.body.is_array())
                    && got.headers["content-type"] != "application/octet-stream" =>
            {
                // The document's schemas do not contain OData's own member.
                let mut body = got.body.clone();
                body.as_object_mut().and_then(|body| body.remove("@odata.context"));
                let errors = openapi::violations(&document, schema, &body);
                complaints
                    .extend(errors.into_iter().take(3).map(|error| format!("{method} {template}: {error}")));
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    assert!(checked >= 40, "{checked} answers have a schema");
    let wrong = openapi::violations(
        &document,
        &json!({"$ref": "#/components/schemas/QueueItemDto"}),
        &json!({"Status": "Done"}),
    );
    assert!(!wrong.is_empty(), "the check finds a violation");
}

/// Explicit nulls and the fields of version 20 (orchestrator-api 12.1).
#[tokio::test]
async fn an_item_has_every_field_with_explicit_nulls() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let added = api
        .post(
            "/odata/Queues/UiPathODataSvc.AddQueueItem",
            &json!({"itemData": {"Name": "Invoices", "SpecificContent": null}}),
        )
        .await
        .body;
    let Some(document) = openapi::document() else { return };
    let fields = document["components"]["schemas"]["QueueItemDto"]["properties"].as_object().unwrap().keys();
    let only_expanded = ["QueueDefinition", "Robot", "ReviewerUser"];
    for field in fields.filter(|field| !only_expanded.contains(&field.as_str())) {
        assert!(added.get(field).is_some(), "{field} is missing");
    }
    for field in ["DueDate", "Reference", "Output", "ProcessingException", "AncestorId", "RobotId", "Error"] {
        assert_eq!(added[field], Value::Null, "{field}");
    }
    assert_eq!(added["SpecificContent"], json!({}));
}

/// The situations of choices 3.
#[tokio::test]
async fn errors_have_the_documented_codes() {
    let api = Api::start().await;
    let queue = api
        .queue(&json!({"Name": "Unique", "EnforceUniqueReference": true, "MaxNumberOfRetries": 0,
        "SpecificDataJsonSchema": r#"{"required":["a"]}"#, "OutputDataJsonSchema": r#"{"required":["b"]}"#}))
        .await;
    let item = api.add("Unique", "r").await;
    let add = |data: Value| json!({ "itemData": data });
    let path = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    let content = |units: usize| json!({"Name": "Unique", "Reference": "x", "SpecificContent": {"a": "x".repeat(units)}});
    let result = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", item["Id"]);
    let progress = format!("/odata/QueueItems({})/UiPathODataSvc.SetTransactionProgress", item["Id"]);
    let ended = |with: Value| {
        let mut dto = json!({"IsSuccessful": true});
        dto.as_object_mut().unwrap().extend(with.as_object().unwrap().clone());
        json!({ "transactionResult": dto })
    };
    let check = async |method: &str, path: &str, body: Value, status: u16, code: i64| {
        let got = api.call(method, path, &body).await;
        assert!(
            (got.status, got.code()) == (status, code) && got.is_api_error(),
            "{path} {body:.100}: {} {}",
            got.status,
            got.text
        );
    };
    check("POST", path, add(json!({"Name": "Unique", "SpecificContent": {"a": 1}})), 400, 1850).await;
    check(
        "POST",
        path,
        add(json!({"Name": "Unique", "Reference": "r", "SpecificContent": {"a": 1}})),
        409,
        1016,
    )
    .await;
    check("POST", path, add(json!({"Name": "Unique", "Reference": "s", "SpecificContent": {}})), 400, 1857)
        .await;
    check("POST", path, add(json!({"Name": "Nowhere", "SpecificContent": {}})), 404, 1002).await;
    check("POST", path, add(json!({"SpecificContent": {}})), 400, 1014).await;
    check("POST", path, add(content(256_000)), 413, 1865).await;
    check("POST", &progress, json!({"progress": "x"}), 409, 1851).await;
    check("POST", &result, ended(json!({})), 409, 1852).await;
    api.take("Unique").await.unwrap();
    check("POST", &progress, json!({"progress": "x".repeat(104_858)}), 413, 1871).await;
    check("POST", &result, ended(json!({"Output": {"c": 1}})), 400, 1857).await;
    check("POST", &result, ended(json!({"Output": {"b": "x".repeat(51_200)}})), 413, 1868).await;
    check("POST", &result, ended(json!({"Analytics": {"b": "x".repeat(5_120)}})), 413, 1869).await;
    let long = json!({"IsSuccessful": false, "ProcessingException": {"Reason": "x".repeat(102_401)}});
    check("POST", &result, ended(long), 413, 1870).await;
    check("PUT", &format!("/odata/QueueItems({})", item["Id"]), json!({"Priority": "Low"}), 409, 1851).await;
    let fail = json!({"transactionResult": {"IsSuccessful": false, "ProcessingException": {"Reason": "r"}}});
    assert_eq!(api.post(&result, &fail).await.status, 200);
    check("POST", &result, fail, 409, 1866).await;
    check("PUT", &format!("/odata/QueueItems({})", item["Id"]), json!({"Priority": "Low"}), 409, 1866).await;
    let version = api.get(&format!("/odata/QueueItems({})", item["Id"])).await.body["RowVersion"].clone();
    let nobody = json!({"userId": 999, "queueItems": [{"Id": item["Id"], "RowVersion": version}]});
    check("POST", "/odata/QueueItems/UiPathODataSvc.SetItemReviewer", nobody, 409, 1853).await;
    let stale =
        json!({"status": "InReview", "queueItems": [{"Id": item["Id"], "RowVersion": "AAAAAAAAAAE="}]});
    let got = api.post("/odata/QueueItems/UiPathODataSvc.SetItemReviewStatus", &stale).await;
    assert_eq!(
        (got.status, &got.body["Success"], &got.body["FailedItems"]),
        (200, &json!(false), &json!([item["Id"]]))
    );
    check("POST", "/odata/QueueDefinitions", json!({"Name": "UNIQUE"}), 409, 1001).await;
    check(
        "PUT",
        &format!("/odata/QueueDefinitions({queue})"),
        json!({"Name": "Unique", "EnforceUniqueReference": false}),
        409,
        1855,
    )
    .await;
    check("POST", "/odata/QueueDefinitions", json!({"Name": "X", "SpecificDataJsonSchema": "{"}), 400, 1858)
        .await;
    check("POST", "/odata/QueueDefinitions/UiPathODataSvc.CreateQueue", json!({"Name": "X"}), 400, 1009)
        .await;
    check(
        "PUT",
        &format!("/odata/QueueRetention({queue})"),
        json!({"Action": "Archive", "Period": 30}),
        404,
        1002,
    )
    .await;
    check(
        "PUT",
        &format!("/odata/QueueRetention({queue})"),
        json!({"Action": "None", "Period": 30}),
        400,
        1009,
    )
    .await;
    check("GET", "/odata/QueueItems?$top=101", Value::Null, 400, 1000).await;
    let comment = api
        .post("/odata/QueueItemComments", &json!({"Text": "x", "QueueItemId": item["Id"]}))
        .await
        .body["Id"]
        .clone();
    let other = api.application_token("other", "OR.Queues", &["Administrator"], &[]).await;
    let path = format!("/odata/QueueItemComments({comment})");
    let got = api.call_as(&other, Some("Shared"), "PUT", &path, &json!({"Text": "mine"})).await;
    assert_eq!((got.status, got.code()), (403, 1007));
}
