//! The file: made as a whole, refused when it is not ours, shared by several processes, on a disk that fails.
#![cfg(feature = "sqlite")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use performer::model::{Clock, ManualClock, SystemClock};
use performer::orchestrator::Report;
use performer::orchestrator::store::Store;
use performer::orchestrator::{ItemAdministration as _, QueueAdministration as _};
use performer::{
    Administration, CommitType, ErrorKind, ItemFilter, JobState, LimitsEdit, NewQueueDefinition,
    NewQueueItem, Orchestrator, Page, QueuePolicy, Status, connect,
};
use performer_proofs::*;
use rusqlite::Connection;
use serde_json::json;

async fn open(path: &Path) -> Arc<dyn Administration> {
    Arc::new(Store::sqlite(path).await.unwrap())
}

fn raw(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE).unwrap()
}

/// A good file with a queue and an item in it, closed.
async fn good_file(folder: &Path) -> PathBuf {
    let path = folder.join("queue.db");
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    store.add_queue_item(QUEUE, named("a")).await.unwrap();
    path
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn acknowledged_changes_survive_a_restart_and_one_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    assert_eq!(files(folder.path()), ["queue.db"], "nothing unfinished is left behind");
    let store = connect(&format!("sqlite:{}", path.display())).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    assert_eq!(taken.items[0].item.reference.as_deref(), Some("a"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_openers_create_one_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let opening: Vec<_> = (0..16).map(|_| tokio::spawn(Store::sqlite(path.clone()))).collect();
    let mut stores = Vec::new();
    for opened in opening {
        stores.push(opened.await.unwrap().unwrap());
    }
    stores[0].create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for store in &stores {
        store.get_queue(QUEUE).await.unwrap();
    }
    assert!(files(folder.path()).iter().all(|name| !name.contains("new-")));
}

#[tokio::test]
async fn a_foreign_file_is_refused_and_not_changed() {
    let folder = tempfile::tempdir().unwrap();
    let good = good_file(folder.path()).await;
    let good_bytes = fs::read(&good).unwrap();
    let foreign = folder.path().join("foreign.db");
    fs::write(&foreign, b"").unwrap();
    let other = raw(&foreign);
    other.execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)").unwrap();
    drop(other);
    let newer = folder.path().join("newer.db");
    fs::copy(&good, &newer).unwrap();
    raw(&newer).pragma_update(None, "user_version", 99).unwrap();

    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("empty", Vec::new(), "is empty; if nothing is missing, delete it"),
        ("picture", b"\xff\xd8\xff\xe0 a picture".repeat(50), "is not a SQLite file"),
        ("short", good_bytes[..50].to_vec(), "is not a SQLite file"),
        ("truncated", good_bytes[..good_bytes.len() - 4_096].to_vec(), "is damaged"),
        ("foreign", fs::read(&foreign).unwrap(), "is a SQLite file of another program"),
        ("newer", fs::read(&newer).unwrap(), "was written by a newer version of performer"),
    ];
    for (name, bytes, part) in cases {
        let path = folder.path().join(format!("{name}.case"));
        fs::write(&path, &bytes).unwrap();
        let error = Store::sqlite(&path).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Other);
        let text = error.to_string();
        assert!(text.contains(part) && text.contains(&format!("{name}.case")), "{text}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "{name} was touched");
    }
    let error = Store::sqlite(folder.path()).await.unwrap_err().to_string();
    assert!(error.contains("is not a file"), "{error}");
}

#[tokio::test]
async fn a_file_with_flipped_bits_is_refused_or_works_and_never_panics() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read(good_file(folder.path()).await).unwrap();
    let mut random = 20_260_301_u64;
    for round in 0..200 {
        let path = folder.path().join(format!("{round}.db"));
        let mut bytes = good.clone();
        for _ in 0..8 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(random >> 33).unwrap() % bytes.len();
            bytes[at] ^= 1 << (random % 8);
        }
        fs::write(&path, bytes).unwrap();
        if let Ok(store) = Store::sqlite(&path).await {
            // What can still be read may be read; what cannot is an error, not a lie.
            let read = store.list_queue_items(ItemFilter::default(), Page::default()).await;
            assert!(
                read.is_ok() || matches!(read.unwrap_err().kind(), ErrorKind::Other | ErrorKind::Unavailable)
            );
        }
        for name in files(folder.path()).iter().filter(|name| name.starts_with(&format!("{round}.db"))) {
            let _ = fs::remove_file(folder.path().join(name));
        }
    }
}

