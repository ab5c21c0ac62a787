//! Acts on many items at once: chosen, previewed, started, stopped, and taken back, by whom.

use serde_json::json;

use crate::Desk;

const FAILED: &str = "/desk/operations/new?queue=Invoices&status=Failed";

impl Desk {
    /// Adds a queue with items that failed. Returns their ids.
    async fn failures(&self, count: usize) -> Vec<i64> {
        let queue = json!({"Name": "Invoices", "MaxNumberOfRetries": 0});
        self.api("POST", "/odata/QueueDefinitions", &queue).await;
        let mut ids = Vec::new();
        for number in 0..count {
            ids.push(self.fail(&format!("F-{number}"), "the total is wrong").await);
        }
        ids
    }

    /// Makes a preview of an act on all failed items, and returns its path.
    async fn preview(&self, cookie: &str, more: &[(&str, &str)]) -> String {
        let mut form = vec![("filter", "queue=Invoices&status=Failed&review=None,InReview")];
        form.extend(more);
        let answer = self.post(cookie, "/desk/operations", &form).await;
        assert_eq!(answer.status, 303, "{}", answer.text);
        assert!(answer.location().starts_with("/desk/operations/"), "{}", answer.location());
        answer.location().to_owned()
    }

    async fn review_of(&self, id: i64) -> String {
        self.item(id).await["ReviewStatus"].as_str().unwrap().to_owned()
    }
}

/// What is begun from the list of one folder acts on that folder alone.
#[tokio::test]
async fn an_operation_keeps_the_folder_of_its_list() {
    let desk = Desk::start().await;
    let finance = desk.served.access_admin.add_folder("Finance").await.unwrap();
    desk.failures(3).await;
    let cookie = desk.sign_in().await;
    let form = desk.get(&cookie, "/desk/operations/new?status=Failed&folder=1").await;
    form.assert_has(&["action=\"/desk/operations?folder=1\"", "Items that match: <b>3</b>"]);
    let elsewhere = desk.get(&cookie, &format!("/desk/operations/new?status=Failed&folder={finance}")).await;
    elsewhere.assert_has(&["No item matches"]);
    let here = [("act", "verified"), ("filter", "status=Failed")];
    let made = desk.post(&cookie, "/desk/operations?folder=1", &here).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let page = desk.get(&cookie, made.location()).await;
    page.assert_has(&["<dt>Items</dt><dd><bdi>3</bdi>", "status=Failed&#38;folder=1"]);
    let there = desk.post(&cookie, &format!("/desk/operations?folder={finance}"), &here).await;
    assert!(!there.location().starts_with("/desk/operations/"), "there is nothing to act on: {}", there.text);
}

#[tokio::test]
async fn all_that_match_are_previewed_and_retried_behind_a_canary() {
    let desk = Desk::start().await;
    let (failed, cookie) = (desk.failures(7).await, desk.sign_in().await);
    let items = desk.get(&cookie, "/desk/items?queue=Invoices&status=Failed").await;
    items.assert_has(&["/desk/operations/new?queue=Invoices&#38;status=Failed", "Act on all 7"]);
    let form = desk.get(&cookie, FAILED).await;
    form.assert_has(&[
        "Items that match: <b>7</b>",
        "name=\"filter\" value=\"queue=Invoices&#38;status=Failed\"",
    ]);
    desk.clock.advance(std::time::Duration::from_secs(2)); // figures are written once a second
    let retry = [("act", "retry"), ("canary", "1"), ("pace", "600"), ("comment", "agreed with Ada")];
    let path = desk.preview(&cookie, &retry).await;
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&[
        "Nothing has been done yet",
        "the total is wrong",
        "<dt>Items</dt><dd><bdi>7</bdi>",
        "600 a minute",
        "5 items, which have 10 min 0 s",
        "agreed with Ada",
        "F-6",
        "What it would mean for the queues",
        "data-label=\"Copies\">7<",
        "data-label=\"Waiting then\">7<",
        "data-label=\"Done in\">1 min 0 s at 7.0 a minute<",
    ]);
    desk.run_operations().await;
    assert_eq!(desk.review_of(failed[0]).await, "None", "it was not started");
    let started = desk.post(&cookie, &format!("{path}/start"), &[]).await;
    assert_eq!((started.status, started.location()), (303, &*path), "{}", started.text);
    desk.run_operations().await;
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&["Waiting", "<dt>Done</dt><dd><bdi>5</bdi>", "<dt>Left</dt><dd><bdi>2</bdi>", "/stop"]);
    assert_eq!(desk.post(&cookie, &format!("{path}/start"), &[]).await.status, 409, "not twice");
    for _ in 0..5 {
        desk.process(&json!({"IsSuccessful": true})).await;
    }
    desk.clock.advance(std::time::Duration::from_secs(2));
    desk.run_operations().await;
    let page = desk.get(&cookie, &path).await;
    page.assert_has(&["Done", "5 of the first 5 items were Successful", "/take-back", "The copies now:"]);
    for id in failed {
        assert_eq!(desk.review_of(id).await, "Retried");
    }
    desk.get(&cookie, "/desk/operations").await.assert_has(&[&path, "Retry", "first-application"]);
}

