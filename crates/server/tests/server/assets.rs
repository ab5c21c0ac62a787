//! Assets over HTTP: what plain reads show, what a robot reads, who may, and the documented codes.

use std::collections::BTreeMap;

use performer::model::{AssetValue, ErrorCode, ManualClock, NewValue, ValueOf};
use performer::orchestrator::store::Store;
use performer::orchestrator::{AssetAdministration as _, Orchestrator as _};
use performer::secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use performer_proofs::test_server::{CLIENT, SECRET};

use crate::{Api, ApiResponse};

const ODATA: &str = "/odata/Assets/UiPath.Server.Configuration.OData.";

async fn create(api: &Api, body: &Value) -> i64 {
    let made = api.post("/odata/Assets", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.body["Id"].as_i64().unwrap();
    assert!(made.headers["location"].to_str().unwrap().ends_with(&format!("/odata/Assets({id})")));
    id
}

fn credential(name: &str) -> Value {
    json!({"Name": name, "ValueScope": "Global", "ValueType": "Credential", "CredentialUsername": "ann",
        "CredentialPassword": "hunter2"})
}

/// Adds a robot for the first application. Returns its key and its number.
async fn robot(api: &Api) -> (String, i64) {
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body;
    let key = api.served.access_admin.add_robot("R", me["UserName"].as_str().unwrap()).await.unwrap();
    api.login(CLIENT, SECRET, None).await.unwrap(); // refreshes the directory of the server
    let id = api.get("/odata/Robots").await.body["value"][0]["Id"].as_i64().unwrap();
    (key.to_string(), id)
}

async fn of_robot(api: &Api, key: &str, name: &str) -> ApiResponse {
    let ask = json!({"robotKey": key, "assetName": name, "supportsCredentialsProxyDisconnected": true});
    api.post(&format!("{ODATA}GetRobotAssetByNameForRobotKey"), &ask).await
}

#[tokio::test]
async fn plain_reads_never_show_secrets_and_robots_read_them() {
    let api = Api::start().await;
    let (key, robot) = robot(&api).await;
    let sap = create(&api, &credential("SAP")).await;
    let secret =
        json!({"Name": "Token", "ValueScope": "Global", "ValueType": "Secret", "SecretValue": "hunter3"});
    create(&api, &secret).await;
    for path in [
        "/odata/Assets".to_owned(),
        format!("{ODATA}GetFiltered?$expand=UserValues&$orderby=Name"),
        format!("{ODATA}GetAssetsAcrossFolders"),
        format!("/odata/Assets({sap})?$expand=UserValues"),
        "/odata/Assets?$filter=CredentialPassword eq 'hunter2'".to_owned(),
    ] {
        let got = api.get(&path).await;
        assert_eq!(got.status, 200, "{path}: {}", got.text);
        assert!(!got.text.contains("hunter"), "{path}: {}", got.text);
    }
    let by_password = api.get("/odata/Assets?$filter=contains(CredentialPassword,'h')&$count=true").await;
    assert_eq!(by_password.body["@odata.count"], 0, "a filter does not tell it either");
    let read = of_robot(&api, &key, "sap").await;
    assert_eq!(read.status, 200, "{}", read.text);
    assert_eq!(
        (&read.body["CredentialUsername"], &read.body["CredentialPassword"]),
        (&json!("ann"), &json!("hunter2"))
    );
    assert_eq!(
        (&read.body["Name"], &read.body["ValueType"], &read.body["Id"]),
        (&json!("SAP"), &json!("Credential"), &json!(sap))
    );
    let in_path = api.get(&format!("{ODATA}GetRobotAsset(robotId='{key}',assetName='Token')")).await;
    assert_eq!(in_path.body["SecretValue"], "hunter3", "{}", in_path.text);
    let by_id = api
        .get(&format!("{ODATA}GetRobotAssetByRobotId(robotId={robot},assetName='SAP')?$select=Name"))
        .await;
    assert_eq!(by_id.body["Name"], "SAP", "{}", by_id.text);
    assert!(by_id.body["CredentialPassword"].is_null());
}

#[tokio::test]
async fn only_its_own_user_may_show_the_key_of_a_robot() {
    let api = Api::start().await;
    let (key, robot) = robot(&api).await;
    create(&api, &credential("SAP")).await;
    let other = api.application_token("other", "OrchestratorApiUserAccess", &["Administrator"], &[]).await;
    let ask = json!({"robotKey": key, "assetName": "SAP"});
    let set = json!({"robotKey": key, "robotAsset": {"Name": "SAP", "CredentialUsername": "x", "CredentialPassword": "y"}});
    for (method, path, body) in [
        ("POST", format!("{ODATA}GetRobotAssetByNameForRobotKey"), ask),
        ("POST", format!("{ODATA}SetRobotAssetByRobotKey"), set),
        ("GET", format!("{ODATA}GetRobotAsset(robotId='{key}',assetName='SAP')"), Value::Null),
        ("GET", format!("{ODATA}GetRobotAssetByRobotId(robotId={robot},assetName='SAP')"), Value::Null),
    ] {
        let got = api.call_as(&other, Some("Shared"), method, &path, &body).await;
        assert_eq!((got.status, got.code()), (409, 1302), "{path}: {}", got.text);
        assert_eq!(got.body["message"], "The provided robot is not configured for the current user.");
        assert!(!got.text.contains("hunter2"));
    }
    assert_eq!(of_robot(&api, &key, "SAP").await.body["CredentialUsername"], "ann");
}

#[tokio::test]
async fn refusals_have_the_documented_codes() {
    let api = Api::start().await;
    let (key, _) = robot(&api).await;
    let id = create(&api, &credential("SAP")).await;
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body["Id"].clone();
    let per_robot = |values: Value| {
        json!({"Name": "P", "ValueScope": "PerRobot", "ValueType": "Credential", "HasDefaultValue": false,
            "UserValues": values["u"], "RobotValues": values["r"]})
    };
    let (assets, sap) = ("/odata/Assets".to_owned(), format!("/odata/Assets({id})"));
    let mut of_other_type = credential("SAP");
    of_other_type["ValueType"] = json!("Text");
    let mut long = credential("x");
    long["Name"] = json!("x".repeat(257));
    for (method, path, body, expected) in [
        ("POST", &assets, credential("sap"), (409, 1001)),
        ("POST", &assets, json!({"ValueScope": "Global"}), (400, 1000)),
        ("POST", &assets, json!({"Name": "x", "ValueScope": "Global"}), (400, 1014)),
        ("POST", &assets, long, (400, 1015)),
        (
            "POST",
            &assets,
            json!({"Name": "x", "ValueScope": "Global", "ValueType": "DBConnectionString"}),
            (400, 1009),
        ),
        (
            "POST",
            &assets,
            json!({"Name": "x", "ValueScope": "Global", "ValueType": "Credential", "CredentialUsername": "u"}),
            (400, 1014),
        ),
        ("POST", &assets, per_robot(json!({"u": [{"UserId": me, "CredentialUsername": "u"}]})), (400, 1500)),
        ("POST", &assets, per_robot(json!({"r": [{"RobotId": 1, "CredentialUsername": "u"}]})), (404, 1002)),
        ("POST", &assets, per_robot(json!({"u": [{"UserId": 999, "CredentialUsername": "u"}]})), (404, 1002)),
        ("PUT", &sap, of_other_type, (400, 1502)),
        ("PUT", &"/odata/Assets(999)".to_owned(), credential("x"), (404, 1002)),
        ("GET", &"/odata/Assets(999)".to_owned(), Value::Null, (404, 1002)),
        ("DELETE", &"/odata/Assets(999)".to_owned(), Value::Null, (404, 1002)),
        ("GET", &format!("{ODATA}GetFoldersForAsset(id=999)"), Value::Null, (404, 1002)),
        ("GET", &format!("{ODATA}GetRobotAsset(robotId='x',assetName='SAP')"), Value::Null, (400, 1009)),
        (
            "GET",
            &format!("{ODATA}GetRobotAssetByRobotId(robotId=999,assetName='SAP')"),
            Value::Null,
            (404, 1002),
        ),
        ("GET", &format!("{ODATA}GetRobotAssetByRobotId(robotId=999)"), Value::Null, (400, 1014)),
    ] {
        let got = api.call(method, path, &body).await;
        assert_eq!((got.status, got.code()), expected, "{method} {path} {body}: {}", got.text);
        assert!(got.is_api_error() && !got.text.contains("hunter2"), "{}", got.text);
    }
    let unknown = of_robot(&api, "b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11", "SAP").await;
    assert_eq!(
        (unknown.status, unknown.code(), &unknown.body["message"]),
        (404, 1002, &json!("Robot does not exist."))
    );
    let missing = of_robot(&api, &key, "Nope").await;
    assert_eq!((missing.status, missing.code()), (404, 1504), "{}", missing.text);
    let of_somebody = json!({"Name": "Somebody's", "ValueScope": "PerRobot", "ValueType": "Text", "HasDefaultValue": false});
    create(&api, &of_somebody).await;
    let none = of_robot(&api, &key, "Somebody's").await;
    assert_eq!((none.status, none.code()), (404, 1503));
    assert_eq!(none.body["message"], "The asset does not have a value associated with this robot.");
}

#[tokio::test]
async fn values_of_users_robots_and_machines_are_kept_and_the_most_special_counts() {
    let api = Api::start().await;
    let (key, robot) = robot(&api).await;
    let me = api.get("/odata/Users/UiPathODataSvc.GetCurrentUser").await.body;
    let user = &me["Id"];
    let id = create(&api, &json!({"Name": "Address", "ValueScope": "PerRobot", "ValueType": "Text", "StringValue": "default",
        "UserValues": [{"UserId": user, "StringValue": "mine"}, {"UserId": user, "MachineId": 3, "StringValue": "there"},
            {"MachineId": 4, "StringValue": "machine"}],
        "RobotValues": [{"RobotId": robot, "StringValue": "robot"}]})).await;
    let got = api.get(&format!("/odata/Assets({id})")).await.body;
    assert_eq!(
        (&got["HasDefaultValue"], &got["StringValue"], &got["Value"]),
        (&json!(true), &json!("default"), &json!("default"))
    );
    let shown: BTreeMap<String, String> = got["UserValues"]
        .as_array()
        .unwrap()
        .iter()
        .chain(got["RobotValues"].as_array().unwrap())
        .map(|value| {
            (
                format!("{} {} {}", value["UserId"], value["MachineId"], value["RobotId"]),
                value["StringValue"].as_str().unwrap().to_owned(),
            )
        })
        .collect();
    assert_eq!(shown.len(), 4, "{got}");
    assert_eq!(
        got["UserValues"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|value| value["UserName"] == me["UserName"])
            .count(),
        2
    );
    let read = async || of_robot(&api, &key, "Address").await.body["StringValue"].clone();
    assert_eq!(read().await, "mine");
    // What was read may be sent back, and then changed.
    let path = format!("/odata/Assets({id})");
    assert_eq!(api.call("PUT", &path, &got).await.status, 200);
    assert_eq!(api.get(&path).await.body["UserValues"], got["UserValues"]);
    let mut fewer = got.clone();
    fewer["UserValues"] = json!([]);
    assert_eq!(api.call("PUT", &path, &fewer).await.status, 200);
    assert_eq!(read().await, "robot");
    fewer["RobotValues"] = Value::Null;
    assert_eq!(api.call("PUT", &path, &fewer).await.status, 200);
    assert_eq!(read().await, "default");
    // A robot's own value is its user's.
    let set = json!({"robotKey": key, "robotAsset": {"Name": "address", "ValueType": "Text", "StringValue": "set", "BoolValue": false}});
    let set = api.post(&format!("{ODATA}SetRobotAssetByRobotKey"), &set).await;
    assert_eq!((set.status, set.text.as_str()), (204, ""));
    assert_eq!(read().await, "set");
    let got = api.get(&path).await.body;
    assert_eq!((&got["UserValues"][0]["UserId"], &got["StringValue"]), (user, &json!("default")));
}

#[tokio::test]
async fn an_edit_keeps_the_password_that_it_does_not_name() {
    let api = Api::start().await;
    let (key, _) = robot(&api).await;
    let id = create(&api, &credential("SAP")).await;
    let mut edit = api.get(&format!("/odata/Assets({id})")).await.body;
    assert_eq!(edit["CredentialPassword"], "");
    edit["CredentialUsername"] = json!("bob");
    assert_eq!(api.call("PUT", &format!("/odata/Assets({id})"), &edit).await.status, 200);
    let read = of_robot(&api, &key, "SAP").await.body;
    assert_eq!(
        (&read["CredentialUsername"], &read["CredentialPassword"]),
        (&json!("bob"), &json!("hunter2"))
    );
    let set = json!({"robotKey": key, "robotAsset": {"Name": "SAP", "CredentialUsername": "bob", "CredentialPassword": "new"}});
    assert_eq!(api.post(&format!("{ODATA}SetRobotAssetByRobotKey"), &set).await.status, 204);
    assert_eq!(of_robot(&api, &key, "SAP").await.body["CredentialPassword"], "new");
    let wrong =
        json!({"robotKey": key, "robotAsset": {"Name": "SAP", "ValueType": "Text", "StringValue": "x"}});
    let wrong = api.post(&format!("{ODATA}SetRobotAssetByRobotKey"), &wrong).await;
    assert_eq!((wrong.status, wrong.code()), (400, 1502), "{}", wrong.text);
}

#[tokio::test]
async fn assets_are_shared_with_folders_where_the_caller_may() {
    let api = Api::start().await;
    let finance = api.post("/odata/Folders", &json!({"DisplayName": "Finance"})).await.body["Id"].clone();
    let id = create(&api, &credential("SAP")).await;
    let in_finance =
        api.application_token("f", "OrchestratorApiUserAccess", &["Administrator"], &["Finance"]).await;
    let path = format!("/odata/Assets({id})");
    let of_finance = async |method: &str, path: &str, body: &Value| {
        api.call_as(&in_finance, Some("Finance"), method, path, body).await
    };
    assert_eq!(of_finance("GET", &path, &Value::Null).await.code(), 1002, "not in this folder");
    let share = |add: &[&Value], remove: &[&Value]| json!({"AssetIds": [id], "ToAddFolderIds": add, "ToRemoveFolderIds": remove});
    let share_path = format!("{ODATA}ShareToFolders");
    let not_seen = of_finance("POST", &share_path, &share(&[&finance], &[])).await;
    assert_eq!((not_seen.status, not_seen.code()), (404, 1002), "an asset where it may do nothing");
    assert_eq!(api.post(&share_path, &share(&[&finance], &[])).await.status, 204);
    assert_eq!(of_finance("GET", &path, &Value::Null).await.body["FoldersCount"], 2);
    let folders = api.get(&format!("{ODATA}GetFoldersForAsset(id={id})")).await.body;
    assert_eq!(
        (folders["TotalFoldersCount"].clone(), folders["AccessibleFolders"].as_array().unwrap().len()),
        (json!(2), 2)
    );
    let folders = of_finance("GET", &format!("{ODATA}GetFoldersForAsset(id={id})"), &Value::Null).await.body;
    assert_eq!(
        (folders["TotalFoldersCount"].clone(), folders["AccessibleFolders"].as_array().unwrap().len()),
        (json!(2), 1)
    );
    for (method, body) in [("PUT", credential("SAP")), ("DELETE", Value::Null)] {
        let refused = of_finance(method, &path, &body).await;
        assert_eq!((refused.status, refused.code()), (403, 1017), "it is in Shared, too: {}", refused.text);
    }
    let nowhere = of_finance("POST", &share_path, &share(&[], &[&json!(1)])).await;
    assert_eq!((nowhere.status, nowhere.code()), (403, 1100));
    let last = api.post(&share_path, &share(&[], &[&json!(1), &finance])).await;
    assert_eq!((last.status, last.code()), (400, 1009));
    let occupied = api.call("DELETE", &format!("/odata/Folders({finance})"), &Value::Null).await;
    assert_eq!((occupied.status, occupied.code()), (409, 1012), "{}", occupied.text);
    assert_eq!(api.post(&share_path, &share(&[], &[&finance])).await.status, 204);
    let own = of_finance("POST", "/odata/Assets", &credential("SAP")).await;
    assert_eq!(own.status, 201);
    let taken = api.post(&share_path, &share(&[&finance], &[])).await;
    assert_eq!((taken.status, taken.code()), (409, 1004), "{}", taken.text);
    let across = api.get(&format!("{ODATA}GetAssetsAcrossFolders?$count=true")).await.body;
    assert_eq!(across["@odata.count"], 2);
    let except = api.get(&format!("{ODATA}GetAssetsAcrossFolders?excludeFolderId=1&$count=true")).await.body;
    assert_eq!(except["@odata.count"], 1);
}

#[tokio::test]
async fn members_are_read_in_any_case() {
    let api = Api::start().await;
    let body = json!({"name": "Limits", "valuescope": "perrobot", "VALUETYPE": "keyvaluelist", "hasDefaultValue": true,
        "keyValueList": [{"Key": "a", "Value": "1"}, {"Key": "B", "Value": "2"}]});
    let id = create(&api, &body).await;
    let got = api.get(&format!("/odata/Assets({id})")).await.body;
    assert_eq!(got["KeyValueList"], json!([{"Key": "a", "Value": "1"}, {"Key": "B", "Value": "2"}]));
    assert_eq!(got["ValueScope"], "PerRobot");
}

/// The client of a performer: with the key of a robot as an Orchestrator wants it, and without one on this server.
#[tokio::test]
async fn a_performer_reads_assets_over_http() {
    let api = Api::start().await;
    create(&api, &credential("SAP")).await;
    create(
        &api,
        &json!({"Name": "Threshold", "ValueScope": "Global", "ValueType": "Integer", "IntValue": 5}),
    )
    .await;
    let connect = async |key: Option<&str>| {
        let client = api.served.client();
        key.into_iter().fold(client, |client, key| client.robot_key(key)).connect().await.unwrap()
    };
    let client = connect(None).await;
    assert_eq!(client.read_asset("threshold").await.unwrap().value, AssetValue::Integer(5));
    let refused = client.read_asset("SAP").await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::UNAVAILABLE_RESOURCES), "it has no robot: {refused}");
    let (key, robot) = robot(&api).await;
    for client in [connect(None).await, connect(Some(&key)).await] {
        let sap = client.read_asset("SAP").await.unwrap();
        assert_eq!(sap.value, AssetValue::Credential { user_name: "ann".to_owned() });
        assert_eq!(sap.secret.unwrap().expose_secret(), "hunter2");
        assert_eq!(client.read_asset("Nope").await.unwrap_err().code(), Some(ErrorCode::ASSET_NOT_FOUND));
        let of = |of| NewValue::credential(of, "robot", Some("of the robot".into()));
        client.set_asset_value("SAP", of(ValueOf::Robot(robot))).await.unwrap();
        assert_eq!(client.read_asset("sap").await.unwrap().secret.unwrap().expose_secret(), "of the robot");
        client.remove_asset_value("SAP", ValueOf::Robot(robot)).await.unwrap();
    }
    let unknown =
        connect(Some("b66c1df3-3c8e-4f3c-9d0e-3f6f6b0f5a11")).await.read_asset("SAP").await.unwrap_err();
    assert!(unknown.is_not_found(), "{unknown}");
}

