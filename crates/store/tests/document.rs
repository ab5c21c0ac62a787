//! The document of a server: compare-and-swap, and what happens in the same transaction.

use std::collections::BTreeSet;

use performer::NewQueueDefinition;
use performer::jiff::Timestamp;
use performer::model::FolderId;
use performer::orchestrator::QueueAdministration as _;
use performer::orchestrator::store::{DocumentChange, DocumentOutcome, Store, Token, TokensOf};
use performer_proofs::QUEUE;

fn change(replaces: u64, text: &str) -> DocumentChange {
    DocumentChange { replaces, text: text.to_owned(), ..DocumentChange::default() }
}

fn token(user: i64) -> Token {
    let expires = Timestamp::from_second(4_000_000_000).unwrap();
    Token { user, client: None, name: Some("a token".to_owned()), scopes: BTreeSet::new(), expires }
}

async fn a_write_names_the_version_that_it_replaces(store: &Store) {
    assert_eq!(store.document(0).await.unwrap(), None);
    assert_eq!(store.put_document(change(1, "no")).await.unwrap(), DocumentOutcome::Conflict);
    let written = DocumentOutcome::Written { revoked: 0 };
    assert_eq!(store.put_document(change(0, "one")).await.unwrap(), written);
    assert_eq!(store.document(0).await.unwrap(), Some((1, "one".to_owned())));
    assert_eq!(store.put_document(change(0, "no")).await.unwrap(), DocumentOutcome::Conflict);
    assert_eq!(store.put_document(change(1, "two")).await.unwrap(), written);
    assert_eq!(store.document(1).await.unwrap(), Some((2, "two".to_owned())));
    assert_eq!(store.document(2).await.unwrap(), None, "it is known");
}

async fn tokens_and_folders_belong_to_the_write(store: &Store) {
    let added = DocumentChange { added_tokens: vec![("digest".to_owned(), token(7))], ..change(2, "three") };
    store.put_document(added).await.unwrap();
    assert_eq!(store.token("digest").await.unwrap(), Some(token(7)));
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let revoked_tokens = vec![TokensOf::User(7)];
    let refused = DocumentChange {
        without_queues: vec![FolderId::SHARED],
        revoked_tokens: revoked_tokens.clone(),
        ..change(3, "no")
    };
    let error = store.put_document(refused.clone()).await.unwrap_err();
    assert_eq!(error.code().unwrap().number(), 1012, "the folder has a queue");
    let stale = DocumentChange { replaces: 2, without_queues: Vec::new(), ..refused };
    assert_eq!(store.put_document(stale).await.unwrap(), DocumentOutcome::Conflict);
    assert!(store.token("digest").await.unwrap().is_some(), "a write that is refused revokes nothing");
    let revoked = DocumentChange { revoked_tokens, ..change(3, "four") };
    assert_eq!(store.put_document(revoked).await.unwrap(), DocumentOutcome::Written { revoked: 1 });
    assert_eq!(store.token("digest").await.unwrap(), None);
}

async fn what_is_revoked_is_gone_and_nothing_else(store: &Store) {
    let tokens = [
        ("a", 7, Some("a token")),
        ("b", 7, Some("another")),
        ("c", 7, None),
        ("d", 8, Some("a token")),
        ("e", 8, None),
    ];
    for (revoked, gone) in [
        (TokensOf::Digest("a".to_owned()), &["a"][..]),
        (TokensOf::Digest("e".to_owned()), &["e"]),
        (TokensOf::Digest("A".to_owned()), &[]),
        (TokensOf::Named(7, "a token".to_owned()), &["a"]),
        (TokensOf::Named(8, "another".to_owned()), &[]),
        (TokensOf::One(7, "c".to_owned()), &["c"]),
        (TokensOf::One(8, "c".to_owned()), &[]),
        (TokensOf::Logins(7), &["c"]),
        (TokensOf::User(8), &["d", "e"]),
    ] {
        let (version, text) = store.document(0).await.unwrap().unwrap();
        let added = |(digest, user, name): (&str, i64, Option<&str>)| {
            (digest.to_owned(), Token { name: name.map(str::to_owned), ..token(user) })
        };
        let added_tokens = tokens.map(added).to_vec();
        let both =
            DocumentChange { added_tokens, revoked_tokens: vec![revoked.clone()], ..change(version, &text) };
        let written = DocumentOutcome::Written { revoked: gone.len() as u64 };
        assert_eq!(store.put_document(both).await.unwrap(), written, "{revoked:?}");
        let left = store.tokens_of(7).await.unwrap().into_iter().map(|(digest, _)| digest);
        let expected = ["c", "b", "a"].into_iter().filter(|digest| !gone.contains(digest));
        assert!(left.eq(expected), "{revoked:?}");
        for (digest, ..) in tokens {
            let is_gone = store.token(digest).await.unwrap().is_none();
            assert_eq!(is_gone, gone.contains(&digest), "{digest} of {revoked:?}");
        }
    }
}

async fn writers_at_the_same_time_lose_nothing(store: &Store) {
    const WRITERS: usize = 4;
    const WRITES: usize = 20;
    let writer = |store: Store| async move {
        for _ in 0..WRITES {
            loop {
                let (version, text) = store.document(0).await.unwrap().unwrap();
                let outcome = store.put_document(change(version, &format!("{text}."))).await.unwrap();
                if outcome != DocumentOutcome::Conflict {
                    break;
                }
            }
        }
    };
    let writers: Vec<_> = (0..WRITERS).map(|_| tokio::spawn(writer(store.clone()))).collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let (version, text) = store.document(0).await.unwrap().unwrap();
    assert_eq!(text.matches('.').count(), WRITERS * WRITES);
    assert_eq!(version, 4 + (WRITERS * WRITES) as u64);
}

async fn check(store: &Store) {
    a_write_names_the_version_that_it_replaces(store).await;
    tokens_and_folders_belong_to_the_write(store).await;
    writers_at_the_same_time_lose_nothing(store).await;
    what_is_revoked_is_gone_and_nothing_else(store).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_memory() {
    check(&Store::memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    check(&Store::sqlite(folder.path().join("queue.db")).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_database() {
    let schema = performer_proofs::postgres::Schema::new();
    check(&Store::postgres(&schema.url).await.unwrap()).await;
}
