//! What people do: forms, where they may come from, and what is refused.

use performer::server::DeskMode;
use serde_json::json;

use crate::{Desk, Work};

/// The item and row version that a page has for its forms.
async fn version_on_page(desk: &Desk, cookie: &str, item: i64) -> String {
    let page = desk.get(cookie, &format!("/desk/items/{item}")).await;
    assert_eq!(page.status, 200, "{}", page.text);
    let at = page.text.find(&format!("name=\"item\" value=\"{item}:")).expect("a form with the item");
    page.text[at..].split('"').nth(3).unwrap().to_owned()
}

#[tokio::test]
async fn a_failed_item_is_reviewed_with_a_comment() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let item = version_on_page(&desk, &cookie, work.failed).await;
    let back = format!("/desk/items/{}", work.failed);
    let form = [("item", &*item), ("to", "verified"), ("comment", "SAP was down <b>"), ("back", &back)];
    let answer = desk.post(&cookie, "/desk/items/review", &form).await;
    assert_eq!((answer.status, answer.location()), (303, &*back), "{}", answer.text);
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "Verified");
    let page = desk.get(&format!("{cookie}; {}", answer.cookie()), &back).await;
    page.assert_has(&["1 item is verified.", "SAP was down &#60;b&#62;", "✓</span> Verified"]);
}

#[tokio::test]
async fn a_retry_adds_a_copy() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let item = version_on_page(&desk, &cookie, work.failed).await;
    let answer = desk.post(&cookie, "/desk/items/review", &[("item", &item), ("to", "retried")]).await;
    assert_eq!((answer.status, answer.location()), (303, "/desk"), "{}", answer.text);
    let list = desk.get(&cookie, "/desk/items?ref=INV-2&status=New").await;
    assert_eq!(list.text.matches("<tr data-row>").count(), 1, "{}", list.text);
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "Retried");
}

/// Somebody else was faster: nothing of the item is changed, the others are done, and the page says so.
#[tokio::test]
async fn an_item_that_changed_since_the_page_was_opened_is_refused() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let second = desk.fail_after_new("INV-4").await;
    let stale = version_on_page(&desk, &cookie, work.failed).await;
    let fresh = version_on_page(&desk, &cookie, second).await;
    let answer = desk.post(&cookie, "/desk/items/review", &[("item", &stale), ("to", "in-review")]).await;
    assert_eq!(answer.status, 303);
    let form = [
        ("item", &*stale),
        ("item", &*fresh),
        ("to", "verified"),
        ("comment", "seen"),
        ("back", "/desk/items"),
    ];
    let answer = desk.post(&cookie, "/desk/items/review", &form).await;
    assert_eq!(answer.status, 409);
    answer.assert_has(&[
        "1 done, 1 refused",
        "1020",
        "It has changed since you opened the page",
        "href=\"/desk/items\"",
    ]);
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "InReview");
    assert_eq!(desk.item(second).await["ReviewStatus"], "Verified");
    assert!(
        !desk.get(&cookie, &format!("/desk/items/{}", work.failed)).await.text.contains("<bdi>seen</bdi>")
    );
    // Forms for one item are refused in the same way.
    let old = format!("{}:{}", work.new, i64::MAX);
    let path = format!("/desk/items/{}/edit", work.new);
    let form = [("item", &*old), ("priority", "High"), ("content", "{}")];
    let answer = desk.post(&cookie, &path, &form).await;
    assert_eq!(answer.status, 409, "{}", answer.text);
    answer.assert_has(&["has changed since the page was opened"]);
    assert_eq!(desk.item(work.new).await["Priority"], "Normal");
}

#[tokio::test]
async fn an_item_that_is_new_is_edited() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let path = format!("/desk/items/{}/edit", work.new);
    desk.get(&cookie, &path).await.assert_has(&["&#34;Total&#34;:3"]);
    let item = version_on_page(&desk, &cookie, work.new).await;
    let content = r#"{"Total":9007199254740993}"#;
    let form = [("item", &*item), ("priority", "High"), ("due", "2031-01-02T03:04:05"), ("content", content)];
    let answer = desk.post(&cookie, &path, &form).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let edited = desk.item(work.new).await;
    assert_eq!((&edited["Priority"], &edited["DueDate"]), (&json!("High"), &json!("2031-01-02T03:04:05Z")));
    desk.get(&cookie, answer.location()).await.assert_has(&["9007199254740993"]);
    for (name, value) in [("priority", "Urgent"), ("due", "tomorrow"), ("content", "{")] {
        let item = version_on_page(&desk, &cookie, work.new).await;
        let mut form = vec![("item", &*item), ("priority", "High"), ("content", "{}"), ("due", "")];
        form.iter_mut().filter(|(known, _)| *known == name).for_each(|(_, known)| *known = value);
        assert_eq!(desk.post(&cookie, &path, &form).await.status, 400, "{name}");
    }
}

