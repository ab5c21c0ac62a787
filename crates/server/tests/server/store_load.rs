//! Operations that would load the store: slow searches, logins, many tokens.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use performer::model::{Clock, ManualClock};
use performer::orchestrator::QueueAdministration as _;
use performer::orchestrator::store::Store;
use performer::orchestrator::{CommitType, Orchestrator};
use performer::{NewQueueDefinition, NewQueueItem};
use rusqlite::Connection;
use serde_json::json;

use crate::Api;
use performer_proofs::test_server::{CLIENT, SECRET, TestServer};
use performer_proofs::{QUEUE, start_of_time};

/// A clock that advances by a millisecond with each reading.
#[derive(Debug, Default)]
struct FastClock(AtomicU64);

impl Clock for FastClock {
    fn now(&self) -> Timestamp {
        start_of_time()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::test]
async fn a_slow_search_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let store =
        Store::sqlite_with_clock(folder.path().join("a.db"), Arc::<FastClock>::default()).await.unwrap();
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let items = (0..5_000).map(|n| NewQueueItem::new(json!({ "n": n })).reference(format!("r{n}")));
    let added = store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items.collect()).await.unwrap();
    assert_eq!(added.added, 5_000);
    let with_limit = async |limit| {
        let limit = Duration::from_millis(limit);
        Api::on(TestServer::start_as(store.clone(), |server| server.list_limit(limit)).await).await
    };
    let search = "/odata/QueueItems?$filter=contains(Reference,'r4999')&$count=true";
    let patient = with_limit(1_000_000).await;
    let found = patient.get(search).await;
    assert_eq!((found.status, found.body["@odata.count"].as_u64()), (200, Some(1)), "{}", found.text);
    let api = with_limit(3).await;
    let refused = api.get(search).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    assert!(refused.is_api_error() && refused.text.contains("name the queue"), "{}", refused.text);
    // Indexed lists still work, and the next search has its own time limit.
    let page = api.get("/odata/QueueItems?$top=1").await;
    assert_eq!((page.status, page.body["value"].as_array().map(Vec::len)), (200, Some(1)), "{}", page.text);
    assert_eq!(api.get("/odata/QueueItems(1)").await.status, 200);
    assert_eq!(patient.get(search).await.status, 200);
}

fn raw(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// A server over a file with a manual clock.
async fn over_file(path: &Path) -> Api {
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(path, clock.clone()).await.unwrap();
    Api::over(store, clock, |server| server).await
}

#[tokio::test]
async fn a_login_does_not_rewrite_the_directory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let api = over_file(&path).await;
    let directory = || {
        let sql = "SELECT version, text FROM directory";
        let read = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?));
        raw(&path).query_row(sql, [], read).unwrap()
    };
    let tokens =
        || -> i64 { raw(&path).query_row("SELECT count(*) FROM token", [], |row| row.get(0)).unwrap() };
    let (before, count) = (directory(), tokens());
    for _ in 0..20 {
        let token = api.login(CLIENT, SECRET, None).await.unwrap();
        assert_eq!(api.call_as(&token, None, "GET", "/odata/Folders", &json!(null)).await.status, 200);
        assert!(!before.1.contains("tokens\":{\""), "the directory contains no token");
    }
    assert_eq!((directory(), tokens()), (before, count + 20));
}