#[tokio::test]
async fn a_read_only_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let mut permissions = fs::metadata(&path).unwrap().permissions();
    permissions.set_readonly(true);
    fs::set_permissions(&path, permissions).unwrap();
    let error = Store::sqlite(&path).await.unwrap_err().to_string();
    assert!(error.ends_with("queue.db is read-only; performer must be able to write to it"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_transaction_of_another_process_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let store = open(&path).await;
    let neighbour = raw(&path);
    neighbour.execute_batch("BEGIN IMMEDIATE").unwrap();
    let adding = store.add_queue_item(QUEUE, named("b"));
    tokio::pin!(adding);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut adding).await;
    assert!(early.is_err(), "the neighbour holds the file");
    assert_eq!(store.get_queue(QUEUE).await.unwrap().name, QUEUE, "readers do not wait for writers");
    neighbour.execute_batch("COMMIT").unwrap();
    adding.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_stores_on_one_file_claim_each_item_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let first = open(&path).await;
    first.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let items = (0..300).map(|n| named(&n.to_string())).collect();
    assert_eq!(first.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed, []);
    let mut robots = Vec::new();
    for _ in 0..4 {
        let store = open(&path).await;
        let job = store.start_job(new_job()).await.unwrap();
        robots.push(tokio::spawn(async move {
            let mut done = 0;
            loop {
                let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
                let Some(claimed) = taken.items.into_iter().next() else { return done };
                let report = Report::new(claimed.claim, ok());
                let answer = store.report_and_claim(vec![report], None).await;
                assert_eq!(*answer.reports[0].as_ref().unwrap(), Status::Successful);
                done += 1;
            }
        }));
    }
    let mut done = 0;
    for robot in robots {
        done += robot.await.unwrap();
    }
    assert_eq!(done, 300);
    assert_eq!(first.queue_statistics(QUEUE).await.unwrap().successful, 300);
    let check: String = raw(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
}

/// The kernel lets go of a lock file when its process ends; the lease need not be waited for.
#[tokio::test]
async fn a_job_is_lost_if_and_only_if_its_lock_is_free() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let (one, other) = (open(&path).await, open(&path).await);
    let job = one.start_job(new_job()).await.unwrap();
    one.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    assert_eq!(other.sweep().await.unwrap().jobs.len(), 0, "its process lives");
    drop(one); // as when the process ends: the job is not ended, and its lock is free
    let swept = other.sweep().await.unwrap();
    assert_eq!((swept.jobs, swept.abandoned), (vec![job], 1));
    assert_eq!(other.list_jobs(1).await.unwrap()[0].info.as_deref(), Some("its process is gone"));
    assert!(!folder.path().join("queue.db-jobs").exists(), "the lock files are cleared away");
}

#[tokio::test]
async fn without_lock_files_the_lease_decides() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    fs::write(folder.path().join("queue.db-jobs"), "a file where the folder would be").unwrap();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let one = Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    let other = Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    let job = one.start_job(new_job()).await.unwrap();
    drop(one);
    assert_eq!(sweep_for(&other, &clock, 30).await.jobs.len(), 0);
    assert_eq!(sweep_for(&other, &clock, 1).await.jobs, [job]);
}