#[tokio::test]
async fn what_changed_after_the_preview_is_refused_and_listed() {
    let desk = Desk::start().await;
    let (failed, cookie) = (desk.failures(3).await, desk.sign_in().await);
    let path = desk.preview(&cookie, &[("act", "verified")]).await;
    let changed = format!("{}:{}", failed[1], desk.row_version(failed[1]).await);
    let review = [("item", &*changed), ("to", "in-review")];
    assert_eq!(desk.post(&cookie, "/desk/items/review", &review).await.status, 303);
    desk.post(&cookie, &format!("{path}/start"), &[]).await;
    desk.run_operations().await;
    let number = path.rsplit('/').next().unwrap();
    let filter = format!("/desk/items?refused={number}");
    desk.get(&cookie, &path).await.assert_has(&["<dt>Refused</dt><dd><bdi>1</bdi>", &filter, "1020"]);
    let refused = desk.get(&cookie, &format!("{path}/refused")).await;
    refused.assert_has(&["the item changed: it is at version", "1020"]);
    let csv = desk.get(&cookie, &format!("{path}/refused.csv")).await;
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert!(csv.text.starts_with("Item,RowVersion,Code,Reason\r\n"), "{}", csv.text);
    assert_eq!(csv.text.lines().count(), 2, "{}", csv.text);
    let items = desk.get(&cookie, &filter).await;
    items.assert_has(&["Items that match: <b>1</b>", "F-1"]);
    assert_eq!(desk.review_of(failed[1]).await, "InReview");
    assert_eq!(desk.review_of(failed[2]).await, "Verified");
}

#[tokio::test]
async fn selected_rows_are_deleted_by_who_types_their_number() {
    let desk = Desk::start().await;
    let (failed, cookie) = (desk.failures(3).await, desk.sign_in().await);
    let rows: Vec<String> = [failed[0], failed[2]].iter().map(|id| format!("{id}:4")).collect();
    let versions = [desk.row_version(failed[0]).await, desk.row_version(failed[2]).await];
    let address =
        format!("/desk/operations/new?rows=1&item={}&item={}&comment=old&reviewer=none", rows[0], rows[1]);
    let form = desk.get(&cookie, &address).await;
    form.assert_has(&["Selected rows: <b>2</b>", &rows[1], "value=\"old\""]);
    assert_eq!(desk.get(&cookie, "/desk/operations/new?rows=1&reviewer=none").await.status, 400);
    let seen = [format!("{}:{}", failed[0], versions[0]), format!("{}:{}", failed[2], versions[1])];
    let form = [("item", &*seen[0]), ("item", &*seen[1]), ("act", "delete"), ("filter", "")];
    let made = desk.post(&cookie, "/desk/operations", &form).await;
    assert_eq!(made.status, 303, "{}", made.text);
    let path = made.location();
    desk.get(&cookie, path).await.assert_has(&["Type 2 to delete so many items", "Selected as rows"]);
    for typed in ["", "3", "yes"] {
        let answer = desk.post(&cookie, &format!("{path}/start"), &[("count", typed)]).await;
        assert_eq!(answer.status, 400, "{typed}");
    }
    assert_eq!(desk.post(&cookie, &format!("{path}/start"), &[("count", "2")]).await.status, 303);
    desk.run_operations().await;
    for (id, status) in [(failed[0], "Deleted"), (failed[1], "Failed"), (failed[2], "Deleted")] {
        assert_eq!(desk.item(id).await["Status"], status);
    }
}