/// The key of another store, and none: what is secret is refused with a code, and the rest goes on.
#[tokio::test]
async fn a_secret_without_its_key_is_an_error_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let clock = std::sync::Arc::new(ManualClock::new(crate::start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("a.db"), clock.clone()).await.unwrap();
    let api = Api::over(store, clock, |server| server).await;
    let (robot, _) = robot(&api).await;
    create(&api, &credential("SAP")).await;
    create(&api, &json!({"Name": "Plain", "ValueScope": "Global", "ValueType": "Text", "StringValue": "x"}))
        .await;
    let key = folder.path().join("a.db.key");
    std::fs::write(&key, format!("{:064x}", 1)).unwrap();
    // The server has the right key in memory: another one has not.
    let clock = std::sync::Arc::new(ManualClock::new(crate::start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("a.db"), clock.clone()).await.unwrap();
    let other = Api::over(store, clock, |server| server).await;
    let refused = of_robot(&other, &robot, "SAP").await;
    assert_eq!((refused.status, refused.code()), (500, 1800), "{}", refused.text);
    assert!(!refused.text.contains("a.db") && !refused.text.contains("hunter2"), "{}", refused.text);
    assert_eq!(of_robot(&other, &robot, "Plain").await.body["StringValue"], "x");
    assert_eq!(other.get("/odata/Assets?$count=true").await.body["@odata.count"], 2);
    assert_eq!(of_robot(&api, &robot, "SAP").await.body["CredentialPassword"], "hunter2");
}