/// Somebody set the time of day back between the starts of two processes.
#[tokio::test]
async fn processes_that_disagree_on_the_time_do_not_abandon_each_other_s_items() {
    use performer::model::ManualClock;
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let hour = Duration::from_secs(3_600);
    let clocks = [start_of_time() + hour, start_of_time()].map(|time| Arc::new(ManualClock::new(time)));
    let ahead = Store::sqlite_with_clock(&path, clocks[0].clone()).await.unwrap();
    let behind = Store::sqlite_with_clock(&path, clocks[1].clone()).await.unwrap();
    let first = ahead.start_job(new_job()).await.unwrap();
    let second = behind.start_job(new_job()).await.unwrap();
    for second_of_time in 1..100 {
        for (store, clock) in [(&ahead, &clocks[0]), (&behind, &clocks[1])] {
            clock.advance(Duration::from_secs(1));
            assert_eq!(store.sweep().await.unwrap().jobs.len(), 0);
        }
        if second_of_time % 10 == 0 {
            ahead.beat(first).await.unwrap();
            behind.beat(second).await.unwrap();
        }
    }
}

/// The file of a process that was killed while its log was being put away.
#[tokio::test]
async fn a_file_shorter_than_its_header_says_is_repaired_from_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let items = (0..500).map(|n| named(&n.to_string())).collect();
    assert_eq!(store.bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap().failed, []);
    let (torn, log) = (folder.path().join("torn.db"), folder.path().join("torn.db-wal"));
    fs::copy(&path, &torn).unwrap();
    fs::copy(folder.path().join("queue.db-wal"), &log).unwrap();
    // The first page is written first, and tells the new length; the pages behind it are still to come.
    let mut bytes = fs::read(&torn).unwrap();
    bytes[28..32].copy_from_slice(&200_u32.to_be_bytes());
    fs::write(&torn, bytes).unwrap();
    let mended = open(&torn).await;
    assert_eq!(mended.queue_statistics(QUEUE).await.unwrap().new, 500);
}

#[tokio::test]
async fn a_job_that_ended_leaves_no_lock_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let store = open(&path).await;
    let job = store.start_job(new_job()).await.unwrap();
    assert!(folder.path().join(format!("queue.db-jobs/{job}.lock")).exists());
    store.end_job(job, JobState::Successful.into()).await.unwrap();
    assert!(!folder.path().join("queue.db-jobs").exists());
}

/// Content may be personal: nobody else on the machine reads it, whatever the umask is.
#[cfg(unix)]
#[tokio::test]
async fn a_file_is_readable_only_by_its_owner_unless_changed() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let modes = |job: performer::JobKey| {
        let lock = format!("queue.db-jobs/{job}.lock");
        ["queue.db", "queue.db-wal", "queue.db-shm", "queue.db-jobs", &lock]
            .map(|name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777)
    };
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    assert_eq!(modes(job), [0o600, 0o600, 0o600, 0o700, 0o600]);
    store.end_job(job, JobState::Successful.into()).await.unwrap();
    drop(store);
    // A group that works on one file.
    fs::set_permissions(&path, fs::Permissions::from_mode(0o660)).unwrap();
    let store = open(&path).await;
    let job = store.start_job(new_job()).await.unwrap();
    let [_, log, index, jobs, lock] = modes(job);
    assert_eq!([log, index], [0o660; 2]);
    assert_eq!((jobs & 0o700, lock & 0o600), (0o700, 0o600), "the group as the umask allows");
}

