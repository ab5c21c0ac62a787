//! Lists of items: filters, order, pages, expansion. Queues in several folders.

use std::sync::Arc;

use performer::model::ManualClock;
use performer::orchestrator::store::Store;
use serde_json::{Value, json};

use crate::{Api, start_of_time};

async fn references(api: &Api, query: &str) -> Vec<String> {
    let got = api.get(&format!("/odata/QueueItems?{query}")).await;
    assert_eq!(got.status, 200, "{query}: {}", got.text);
    let rows = got.body["value"].as_array().unwrap();
    rows.iter().map(|row| row["Reference"].as_str().unwrap_or("-").to_owned()).collect()
}

#[tokio::test]
async fn items_are_filtered_as_documented() {
    let api = Api::start().await;
    let queue = api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
    api.queue(&json!({"Name": "Löhne"})).await;
    for (reference, priority) in [("A-1", "High"), ("a-2", "Normal"), ("B-3", "Low"), ("O'Neil", "Normal")] {
        let item = json!({"itemData": {"Name": "Invoices", "Reference": reference, "Priority": priority, "DueDate": "2026-09-01T00:00:00Z", "SpecificContent": {}}});
        assert_eq!(api.post("/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await.status, 201);
    }
    api.add("Löhne", "L").await;
    let taken = api.take("Invoices").await.unwrap();
    api.result(
        &taken,
        &json!({"IsSuccessful": false, "ProcessingException": {"Reason": "r", "Type": "BusinessException"}}),
    )
    .await;
    let all = ["A-1", "a-2", "B-3", "O'Neil", "L"];
    assert_eq!(references(&api, "").await, all);
    for (filter, expected) in [
        ("Status eq 'New'", &["a-2", "B-3", "O'Neil", "L"][..]),
        ("status eq '2'", &["A-1"]),
        ("Status ne 'New' and ProcessingExceptionType eq '1'", &["A-1"]),
        ("Priority eq 'Low' or Priority eq '0'", &["A-1", "B-3"]),
        ("Reference eq 'O''Neil'", &["O'Neil"]),
        ("startswith(Reference,'A')", &["A-1"]),
        ("startswith(tolower(Reference),'a')", &["A-1", "a-2"]),
        ("contains(Reference,'-') and not endswith(Reference,'3')", &["A-1", "a-2"]),
        ("Id in (1,3,99)", &["A-1", "B-3"]),
        ("DueDate eq null", &["L"]),
        (
            "DueDate gt 2026-08-31T23:59:59.9999999Z and DueDate le 2026-09-01T02:00:00%2B02:00",
            &["A-1", "a-2", "B-3", "O'Neil"],
        ),
        ("QueueDefinition/Name eq 'löhne'", &["L"]),
        ("QueueDefinitionName eq 'INVOICES' and Status eq 'New'", &["a-2", "B-3", "O'Neil"]),
        ("QueueDefinitionName eq 'Nowhere'", &[]),
        ("Robot/Name eq null", &all),
        ("ReviewStatus eq '0'", &all),
        ("RetryNumber lt 0.5", &all),
    ] {
        assert_eq!(references(&api, &format!("$filter={filter}")).await, expected, "{filter}");
    }
    let by_queue =
        format!("$filter=QueueDefinitionId eq {queue} and (Status eq 'New' or Status eq 'Failed')");
    assert_eq!(references(&api, &by_queue).await, all[..4]);
    assert_eq!(references(&api, "$orderby=Reference desc&$top=2").await, ["a-2", "O'Neil"]);
    assert_eq!(references(&api, "$orderby=Priority,Id desc").await, ["A-1", "L", "O'Neil", "a-2", "B-3"]);
    assert_eq!(references(&api, "$orderby=Id desc&$skip=1&$top=2").await, ["O'Neil", "B-3"]);
    let got = api.get("/odata/QueueItems?$filter=Status eq 'New'&$count=true&$top=1&$select=Id,reference&$expand=QueueDefinition").await;
    assert_eq!((&got.body["@odata.count"], got.body["value"][0].as_object().unwrap().len()), (&json!(4), 3));
    assert_eq!(got.body["value"][0]["QueueDefinition"]["Name"], "Invoices");
    let missing = Value::Null;
    assert_eq!(api.get("/odata/QueueItems").await.body["@odata.count"], missing, "counted only on request");
    for wrong in [
        "$filter=Stat eq 1",
        "$filter=Status eq 'Done'",
        "$top=101",
        "$top=-1",
        "$expand=ProcessingException",
        "$orderby=Cat",
        "$filter=Id eq 1&$filter=Id eq 2",
        "$select=Cat",
        "$skip=x",
        "$filter=Reference eq 'x",
        "$search=x",
        "$filter=1 eq 1",
        "$filter=SpecificContent/a eq 1",
        "$filter=QueueDefinition/any(q:q/Id eq 1)",
    ] {
        let got = api.get(&format!("/odata/QueueItems?{wrong}")).await;
        assert!(
            (got.status, got.code()) == (400, 1000) && got.is_api_error(),
            "{wrong}: {} {}",
            got.status,
            got.text
        );
        assert!(
            got.body["message"].as_str().unwrap().starts_with("Invalid OData query options"),
            "{}",
            got.text
        );
    }
}

#[tokio::test]
async fn injection_attempts_are_plain_text() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let nasty = [
        "'; DROP TABLE item; --",
        "' OR '1'='1",
        "%",
        "_",
        "\\",
        "\"",
        "a'||'b",
        "/* x */",
        "\u{2019}",
        "`",
        "x\u{202e}y",
        "NULL",
        "0x41",
        "${jndi:ldap://x}",
        "{{7*7}}",
        "<script>",
        "CHAR(65)",
        "UNION SELECT",
        "𝓤",
        "é",
        "e\u{301}",
        ";",
        "#",
        "&",
        "=",
        "+",
    ];
    for text in nasty {
        api.add("Invoices", text).await;
    }
    for text in nasty {
        let encoded: String = form_urlencoded::byte_serialize(text.replace('\'', "''").as_bytes()).collect();
        for filter in [
            "Reference eq '?'",
            "startswith(Reference,'?')",
            "endswith(Reference,'?')",
            "contains(Reference,'?')",
            "Reference in ('?')",
        ] {
            let query = format!("$filter={}", filter.replace(' ', "%20").replace('?', &encoded));
            let found = references(&api, &query).await;
            assert!(found.contains(&text.to_owned()), "{text}: {found:?}");
            if filter.contains(" eq ") || filter.contains(" in ") {
                assert_eq!(found, [text]);
            }
        }
    }
}

#[tokio::test]
async fn pages_list_every_item_once() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("q.db"), clock.clone()).await.unwrap();
    let api = Api::over(store, clock, |server| server).await;
    let queue = api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
    api.queue(&json!({"Name": "Other"})).await;
    for round in 0..3 {
        let items: Vec<Value> = (0..1_000)
            .map(|n| (n, if n % 2 == 0 { "High" } else { "Low" }))
            .map(|(n, priority)| json!({"Reference": format!("{round}-{n}"), "Priority": priority}))
            .collect();
        for name in ["Invoices", "Other"] {
            let bulk = json!({"queueName": name, "commitType": "AllOrNothing", "queueItems": items});
            assert_eq!(
                api.post("/odata/Queues/UiPathODataSvc.BulkAddQueueItems", &bulk).await.body["Success"],
                true
            );
        }
        for n in 0..250 {
            let taken = api.take("Invoices").await.unwrap();
            let result = match n % 5 {
                0 => {
                    json!({"IsSuccessful": false, "ProcessingException": {"Reason": "r", "Type": "BusinessException"}})
                }
                1 => json!({"IsSuccessful": false, "DeferDate": "2027-01-01T00:00:00Z"}),
                2 => continue,
                _ => json!({"IsSuccessful": true}),
            };
            api.result(&taken, &result).await;
        }
    }
    let mut sums = Vec::new();
    for (filter, expected) in [
        (format!("QueueDefinitionId eq {queue}"), 3_000),
        (format!("QueueDefinitionId eq {queue} and Status eq 'New'"), 3_000 - 3 * 250 + 150),
        (format!("QueueDefinitionId eq {queue} and Status eq 'InProgress'"), 150),
        (format!("QueueDefinitionId eq {queue} and Status eq 'Successful'"), 300),
        (format!("QueueDefinitionId eq {queue} and Status eq 'Failed'"), 150),
        (
            format!(
                "QueueDefinitionId eq {queue} and (Status eq 'Failed' or Status eq 'New' or Status eq 'InProgress')"
            ),
            2_400 + 300,
        ),
        ("Status eq 'New'".to_owned(), 3_000 + 2_400),
        ("Status eq 'New' and Priority eq 'Low'".to_owned(), 3_000),
        ("Reference eq '1-7'".to_owned(), 2),
    ] {
        for order in ["Id", "Id desc", "Reference,Id"] {
            let mut ids = Vec::new();
            loop {
                let path = format!(
                    "/odata/QueueItems?$filter={filter}&$orderby={order}&$top=100&$skip={}&$count=true&$select=Id",
                    ids.len()
                );
                let got = api.get(&path).await;
                assert_eq!(got.status, 200, "{filter}: {}", got.text);
                if !filter.contains("Priority") {
                    assert_eq!(got.body["@odata.count"], expected, "{filter}");
                }
                let page = got.body["value"].as_array().unwrap();
                if page.is_empty() {
                    break;
                }
                ids.extend(page.iter().map(|row| row["Id"].as_i64().unwrap()));
            }
            if order != "Reference,Id" {
                let sorted = if order == "Id" { ids.is_sorted() } else { ids.iter().rev().is_sorted() };
                assert!(sorted, "{filter} by {order}");
            }
            let count = ids.len();
            ids.sort_unstable();
            ids.dedup();
            assert_eq!(ids.len(), count, "{filter} by {order}: nothing twice");
            if !filter.contains("Priority") {
                assert_eq!(count, expected, "{filter} by {order}");
            }
            sums.push(count);
        }
    }
    assert_eq!(sums.len(), 27);
}

