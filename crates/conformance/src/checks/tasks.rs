//! Items that ask people (T25 of `docs/reference/lifecycle.md`), where a back end says that it makes tasks with postponements. A client of a back end
//! that cannot do so in one commit looks at the task now and then, so a check lets time pass where an answer may be seen later.

use std::time::Duration;

use performer::model::{AnswerOutcome, ClaimedItem, JobKey, NewTask, Task, TransactionResult};
use performer::orchestrator::{Report, Result, TaskAdministration, TaskFilter};
use performer::{ErrorCode, Status};
use serde_json::json;

use crate::{Fixture, ok, postponed, retrying, take};

/// How long a back end may take to see an answer.
const SEEN_AFTER: u64 = 600;

/// The tasks of the back end; `None` if it does not say that it makes some.
fn tasks(f: &Fixture) -> Option<&dyn TaskAdministration> {
    f.orchestrator.tasks().filter(|_| f.orchestrator.supports_asking())
}

async fn ask(f: &Fixture, item: &ClaimedItem, task: NewTask) -> Result<Status> {
    let report = Report::new(item.claim, postponed(task.deadline(f.now()))).ask(task);
    f.orchestrator.report_and_claim(vec![report], None).await.reports.remove(0)
}

async fn open(tasks: &dyn TaskAdministration) -> Vec<Task> {
    tasks.list_tasks(TaskFilter::open()).await.unwrap()
}

async fn try_take(f: &Fixture, job: JobKey) -> Option<ClaimedItem> {
    f.orchestrator.report_and_claim(Vec::new(), Some(take(job, 1))).await.claimed.unwrap().items.pop()
}

/// The item, when it can be claimed: at once, or when the back end has looked.
async fn taken(f: &Fixture, job: JobKey) -> ClaimedItem {
    if let Some(item) = try_take(f, job).await {
        return item;
    }
    f.advance(SEEN_AFTER);
    f.orchestrator.beat(job).await.unwrap();
    try_take(f, job).await.expect("the item goes on")
}

pub(crate) async fn t25_an_item_that_asks_waits_for_the_answer(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let Some(all) = tasks(&f) else { return };
    let job = f.job().await;
    f.add_named("a").await;
    let item = f.take(job).await;
    assert_eq!(f.orchestrator.read_answer(item.item.key).await.unwrap(), None);
    assert_eq!(ask(&f, &item, NewTask::new("Approve").data(json!({"n": 1}))).await.unwrap(), Status::New);
    assert!(try_take(&f, job).await.is_none(), "it waits");
    let [task] = &open(all).await[..] else { panic!("one task") };
    assert_eq!(all.get_task(task.id).await.unwrap().1, *json!({"n": 1}).as_object().unwrap());
    let data = json!({"n": 2}).as_object().cloned();
    all.complete_task(task.id, Some("approve"), data.clone()).await.unwrap();
    let again = taken(&f, job).await;
    assert_eq!((again.item.id, again.item.key, again.item.retry_number), (item.item.id, item.item.key, 0));
    let answer = f.orchestrator.read_answer(item.item.key).await.unwrap().expect("an answer");
    assert!(answer.is_completed() && answer.is("APPROVE"));
    assert_eq!(Some(answer.data), data);
    assert!(f.report(item.claim, ok()).await.unwrap_err().is_claim_lost(), "the first claim is void");
    f.report(again.claim, ok()).await.unwrap();
    let twice = all.complete_task(task.id, Some("reject"), None).await.unwrap_err();
    assert_eq!(twice.code(), Some(ErrorCode::INVALID_ARGUMENT));
    f.check_statistics().await;
}

pub(crate) async fn t25_a_deleted_task_lets_the_item_go_on(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let Some(all) = tasks(&f) else { return };
    let job = f.job().await;
    f.add_named("a").await;
    let item = f.take(job).await;
    ask(&f, &item, NewTask::new("Approve")).await.unwrap();
    all.delete_task(open(all).await[0].id).await.unwrap();
    let again = taken(&f, job).await;
    assert_eq!(again.item.id, item.item.id);
    // Where nothing shows that it was there, the transaction asks again.
    let answer = f.orchestrator.read_answer(item.item.key).await.unwrap();
    assert!(answer.is_none_or(|answer| answer.outcome == AnswerOutcome::Deleted));
}

pub(crate) async fn an_item_asks_by_one_task_and_a_deadline_ends_the_wait(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let Some(all) = tasks(&f) else { return };
    let job = f.job().await;
    f.add_named("a").await;
    let question = || NewTask::new("Approve").answer_within(Duration::from_secs(3_600));
    let mut item = f.take(job).await;
    let mut answer = None;
    for _ in 0..20 {
        ask(&f, &item, question()).await.unwrap();
        assert_eq!(open(all).await.len(), 1, "one task however often it asks");
        f.advance(SEEN_AFTER);
        f.orchestrator.beat(job).await.unwrap();
        while try_take(&f, job).await.map(|taken| item = taken).is_none() {
            f.advance(SEEN_AFTER);
            f.orchestrator.beat(job).await.unwrap();
        }
        answer = f.orchestrator.read_answer(item.item.key).await.unwrap();
        if answer.is_some() {
            break;
        }
    }
    let answer = answer.expect("the wait ends");
    assert_eq!((answer.outcome, answer.action), (AnswerOutcome::Expired, None));
    assert_eq!(item.item.retry_number, 0);
}

pub(crate) async fn a_question_that_is_refused_leaves_the_claim(f: Fixture) {
    let f = f.with_queue(retrying(1)).await;
    let Some(all) = tasks(&f) else { return };
    let job = f.job().await;
    f.add_named("a").await;
    let item = f.take(job).await;
    assert!(ask(&f, &item, NewTask::new(" ")).await.unwrap_err().is_invalid());
    let missing = NewTask::new("a").catalog("None".to_owned());
    assert!(ask(&f, &item, missing).await.unwrap_err().is_invalid());
    let success = Report::new(item.claim, TransactionResult::Successful { output: None });
    let refused = f.orchestrator.report_and_claim(vec![success.ask(NewTask::new("a"))], None).await;
    assert!(refused.reports[0].as_ref().unwrap_err().is_invalid());
    assert!(open(all).await.is_empty());
    assert_eq!(f.item(item.item.id).await.status, Status::InProgress);
    f.report(item.claim, ok()).await.unwrap();
}
