//! The negative controls of the observers: for each check K1 to K12 (`docs/reference/checks.md`), evidence that it must refuse.

use performer::model::Outcome;
use performer::{ItemId, QueuePolicy, Status, TransactionOutcome};
use performer_proofs::observers::checker::{Evidence, StoreState, check};
use performer_proofs::observers::ledger::{self, CallOutcome, Ledger, Record, RunEnd};
use performer_proofs::*;

/// Three items and what became of them: successful; an ApplicationException, then successful; a BusinessException.
async fn story() -> Evidence {
    let policy = QueuePolicy::default().max_number_of_retries(1);
    let fixture = memory().await.with_queue(policy).await;
    let (ledger, memory) = Ledger::memory();
    for reference in ["a", "b", "c"] {
        fixture.orchestrator.add_queue_item(QUEUE, named(reference)).await.unwrap();
        ledger.write(Record::Added { reference: reference.to_owned(), told: CallOutcome::Yes });
    }
    ledger.write(Record::Born { process: "p".to_owned() });
    let job = fixture.orchestrator.start_job(new_job()).await.unwrap();
    let results = [
        (ok(), RunEnd::Successful, TransactionOutcome::Successful),
        (application("down"), RunEnd::ApplicationException, TransactionOutcome::Retried),
        (business("wrong"), RunEnd::BusinessException, TransactionOutcome::BusinessException),
        (ok(), RunEnd::Successful, TransactionOutcome::Successful),
    ];
    for (run, (result, end, outcome)) in (0..).zip(results) {
        let claimed = fixture.take(job).await;
        ledger.started("p", run, &claimed.item);
        ledger.write(Record::Ended { process: "p".to_owned(), run, end });
        fixture.report(claimed.claim, result).await.unwrap();
        ledger.reported("p", claimed.item.id, outcome);
    }
    ledger.write(Record::Died { process: "p".to_owned() });
    let records = memory.lock().unwrap().clone();
    let store = StoreState::of(&*fixture.orchestrator, QUEUE).await;
    Evidence { records, store, drained: true, ..Evidence::default() }
}

/// The evidence, spoilt, must be refused by this check; as it was, by none.
async fn refuses(name: &str, spoil: impl FnOnce(&mut Evidence)) {
    let mut evidence = story().await;
    assert_eq!(check(&evidence), Vec::<String>::new());
    spoil(&mut evidence);
    let violations = check(&evidence);
    assert!(violations.iter().any(|violation| violation.starts_with(name)), "{name}: {violations:?}");
}

fn started(evidence: &mut Evidence, at: usize) -> usize {
    let mut starts =
        (0..).zip(&evidence.records).filter(|(_, record)| matches!(record, Record::Started { .. }));
    starts.nth(at).unwrap().0
}

#[tokio::test]
async fn an_item_that_was_acknowledged_and_is_gone() {
    refuses("K1", |evidence| evidence.store.items.retain(|item| item.reference.as_deref() != Some("c")))
        .await;
}

#[tokio::test]
async fn an_add_whose_answer_was_lost_may_be_there_or_not() {
    let mut evidence = story().await;
    evidence.records.push(Record::Added { reference: "d".to_owned(), told: CallOutcome::Unknown });
    assert_eq!(check(&evidence), Vec::<String>::new());
    for record in &mut evidence.records {
        if let Record::Added { told, .. } = record {
            *told = CallOutcome::Unknown;
        }
    }
    assert_eq!(check(&evidence), Vec::<String>::new());
}

#[tokio::test]
async fn an_item_that_nobody_added() {
    refuses("K2", |evidence| evidence.records.retain(|record| !matches!(record, Record::Added { .. }))).await;
    refuses("K2", |evidence| {
        let mut twin = evidence.store.items[0].clone();
        twin.id = ItemId(99);
        evidence.store.items.push(twin);
    })
    .await;
}

#[tokio::test]
async fn a_result_that_is_recorded_twice() {
    refuses("K3", |evidence| {
        let reported = evidence.records.iter().find(|record| matches!(record, Record::Reported { .. }));
        evidence.records.push(reported.unwrap().clone());
    })
    .await;
    refuses("K3", |evidence| evidence.store.items[1].outcome = Some(Outcome::Successful)).await;
    refuses("K3", |evidence| {
        evidence.store.items[1].status = Status::InProgress;
        evidence.store.items[3].status = Status::New;
    })
    .await;
}

