//! Storage buckets in every store, and the files in their storages: what is listed, what is left of a deleted bucket, links that are refused.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use performer_core::model::audit::{Act, AuditFilter};
use performer_core::model::bucket::{BucketOptions, FilePath, NewBucket, PathPrefix};
use performer_core::model::code::ErrorCode;
use performer_core::model::key::FolderId;
use performer_core::orchestrator::{
    BucketAdministration as _, ErrorKind, FileStream, OrchestratorError, Result,
};
use performer_proofs::postgres::Schema;
use performer_store::{BucketSelector, FileStorage, Store};

const FINANCE: FolderId = FolderId(7);

/// Memory, a file with a folder beside it, and a database with a storage of its own.
async fn stores(folder: &Path, schema: &Schema) -> Vec<Store> {
    vec![
        Store::memory(),
        Store::sqlite(folder.join("a.db")).await.unwrap(),
        Store::postgres(&schema.url)
            .await
            .unwrap()
            .with_files(FileStorage::folder(folder.join("files")).unwrap()),
    ]
}

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

fn content(pieces: &[&'static [u8]]) -> FileStream {
    let pieces: Vec<Result<Bytes>> = pieces.iter().map(|piece| Ok(Bytes::from_static(piece))).collect();
    Box::pin(stream::iter(pieces))
}

async fn read(store: &Store, bucket: &str, path: &str) -> Result<Vec<u8>> {
    let mut content = store.read_bucket_file(bucket, path).await?;
    let mut all = Vec::new();
    while let Some(piece) = content.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

async fn paths(store: &Store, bucket: &str, prefix: &str) -> Vec<String> {
    let listed = store.list_bucket_files(bucket, prefix, None).await.unwrap();
    listed.files.into_iter().map(|file| file.path).collect()
}

#[tokio::test]
async fn buckets_and_files_have_a_life_in_every_store() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let made = store.create_bucket(NewBucket::new("Files").description("d".to_owned())).await.unwrap();
        assert_eq!(made.folders, [FolderId::SHARED]);
        assert_eq!(store.get_bucket("FILES").await.unwrap(), made);
        assert_eq!(store.find_bucket(BucketSelector::Key(made.key)).await.unwrap(), made);
        assert_eq!(code(store.create_bucket(NewBucket::new("files")).await), 1001);
        assert_eq!(code(store.create_bucket(NewBucket::new("x").key(made.key)).await), 1001);
        store.create_bucket(NewBucket::new("ä")).await.unwrap();
        let names: Vec<String> =
            store.list_buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
        assert_eq!(names, ["Files", "ä"]);
        let large: &'static [u8] = Box::leak(vec![7_u8; 700_000].into_boxed_slice());
        for (path, pieces) in
            [("a.txt", &[&b"a"[..], b"b"][..]), ("/x/y z.pdf", &[large, large]), ("x/ü", &[])]
        {
            store.write_bucket_file("files", path, None, content(pieces)).await.unwrap();
        }
        assert_eq!(read(&store, "Files", "a.txt").await.unwrap(), b"ab");
        assert_eq!(read(&store, "Files", "x/y z.pdf").await.unwrap().len(), 1_400_000);
        assert_eq!(read(&store, "Files", "x/ü").await.unwrap(), b"");
        assert_eq!(paths(&store, "Files", "").await, ["a.txt", "x/y z.pdf", "x/ü"]);
        assert_eq!(paths(&store, "Files", "x/y").await, ["x/y z.pdf"]);
        assert_eq!(paths(&store, "ä", "").await, [""; 0]);
        let (one, has_more) = store.find_files(&made, &PathPrefix::default(), "a.txt", 1).await.unwrap();
        assert_eq!((one[0].path.as_str(), one[0].size, has_more), ("x/y z.pdf", 1_400_000, true));

        // What breaks off leaves what there was.
        let broken: Vec<Result<Bytes>> = vec![
            Ok(Bytes::from_static(large)),
            Ok(Bytes::from_static(large)),
            Err(OrchestratorError::invalid("broken")),
        ];
        let broken = store.write_bucket_file("Files", "a.txt", None, Box::pin(stream::iter(broken))).await;
        assert_eq!(broken.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(read(&store, "Files", "a.txt").await.unwrap(), b"ab");
        for (path, wanted) in [("x", 1002), ("a.txt/b", 1002), ("none", 1002), ("../a", 1009)] {
            assert_eq!(code(read(&store, "Files", path).await), wanted, "{path}");
        }
        store.update_bucket("Files", NewBucket::new("Old").options(BucketOptions::ReadOnly)).await.unwrap();
        assert_eq!(code(store.write_bucket_file("Old", "b", None, content(&[])).await), 1017);
        assert_eq!(code(store.delete_bucket_file("Old", "a.txt").await), 1017);
        let other = NewBucket::new("Old").key(Some("6f1c0000-0000-4000-8000-000000000001".parse().unwrap()));
        assert_eq!(code(store.update_bucket("Old", other).await), 1009, "an identifier never changes");
        let changed = NewBucket::new("Old").options(BucketOptions::AuditReadAccess);
        assert_eq!(store.update_bucket("Old", changed).await.unwrap().key, made.key);
        read(&store, "Old", "a.txt").await.unwrap();
        store.delete_bucket_file("Old", "a.txt").await.unwrap();
        assert_eq!(code(store.delete_bucket_file("Old", "a.txt").await), 1002);
        let acts = store.audit(AuditFilter::default()).await.unwrap();
        let acts: Vec<Act> = acts.iter().map(|record| record.entry.act).take(2).collect();
        assert_eq!(acts, [Act::BucketFileDeleted, Act::BucketFileRead]);

        // Its files are removed with it, and its identifier is free then.
        store.delete_bucket("Old").await.unwrap();
        assert_eq!(code(store.get_bucket("Old").await), 1002);
        store.create_bucket(NewBucket::new("Old").key(made.key)).await.unwrap();
        assert_eq!(paths(&store, "Old", "").await, [""; 0]);
    }
}

#[tokio::test]
async fn buckets_are_shared_with_folders() {
    let (folder, schema) = (tempfile::tempdir().unwrap(), Schema::new());
    for store in stores(folder.path(), &schema).await {
        let bucket = store.create_bucket(NewBucket::new("Files")).await.unwrap();
        let elsewhere = store.in_scope(FINANCE, None);
        assert_eq!(code(elsewhere.get_bucket("Files").await), 1002);
        store.share_bucket("files", vec![FINANCE], Vec::new()).await.unwrap();
        store.write_bucket_file("Files", "a", None, content(&[b"a"])).await.unwrap();
        assert_eq!(read(&elsewhere, "FILES", "a").await.unwrap(), b"a");
        let only_here = Some(Arc::from([FolderId::SHARED]));
        let which = BucketSelector::Id(bucket.id);
        assert_eq!(code(store.delete_bucket_within(which.clone(), only_here.clone()).await), 1017);
        assert_eq!(code(store.replace_bucket(which, NewBucket::new("x"), only_here).await), 1017);
        let both = vec![FolderId::SHARED, FINANCE];
        assert_eq!(code(store.share_bucket("Files", Vec::new(), both).await), 1009);
        store.share_bucket("Files", Vec::new(), vec![FolderId::SHARED]).await.unwrap();
        assert_eq!(code(store.get_bucket("Files").await), 1002);
        store.create_bucket(NewBucket::new("files")).await.unwrap();
        assert_eq!(code(store.share_bucket("files", vec![FINANCE], Vec::new()).await), 1004);
    }
}

/// A process that ends between the commit and the removal leaves files; the next one that removes finds them.
#[tokio::test]
async fn files_of_a_deleted_bucket_are_removed_by_whoever_comes_next() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path().join("a.db")).await.unwrap();
    let bucket = store.create_bucket(NewBucket::new("Files")).await.unwrap();
    store.write_bucket_file("Files", "x/a", None, content(&[b"a"])).await.unwrap();
    let kept = folder.path().join("a.db.buckets/buckets").join(bucket.key.to_string());
    assert_eq!(std::fs::read(kept.join("x/a")).unwrap(), b"a");
    // What keeps the file from being removed here keeps it in a process that ends, too.
    let (place, aside) = (folder.path().join("a.db.buckets/buckets"), folder.path().join("aside"));
    std::fs::rename(&place, &aside).unwrap();
    std::fs::write(&place, "").unwrap();
    store.delete_bucket("Files").await.unwrap();
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(&aside, &place).unwrap();
    assert!(kept.join("x/a").exists());
    let again = NewBucket::new("Files").key(bucket.key);
    assert_eq!(code(store.create_bucket(again.clone()).await), 1001, "it would have the old files");
    let next = Store::sqlite(folder.path().join("a.db")).await.unwrap();
    assert_eq!(next.remove_files().await.unwrap(), 1);
    assert!(!kept.exists());
    assert_eq!(next.remove_files().await.unwrap(), 0);
    next.create_bucket(again).await.unwrap();
}

