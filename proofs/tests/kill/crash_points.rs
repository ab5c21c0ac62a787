//! Crashes at every named crash point.

use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use std::time::Duration;

use performer::Orchestrator;
use performer::jiff::Timestamp;
use performer::model::ManualClock;
use performer::orchestrator::store::Store;

use super::victim::{self, QUEUE, TIMES, Work, runtime};
use super::world::World;
use performer_proofs::observers::ledger::{CallOutcome, Record};
use performer_proofs::postgres::Schema;

/// The operations of the program "everything": each crashes before it, after it is written, and after it is committed
/// but not answered.
const OPERATIONS: &[&str] = &[
    "start_job",
    "beat",
    "end_job",
    "add",
    "bulk_add",
    "add_and_start",
    "report",
    "postpone",
    "give_back",
    "claim",
    "progress",
    "create_queue",
    "review",
    "retention",
];
const REPEATED: &[u64] = &[1, 2, 10];
const ONCE: &[u64] = &[1];

/// The other points, and at which pass each crashes.
const OTHER_POINTS: &[(&str, &[u64])] = &[
    ("sweep.before", ONCE),
    ("sweep.after_job", REPEATED),
    ("sweep.between_items", REPEATED),
    ("sweep.before_copy", REPEATED),
    ("sweep.after_copy", REPEATED),
    ("sweep.after_write", ONCE),
    ("sweep.after_commit", ONCE),
    ("bulk_add.between_items", REPEATED),
    ("claim.after_update", REPEATED),
    ("claim.after_reply", REPEATED),
    ("report.before_copy", REPEATED),
    ("report.after_copy", REPEATED),
    ("report.between_follow_ups", REPEATED),
    ("review.before_copy", REPEATED),
    ("review.after_copy", REPEATED),
    ("retention.between_items", REPEATED),
    ("commit.before_begin", REPEATED),
    ("commit.before_commit", REPEATED),
    ("process.first_poll", REPEATED),
    ("process.middle", REPEATED),
    ("process.after_return", REPEATED),
];

/// Points during the creation of a file.
const FILE_CREATION: &[&str] = &["migrate.after_statements", "create.before_link", "create.after_link"];

const ABORTED: Option<i32> = Some(6);

pub fn at_every_crash_point() {
    let template = template();
    let mut cases: Vec<(String, &[u64])> =
        OTHER_POINTS.iter().map(|(point, hits)| ((*point).to_owned(), *hits)).collect();
    for operation in OPERATIONS {
        cases.extend(
            ["before", "after_write", "after_commit"].map(|place| (format!("{operation}.{place}"), REPEATED)),
        );
    }
    let mut kills = 0;
    for (point, hits) in &cases {
        for hit in *hits {
            let case = format!("{point}={hit}");
            let mut world = World::copy_of(template.path());
            let process = world.spawn("everything", 0, Some(&case));
            let status = world.wait_for_end(process);
            assert_eq!(status.signal(), ABORTED, "{case}: the program never came by, or failed: {status}");
            world.check(&case);
            kills += 1;
        }
    }
    for point in FILE_CREATION {
        let case = format!("{point}=1");
        let mut world = World::new();
        let process = world.spawn("everything", 0, Some(&case));
        assert_eq!(world.wait_for_end(process).signal(), ABORTED, "{case}");
        // The next process creates the queue, or finds the file as it was.
        let process = world.spawn("everything", 0, None);
        assert!(world.wait_for_end(process).success(), "{case}");
        world.check(&case);
        kills += 1;
    }
    println!("{kills} processes ended at {} places, 0 lost, 0 doubled", cases.len() + FILE_CREATION.len());
}

/// A group whose item ended and whose next one did not become ready would be stuck for ever.
pub fn while_groups_are_settled() {
    let kills = kills_while_groups_are_settled(&[1, 2, 7, 20], World::new);
    assert!(kills >= 16, "{kills}");
    println!("{kills} processes ended while groups were settled, none is stuck");
}

/// There the slots of several processes are settled under a lock, and what is settled is sent with the commit.
pub fn while_groups_are_settled_on_postgres() {
    let mut schemas = Vec::new();
    let kills = kills_while_groups_are_settled(&[1, 7], || {
        let schema = Schema::new();
        let world = World::on(&schema.url, Duration::from_millis(1_500));
        schemas.push(schema);
        world
    });
    assert!(kills >= 8, "{kills}");
    println!("{kills} processes ended while groups were settled on PostgreSQL, none is stuck");
}

/// Returns how many processes ended at a crash point.
fn kills_while_groups_are_settled(hits: &[u64], mut world: impl FnMut() -> World) -> usize {
    let points = [
        "groups.before_settle",
        "groups.between_groups",
        "groups.after_settle",
        "report.after_write",
        "report.after_copy",
        "postpone.after_write",
        "claim.after_write",
        "commit.before_commit",
    ];
    let mut kills = 0;
    for point in points {
        for hit in hits {
            let case = format!("{point}={hit}");
            let mut world = world();
            let process = world.spawn("groups", 0, Some(&case));
            let status = world.wait_for_end(process);
            // How often a point is passed depends on how many reports share a commit; they are written together, and what is
            // within that is named after the last of them.
            let may_be_missed = *hit > 1 || point == "postpone.after_write";
            assert!(status.signal() == ABORTED || may_be_missed && status.success(), "{case}: {status}");
            kills += usize::from(status.signal() == ABORTED);
            let process = world.spawn("groups", 0, None);
            assert!(world.wait_for_end(process).success(), "{case}");
            world.check(&case);
        }
    }
    kills
}

/// A file with a history: items that retention may remove, and jobs of dead processes that hold items.
fn template() -> World {
    let mut world = World::new();
    let runtime = runtime();
    let long_ago = Timestamp::now() - Duration::from_secs(40 * 86_400);
    let work = Work::new(world.ledger.clone(), "p0", world.lease);
    runtime.block_on(async {
        let clock = Arc::new(ManualClock::new(long_ago));
        let store = Arc::new(Store::sqlite_with_clock(world.file(), clock.clone()).await.unwrap());
        let store: Arc<dyn performer::Administration> = store;
        victim::create_queues(&*store).await;
        for number in 0..TIMES {
            let reference = format!("old-{number}");
            work.asks(&reference); // and it may be gone at the end
            store.add_queue_item(QUEUE, victim::item(&reference, "ok", 0)).await.unwrap();
        }
        work.drain(&store, 1, 0).await;
    });
    runtime.block_on(async {
        let store = Store::sqlite(world.file()).await.unwrap();
        for number in 0..2 * TIMES {
            let reference = format!("dead-{number}");
            work.asks(&reference);
            store.add_queue_item(QUEUE, victim::item(&reference, "ok", 0)).await.unwrap();
            world.ledger.write(Record::Added { reference, told: CallOutcome::Yes });
        }
    });
    let process = world.spawn("die with jobs", 0, None);
    assert_eq!(world.wait_for_end(process).signal(), ABORTED);
    // Checkpoints the log, so that the file alone is complete.
    let connection = rusqlite::Connection::open(world.file()).unwrap();
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
    world
}