#[tokio::test]
async fn a_failed_item_is_corrected_and_retried() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let path = format!("/desk/items/{}/correct", work.failed);
    desk.get(&cookie, &format!("/desk/items/{}", work.failed))
        .await
        .assert_has(&["Correct and retry", &path]);
    desk.get(&cookie, &path).await.assert_has(&["Correct item", "&#34;Total&#34;:1"]);
    let item = version_on_page(&desk, &cookie, work.failed).await;
    let form = [("item", &*item), ("priority", "High"), ("due", ""), ("content", r#"{"Total":2}"#)];
    let answer = desk.post(&cookie, &path, &form).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let copy: i64 = answer.location().rsplit('/').next().unwrap().parse().unwrap();
    assert_ne!(copy, work.failed);
    assert_eq!(desk.item(copy).await["Status"], "New");
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "Retried");
    let compared = desk.get(&cookie, &format!("/desk/items/{copy}?diff={}", work.failed)).await;
    compared.assert_has(&["Content: <bdi>Total</bdi>"]);
    let again = desk.post(&cookie, &path, &form).await;
    assert_eq!(again.status, 409, "it has changed since: {}", again.text);
    let form = desk.get(&cookie, &path).await;
    form.assert_has(&["cannot be retried"]);
    let audit = desk.get(&cookie, "/desk/audit").await;
    audit.assert_has(&["Items reviewed", "Item edited", "SpecificContent"]);
}

#[tokio::test]
async fn items_are_assigned_commented_deleted_and_purged() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let item = version_on_page(&desk, &cookie, work.failed).await;
    let page = desk.get(&cookie, "/desk/review").await;
    let at = page.text.find("name=\"reviewer\" value=\"").expect("the button to take it");
    let me = page.text[at..].split('"').nth(3).unwrap();
    assert_eq!(
        desk.post(&cookie, "/desk/items/assign", &[("item", &item), ("reviewer", me)]).await.status,
        303
    );
    desk.get(&cookie, "/desk/review?whose=mine").await.assert_has(&[&format!("Item {}<", work.failed)]);
    let nobody = version_on_page(&desk, &cookie, work.failed).await;
    let answer = desk.post(&cookie, "/desk/items/assign", &[("item", &nobody), ("reviewer", "999999")]).await;
    assert_eq!(answer.status, 409, "{}", answer.text);

    let comments = format!("/desk/items/{}/comments", work.failed);
    assert_eq!(desk.post(&cookie, &comments, &[("comment", "first words")]).await.status, 303);
    let page = desk.get(&cookie, &format!("/desk/items/{}", work.failed)).await;
    page.assert_has(&["first words"]);
    let at = page.text.find(&format!("action=\"{comments}/")).expect("the form of the comment");
    let comment = page.text[at..].split('"').nth(1).unwrap().to_owned();
    assert_eq!(
        desk.post(&cookie, &comment, &[("comment", "second words"), ("act", "edit")]).await.status,
        303
    );
    let page = desk.get(&cookie, &format!("/desk/items/{}", work.failed)).await;
    assert!(page.text.contains("second words") && !page.text.contains("first words"));
    // A comment is changed at its own item only.
    let elsewhere = comment.replace(&comments, &format!("/desk/items/{}/comments", work.successful));
    assert_eq!(desk.post(&cookie, &elsewhere, &[("act", "delete")]).await.status, 404);
    assert_eq!(desk.post(&cookie, &comment, &[("act", "delete")]).await.status, 303);

    let item = version_on_page(&desk, &cookie, work.successful).await;
    let purge = format!("/desk/items/{}/purge", work.successful);
    assert_eq!(desk.post(&cookie, &purge, &[("item", &item)]).await.status, 303);
    let page = desk.get(&cookie, &format!("/desk/items/{}", work.successful)).await;
    page.assert_has(&["The item has no content, or it was removed."]);
    assert!(!page.text.contains("17.5"), "{}", page.text);
    let item = version_on_page(&desk, &cookie, work.new).await;
    assert_eq!(desk.post(&cookie, "/desk/items/delete", &[("item", &item)]).await.status, 303);
    assert_eq!(desk.item(work.new).await["Status"], "Deleted");
}