/// The time that was believed is kept, so that a process that starts with a clock that is ahead removes nothing.
#[tokio::test]
async fn a_process_that_starts_with_a_clock_that_is_ahead_removes_nothing() {
    use performer::model::ManualClock;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let (day, hour) = (Duration::from_secs(86_400), Duration::from_secs(3_600));
    let at = |time| Arc::new(ManualClock::new(time));
    let open = async |clock: &Arc<ManualClock>| Store::sqlite_with_clock(&path, clock.clone()).await.unwrap();
    let clock = at(start_of_time());
    let store = open(&clock).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    for name in ["a", "b"] {
        store.add_queue_item(QUEUE, named(name)).await.unwrap();
    }
    let job = store.start_job(new_job()).await.unwrap();
    store.end_job(job, JobState::Successful.into()).await.unwrap();
    add_token(&store, "login", None, start_of_time() + hour).await;
    // Items, jobs and tokens.
    let removed = async |store: &Store| {
        let ended = store.remove_ended(10, async || {}).await.unwrap();
        (store.apply_retention(10).await.unwrap(), ended.jobs, ended.tokens)
    };
    clock.advance(2 * hour);
    assert_eq!(removed(&store).await, (0, 0, 0), "and the time is kept");
    drop(store);
    // 200 days ahead, and put right.
    let clock = at(start_of_time() + 200 * day);
    let store = open(&clock).await;
    assert_eq!(removed(&store).await, (0, 0, 0));
    clock.advance(hour / 2);
    assert_eq!(removed(&store).await, (0, 0, 0));
    clock.set(start_of_time() + 3 * hour);
    clock.advance(2 * hour);
    assert_eq!(removed(&store).await, (0, 0, 0));
    drop(store);
    // Stopped for 200 days: after an hour that is believed.
    let clock = at(start_of_time() + 200 * day);
    let store = open(&clock).await;
    assert_eq!(removed(&store).await, (0, 0, 0));
    clock.advance(hour);
    assert_eq!(removed(&store).await, (2, 1, 1));
    store.add_queue_item(QUEUE, named("c")).await.unwrap();
    drop(store);
    // The operator knows that the clock is right.
    let store = open(&at(start_of_time() + 400 * day)).await;
    assert_eq!(removed(&store).await, (0, 0, 0));
    store.trust_clock();
    assert_eq!(removed(&store).await, (1, 0, 0));
}

/// Claiming walks one index from its beginning, and sorts nothing.
#[tokio::test]
async fn the_busy_statements_use_their_indexes() {
    let folder = tempfile::tempdir().unwrap();
    let path = good_file(folder.path()).await;
    let connection = raw(&path);
    let plan = |sql: &str| -> String {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let lines = statement.query_map([], |row| row.get::<_, String>(3)).unwrap();
        lines.map(Result::unwrap).collect::<Vec<_>>().join("; ")
    };
    let take = plan(
        "SELECT * FROM item_ready CROSS JOIN item ON item.id = item_ready.item_id \
         LEFT JOIN item_state ON item_state.item_id = iif(item_ready.touched, item.id, NULL) \
         WHERE item_ready.queue_id = 1 AND (item.defer_date IS NULL OR item.defer_date <= 9) \
         ORDER BY item_ready.rank, item_ready.due_date, item_ready.item_id",
    );
    assert_eq!(
        take,
        "SEARCH item_ready USING PRIMARY KEY (queue_id=?); SEARCH item USING INTEGER PRIMARY KEY (rowid=?); \
         SEARCH item_state USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"
    );
    let promote = plan("DELETE FROM item_deferred WHERE queue_id = 1 AND defer_date <= 9");
    assert_eq!(promote, "SEARCH item_deferred USING PRIMARY KEY (queue_id=? AND defer_date<?)");
    let failed = plan(
        "SELECT item_id FROM item_review WHERE queue_id = 1 AND status = 2 AND item_id < 9 ORDER BY item_id DESC",
    );
    assert_eq!(failed, "SEARCH item_review USING PRIMARY KEY (queue_id=? AND status=? AND item_id<?)");
    for (sql, index) in [
        ("SELECT item_id FROM item_state WHERE holder = 1 AND status = 1 ORDER BY item_id", "item_held"),
        (
            "SELECT 1 FROM item WHERE queue_id = 1 AND reference = 'a' AND holds_reference = 1",
            "item_reference",
        ),
        (
            "SELECT item_id FROM item_state INDEXED BY item_held WHERE status = 1 AND start_processing < 9",
            "item_held",
        ),
        (
            "SELECT item_id FROM item_grouped WHERE queue_id = 1 AND group_name = 'a' AND place IS NULL \
             ORDER BY rank, due_date, first_id, item_id LIMIT 1",
            "item_group_waiting (queue_id=? AND group_name=?)",
        ),
        (
            "SELECT count(*) FROM item_grouped WHERE queue_id = 1 AND group_name = 'a' AND place IS NOT NULL",
            "item_group_slot (queue_id=? AND group_name=?)",
        ),
        (
            "SELECT 1 FROM item_grouped WHERE queue_id = 1 AND place IS NULL",
            "item_group_waiting (queue_id=?)",
        ),
    ] {
        let plan = plan(sql);
        assert!(plan.contains(&format!("INDEX {index}")), "{sql}: {plan}");
        assert!(!plan.contains("TEMP B-TREE"), "{sql}: {plan}");
    }
}

