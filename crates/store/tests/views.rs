//! Saved views, and personal fields that are masked and revealed, in every store.

use std::sync::Arc;

use performer::model::FolderId;
use performer::model::audit::{Act, ActSource, Actor};
use performer::model::view::{MAX_VIEWS, SavedView, ViewContent};
use performer::orchestrator::store::{DocumentChange, Store};
use performer::orchestrator::{
    Insight as _, ItemAdministration as _, Orchestrator as _, QueueAdministration as _,
};
use performer::{ItemFilter, ItemId, NewQueueDefinition, NewQueueItem, Page, Schemas};
use performer_proofs::QUEUE;
use performer_proofs::postgres::Schema;
use serde_json::json;

const HERE: FolderId = FolderId::SHARED;

fn content(name: &str, folder: Option<FolderId>) -> ViewContent {
    let query = vec![("status".to_owned(), "Failed".to_owned()), ("columns".to_owned(), "why".to_owned())];
    ViewContent { name: name.to_owned(), query, folder }
}

fn names(views: &[SavedView]) -> Vec<&str> {
    views.iter().map(|view| view.content.name.as_str()).collect()
}

async fn acts(store: &Store) -> Vec<(Act, String)> {
    let records = store.audit_from(0).await.unwrap();
    records.into_iter().map(|record| (record.entry.act, record.entry.subject)).collect()
}

async fn views_are_kept(store: &Store) {
    let (ann, bob) = (store.in_scope(HERE, Some(7)), store.in_scope(HERE, Some(8)));
    let here: Arc<[FolderId]> = Arc::new([HERE]);
    let nowhere: Arc<[FolderId]> = Arc::new([]);
    let own = ann.add_view(content("b, private", None)).await.unwrap();
    let shared = ann.add_view(content("a, shared 'x'", Some(HERE))).await.unwrap();
    assert_eq!(acts(store).await, [(Act::ViewEdited, "view a, shared 'x'".to_owned())]);
    assert_eq!(ann.views(here.clone()).await.unwrap(), [shared.clone(), own.clone()], "by name");
    assert_eq!(bob.views(here.clone()).await.unwrap(), std::slice::from_ref(&shared));
    assert_eq!(bob.views(nowhere.clone()).await.unwrap(), []);
    assert_eq!(bob.list_views().await.unwrap(), std::slice::from_ref(&shared));
    // Names are one person's own.
    let taken = ann.add_view(content("b, private", None)).await.unwrap_err();
    assert_eq!(taken.code().unwrap().number(), 1001);
    bob.add_view(content("b, private", None)).await.unwrap();
    let taken = ann.edit_view(shared.id, content("b, private", None), nowhere.clone()).await.unwrap_err();
    assert_eq!(taken.code().unwrap().number(), 1001);
    // What is another's is not found, or not to be changed.
    assert!(bob.edit_view(own.id, content("x", None), here.clone()).await.unwrap_err().is_not_found());
    let refused = bob.remove_view(shared.id, nowhere.clone()).await.unwrap_err();
    assert_eq!(refused.code().unwrap().number(), 1007);
    assert!(bob.remove_view(own.id + 1_000, here.clone()).await.unwrap_err().is_not_found());
    let edited = bob.edit_view(shared.id, content("c", Some(HERE)), here.clone()).await.unwrap();
    assert_eq!((edited.owner, edited.id), (7, shared.id));
    assert_eq!(names(&ann.views(here.clone()).await.unwrap()), ["b, private", "c"]);
    assert!(ann.edit_view(own.id, content(" ", None), nowhere.clone()).await.is_err());
    bob.remove_view(shared.id, here.clone()).await.unwrap();
    assert_eq!(names(&ann.views(here.clone()).await.unwrap()), ["b, private"]);
    assert_eq!(acts(store).await.len(), 3, "what nobody else sees is not recorded");
    for number in 1..MAX_VIEWS {
        ann.add_view(content(&number.to_string(), None)).await.unwrap();
    }
    let full = ann.add_view(content("one too many", None)).await.unwrap_err();
    assert_eq!(full.code().unwrap().number(), 1009);
    bob.add_view(content("shared", Some(HERE))).await.unwrap();
    bob.add_view(content("elsewhere", Some(FolderId(99)))).await.unwrap();
    // With a person goes what only the person saw, and with a folder what it shared.
    let removed_users = vec![7, 8];
    let removal = DocumentChange { text: "x".to_owned(), removed_users, ..DocumentChange::default() };
    store.put_document(removal).await.unwrap();
    assert_eq!(ann.views(nowhere.clone()).await.unwrap(), []);
    assert_eq!(names(&ann.views(Arc::new([HERE, FolderId(99)])).await.unwrap()), ["elsewhere", "shared"]);
    let removal = DocumentChange {
        text: "y".to_owned(),
        replaces: 1,
        without_queues: vec![FolderId(99)],
        ..DocumentChange::default()
    };
    store.put_document(removal).await.unwrap();
    assert_eq!(names(&bob.views(Arc::new([FolderId(99)])).await.unwrap()), ["shared"]);
}

