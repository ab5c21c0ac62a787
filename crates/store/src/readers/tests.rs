//! The order of queries, and when a query is stopped.

use std::sync::mpsc;

use jiff::Timestamp;

use super::*;
use crate::arrivals::Arrivals;
use crate::backend::{CommitEffects, Request, WriterHooks};
use crate::clock::StoreClock;
use crate::group_commit::GroupCommit;
use crate::memory::Memory;
use performer_core::model::clock::ManualClock;
use performer_core::model::key::QueueId;
use performer_core::model::query::{Comparison, Condition, TextMatch, Value};

/// A search that has begun: its caller, and how to end it.
type BegunSearch = (Option<i64>, mpsc::Sender<()>);

/// A back end whose searches report that they have begun, and end when the test says so.
struct SlowBackend {
    began: mpsc::Sender<BegunSearch>,
}

impl WriterHooks for SlowBackend {
    fn has_external_change(&mut self) -> bool {
        false
    }
}

impl Backend for SlowBackend {
    fn commit(
        &mut self,
        _: Vec<Request>,
        _: &mut dyn Arrivals,
        _: &StoreClock,
        _: &mut CommitEffects,
    ) -> Vec<Result<Answer>> {
        unreachable!("nothing is written")
    }

    fn abort(&mut self) {}

    fn read(&mut self, scope: Scope, query: Query) -> Result<Answer> {
        if Lane::of(&query) == Lane::Search {
            let (end, ended) = mpsc::channel();
            self.began.send((scope.user, end)).unwrap();
            ended.recv().unwrap();
        }
        Ok(Answer::Done)
    }
}

fn search() -> Query {
    let condition = Some(Condition::Text(Field::Reference, TextMatch::Contains, "x".to_owned()));
    Query::Items(Box::new(ItemFilter::default().condition(condition)), Page::default())
}

fn scope(user: i64) -> Scope {
    Scope { user: Some(user), ..Scope::SHARED }
}

fn slow_store() -> (Arc<GroupCommit>, mpsc::Receiver<BegunSearch>) {
    let (began, begun) = mpsc::channel();
    let clock = Arc::new(StoreClock::new(Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH))));
    let readers =
        LANES.iter().map(|_| -> Box<dyn Backend> { Box::new(SlowBackend { began: began.clone() }) });
    let group_commit =
        GroupCommit::on_threads(vec![Box::new(Memory::new())], readers.collect(), &clock, 1).unwrap();
    (Arc::new(group_commit), begun)
}

fn ask(group_commit: &Arc<GroupCommit>, user: i64) -> tokio::task::JoinHandle<Result<Answer>> {
    let group_commit = group_commit.clone();
    tokio::spawn(async move { group_commit.read(scope(user), search(), None).await })
}

#[tokio::test]
async fn callers_take_turns_with_one_search_at_a_time() {
    let (group_commit, begun) = slow_store();
    let first: Vec<_> = (0..20).map(|_| ask(&group_commit, 1)).collect();
    tokio::task::yield_now().await; // all of them are queued
    let (user, end_first) = begun.recv().unwrap();
    assert_eq!(user, Some(1));
    let others = [ask(&group_commit, 2), ask(&group_commit, 3), ask(&group_commit, 2)];
    tokio::task::yield_now().await;
    // While one search of the first caller runs and its other nineteen wait.
    let (user, end_second) = begun.recv().unwrap();
    assert_eq!(user, Some(2), "another caller does not wait for the searches of the first");
    // A page found by an index waits for no search.
    let list = Query::Items(Box::default(), Page::default());
    assert!(matches!(group_commit.read(scope(4), list, None).await, Ok(Answer::Done)));
    end_second.send(()).unwrap();
    let (user, end_third) = begun.recv().unwrap();
    assert_eq!(user, Some(3), "whoever has had a turn is behind the others");
    end_first.send(()).unwrap();
    let mut order = Vec::new();
    let mut ends = vec![end_third];
    for _ in 0..2 {
        let (user, end) = begun.recv().unwrap();
        order.push(user);
        ends.drain(..).for_each(|end: mpsc::Sender<()>| end.send(()).unwrap());
        ends.push(end);
    }
    assert!(order.contains(&Some(1)) && order.contains(&Some(2)), "{order:?}");
    drop(ends);
    for asked in others.into_iter().chain(first) {
        asked.abort();
    }
    while begun.try_recv().is_ok() {}
}

#[tokio::test]
async fn queries_of_callers_that_went_away_are_not_run() {
    let (group_commit, begun) = slow_store();
    let first = ask(&group_commit, 1);
    tokio::task::yield_now().await;
    let (_, end) = begun.recv().unwrap();
    let (second, third) = (ask(&group_commit, 1), ask(&group_commit, 1));
    tokio::task::yield_now().await;
    second.abort();
    assert!(second.await.unwrap_err().is_cancelled());
    end.send(()).unwrap();
    first.await.unwrap().unwrap();
    begun.recv().unwrap().1.send(()).unwrap();
    third.await.unwrap().unwrap();
    assert!(begun.try_recv().is_err(), "two were looked for, not three");
}

#[test]
fn a_list_found_by_an_index_is_not_a_search() {
    let number = |field, number| Condition::Compare(field, Comparison::Equal, Value::Number(number));
    let text = |comparison| Condition::Compare(Field::Reference, comparison, Value::Text("a".to_owned()));
    let lane = |condition: Option<Condition>| {
        Lane::of_list(&ItemFilter::default().condition(condition), &Page::default())
    };
    let queue = number(Field::QueueId, QueueId(1).0);
    for found in [
        None,
        Some(queue.clone()),
        Some(Condition::All(vec![queue.clone(), number(Field::Status, 0)])),
        Some(Condition::All(vec![queue.clone(), text(Comparison::Equal)])),
        Some(Condition::Text(Field::Reference, TextMatch::StartsWith, "a".to_owned())),
    ] {
        assert_eq!(lane(found.clone()), Lane::ListRequest, "{found:?}");
    }
    for searched in [number(Field::Priority, 1), text(Comparison::Greater), Condition::Not(Box::new(queue))] {
        assert_eq!(lane(Some(searched.clone())), Lane::Search, "{searched:?}");
    }
    let far = Page::default().skip(MAX_SKIPPED + 1);
    assert_eq!(Lane::of_list(&ItemFilter::default(), &far), Lane::Search);
    let order = vec![Order { field: Field::Reference, descending: false }];
    let sorted = ItemFilter::default().order(order);
    assert_eq!(Lane::of_list(&sorted, &Page::default()), Lane::Search);
}

#[test]
fn a_query_over_its_time_limit_is_refused_with_a_remedy() {
    let clock = Arc::new(ManualClock::new(Timestamp::UNIX_EPOCH));
    let limit = Duration::from_secs(10);
    let deadline = QueryDeadline::new(Arc::default(), clock.clone(), Some(limit));
    let interrupted = || Err(OrchestratorError::new(ErrorKind::Unavailable, "interrupted"));
    assert!(!deadline.is_over());
    assert_eq!(
        deadline.explain(interrupted()).unwrap_err().kind(),
        ErrorKind::Unavailable,
        "of another cause"
    );
    clock.advance(limit);
    assert!(deadline.is_over());
    let refused = deadline.explain(interrupted()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("within 10s; ask for less"), "{refused}");
    assert!(deadline.explain(Ok(Answer::Done)).is_ok(), "an answer that was found is an answer");
}