#[tokio::test]
async fn queues_are_shared_and_names_are_unique_per_folder() {
    let api = Api::start().await;
    api.served.access_admin.add_folder("Shared/Löhne").await.unwrap();
    let finance =
        api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await.body["Id"].as_i64().unwrap();
    let queue = api.queue(&json!({"Name": "Invoices"})).await;
    let item = api.add("Invoices", "a").await;
    let in_finance = async |method: &str, path: &str, body: Value| {
        api.call_as(&api.token, Some("Finance"), method, path, &body).await
    };
    let own = in_finance("POST", "/odata/QueueDefinitions", json!({"Name": "invoices"})).await;
    assert_eq!(own.status, 201, "names are unique per folder: {}", own.text);
    let share = |add: &[i64], remove: &[i64]| json!({"QueueIds": [queue], "ToAddFolderIds": add, "ToRemoveFolderIds": remove});
    let path = "/odata/QueueDefinitions/UiPath.Server.Configuration.OData.ShareToFolders";
    let clash = api.post(path, &share(&[finance], &[])).await;
    assert_eq!((clash.status, clash.code()), (409, 1001));
    let own = format!("/odata/QueueDefinitions({})", own.body["Id"]);
    assert_eq!(in_finance("DELETE", &own, Value::Null).await.status, 204);
    assert_eq!(api.post(path, &share(&[finance], &[])).await.status, 204);
    let same = in_finance("GET", &format!("/odata/QueueItems({})", item["Id"]), Value::Null).await;
    assert_eq!((same.status, &same.body["OrganizationUnitId"]), (200, &json!(finance)));
    let unfoldered =
        api.call_as(&api.token, None, "GET", "/odata/QueueItems?$count=true", &Value::Null).await;
    assert_eq!(unfoldered.body["@odata.count"], 1, "an item of a shared queue is one item");
    let shown = api.get(&format!("/odata/QueueDefinitions({queue})")).await.body;
    assert_eq!(shown["FoldersCount"], 2);
    assert_eq!(api.post(path, &share(&[], &[1, finance])).await.status, 400, "a queue needs a folder");
    assert_eq!(api.post(path, &share(&[], &[finance])).await.status, 204);
    assert_eq!(
        in_finance("GET", &format!("/odata/QueueItems({})", item["Id"]), Value::Null).await.status,
        404
    );
    // Every way to name a folder.
    let folders = api.get("/odata/Folders").await.body;
    let find = |name: &str| {
        folders["value"]
            .as_array()
            .unwrap()
            .iter()
            .find(|folder| folder["FullyQualifiedName"] == name)
            .unwrap()
            .clone()
    };
    let deep = find("Shared/Löhne");
    let encoded = |path: &str| {
        use base64::Engine as _;
        let bytes: Vec<u8> = path.encode_utf16().flat_map(u16::to_le_bytes).collect();
        base64::engine::general_purpose::STANDARD.encode(bytes)
    };
    for (header, value, status) in [
        ("X-UIPATH-OrganizationUnitId", deep["Id"].to_string(), 200),
        ("X-UIPATH-FolderKey", deep["Key"].as_str().unwrap().to_owned(), 200),
        ("X-UIPATH-FolderPath-Encoded", encoded("Shared/Löhne"), 200),
        ("X-UIPATH-FolderPath-Encoded", encoded("/shared/LÖHNE"), 200),
        ("X-UIPATH-FolderPath", "shared".to_owned(), 200),
        ("X-UIPATH-OrganizationUnitId", "999".to_owned(), 403),
        ("X-UIPATH-OrganizationUnitId", "x".to_owned(), 403),
        ("X-UIPATH-FolderKey", "6f1c2d3a-5b55-4c55-9d52-0a6d0c0f5a11".to_owned(), 403),
        ("X-UIPATH-FolderPath-Encoded", "?".to_owned(), 403),
        ("X-UIPATH-FolderPath", "Löhne".escape_unicode().to_string(), 403),
    ] {
        let request = api.request("GET", "/odata/QueueItems").bearer_auth(&api.token).header(header, &value);
        let got = api.send(request).await;
        assert_eq!(got.status, status, "{header}: {value}: {}", got.text);
    }
    let both = api
        .request("GET", "/odata/QueueItems")
        .bearer_auth(&api.token)
        .header("X-UIPATH-FolderPath", "Shared");
    assert_eq!(
        api.send(both.header("X-UIPATH-OrganizationUnitId", finance)).await.status,
        403,
        "two different folders are refused"
    );
    let full = api.send(api.request("DELETE", "/odata/Folders(1)").bearer_auth(&api.token)).await;
    assert_eq!(full.status, 409);
}