async fn personal_fields_are_masked_and_revealed(opened: &Store) {
    let ann = Actor::new(ActSource::Desk).user_id(7).user_name("ann");
    let (store, masked) = (opened.acting_as(ann.clone()), opened.acting_as(ann).masked());
    let schema = r#"{"properties":{"Iban":{"x-personal":true}}}"#;
    let schemas = Schemas { specific_data: Some(schema.into()), ..Schemas::default() };
    store.create_queue(NewQueueDefinition::new(QUEUE).schemas(schemas)).await.unwrap();
    let new = NewQueueItem::new(json!({"Iban": "DE89", "Total": 1})).reference("r");
    let item = store.add_queue_item(QUEUE, new).await.unwrap();
    let (whole, hidden) = (r#"{"Iban":"DE89","Total":1}"#, r#"{"Iban":"***","Total":1}"#);
    let read = async |store: &Store| {
        let one = store.get_queue_item(item.id).await.unwrap();
        let page = store.list_queue_items(ItemFilter::default(), Page::first(10)).await.unwrap();
        let chain = store.processing_history(item.id).await.unwrap();
        let folders: Arc<[FolderId]> = Arc::new([HERE]);
        let found = store.items_with_ids(folders.clone(), vec![item.id]).await.unwrap();
        let listed = store.items_in_folders(folders, ItemFilter::default(), Page::first(10)).await.unwrap();
        let all = [one, page.items[0].clone(), chain[0].clone(), found[0].1.clone(), listed.0[0].clone()];
        all.map(|item| item.specific_content.as_json().to_owned())
    };
    assert_eq!(read(&store).await, [whole; 5], "programs get all of it");
    assert_eq!(read(&masked).await, [hidden; 5]);
    assert_eq!(read(&masked.in_scope(HERE, Some(7))).await, [hidden; 5], "in every scope");
    let before = acts(&store).await.len();
    assert!(masked.reveal_personal_fields(item.id, " ".to_owned()).await.is_err());
    let missing = masked.reveal_personal_fields(ItemId(item.id.0 + 1_000), "x".to_owned()).await;
    assert!(missing.unwrap_err().is_not_found());
    assert_eq!(acts(&store).await.len(), before, "what is refused is no act");
    let shown = masked.reveal_personal_fields(item.id, "asked for".to_owned()).await.unwrap();
    assert_eq!(shown.specific_content.as_json(), whole);
    let record = store.audit_from(0).await.unwrap().pop().unwrap().entry;
    assert_eq!((record.act, record.items), (Act::PersonalRevealed, vec![item.id]));
    assert_eq!(record.actor.user_name.as_deref(), Some("ann"));
    assert_eq!(record.changes[0].after, Some(json!("asked for")));
    assert_eq!(record.changes[1].field, "SpecificContent.Iban");
    assert!(!serde_json::to_string(&record.changes).unwrap().contains("DE89"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    views_are_kept(&Store::memory()).await;
    personal_fields_are_masked_and_revealed(&Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path().join("queue.db")).await.unwrap();
    views_are_kept(&store).await;
    personal_fields_are_masked_and_revealed(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = Schema::new();
    let store = Store::postgres(&schema.url).await.unwrap();
    views_are_kept(&store).await;
    personal_fields_are_masked_and_revealed(&store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_at_the_same_time_add_no_more_views() {
    let schema = Schema::new();
    let mut stores = Vec::new();
    for _ in 0..3 {
        stores.push(Store::postgres(&schema.url).await.unwrap().in_scope(HERE, Some(7)));
    }
    let mut adding = tokio::task::JoinSet::new();
    for number in 0..MAX_VIEWS + 30 {
        let store = stores[number % stores.len()].clone();
        adding.spawn(async move { store.add_view(content(&format!("view {number}"), None)).await.is_ok() });
    }
    assert_eq!(adding.join_all().await.into_iter().filter(|added| *added).count(), MAX_VIEWS);
}