#[tokio::test]
async fn content_of_two_hundred_kilobytes_is_not_written_again_by_a_claim_and_a_result() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE).policy(QueuePolicy::default())).await.unwrap();
    store.add_queue_item(QUEUE, NewQueueItem::new(json!({"t": "x".repeat(200_000)}))).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    let log = || fs::metadata(folder.path().join("queue.db-wal")).unwrap().len();
    let before = log();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap();
    let report = Report::new(taken.items[0].claim, ok());
    store.report_and_claim(vec![report], None).await.reports.pop().unwrap().unwrap();
    assert!(log() - before < 60_000, "{} bytes", log() - before);
}

/// On a small file system of its own, filled to the brim. Needs the right to mount one; says so without.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_full_disk_is_a_transient_error() {
    let folder = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
        .arg(folder.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        println!("left out: this user may not mount a file system");
        return;
    }
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    store.add_queue_item(QUEUE, named("held")).await.unwrap();
    let held = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items.remove(0);
    let ballast = folder.path().join("ballast");
    fs::write(&ballast, vec![0; 900_000]).unwrap();
    let mut added = 0;
    let error = loop {
        match store.add_queue_item(QUEUE, NewQueueItem::new(json!({"t": "x".repeat(20_000)}))).await {
            Ok(_) => added += 1,
            Err(error) => break error,
        }
        assert!(added < 200, "the disk should be full by now");
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let counted = async || store.queue_statistics(QUEUE).await.unwrap().new;
    assert_eq!(counted().await, added, "what was refused is not there, what was acknowledged is");
    // Until not even a word fits any more.
    let mut words = 0;
    while let Ok(()) = store.set_transaction_progress(held.claim, format!("word {words}")).await {
        words += 1;
        assert!(words < 1_000, "the disk should be full by now");
    }
    fs::remove_file(&ballast).unwrap();
    // What the last word would have changed never was: the item is deleted at the version that it would have had.
    let other = open(&path).await;
    let version = other.get_queue_item(held.item.id).await.unwrap().version();
    assert!(other.delete_queue_items(vec![version]).await.unwrap().0.is_empty());
    let report = Report::new(held.claim, ok());
    let late = store.report_and_claim(vec![report], None).await.reports.remove(0);
    assert!(late.unwrap_err().is_claim_lost());
    assert_eq!(store.get_queue_item(held.item.id).await.unwrap().status, Status::Deleted);
    drop(other);
    store.add_queue_item(QUEUE, NewQueueItem::new(json!({"t": "x".repeat(20_000)}))).await.unwrap();
    assert_eq!(counted().await, added + 1, "and when there is space again, it goes on");
    drop(store);
    let check: String = raw(&path).query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(check, "ok");
    let unmounted = std::process::Command::new("umount").arg(folder.path()).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
}

/// Of the robots in one commit one tells the others. If nobody lets it, they hear nevertheless.
#[tokio::test]
async fn a_caller_that_is_not_polled_blocks_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let job = store.start_job(new_job()).await.unwrap();
    for reference in ["a", "b", "c"] {
        store.add_queue_item(QUEUE, named(reference)).await.unwrap();
    }
    // Until somebody lets go of the file, everything that comes is in one transaction.
    let busy = raw(&path);
    busy.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut unpolled = std::pin::pin!(store.report_and_claim(Vec::new(), Some(take(job, 1))));
    std::future::poll_fn(|context| {
        assert!(unpolled.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    let second = store.report_and_claim(Vec::new(), Some(take(job, 1)));
    let others = async { tokio::join!(second, store.beat(job)) };
    let release = async { busy.execute_batch("COMMIT").unwrap() };
    let ((second, beat), ()) =
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(others, release) }).await.unwrap();
    assert_eq!(second.claimed.unwrap().items[0].item.reference.as_deref(), Some("b"));
    beat.unwrap();
    // And the one that nobody polled finds its own answer.
    assert_eq!(unpolled.await.claimed.unwrap().items[0].item.reference.as_deref(), Some("a"));
}

