//! Each page with the rows of data that were made through the API.

use performer::model::Clock as _;
use serde_json::{Value, json};

use crate::{Desk, failed};

#[tokio::test]
async fn each_page_shows_what_the_api_made() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let (queue, job) = (format!("/desk/queues/{}", work.queue), format!("/desk/jobs/{}", work.job));
    let item = format!("/desk/items/{}", work.successful);
    for (path, texts) in [
        (
            "/desk",
            &[
                "Failures to be settled",
                "Invoices",
                "the total",
                "New reasons",
                "data-live=\"*.New\">1</b> New",
                "attempts ended within a day",
            ][..],
        ),
        ("/desk/queues", &["<bdi>Invoices</bdi>", "<bdi>Shared</bdi>", "queue=Invoices"]),
        (
            &queue,
            &["<svg", "The figures", "No cause was found", "Most automatic retries", "Backlog within a day"],
        ),
        ("/desk/items", &["INV-1", "INV-2", "INV-3", "the total 99 is wrong", "Business", "Application"]),
        (
            &item,
            &["Item", "Document", "4711", "added as a retry of", "claimed", "ended with success", "17.5"],
        ),
        ("/desk/reasons", &["the total", "server"]),
        (
            "/desk/review",
            &["INV-2", "the total 99 is wrong", "Verified", "Retry", "Items to be settled here: <b>1</b>"],
        ),
        ("/desk/jobs", &["host-of-robots", "<bdi>Invoices</bdi>", "30 s left", "Running"]),
        (&job, &["host-of-robots", "4242", "1.2.3", &work.job, "Invoices"]),
        ("/desk/health", &["Store", "answered within", env!("CARGO_PKG_VERSION")]),
    ] {
        let page = desk.get(&cookie, path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.text);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        page.assert_has(texts);
    }
}

/// One item is done within ten minutes, which is the pace; of two that are due within five minutes both are late.
#[tokio::test]
async fn deadlines_are_held_against_the_pace() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.get(&cookie, "/desk/deadlines").await.assert_has(&["There is no queue in this folder yet"]);
    desk.api("POST", "/odata/QueueDefinitions", &json!({"Name": "Invoices"})).await;
    desk.get(&cookie, "/desk/deadlines")
        .await
        .assert_has(&["No item that could be handed out now has a due date"]);
    let due = desk.clock.now().checked_add(jiff::SignedDuration::from_mins(15)).unwrap();
    for reference in ["INV-1", "INV-2", "INV-3"] {
        let item = json!({"itemData": {"Name": "Invoices", "Reference": reference, "DueDate": due.to_string(), "SpecificContent": {}}});
        desk.api("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
    }
    let page = desk.get(&cookie, "/desk/deadlines").await;
    page.assert_has(&["At risk", "There is no pace to go by: nothing has ended within 15 minutes."]);
    desk.process(&json!({"IsSuccessful": true})).await;
    desk.clock.advance(std::time::Duration::from_secs(10 * 60));
    desk.add("INV-4", &json!({})).await; // figures are written with a commit
    let page = desk.get(&cookie, "/desk/deadlines").await;
    page.assert_has(&[
        "<dt>Will be late</dt><dd><b>2</b>",
        "0.1 a minute with 1 robot",
        "more robots would do them in time",
    ]);
}

#[tokio::test]
async fn attempts_are_compared() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let path = format!("/desk/items/{}?diff={}", work.successful, work.retried);
    let page = desk.get(&cookie, &path).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let title = format!("Attempt {} and attempt {}", work.retried, work.successful);
    page.assert_has(&[&title, "Output: <bdi>Document</bdi>", "<i>not there</i>", "server 17 is down"]);
    let other = desk.get(&cookie, &format!("/desk/items/{}?diff={}", work.successful, work.failed)).await;
    assert_eq!(other.status, 404, "an item of another chain");
}