/// More comments than a store answers together, on items of two queues here and one elsewhere.
async fn comments_are_paged(store: Store, clock: Arc<ManualClock>) {
    let api = Api::over(store, clock, |server| server).await;
    api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await;
    let mut items = Vec::new();
    for (name, folder) in [("A", "Shared"), ("B", "Shared"), ("C", "Finance")] {
        let here = async |path: &str, body: Value| {
            let got = api.call_as(&api.token, Some(folder), "POST", path, &body).await;
            assert_eq!(got.status, 201, "{path}: {}", got.text);
            got.body["Id"].as_i64().unwrap()
        };
        here("/odata/QueueDefinitions", json!({"Name": name})).await;
        let item = json!({"itemData": {"Name": name, "SpecificContent": {}}});
        items.push((here("/odata/Queues/UiPathODataSvc.AddQueueItem", item).await, folder));
    }
    let mut ids = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..26 {
        let adding = (0..60).map(|n| {
            let (id, folder) = items[n % 3];
            let body = json!({"QueueItemId": id, "Text": format!("{round} of {}", n % 5)});
            let api = &api;
            async move {
                let path = "/odata/QueueItemComments";
                let got = api.call_as(&api.token, Some(folder), "POST", path, &body).await;
                (n % 3, got.body["Id"].as_i64().unwrap())
            }
        });
        for (of, id) in futures_util::future::join_all(adding).await {
            ids[of].push(id);
        }
    }
    let sorted = |which: &[usize]| {
        let mut all: Vec<i64> = which.iter().flat_map(|of| ids[*of].iter().copied()).collect();
        all.sort_unstable();
        all
    };
    let found = async |folder: Option<&str>, path: &str, query: &str| {
        let path = format!("/odata/QueueItemComments{path}?{query}");
        let got = api.call_as(&api.token, folder, "GET", &path, &Value::Null).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        let rows = got.body["value"].as_array().unwrap();
        let ids: Vec<i64> = rows.iter().map(|row| row["Id"].as_i64().unwrap()).collect();
        (ids, got.body["@odata.count"].clone())
    };
    let (here, everywhere) = (sorted(&[0, 1]), sorted(&[0, 1, 2]));
    for (folder, expected) in [(Some("Shared"), &here), (Some("Finance"), &sorted(&[2])), (None, &everywhere)]
    {
        let mut pages = Vec::new();
        for page in 0..expected.len() / 100 + 1 {
            pages.extend(found(folder, "", &format!("$top=100&$skip={}", page * 100)).await.0);
        }
        assert_eq!(&pages, expected, "in {folder:?}");
    }
    let last = |all: &[i64], n: usize| -> Vec<i64> { all.iter().rev().take(n).copied().collect() };
    let latest = found(None, "", "$orderby=Id desc&$top=3&$count=true").await;
    assert_eq!(latest, (last(&everywhere, 3), json!(everywhere.len())));
    let of_item = format!("$filter=QueueItemId eq {}&$orderby=Id desc&$top=5&$count=true", items[1].0);
    assert_eq!(found(Some("Shared"), "", &of_item).await, (last(&sorted(&[1]), 5), json!(520)));
    let of_two = format!("$filter=QueueItemId in ({},{})&$count=true&$top=0", items[0].0, items[2].0);
    assert_eq!(found(Some("Shared"), "", &of_two).await.1, json!(520), "the other one is elsewhere");
    assert_eq!(found(None, "", &of_two).await.1, json!(1_040));
    let by_text = "$filter=startswith(Text,'25 of') and endswith(Text,'4')&$count=true";
    assert_eq!(found(Some("Shared"), "", by_text).await.1, json!(8));
    let history =
        format!("/UiPath.Server.Configuration.OData.GetQueueItemCommentsHistory(queueItemId={})", items[0].0);
    let mine = sorted(&[0]);
    assert_eq!(found(Some("Shared"), &history, "$skip=510").await.0, mine[510..]);
    let got = api
        .call_as(
            &api.token,
            Some("Finance"),
            "GET",
            &format!("/odata/QueueItemComments{history}"),
            &Value::Null,
        )
        .await;
    assert_eq!(got.status, 404, "{}", got.text);
}

#[tokio::test]
async fn comments_are_paged_in_memory_and_in_a_file() {
    let clock = || Arc::new(ManualClock::new(start_of_time()));
    let (folder, of_memory, of_file) = (tempfile::tempdir().unwrap(), clock(), clock());
    comments_are_paged(Store::memory_with_clock(of_memory.clone()), of_memory).await;
    let file = Store::sqlite_with_clock(folder.path().join("q.db"), of_file.clone()).await.unwrap();
    comments_are_paged(file, of_file).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comments_are_paged_in_postgres() {
    let schema = performer_proofs::postgres::Schema::new();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::postgres_with_clock(&schema.url, clock.clone()).await.unwrap();
    comments_are_paged(store, clock).await;
}
