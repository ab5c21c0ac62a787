//! The storage service of a cloud, against a real S3-compatible server (scripts/s3-server installs it).
#![cfg(feature = "files-cloud")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use performer_core::model::bucket::{BucketOptions, FilePath, NewBucket, PathPrefix};
use performer_core::orchestrator::{BucketAdministration as _, Result};
use performer_store::{AddressUse, FileStorage, Store};

struct S3Server(Child);

impl Drop for S3Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where scripts/s3-server installs it.
fn program() -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("s3-server/bin/moto_server")
}

/// Starts the server on a free port. Returns it with its address.
fn start() -> Option<(S3Server, String)> {
    let program = program();
    if !program.exists() {
        return None;
    }
    let started = Command::new(program)
        .args(["-H", "127.0.0.1", "-p", "0"])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.expect("the server starts");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let server = S3Server(child);
    let address = lines.by_ref().map_while(std::result::Result::ok).find_map(|line| {
        line.split_whitespace().find(|word| word.starts_with("http://127.0.0.1:")).map(str::to_owned)
    });
    // What it logs is read, so that it can go on.
    std::thread::spawn(move || lines.for_each(drop));
    Some((server, address.expect("the server says where it listens")))
}

async fn read(store: &Store, path: &str) -> Result<Vec<u8>> {
    let mut content = store.read_bucket_file("Files", path).await?;
    let mut all = Vec::new();
    while let Some(piece) = content.next().await {
        all.extend_from_slice(&piece?);
    }
    Ok(all)
}

/// One process has one environment, so this test is alone in its program.
#[test]
fn files_are_kept_by_an_s3_compatible_service() {
    let Some((_server, address)) = start() else {
        eprintln!("left out: no S3-compatible server; scripts/s3-server installs one");
        return;
    };
    let with_environment = std::env::var_os("PERFORMER_TEST_S3");
    if with_environment.is_none() {
        // The variables of the service are set for a process of its own.
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "files_are_kept_by_an_s3_compatible_service", "--nocapture"])
            .env("PERFORMER_TEST_S3", &address)
            .env("AWS_ENDPOINT_URL", &address)
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test")
            .env("AWS_REGION", "us-east-1")
            .status()
            .unwrap();
        assert!(status.success());
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(life(&with_environment.unwrap().into_string().unwrap()));
}

async fn life(address: &str) {
    _ = rustls_provider();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(http.put(format!("{address}/performer-files")).send().await.unwrap().status().is_success());
    let storage = FileStorage::open("s3://performer-files/some/prefix").unwrap();
    let store = Store::memory().with_files(storage);
    let bucket = store.create_bucket(NewBucket::new("Files")).await.unwrap();
    // Larger than a part, so that it is written in several.
    let large = Bytes::from(vec![7_u8; 9 * 1024 * 1024]);
    let pieces = stream::iter([Ok(large.clone()), Ok(large.clone()), Ok(Bytes::from_static(b"end"))]);
    store.write_bucket_file("Files", "x/large.bin", None, Box::pin(pieces)).await.unwrap();
    let small = stream::iter([Ok(Bytes::from_static(b"small"))]);
    store.write_bucket_file("Files", "a ü.txt", None, Box::pin(small)).await.unwrap();
    assert_eq!(read(&store, "a ü.txt").await.unwrap(), b"small");
    assert_eq!(read(&store, "x/large.bin").await.unwrap().len(), 2 * large.len() + 3);
    assert!(read(&store, "none").await.unwrap_err().is_not_found());
    let (files, has_more) = store.find_files(&bucket, &PathPrefix::default(), "", 1).await.unwrap();
    assert_eq!((files[0].path.as_str(), has_more), ("a ü.txt", true));

    // Addresses of the service itself, which no server is in the way of.
    let path = FilePath::parse("x/signed.txt").unwrap();
    let minute = Duration::from_secs(60);
    let write = store.address_of_file(&bucket, &path, AddressUse::Write, minute).await.unwrap().unwrap();
    assert!(http.put(&write.uri).body("signed").send().await.unwrap().status().is_success());
    let address = store.address_of_file(&bucket, &path, AddressUse::Read, minute).await.unwrap().unwrap();
    assert_eq!(http.get(&address.uri).send().await.unwrap().text().await.unwrap(), "signed");
    let through = NewBucket::new("Files").options(BucketOptions::AccessDataThroughOrchestrator);
    let through = store.update_bucket("Files", through).await.unwrap();
    assert!(store.address_of_file(&through, &path, AddressUse::Read, minute).await.unwrap().is_none());

    store.delete_bucket_file("Files", "a ü.txt").await.unwrap();
    assert!(store.delete_bucket_file("Files", "a ü.txt").await.unwrap_err().is_not_found());
    store.delete_bucket("Files").await.unwrap();
    store.create_bucket(NewBucket::new("Files").key(bucket.key)).await.unwrap();
    assert!(store.list_bucket_files("Files", "", None).await.unwrap().files.is_empty());
}

fn rustls_provider() -> std::result::Result<(), std::sync::Arc<rustls::crypto::CryptoProvider>> {
    rustls::crypto::ring::default_provider().install_default()
}