#[tokio::test]
async fn lists_are_filtered_and_unknown_filters_are_named() {
    let desk = Desk::start().await;
    let (_, cookie) = (desk.work().await, desk.sign_in().await);
    for (filter, references) in [
        ("", &["INV-1", "INV-2", "INV-3"][..]),
        ("status=New", &["INV-3"]),
        ("status=Successful,Failed&sort=ref", &["INV-1", "INV-2"]),
        ("ref=INV-2", &["INV-2"]),
        ("ref=INV-*&type=Business", &["INV-2"]),
        ("queue=invoices&status=Retried", &["INV-1"]),
        ("ended=24h", &["INV-1", "INV-2"]),
        ("status=&ref=", &["INV-1", "INV-2", "INV-3"]),
    ] {
        let page = desk.get(&cookie, &format!("/desk/items?{filter}")).await;
        assert_eq!(page.status, 200, "{filter}: {}", page.text);
        for reference in ["INV-1", "INV-2", "INV-3"] {
            let is_shown = page.text.contains(&format!(
                "<td data-label=\"Reference\" class=\"of-reference\"><bdi>{reference}</bdi></td>"
            ));
            assert_eq!(is_shown, references.contains(&reference), "{filter}: {reference}");
        }
    }
    for (filter, status, named) in [
        ("colour=red", 400, "There is no filter &#34;colour&#34;"),
        ("status=Broken", 400, "Broken"),
        ("ended=soon", 400, "soon"),
        ("after=x", 400, "x"),
        ("folder=x", 400, "folder"),
        ("folder=999999", 403, "Transactions.View"),
        ("queue=Invoices,Nowhere", 404, "Nowhere"),
    ] {
        for path in ["/desk/items", "/desk/items.csv", "/desk/items.json"] {
            let page = desk.get(&cookie, &format!("{path}?{filter}")).await;
            assert_eq!(page.status, status, "{path}?{filter}: {}", page.text);
            page.assert_has(&[named]);
        }
    }
    for path in [
        "/desk/items/999999",
        "/desk/items/x",
        "/desk/queues/999999",
        "/desk/reasons/999999",
        "/desk/nowhere",
    ] {
        assert_eq!(desk.get(&cookie, path).await.status, 404, "{path}");
    }
}

/// Each item is on one page, also if items are added between two pages.
#[tokio::test]
async fn pages_of_a_list_follow_each_other() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.api("POST", "/odata/QueueDefinitions", &json!({"Name": "Invoices"})).await;
    for number in 0..120 {
        desk.add(&format!("R-{number}"), &json!({})).await;
    }
    let (mut seen, mut path) = (Vec::new(), Some("/desk/items?queue=Invoices".to_owned()));
    while let Some(address) = path {
        let page = desk.get(&cookie, &address).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let cells = page.text.split("<td data-label=\"Reference\" class=\"of-reference\"><bdi>").skip(1);
        seen.extend(cells.map(|cell| cell.split('<').next().unwrap().to_owned()));
        path = page.text.find("rel=\"next\"").map(|at| {
            let tag = &page.text[page.text[..at].rfind("<a ").unwrap()..];
            tag.split('"').nth(1).unwrap().replace("&#38;", "&")
        });
        desk.add("later", &json!({})).await;
    }
    let expected: Vec<String> = (0..120).rev().map(|number| format!("R-{number}")).collect();
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn lists_are_exported() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let csv = desk.get(&cookie, "/desk/items.csv?status=Failed").await;
    assert_eq!((csv.status, csv.header("content-type")), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"items.csv\"");
    let lines: Vec<&str> = csv.text.lines().collect();
    assert_eq!(lines.len(), 2, "{}", csv.text);
    let cell = |name: &str| {
        let at = lines[0]
            .split(',')
            .position(|column| column == name)
            .unwrap_or_else(|| panic!("{name}: {}", lines[0]));
        lines[1].split(',').nth(at).unwrap()
    };
    let (id, reason) = (work.failed.to_string(), "the total 99 is wrong");
    for (name, value) in [
        ("Reference", "INV-2"),
        ("content.Total", "1"),
        ("Item.Id", &*id),
        ("Item.Status", "Failed"),
        ("Item.ExceptionReason", reason),
    ] {
        assert_eq!(cell(name), value, "{name}");
    }
    let json = desk.get(&cookie, "/desk/items.json").await;
    let json: Value = serde_json::from_str(&json.text).unwrap();
    assert_eq!((json["value"].as_array().unwrap().len(), &json["next"]), (4, &Value::Null));
    let item = desk.get(&cookie, &format!("/desk/items/{}/json", work.failed)).await;
    assert_eq!(item.header("content-type"), "application/json; charset=utf-8");
    assert!(serde_json::from_str::<Value>(&item.text).unwrap().is_object());
}

