//! What `connect` makes of a URL, with each set of features.

use performer::{ErrorKind, connect};

#[tokio::test]
async fn an_invalid_url_is_refused_with_the_reason() {
    for (url, kind, part) in [
        ("queue.db", ErrorKind::Invalid, "is not a URL"),
        #[cfg(feature = "sqlite")]
        ("sqlite:", ErrorKind::Invalid, "needs the path of a file"),
        #[cfg(feature = "sqlite")]
        ("sqlite::memory:", ErrorKind::Invalid, "use memory: instead"),
        #[cfg(feature = "sqlite")]
        ("sqlite:a.db?mode=ro", ErrorKind::Invalid, "unknown option \"mode=ro\""),
        ("memory:x", ErrorKind::Invalid, "takes nothing behind the colon"),
        ("ftp://user:secret@host", ErrorKind::Invalid, "unknown scheme \"ftp\""),
        #[cfg(feature = "postgres")]
        (
            "postgres://user:secret@127.0.0.1:1/db",
            ErrorKind::Unavailable,
            "the database db cannot be reached",
        ),
        #[cfg(feature = "postgres")]
        (
            "postgres://user:secret@127.0.0.1:1/db?sslmode=maybe",
            ErrorKind::Invalid,
            "sslmode \"maybe\" is unknown",
        ),
        #[cfg(not(feature = "postgres"))]
        ("postgres://user:secret@127.0.0.1:1/db", ErrorKind::Unsupported, "without its feature \"postgres\""),
        #[cfg(feature = "uipath")]
        ("http://user:secret@host/org", ErrorKind::Invalid, "would send tokens in the clear"),
        #[cfg(not(feature = "uipath"))]
        ("https://user:secret@host/org", ErrorKind::Unsupported, "without its feature \"uipath\""),
        #[cfg(feature = "sqlite")]
        ("sqlite:/no/such/folder/a.db", ErrorKind::Other, "/no/such/folder/a.db"),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}");
        let text = format!("{error} {error:?}");
        assert!(text.contains(part), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    assert!(connect("memory:").await.is_ok());
}

/// What `connect` says when a feature is off.
#[cfg(not(feature = "sqlite"))]
#[tokio::test]
async fn a_url_whose_feature_is_off_says_which_one_to_switch_on() {
    let error = performer::connect("sqlite:a.db").await.unwrap_err();
    assert_eq!(error.kind(), performer::ErrorKind::Unsupported);
    assert!(error.to_string().contains("--features sqlite"), "{error}");
}

/// With the feature it keeps the span (proofs/tests/otel.rs).
#[cfg(not(feature = "otel"))]
#[tokio::test]
async fn without_opentelemetry_an_item_keeps_nothing_of_the_span_around_it() {
    use performer::{ItemAdministration as _, NewQueueDefinition, NewQueueItem, QueueAdministration as _};
    use tracing::Instrument as _;

    let orchestrator = connect("memory:").await.unwrap();
    orchestrator.create_queue(NewQueueDefinition::new("Q")).await.unwrap();
    let add = orchestrator.add_queue_item("Q", NewQueueItem::new(serde_json::json!({})));
    let added = add.instrument(tracing::info_span!("order")).await.unwrap();
    assert_eq!(orchestrator.get_queue_item(added.id).await.unwrap().parent_operation_id, None);
}