/// How many rows of a deleted queue's items there are.
fn rows_of_deleted(path: &Path) -> i64 {
    const SQL: &str = "WITH gone AS (SELECT id FROM queue WHERE deleted = 1) SELECT \
         (SELECT count(*) FROM item_ready WHERE queue_id IN gone) + (SELECT count(*) FROM item_deferred WHERE queue_id IN gone) \
         + (SELECT count(*) FROM item WHERE queue_id IN gone) + (SELECT count(*) FROM item_state WHERE queue_id IN gone) \
         + (SELECT count(*) FROM item_review WHERE queue_id IN gone) \
         + (SELECT count(*) FROM queue_statistics WHERE queue_id IN gone)";
    raw(path).query_row(SQL, [], |row| row.get(0)).unwrap()
}

/// Two processes end items of the same groups: one of them makes the next one ready, and no other; and nothing is left of a queue
/// that was deleted.
#[tokio::test]
async fn groups_are_settled_by_any_process_and_removed_with_their_queue() {
    const ITEMS: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let stores = [open(&path).await, open(&path).await];
    stores[0].create_queue(NewQueueDefinition::new(QUEUE)).await.unwrap();
    let edit = LimitsEdit::default().max_in_progress_per_group(2).fair(true);
    stores[0].edit_queue_limits(QUEUE, edit).await.unwrap();
    let item = |n: usize| named(&n.to_string()).group(["a", "b", "c"][n % 3]);
    let items = (0..ITEMS).map(item).collect();
    let _ = stores[0].bulk_add_queue_items(QUEUE, CommitType::AllOrNothing, items).await.unwrap();
    let jobs = [stores[0].start_job(new_job()).await.unwrap(), stores[1].start_job(new_job()).await.unwrap()];
    let mut held: Vec<(usize, performer::model::ClaimedItem)> = Vec::new();
    let mut done = 0;
    while done < ITEMS / 2 {
        for (which, store) in stores.iter().enumerate() {
            let claimed =
                store.report_and_claim(Vec::new(), Some(take(jobs[which], 2))).await.claimed.unwrap();
            held.extend(claimed.items.into_iter().map(|claimed| (which, claimed)));
            for group in ["a", "b", "c"] {
                let of_it = held.iter().filter(|(_, held)| held.item.group.as_deref() == Some(group)).count();
                assert!(of_it <= 2, "{of_it} of {group}");
            }
            // The oldest, whoever holds it.
            let (holder, oldest) = held.remove(0);
            let report = vec![Report::new(oldest.claim, ok())];
            stores[holder].report_and_claim(report, None).await.reports.pop().unwrap().unwrap();
            done += 1;
        }
    }
    let rows = |table: &str| -> i64 {
        let sql = format!("SELECT count(*) FROM {table}");
        raw(&path).query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(rows("item_grouped"), i64::try_from(ITEMS - done).unwrap());
    stores[1].delete_queue(QUEUE).await.unwrap();
    for _ in 0..100 {
        stores[0].sweep().await.unwrap();
    }
    assert_eq!(["item_grouped", "item_ready", "item"].map(rows), [0, 0, 0]);
}

/// Nobody waits for more than a piece: the deletion itself removes nothing, and each sweep a little.
#[tokio::test]
async fn items_of_a_deleted_queue_are_removed_in_chunks_and_after_a_restart_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    for name in [QUEUE, "Kept"] {
        store.create_queue(NewQueueDefinition::new(name)).await.unwrap();
        let later = SystemClock::new().now() + Duration::from_secs(3_600);
        let items = (0..3_000).map(|n| {
            let item = NewQueueItem::new(json!({ "n": n }));
            if n % 10 == 0 { item.defer_date(later) } else { item }
        });
        let added =
            store.bulk_add_queue_items(name, CommitType::AllOrNothing, items.collect()).await.unwrap();
        assert_eq!(added.added, 3_000);
    }
    let job = store.start_job(new_job()).await.unwrap();
    let taken = store.report_and_claim(Vec::new(), Some(take(job, 5))).await.claimed.unwrap().items;
    let reports = taken[..2].iter().map(|taken| Report::new(taken.claim, business("no"))).collect();
    assert!(store.report_and_claim(reports, None).await.reports.iter().all(Result::is_ok));
    // One of another state, as an older program would leave it.
    let odd = "UPDATE item_review SET status = 5 WHERE item_id = (SELECT min(item_id) FROM item_review)";
    assert_eq!(raw(&path).execute(odd, []).unwrap(), 1);
    let before = raw(&path).query_row("SELECT count(*) FROM item", [], |row| row.get::<_, i64>(0)).unwrap();
    store.delete_queue(QUEUE).await.unwrap();
    let mut left = rows_of_deleted(&path);
    assert_eq!(left, 3_000 + 2_995 + 5 + 2 + 1, "the deletion itself has removed nothing, of {before} items");
    assert!(store.get_queue_item(taken[0].item.id).await.unwrap_err().is_not_found());
    assert!(store.list_robots().await.unwrap().iter().all(|robot| robot.item.is_none()));
    let ended = store.end_job(job, JobState::Successful.into()).await.unwrap();
    assert_eq!(ended.abandoned, 0, "what it held went with the queue");
    store.create_queue(NewQueueDefinition::new(QUEUE)).await.expect("the name is free at once");
    drop(store);
    let store = open(&path).await;
    let mut sweeps = 0;
    while left > 0 {
        store.sweep().await.unwrap();
        let now_left = rows_of_deleted(&path);
        assert!(left - now_left <= 4 * (500 + 5), "{left} rows were left, and {now_left} are");
        assert!(now_left < left || sweeps < 40, "it goes on until nothing is left");
        (left, sweeps) = (now_left, sweeps + 1);
    }
    assert!(sweeps > 2, "not at once, but in {sweeps} sweeps");
    assert_eq!(store.queue_statistics("Kept").await.unwrap().new, 3_000);
    let kept = "SELECT (SELECT count(*) FROM item) * 1000000 + (SELECT count(*) FROM queue_removal)";
    store.sweep().await.unwrap();
    assert_eq!(raw(&path).query_row(kept, [], |row| row.get::<_, i64>(0)).unwrap(), 3_000 * 1_000_000);
}