#[cfg(unix)]
#[tokio::test]
async fn links_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path().join("a.db")).await.unwrap();
    let bucket = store.create_bucket(NewBucket::new("Files")).await.unwrap();
    store.write_bucket_file("Files", "x/a", None, content(&[b"a"])).await.unwrap();
    let outside = folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("secret"), "secret").unwrap();
    let files = folder.path().join("a.db.buckets/buckets").join(bucket.key.to_string());
    std::os::unix::fs::symlink(&outside, files.join("link")).unwrap();
    std::os::unix::fs::symlink(outside.join("secret"), files.join("x/secret")).unwrap();
    for path in ["link/secret", "x/secret"] {
        assert_eq!(code(read(&store, "Files", path).await), 1009, "{path}");
        assert_eq!(code(store.write_bucket_file("Files", path, None, content(&[b"x"])).await), 1009);
        assert_eq!(code(store.delete_bucket_file("Files", path).await), 1009);
        let path = FilePath::parse(path).unwrap();
        assert_eq!(code(store.find_file(&bucket, &path).await), 1009);
    }
    assert_eq!(code(store.write_bucket_file("Files", "link/new", None, content(&[b"x"])).await), 1009);
    assert_eq!(paths(&store, "Files", "").await, ["x/a"], "links are in no list");
    store.delete_bucket("Files").await.unwrap();
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "secret");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &folder.path().join("a.db.buckets").metadata().unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700, "files are their owner's");
}