#[tokio::test]
async fn what_is_known_about_a_reason_is_noted() {
    let desk = Desk::start().await;
    let (_, cookie) = (desk.work().await, desk.sign_in().await);
    let path = "/desk/reasons/1";
    let page = desk.get(&cookie, path).await;
    page.assert_has(&["What is known", "<option value=\"\">Nobody</option>"]);
    let owner = page.text.split("<option value=\"").nth(2).unwrap().split('"').next().unwrap().to_owned();
    let answer = desk.post(&cookie, path, &[("note", "SAP is down <i>"), ("owner", &owner)]).await;
    assert_eq!((answer.status, answer.location()), (303, path), "{}", answer.text);
    let page = desk.get(&format!("{cookie}; {}", answer.cookie()), path).await;
    let chosen = format!("<option value=\"{owner}\" selected>");
    page.assert_has(&["Done: noted.", ">SAP is down &#60;i&#62;</textarea>", &chosen]);
    // Another one has changed the owner since: what this form leaves stays.
    let form = [("note", "SAP is up"), ("seen-note", "SAP is down <i>"), ("owner", ""), ("seen-owner", "")];
    assert_eq!(desk.post(&cookie, path, &form).await.status, 303);
    desk.get(&cookie, path).await.assert_has(&[">SAP is up</textarea>", &chosen]);
    let form = [("note", " "), ("seen-note", "SAP is up"), ("owner", ""), ("seen-owner", &*owner)];
    let answer = desk.post(&cookie, path, &form).await;
    assert_eq!(answer.status, 303);
    let page = desk.get(&cookie, path).await;
    assert!(!page.text.contains("SAP is up") && !page.text.contains(&chosen), "{}", page.text);
    for form in [[("note", "n"), ("owner", "x")], [("note", &*"x".repeat(513)), ("owner", "")]] {
        assert_eq!(desk.post(&cookie, path, &form).await.status, 400);
    }
    assert_eq!(desk.post(&cookie, "/desk/reasons/999", &[("note", "n")]).await.status, 404);
}

#[tokio::test]
async fn queues_are_paused_and_limited_and_jobs_are_stopped() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let queue = format!("/desk/queues/{}", work.queue);
    let paused = "The queue is paused: it hands out nothing until it is resumed.";
    assert!(!desk.get(&cookie, &queue).await.text.contains(paused));
    assert_eq!(desk.post(&cookie, &format!("{queue}/pause"), &[]).await.location(), queue);
    desk.get(&cookie, &queue).await.assert_has(&[paused]);
    desk.get(&cookie, "/desk").await.assert_has(&["Paused queues"]);
    assert_eq!(desk.post(&cookie, &format!("{queue}/resume"), &[]).await.status, 303);
    assert!(!desk.get(&cookie, &queue).await.text.contains(paused));
    let limits = [
        ("seen", "-,-,-,-,0"),
        ("max-in-progress", "3"),
        ("starts", "20"),
        ("window", "60"),
        ("per-group", ""),
    ];
    assert_eq!(desk.post(&cookie, &format!("{queue}/limits"), &limits).await.status, 303);
    let late = desk.post(&cookie, &format!("{queue}/limits"), &limits).await;
    assert_eq!(late.status, 409, "they are not those that the reader saw");
    late.assert_has(&["limits have changed since the page was opened"]);
    desk.get(&cookie, &queue)
        .await
        .assert_has(&["name=\"max-in-progress\" inputmode=\"numeric\" value=\"3\"", "value=\"20\""]);
    let wrong = [("seen", "3,20,60000,-,0"), ("max-in-progress", "many")];
    let answer = desk.post(&cookie, &format!("{queue}/limits"), &wrong).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    answer.assert_has(&["max-in-progress: &#34;many&#34; is not a whole number"]);

    let job = format!("/desk/jobs/{}", work.job);
    assert_eq!(desk.post(&cookie, &format!("{job}/stop"), &[]).await.location(), job);
    desk.get(&cookie, &job).await.assert_has(&["Stopping"]);
    assert_eq!(desk.post(&cookie, &format!("{job}/kill"), &[]).await.status, 303);
    desk.get(&cookie, &job).await.assert_has(&["Terminating"]);
}

