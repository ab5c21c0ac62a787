//! The audit: what the desk and the API changed, and the page that shows it.

use performer::model::audit::{Act, ActSource};
use serde_json::json;

use crate::Desk;

#[tokio::test]
async fn acts_of_the_desk_and_the_api_are_recorded_with_their_user() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let cookie = desk.sign_in_with("ann", &["Administrator"], &[]).await;
    let version = desk.item(work.failed).await["RowVersion"].clone();
    let row = format!("{}:{}", work.failed, version_number(&version));
    let answer = desk.post(&cookie, "/desk/items/review", &[("item", &row), ("to", "verified")]).await;
    assert_eq!(answer.status, 303, "{}", answer.text);
    let user =
        json!({"UserName": "bob", "Type": "User", "Password": "a long password", "RolesList": ["Viewer"]});
    desk.api("POST", "/odata/Users", &user).await;

    let records = desk.served.store.audit_from(0).await.unwrap();
    let of = |act: Act| &records.iter().rfind(|record| record.entry.act == act).unwrap().entry;
    let review = of(Act::ItemsReviewed);
    assert_eq!((review.actor.source, review.actor.user_name.as_deref()), (ActSource::Desk, Some("ann")));
    assert_eq!(review.actor.address.as_deref(), Some("127.0.0.1"));
    assert_eq!(review.items.iter().map(|id| id.0).collect::<Vec<_>>(), [work.failed]);
    let created = of(Act::QueueCreated);
    assert_eq!((created.actor.source, &*created.subject), (ActSource::Api, "queue Invoices"));
    let access = of(Act::AccessChanged);
    assert_eq!(access.subject, "user bob added");
    let roles = access.changes.iter().find(|change| change.field == "Roles").unwrap();
    assert_eq!(roles.after, Some(json!(["Viewer"])));
    assert!(
        records.iter().all(|record| !record.text.contains("password") && !record.text.contains("argon2"))
    );

    let page = desk.get(&cookie, "/desk/audit").await;
    page.assert_has(&["Items reviewed", "<bdi>ann</bdi>", "Desk, 127.0.0.1", "user bob added", "Verified"]);
    let of_ann = desk.get(&cookie, "/desk/audit?user=ann&act=ItemsReviewed&time=1h").await;
    of_ann.assert_has(&["<bdi>ann</bdi>"]);
    assert!(!of_ann.text.contains("user bob added"));
    for wrong in ["act=Nonsense", "time=often", "before=x"] {
        assert_eq!(desk.get(&cookie, &format!("/desk/audit?{wrong}")).await.status, 400, "{wrong}");
    }
    let checked = desk.get(&cookie, "/desk/audit?check=1").await;
    checked.assert_has(&["Whole", &format!("The chain of {} records is whole", records.len())]);
    let file = desk.get(&cookie, "/desk/audit.csv").await;
    assert_eq!(file.text.lines().count(), records.len() + 1);
}

/// The number within a row version of the API, which is eight bytes in base64.
fn version_number(version: &serde_json::Value) -> u64 {
    use base64::Engine as _;

    let bytes = base64::engine::general_purpose::STANDARD.decode(version.as_str().unwrap()).unwrap();
    u64::from_be_bytes(bytes.try_into().unwrap())
}