#[tokio::test]
async fn an_operation_is_stopped_resumed_and_taken_back() {
    let desk = Desk::start().await;
    let (failed, cookie) = (desk.failures(4).await, desk.sign_in().await);
    let path = desk.preview(&cookie, &[("act", "retry"), ("pace", "60")]).await;
    desk.post(&cookie, &format!("{path}/start"), &[]).await;
    desk.run_operations().await;
    assert_eq!(desk.post(&cookie, &format!("{path}/take-back"), &[]).await.status, 409, "it runs");
    assert_eq!(desk.post(&cookie, &format!("{path}/stop"), &[]).await.status, 303);
    desk.clock.advance(std::time::Duration::from_secs(10));
    desk.run_operations().await;
    desk.get(&cookie, &path)
        .await
        .assert_has(&["it was stopped by first-application", "<dt>Done</dt><dd><bdi>1</bdi>"]);
    assert_eq!(desk.post(&cookie, &format!("{path}/resume"), &[]).await.status, 303);
    desk.run_operations().await;
    assert_eq!(desk.post(&cookie, &format!("{path}/stop"), &[]).await.status, 303);
    let back = desk.post(&cookie, &format!("{path}/take-back"), &[]).await;
    assert_eq!(back.status, 303, "{}", back.text);
    desk.run_operations().await;
    desk.get(&cookie, back.location())
        .await
        .assert_has(&["Take copies back", "<dt>Done</dt><dd><bdi>2</bdi>"]);
    desk.get(&cookie, &path).await.assert_has(&[back.location(), "The originals stay retried"]);
    let mut reviews = Vec::new();
    for id in failed {
        reviews.push(desk.review_of(id).await);
    }
    assert_eq!(reviews.iter().filter(|review| *review == "Retried").count(), 2);
}

#[tokio::test]
async fn an_act_needs_what_it_needs_for_one_item() {
    let desk = Desk::start().await;
    let (failed, administrator) = (desk.failures(2).await, desk.sign_in().await);
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    let path = desk.preview(&administrator, &[("act", "retry")]).await;
    desk.get(&viewer, &path).await.assert_has(&["Nothing has been done yet"]);
    assert!(!desk.get(&viewer, &path).await.text.contains("/start"), "it is not offered");
    desk.get(&viewer, FAILED).await.assert_has(&["You may look at these items"]);
    for act in ["start", "stop", "resume", "take-back"] {
        let answer = desk.post(&viewer, &format!("{path}/{act}"), &[]).await;
        assert_eq!(answer.status, 403, "{act}");
        answer.assert_has(&["This needs the permission Queues.View and Transactions."]);
    }
    for act in ["retry", "delete", "purge"] {
        let answer =
            desk.post(&viewer, "/desk/operations", &[("filter", "status=Failed"), ("act", act)]).await;
        assert_eq!(answer.status, 403, "{act}");
    }
    // What is asked for wrongly.
    for (form, status) in [
        (&[("act", "explode")][..], 400),
        (&[("act", "retry"), ("pace", "many")], 400),
        (&[("act", "retry"), ("pace", "0")], 400),
        (&[("act", "comment")], 400),
        (&[("act", "retry"), ("filter", "colour=red")], 400),
        (&[("act", "retry"), ("filter", "queue=Nowhere")], 404),
        (&[("act", "retry"), ("filter", "ref=nowhere")], 400),
        (&[("act", "retry"), ("item", "17")], 400),
        (&[("act", "assign"), ("reviewer", "Ada")], 400),
    ] {
        let answer = desk.post(&administrator, "/desk/operations", form).await;
        assert_eq!(answer.status, status, "{form:?}: {}", answer.text);
    }
    for path in ["/desk/operations/99", "/desk/operations/99/refused", "/desk/operations/x"] {
        assert_eq!(desk.get(&administrator, path).await.status, 404, "{path}");
    }
    assert_eq!(desk.review_of(failed[0]).await, "None");
}

impl Desk {
    async fn row_version(&self, id: i64) -> u64 {
        use performer::orchestrator::ItemAdministration as _;
        self.served.store.get_queue_item(performer::ItemId(id)).await.unwrap().row_version
    }
}
