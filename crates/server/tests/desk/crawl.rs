//! All pages, by following all links from the first: no link is dead, no page has anything inline, every answer has its headers.

use std::collections::{BTreeMap, BTreeSet};

use performer::server::Server;

use crate::{Answer, Desk};

/// The tags of a page with their attributes.
fn tags(html: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let (mut tags, mut rest) = (Vec::new(), html);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let name: String = rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        if name.is_empty() {
            continue;
        }
        rest = &rest[name.len()..];
        let mut attributes = BTreeMap::new();
        loop {
            rest = rest.trim_start_matches([' ', '\n', '/']);
            if rest.starts_with('>') || rest.is_empty() {
                break;
            }
            let end = rest.find([' ', '\n', '=', '>']).unwrap_or(rest.len());
            let attribute = rest[..end].to_lowercase();
            rest = &rest[end..];
            let mut value = String::new();
            if let Some(after) = rest.strip_prefix("=\"") {
                let end = after.find('"').expect("the attribute ends");
                (value, rest) = (after[..end].to_owned(), &after[end + 1..]);
            } else {
                assert!(
                    !rest.starts_with('='),
                    "the value of {attribute} has no quotation marks: {rest:.80}"
                );
            }
            attributes.insert(attribute, value);
        }
        tags.push((name.to_lowercase(), attributes));
    }
    tags
}

/// Fails if a page has a script, a style or a handler in itself, or loads something from elsewhere.
pub(crate) fn assert_nothing_inline(html: &str) {
    for (name, attributes) in tags(html) {
        assert_ne!(name, "style", "{html}");
        if name == "script" {
            assert!(attributes["src"].starts_with("/desk/static/"), "{html}");
        }
        for (attribute, value) in &attributes {
            assert!(attribute != "style" && !attribute.starts_with("on"), "{name} {attribute}={value}");
            if ["href", "src", "action"].contains(&attribute.as_str()) {
                let is_ours = value.starts_with('#')
                    || value == "/desk"
                    || value.starts_with("/desk/")
                    || value.starts_with("/desk?");
                assert!(is_ours, "{name} {attribute}={value}");
            }
        }
    }
    let scripts = html.matches("<script").count();
    assert_eq!(html.matches("\"></script>").count(), scripts, "a script has content: {html}");
}

fn assert_headers(path: &str, answer: &Answer) {
    let policy = answer.header("content-security-policy");
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ] {
        assert!(policy.split("; ").any(|found| found == part), "{path}: {policy}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains("nonce"), "{policy}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), value, "{path}: {name}");
    }
    let is_asset = path.starts_with("/desk/static/");
    let expected = if is_asset { "public, max-age=31536000, immutable" } else { "no-store" };
    assert_eq!(answer.header("cache-control"), expected, "{path}");
    assert!(answer.header("access-control-allow-origin").is_empty());
}

/// Whether a path has the form of a route.
fn is_of(route: &str, path: &str) -> bool {
    let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
    route.len() == path.len()
        && route.iter().zip(&path).all(|(form, part)| form == part || form.starts_with('{'))
}

#[tokio::test]
async fn no_link_is_dead_and_nothing_is_inline() {
    let desk = Desk::start().await;
    desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let cookie = desk.sign_in().await;
    let mut waiting = vec!["/desk".to_owned()];
    let mut seen: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        assert!(seen.len() < 2_000, "the links never end: {path}");
        let answer = desk.get(&cookie, &path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_headers(&path, &answer);
        if !answer.header("content-type").starts_with("text/html") {
            continue;
        }
        assert_nothing_inline(&answer.text);
        for (_, attributes) in tags(&answer.text) {
            for link in ["href", "src"].iter().filter_map(|name| attributes.get(*name)) {
                let link = link.replace("&#38;", "&").replace("&amp;", "&");
                let link = link.split('#').next().unwrap().to_owned();
                if !link.is_empty() && seen.insert(link.clone()) {
                    waiting.push(link);
                }
            }
        }
    }
    let paths: Vec<&str> = seen.iter().map(|link| link.split('?').next().unwrap()).collect();
    for (method, route, _) in Server::desk_routes() {
        if method == "GET" && !["/desk/login", "/desk/open", "/desk/events"].contains(&&*route) {
            assert!(paths.iter().any(|path| is_of(&route, path)), "no page leads to {route}");
        }
    }
    assert_eq!(paths.iter().filter(|path| path.starts_with("/desk/static/")).count(), 3);
}

/// Errors, redirections and what is no page have the headers too.
#[tokio::test]
async fn every_answer_has_its_headers() {
    let desk = Desk::start_as(|server| server.cors_origin("*".parse().unwrap())).await;
    let cookie = desk.sign_in().await;
    for (cookie, path, status) in [
        ("", "/desk", 303),
        ("", "/desk/login", 200),
        (&*cookie, "/desk/nowhere", 404),
        (&*cookie, "/desk/items?colour=red", 400),
        (&*cookie, "/desk/static/desk.css", 404),
    ] {
        let request = desk.http.get(format!("{}{path}", desk.served.url));
        let answer = desk.send(request.header("cookie", cookie).header("origin", "https://other.test")).await;
        assert_eq!(answer.status, status, "{path}");
        assert_headers("", &answer);
        assert_nothing_inline(&answer.text);
    }
    let wrong = desk.post_from("cross-site", &cookie, "/desk/logout", &[]).await;
    assert_headers("", &wrong);
    let request = desk.http.delete(format!("{}/desk/items", desk.served.url));
    let wrong = desk.send(request.header("cookie", &cookie)).await;
    assert_eq!((wrong.status, wrong.header("allow")), (405, "GET, HEAD"));
    assert_headers("", &wrong);
}

#[test]
fn the_scan_finds_what_is_inline() {
    for html in [
        "<p style=\"x\">",
        "<p class=\"a\" onclick=\"x\">",
        "<style>p{}</style>",
        "<script src=\"/desk/static/a.js\">x</script>",
        "<a href=\"https://other.test\">",
        "<a href=\"javascript:x\">",
        "<p\nONLOAD=\"x\">",
    ] {
        assert!(std::panic::catch_unwind(|| assert_nothing_inline(html)).is_err(), "{html}");
    }
    assert_nothing_inline(
        "<script type=\"module\" src=\"/desk/static/a.js\"></script><p class=\"style\">on=1 &lt;script&gt;",
    );
}