/// Each route that takes a form: a page of another site can send one with the reader's cookie, and it does nothing.
#[tokio::test]
async fn forms_of_other_sites_are_refused() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let item = version_on_page(&desk, &cookie, work.failed).await;
    let form = [
        ("item", &*item),
        ("to", "verified"),
        ("comment", "forged"),
        ("reviewer", "none"),
        ("theme", "dark"),
    ];
    let before = desk.item(work.failed).await;
    let mut forged = 0;
    for (method, path, _) in performer::server::Server::desk_routes() {
        if method != "POST" {
            continue;
        }
        let path = filled(&path, &work);
        for site in ["cross-site", "same-site", "none"] {
            let answer = desk.post_from(site, &cookie, &path, &form).await;
            assert_eq!((answer.status, answer.header("set-cookie")), (403, ""), "{path} from {site}");
            answer.assert_has(&["did not come from a page of this server"]);
        }
        for origin in [None, Some("null"), Some("https://evil.test")] {
            let request = desk.http.post(format!("{}{path}", desk.served.url)).header("cookie", &cookie);
            let request =
                origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            assert_eq!(desk.send(request).await.status, 403, "{path} from {origin:?}");
        }
        forged += 1;
    }
    assert!(forged >= 14, "{forged}");
    assert_eq!(desk.item(work.failed).await, before);
    // An older browser names this server as the origin.
    let request =
        desk.http.post(format!("{}/desk/theme", desk.served.url)).header("origin", &desk.served.url);
    assert_eq!(desk.send(request).await.status, 303);
}

/// The path of a route with the numbers of existing things.
pub(crate) fn filled(path: &str, work: &Work) -> String {
    let id = if path.starts_with("/desk/queues") {
        work.queue
    } else if ["/desk/reasons", "/desk/access/folders", "/desk/views"].iter().any(|of| path.starts_with(of)) {
        1
    } else if path.starts_with("/desk/access/users") {
        work.user
    } else if path.starts_with("/desk/operations") {
        work.operation
    } else if path.starts_with("/desk/tasks") {
        work.task
    } else if path.starts_with("/desk/assets") {
        work.asset
    } else if path.starts_with("/desk/webhooks") {
        work.webhook
    } else {
        work.new
    };
    path.replace("{id}", &id.to_string()).replace("{key}", &work.job).replace("{comment}", "1")
}

#[tokio::test]
async fn a_desk_that_is_read_only_changes_nothing() {
    let desk = Desk::start_as(|server| server.desk(DeskMode::ReadOnly)).await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let page = desk.get(&cookie, &format!("/desk/items/{}", work.failed)).await;
    page.assert_has(&["This desk is read-only"]);
    assert!(!page.text.contains("action=\"/desk/items"), "no form is offered: {}", page.text);
    let item = format!("{}:{}", work.failed, 1);
    let start = format!("/desk/operations/{}/start", work.operation);
    let pause = format!("/desk/queues/{}/pause", work.queue);
    for path in ["/desk/items/review", "/desk/operations", &*start, &*pause] {
        let answer = desk.post(&cookie, path, &[("item", &item), ("to", "verified")]).await;
        assert_eq!(answer.status, 403);
        answer.assert_has(&["--desk read-only"]);
    }
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "None");
    assert_eq!(desk.post(&cookie, "/desk/logout", &[]).await.status, 303, "a reader can sign out");
}

#[tokio::test]
async fn a_server_without_a_desk_has_no_pages() {
    let desk = Desk::start_as(|server| server.desk(DeskMode::Off)).await;
    for path in ["/desk", "/desk/login", "/desk/items", "/desk/static/desk.css"] {
        let answer = desk.get("", path).await;
        assert!(matches!(answer.status, 401 | 404), "{path}: {}", answer.status);
        assert!(answer.header("content-type").starts_with("application/json"), "{path}");
    }
}

impl Desk {
    /// An item that fails although another one of the queue is New and older: its priority is higher.
    async fn fail_after_new(&self, reference: &str) -> i64 {
        let item = json!({"itemData": {"Name": "Invoices", "Reference": reference, "Priority": "High", "SpecificContent": {}}});
        self.api("POST", "/odata/Queues/UiPathODataSvc.AddQueueItem", &item).await;
        self.process(&crate::failed("BusinessException", "wrong")).await
    }
}