#[tokio::test]
async fn old_jobs_without_items_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    jobs_that_ended_are_removed(&Store::memory_with_clock(clock.clone()), &clock).await;
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
    jobs_that_ended_are_removed(&store, &clock).await;
}

#[tokio::test]
async fn jobs_and_tokens_outlive_a_clock_that_is_ahead() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let memory = Store::memory_with_clock(clock.clone());
    a_clock_that_is_ahead_removes_no_job_and_no_token(&memory, &clock).await;
    let clock = Arc::new(ManualClock::new(start_of_time()));
    let store = Store::sqlite_with_clock(folder.path().join("queue.db"), clock.clone()).await.unwrap();
    a_clock_that_is_ahead_removes_no_job_and_no_token(&store, &clock).await;
}

/// The first look at what other processes did finds what they did since the file was opened, and wakes nobody for what was
/// there before.
#[tokio::test]
async fn the_first_wait_on_a_file_is_not_woken_without_cause() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queue.db");
    let store = open(&path).await;
    for name in [QUEUE, "Other"] {
        store.create_queue(NewQueueDefinition::new(name)).await.unwrap();
    }
    let job = store.start_job(new_job()).await.unwrap();
    let seen = store.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().seen;
    let waiting = tokio::spawn({
        let store = store.clone();
        async move { store.wait_for_items(QUEUE, seen, Duration::from_secs(600)).await }
    });
    // Long enough for some looks: each of these is a commit, and one of them follows each look.
    for n in 0..200 {
        store.add_queue_item("Other", named(&n.to_string())).await.unwrap();
    }
    assert!(!waiting.is_finished(), "nothing has changed but the other queue");
    // What another process adds is found, of whatever queue it is.
    let other = open(&path).await;
    other.add_queue_item(QUEUE, named("x")).await.unwrap();
    waiting.await.unwrap();
}
