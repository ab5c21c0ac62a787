//! Storage buckets over HTTP: files at signed addresses, and what is refused.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{Api, ApiResponse};

const ODATA: &str = "UiPath.Server.Configuration.OData.";

async fn create(api: &Api, name: &str, options: &str) -> i64 {
    let made = api.post("/odata/Buckets", &json!({"Name": name, "Options": options})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    made.body["Id"].as_i64().unwrap()
}

/// The address of a file for reading or writing.
async fn address(api: &Api, bucket: i64, what: &str, query: &[(&str, &str)]) -> ApiResponse {
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    api.get(&format!("/odata/Buckets({bucket})/{ODATA}{what}?{query}")).await
}

async fn uri(api: &Api, bucket: i64, what: &str, path: &str) -> String {
    let got = address(api, bucket, what, &[("path", path)]).await;
    assert_eq!(got.status, 200, "{}", got.text);
    let verb = if what == "GetReadUri" { "GET" } else { "PUT" };
    assert_eq!((&got.body["Verb"], &got.body["RequiresAuth"]), (&json!(verb), &json!(false)));
    assert_eq!(got.body["Headers"], json!({"Keys": [], "Values": []}));
    got.body["Uri"].as_str().unwrap().to_owned()
}

/// A request without any token.
async fn send(
    api: &Api,
    method: &str,
    uri: &str,
    body: Vec<u8>,
) -> (u16, Vec<u8>, reqwest::header::HeaderMap) {
    let request = api.http.request(method.parse().unwrap(), uri).body(body);
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    (status, answer.bytes().await.unwrap().to_vec(), headers)
}

async fn put(api: &Api, bucket: i64, path: &str, content: &[u8]) {
    let uri = uri(api, bucket, "GetWriteUri", path).await;
    assert_eq!(send(api, "PUT", &uri, content.to_vec()).await.0, 201, "{path}");
}

fn names(got: &ApiResponse) -> Vec<String> {
    assert_eq!(got.status, 200, "{}", got.text);
    let rows = got.body["value"].as_array().unwrap();
    rows.iter().map(|row| row["FullPath"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn files_are_written_listed_read_and_deleted() {
    let api = Api::start().await;
    let bucket = create(&api, "Files", "None").await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    for (path, content) in [
        ("a.txt", &b"first"[..]),
        ("/reports/2026/b c.pdf", &large),
        ("reports/ü.csv", b""),
        ("reports/x.TXT", b"x"),
    ] {
        put(&api, bucket, path, content).await;
    }
    put(&api, bucket, "a.txt", b"second").await;
    let (status, read, headers) =
        send(&api, "GET", &uri(&api, bucket, "GetReadUri", "a.txt").await, vec![]).await;
    assert_eq!((status, read.as_slice()), (200, &b"second"[..]));
    assert_eq!(headers["content-type"], "text/plain");
    assert_eq!(headers["content-length"], "6");
    assert!(headers["content-disposition"].to_str().unwrap().starts_with("attachment;"));
    assert!(headers["content-security-policy"].to_str().unwrap().contains("sandbox"));
    let address = uri(&api, bucket, "GetReadUri", "reports/2026/b c.pdf").await;
    let (status, read, _) = send(&api, "GET", &address, vec![]).await;
    assert!(status == 200 && read == large, "a large file comes back as it was");
    let (status, read, headers) = send(&api, "HEAD", &address, vec![]).await;
    assert_eq!((status, read.len()), (200, 0));
    assert_eq!(headers["content-length"], "3000000");

    let list = async |action: &str| api.get(&format!("/odata/Buckets({bucket})/{ODATA}{action}")).await;
    assert_eq!(names(&list("GetFiles?directory=/").await), ["/a.txt"]);
    let all = ["/a.txt", "/reports/2026/b c.pdf", "/reports/x.TXT", "/reports/ü.csv"];
    assert_eq!(names(&list("GetFiles?recursive=true").await), all);
    assert_eq!(names(&list("GetFiles?directory=reports&recursive=true&$top=1&$skip=1").await), [all[2]]);
    assert_eq!(names(&list("GetFiles?recursive=true&fileNameGlob=*.txt").await), [all[0], all[2]]);
    assert_eq!(names(&list("GetFiles?recursive=true&$filter=Size gt 1000").await), [all[1]]);
    assert_eq!(names(&list("GetDirectories").await), ["/reports"]);
    assert_eq!(names(&list("GetDirectories?directory=/reports/").await), ["/reports/2026"]);
    let file = list("GetFile?path=/reports/x.TXT").await.body;
    assert_eq!(
        (&file["ContentType"], &file["Size"], &file["IsDirectory"]),
        (&json!("text/plain"), &json!(1), &json!(false))
    );

    // ListFiles, page by page.
    let (mut listed, mut token) = (Vec::new(), String::new());
    loop {
        let page = api
            .get(&format!(
                "/api/Buckets/{bucket}/ListFiles?takeHint=1&continuationToken={token}&expiryInMinutes=5"
            ))
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
        for item in page.body["items"].as_array().unwrap() {
            let uri = item["accessInfo"]["Uri"].as_str().unwrap();
            assert_eq!(send(&api, "GET", uri, vec![]).await.0, 200);
            listed.push(item["fullPath"].as_str().unwrap().to_owned());
        }
        match page.body["continuationToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(listed, all);
    let some = api.get(&format!("/api/Buckets/{bucket}/ListFiles?prefix=/reports/2")).await;
    assert_eq!(some.body["items"].as_array().unwrap().len(), 1, "{}", some.text);
    assert_eq!(some.body["items"][0]["accessInfo"], Value::Null);

    let deleted = async |path: &str| {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish();
        api.call("DELETE", &format!("/odata/Buckets({bucket})/{ODATA}DeleteFile?{query}"), &Value::Null).await
    };
    assert_eq!(deleted("a.txt").await.status, 204);
    for gone in [deleted("a.txt").await, list("GetFile?path=a.txt").await] {
        assert_eq!((gone.status, gone.code()), (404, 1002), "{}", gone.text);
    }
    assert_eq!(send(&api, "GET", &uri(&api, bucket, "GetReadUri", "a.txt").await, vec![]).await.0, 404);
    let gone = api.call("DELETE", &format!("/odata/Buckets({bucket})"), &Value::Null).await;
    assert_eq!(gone.status, 204);
    assert_eq!(send(&api, "GET", &address, vec![]).await.0, 404, "its addresses lead nowhere");
}

#[tokio::test]
async fn an_address_is_for_one_path_one_verb_and_a_while() {
    let api = Api::start().await;
    let bucket = create(&api, "Files", "None").await;
    let other = create(&api, "Other", "None").await;
    put(&api, bucket, "a.txt", b"a").await;
    put(&api, bucket, "b.txt", b"b").await;
    put(&api, other, "a.txt", b"other").await;
    let read = uri(&api, bucket, "GetReadUri", "a.txt").await;
    let write = uri(&api, bucket, "GetWriteUri", "a.txt").await;
    let expires: i64 = read.split("expires=").nth(1).unwrap().split('&').next().unwrap().parse().unwrap();
    for (method, forged) in [
        ("GET", read.replace("path=a.txt", "path=b.txt")),
        ("GET", read.replace(&format!("BucketFiles/{bucket}/"), &format!("BucketFiles/{other}/"))),
        ("GET", read.replace(&format!("expires={expires}"), &format!("expires={}", expires + 1))),
        ("GET", read.replace("folder=1", "folder=2")),
        ("PUT", read.replace("verb=GET", "verb=PUT")),
        ("GET", write.replace("verb=PUT", "verb=GET")),
        ("GET", read.replace("signature=", "signature=A")),
        ("GET", read.split("&signature").next().unwrap().to_owned()),
        ("GET", read.replace("path=a.txt", "path=x%2F..%2Fa.txt")),
        ("GET", read.split('?').next().unwrap().to_owned()),
    ] {
        assert!(forged != read && forged != write, "{forged}");
        let (status, body, _) = send(&api, method, &forged, b"forged".to_vec()).await;
        assert_eq!(status, 403, "{method} {forged}: {}", String::from_utf8_lossy(&body));
    }
    for (method, uri) in [("PUT", &read), ("DELETE", &read), ("POST", &write), ("GET", &write)] {
        assert_eq!(send(&api, method, uri, b"forged".to_vec()).await.0, 405, "{method}");
    }
    assert_eq!(send(&api, "GET", &read, vec![]).await.1, b"a", "nothing was changed");
    api.clock.advance(Duration::from_secs(30 * 60 - 1));
    assert_eq!(send(&api, "GET", &read, vec![]).await.0, 200);
    api.clock.advance(Duration::from_secs(1));
    for (method, uri) in [("GET", &read), ("PUT", &write)] {
        assert_eq!(send(&api, method, uri, b"late".to_vec()).await.0, 403, "expired");
    }
}

#[tokio::test]
async fn no_path_leads_out_of_a_bucket() {
    let api = Api::start().await;
    let bucket = create(&api, "Files", "None").await;
    for path in [
        "../x",
        "a/../../x",
        "//etc/passwd",
        "..\\x",
        "%2e%2e/x",
        "%2e%2e%2fx",
        "%252e%252e/x",
        "a\0",
        "C:\\x",
        "",
    ] {
        for what in ["GetReadUri", "GetWriteUri", "GetFile"] {
            let got = address(&api, bucket, what, &[("path", path)]).await;
            assert_eq!((got.status, got.code()), (400, 1009), "{what} {path:?}: {}", got.text);
        }
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("path", path).finish();
        let got = api
            .call("DELETE", &format!("/odata/Buckets({bucket})/{ODATA}DeleteFile?{query}"), &Value::Null)
            .await;
        assert_eq!((got.status, got.code()), (400, 1009), "{path:?}: {}", got.text);
        if !path.is_empty() {
            for (action, name) in [("GetFiles", "directory"), ("GetDirectories", "directory")] {
                let got = address(&api, bucket, action, &[(name, path)]).await;
                assert_eq!((got.status, got.code()), (400, 1009), "{action} {path:?}: {}", got.text);
            }
        }
    }
    for (action, query) in [
        ("GetReadUri", &[("path", "a"), ("expiryInMinutes", "0")][..]),
        ("GetReadUri", &[("path", "a"), ("expiryInMinutes", "10081")]),
        ("GetWriteUri", &[("path", "a"), ("expiryInMinutes", "x")]),
        ("GetFiles", &[("recursive", "maybe")]),
    ] {
        let got = address(&api, bucket, action, query).await;
        assert_eq!((got.status, got.code()), (400, 1009), "{action} {query:?}: {}", got.text);
    }
    for query in
        ["takeHint=0", "takeHint=1001", "continuationToken=%21", "prefix=../", "continuationToken=Li4veA"]
    {
        let got = api.get(&format!("/api/Buckets/{bucket}/ListFiles?{query}")).await;
        assert_eq!((got.status, got.code()), (400, 1009), "{query}: {}", got.text);
    }
    assert_eq!(address(&api, bucket, "GetReadUri", &[]).await.code(), 1014, "path is required");
}

#[tokio::test]
async fn what_a_bucket_says_of_itself_holds_for_its_files() {
    let api = Api::start_as(|server| server.largest_file(1_000)).await;
    let bucket = create(&api, "Files", "None").await;
    let write = uri(&api, bucket, "GetWriteUri", "a/b.txt").await;
    assert_eq!(send(&api, "PUT", &write, vec![0; 1_001]).await.0, 413);
    assert_eq!(send(&api, "PUT", &write, vec![0; 1_000]).await.0, 201);
    let edit = json!({"Name": "files", "Description": "d", "Options": "ReadOnly"});
    let edited = api.call("PUT", &format!("/odata/Buckets({bucket})"), &edit).await;
    assert_eq!((edited.status, &edited.body["Options"]), (200, &json!("ReadOnly")), "{}", edited.text);
    assert_eq!(send(&api, "PUT", &write, b"x".to_vec()).await.0, 403, "an address from before does not help");
    assert_eq!(address(&api, bucket, "GetWriteUri", &[("path", "x")]).await.code(), 1017);
    let path = format!("/odata/Buckets({bucket})/{ODATA}DeleteFile?path=a/b.txt");
    assert_eq!(api.call("DELETE", &path, &Value::Null).await.code(), 1017);
    let read = send(&api, "GET", &uri(&api, bucket, "GetReadUri", "a/b.txt").await, vec![]).await;
    assert_eq!((read.0, read.1.len()), (200, 1_000));

    let audited = create(&api, "Audited", "AuditReadAccess").await;
    put(&api, audited, "a.txt", b"a").await;
    uri(&api, audited, "GetReadUri", "a.txt").await;
    let listed = api.get(&format!("/api/Buckets/{audited}/ListFiles?expiryInMinutes=5")).await;
    assert_eq!(listed.body["items"][0]["accessInfo"], Value::Null, "who reads asks for it");
    let acts = api.get("/odata/AuditLogs?$orderby=Id desc&$top=1").await;
    assert!(acts.text.contains("BucketFileRead") || acts.text.contains("Audited"), "{}", acts.text);
    for (body, status, code) in [
        (json!({"Name": "FILES"}), 409, 1001),
        (json!({"Name": ""}), 400, 1009),
        (json!({"Name": "x".repeat(129)}), 400, 1015),
        (json!({"Name": "x", "Identifier": "y"}), 400, 1009),
        (json!({"Name": "x", "StorageProvider": "Amazon"}), 400, 1009),
        (json!({"Description": "x"}), 400, 1014),
    ] {
        let got = api.post("/odata/Buckets", &body).await;
        assert_eq!((got.status, got.code()), (status, code), "{body}: {}", got.text);
    }
    let found = api.get("/odata/Buckets?$filter=Name eq 'Audited'").await.body;
    let by_key = &found["value"][0]["Identifier"];
    let path = format!("/odata/Buckets/{ODATA}GetByKey(identifier={by_key})").replace('"', "'");
    assert_eq!(api.get(&path).await.body["Name"], "Audited");
}
