//! The stream of events: what it says, to whom, and when it ends.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Desk;

/// A stream that is read event by event.
struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(desk: &Desk, cookie: &str, path: &str) -> Self {
        let request = desk.http.get(format!("{}{path}", desk.served.url)).header("cookie", cookie);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "{path}");
        assert_eq!(answer.headers()["content-type"], "text/event-stream; charset=utf-8");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        Self { answer, text: String::new() }
    }

    /// The name and data of the next event; `None` at the end.
    async fn next(&mut self) -> Option<(String, String)> {
        let event = tokio::time::timeout(Duration::from_secs(20), self.next_event()).await;
        event.expect("an event comes within a second or two")
    }

    async fn next_event(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let value =
                    |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
                if let (Some(name), Some(data)) = (value("event: "), value("data: ")) {
                    return Some((name, data));
                }
                continue;
            }
            let chunk = self.answer.chunk().await.unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    async fn change(&mut self) -> Value {
        let (name, data) = self.next().await.expect("the stream goes on");
        assert_eq!(name, "change", "{data}");
        serde_json::from_str(&data).unwrap()
    }
}

#[tokio::test]
async fn a_stream_says_what_has_changed() {
    let desk = Desk::start().await;
    let (work, cookie) = (desk.work().await, desk.sign_in().await);
    let path = format!("/desk/events?status=New&newest={}", work.new);
    let mut stream = Stream::open(&desk, &cookie, &path).await;
    let first = stream.change().await;
    let of_queue = format!("{}.Failed", work.queue);
    assert_eq!((&first["numbers"]["*.New"], &first["numbers"][&of_queue]), (&json!("1"), &json!("1")));
    assert_eq!(first["newer"], Value::Null, "nothing is newer");
    desk.add("INV-9", &json!({})).await;
    let second = stream.change().await;
    assert_eq!(second["numbers"]["*.New"], "2");
    assert_eq!(second["numbers"].as_object().unwrap().len(), 2, "only what has changed: {second}");
    // Numbers and lists are read once a second each, so the list may come with a later event.
    let newer = if second["newer"].is_null() { stream.change().await } else { second };
    assert_eq!(newer["newer"], 1, "{newer}");
    // What is not in the list does not count.
    desk.process(&json!({"IsSuccessful": true})).await;
    loop {
        let change = stream.change().await;
        assert_eq!(change["newer"], Value::Null, "{change}");
        if change["numbers"]["*.Successful"] == "2" {
            break;
        }
    }
}

#[tokio::test]
async fn a_stream_ends_with_its_session() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let mut stream = Stream::open(&desk, &cookie, "/desk/events").await;
    stream.change().await;
    assert_eq!(desk.post(&cookie, "/desk/logout", &[]).await.status, 303);
    assert_eq!(stream.next().await.unwrap().0, "end");
    assert_eq!(stream.next().await, None);
    for (cookie, status) in [("", 303), (&*cookie, 303)] {
        assert_eq!(desk.get(cookie, "/desk/events").await.status, status);
    }
}

/// A tab that is left open is no use of the session.
#[tokio::test]
async fn a_stream_does_not_keep_its_session() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    assert_eq!(desk.get(&cookie, "/desk").await.status, 200);
    let mut stream = Stream::open(&desk, &cookie, "/desk/events").await;
    stream.change().await;
    desk.clock.advance(Duration::from_secs(31 * 60));
    assert_eq!(stream.next().await.unwrap().0, "end");
    assert_eq!(desk.get(&cookie, "/desk").await.status, 303);
}

#[tokio::test]
async fn a_stream_says_nothing_of_other_folders() {
    let desk = Desk::start().await;
    let work = desk.work().await;
    desk.served.access_admin.add_folder("Finance").await.unwrap();
    let elsewhere = desk.sign_in_with("finance", &["Administrator"], &["Finance"]).await;
    let path = format!("/desk/events?newest={}", work.new);
    let first = Stream::open(&desk, &elsewhere, &path).await.change().await;
    assert_eq!(first["numbers"]["*.New"], "0");
    assert!(first["numbers"].as_object().unwrap().keys().all(|name| name.starts_with("*.")), "{first}");
    let nothing = desk.sign_in_with("nothing", &[], &[]).await;
    assert_eq!(desk.get(&nothing, "/desk/events").await.status, 403);
    let cookie = desk.sign_in().await;
    for (query, status) in [("newest=x", 400), ("newest=1&colour=red", 400)] {
        assert_eq!(desk.get(&cookie, &format!("/desk/events?{query}")).await.status, status, "{query}");
    }
}

/// Without JavaScript a page can be loaded again and again.
#[tokio::test]
async fn a_page_is_loaded_again_if_it_is_asked_to() {
    let desk = Desk::start().await;
    desk.work().await;
    let cookie = desk.sign_in().await;
    let meta = "<noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>";
    for path in ["/desk", "/desk/items?status=New", "/desk/review"] {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = desk.get(&cookie, &format!("{path}{mark}refresh=30")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        page.assert_has(&[meta]);
        assert!(!desk.get(&cookie, path).await.text.contains("http-equiv"), "{path}");
    }
    assert_eq!(desk.get(&cookie, "/desk?refresh=1").await.status, 400);
}
