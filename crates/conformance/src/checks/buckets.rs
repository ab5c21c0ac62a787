//! Storage buckets are kept, changed and deleted, and their files written and read, where a back end says that it has them.

use futures_util::{StreamExt as _, stream};
use performer::model::ErrorCode;
use performer::model::bucket::{BucketOptions, NewBucket};
use performer::orchestrator::{BucketAdministration, ErrorKind, FileStream, Result};

use crate::Fixture;

fn code<T>(answer: Result<T>) -> u16 {
    answer.err().and_then(|error| error.code()).map_or(0, ErrorCode::number)
}

fn content(pieces: &[&[u8]]) -> FileStream {
    let pieces: Vec<_> = pieces.iter().map(|piece| Ok(piece.to_vec().into())).collect();
    Box::pin(stream::iter(pieces))
}

async fn read(buckets: &dyn BucketAdministration, path: &str) -> Result<Vec<u8>> {
    let mut content = buckets.read_bucket_file("Files", path).await?;
    let mut all = Vec::new();
    while let Some(piece) = content.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

pub(crate) async fn a_bucket_is_changed_and_deleted(f: Fixture) {
    let Some(buckets) = f.orchestrator.buckets() else { return };
    let made = buckets.create_bucket(NewBucket::new("Files").description("d".to_owned())).await.unwrap();
    assert_eq!((made.name.as_str(), made.description.as_deref()), ("Files", Some("d")));
    buckets.create_bucket(NewBucket::new("A 'quoted' ü")).await.unwrap();
    let names: Vec<String> =
        buckets.list_buckets().await.unwrap().into_iter().map(|bucket| bucket.name).collect();
    assert_eq!(names, ["A 'quoted' ü", "Files"]);
    assert_eq!(buckets.get_bucket("a 'QUOTED' ü").await.unwrap().options, BucketOptions::None);
    assert_eq!(code(buckets.create_bucket(NewBucket::new("files")).await), 1001);
    assert_eq!(code(buckets.create_bucket(NewBucket::new(" ")).await), 1009);
    let changed = NewBucket::new("Other").options(BucketOptions::ReadOnly);
    let changed = buckets.update_bucket("FILES", changed).await.unwrap();
    assert_eq!((changed.id, changed.key, changed.description), (made.id, made.key, None));
    assert_eq!(changed.options, BucketOptions::ReadOnly);
    buckets.delete_bucket("other").await.unwrap();
    for gone in [buckets.get_bucket("Other").await.map(drop), buckets.delete_bucket("Other").await] {
        assert!(gone.unwrap_err().is_not_found());
    }
}

pub(crate) async fn files_of_a_bucket_come_back_as_they_were_written(f: Fixture) {
    let Some(buckets) = f.orchestrator.buckets() else { return };
    buckets.create_bucket(NewBucket::new("Files")).await.unwrap();
    match buckets.write_bucket_file("Files", "a.txt", Some(2), content(&[b"a", b"b"])).await {
        // A store in a database that was given no storage.
        Err(error) if error.kind() == ErrorKind::Unsupported => return,
        written => written.unwrap(),
    }
    let large = vec![7_u8; 1_000_000];
    buckets.write_bucket_file("files", "x/b c ü.pdf", None, content(&[&large, &large])).await.unwrap();
    assert_eq!(read(buckets, "/a.txt").await.unwrap(), b"ab");
    assert!(read(buckets, "x/b c ü.pdf").await.unwrap() == [large.clone(), large].concat());
    buckets.write_bucket_file("Files", "a.txt", Some(0), content(&[])).await.unwrap();
    assert_eq!(read(buckets, "a.txt").await.unwrap(), b"", "it was replaced");
    let listed = buckets.list_bucket_files("Files", "", None).await.unwrap();
    let files: Vec<(&str, u64)> = listed.files.iter().map(|file| (file.path.as_str(), file.size)).collect();
    assert_eq!((files.as_slice(), listed.next), (&[("a.txt", 0), ("x/b c ü.pdf", 2_000_000)][..], None));
    let some = buckets.list_bucket_files("Files", "x/b", None).await.unwrap();
    assert_eq!(some.files.len(), 1);
    for path in ["../a", "x/../../a", "%2e%2e/a", "a\\b", ""] {
        assert_eq!(code(read(buckets, path).await), 1009, "{path}");
        let written = buckets.write_bucket_file("Files", path, Some(0), content(&[])).await;
        assert_eq!(code(written), 1009, "{path}");
    }
    buckets.delete_bucket_file("Files", "a.txt").await.unwrap();
    assert!(read(buckets, "a.txt").await.unwrap_err().is_not_found());
    assert!(read(buckets, "nothing").await.unwrap_err().is_not_found());
    buckets.delete_bucket("Files").await.unwrap();
    assert!(read(buckets, "x/b c ü.pdf").await.unwrap_err().is_not_found());
}
