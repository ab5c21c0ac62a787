//! Bodies keep their content: truncated texts, numbers with many digits. Member names are case-insensitive.

use performer::server::Server;
use serde_json::{Map, Value, json};

use crate::{Api, ApiResponse, bad_requests};

const DIGITS: &str = r#"{"amount":1234567890123456.78,"e":1E5,"huge":1e400,"iban":100000000000000000000000000001,"x":1.50,"z":-0}"#;
const OTHER: &str = r#"{"iban":100000000000000000000000000002,"tiny":1e-400}"#;

impl Api {
    /// A call with a raw body, in the folder Shared.
    pub(crate) async fn raw(&self, method: &str, path: &str, body: impl Into<Vec<u8>>) -> ApiResponse {
        let request =
            self.request(method, path).bearer_auth(&self.token).header("X-UIPATH-FolderPath", "Shared");
        self.send(request.header("content-type", "application/json").body(body.into())).await
    }

    async fn add_raw(&self, content: &str) -> i64 {
        let body = format!(r#"{{"itemData":{{"Name":"Invoices","SpecificContent":{content}}}}}"#);
        let added = self.raw("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", body).await;
        assert_eq!(added.status, 201, "{}", added.text);
        id_in(&added)
    }

    async fn start_raw(&self, data: &str) -> ApiResponse {
        let body = format!(r#"{{"transactionData":{{"Name":"Invoices"{data}}}}}"#);
        self.raw("POST", "/odata/Queues/UiPathODataSvc.StartTransaction", body).await
    }
}

/// The id of an item from the text, because a `Value` may not be able to hold its numbers.
fn id_in(got: &ApiResponse) -> i64 {
    let (_, behind) = got.text.split_once("\"Id\":").unwrap_or_else(|| panic!("{}", got.text));
    behind.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

fn has(got: &ApiResponse, part: &str) {
    assert!(got.status < 300 && got.text.contains(part), "{part} is not in {} {}", got.status, got.text);
}

#[tokio::test]
async fn numbers_keep_their_digits_on_every_route() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices", "MaxNumberOfRetries": 1})).await;
    let content = format!("\"SpecificContent\":{DIGITS}");
    let data = format!("\"SpecificData\":{}", json!(format!("{{\"DynamicProperties\":{DIGITS}}}")));
    let added = api.add_raw(DIGITS).await;
    for path in [
        format!("/odata/QueueItems({added})"),
        format!("/odata/QueueItems({added})?$select=SpecificContent,SpecificData,Id"),
        format!("/odata/QueueItems({added})/UiPath.Server.Configuration.OData.GetItemLastRetry"),
        format!("/odata/QueueItems({added})/UiPathODataSvc.GetItemProcessingHistory"),
        format!(
            "/odata/QueueItems({added})/UiPathODataSvc.GetItemProcessingHistory?$select=SpecificContent,SpecificData"
        ),
        "/odata/QueueItems".to_owned(),
        "/odata/QueueItems?$select=SpecificContent,SpecificData".to_owned(),
        "/odata/QueueItems?$expand=QueueDefinition,Robot&$orderby=Id desc".to_owned(),
    ] {
        let got = api.get(&path).await;
        has(&got, &content);
        has(&got, &data);
    }
    let taken = api.start_raw("").await;
    has(&taken, &content);
    let result =
        format!(r#"{{"transactionResult":{{"IsSuccessful":true,"Output":{DIGITS},"Analytics":{OTHER}}}}}"#);
    let path = format!("/odata/Queues({added})/UiPathODataSvc.SetTransactionResult");
    assert_eq!(api.raw("POST", &path, result).await.status, 200);
    let done = api.get(&format!("/odata/QueueItems({added})")).await;
    has(&done, &format!("\"Output\":{DIGITS}"));
    has(&done, &format!("\"Analytics\":{OTHER}"));

    // A new item that is started at once, and its retry.
    let started = api.start_raw(&format!(",\"SpecificContent\":{OTHER}")).await;
    has(&started, &format!("\"SpecificContent\":{OTHER}"));
    let failed = r#"{"transactionResult":{"IsSuccessful":false,"ProcessingException":{"Reason":"r"}}}"#;
    let path = format!("/odata/Queues({})/UiPathODataSvc.SetTransactionResult", id_in(&started));
    assert_eq!(api.raw("POST", &path, failed).await.status, 200);
    has(&api.start_raw("").await, &format!("\"SpecificContent\":{OTHER}"));

    let bulk = format!(
        r#"{{"queueName":"Invoices","commitType":"AllOrNothing","queueItems":[{{"Reference":"b","SpecificContent":{DIGITS}}}]}}"#
    );
    let bulk = api.raw("POST", "/odata/Queues/UiPathODataSvc.BulkAddQueueItems", bulk).await;
    has(&bulk, "\"Success\":true");
    let list = api.get("/odata/QueueItems?$filter=Reference eq 'b'").await;
    has(&list, &content);
    let path = format!("/odata/QueueItems({})", id_in(&list));
    let edited = api.raw("PUT", &path, format!("{{\"SpecificContent\":{OTHER}}}"));
    assert_eq!(edited.await.status, 200);
    has(
        &api.get("/odata/QueueItems?$filter=Reference eq 'b'").await,
        &format!("\"SpecificContent\":{OTHER}"),
    );
}

#[tokio::test]
async fn content_that_would_change_is_refused_with_its_name() {
    let api = Api::start().await;
    let schema = json!({"type": "object", "properties": {"amount": {"type": "number"}}}).to_string();
    api.queue(&json!({"Name": "Invoices", "SpecificDataJsonSchema": schema})).await;
    for (content, part) in [
        (r#"{"amount":1,"b":2,"amount":3}"#, "\"amount\""),
        (r#"{"amount":1e400}"#, "\"amount\""),
        (r#"{"amount":[1]}"#, "\"amount\""),
        (r#"{"amount":NaN}"#, "\"amount\""),
        (r#"{"b":1,"amount":-Infinity}"#, "\"amount\""),
        (r#"{"amount":007}"#, "\"amount\""),
    ] {
        let body = format!(r#"{{"itemData":{{"Name":"Invoices","SpecificContent":{content}}}}}"#);
        let got = api.raw("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", body).await;
        assert!(got.status == 400 && got.is_api_error(), "{content}: {} {}", got.status, got.text);
        assert!(got.body["message"].as_str().unwrap().contains(part), "{content}: {}", got.text);
    }
    api.add_raw(r#"{"amount":1234567890123456.78}"#).await;
}

/// An unpaired surrogate in any name or value is replaced by U+FFFD.
#[tokio::test]
async fn unpaired_surrogates_are_replaced_everywhere() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let added = api.add_raw(r#"{"cut \ud83d":"a\udc00b","pair":"\ud83d\ude00","high":"\ud83dx"}"#).await;
    let item = api.get(&format!("/odata/QueueItems({added})")).await.body;
    let content = json!({"cut \u{fffd}": "a\u{fffd}b", "pair": "😀", "high": "\u{fffd}x"});
    assert_eq!(item["SpecificContent"], content);
    assert_eq!(
        serde_json::from_str::<Value>(item["SpecificData"].as_str().unwrap()).unwrap()["DynamicProperties"],
        content
    );
    assert_eq!(api.start_raw("").await.status, 200);
    let path = format!("/odata/QueueItems({added})/UiPathODataSvc.SetTransactionProgress");
    assert_eq!(api.raw("POST", &path, r#"{"progress":"cut \ud83d"}"#).await.status, 200);
    let result = r#"{"transactionResult":{"IsSuccessful":false,"\ud83d":1,"ProcessingException":{"Reason":"cut \ud83d",
        "Details":"\ude00","Type":"BusinessException"},"Output":{"o\ud83d":"\ud83d"}}}"#;
    let path = format!("/odata/Queues({added})/UiPathODataSvc.SetTransactionResult");
    assert_eq!(api.raw("POST", &path, result).await.status, 200);
    let item = api.get(&format!("/odata/QueueItems({added})")).await.body;
    assert_eq!((&item["Status"], &item["Progress"]), (&json!("Failed"), &json!("cut \u{fffd}")));
    assert_eq!(item["ProcessingException"]["Reason"], "cut \u{fffd}");
    assert_eq!(item["Output"], json!({"o\u{fffd}": "\u{fffd}"}));
    let comment = format!(r#"{{"Text":"\ud83d","QueueItemId":{added}}}"#);
    assert_eq!(api.raw("POST", "/odata/QueueItemComments", comment).await.body["Text"], "\u{fffd}");
    // All other bodies: a valid body stays valid with a truncated text.
    for (name, method, path, _) in Server::routes() {
        if path.starts_with("/api/performer/") {
            continue; // a member that is not known is refused there
        }
        let Some(right) = bad_requests::valid_body(&name, &method, "") else { continue };
        if !right.is_object() {
            continue; // there is no member in it
        }
        let mut body = right.clone();
        body["unknown \u{fffd}"] = json!("cut \u{fffd}");
        let body = body.to_string().replace('\u{fffd}', r"\ud83d");
        let (api, other) = (bad_requests::prepared_server().await, bad_requests::prepared_server().await);
        let (got, expected) = (api.raw(&method, &path, body).await, other.call(&method, &path, &right).await);
        assert_eq!((got.status, got.code()), (expected.status, expected.code()), "{name}: {}", got.text);
    }
    // Invalid UTF-8 is refused, because the intended text is unknown.
    let latin = b"{\"itemData\":{\"Name\":\"Invoices\",\"Reference\":\"M\xfcller\"}}".to_vec();
    assert_eq!(api.raw("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", latin).await.status, 400);
}

/// The body with renamed members, except in open maps.
fn renamed(body: &Value, rename: &impl Fn(&str) -> String) -> Value {
    let is_map = |name: &str| ["SpecificContent", "Output", "output", "Analytics"].contains(&name);
    match body {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, member)| {
                    let member = if is_map(name) { member.clone() } else { renamed(member, rename) };
                    (rename(name), member)
                })
                .collect::<Map<_, _>>(),
        ),
        Value::Array(list) => list.iter().map(|value| renamed(value, rename)).collect(),
        other => other.clone(),
    }
}

fn swap_first_case(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    let is_small = first.chars().all(char::is_lowercase);
    (if is_small { first.to_uppercase() } else { first.to_lowercase() }) + rest
}

/// Every body with names in another case has the same effect as with the documented names.
#[tokio::test]
async fn member_names_are_case_insensitive() {
    let mut cases = 0;
    for (name, method, path, _) in Server::routes() {
        let right = |job: &str| bad_requests::valid_body(&name, &method, job);
        if right("").is_none_or(|body| !body.is_object() || body == json!({})) {
            continue; // there are no names in it
        }
        let path = bad_requests::path_of(&name, &path);
        let plain = bad_requests::prepared_server().await;
        let right_here = right(&bad_requests::job(&plain).await).unwrap();
        let expected = plain.call(&method, &path, &right_here).await;
        let after = bad_requests::all_lists(&plain).await;
        let other = bad_requests::prepared_server().await;
        let right_there = right(&bad_requests::job(&other).await).unwrap();
        // Some names in capitals, some with another first letter: a server for each would take long.
        let mixed = |name: &str| {
            if name.len().is_multiple_of(2) { name.to_uppercase() } else { swap_first_case(name) }
        };
        let got = other.call(&method, &path, &renamed(&right_there, &mixed)).await;
        assert_eq!((got.status, got.code()), (expected.status, expected.code()), "{name}: {}", got.text);
        assert_eq!(
            bad_requests::comparable(&bad_requests::all_lists(&other).await),
            bad_requests::comparable(&after),
            "{name}"
        );
        cases += 1;
        if ["PostLog", "TriggerCustomEvent"].contains(&name.as_str()) {
            continue; // these have members of the program that wrote them, which may differ by their case alone
        }
        // The same member twice in two cases is refused.
        let mut twice = right_here.to_string();
        let first = right_here.as_object().unwrap().keys().next().unwrap();
        twice.insert_str(1, &format!("{:?}:{},", swap_first_case(first), right_here[first]));
        let got = plain.raw(&method, &path, twice).await;
        assert_eq!(got.status, 400, "{name}: {}", got.text);
        assert!(got.text.contains("duplicate field"), "{name}: {}", got.text);
    }
    assert!(cases > 37, "{cases}");
}

#[tokio::test]
async fn names_in_content_output_and_analytics_are_unchanged() {
    let api = Api::start().await;
    api.queue(&json!({"Name": "Invoices"})).await;
    let own = r#"{"Name":1,"name":2,"REFERENCE":"x","isSuccessful":false}"#;
    let body = format!(r#"{{"itemdata":{{"name":"Invoices","specificContent":{own}}}}}"#);
    let added = api.raw("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", body).await;
    let own: Value = serde_json::from_str(own).unwrap();
    assert_eq!((added.status, &added.body["SpecificContent"]), (201, &own), "{}", added.text);
    let id = &added.body["Id"];
    let taken = api.raw(
        "POST",
        "/odata/Queues/UiPathODataSvc.StartTransaction",
        r#"{"TransactionData":{"name":"invoices"}}"#,
    );
    assert_eq!(taken.await.body["Id"], *id);
    let result = json!({"transactionresult": {"issuccessful": true, "output": own, "ANALYTICS": own}});
    let path = format!("/odata/Queues({id})/UiPathODataSvc.SetTransactionResult");
    assert_eq!(api.post(&path, &result).await.status, 200);
    let item = api.get(&format!("/odata/QueueItems({id})")).await.body;
    assert_eq!((&item["Status"], &item["Output"], &item["Analytics"]), (&json!("Successful"), &own, &own));
    // An edit with null content removes it, whatever the case of the name.
    assert_eq!(
        api.call("PUT", &format!("/odata/QueueItems({id})"), &json!({"specificcontent": null})).await.status,
        200
    );
    assert_eq!(api.get(&format!("/odata/QueueItems({id})")).await.body["SpecificContent"], json!({}));
}

#[tokio::test]
async fn strict_mode_refuses_unknown_names_but_not_another_case() {
    let api = Api::start_as(|server| server.strict(true)).await;
    api.queue(&json!({"name": "Invoices", "tags": [{"name": "t"}]})).await;
    let path = "/odata/Queues/UiPathODataSvc.AddQueueItem";
    for (body, status) in [
        (r#"{"itemdata":{"name":"Invoices","specificcontent":{"anything":1e400,"cut":"\ud83d"}}}"#, 201),
        (r#"{"itemData":{"Name":"Invoices","DueDate@odata.type":"x"}}"#, 201),
        (r#"{"itemData":{"Name":"Invoices","Nam":1}}"#, 400),
        (r#"{"itemData":{"Name":"Invoices"},"more":{}}"#, 400),
    ] {
        let got = api.raw("POST", path, body).await;
        assert_eq!(got.status, status, "{body}: {}", got.text);
    }
}