#[tokio::test]
async fn a_result_that_nobody_reported() {
    // No run of this job ended so.
    refuses("K4", |evidence| {
        let at = started(evidence, 2);
        evidence.records.remove(at);
    })
    .await;
    refuses("K4", |evidence| {
        let at = started(evidence, 0);
        if let Record::Started { job, .. } = &mut evidence.records[at] {
            *job = "another".to_owned();
        }
    })
    .await;
    // An acknowledged result that is not the recorded one.
    refuses("K4", |evidence| {
        for record in &mut evidence.records {
            if let Record::Reported { item: ItemId(3), outcome, .. } = record {
                *outcome = "Successful".to_owned();
            }
        }
    })
    .await;
}

#[tokio::test]
async fn two_runs_of_one_chain_at_once() {
    refuses("K5", |evidence| {
        // The end of b's first run moves behind everything: the retry begins while it is running.
        let at = started(evidence, 1) + 1;
        let end = evidence.records.remove(at);
        evidence.records.push(end);
        evidence.records.retain(|record| !matches!(record, Record::Died { .. }));
    })
    .await;
}

#[tokio::test]
async fn a_run_beside_one_whose_claim_was_lost_is_no_violation() {
    let mut evidence = story().await;
    let at = started(&mut evidence, 1) + 1;
    let end = evidence.records.remove(at);
    evidence.records.push(end);
    evidence
        .records
        .retain(|record| !matches!(record, Record::Died { .. } | Record::Reported { item: ItemId(2), .. }));
    evidence.store.items[1].outcome = Some(Outcome::Abandoned);
    assert_eq!(check(&evidence), Vec::<String>::new());
}

#[tokio::test]
async fn an_item_that_overtook() {
    let record = Record::OutOfOrder { item: ItemId(2), ahead: vec![ItemId(1)] };
    refuses("K6", |evidence| evidence.records.push(record)).await;
}

#[tokio::test]
async fn a_run_before_its_time() {
    refuses("K7", |evidence| {
        let at = started(evidence, 0);
        if let Record::Started { defer_date, start_processing, .. } = &mut evidence.records[at] {
            *defer_date = Some(*start_processing + std::time::Duration::from_micros(1));
        }
    })
    .await;
}

#[tokio::test]
async fn a_chain_that_ran_too_often() {
    refuses("K8", |evidence| {
        let (from, to) = (started(evidence, 0), started(evidence, 0) + 2);
        for run in [7, 8] {
            let again = evidence.records[from..to].to_vec();
            for mut record in again {
                if let Record::Started { run: number, .. } | Record::Ended { run: number, .. } = &mut record {
                    *number = run;
                }
                evidence.records.push(record);
            }
        }
    })
    .await;
    refuses("K8", |evidence| evidence.store.items[3].retry_number = 2).await;
}

#[tokio::test]
async fn an_event_that_is_missing_or_too_many() {
    for at in 0..3 {
        refuses("K9", |evidence| {
            let events = evidence.store.events.get_mut(&ItemId(1)).unwrap();
            assert_eq!(events.len(), 3);
            // Without the take in the middle the item would have gone from New to Successful.
            events.remove(at);
        })
        .await;
    }
    refuses("K9", |evidence| {
        let events = evidence.store.events.get_mut(&ItemId(1)).unwrap();
        events.push(events[0].clone());
    })
    .await;
}

#[tokio::test]
async fn an_item_that_is_left_behind() {
    refuses("K10", |evidence| evidence.store.items[2].status = Status::New).await;
    refuses("K10", |evidence| {
        evidence.store.items.pop();
    })
    .await;
    refuses("K10", |evidence| {
        let now = start_of_time();
        evidence.recoveries.push((now, now + std::time::Duration::from_secs(1)));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_damaged_or_counts_wrongly() {
    refuses("K11", |evidence| evidence.store.damage.push("row 7 missing from index".to_owned())).await;
    refuses("K11", |evidence| evidence.store.statistics.successful += 1).await;
    refuses("K11", |evidence| evidence.store.items[0].end_processing = Some(jiff::Timestamp::UNIX_EPOCH))
        .await;
}

#[tokio::test]
async fn errors_in_the_log() {
    refuses("K12", |evidence| evidence.noise.push("a panic".to_owned())).await;
}

/// What is written is what is read, line by line.
#[tokio::test]
async fn a_ledger_in_a_file_says_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut records = story().await.records;
    if let Record::Started { defer_date, .. } = &mut records[4] {
        *defer_date = Some(start_of_time());
    }
    let ends = [RunEnd::Postponed, RunEnd::Interrupted, RunEnd::ApplicationException];
    records.extend(ends.map(|end| Record::Ended { process: "p".to_owned(), run: 9, end }));
    let ledger = Ledger::file(&path);
    for record in &records {
        ledger.write(record.clone());
    }
    assert_eq!(ledger::read(&path), records);
}