/// An older version kept all tokens in the directory.
#[tokio::test]
async fn tokens_of_an_older_directory_are_valid_and_can_be_revoked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let api = over_file(&path).await;
    let (token, access_admin) = (api.token.clone(), &api.served.access_admin);
    let roles = performer::server::Roles { roles: vec!["Administrator".to_owned()], folders: Vec::new() };
    access_admin.add_user("ann", performer::model::UserType::User, None, &roles).await.unwrap();
    let life = Duration::from_secs(3_600);
    let anns = access_admin.add_token("ann", "laptop", "OR.Folders", life).await.unwrap();
    drop(api);
    let file = raw(&path);
    let mut directory: serde_json::Value = {
        let text: String = file.query_row("SELECT text FROM directory", [], |row| row.get(0)).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let mut rows = file.prepare("SELECT digest, user_id, client, name, scopes, expires FROM token").unwrap();
    let mut moved = serde_json::Map::new();
    let mut rows = rows.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let scopes: serde_json::Value = serde_json::from_str(&row.get::<_, String>(4).unwrap()).unwrap();
        let expires = Timestamp::from_microsecond(row.get(5).unwrap()).unwrap().to_string();
        let token = json!({
            "user": row.get::<_, i64>(1).unwrap(), "client": row.get::<_, Option<String>>(2).unwrap(),
            "name": row.get::<_, Option<String>>(3).unwrap(), "scopes": scopes, "expires": expires,
        });
        moved.insert(row.get(0).unwrap(), token);
    }
    drop(rows);
    assert_eq!(moved.len(), 2);
    directory["tokens"] = moved.into();
    file.execute("UPDATE directory SET version = version + 1, text = ?1", [directory.to_string()]).unwrap();
    file.execute("DELETE FROM token", []).unwrap();
    let api = over_file(&path).await;
    let ask =
        async |token: &str| api.call_as(token, None, "GET", "/odata/Folders", &json!(null)).await.status;
    assert_eq!((ask(&token).await, ask(&anns).await), (200, 200));
    let left: String = file.query_row("SELECT text FROM directory", [], |row| row.get(0)).unwrap();
    assert!(left.contains("\"tokens\":{}"), "an older program can still read it");
    let access_admin = &api.served.access_admin;
    let named: Vec<_> = access_admin
        .tokens()
        .await
        .unwrap()
        .into_iter()
        .map(|(user, token)| (user.user_name, token.name))
        .collect();
    assert_eq!(named, [("ann".to_owned(), Some("laptop".to_owned()))]);
    assert_eq!(access_admin.revoke_tokens("ann", Some("laptop")).await.unwrap(), 1);
    assert_eq!(access_admin.revoke_tokens("ann", None).await.unwrap(), 0);
    // The server refreshes twice a second.
    while ask(&anns).await == 200 {}
    assert_eq!((ask(&token).await, ask(&anns).await), (200, 401));
}

/// Each login revokes all but the newest thousand tokens of logins.
#[tokio::test]
async fn only_the_newest_thousand_logins_stay_valid() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let api = over_file(&path).await;
    let ask =
        async |token: &str| api.call_as(token, None, "GET", "/odata/Folders", &json!(null)).await.status;
    let first = api.token.clone();
    api.clock.advance(Duration::from_secs(1));
    let second = api.login(CLIENT, SECRET, None).await.unwrap();
    assert_eq!((ask(&first).await, ask(&second).await), (200, 200));
    // Rows as of further logins.
    let file = raw(&path);
    let sql = "INSERT INTO token SELECT 'x' || value, user_id, client, name, scopes, expires + 1000000 \
               FROM (SELECT * FROM token LIMIT 1), json_each(?1)";
    let others: Vec<i64> = (0..998).collect();
    file.execute(sql, [json!(others).to_string()]).unwrap();
    assert_eq!((ask(&first).await, ask(&second).await), (200, 200));
    api.clock.advance(Duration::from_secs(1));
    let third = api.login(CLIENT, SECRET, None).await.unwrap();
    assert_eq!((ask(&first).await, ask(&second).await, ask(&third).await), (401, 200, 200));
    let count: i64 = file.query_row("SELECT count(*) FROM token", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1_000);
    // Expired tokens are removed in batches a day later.
    api.clock.advance(Duration::from_secs(2 * 86_400));
    let pieces = AtomicU64::new(0);
    let removed = api
        .served
        .store
        .remove_ended(300, async || {
            pieces.fetch_add(1, Ordering::Relaxed);
        })
        .await;
    assert_eq!((removed.unwrap().tokens, pieces.into_inner()), (1_000, 3));
}
