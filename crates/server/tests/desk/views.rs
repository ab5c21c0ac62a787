//! Saved views: of one person, or shared with a folder.

use crate::Desk;

const FAILED: &str = "status=Failed&sort=-ended&columns=status%2Cwhy";

async fn save(desk: &Desk, cookie: &str, name: &str, query: &str, share: &str) -> u16 {
    let form = [("name", name), ("query", query), ("share", share)];
    desk.post(cookie, "/desk/views", &form).await.status
}

/// The number of a view, from the form that changes it.
async fn number_of(desk: &Desk, cookie: &str, name: &str) -> String {
    let page = desk.get(cookie, "/desk/views").await.text;
    let row = page.split("<tr data-row>").find(|row| row.contains(&format!("<bdi>{name}</bdi>"))).unwrap();
    row.split("action=\"/desk/views/").nth(1).unwrap().split('"').next().unwrap().to_owned()
}

async fn names(desk: &Desk, cookie: &str) -> Vec<bool> {
    let page = desk.get(cookie, "/desk/items").await;
    assert_eq!(page.status, 200, "{}", page.text);
    ["Mine", "Ours"].iter().map(|name| page.text.contains(&format!("<bdi>{name}</bdi></a>"))).collect()
}

#[tokio::test]
async fn a_view_is_saved_opened_renamed_and_deleted() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let saved =
        desk.post(&cookie, "/desk/views", &[("name", "Mine"), ("query", FAILED), ("share", "")]).await;
    assert_eq!(
        (saved.status, saved.location()),
        (303, "/desk/items?status=Failed&sort=-ended&columns=status%2Cwhy")
    );
    let page = desk.get(&cookie, saved.location()).await;
    page.assert_has(&["aria-current=\"true\"><bdi>Mine</bdi>", "hide-queue hide-priority", "INV-2"]);
    assert!(!page.text.contains("hide-status") && !page.text.contains("hide-why"));
    // The columns stay on the way to another list.
    page.assert_has(&["/desk/items?status=New&#38;sort=-ended&#38;columns=status,why"]);
    let id = number_of(&desk, &cookie, "Mine").await;
    let path = format!("/desk/views/{id}");
    let renamed = desk.post(&cookie, &path, &[("act", "save"), ("name", "Ours"), ("share", "")]).await;
    assert_eq!((renamed.status, renamed.location()), (303, "/desk/views"));
    assert_eq!(names(&desk, &cookie).await, [false, true]);
    assert_eq!(desk.post(&cookie, &path, &[("act", "delete")]).await.status, 303);
    assert_eq!(names(&desk, &cookie).await, [false, false]);
    assert_eq!(desk.post(&cookie, &path, &[("act", "delete")]).await.status, 404);
}

#[tokio::test]
async fn a_view_is_seen_by_its_owner_or_by_the_folder() {
    let desk = Desk::start().await;
    desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let cookie = desk.sign_in().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &["Shared"]).await;
    let robot = desk.sign_in_with("robot", &["Automation User"], &["Shared"]).await;
    let elsewhere = desk.sign_in_with("elsewhere", &["Administrator"], &["Finance"]).await;
    assert_eq!(save(&desk, &cookie, "Mine", FAILED, "").await, 303);
    assert_eq!(save(&desk, &robot, "Ours", FAILED, "1").await, 303);
    assert_eq!(names(&desk, &cookie).await, [true, true]);
    assert_eq!(names(&desk, &viewer).await, [false, true]);
    assert_eq!(names(&desk, &elsewhere).await, [false, false]);
    // To share needs the right to review; to change what others share, that to change queues.
    assert_eq!(save(&desk, &viewer, "Own", FAILED, "1").await, 403);
    assert_eq!(save(&desk, &elsewhere, "Own", FAILED, "1").await, 403);
    let id = number_of(&desk, &cookie, "Ours").await;
    let delete = async |cookie: &str| {
        desk.post(cookie, &format!("/desk/views/{id}"), &[("act", "delete")]).await.status
    };
    assert_eq!((delete(&viewer).await, delete(&elsewhere).await), (403, 404));
    assert_eq!(delete(&cookie).await, 303);
    let audit = desk.get(&cookie, "/desk/audit?act=ViewEdited").await;
    assert_eq!(
        audit.text.matches("<tr data-row>").count(),
        2,
        "made and deleted; the private one is nobody's business"
    );
    audit.assert_has(&["view Ours", "status=Failed sort=-ended columns=status,why"]);
    assert!(!audit.text.contains("view Mine"), "{}", audit.text);
}

#[tokio::test]
async fn what_is_no_view_is_refused() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let long = "x".repeat(101);
    for (name, query, share, status) in [
        ("", FAILED, "", 400),
        (&*long, FAILED, "", 400),
        ("a", "colour=red", "", 400),
        ("a", "columns=colour", "", 400),
        ("a", FAILED, "x", 400),
        ("a", FAILED, "99", 403),
    ] {
        assert_eq!(save(&desk, &cookie, name, query, share).await, status, "{name} {query} {share}");
    }
    assert_eq!(save(&desk, &cookie, "a", FAILED, "").await, 303);
    assert_eq!(save(&desk, &cookie, "a", "", "").await, 409, "a name is taken");
    assert_eq!(desk.get(&cookie, "/desk/items?columns=colour").await.status, 400);
    for number in 1..100 {
        assert_eq!(save(&desk, &cookie, &number.to_string(), "", "").await, 303);
    }
    assert_eq!(save(&desk, &cookie, "one too many", "", "").await, 400);
}
