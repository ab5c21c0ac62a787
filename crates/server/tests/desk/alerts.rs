//! Alerts on the desk: shown with what they are about, and marked as read by each reader.

use performer::model::FolderId;
use performer::model::alert::{AlertSeverity, NewAlert};
use serde_json::json;

use crate::{Desk, failed};

#[tokio::test]
async fn alerts_are_shown_and_marked_as_read() {
    let desk = Desk::start().await;
    let cookie = desk.sign_in().await;
    desk.get(&cookie, "/desk/alerts").await.assert_has(&["There is no alert.", "0 unread"]);
    desk.api("POST", "/odata/QueueDefinitions", &json!({"Name": "Invoices", "MaxNumberOfRetries": 0})).await;
    let item = desk.add("INV-9", &json!({"Total": 1})).await;
    desk.process(&failed("ApplicationException", "the password of ann")).await;
    let new = NewAlert::of_process(AlertSeverity::Fatal, FolderId::SHARED, ("P", "R"), "disk <b>").unwrap();
    desk.served.store.raise_alert(new).await.unwrap();
    let page = desk.get(&cookie, "/desk/alerts").await;
    page.assert_has(&["2 unread", "disk &#60;b&#62;", "Fatal", &format!("href=\"/desk/items/{item}\"")]);
    assert!(!page.text.contains("password"), "{}", page.text);

    let at = page.text.find("name=\"alert\" value=\"").expect("a form of an alert");
    let key = page.text[at..].split('"').nth(3).unwrap().to_owned();
    let read = desk.post(&cookie, "/desk/alerts/read", &[("alert", &key)]).await;
    assert_eq!((read.status, read.location()), (303, "/desk/alerts"), "{}", read.text);
    desk.get(&cookie, "/desk/alerts?unread=1").await.assert_has(&["1 unread"]);
    let other = desk.sign_in_with("other", &["Administrator"], &[]).await;
    desk.get(&other, "/desk/alerts").await.assert_has(&["2 unread"]);
    assert_eq!(desk.post(&cookie, "/desk/alerts/read", &[("all", "1")]).await.status, 303);
    desk.get(&cookie, "/desk/alerts?unread=1").await.assert_has(&["You have read every alert."]);
    let refused = desk.post(&cookie, "/desk/alerts/read", &[("alert", "no key")]).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
}