#[test]
fn storages_have_urls() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b");
    for url in [path.display().to_string(), format!("file://{}", path.display()), "memory:".to_owned()] {
        assert!(FileStorage::open(&url).is_ok(), "{url}");
    }
    for url in ["", "file:", "memory:x", "ftp://x/y", "postgres://user:secret@host/x"] {
        let refused = FileStorage::open(url).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid, "{url}");
        assert!(!refused.to_string().contains("secret"), "{refused}");
    }
}

#[tokio::test]
async fn a_database_without_a_storage_says_how_to_get_one() {
    let schema = Schema::new();
    let store = Store::postgres(&schema.url).await.unwrap();
    let bucket = store.create_bucket(NewBucket::new("Files")).await.unwrap();
    let refused = store.write_bucket_file("Files", "a", None, content(&[b"a"])).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("PERFORMER_BUCKETS"), "{refused}");
    // What is to be removed is kept until there is one.
    store.delete_bucket("Files").await.unwrap();
    let again = NewBucket::new("Files").key(bucket.key);
    assert_eq!(code(store.create_bucket(again.clone()).await), 1001, "its files may still be there");
    let folder = tempfile::tempdir().unwrap();
    let with_files = store.with_files(FileStorage::folder(folder.path()).unwrap());
    assert_eq!(with_files.remove_files().await.unwrap(), 1);
    store.create_bucket(again).await.unwrap();
}