/// A file is opened in a spreadsheet program, which must run no cell.
#[tokio::test]
async fn a_spreadsheet_runs_no_cell() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.api("POST", "/odata/QueueDefinitions", &json!({"Name": "Invoices"})).await;
    desk.add("@SUM(A1)", &json!({"Formula": "=HYPERLINK(\"x\")", "Negative": -1})).await;
    let csv = desk.get(&cookie, "/desk/items.csv").await;
    csv.assert_has(&["'@SUM(A1)", "\"'=HYPERLINK(\"\"x\"\")\"", ",-1,"]);
}

/// The inbox shows one failure after the other, each once.
#[tokio::test]
async fn the_inbox_goes_through_all_failures() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.api("POST", "/odata/QueueDefinitions", &json!({"Name": "Invoices"})).await;
    let mut failures = Vec::new();
    for number in 0..4 {
        failures.push(desk.fail(&format!("F-{number}"), "wrong").await);
    }
    let (mut seen, mut path) = (Vec::new(), "/desk/review".to_owned());
    loop {
        let page = desk.get(&cookie, &path).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let Some(at) = page.text.find("data-open>Item ") else {
            page.assert_has(&["This was the last one"]);
            break;
        };
        seen.push(page.text[at..].split([' ', '<']).nth(1).unwrap().parse::<i64>().unwrap());
        let at = page.text.find("data-key=\"n\"").unwrap();
        let tag = &page.text[page.text[..at].rfind("<a ").unwrap()..];
        path = tag.split("href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&#38;", "&");
    }
    seen.sort_unstable();
    assert_eq!(seen, failures);
}

/// Whatever an item brings is shown as a text.
#[tokio::test]
async fn content_is_never_part_of_the_page() {
    const EVIL: &str = "\"'><script>alert(1)</script><img onerror=x>";
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    let queue = json!({"Name": EVIL, "Description": EVIL});
    let queue = desk.api("POST", "/odata/QueueDefinitions", &queue).await["Id"].as_i64().unwrap();
    let content = json!({ "field<script>": EVIL, "<script>alert(3)</script>": "a\u{202e}b" });
    let item = json!({"itemData": {"Name": EVIL, "Reference": EVIL, "SpecificContent": content}});
    let item = desk.api("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await["Id"].clone();
    let edit = desk.get(&cookie, &format!("/desk/items/{item}/edit")).await;
    let take = json!({"transactionData": {"Name": EVIL}});
    desk.api("POST", "/odata/Queues/UiPathODataSvc.StartTransaction", &take).await;
    let result = json!({ "transactionResult": failed("BusinessException", EVIL) });
    desk.api("POST", &format!("/odata/Queues({item})/UiPathODataSvc.SetTransactionResult"), &result).await;
    let job = json!({"queue": EVIL, "machine": EVIL, "processId": 1, "version": EVIL, "robots": 1, "lease": 30_000});
    let job = desk.api("POST", "/api/Performer/StartJob", &job).await;
    let comment = [("comment", EVIL)];
    assert_eq!(desk.post(&cookie, &format!("/desk/items/{item}/comments"), &comment).await.status, 303);
    // A field that is edited has its text as it is.
    edit.assert_has(&["a\u{202e}b", "&#60;script&#62;alert(3)"]);
    crate::crawl::assert_nothing_inline(&edit.text);
    let mut pages = Vec::new();
    for path in [
        "/desk",
        "/desk/queues",
        "/desk/items",
        "/desk/reasons",
        "/desk/reasons/1",
        "/desk/review",
        "/desk/jobs",
        &format!("/desk/queues/{queue}"),
        &format!("/desk/items/{item}"),
        &format!("/desk/jobs/{}", job["job"].as_str().unwrap()),
        &format!("/desk/items?ref={}", form_urlencoded::byte_serialize(EVIL.as_bytes()).collect::<String>()),
        &format!("/desk/items?x={}", form_urlencoded::byte_serialize(EVIL.as_bytes()).collect::<String>()),
        &format!("/desk/login?next={}", form_urlencoded::byte_serialize(EVIL.as_bytes()).collect::<String>()),
    ] {
        pages.push(desk.get(&cookie, path).await);
    }
    let mut shown = 0;
    for page in pages {
        crate::crawl::assert_nothing_inline(&page.text);
        assert!(!page.text.contains("<img") && !page.text.contains("\u{202e}"), "{}", page.text);
        shown += usize::from(page.text.contains("alert(1)"));
    }
    assert!(shown >= 11, "the text is shown on {shown} pages");
}
