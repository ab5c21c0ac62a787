//! Who may do what: each route with callers of several roles.

use performer::server::Server;

use crate::acts::filled;
use crate::{Desk, Work};

/// Whether a caller gets through to what a route does, whatever that answers then.
async fn is_let_in(desk: &Desk, cookie: &str, (method, path): (&str, &str)) -> bool {
    let answer = match method {
        "GET" => desk.get(cookie, path).await,
        _ => desk.post(cookie, path, &[]).await,
    };
    if answer.status == 403 {
        answer.assert_has(&["This needs the permission "]);
    }
    assert!(answer.status < 500, "{path}: {}", answer.text);
    let is_sent_to_login = answer.status == 303 && answer.location().starts_with("/desk/login?");
    !is_sent_to_login && answer.status != 401 && answer.status != 403
}

/// All routes but those of the session itself, and the stream of events, which does not end.
fn routes(work: &Work) -> Vec<(String, String, String)> {
    let is_walked = |(_, path, needs): &(String, String, String)| {
        needs != "public" && needs != "session" && path != "/desk/events"
    };
    let all = Server::desk_routes().into_iter().filter(is_walked);
    all.map(|(method, path, needs)| (method, filled(&path, work), needs)).collect()
}

#[tokio::test]
async fn each_route_lets_in_who_has_its_permissions() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    let nothing = desk.sign_in_with("nothing", &[], &[]).await;
    let administrator = desk.sign_in().await;
    let routes = routes(&work);
    assert!(routes.len() >= 25, "{}", routes.len());
    for (method, path, needs) in &routes {
        let is_only_view = needs.split(',').all(|permission| permission.ends_with(".View"));
        for (name, cookie, expected) in [
            ("nobody", "", false),
            ("nothing", &*nothing, false),
            ("viewer", &*viewer, is_only_view),
            ("administrator", &*administrator, true),
        ] {
            let let_in = is_let_in(&desk, cookie, (method, path)).await;
            assert_eq!(let_in, expected, "{name}: {method} {path} needs {needs}");
        }
    }
}

/// Of a folder without access nobody learns anything: its items are neither listed nor found.
#[tokio::test]
async fn a_folder_without_access_is_not_there() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let elsewhere = desk.sign_in_with("finance", &["Administrator"], &["Finance"]).await;
    for (method, path, needs) in routes(&work) {
        let is_of_folder = path.starts_with("/desk/access/folders/");
        let is_of_tenant = path == "/desk/health"
            || path.starts_with("/desk/webhooks")
            || path.starts_with("/desk/alerts")
            || path.starts_with("/desk/audit")
            || path.starts_with("/desk/access") && !is_of_folder;
        let answer = match &*method {
            "GET" => desk.get(&elsewhere, &path).await,
            _ => {
                let item = format!("{}:1", work.failed);
                let form = [("item", &*item), ("to", "verified"), ("act", "verified")];
                desk.post(&elsewhere, &path, &form).await
            }
        };
        let is_of_thing =
            path.split('/').skip(3).any(|part| part.contains(|letter: char| letter.is_ascii_digit()));
        let expected: &[u16] = match (is_of_tenant, is_of_thing, &*method) {
            (true, ..) => &[403],
            (_, true, _) => &[404],
            (_, _, "GET") => &[200],
            // The form has no name of a view.
            _ if path == "/desk/views" => &[400],
            // A preview in which the item does not exist.
            _ if path == "/desk/operations" => &[303],
            // The form has no type.
            _ if path == "/desk/assets" => &[400],
            _ => &[409],
        };
        assert!(
            expected.contains(&answer.status),
            "{method} {path} ({needs}): {} {}",
            answer.status,
            answer.text
        );
        for secret in ["INV-2", "INV-3", "the total", "Invoices", "host-of-robots", "ann@sap", "hunter2"] {
            assert!(!answer.text.contains(secret), "{method} {path} shows {secret}");
        }
    }
    assert_eq!(desk.item(work.failed).await["ReviewStatus"], "None");
    let named = desk.get(&elsewhere, "/desk/items?folder=1").await;
    assert_eq!(named.status, 403, "{}", named.text);
}

/// What a reader may not do is not offered.
#[tokio::test]
async fn pages_offer_what_their_reader_may_do() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    let administrator = desk.sign_in().await;
    for path in [
        format!("/desk/items/{}", work.failed),
        format!("/desk/items/{}", work.new),
        format!("/desk/queues/{}", work.queue),
        format!("/desk/jobs/{}", work.job),
        format!("/desk/assets/{}", work.asset),
        format!("/desk/tasks/{}", work.task),
        "/desk/assets".to_owned(),
        "/desk/webhooks".to_owned(),
        "/desk/items".to_owned(),
        "/desk/review".to_owned(),
    ] {
        let forms = async |cookie: &str| {
            let page = desk.get(cookie, &path).await.text;
            // A view is the reader's own: it changes nothing that others see.
            page.matches("method=\"post\"").count() - page.matches("action=\"/desk/views\"").count()
        };
        // The theme and the way out are for everybody.
        assert_eq!(forms(&viewer).await, 2, "{path}");
        assert!(forms(&administrator).await > 2, "{path}");
    }
}

/// The navigation has the sections that a reader can open, and no others.
#[tokio::test]
async fn the_navigation_leads_to_pages_that_open() {
    let desk = Desk::start().await;
    desk.work().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &["Shared"]).await;
    let administrator = desk.sign_in().await;
    for (cookie, has_health) in [(&viewer, false), (&administrator, true)] {
        let page = desk.get(cookie, "/desk").await.text;
        let navigation =
            page.split("aria-label=\"Sections\"").nth(1).unwrap().split("</nav>").next().unwrap();
        assert_eq!(navigation.contains("href=\"/desk/health\""), has_health, "{navigation}");
        for link in navigation.split("href=\"").skip(1) {
            let path = link.split('"').next().unwrap();
            assert_eq!(desk.get(cookie, path).await.status, 200, "{path}");
        }
    }
}

/// The names of the others are not shown to a reader who cannot assign an item to them.
#[tokio::test]
async fn reviewers_are_named_to_reviewers() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    let viewer = desk.sign_in_with("viewer", &["Viewer"], &[]).await;
    desk.sign_in_with("colleague", &["Administrator"], &[]).await;
    let administrator = desk.sign_in().await;
    for path in ["/desk/items".to_owned(), format!("/desk/items/{}", work.failed), "/desk/review".to_owned()]
    {
        let is_named = async |cookie: &str| {
            let page = desk.get(cookie, &path).await;
            assert_eq!(page.status, 200, "{}", page.text);
            page.text.contains(">colleague")
        };
        assert!(is_named(&administrator).await, "{path}");
        assert!(!is_named(&viewer).await, "{path}");
    }
}
